/* share - see share.h. */
#include "master/share.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/log.h"
#include "common/text.h"
#include "master/mailbox.h"
#include "master/process.h"

#define SHARES_FILE    "shares"
#define SHARES_NEW     "shares.new"
#define WRITE_SECONDS  5 /* after a change: what is lost in between is told again by the owner's process */
#define MOST_FILE      (16 * 1024 * 1024)
#define ANYONE	       "anyone"

struct owner {
	TAILQ_ENTRY(owner) next;
	char *name;
	char *members; /* a line each */
};

struct opening {
	TAILQ_ENTRY(opening) next;
	struct process *member;
	uint64_t session, id, until; /* id: of the question to auth */
	char *name, *owner;
	bool lost_one; /* a process of the owner that was to have it is no more */
};

struct shares {
	struct supervisor *s;
	TAILQ_HEAD(, owner) owners;
	size_t owner_count;
	TAILQ_HEAD(, opening) openings;
	size_t opening_count;
	uint64_t last_id;
	struct event *write;
};

/* --- the table --- */

static struct owner *
find(struct shares *t, struct span name)
{
	struct owner *o;

	TAILQ_FOREACH(o, &t->owners, next)
		if (span_equal(span_str(o->name), name))
			return o;
	return NULL;
}

static void
owner_free(struct shares *t, struct owner *o)
{
	TAILQ_REMOVE(&t->owners, o, next);
	t->owner_count--;
	free(o->name);
	free(o->members);
	free(o);
}

static struct span
domain_of(struct span address)
{
	return span_part(address, span_rindex(address, '@'), SIZE_MAX);
}

/* `anyone` is everybody of the owner's domain. */
static bool
shares_with(const struct owner *o, struct span member)
{
	struct span rest = span_str(o->members), line, domain = domain_of(span_str(o->name));

	if (span_equal(span_str(o->name), member))
		return false;
	while (span_take_until(&rest, '\n', &line))
		if (span_equal(line, member) ||
			(span_equal(line, SPAN(ANYONE)) && domain.len > 0 &&
				span_equal(domain_of(member), domain)))
			return true;
	return false;
}

/* False: there is nothing new in it. */
static bool
set(struct shares *t, struct span name, struct span members)
{
	struct owner *o = find(t, name);

	if (o && span_equal(span_str(o->members), members))
		return false;
	if (members.len == 0) {
		if (o)
			owner_free(t, o);
		return o != NULL;
	}
	if (!o) {
		if (t->owner_count >= MOST_SHARE_OWNERS)
			return false;
		o = must_alloc(sizeof *o);
		o->name = must_copy(name);
		TAILQ_INSERT_TAIL(&t->owners, o, next);
		t->owner_count++;
	}
	free(o->members);
	o->members = must_copy(members);
	return true;
}

/* --- its file: "OWNER MEMBER" a line --- */

static void
write_table(struct shares *t)
{
	struct text all = TEXT_UP_TO(MOST_FILE);
	int directory = t->s->directory[DIRECTORY_SHARES], fd;
	struct owner *o;
	bool good;

	TAILQ_FOREACH(o, &t->owners, next) {
		struct span rest = span_str(o->members), line;

		while (span_take_until(&rest, '\n', &line))
			text_printf(&all, "%s %.*s\n", o->name, SPAN_ARG(line));
	}
	fd = open_in(directory, SHARES_NEW, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	good = fd >= 0 && !all.failed && write_all(fd, all.at, all.len) == 0 &&
		renameat(directory, SHARES_NEW, directory, SHARES_FILE) == 0;
	if (!good)
		log_warning(0, "shares-not-written", KEY_ERRNO);
	if (fd >= 0)
		close(fd);
	text_clear(&all);
}

static void
on_write(evutil_socket_t fd, short what, void *me)
{
	(void)fd;
	(void)what;
	write_table(me);
}

static void
take_file(struct shares *t, struct span in)
{
	struct text members = TEXT_UP_TO(MOST_SHARES);
	struct span line, name, before = SPAN_NONE;

	while (span_take_until(&in, '\n', &line)) {
		if (!span_take_until(&line, ' ', &name) || name.len > MOST_ADDRESS ||
			line.len > MOST_ADDRESS || span_has(line, '\0'))
			continue;
		if (!span_equal(name, before)) {
			if (before.len > 0)
				set(t, before, text_span(&members));
			text_reset(&members);
			before = name;
		}
		text_add(&members, line);
		text_add_byte(&members, '\n');
	}
	if (before.len > 0 && !members.failed)
		set(t, before, text_span(&members));
	text_clear(&members);
}

void
share_load(struct supervisor *s)
{
	struct shares *t = must_alloc(sizeof *t);
	int fd = open_in(s->directory[DIRECTORY_SHARES], SHARES_FILE, O_RDONLY, 0);
	char *bytes = must_alloc(MOST_FILE);
	ssize_t got = fd < 0 ? 0 : read_at(fd, bytes, MOST_FILE, 0);

	t->s = s;
	TAILQ_INIT(&t->owners);
	TAILQ_INIT(&t->openings);
	t->write = event_new(s->base, -1, 0, on_write, t);
	if (!t->write)
		abort();
	if (got > 0)
		take_file(t, span_of(bytes, (size_t)got));
	if (fd >= 0)
		close(fd);
	free(bytes);
	s->shares = t;
}

void
share_set(struct supervisor *s, const char *owner, struct span members)
{
	const struct timeval wait = { WRITE_SECONDS, 0 };

	for (size_t i = 0; i < members.len; i++)
		if (members.at[i] <= ' ' && members.at[i] != '\n')
			return; /* not what an imap of ours says */
	if (set(s->shares, span_str(owner), members) &&
		!event_pending(s->shares->write, EV_TIMEOUT, NULL))
		event_add(s->shares->write, &wait);
}

void
share_ask(struct process *member, uint64_t session)
{
	struct text owners = TEXT_UP_TO(MOST_SHARES);
	struct span name = span_str(mailbox_user(member->mailbox));
	size_t count = 0;
	struct owner *o;

	TAILQ_FOREACH(o, &member->s->shares->owners, next) {
		if (owners.len + strlen(o->name) + 1 > MOST_SHARES || count == MOST_TOLD_OWNERS)
			break;
		if (!shares_with(o, name))
			continue;
		text_add_str(&owners, o->name);
		text_add_byte(&owners, '\n');
		count++;
	}
	send_shares_told(member->control, session,
		&(struct msg_shares_told){ .owners = text_span(&owners) }, NULL);
	text_clear(&owners);
}

/* --- openings --- */

static void
opening_free(struct shares *t, struct opening *o)
{
	TAILQ_REMOVE(&t->openings, o, next);
	t->opening_count--;
	free(o->name);
	free(o->owner);
	free(o);
}

static void
refuse(struct process *member, uint64_t session, const char *owner, bool later)
{
	log_info(session, "share-refused", KEY_STR("user", mailbox_user(member->mailbox)),
		KEY_STR("owner", owner), KEY_NUM("later", later));
	if (member->control)
		send_share_refused(member->control, session,
			&(struct msg_share_refused){ .later = later }, NULL);
}

static void
refuse_opening(struct shares *t, struct opening *o, bool later)
{
	refuse(o->member, o->session, o->owner, later);
	opening_free(t, o);
}

/* Both have their end of it, or it is refused. */
static void
connect_two(struct shares *t, struct opening *o, struct mailbox *b, struct process *owner)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		log_error(o->session, "no-descriptor", KEY_ERRNO);
		refuse_opening(t, o, true);
		return;
	}
	/* A process that died already, though its end is not noticed yet: then the next one has it. */
	if (!send_guest_session(owner->control, o->session,
		    &(struct msg_guest_session){ .member = span_str(o->name) }, &ends[0])) {
		close(ends[1]);
		return;
	}
	mailbox_guest_came(b);
	send_share_opened(o->member->control, o->session, &(struct msg_share_opened){}, &ends[1]);
	opening_free(t, o);
}

static void
refuse_late(struct shares *t)
{
	struct opening *o = TAILQ_FIRST(&t->openings), *after;

	for (; o; o = after) {
		after = TAILQ_NEXT(o, next);
		if (o->until <= process_seconds())
			refuse_opening(t, o, true);
	}
}

void
share_process_serves(struct supervisor *s, struct mailbox *b, struct process *p)
{
	struct opening *o = TAILQ_FIRST(&s->shares->openings), *after;

	for (; o; o = after) {
		after = TAILQ_NEXT(o, next);
		if (strcmp(o->owner, mailbox_user(b)) == 0)
			connect_two(s->shares, o, b, p);
	}
}

void
share_process_gone(struct supervisor *s, const struct process *p)
{
	struct opening *o = TAILQ_FIRST(&s->shares->openings), *after;

	for (; o; o = after) {
		after = TAILQ_NEXT(o, next);
		if (o->member == p)
			opening_free(s->shares, o);
	}
}

/* Who the owner is, says auth; then his process begins. */
static void
ask_owner(struct shares *t, struct opening *o)
{
	struct process *auth = process_find(t->s, PROGRAM_AUTH, 0);

	o->id = ++t->last_id;
	if (!auth || !auth->control ||
		!send_owner_ask(auth->control, o->id,
			&(struct msg_owner_ask){ .user = span_str(o->owner) }, NULL))
		refuse_opening(t, o, true);
}

void
share_mailbox_gone(struct supervisor *s, const char *owner)
{
	struct opening *o = TAILQ_FIRST(&s->shares->openings), *after;

	for (; o; o = after) {
		after = TAILQ_NEXT(o, next);
		if (strcmp(o->owner, owner) != 0)
			continue;
		if (o->lost_one || s->phase != PHASE_RUNNING) {
			refuse_opening(s->shares, o, true);
			continue;
		}
		o->lost_one = true;
		ask_owner(s->shares, o);
	}
}

void
share_open(struct process *member, uint64_t session, struct span owner)
{
	struct supervisor *s = member->s;
	struct shares *t = s->shares;
	const char *name = mailbox_user(member->mailbox);
	struct owner *known = find(t, owner);
	struct opening *o;

	refuse_late(t);
	if (!known || !shares_with(known, span_str(name))) {
		refuse(member, session, "", false);
		return;
	}
	if (s->phase != PHASE_RUNNING || t->opening_count >= MOST_SHARE_OPENS) {
		refuse(member, session, known->name, true);
		return;
	}
	o = must_alloc(sizeof *o);
	o->member = member;
	o->session = session;
	o->until = process_seconds() + SHARE_OPEN_SECONDS;
	o->name = must_copy(span_str(name));
	o->owner = must_copy(owner);
	TAILQ_INSERT_TAIL(&t->openings, o, next);
	t->opening_count++;
	o->lost_one = false;
	if (!mailbox_reach(s, o->owner))
		ask_owner(t, o);
}

void
share_owner_told(struct supervisor *s, uint64_t id, const struct msg_owner_told *m)
{
	struct opening *o;

	TAILQ_FOREACH(o, &s->shares->openings, next)
		if (o->id == id)
			break;
	if (!o || !span_equal(span_str(o->owner), m->user))
		return;
	if (!m->known) {
		/* He was removed: nobody shares anything of his any more. */
		set(s->shares, m->user, SPAN_NONE);
		refuse_opening(s->shares, o, false);
	} else if (!mailbox_begin_for_guests(s, m)) {
		refuse_opening(s->shares, o, true);
	}
}

void
share_clear(struct supervisor *s)
{
	struct shares *t = s->shares;

	if (!t)
		return;
	if (event_pending(t->write, EV_TIMEOUT, NULL))
		write_table(t);
	event_free(t->write);
	while (!TAILQ_EMPTY(&t->openings))
		opening_free(t, TAILQ_FIRST(&t->openings));
	while (!TAILQ_EMPTY(&t->owners))
		owner_free(t, TAILQ_FIRST(&t->owners));
	free(t);
	s->shares = NULL;
}
