/* cmd-quota - GETQUOTA GETQUOTAROOT SETQUOTA (RFC 9208). There is one quota root, "", with all that the user has;
 * without limits there is none. `valija user quota` sets them, nobody here. That of another user has the name of his
 * INBOX (share.h). */
#include "imapd/acl.h"
#include "imapd/command.h"
#include "imapd/folder.h"
#include "imapd/quote.h"
#include "imapd/share.h"

#include <errno.h>

static void
resource_write(struct text *out, const char *name, uint64_t used, uint64_t most)
{
	text_add_str(out, name);
	text_add_byte(out, ' ');
	text_add_number(out, used);
	text_add_byte(out, ' ');
	text_add_number(out, most);
}

/* As session_quote_name() wants it. */
static void
root_name(const struct session *s, struct text *name)
{
	if (session_is_guest(s))
		session_spell(s, SPAN("INBOX"), name);
}

static void
root_write(const struct session *s, struct text *out)
{
	struct text name = TEXT_UP_TO(4 * (MOST_FOLDER_NAME + MOST_ADDRESS));

	root_name(s, &name);
	session_quote_name(s, text_span(&name), out);
	text_clear(&name);
}

static bool
is_root(const struct session *s, struct span root)
{
	struct text name = TEXT_UP_TO(4 * (MOST_FOLDER_NAME + MOST_ADDRESS));
	bool is;

	root_name(s, &name);
	is = span_equal(root, text_span(&name));
	text_clear(&name);
	return is;
}

/* "* QUOTA "" (STORAGE 10 512 MESSAGE 20 100)"; STORAGE counts 1024 octets (RFC 9208 5.1). False: answered. */
static bool
quota_write(struct command *c)
{
	struct store *store = &c->session->account->store;
	const struct quota *q = &store->quota;
	struct text *out = command_out(c);
	struct quota_usage u;

	if (!quota_is_set(q))
		return true;
	if (store_usage(store, &u) < 0)
		return command_failed(c, "quota"), false;
	text_add(out, SPAN("* QUOTA "));
	root_write(c->session, out);
	text_add(out, SPAN(" ("));
	if (q->bytes != 0)
		resource_write(out, "STORAGE", (u.bytes + 1023) / 1024, q->bytes / 1024);
	if (q->bytes != 0 && q->messages != 0)
		text_add_byte(out, ' ');
	if (q->messages != 0)
		resource_write(out, "MESSAGE", u.messages, q->messages);
	text_add(out, SPAN(")\r\n"));
	return true;
}

static bool
take_root(struct command *c, struct span *root)
{
	if (!command_take_space(c))
		return false;
	if (!imap_take_astring(&c->args, &c->arena, root))
		return command_bad(c, "the name of a quota root"), false;
	return true;
}

static enum progress
no_root(struct command *c)
{
	return command_no(c, "NONEXISTENT", "There is no such quota root.");
}

static enum progress
getquota_answer(struct command *c)
{
	return quota_write(c) ? command_ok(c, NULL, "GETQUOTA completed.") : COMMAND_DONE;
}

/* For a guest: is there a mailbox whose messages he may count (RFC 9208 section 6)? */
struct root_guest {
	struct folder_list folders;
	size_t at;
};

static void
getquota_release(struct command *c)
{
	struct root_guest *g = c->state;

	folder_list_clear(&g->folders);
}

static enum progress
getquota_step(struct command *c)
{
	struct root_guest *g = c->state;
	char folder[MOST_FOLDER_NAME + 1];
	const char *why;

	while (g->at < g->folders.count) {
		if (session_slice_over(c->session))
			return COMMAND_AGAIN;
		if (folder_of_name(g->folders.entries[g->at++].name, folder, &why) &&
			(session_rights(c->session, folder) & RIGHT_READ))
			return getquota_answer(c);
	}
	return no_root(c);
}

enum progress
cmd_getquota(struct command *c)
{
	struct root_guest *g;
	struct span root;

	if (!take_root(c, &root) || !command_no_more(c))
		return COMMAND_DONE;
	if (!is_root(c->session, root) || !quota_is_set(&c->session->account->store.quota))
		return no_root(c);
	if (!session_is_guest(c->session))
		return getquota_answer(c);
	g = arena_alloc(&c->arena, sizeof(*g));
	if (folder_list_read(&c->session->account->store, false, &g->folders) < 0)
		return command_failed(c, "quota");
	c->state = g;
	c->release = getquota_release;
	c->step = getquota_step;
	return getquota_step(c);
}

enum progress
cmd_getquotaroot(struct command *c)
{
	const struct store *store = &c->session->account->store;
	struct text *out = command_out(c);
	char folder[MOST_FOLDER_NAME + 1];

	if (!command_take_folder(c, folder) || !command_no_more(c))
		return COMMAND_DONE;
	/* The owner may ask of a mailbox that is still to be made (RFC 9208 4.1.2). */
	if (!command_may(c, folder, RIGHT_READ))
		return COMMAND_DONE;
	if (folder_check(store, folder) < 0 && (errno != ENOENT || session_is_guest(c->session)))
		return command_failed(c, "quota");
	text_add(out, SPAN("* QUOTAROOT "));
	session_folder_write(c->session, folder, out);
	if (quota_is_set(&store->quota)) {
		text_add_byte(out, ' ');
		root_write(c->session, out);
	}
	text_add(out, SPAN("\r\n"));
	return quota_write(c) ? command_ok(c, NULL, "GETQUOTAROOT completed.") : COMMAND_DONE;
}

/* "(" [resource SP number *(SP resource SP number)] ")" */
static bool
take_limits(struct command *c)
{
	struct span word;
	uint64_t n;
	bool first = true;

	if (!span_take(&c->args, '('))
		return false;
	while (!span_take(&c->args, ')')) {
		if ((!first && !imap_take_space(&c->args)) || !imap_take_atom(&c->args, &word) ||
			!imap_take_space(&c->args) || !span_take_number(&c->args, INT64_MAX, &n))
			return false;
		first = false;
	}
	return true;
}

enum progress
cmd_setquota(struct command *c)
{
	struct span root;

	if (!take_root(c, &root) || !command_take_space(c))
		return COMMAND_DONE;
	if (!take_limits(c))
		return command_bad(c, "a list of resources and limits, such as (STORAGE 512)");
	if (!command_no_more(c))
		return COMMAND_DONE;
	return command_no(c, "NOPERM", "Only an administrator sets limits.");
}
