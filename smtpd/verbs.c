/*
 * verbs - see verbs.h.
 */
#include "smtpd/verbs.h"

#include "common/log.h"
#include "smtpd/bdat.h"
#include "smtpd/commands.h"
#include "smtpd/receive.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"

/* ENDS_GROUP: RFC 2920 3.1, RFC 3207 section 4, RFC 4954 section 4. TAKES_UTF8: RFC 6531. */
enum {
	NEEDS_HELLO = 1 << 0,   /* 503 before EHLO or HELO */
	ENDS_GROUP  = 1 << 1,   /* nothing may be sent before its answer */
	JOINS_GROUP = 1 << 2,   /* may be taken while earlier answers are awaited */
	TAKES_UTF8  = 1 << 3,   /* its arguments may be beyond ASCII */
	IDLE        = 1 << 4,   /* leads nowhere: only so many of these without a message */
	CHECKED     = 1 << 6,   /* needs what is known about the client and its sender */
	ASKS_QUEUE  = 1 << 7,   /* queue hears of it: not while too much waits for queue */
	HAS_OCTETS  = 1 << 5,   /* it says how many octets follow: if that is unclear, all is over */
};

/* ETRN (RFC 1985), TURN (RFC 5321 F.1): mail is sent to where it belongs, without being asked to. */
static void
do_not_offered(struct session *s, struct span arguments)
{
	(void)arguments;
	refuse(s, 502, "5.5.1", "the queue is not run on request; mail for you comes by itself");
}

/* A browser, or somebody who uses one (cross-protocol attacks): nothing that follows is for us. */
static void
do_foreign(struct session *s, struct span arguments)
{
	(void)arguments;
	refuse(s, 500, "5.5.1", "this is SMTP");
	session_close(s, 421, "4.7.0", "this is SMTP");
}

static const struct verb verbs[] = {
	/* word       does            flags                                   longest line */
	{ "EHLO",     do_ehlo,        ENDS_GROUP,                             COMMAND_LINE_MOST },
	{ "HELO",     do_helo,        ENDS_GROUP,                             COMMAND_LINE_MOST },
	{ "LHLO",     do_lhlo,        ENDS_GROUP,                             COMMAND_LINE_MOST },
	{ "MAIL",     do_mail,        NEEDS_HELLO | TAKES_UTF8 | ASKS_QUEUE,  ENVELOPE_LINE_MOST },
	{ "RCPT",     do_rcpt,        NEEDS_HELLO | TAKES_UTF8 | JOINS_GROUP | CHECKED | ASKS_QUEUE, ENVELOPE_LINE_MOST },
	{ "DATA",     do_data,        NEEDS_HELLO | ENDS_GROUP | ASKS_QUEUE,  COMMAND_LINE_MOST },
	{ "BDAT",     do_bdat,        HAS_OCTETS | ASKS_QUEUE,                COMMAND_LINE_MOST },
	{ "RSET",     do_rset,        IDLE,                                   COMMAND_LINE_MOST },
	{ "NOOP",     do_noop,        IDLE,                                   COMMAND_LINE_MOST },
	{ "QUIT",     do_quit,        0,                                      COMMAND_LINE_MOST },
	{ "VRFY",     do_vrfy,        IDLE | TAKES_UTF8,                      ENVELOPE_LINE_MOST },
	{ "EXPN",     do_expn,        IDLE | TAKES_UTF8,                      ENVELOPE_LINE_MOST },
	{ "HELP",     do_help,        IDLE,                                   COMMAND_LINE_MOST },
	{ "STARTTLS", do_starttls,    NEEDS_HELLO | ENDS_GROUP,               COMMAND_LINE_MOST },
	{ "AUTH",     do_auth,        NEEDS_HELLO | ENDS_GROUP,               AUTH_LINE_MOST },
	{ "XCLIENT",  do_xclient,     ENDS_GROUP,                             ENVELOPE_LINE_MOST },
	{ "XFORWARD", do_xforward,    NEEDS_HELLO,                            ENVELOPE_LINE_MOST },
	{ "ETRN",     do_not_offered, IDLE,                                   COMMAND_LINE_MOST },
	{ "TURN",     do_not_offered, IDLE,                                   COMMAND_LINE_MOST },
	{ "GET",      do_foreign,     0,                                      ENVELOPE_LINE_MOST },
	{ "POST",     do_foreign,     0,                                      ENVELOPE_LINE_MOST },
	{ "PUT",      do_foreign,     0,                                      ENVELOPE_LINE_MOST },
	{ "CONNECT",  do_foreign,     0,                                      ENVELOPE_LINE_MOST },
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

const struct verb *
verb_find(struct span line)
{
	struct span word = span_part(line, 0, span_index(line, ' '));

	for (size_t i = 0; i < VERBS; i++)
		if (span_equal_nocase(word, span_str(verbs[i].word)))
			return &verbs[i];
	return NULL;
}

size_t
verb_line_most(struct span line)
{
	const struct verb *v = verb_find(line);

	return v ? v->line_most : COMMAND_LINE_MOST;
}

bool
verb_joins_group(const struct verb *v)
{
	return v && (v->flags & JOINS_GROUP) != 0;
}

bool
verb_waits_for_checks(const struct verb *v)
{
	return v && (v->flags & CHECKED) != 0;
}

bool
verb_asks_queue(const struct verb *v)
{
	return v && (v->flags & ASKS_QUEUE) != 0;
}

bool
verb_counts_octets(struct span line)
{
	const struct verb *v = verb_find(line);

	return v && (v->flags & HAS_OCTETS) != 0;
}

/* Control characters mean one thing here and another there: none of them, in any command. */
static const struct refusal *
refused_octets(const struct verb *v, struct span line)
{
	static const struct refusal control = { 500, "5.5.2", "control character in the command" };
	static const struct refusal eight_bit = {
		500, "5.5.2", "non-ASCII character in the command"};

	for (size_t i = 0; i < line.len; i++) {
		if (line.at[i] < 0x20 || line.at[i] == 0x7f)
			return &control;
		if (line.at[i] > 0x7f && !(v && (v->flags & TAKES_UTF8)))
			return &eight_bit;
	}
	return NULL;
}

/* RFC 5321 4.1.1: blanks before CR LF are tolerated. */
static struct span
without_trailing_blanks(struct span line)
{
	while (line.len > 0 && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
		line.len--;
	return line;
}

void
verb_execute(struct session *s, const struct verb *v, struct span line)
{
	const struct refusal *no;
	struct span arguments;

	line = without_trailing_blanks(line);
	s->verb = v ? v->word : "?";
	s->commands++;
	if ((no = refused_octets(v, line)) != NULL) {
		refuse_for(s, no, SPAN_NONE);
		if (v && (v->flags & HAS_OCTETS))
			session_close(s, 421, "4.7.0", "a chunk without a size");
		return;
	}
	if (!v) {
		refuse(s, 500, "5.5.1", "command not recognised");
		return;
	}
	if ((v->flags & ENDS_GROUP) && s->ahead > 0 && s->service != SERVICE_LOCAL) {
		session_refuse_early(s);
		return;
	}
	if ((v->flags & NEEDS_HELLO) && !s->helo) {
		refuse(s, 503, "5.5.1", "EHLO first");
		return;
	}
	arguments = span_part(line, span_index(line, ' '), line.len);
	v->does(s, arguments);
	if ((v->flags & IDLE) && ++s->idle_commands > IDLE_COMMANDS_MOST)
		session_count_error(s);
}
