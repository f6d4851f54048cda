/* report-mail - see report-mail.h. SMTP over a socket pair, one command after the other. */
#include "report-mail.h"

#include "common/log.h"
#include "smtp-reply.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPORT_MAIL_SECONDS 60

enum stage { GREETING, HELLO, MAIL, RCPT, DATA, VERDICT, STAGES };

struct report_mail {
	struct daemon *daemon;
	int fd;
	enum stage stage;
	char recipient[MOST_ADDRESS + 1];
	struct text mail, out;
	size_t sent;
	struct smtp_reply reply;
	struct event *readable, *writable, *timer;
	report_mailed *done;
	void *arg;
};

static void
over(struct report_mail *r, const char *why)
{
	report_mailed *done = r->done;
	void *arg = r->arg;

	if (r->readable != NULL)
		event_free(r->readable);
	if (r->writable != NULL)
		event_free(r->writable);
	event_free(r->timer);
	if (r->fd >= 0)
		close(r->fd);
	smtp_reply_clear(&r->reply);
	text_clear(&r->mail);
	text_clear(&r->out);
	free(r);
	done(arg, why);
}

/* Dots doubled (RFC 5321 4.5.2), and the last one. */
static void
add_message(struct report_mail *r)
{
	struct span rest = text_span(&r->mail), line;

	while (span_take_until(&rest, '\n', &line)) {
		if (line.len > 0 && line.at[0] == '.')
			text_add_byte(&r->out, '.');
		text_add(&r->out, line);
		text_add_byte(&r->out, '\n');
	}
	text_add_str(&r->out, ".\r\n");
}

static bool
flush(struct report_mail *r)
{
	while (r->sent < r->out.len) {
		ssize_t n = send(r->fd, r->out.at + r->sent, r->out.len - r->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			event_add(r->writable, NULL);
			return true;
		}
		if (n < 0)
			return false;
		r->sent += (size_t)n;
	}
	return true;
}

/* What comes after the reply at hand. False: it is over. */
static bool
go_on(struct report_mail *r)
{
	static const unsigned int wanted[STAGES] = { [GREETING] = 220, [HELLO] = 250, [MAIL] = 250, [RCPT] = 250,
		[DATA] = 354, [VERDICT] = 250 };

	if (r->reply.code != wanted[r->stage] || r->stage == VERDICT) {
		over(r, r->reply.code == wanted[r->stage] ? NULL : "smtpd does not take the report");
		return false;
	}
	text_reset(&r->out);
	r->sent = 0;
	switch (++r->stage) {
	case HELLO:
		text_add_str(&r->out, "EHLO localhost\r\n");
		break;
	case MAIL:
		text_add_str(&r->out, "MAIL FROM:<>\r\n");
		break;
	case RCPT:
		text_printf(&r->out, "RCPT TO:<%s>\r\n", r->recipient);
		break;
	case DATA:
		text_add_str(&r->out, "DATA\r\n");
		break;
	default:
		add_message(r);
	}
	if (r->out.failed || !flush(r)) {
		over(r, "smtpd does not listen");
		return false;
	}
	return true;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct report_mail *r = arg;
	unsigned char buffer[2048];
	ssize_t len = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	struct span in;

	(void)what;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0) {
		over(r, "smtpd is gone");
		return;
	}
	in = span_of(buffer, (size_t)len);
	while (in.len > 0) {
		enum reply_state state = smtp_reply_feed(&r->reply, &in);

		if (state == REPLY_MORE)
			return;
		if (state == REPLY_BROKEN) {
			over(r, "smtpd makes no sense");
			return;
		}
		if (!go_on(r))
			return;
		smtp_reply_reset(&r->reply);
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct report_mail *r = arg;

	(void)fd;
	(void)what;
	if (!flush(r))
		over(r, "smtpd does not listen");
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct report_mail *r = arg;

	(void)fd;
	(void)what;
	over(r, r->readable == NULL ? "no smtpd is there" : "smtpd does not answer");
}

void
report_mail(struct daemon *d, struct span recipient, struct text *mail, report_mailed *done, void *arg)
{
	struct report_mail *r = must_alloc(sizeof(*r));
	struct channel *smtpd = daemon_any_peer(d, PROGRAM_SMTPD);
	struct timeval wait = { .tv_sec = REPORT_MAIL_SECONDS };
	int ends[2];

	*r = (struct report_mail){ .daemon = d, .fd = -1, .mail = *mail, .out = TEXT_UP_TO(2 * mail->most + 1024),
		.done = done, .arg = arg };
	*mail = TEXT_UP_TO(mail->most);
	smtp_reply_init(&r->reply);
	r->timer = evtimer_new(d->base, on_timer, r);
	if (r->timer == NULL)
		abort();
	if (!span_copy(recipient, r->recipient, sizeof(r->recipient)) || smtpd == NULL ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) {
		wait.tv_sec = 0;
		evtimer_add(r->timer, &wait);
		return;
	}
	r->fd = ends[0];
	r->readable = event_new(d->base, r->fd, EV_READ | EV_PERSIST, on_readable, r);
	r->writable = event_new(d->base, r->fd, EV_WRITE, on_writable, r);
	if (r->readable == NULL || r->writable == NULL)
		abort();
	event_add(r->readable, NULL);
	evtimer_add(r->timer, &wait);
	send_local_open(smtpd, 0, &(struct msg_local_open){ .uid = (uint32_t)getuid() }, &ends[1]);
}
