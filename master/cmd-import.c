/*
 * cmd-import - mail of another server, into the mailboxes of users.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/address.h"
#include "common/beneath.h"
#include "master/cmd.h"
#include "master/import.h"
#include "master/userbase.h"

#define MOST_SENTENCE 1024

static const struct option_row options[] = {
	{ "--user", "NAME@DOMAIN", "whose mailbox; without it SOURCE is looked for with each user's name in it", false },
	{ "--folder", "NAME", "where one mbox goes (default: INBOX)", false },
	{ NULL, NULL, NULL, false },
};

struct run {
	const struct invocation *v;
	const char *source, *folder, *only;
	int mail;
	unsigned int found;
	bool failed;
	struct text addresses; /* of all that are meant, a line each */
};

/* %u: the address, %n: its local part, %d: its domain, %%: a percent sign. */
static bool
source_of(const char *source, struct span user, struct text *to)
{
	size_t at = span_rindex(user, '@');

	for (const char *c = source; *c; c++) {
		if (*c != '%') {
			text_add_byte(to, (unsigned char)*c);
			continue;
		}
		switch (*++c) {
		case 'u': text_add(to, user); break;
		case 'n': text_add(to, span_part(user, 0, at)); break;
		case 'd': text_add(to, span_part(user, at + 1, user.len)); break;
		case '%': text_add_byte(to, '%'); break;
		default: return false;
		}
	}
	return !to->failed;
}

static bool
note_user(void *me, const struct user *u)
{
	struct run *r = me;

	if (u->home.len && u->home.at[0] != '/') {
		text_add(&r->addresses, u->address);
		text_add_byte(&r->addresses, '\n');
	}
	return true;
}

/* What kind of place is it? `source` is taken. */
static void
import_source(struct run *r, struct import *in, int source, const char *name)
{
	struct text folder = TEXT_UP_TO(MAILDIR_MOST_NAME);
	struct stat st;

	if (fstat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		import_maildir(in, source);
		if (in->folders == 0 && in->failed == 0)
			import_mboxes(in, source);
		close(source);
	} else {
		if (r->folder && strcasecmp(r->folder, "INBOX") != 0)
			text_printf(&folder, ".%s", r->folder);
		for (size_t i = 0; i < folder.len; i++)
			if (folder.at[i] == '/')
				folder.at[i] = '.';
		if (import_into(in, text_str(&folder))) {
			import_mbox(in, source, name);
			import_folder_end(in, "");
		} else {
			close(source);
		}
	}
	if (in->folders == 0 && in->failed == 0)
		import_complain(in, "%s has neither Maildirs nor mbox files", name);
	text_clear(&folder);
}

/* The tables are open, and locked, for the look only: an import may take hours. */
static bool
find_user(const struct run *r, struct span address, struct text *value, struct user *u)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	struct userbase *base = userbase_open(&r->v->paths, &why);
	bool found = base && userbase_find(base, address, value, u) && u->home.len && u->home.at[0] != '/';

	if (!base)
		cmd_fail(0, "%s", text_str(&why));
	else if (!found)
		cmd_fail(0, "%.*s is no user with a mailbox of ours", SPAN_ARG(address));
	userbase_close(&base);
	text_clear(&why);
	return found;
}

/* The user's Maildir, made where it is missing. -1 after complaining. */
static int
open_place(const struct run *r, const struct user *u, const char *name)
{
	struct import who = { .uid = u->uid, .gid = u->gid, .root = geteuid() == 0 };
	struct text home = TEXT_UP_TO(MOST_PATH_NAME);
	int maildir;

	text_printf(&home, "%.*s/Maildir", SPAN_ARG(u->home));
	import_as_user(&who);
	maildir = maildir_open(r->mail, text_str(&home), true);
	if (maildir >= 0 && maildir_make_standard(maildir) < 0) {
		close(maildir);
		maildir = -1;
	}
	import_as_self(&who);
	if (maildir < 0)
		cmd_fail(0, "%s: %s/%s: %s", name, r->v->paths.mail, text_str(&home), strerror(errno));
	text_clear(&home);
	return maildir;
}

static void
import_user(struct run *r, struct span address)
{
	struct text value = TEXT_UP_TO(MOST_USER_RECORD), path = TEXT_UP_TO(MOST_PATH_NAME),
		    name = TEXT_UP_TO(MOST_ADDRESS);
	int source = -1, maildir = -1;
	struct import in;
	struct user u;

	text_add(&name, address);
	if (!find_user(r, address, &value, &u)) {
		r->failed = true;
	} else if (!source_of(r->source, address, &path)) {
		r->failed = true;
		cmd_fail(0, "SOURCE has a %% that is none of %%u, %%n, %%d, %%%%, or is too long");
	} else if ((source = open_path_typed(text_str(&path), O_RDONLY)) < 0) {
		/* Of many users some have no mail yet. */
		r->failed = r->failed || r->only || errno != ENOENT;
		cmd_fail(0, "%s: %s: %s", text_str(&name), text_str(&path),
			errno == ELOOP ? "a link of somebody else's on the way; name the place that it leads to"
				       : strerror(errno));
	} else if ((maildir = open_place(r, &u, text_str(&name))) < 0) {
		r->failed = true;
		close(source);
	} else {
		r->found++;
		import_begin(&in, maildir, u.uid, u.gid, text_str(&name));
		import_source(r, &in, source, text_str(&path));
		r->failed = !import_end(&in) || r->failed;
	}
	text_clear(&value);
	text_clear(&path);
	text_clear(&name);
}

static void
import_all(struct run *r)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	struct userbase *base = userbase_open(&r->v->paths, &why);
	struct span left, one;

	if (base)
		userbase_each(base, note_user, r);
	else
		cmd_fail(0, "%s", text_str(&why));
	userbase_close(&base);
	for (left = text_span(&r->addresses); span_take_until(&left, '\n', &one);)
		import_user(r, one);
	if (r->addresses.len && r->found == 0)
		cmd_fail(0, "no user has mail at %s", r->source);
	r->failed = r->failed || r->found == 0;
	text_clear(&why);
}

static int
run(struct invocation *v)
{
	struct run r = { .v = v, .source = v->arguments[0], .folder = cmd_option(v, "--folder"),
		.only = cmd_option(v, "--user"), .addresses = TEXT_UP_TO(256u * 1024 * 1024) };

	if (!r.only && !strchr(r.source, '%'))
		return cmd_fail(EX_USAGE, "whose mail is it? Say --user NAME@DOMAIN, or write %%u, %%n and %%d into SOURCE");
	for (const char *c = r.folder; c && *c; c++)
		if (*c < ' ' || *c > '~')
			return cmd_fail(EX_USAGE, "--folder: letters of ASCII, or modified UTF-7 (RFC 3501 5.1.3)");
	/* setfsuid, with which the user's place is made, leaves the groups as they are. */
	if (geteuid() == 0 && setgroups(0, NULL) < 0)
		return cmd_fail(EX_OSERR, "setgroups: %s", strerror(errno));
	r.mail = open(v->paths.mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r.mail < 0)
		return cmd_fail(EX_NOINPUT, "%s: %s", v->paths.mail, strerror(errno));
	if (r.only)
		import_user(&r, span_str(r.only));
	else
		import_all(&r);
	close(r.mail);
	text_clear(&r.addresses);
	return r.failed ? EX_IOERR : EX_OK;
}

const struct command cmd_import = {
	.words = "import",
	.arguments = "SOURCE",
	.least = 1,
	.most = 1,
	.help = "take mail of another server over: Maildir (Dovecot, Courier), mbox, or a directory of these",
	.options = options,
	.run = run,
};
