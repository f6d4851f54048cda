/*
 * cmd-user - adds, changes, removes and shows users.
 *
 * Passwords come from the terminal or the standard input, never from an argument, which every
 * user of the machine could read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/address.h"
#include "common/maildir.h"
#include "common/password.h"
#include "common/room.h"
#include "common/settings.h"
#include "master/cmd.h"
#include "master/credential.h"
#include "master/json.h"
#include "master/layout.h"
#include "master/prompt.h"
#include "master/userbase.h"

#define MOST_SENTENCE 1024

static const struct option_row password_options[] = {
	{ "--stdin", NULL, "the password is the first line of the standard input", false },
	{ NULL, NULL, NULL, false },
};

static const struct option_row json_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

/* The key of the address that was given. False after complaining. */
static bool
take_key(const struct invocation *v, struct text *key, struct span *domain)
{
	struct span in = span_str(v->arguments[0]);
	struct address a;

	*key = TEXT_UP_TO(MOST_ADDRESS);
	if (address_take_mailbox(&in, true, &a) != ADDRESS_OK || in.len != 0 || a.literal ||
		a.domain.len == 0 || !address_key(&a, key)) {
		cmd_fail(0, "%s is not an address of the form NAME@DOMAIN", v->arguments[0]);
		return false;
	}
	*domain = a.domain;
	return true;
}

static bool
is_domain_here(const struct invocation *v, struct span domain, int *status)
{
	struct settings *s = cmd_settings(v, false);
	struct text all = TEXT_UP_TO(MOST_SENTENCE);
	bool here = s && settings_is_local_domain(s, domain);

	*status = s ? EX_DATAERR : EX_CONFIG;
	for (size_t i = 0; s && i < s->domains.count; i++)
		text_printf(&all, "%s%.*s", i ? ", " : "", SPAN_ARG(s->domains.at[i]));
	if (s && !here)
		cmd_fail(0, "%.*s is not a domain of this server; `domains` in %s has: %s",
			SPAN_ARG(domain), v->paths.conf, all.len ? text_str(&all) : "none");
	settings_free(&s);
	text_clear(&all);
	return here;
}

/* --- the Maildir --- */

/* In the child: become the owner, then make the Maildir and its folders. Returns the exit code.
 * */
static int
make_maildir(int root, const char *home, unsigned int uid, unsigned int gid)
{
	char *path = paths_join(home, "Maildir");
	int maildir;

	if (geteuid() == 0 && room_become(uid, gid, NULL, 0, 0) < 0)
		return cmd_fail(EX_OSERR, "cannot become uid %u: %s", uid, strerror(errno));
	maildir = maildir_open(root, path, true);
	if (maildir < 0 || maildir_make_standard(maildir) < 0)
		return cmd_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
	close(maildir);
	free(path);
	return EX_OK;
}

/* What is made in a user's place is made by that user: no link there can lead root astray. */
static int
make_maildir_as_owner(
	const struct invocation *v, const char *home, unsigned int uid, unsigned int gid)
{
	int root = open(v->paths.mail, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;
	pid_t pid;

	if (root < 0)
		return cmd_fail(EX_CANTCREAT, "%s: %s", v->paths.mail, strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(make_maildir(root, home, uid, gid));
	close(root);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return cmd_fail(EX_OSERR, "%s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

/* --- add, passwd, del --- */

/* Asks for a password; *c is what is to be kept of it. `old` is what was kept until now, or NULL. */
static bool
new_credential(const struct invocation *v, const char *whose, const struct password *old,
	struct credential *c)
{
	struct text password, prepared = TEXT_UP_TO(MOST_PASSWORD), why = TEXT_UP_TO(MOST_SENTENCE);
	struct settings *s = cmd_settings(v, false);
	bool done = false;

	memset(c, 0, sizeof *c);
	if (!s)
		return false;
	if (!prompt_password(whose, cmd_option(v, "--stdin") != NULL, &password, &why))
		cmd_fail(0, "%s", text_str(&why));
	else if (!password_prepare(text_span(&password), &prepared))
		cmd_fail(0,
			"the password is too long, or has characters that clients cannot send");
	else if (!credential_make(c, text_span(&prepared), s, old, &why))
		cmd_fail(0, "%s", text_str(&why));
	else
		done = true;
	text_wipe(&password);
	text_wipe(&prepared);
	text_clear(&why);
	settings_free(&s);
	return done;
}

static int
add(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), home = TEXT_UP_TO(MOST_PATH_FIELD),
		    value = TEXT_UP_TO(MOST_USER_RECORD);
	struct credential c = { .p = { .app_count = 0 } };
	struct user u = { .address = key, .created = (uint64_t)time(NULL) };
	unsigned int uid = 0, gid = 0;
	int status = EX_DATAERR;

	if (userbase_find(base, key, &value, &u)) {
		cmd_fail(0, "%.*s is there already; `valija user passwd` changes the password",
			SPAN_ARG(key));
		goto out;
	}
	if (!user_home(key, &home)) {
		cmd_fail(0, "%.*s: too long for the name of a directory", SPAN_ARG(key));
		goto out;
	}
	status = EX_CANTCREAT;
	if (!layout_mail_owner(&uid, &gid, &why)) {
		cmd_fail(0, "%s", text_str(&why));
		goto out;
	}
	status = EX_NOINPUT;
	if (!new_credential(v, v->arguments[0], NULL, &c))
		goto out;
	/* The place before the name: from its first moment, mail for the user has where to go. */
	if ((status = make_maildir_as_owner(v, text_str(&home), uid, gid)) != EX_OK)
		goto out;
	u.home = text_span(&home);
	u.uid = uid;
	u.gid = gid;
	if (!userbase_add(base, &u, &c.p, &why))
		status = cmd_fail(EX_TEMPFAIL, "%s", text_str(&why));
out:
	text_clear(&why);
	text_clear(&home);
	credential_clear(&c);
	text_clear(&value);
	return status;
}

/* What all of them begin and end with. */
static int
with_base(struct invocation *v,
	int (*does)(const struct invocation *v, struct userbase *base, struct span key),
	bool local_only)
{
	struct text key, why = TEXT_UP_TO(MOST_SENTENCE);
	struct userbase *base = NULL;
	struct span domain;
	int status = EX_DATAERR;

	if (!take_key(v, &key, &domain) || (local_only && !is_domain_here(v, domain, &status)))
		goto out;
	if ((base = userbase_open(&v->paths, &why)))
		status = does(v, base, text_span(&key));
	else
		status = cmd_fail(errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s", text_str(&why));
out:
	userbase_close(&base);
	text_clear(&key);
	text_clear(&why);
	return status;
}

static int
run_add(struct invocation *v)
{
	return with_base(v, add, true);
}

static int
change_password(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), value = TEXT_UP_TO(MOST_USER_RECORD),
		    secret = TEXT_UP_TO(MOST_USER_RECORD);
	struct credential c = { .p = { .app_count = 0 } };
	struct password old;
	struct user u;
	int status = EX_OK;

	if (!userbase_find(base, key, &value, &u))
		status = cmd_fail(EX_NOUSER, "%.*s is not a user", SPAN_ARG(key));
	else if (!new_credential(v, v->arguments[0],
			 userbase_secret(base, key, &secret, &old) ? &old : NULL, &c))
		status = EX_NOINPUT;
	else if (!userbase_password(base, key, &c.p, &why))
		status = cmd_fail(EX_TEMPFAIL, "%s", text_str(&why));
	text_clear(&why);
	text_wipe(&secret);
	credential_clear(&c);
	text_clear(&value);
	return status;
}

static int
run_passwd(struct invocation *v)
{
	return with_base(v, change_password, false);
}

static int
del(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), value = TEXT_UP_TO(MOST_USER_RECORD);
	struct user u;
	int status = EX_OK;

	if (!userbase_find(base, key, &value, &u))
		status = cmd_fail(EX_NOUSER, "%.*s is not a user", SPAN_ARG(key));
	else if (!userbase_remove(base, key, &why))
		status = cmd_fail(EX_TEMPFAIL, "%s", text_str(&why));
	else
		printf("the mail stays in %s/%.*s\n", v->paths.mail, SPAN_ARG(u.home));
	text_clear(&why);
	text_clear(&value);
	return status;
}

static int
run_del(struct invocation *v)
{
	return with_base(v, del, false);
}

/* --- list, show --- */

static void
json_user(struct json *j, const struct user *u)
{
	json_open(j, NULL, '{');
	json_text(j, "address", u->address);
	json_number(j, "uid", u->uid);
	json_number(j, "gid", u->gid);
	json_text(j, "home", u->home);
	json_number(j, "quota_bytes", (int64_t)u->quota_bytes);
	json_number(j, "created", (int64_t)u->created);
	json_flag(j, "disabled", u->disabled);
	json_close(j, '}');
}

static bool
list_json(void *me, const struct user *u)
{
	json_user(me, u);
	return true;
}

static bool
list_plain(void *me, const struct user *u)
{
	(void)me;
	printf("%.*s\n", SPAN_ARG(u->address));
	return true;
}

static int
run_list(struct invocation *v)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	struct userbase *base = userbase_open(&v->paths, &why);
	struct json j = { .to = stdout };
	bool as_json = cmd_option(v, "--json") != NULL, listed;

	if (!base) {
		int status = errno == EACCES ? EX_NOPERM : EX_NOINPUT;

		cmd_fail(0, "%s", text_str(&why));
		text_clear(&why);
		return status;
	}
	if (as_json)
		json_open(&j, NULL, '[');
	listed = userbase_each(base, as_json ? list_json : list_plain, &j);
	if (as_json) {
		json_close(&j, ']');
		putchar('\n');
	}
	userbase_close(&base);
	return listed ? EX_OK
		      : cmd_fail(EX_NOINPUT, "the user table cannot be read: %s", strerror(errno));
}

static int
show(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text value = TEXT_UP_TO(MOST_USER_RECORD);
	struct json j = { .to = stdout };
	struct user u;
	char created[32] = "-";
	struct tm tm;
	time_t t;
	int status = EX_OK;

	if (!userbase_find(base, key, &value, &u)) {
		status = cmd_fail(EX_NOUSER, "%.*s is not a user", SPAN_ARG(key));
	} else if (cmd_option(v, "--json")) {
		json_user(&j, &u);
		putchar('\n');
	} else {
		t = (time_t)u.created;
		if (localtime_r(&t, &tm))
			strftime(created, sizeof created, "%Y-%m-%d %H:%M:%S", &tm);
		printf("address    %.*s\nuid:gid    %u:%u\nmaildir    %s/%.*s/Maildir\n"
		       "created    %s\nmay log in %s\n",
			SPAN_ARG(u.address), u.uid, u.gid, v->paths.mail, SPAN_ARG(u.home), created,
			u.disabled ? "no" : "yes");
	}
	text_clear(&value);
	return status;
}

static int
run_show(struct invocation *v)
{
	return with_base(v, show, false);
}

const struct command cmd_user_add = {
	.words = "user add",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "add a user with a Maildir; the password is asked for",
	.options = password_options,
	.run = run_add,
};
const struct command cmd_user_passwd = {
	.words = "user passwd",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "change a user's password",
	.options = password_options,
	.run = run_passwd,
};
const struct command cmd_user_del = {
	.words = "user del",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "remove a user; the mail stays where it is",
	.run = run_del,
};
const struct command cmd_user_list = {
	.words = "user list",
	.arguments = "",
	.help = "list the addresses of all users",
	.options = json_options,
	.run = run_list,
};
const struct command cmd_user_show = {
	.words = "user show",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "show one user",
	.options = json_options,
	.run = run_show,
};
