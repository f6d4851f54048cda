/* cmd-any - CAPABILITY NOOP LOGOUT ID ENABLE NAMESPACE CHECK, and what is over once one has logged
 * in. */
#include "imapd/condstore.h"

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

static const struct {
	const char *word;
	void (*enable)(struct session *s);
} extensions[] = {
	{ "CONDSTORE", condstore_enable },
	{ "IMAP4rev2", enable_rev2 },
	{ "UTF8=ACCEPT", enable_utf8 },
};

#define EXTENSIONS (sizeof(extensions) / sizeof(extensions[0]))

/* RFC 5161 3.1: what cannot be enabled is passed over, and what is enabled already, too. */
static void
note_enabled(struct span word, unsigned int *which, struct text *enabled)
{
	for (size_t i = 0; i < EXTENSIONS; i++) {
		if (!span_equal_nocase(word, span_str(extensions[i].word)))
			continue;
		*which |= 1u << i;
		text_add_byte(enabled, ' ');
		text_add_str(enabled, extensions[i].word);
	}
}

enum progress
cmd_enable(struct command *c)
{
	struct text enabled = TEXT_UP_TO(1000);
	unsigned int which = 0;
	struct span word;

	do {
		if (!command_take_space(c))
			break;
		if (!imap_take_atom(&c->args, &word)) {
			(void)command_bad(c, "the name of an extension");
			break;
		}
		note_enabled(word, &which, &enabled);
	} while (c->args.len > 0);
	if (c->answer.len == 0) {
		text_add(command_out(c), SPAN("* ENABLED"));
		text_add(command_out(c), text_span(&enabled));
		text_add(command_out(c), SPAN("\r\n"));
		/* What follows from it is told behind it. */
		for (size_t i = 0; i < EXTENSIONS; i++) {
			if (which >> i & 1)
				extensions[i].enable(c->session);
		}
		(void)command_ok(c, NULL, "ENABLE completed.");
	}
	text_clear(&enabled);
	return COMMAND_DONE;
}

enum progress
cmd_namespace(struct command *c)
{
	if (!command_no_more(c))
		return COMMAND_DONE;
	text_add(command_out(c), SPAN("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n"));
	return command_ok(c, NULL, "NAMESPACE completed.");
}
