/* login-verbs - the commands before login (RFC 3501 6.1, 6.2; RFC 2971; RFC 4959), in one table. */
#include "imapd/login.h"

#include "common/log.h"
#include "common/tls-ask.h"
#include "imapd/imap-parse.h"

struct words {
	struct login *login;
	struct span args;            /* behind the verb */
	struct arena arena;
};

struct verb {
	const char *word;
	void (*run)(struct words *w);
};

static bool
nothing_more(struct words *w)
{
	if (w->args.len == 0)
		return true;
	login_bad(w->login, "nothing more behind the command");
	return false;
}

static void
do_capability(struct words *w)
{
	struct text line = TEXT_UP_TO(1000);

	if (!nothing_more(w))
		return;
	text_add(&line, SPAN("* CAPABILITY "));
	login_write_capabilities(w->login, &line);
	text_add(&line, SPAN("\r\n"));
	login_say(w->login, text_span(&line));
	text_clear(&line);
	login_ok(w->login, NULL, "CAPABILITY completed.");
}

static void
do_noop(struct words *w)
{
	if (nothing_more(w))
		login_ok(w->login, NULL, "NOOP completed.");
}

static void
do_logout(struct words *w)
{
	struct login *l = w->login;

	if (!nothing_more(w))
		return;
	text_add(&l->out, SPAN("* BYE Logging out.\r\n"));
	l->state = LOGIN_CLOSING;
	login_ok(l, NULL, "LOGOUT completed.");
}

static void
do_id(struct words *w)
{
	if (!imap_take_space(&w->args) || !imap_take_id(&w->args, &w->arena)) {
		login_bad(w->login, "NIL or a list of at most 30 pairs of strings (RFC 2971)");
		return;
	}
	if (!nothing_more(w))
		return;
	login_say(w->login, SPAN("* ID (\"name\" \"Valija\")\r\n"));
	login_ok(w->login, NULL, "ID completed.");
}

static void
do_starttls(struct words *w)
{
	struct login *l = w->login;
	size_t pipelined;

	if (!nothing_more(w))
		return;
	if (l->tls) {
		login_bad(l, "no second TLS");
		return;
	}
	if (!tls_is_offered(&l->front->daemon)) {
		login_no(l, "UNAVAILABLE", "TLS is not available now.");
		return;
	}
	/* Commands in clear behind STARTTLS would be taken for the client's own once TLS is on
	 * (CVE-2011-0411, CVE-2021-33515): nobody honest sends any before the answer. */
	pipelined = imap_input_rest(&l->input).len;
	if (pipelined > 0) {
		log_notice(l->id, "starttls-injection", KEY_STR("ip", l->ip),
			KEY_NUM("bytes", pipelined));
		login_bad(l, "nothing behind STARTTLS before its answer");
		login_bye(l, "Commands behind STARTTLS.");
		return;
	}
	l->starts_tls = true;
	login_ok(l, NULL, "Begin TLS negotiation now.");
}

/* Before TLS no login, whatever the client tries (RFC 3501 6.2.3, RFC 5530). */
static bool
may_log_in(struct login *l)
{
	if (l->tls)
		return true;
	login_no(l, "PRIVACYREQUIRED", "Log in under TLS only: STARTTLS first.");
	return false;
}

static void
do_login(struct words *w)
{
	struct login *l = w->login;
	struct text plain = TEXT_UP_TO(MOST_SASL);
	struct span user, password;

	if (!imap_take_space(&w->args) || !imap_take_astring(&w->args, &w->arena, &user) ||
		!imap_take_space(&w->args) ||
		!imap_take_astring(&w->args, &w->arena, &password)) {
		login_bad(l, "a user name and a password");
		return;
	}
	if (!nothing_more(w) || !may_log_in(l))
		return;
	/* LOGIN is SASL PLAIN in other words (RFC 4616). The parser has refused NUL. */
	text_add_byte(&plain, 0);
	text_add(&plain, user);
	text_add_byte(&plain, 0);
	text_add(&plain, password);
	if (plain.failed)
		login_bad(l, "a shorter user name and password");
	else
		login_authenticate(l, SPAN("PLAIN"), true, text_span(&plain));
	text_wipe(&plain);
}

static void
do_authenticate(struct words *w)
{
	struct login *l = w->login;
	struct text initial = TEXT_UP_TO(MOST_SASL);
	struct span mechanism, base64 = SPAN_NONE;
	bool has_initial;

	if (!imap_take_space(&w->args) || !imap_take_atom(&w->args, &mechanism) ||
		mechanism.len > 20) {
		login_bad(l, "the name of a SASL mechanism");
		return;
	}
	has_initial = w->args.len > 0;
	if (has_initial && !imap_take_space(&w->args)) {
		login_bad(l, "a space before the initial response");
		return;
	}
	base64 = w->args;
	/* RFC 4959 section 3: "=" is a response of no octets. */
	if (has_initial && !span_equal(base64, SPAN("=")) &&
		(base64.len == 0 || !text_add_base64_decoded(&initial, base64)))
		login_bad(l, "an initial response in base64");
	else if (may_log_in(l))
		login_authenticate(l, mechanism, has_initial, text_span(&initial));
	text_wipe(&initial);
}

static const struct verb verbs[] = {
	{ "CAPABILITY",   do_capability },
	{ "NOOP",         do_noop },
	{ "LOGOUT",       do_logout },
	{ "ID",           do_id },
	{ "STARTTLS",     do_starttls },
	{ "LOGIN",        do_login },
	{ "AUTHENTICATE", do_authenticate },
};

void
login_command(struct login *l, struct span command)
{
	struct words w = { .login = l, .args = command };
	const struct verb *verb = NULL;
	struct span tag, word;

	l->tag[0] = '\0';
	(void)span_copy(SPAN("?"), l->verb, sizeof(l->verb));
	if (!imap_take_tag(&w.args, &tag) || !span_copy(tag, l->tag, sizeof(l->tag)) ||
		!imap_take_space(&w.args) ||
		!imap_take_atom(&w.args, &word)) {
		login_bad(l, "a tag of at most 64 letters, a space and a command");
		return;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (span_equal_nocase(word, span_str(verbs[i].word)))
			verb = &verbs[i];
	}
	if (verb == NULL) {
		login_bad(l, "a command that is allowed before login");
		return;
	}
	(void)span_copy(span_str(verb->word), l->verb, sizeof(l->verb));
	verb->run(&w);
	arena_clear(&w.arena);
}
