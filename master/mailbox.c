/*
 * mailbox - the way of an authenticated session into its user's own process.
 */
#include "master/mailbox.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"
#include "master/process.h"
#include "master/share.h"

#define IDLE_LEAVE_SECONDS 1

#define MOST_TRIES 2 /* processes that a session is offered to */

/* A session on its way: what imap_open said, copied, and kept until the process says imap_taken. A
 * process that dies before that cost the client nothing: the session is offered to the next one. */
struct waiting {
	TAILQ_ENTRY(waiting) next;
	uint64_t session;
	unsigned int front; /* index of the imap-login to answer */
	unsigned int tries;
	bool sent;
	int fd;
	char *tag, *ip, *verb;
	unsigned char *input, *passport;
	size_t input_len, passport_len;
	uint8_t service;
};

struct mailbox {
	TAILQ_ENTRY(mailbox) next;
	struct supervisor *s;
	struct process *process;
	uint32_t uid, gid;
	uint64_t quota_bytes, quota_messages;
	char *user, *home;
	size_t sessions; /* taken by the process and not ended, as it says */
	size_t guests;	 /* sent to it and not ended, as it says */
	TAILQ_HEAD(, waiting) waiting;
	size_t waiting_count;
};

static void
refuse(struct process *front, uint64_t session, const char *user, const char *reason)
{
	log_notice(session, "imap-refused", KEY_STR("user", user), KEY_STR("reason", reason));
	if (front && front->control)
		send_imap_refused(front->control, session,
			&(struct msg_imap_refused){ .reason = span_str(reason) }, NULL);
}

static void
waiting_free(struct mailbox *b, struct waiting *w)
{
	TAILQ_REMOVE(&b->waiting, w, next);
	b->waiting_count--;
	b->s->waiting_count--;
	if (w->fd >= 0)
		close(w->fd);
	secret_wipe(w->input, w->input_len);
	free(w->input);
	free(w->passport);
	free(w->tag);
	free(w->ip);
	free(w->verb);
	free(w);
}

static void
mailbox_free(struct mailbox *b)
{
	while (!TAILQ_EMPTY(&b->waiting))
		waiting_free(b, TAILQ_FIRST(&b->waiting));
	TAILQ_REMOVE(&b->s->mailboxes, b, next);
	b->s->mailbox_count--;
	free(b->user);
	free(b->home);
	free(b);
}

/* --- the ticket --- */

/* An imap process never runs as root, nor, when the users are separate, as a daemon's user. */
static bool
may_own_mail(const struct supervisor *s, uint32_t uid, uint32_t gid)
{
	if (!s->root)
		return true;
	if (uid == 0 || gid == 0)
		return false;
	for (unsigned int i = 0; i < PROGRAM_COUNT; i++)
		if (i != PROGRAM_LOCAL && i != PROGRAM_LOCAL_HOME && s->accounts[i].uid == uid)
			return false;
	return true;
}

/* True with what auth said; otherwise refused and logged. */
static bool
take_ticket(struct supervisor *s, struct process *front, uint64_t session, struct span bytes,
	struct ticket *k)
{
	struct process *auth = process_find(s, PROGRAM_AUTH, 0);

	/* auth told us before it told the front end, but on another channel. */
	if (!ticket_known(&s->tickets, bytes, process_seconds()) && auth && auth->control)
		channel_drain(auth->control);
	switch (ticket_take(&s->tickets, bytes, session, front->row->program, front->index,
		process_seconds(), k)) {
	case TICKET_GOOD:
		break;
	case TICKET_UNKNOWN:
		refuse(front, session, "", "the ticket is unknown or too old");
		return false;
	case TICKET_MISUSED:
		log_error(session, "ticket-misused",
			KEY_STR("program", program_name(front->row->program)),
			KEY_NUM("index", front->index), KEY_NUM("pid", front->pid));
		refuse(front, session, "", "the ticket is for another session");
		return false;
	}
	if (!may_own_mail(s, k->uid, k->gid)) {
		log_error(session, "imap-uid-refused", KEY_STR("user", k->user),
			KEY_NUM("uid", k->uid), KEY_NUM("gid", k->gid));
		refuse(front, session, k->user, "the mailbox has an owner who may not own mail");
		return false;
	}
	return true;
}

/* --- the process --- */

static struct mailbox *
find(struct supervisor *s, struct span user)
{
	struct mailbox *b;

	TAILQ_FOREACH(b, &s->mailboxes, next)
		if (span_equal(span_str(b->user), user))
			return b;
	return NULL;
}

static struct process *
imap_process(struct mailbox *b)
{
	static unsigned int index;

	return process_new(b->s, wiring_row(PROGRAM_IMAP), index++ & UINT16_MAX, b);
}

static struct mailbox *
mailbox_new(struct supervisor *s, struct span user, struct span home, uint32_t uid, uint32_t gid,
	const uint64_t quota[2])
{
	struct mailbox *b = must_alloc(sizeof *b);

	b->s = s;
	b->uid = uid;
	b->gid = gid;
	b->quota_bytes = quota[0];
	b->quota_messages = quota[1];
	b->user = must_copy(user);
	b->home = must_copy(home);
	TAILQ_INIT(&b->waiting);
	TAILQ_INSERT_TAIL(&s->mailboxes, b, next);
	s->mailbox_count++;
	b->process = imap_process(b);
	return b;
}

void
mailbox_tell(struct mailbox *b, struct process *p)
{
	send_imap_user(p->control, 0,
		&(struct msg_imap_user){ .user = span_str(b->user), .home = span_str(b->home),
			.quota_bytes = b->quota_bytes, .quota_messages = b->quota_messages },
		NULL);
}

void
mailbox_owner(const struct mailbox *b, uint32_t *uid, uint32_t *gid)
{
	*uid = b->uid;
	*gid = b->gid;
}

const char *
mailbox_user(const struct mailbox *b)
{
	return b->user;
}

static struct process *
front_of(const struct mailbox *b, const struct waiting *w)
{
	return process_find(b->s, PROGRAM_IMAP_LOGIN, w->front);
}

static void
hand_over(struct mailbox *b, struct waiting *w)
{
	int copy = process_duplicate(w->fd);

	w->tries++;
	/* Where it cannot be sent the process is dying: its death, which follows, decides. */
	w->sent = true;
	if (copy >= 0)
		send_imap_session(b->process->control, w->session,
			&(struct msg_imap_session){ .tag = span_str(w->tag),
				.input = span_of(w->input, w->input_len),
				.ip = span_str(w->ip),
				.verb = span_str(w->verb),
				.service = w->service,
				.passport = span_of(w->passport, w->passport_len) },
			&copy);
	/* That it was taken nobody waits for. */
	channel_rest(b->process->control);
}

void
mailbox_process_serves(struct mailbox *b)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &b->waiting, next)
		if (!w->sent)
			hand_over(b, w);
	share_process_serves(b->s, b, b->process);
}

void
mailbox_session_taken(struct mailbox *b, uint64_t session)
{
	struct process *front;
	struct waiting *w;

	TAILQ_FOREACH(w, &b->waiting, next)
		if (w->sent && w->session == session)
			break;
	if (!w)
		return;
	b->sessions++;
	log_info(session, "imap-opened", KEY_STR("ip", w->ip), KEY_STR("user", b->user),
		KEY_NUM("pid", b->process->pid));
	front = front_of(b, w);
	if (front && front->control)
		send_imap_opened(front->control, session, &(struct msg_imap_opened){}, NULL);
	waiting_free(b, w);
}

void
mailbox_session_ended(struct mailbox *b, uint64_t session)
{
	(void)session;
	/* A process that lies here lies about its own user's limit only. */
	if (b->sessions > 0)
		b->sessions--;
}

/* Refuses those that were offered to `most_tries` processes; the others wait again. */
static void
refuse_waiting(struct mailbox *b, unsigned int most_tries)
{
	struct waiting *w = TAILQ_FIRST(&b->waiting), *after;

	for (; w; w = after) {
		after = TAILQ_NEXT(w, next);
		w->sent = false;
		if (w->tries < most_tries)
			continue;
		refuse(front_of(b, w), w->session, b->user, "the mailbox cannot be opened now");
		waiting_free(b, w);
	}
}

/* The process leaves, and is nobody's from now on: the next login starts another. */
static void
let_go(struct mailbox *b, unsigned int seconds)
{
	struct process *p = b->process;

	share_process_gone(b->s, p);
	share_mailbox_gone(b->s, b->user);
	p->mailbox = NULL;
	refuse_waiting(b, 0);
	mailbox_free(b);
	process_leave(p, seconds);
}

void
mailbox_end(struct supervisor *s, struct span user)
{
	struct mailbox *b = find(s, user);

	if (!b)
		return;
	log_notice(0, "mailbox-ended", KEY_STR("user", b->user),
		KEY_STR("reason", "the user was changed, or is to leave"));
	let_go(b, IDLE_LEAVE_SECONDS);
}

static void
limit(struct mailbox *b, uint64_t bytes, uint64_t messages)
{
	if (b->quota_bytes == bytes && b->quota_messages == messages)
		return;
	b->quota_bytes = bytes;
	b->quota_messages = messages;
	if (b->process->control)
		mailbox_tell(b, b->process);
}

void
mailbox_limit(struct supervisor *s, struct span user, uint64_t bytes, uint64_t messages)
{
	struct mailbox *b = find(s, user);

	if (b)
		limit(b, bytes, messages);
}

void
mailbox_idle(struct mailbox *b)
{
	/* A session that is on its way was sent before the process said idle, or waits: then it
	 * stays. */
	if (b->sessions == 0 && b->guests == 0 && b->waiting_count == 0)
		let_go(b, IDLE_LEAVE_SECONDS);
}

void
mailbox_process_died(struct mailbox *b)
{
	struct waiting *w;

	/* One that did not even begin to serve (a mailbox of another owner, a full table) was a try too. */
	TAILQ_FOREACH(w, &b->waiting, next)
		if (!w->sent)
			w->tries++;
	share_process_gone(b->s, b->process);
	share_mailbox_gone(b->s, b->user);
	b->guests = 0;
	refuse_waiting(b, b->s->phase == PHASE_RUNNING ? MOST_TRIES : 0);
	if (TAILQ_EMPTY(&b->waiting)) {
		mailbox_free(b);
		return;
	}
	b->sessions = 0;
	b->process = imap_process(b);
}

/* --- guests --- */

bool
mailbox_reach(struct supervisor *s, const char *owner)
{
	struct mailbox *b = find(s, span_str(owner));

	if (!b)
		return false;
	if (b->process->state == PROCESS_SERVING)
		share_process_serves(s, b, b->process);
	return true;
}

bool
mailbox_begin_for_guests(struct supervisor *s, const struct msg_owner_told *m)
{
	struct mailbox *b = find(s, m->user);

	if (!b) {
		if (s->phase != PHASE_RUNNING || s->mailbox_count >= MOST_MAILBOXES ||
			!may_own_mail(s, m->uid, m->gid))
			return false;
		b = mailbox_new(s, m->user, m->home, m->uid, m->gid,
			(uint64_t[]){ m->quota_bytes, m->quota_messages });
	}
	return mailbox_reach(s, b->user);
}

void
mailbox_guest_came(struct mailbox *b)
{
	b->guests++;
}

void
mailbox_guest_ended(struct mailbox *b)
{
	if (b->guests > 0)
		b->guests--;
}

/* --- the session --- */

static void
wait_for(struct mailbox *b, unsigned int front, uint64_t session, const struct msg_imap_open *m,
	int fd)
{
	struct waiting *w = must_alloc(sizeof *w);

	w->session = session;
	w->front = front;
	w->fd = fd;
	w->tag = must_copy(m->tag);
	w->ip = must_copy(m->ip);
	w->verb = must_copy(m->verb);
	w->input_len = m->input.len;
	w->input = must_alloc(m->input.len + 1);
	if (m->input.len)
		memcpy(w->input, m->input.at, m->input.len);
	w->service = m->service;
	w->passport_len = m->passport.len;
	w->passport = must_alloc(m->passport.len + 1);
	if (m->passport.len)
		memcpy(w->passport, m->passport.at, m->passport.len);
	TAILQ_INSERT_TAIL(&b->waiting, w, next);
	b->waiting_count++;
	b->s->waiting_count++;
}

void
mailbox_open(struct supervisor *s, struct process *front, uint64_t session,
	const struct msg_imap_open *m, int fd)
{
	struct ticket k;
	struct mailbox *b;

	if (!take_ticket(s, front, session, m->ticket, &k))
		goto out;
	b = find(s, span_str(k.user));
	if (b && (b->uid != k.uid || b->gid != k.gid || strcmp(b->home, k.home) != 0)) {
		/* The user was moved since: the old process has no right to the new place. */
		log_notice(session, "mailbox-moved", KEY_STR("user", k.user));
		let_go(b, (unsigned int)s->now.settings->stop_seconds);
		b = NULL;
	}
	if (b && b->sessions + b->waiting_count >= s->now.settings->imap_sessions) {
		refuse(front, session, k.user, "too many sessions of this user");
		goto out;
	}
	if (s->phase != PHASE_RUNNING || (!b && s->mailbox_count >= MOST_MAILBOXES) ||
		s->waiting_count >= MOST_WAITING_SESSIONS) {
		refuse(front, session, k.user, "the server is too busy");
		goto out;
	}
	if (!b)
		b = mailbox_new(s, span_str(k.user), span_str(k.home), k.uid, k.gid,
			(uint64_t[]){ k.quota_bytes, k.quota_messages });
	else
		limit(b, k.quota_bytes, k.quota_messages);
	wait_for(b, front->index, session, m, fd);
	fd = -1;
	if (b->process->state == PROCESS_SERVING)
		mailbox_process_serves(b);
out:
	if (fd >= 0)
		close(fd);
}

void
mailbox_session_back(struct supervisor *s, const struct process *from, uint64_t session,
	const struct msg_imap_back *m, int fd)
{
	struct process *p, *front = NULL;

	/* Any front end will do; sessions are spread over them. */
	TAILQ_FOREACH(p, &s->processes, next)
		if (p->row->program == PROGRAM_IMAP_LOGIN && p->state == PROCESS_SERVING && p->control &&
			(!front || p->index == session % (front->index + 1)))
			front = p;
	if (!front || !s->now.settings->imap_unauthenticate) {
		log_notice(session, "imap-not-back", KEY_NUM("pid", from->pid));
		close(fd);
		return;
	}
	log_info(session, "imap-back", KEY_SPAN("ip", m->ip), KEY_NUM("pid", from->pid));
	send_imap_again(front->control, session,
		&(struct msg_imap_again){ .ip = m->ip, .service = m->service,
			.passport = m->passport, .input = m->input }, &fd);
}
