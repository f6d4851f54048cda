/* cmd-any - CAPABILITY NOOP LOGOUT ID ENABLE NAMESPACE CHECK, and what is over once one has logged
 * in. */
#include "imapd/compress.h"
#include "imapd/condstore.h"
#include "imapd/qresync.h"
#include "imapd/quote.h"

enum progress
cmd_capability(struct command *c)
{
	if (!command_no_more(c))
		return COMMAND_DONE;
	text_add(command_out(c), SPAN("* CAPABILITY "));
	session_capabilities_write(c->session, command_out(c));
	text_add(command_out(c), SPAN("\r\n"));
	return command_ok(c, NULL, "CAPABILITY completed.");
}

enum progress
cmd_noop(struct command *c)
{
	return command_no_more(c) ? command_ok(c, NULL, "NOOP completed.") : COMMAND_DONE;
}

enum progress
cmd_check(struct command *c)
{
	/* All that was acknowledged is durable already (RFC 3501 6.4.1 leaves the rest to us). */
	return command_no_more(c) ? command_ok(c, NULL, "CHECK completed.") : COMMAND_DONE;
}

enum progress
cmd_logout(struct command *c)
{
	if (!command_no_more(c))
		return COMMAND_DONE;
	text_add(command_out(c), SPAN("* BYE Logging out.\r\n"));
	c->told_nothing = true;
	return command_ok(c, NULL, "LOGOUT completed.");
}

/* RFC 8437. The socket goes back when the answer is out; the state of this session ends with it. Not NO, whatever
 * happens (section 3). */
enum progress
cmd_unauthenticate(struct command *c)
{
	struct session *s = c->session;
	struct span behind = imap_input_rest(&s->input);

	if (!s->account->daemon.settings->imap_unauthenticate)
		return command_bad(c, "a command of an extension in CAPABILITY");
	if (!command_no_more(c))
		return COMMAND_DONE;
	c->told_nothing = true;
	/* What a client compressed behind it (RFC 8437 4.1), or too much for a packet, cannot go along. */
	if (behind.len > MOST_LEFTOVER || (s->compress != NULL && (behind.len > 0 ||
		!compress_is_hungry(s->compress))))
		session_bye(s, "[UNAVAILABLE] Wait for the answer to UNAUTHENTICATE.");
	else
		s->goes_back = true;
	return command_ok(c, NULL, "UNAUTHENTICATE completed.");
}

enum progress
cmd_starttls(struct command *c)
{
	return command_bad(c, "STARTTLS before login only (RFC 3501 6.2.1)");
}

enum progress
cmd_login(struct command *c)
{
	return command_bad(c, "no second login in one session (RFC 3501 6.2)");
}

enum progress
cmd_id(struct command *c)
{
	if (!command_take_space(c))
		return COMMAND_DONE;
	if (!imap_take_id(&c->args, &c->arena))
		return command_bad(c, "NIL or a list of at most 30 pairs of strings (RFC 2971)");
	if (!command_no_more(c))
		return COMMAND_DONE;
	text_add(command_out(c), SPAN("* ID (\"name\" \"Valija\")\r\n"));
	return command_ok(c, NULL, "ID completed.");
}

/* RFC 9051 6.3.1. What is selected is told of in the new way from now on. */
static void
enable_rev2(struct session *s)
{
	s->rev2 = s->utf8 = true;
	if (s->view != NULL)
		s->view->silent_recent = true;
}

static void
enable_utf8(struct session *s)
{
	s->utf8 = true;
}

/* RFC 9586. */
static void
enable_uid_only(struct session *s)
{
	s->uid_only = true;
	if (s->view != NULL)
		s->view->uid_only = true;
}

static void
enable_metadata(struct session *s)
{
	s->annotations = true;
}

static const struct {
	const char *word;
	void (*enable)(struct session *s);
} extensions[] = {
	{ "CONDSTORE", condstore_enable },
	{ "QRESYNC", qresync_enable },
	{ "IMAP4rev2", enable_rev2 },
	{ "UTF8=ACCEPT", enable_utf8 },
	{ "UIDONLY", enable_uid_only },
	{ "METADATA", enable_metadata },
};

#define EXTENSIONS (sizeof(extensions) / sizeof(extensions[0]))

/* RFC 5161 3.1: what cannot be enabled is passed over. */
static bool
take_extensions(struct command *c, bool wanted[EXTENSIONS])
{
	struct span word;

	do {
		if (!command_take_space(c))
			return false;
		if (!imap_take_atom(&c->args, &word))
			return command_bad(c, "the name of an extension"), false;
		for (size_t i = 0; i < EXTENSIONS; i++)
			wanted[i] |= span_equal_nocase(word, span_str(extensions[i].word));
	} while (c->args.len > 0);
	return true;
}

enum progress
cmd_enable(struct command *c)
{
	bool wanted[EXTENSIONS] = { false };

	if (!take_extensions(c, wanted))
		return COMMAND_DONE;
	if (c->session->selected != NULL)        /* what has it selected would not know (RFC 5161 3.1) */
		return command_bad(c, "ENABLE before SELECT");
	text_add(command_out(c), SPAN("* ENABLED"));
	for (size_t i = 0; i < EXTENSIONS; i++) {
		if (!wanted[i])
			continue;
		text_add_byte(command_out(c), ' ');
		text_add_str(command_out(c), extensions[i].word);
	}
	text_add(command_out(c), SPAN("\r\n"));
	for (size_t i = 0; i < EXTENSIONS; i++) {
		if (wanted[i])
			extensions[i].enable(c->session);
	}
	return command_ok(c, NULL, "ENABLE completed.");
}

enum progress
cmd_namespace(struct command *c)
{
	struct text others = TEXT_UP_TO(20), *out = command_out(c);
	char separator = session_separator(c->session);

	if (!command_no_more(c))
		return COMMAND_DONE;
	text_add(out, SPAN("* NAMESPACE (("));
	quote_string(out, span_str(c->session->prefix));
	text_printf(out, " \"%c\")) ((", separator);
	session_others_prefix(c->session, &others);
	quote_string(out, text_span(&others));
	text_printf(out, " \"%c\")) NIL\r\n", separator);
	text_clear(&others);
	return command_ok(c, NULL, "NAMESPACE completed.");
}

/* RFC 4978. */
enum progress
cmd_compress(struct command *c)
{
	struct span word;

	if (!command_take_space(c))
		return COMMAND_DONE;
	if (!imap_take_atom(&c->args, &word))
		return command_bad(c, "DEFLATE");
	if (!command_no_more(c))
		return COMMAND_DONE;
	if (!span_equal_nocase(word, SPAN("DEFLATE")))
		return command_no(c, "CANNOT", "Only DEFLATE is known here.");
	if (c->session->compress != NULL)
		return command_no(c, "COMPRESSIONACTIVE", "It is compressed already.");
	if (!session_compress(c->session))
		return command_no(c, "UNAVAILABLE", "There is no memory for it.");
	c->told_nothing = true;
	return command_ok(c, NULL, "DEFLATE from now on.");
}
