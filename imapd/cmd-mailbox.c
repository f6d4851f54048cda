/* cmd-mailbox - CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE (RFC 3501 6.3.3 to 6.3.7). */
#include "imapd/acl.h"
#include "imapd/command.h"
#include "imapd/copy.h"
#include "imapd/metadata.h"
#include "imapd/notify.h"
#include "imapd/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* RFC 8474 4.1: the new mailbox's id, if it can be opened. */
static enum progress
tell_created(struct command *c, const char *folder)
{
	struct mailbox *m = mailbox_open(&c->session->account->store, folder);
	struct text code = TEXT_UP_TO(200);

	if (m != NULL) {
		text_add(&code, SPAN("MAILBOXID ("));
		mailbox_id_write(&m->index, &code);
		text_add_byte(&code, ')');
		mailbox_release(&m);
	}
	(void)command_ok(c, code.len > 0 ? text_str(&code) : NULL, "CREATE completed.");
	text_clear(&code);
	return COMMAND_DONE;
}

/* [SP "(" USE SP "(" use-attr *(SP use-attr) ")" ")"] (RFC 6154 section 3). One use is kept of each
 * mailbox; more of them are refused, as the RFC allows. False: answered. */
static bool
take_uses(struct command *c, const char **use)
{
	struct span word;

	if (c->args.len == 0)
		return true;
	if (!span_take_word(&c->args, SPAN(" (USE (")))
		return command_bad(c, "nothing more, or (USE (\\Sent))"), false;
	while (!span_take(&c->args, ')')) {
		if (*use != NULL)
			return command_no(c, "USEATTR", "A mailbox has one special use."), false;
		if (!span_take(&c->args, '\\') || !imap_take_atom(&c->args, &word))
			return command_bad(c, "special uses such as \\Sent"), false;
		*use = folder_use_of(span_of(word.at - 1, word.len + 1));
		if (*use == NULL)
			return command_no(c, "USEATTR", "There is no such special use."), false;
		(void)imap_take_space(&c->args);
	}
	if (!span_take(&c->args, ')'))
		return command_bad(c, "a closing parenthesis behind USE (...)"), false;
	return true;
}

static int
keep_use(struct store *store, const char *folder, const char *use)
{
	struct metadata *m = must_alloc(sizeof(*m));
	int result = -1;

	if (metadata_read(store, folder, m) == 0 &&
		metadata_set(m, SPAN(METADATA_SPECIAL_USE), span_str(use)))
		result = metadata_write(store, folder, m);
	metadata_clear(m);
	free(m);
	return result;
}

/* The nearest folder above that is there; INBOX, where there is none. */
static void
parent_of(const struct store *store, const char *folder, char parent[MOST_FOLDER_NAME + 1])
{
	(void)span_copy(span_str(folder), parent, MOST_FOLDER_NAME + 1);
	do {
		char *dot = strrchr(parent, '.');

		*(dot == NULL ? parent : dot) = '\0';
	} while (parent[0] != '\0' && folder_check(store, parent) < 0);
}

/* May it be made there? What is at the top is the owner's alone. The answer is the same below a mailbox that the guest
 * may not know of and below one that is not there (P7). */
static bool
may_make(struct command *c, const char *folder)
{
	char parent[MOST_FOLDER_NAME + 1];

	if (!session_is_guest(c->session))
		return true;
	parent_of(&c->session->account->store, folder, parent);
	if (parent[0] != '\0' && (session_rights(c->session, parent) & RIGHT_CREATE))
		return true;
	return command_no(c, "NOPERM", "You may not make mailboxes here."), false;
}

/* Who has rights above a new folder has them there too (RFC 4314 section 3 leaves it to us). */
static int
inherit_rights(struct store *store, const char *folder, const char *parent)
{
	struct acl *acl = must_alloc(sizeof(*acl));
	int result = 0;

	if (parent[0] != '\0')
		result = acl_read(store, parent, acl);
	if (result == 0 && acl->count > 0)
		result = acl_write(store, folder, acl);
	acl_clear(acl);
	free(acl);
	return result;
}

enum progress
cmd_create(struct command *c)
{
	char folder[MOST_FOLDER_NAME + 1], parent[MOST_FOLDER_NAME + 1];
	const char *why, *use = NULL;
	struct span name;

	if (!command_take_space(c))
		return COMMAND_DONE;
	if (!imap_take_astring(&c->args, &c->arena, &name))
		return command_bad(c, "the name of a mailbox");
	if (!take_uses(c, &use) || !command_no_more(c))
		return COMMAND_DONE;
	/* A separator at the end only says that names below it will follow (RFC 3501 6.3.3). */
	if (name.len > 1 && name.at[name.len - 1] == (unsigned char)session_separator(c->session))
		name.len--;
	if (!session_folder_of(c->session, name, folder, &why))
		return command_no(c, "CANNOT", why);
	if (folder[0] == '\0')
		return command_no(c, "ALREADYEXISTS", "INBOX is always there.");
	if (!may_make(c, folder))
		return COMMAND_DONE;
	parent_of(&c->session->account->store, folder, parent);
	if (folder_create(&c->session->account->store, folder) < 0)
		return command_failed(c, "create");
	if (inherit_rights(&c->session->account->store, folder, parent) < 0 ||
		(use != NULL && keep_use(&c->session->account->store, folder, use) < 0)) {
		(void)command_failed(c, "create");
		(void)folder_delete(&c->session->account->store, folder);
		return COMMAND_DONE;
	}
	notify_name(c->session, folder, NULL);
	session_tell_name(c->session, "", folder, name, false, command_out(c));      /* RFC 9051 6.3.4 */
	return tell_created(c, folder);
}

/* RFC 9051 6.3.5: a name that is told only because of what is below it. Sets errno to what it was. */
static bool
has_below(const struct store *store, const char *folder)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);
	struct folder_list list;
	bool found = false;
	int saved = errno;

	if (folder_list_read(store, false, &list) == 0) {
		folder_name_write(folder, &name);
		for (size_t i = 0; i < list.count && !found; i++)
			found = folder_name_is_below(list.entries[i].name, text_span(&name));
		folder_list_clear(&list);
	}
	text_clear(&name);
	errno = saved;
	return found;
}

enum progress
cmd_delete(struct command *c)
{
	struct account *a = c->session->account;
	char folder[MOST_FOLDER_NAME + 1];

	if (!command_take_folder(c, folder) || !command_no_more(c))
		return COMMAND_DONE;
	if (folder[0] == '\0')
		return command_no(c, "CANNOT", "INBOX cannot be deleted.");
	if (!command_may(c, folder, RIGHT_DELETE))
		return COMMAND_DONE;
	if (folder_delete(&a->store, folder) < 0)
		return errno == ENOENT && has_below(&a->store, folder) ? command_no(c, "HASCHILDREN",
			"That is no mailbox, but there are some below it.") : command_failed(c, "delete");
	a->removing = true;
	account_housekeep(a);
	notify_name(c->session, folder, NULL);
	/* Sessions that have it selected learn it at their next command (and by BYE): this one may
	 * go on. */
	if (c->session->view != NULL && c->session->view->mailbox->gone) {
		mail_cache_clear(&c->session->mail);
		view_close(&c->session->view);
	}
	session_tell_name(c->session, "\\NonExistent", folder, c->said, false, command_out(c));      /* RFC 9051 6.3.5 */
	return command_ok(c, NULL, "DELETE completed.");
}

/* RENAME INBOX moves its messages and leaves it empty (RFC 3501 6.3.5). */
static enum progress
rename_inbox(struct command *c, const char *to)
{
	struct store *store = &c->session->account->store;
	struct mailbox *inbox, *target;

	if (folder_create(store, to) < 0)
		return command_failed(c, "rename");
	inbox = mailbox_open(store, "");
	target = inbox == NULL ? NULL : mailbox_open(store, to);
	if (target == NULL) {
		mailbox_release(&inbox);
		return command_failed(c, "rename");
	}
	notify_name(c->session, to, NULL);       /* RFC 5465 5.4: INBOX itself is told as new */
	session_tell_name(c->session, "", to, c->said, false, command_out(c));
	return copy_all_begin(c, inbox, target);
}

/* RFC 9051 6.3.6: where either was said otherwise, what is called how now. */
static void
tell_renamed(struct command *c, const char *from, struct span said, const char *to)
{
	if (!session_spells_so(c->session, from, said) || !session_spells_so(c->session, to, c->said))
		session_tell_name(c->session, "", to, said, true, command_out(c));
}

enum progress
cmd_rename(struct command *c)
{
	char from[MOST_FOLDER_NAME + 1], to[MOST_FOLDER_NAME + 1];
	struct store *store = &c->session->account->store;
	struct span said;

	if (!command_take_folder(c, from))
		return COMMAND_DONE;
	said = c->said;
	if (!command_take_folder(c, to) || !command_no_more(c))
		return COMMAND_DONE;
	if (to[0] == '\0')
		return command_no(c, "ALREADYEXISTS", "INBOX is always there.");
	if (from[0] == '\0' && session_is_guest(c->session))
		return command_no(c, "NOPERM", "INBOX is its owner's.");
	if (from[0] == '\0')
		return rename_inbox(c, to);
	if (!command_may(c, from, RIGHT_DELETE) || !may_make(c, to))
		return COMMAND_DONE;
	if (folder_rename(store, from, to) < 0)
		return command_failed(c, "rename");
	notify_name(c->session, to, from);
	tell_renamed(c, from, said, to);
	return command_ok(c, NULL, "RENAME completed.");
}

/* Another user's mailbox: its name is kept as it is (RFC 3501 6.3.6: it need not be there). */
static int
subscribe_foreign(struct command *c, struct span name, bool subscribed)
{
	struct text wire = TEXT_UP_TO(MOST_FOREIGN_NAME);
	int result;

	session_foreign_name(c->session, name, &wire);
	errno = ENAMETOOLONG;
	result = wire.failed ? -1 :
		folder_subscribe_foreign(&c->session->account->store, text_span(&wire), subscribed);
	text_clear(&wire);
	return result;
}

static enum progress
subscribe(struct command *c, bool subscribed)
{
	struct store *store = &c->session->account->store;
	char folder[MOST_FOLDER_NAME + 1], owner[MOST_ADDRESS + 1];
	const char *why;
	struct span name;
	bool foreign;
	int result;

	if (!command_take_space(c))
		return COMMAND_DONE;
	if (!imap_take_astring(&c->args, &c->arena, &name))
		return command_bad(c, "the name of a mailbox");
	if (!command_no_more(c))
		return COMMAND_DONE;
	foreign = session_name_owner(c->session, name, owner);
	if (foreign)
		result = subscribe_foreign(c, name, subscribed);
	else if (!session_folder_of(c->session, name, folder, &why))
		return command_no(c, "CANNOT", why);
	else
		result = subscribed && folder_check(store, folder) < 0 ? -1 :
			folder_subscribe(store, folder, subscribed);
	/* Another program's list may have a name that is not in NFC, and whose folder is gone. */
	if (result == 0 && !foreign && !subscribed && session_folder_said(c->session, name, folder, &why))
		result = folder_subscribe(store, folder, false);
	if (result < 0)
		return command_failed(c, "subscribe");
	if (!foreign)            /* NOTIFY is about one's own (notify.h) */
		notify_subscription(c->session, folder);
	return command_ok(c, NULL, subscribed ? "SUBSCRIBE completed." : "UNSUBSCRIBE completed.");
}

enum progress
cmd_subscribe(struct command *c)
{
	return subscribe(c, true);
}

enum progress
cmd_unsubscribe(struct command *c)
{
	return subscribe(c, false);
}
