/* cmd-acl - SETACL DELETEACL GETACL LISTRIGHTS MYRIGHTS (RFC 4314); see acl.h. */
#include "imapd/acl.h"
#include "imapd/command.h"
#include "imapd/quote.h"
#include "imapd/share.h"

#include <errno.h>
#include <stdlib.h>

struct change_acl {
	char folder[MOST_FOLDER_NAME + 1];
	bool negative;
	struct text who;                 /* the identifier, as acl.h has it */
	struct acl acl;
	uint64_t change;                 /* that master must know (share_tell) */
};

static void
change_release(struct command *c)
{
	struct change_acl *a = c->state;

	text_clear(&a->who);
	acl_clear(&a->acl);
}

static struct change_acl *
change_new(struct command *c)
{
	struct change_acl *a = arena_alloc(&c->arena, sizeof(*a));

	a->who = TEXT_UP_TO(MOST_ACL_IDENTIFIER);
	a->acl.content = TEXT_UP_TO(0);
	c->state = a;
	c->release = change_release;
	return a;
}

/* SP mailbox, which the session may administer. False: answered. */
static bool
take_mailbox(struct command *c, struct change_acl *a)
{
	return command_take_folder(c, a->folder) && command_may(c, a->folder, RIGHT_ADMIN);
}

/* SP identifier. False: answered. */
static bool
take_identifier(struct command *c, struct change_acl *a)
{
	struct span name;

	if (!command_take_space(c))
		return false;
	if (!imap_take_astring(&c->args, &c->arena, &name))
		return command_bad(c, "an identifier: anyone, or a user's address"), false;
	a->negative = span_take(&name, '-');
	if (!acl_identifier(name, &a->who))
		return command_no(c, "CANNOT", "Rights are given to anyone, or to a user by his address."),
			false;
	return true;
}

static bool
is_owner(const struct command *c, const struct change_acl *a)
{
	return !a->negative &&
		span_equal(text_span(&a->who), span_str(c->session->account->user));
}

static void
name_write(struct command *c, const char *response, const char *folder)
{
	text_add_str(command_out(c), response);
	session_folder_write(c->session, folder, command_out(c));
}

static bool
slice_over(const void *session)
{
	return session_slice_over(session);
}

/* All folders are looked through for who has any right. */
static enum progress
change_step(struct command *c)
{
	struct change_acl *a = c->state;

	if (!share_tell(c->session->account, a->change, slice_over, c->session))
		return COMMAND_AGAIN;
	return command_ok(c, NULL, "The rights are changed.");
}

static enum progress
change(struct command *c, struct change_acl *a, unsigned int rights, unsigned char how)
{
	struct account *account = c->session->account;
	const struct acl_entry *e;
	unsigned int before;

	if (is_owner(c, a))
		return command_no(c, "CANNOT", "The owner of a mailbox has all rights, always.");
	if (acl_read(&account->store, a->folder, &a->acl) < 0)
		return command_failed(c, "acl");
	e = acl_find(&a->acl, a->negative, text_span(&a->who));
	before = e == NULL ? 0 : e->rights;
	if (how == '+')
		rights |= before;
	else if (how == '-')
		rights = before & ~rights;
	if (!acl_set(&a->acl, a->negative, text_span(&a->who), rights))
		return command_no(c, "LIMIT", "The mailbox has as many entries as it can.");
	if (share_forget(account) < 0 || acl_write(&account->store, a->folder, &a->acl) < 0)
		return command_failed(c, "acl");
	a->change = share_changed(account);
	c->step = change_step;
	return change_step(c);
}

enum progress
cmd_setacl(struct command *c)
{
	struct change_acl *a = change_new(c);
	struct span letters;
	unsigned int rights;
	unsigned char how = 0;

	if (!take_mailbox(c, a) || !take_identifier(c, a) || !command_take_space(c))
		return COMMAND_DONE;
	if (!imap_take_astring(&c->args, &c->arena, &letters))
		return command_bad(c, "rights");
	if (span_take(&letters, '+'))
		how = '+';
	else if (span_take(&letters, '-'))
		how = '-';
	if (!rights_take(letters, &rights))
		return command_bad(c, "rights of lrswipkxtea, perhaps behind + or -");
	return command_no_more(c) ? change(c, a, rights, how) : COMMAND_DONE;
}

enum progress
cmd_deleteacl(struct command *c)
{
	struct change_acl *a = change_new(c);

	if (!take_mailbox(c, a) || !take_identifier(c, a) || !command_no_more(c))
		return COMMAND_DONE;
	return change(c, a, 0, 0);
}

/* One astring, which may be a literal. */
static void
identifier_write(bool negative, struct span who, struct text *out)
{
	struct text name = TEXT_UP_TO(MOST_ACL_IDENTIFIER + 1);

	if (negative)
		text_add_byte(&name, '-');
	text_add(&name, who);
	quote_astring(out, text_span(&name));
	text_clear(&name);
}

enum progress
cmd_getacl(struct command *c)
{
	struct change_acl *a = change_new(c);
	struct text *out = command_out(c);

	if (!take_mailbox(c, a) || !command_no_more(c))
		return COMMAND_DONE;
	if (acl_read(&c->session->account->store, a->folder, &a->acl) < 0)
		return command_failed(c, "acl");
	name_write(c, "* ACL ", a->folder);
	text_add_byte(out, ' ');
	quote_astring(out, span_str(c->session->account->user));
	text_add_byte(out, ' ');
	rights_write(RIGHTS_ALL, out);
	for (size_t i = 0; i < a->acl.count; i++) {
		const struct acl_entry *e = &a->acl.at[i];

		text_add_byte(out, ' ');
		identifier_write(e->negative, e->who, out);
		text_add_byte(out, ' ');
		rights_write(e->rights, out);
	}
	text_add(out, SPAN("\r\n"));
	return command_ok(c, NULL, "GETACL completed.");
}

enum progress
cmd_listrights(struct command *c)
{
	struct change_acl *a = change_new(c);
	struct text *out = command_out(c);

	if (!take_mailbox(c, a) || !take_identifier(c, a) || !command_no_more(c))
		return COMMAND_DONE;
	if (folder_check(&c->session->account->store, a->folder) < 0)
		return command_failed(c, "acl");
	name_write(c, "* LISTRIGHTS ", a->folder);
	text_add_byte(out, ' ');
	identifier_write(a->negative, text_span(&a->who), out);
	text_add_byte(out, ' ');
	if (is_owner(c, a))
		rights_write(RIGHTS_ALL, out);
	else
		text_add(out, SPAN("\"\" l r s w i p k x t e a c d"));
	text_add(out, SPAN("\r\n"));
	return command_ok(c, NULL, "LISTRIGHTS completed.");
}

void
myrights_write(struct session *s, const char *folder)
{
	struct text *out = &s->out;

	text_add(out, SPAN("* MYRIGHTS "));
	session_folder_write(s, folder, out);
	text_add_byte(out, ' ');
	rights_write(session_rights(s, folder), out);
	text_add(out, SPAN("\r\n"));
}

/* RFC 4314 section 4: one of these is enough to ask, and the others alone say nothing of the mailbox. */
enum progress
cmd_myrights(struct command *c)
{
	const unsigned int any = RIGHT_LOOKUP | RIGHT_READ | RIGHT_INSERT | RIGHT_CREATE | RIGHT_DELETE | RIGHT_ADMIN;
	char folder[MOST_FOLDER_NAME + 1];

	if (!command_take_folder(c, folder) || !command_no_more(c))
		return COMMAND_DONE;
	if (folder_check(&c->session->account->store, folder) < 0)
		return command_failed(c, "acl");
	if (!(session_rights(c->session, folder) & any))
		return command_no(c, "NONEXISTENT", "There is no such mailbox.");
	myrights_write(c->session, folder);
	return command_ok(c, NULL, "MYRIGHTS completed.");
}
