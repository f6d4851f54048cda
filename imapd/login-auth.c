/*
 * login-auth - SASL with auth (RFC 3501 6.2.2, 6.2.3), and the way to the user's own process
 * through master.
 *
 * auth gives the session's ticket to master itself; what we hold is only a name for it. Whoever
 * broke into this process can hand over sessions of users who logged in here within the last
 * seconds, and nobody else's.
 */
#include "imapd/login.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static struct channel *
auth_of(struct login *l)
{
	return daemon_peer(&l->front->daemon, PROGRAM_AUTH, 0);
}

void
login_authenticate(struct login *l, struct span mechanism, bool has_initial, struct span initial)
{
	struct text name = TEXT_UP_TO(20);

	for (size_t i = 0; i < mechanism.len; i++) {
		unsigned char c = mechanism.at[i];

		text_add_byte(&name, c >= 'a' && c <= 'z' ? (unsigned char)(c - 'a' + 'A') : c);
	}
	l->state = LOGIN_ASKED;
	if (!send_auth_ask(auth_of(l), l->id, &(struct msg_auth_ask){
		.service = (uint8_t)l->service,
		.mechanism = text_span(&name), .has_initial = has_initial, .initial = initial,
		.passport = text_span(&l->passport), .ip = span_str(l->ip) }, NULL)) {
		l->state = LOGIN_COMMAND;
		login_no(l, "UNAVAILABLE", "Authentication is not available now.");
	}
	text_clear(&name);
}

void
login_auth_cancel(struct login *l)
{
	if (l->state == LOGIN_ASKED || (l->state == LOGIN_CHALLENGED && !l->last))
		(void)send_auth_cancel(auth_of(l), l->id,
			&(struct msg_auth_cancel){ .no_field = {} }, NULL);
}

static void
challenge(struct login *l, struct span data)
{
	struct text line = TEXT_UP_TO(2 * MOST_SASL + 8);

	l->state = LOGIN_CHALLENGED;
	text_add(&line, SPAN("+ "));
	text_add_base64(&line, data);
	text_add(&line, SPAN("\r\n"));
	login_say(l, text_span(&line));
	text_clear(&line);
}

/* The socket, the ticket, and what was read of the commands that follow go to master. We keep the
 * socket until it is known to have arrived: somebody must be able to say NO. */
static void
hand_over(struct login *l, struct span ticket)
{
	struct span rest = imap_input_rest(&l->input);
	int copy = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
	struct channel *master = l->front->daemon.master;

	if (copy < 0) {
		log_error(l->id, "cannot-hand-over", KEY_ERRNO);
	} else if (rest.len > MOST_LEFTOVER) {
		close(copy);
	} else if (send_imap_open(master, l->id, &(struct msg_imap_open){ .ticket = ticket,
		.tag = span_str(l->tag),
		.input = rest, .ip = span_str(l->ip), .verb = span_str(l->verb),
		.service = (uint8_t)l->service, .passport = text_span(&l->passport) }, &copy)) {
		l->state = LOGIN_HANDED;
		channel_rest(master);    /* the client waits for the user's process, not for what master says */
		return;
	}
	login_no(l, "UNAVAILABLE", "Your mailbox cannot be opened now.");
}

/* auth has ended its part with last words for the client, which answers with nothing. */
static void
last_line(struct login *l, struct span line)
{
	l->last = false;
	l->state = LOGIN_COMMAND;
	if (line.len == 0)
		hand_over(l, span_of(l->ticket, sizeof(l->ticket)));
	else
		login_bad(l, "an empty line");
	explicit_bzero(l->ticket, sizeof(l->ticket));
}

void
login_sasl_line(struct login *l, struct span line)
{
	struct text data = TEXT_UP_TO(MOST_SASL);

	if (l->last) {
		last_line(l, line);
	/* RFC 3501 6.2.2: the client gives up: BAD */
	} else if (span_equal(line, SPAN("*"))) {
		login_auth_cancel(l);
		l->state = LOGIN_COMMAND;
		login_bad(l, "no *, which cancels the authentication");
	} else if (!text_add_base64_decoded(&data, line)) {
		login_auth_cancel(l);
		l->state = LOGIN_COMMAND;
		login_bad(l, "a line of base64");
	} else {
		l->state = LOGIN_ASKED;
		if (!send_auth_answer(auth_of(l), l->id,
			&(struct msg_auth_answer){ .data = text_span(&data) }, NULL)) {
			l->state = LOGIN_COMMAND;
			login_no(l, "UNAVAILABLE", "Authentication is not available now.");
		}
	}
	text_wipe(&data);
}

/* --- what auth says --- */

static uint32_t
auth_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct login *l = login_find(me, id);

	(void)from;
	(void)m;
	return l != NULL && l->state == LOGIN_ASKED ? HOUR_WAITING : HOUR_NONE;
}

static void
on_auth_challenge(void *me, struct channel *from, uint64_t id, const struct msg_auth_challenge *m,
	const int *fd)
{
	struct login *l = login_find(me, id);

	(void)from;
	(void)fd;
	challenge(l, m->data);
	login_go_on(l);
}

static void
on_auth_told(void *me, struct channel *from, uint64_t id, const struct msg_auth_told *m,
	const int *fd)
{
	struct login *l = login_find(me, id);

	(void)from;
	(void)fd;
	l->state = LOGIN_COMMAND;
	switch (m->verdict) {
	case AUTH_RIGHT:
		/* imap_sessions limits a user's; here his address is noted, and the connection leaves. */
		(void)door_logged_in(&l->front->door, &(struct guest *){ NULL }, l->ip, m->user);
		if (m->data.len == 0 || m->ticket.len != sizeof(l->ticket)) {
			hand_over(l, m->ticket);
			break;
		}
		/* RFC 3501 has no place for data in the tagged OK: they are a last challenge. */
		memcpy(l->ticket, m->ticket.at, sizeof(l->ticket));
		l->last = true;
		challenge(l, m->data);
		break;
	case AUTH_WRONG:
		login_no(l, "AUTHENTICATIONFAILED", "Authentication failed.");
		break;
	case AUTH_MALFORMED:
		login_bad(l, "a response of the mechanism's form");
		break;
	case AUTH_UNKNOWN_MECHANISM:
		login_no(l, "CANNOT", "The mechanism is not offered.");
		break;
	case AUTH_NEEDS_TLS:
		login_no(l, "PRIVACYREQUIRED", "Log in under TLS only: STARTTLS first.");
		break;
	case AUTH_BLOCKED:
		login_no(l, "UNAVAILABLE",
			"Too many failed logins of this user from your address, try again later.");
		break;
	case AUTH_LATER:
	default:
		login_no(l, "UNAVAILABLE", "Authentication is not available now.");
		break;
	}
	login_go_on(l);
}

static void
auth_gone(void *me, struct channel *from)
{
	struct front *front = me;
	struct login *l;

	(void)from;
	LIST_FOREACH(l, &front->logins, in_all) {
		if (l->dead || l->last || (l->state != LOGIN_ASKED && l->state != LOGIN_CHALLENGED))
			continue;
		l->state = LOGIN_COMMAND;
		login_no(l, "UNAVAILABLE", "Authentication is not available now.");
		login_go_on(l);
	}
}

const struct hearing login_hears_auth = {
	.hour = auth_hour,
	.gone = auth_gone,
	.on_auth_challenge = on_auth_challenge,
	.on_auth_told = on_auth_told,
};

/* --- what master says --- */

static uint32_t
master_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct login *l = login_find(me, id);

	(void)from;
	if (m != MSG_imap_opened && m != MSG_imap_refused)
		return HOUR_SERVING;
	return l != NULL && l->state == LOGIN_HANDED ? HOUR_WAITING : HOUR_NONE;
}

static void
on_imap_opened(void *me, struct channel *from, uint64_t id, const struct msg_imap_opened *m,
	const int *fd)
{
	struct login *l = login_find(me, id);

	(void)from;
	(void)m;
	(void)fd;
	/* From here on the user's process speaks on this socket: not a word more, and no
	 * shutdown. */
	imap_input_clear(&l->input);
	text_reset(&l->out);
	login_passed_on(l);     /* imap-opened says so */
}

static void
on_imap_refused(void *me, struct channel *from, uint64_t id, const struct msg_imap_refused *m,
	const int *fd)
{
	struct login *l = login_find(me, id);

	(void)from;
	(void)m;
	(void)fd;
	l->state = LOGIN_COMMAND;
	login_no(l, "UNAVAILABLE", "Your mailbox cannot be opened now.");
	login_go_on(l);
}

/* UNAUTHENTICATE (RFC 8437): a connection that was here before its login. Whether its passport is good auth will
 * say, when somebody logs in. */
static void
on_imap_again(void *me, struct channel *from, uint64_t id, const struct msg_imap_again *m,
	const int *fd)
{
	struct arrival a = { .service = m->service, .uid = NO_UID };
	struct front *front = me;

	(void)from;
	if ((m->service != SERVICE_IMAP && m->service != SERVICE_IMAPS) ||
		!span_copy(m->ip, a.ip, sizeof(a.ip)) || login_find(front, id) != NULL ||
		front->daemon.leaving) {
		log_notice(id, "not-taken-back", KEY_SPAN("ip", m->ip));
		close(fd[0]);
		return;
	}
	front->again = m;
	front->again_id = id;
	(void)door_let_in(&front->door, &a, fd[0]);
	front->again = NULL;
}

const struct hearing login_hears_master = {
	.hour = master_hour,
	.on_imap_again = on_imap_again,
	.on_imap_opened = on_imap_opened,
	.on_imap_refused = on_imap_refused,
};
