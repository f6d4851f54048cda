/* logins - see logins.h. */
#include "logins.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>

/* One session that has logged in. */
struct known_login {
	TAILQ_ENTRY(known_login) next;      /* of its front; who was heard of last stands last */
	uint64_t session;
	unsigned int front;
	uint32_t seen;
	uint8_t service;
	char login[MOST_ADDRESS + 1];
};

void
logins_init(struct queue *q)
{
	idmap_init(&q->logins);
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		TAILQ_INIT(&q->front[i].logins);
}

static void
forget(struct queue *q, struct known_login *k)
{
	struct front *f = &q->front[k->front];

	idmap_remove(&q->logins, k->session);
	TAILQ_REMOVE(&f->logins, k, next);
	f->login_count--;
	free(k);
}

static void
touch(struct queue *q, struct known_login *k, uint32_t now)
{
	struct front *f = &q->front[k->front];

	k->seen = now;
	TAILQ_REMOVE(&f->logins, k, next);
	TAILQ_INSERT_TAIL(&f->logins, k, next);
}

/* The oldest stand first. */
static void
forget_expired(struct queue *q, struct front *f, uint32_t now)
{
	struct known_login *k;

	while ((k = TAILQ_FIRST(&f->logins)) != NULL && now - k->seen >= LOGIN_REST_SECONDS)
		forget(q, k);
}

static void
on_mail_login(void *me, struct channel *from, uint64_t session, const struct msg_mail_login *m,
	const int *fd)
{
	struct queue *q = me;
	struct known_login *k = idmap_get(&q->logins, session);
	struct front *f;

	(void)from;
	(void)fd;
	if (session == 0 || m->index >= MOST_PEERS_OF_A_KIND || m->login.len == 0)
		return;
	/* The ids are random: one of another front end's again is an accident, or a front end that wants it. The older
	 * stays. Of the same front end the newer counts: the end of the older one came before auth's word of it. */
	if (k != NULL && k->front != m->index) {
		log_warning(session, "mail-login-taken", KEY_NUM("front", m->index));
		return;
	}
	if (k != NULL)
		forget(q, k);
	f = &q->front[m->index];
	forget_expired(q, f, queue_now());
	if (f->login_count >= MOST_LOGINS)
		forget(q, TAILQ_FIRST(&f->logins));
	k = must_alloc(sizeof(*k));
	k->session = session;
	k->front = m->index;
	k->seen = queue_now();
	k->service = m->service;
	(void)span_copy(m->login, k->login, sizeof(k->login));
	idmap_put(&q->logins, session, k);
	TAILQ_INSERT_TAIL(&f->logins, k, next);
	f->login_count++;
}

bool
logins_know(struct queue *q, unsigned int front, uint64_t session, uint8_t service,
	struct span login, uint32_t now)
{
	struct known_login *k;
	struct channel *auth = daemon_peer(&q->daemon, PROGRAM_AUTH, 0);

	if (session == 0)
		return false;
	/* auth told us before it told the front end, but on another channel. */
	if (idmap_get(&q->logins, session) == NULL && auth != NULL)
		(void)channel_drain(auth);
	k = idmap_get(&q->logins, session);
	if (k == NULL || k->front != front || k->service != service ||
		!span_equal(span_str(k->login), login))
		return false;
	if (now - k->seen >= LOGIN_REST_SECONDS) {
		forget(q, k);
		return false;
	}
	touch(q, k, now);
	return true;
}

void
logins_end(struct queue *q, unsigned int front, uint64_t session)
{
	struct known_login *k = idmap_get(&q->logins, session);

	if (k != NULL && k->front == front)
		forget(q, k);
}

void
logins_forget(struct queue *q, unsigned int front)
{
	while (!TAILQ_EMPTY(&q->front[front].logins))
		forget(q, TAILQ_FIRST(&q->front[front].logins));
}

const struct hearing queue_hears_auth = {
	.on_mail_login = on_mail_login,
};
