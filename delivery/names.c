/* names - see names.h. */
#include "names.h"

#include "common/log.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

enum known_state { ASKED, KNOWN, NOT_THERE, FOR_LATER };

/* One login. The tree owns it; nothing that a stranger chooses makes one cheaper to find. */
struct known {
	enum known_state name, forward;
	uint32_t name_until, forward_until;
	uint64_t name_id, forward_id;
	uint32_t uid, gid;
	char *home;
	unsigned char *text;
	size_t text_len;
	char login[];
};

/* Of this process: there is one queue. */
static void *tree;
static size_t count;
static struct idmap asked;           /* struct known by the id of a question */
static uint64_t next_id = 1;

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct known *)a)->login, ((const struct known *)b)->login);
}

static void
known_free(void *at)
{
	struct known *k = at;

	free(k->home);
	free(k->text);
	free(k);
}

/* When there are too many everything is forgotten, but for what is being asked. */
static void
make_room(void)
{
	if (count < MOST_NAMES || asked.count > 0)
		return;
	tdestroy(tree, known_free);
	tree = NULL;
	count = 0;
}

static struct known *
find(struct span login)
{
	struct known *k, **node;

	make_room();
	k = must_alloc(sizeof(*k) + login.len + 1);
	memcpy(k->login, login.at, login.len);
	k->name = k->forward = NOT_THERE;
	if (count >= MOST_NAMES) {
		node = tfind(k, &tree, compare);
		free(k);
		return node == NULL ? NULL : *node;
	}
	if ((node = tsearch(k, &tree, compare)) == NULL)
		abort();
	if (*node == k)
		count++;
	else
		free(k);
	return *node;
}

static uint64_t
ask_id(struct known *k)
{
	if (asked.at == NULL)
		idmap_init(&asked);
	idmap_put(&asked, next_id, k);
	return next_id++;
}

static void
settle(uint64_t *id)
{
	if (*id != 0)
		idmap_remove(&asked, *id);
	*id = 0;
}

static int
answer_of(enum known_state s)
{
	return s == KNOWN ? 1 : s == NOT_THERE ? 0 : s == ASKED ? -1 : -2;
}

static int
ask_name(void *me, struct span login, struct system_user *u)
{
	struct queue *q = me;
	struct known *k = login.len == 0 || span_has(login, 0) ? NULL : find(login);
	struct channel *pam = daemon_any_peer(&q->daemon, PROGRAM_AUTH_PAM);

	if (k == NULL)
		return -2;
	if (k->name_until <= queue_now()) {
		settle(&k->name_id);
		k->name = pam == NULL ? FOR_LATER : ASKED;
		k->name_until = queue_now() + (pam == NULL ? LATER_SECONDS : ASK_SECONDS);
		if (pam != NULL) {
			k->name_id = ask_id(k);
			send_name_ask(pam, k->name_id, &(struct msg_name_ask){ .login = login }, NULL);
		}
	}
	u->uid = k->uid;
	u->gid = k->gid;
	u->home = k->home;
	return answer_of(k->name);
}

static int
ask_forward(void *me, struct span login, const struct system_user *u, struct span *text)
{
	struct queue *q = me;
	struct known *k = find(login);
	struct channel *home = daemon_any_peer(&q->daemon, PROGRAM_LOCAL_HOME);

	if (k == NULL)
		return -2;
	if (k->forward_until <= queue_now()) {
		settle(&k->forward_id);
		k->forward = home == NULL ? FOR_LATER : ASKED;
		k->forward_until = queue_now() + (home == NULL ? LATER_SECONDS : ASK_SECONDS);
		if (home != NULL) {
			k->forward_id = ask_id(k);
			send_forward_ask(home, k->forward_id,
				&(struct msg_forward_ask){
					.home = span_str(u->home), .uid = u->uid, .gid = u->gid },
				NULL);
		}
	}
	*text = span_of(k->text, k->text_len);
	return answer_of(k->forward);
}

const struct resolver_asks names_asks = { ask_name, ask_forward };

static void
go_on(struct queue *q)
{
	transactions_resolve(q);
	attempts_resolve(q);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)m;
	return asked.at != NULL && idmap_get(&asked, id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

static void
on_name_told(void *me, struct channel *from, uint64_t id, const struct msg_name_told *m, const int *fd)
{
	struct known *k = idmap_get(&asked, id);

	(void)from;
	(void)fd;
	if (k->name_id != id)
		return;
	settle(&k->name_id);
	k->name = m->later ? FOR_LATER : m->known && m->home.len > 0 ? KNOWN : NOT_THERE;
	k->name_until = queue_now() + (m->later ? LATER_SECONDS : NAME_SECONDS);
	k->uid = m->uid;
	k->gid = m->gid;
	free(k->home);
	k->home = must_copy(m->home);
	go_on(me);
}

void
names_on_forward_told(void *me, struct channel *from, uint64_t id, const struct msg_forward_told *m,
	const int *fd)
{
	struct known *k = asked.at == NULL ? NULL : idmap_get(&asked, id);

	(void)from;
	(void)fd;
	if (k == NULL || k->forward_id != id)
		return;
	settle(&k->forward_id);
	k->forward = m->outcome == DONE ? KNOWN : m->outcome == NEVER ? NOT_THERE : FOR_LATER;
	k->forward_until = queue_now() + (m->outcome == LATER ? LATER_SECONDS : FORWARD_SECONDS);
	free(k->text);
	k->text = (unsigned char *)must_copy(m->text);
	k->text_len = m->text.len;
	go_on(me);
}

void
names_lost(struct queue *q, enum program program)
{
	struct known *k;
	size_t place = 0;
	bool any = false;

	while (asked.at != NULL && (k = idmap_next(&asked, &place)) != NULL) {
		uint64_t *id = program == PROGRAM_AUTH_PAM ? &k->name_id : &k->forward_id;

		if (*id == 0)
			continue;
		settle(id);
		*(program == PROGRAM_AUTH_PAM ? &k->name : &k->forward) = FOR_LATER;
		*(program == PROGRAM_AUTH_PAM ? &k->name_until : &k->forward_until) =
			queue_now() + LATER_SECONDS;
		any = true;
		place = 0;
	}
	if (any)
		go_on(q);
}

static void
pam_gone(void *me, struct channel *from)
{
	(void)from;
	names_lost(me, PROGRAM_AUTH_PAM);
}

const struct hearing queue_hears_names = {
	.hour = hour,
	.gone = pam_gone,
	.on_name_told = on_name_told,
};
