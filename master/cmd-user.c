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

#include <config.h>

#ifdef HAVE_PWQUALITY
#include <pwquality.h>
#endif

#include "common/address.h"
#include "common/maildir.h"
#include "common/password.h"
#include "common/room.h"
#include "common/settings.h"
#include "master/client.h"
#include "master/cmd-user.h"
#include "master/layout.h"
#include "master/prompt.h"

#define DICTIONARY "/var/cache/cracklib/cracklib_dict.pwd"

static const struct option_row password_options[] = {
	{ "--stdin", NULL, "the password is the first line of the standard input", false },
	{ NULL, NULL, NULL, false },
};

static const struct option_row add_options[] = {
	{ "--stdin", NULL, "the password is the first line of the standard input", false },
	{ "--no-password", NULL, "no password of his own: PAM knows it", false },
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
make_maildir(int root, const char *mail, const char *home, unsigned int uid, unsigned int gid)
{
	char *path = paths_join(home, "Maildir");
	int maildir;

	if (geteuid() == 0 && room_become(uid, gid, NULL, 0, 0) < 0)
		return cmd_fail(EX_OSERR, "cannot become uid %u: %s", uid, strerror(errno));
	maildir = maildir_open(root, path, true);
	if (maildir < 0 || maildir_make_standard(maildir) < 0)
		return cmd_fail(EX_CANTCREAT, "%s/%s: %s", mail, path, strerror(errno));
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
		_exit(make_maildir(root, v->paths.mail, home, uid, gid));
	close(root);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return cmd_fail(EX_OSERR, "%s", strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

/* --- add, passwd, del --- */

/* Is it good enough? Where that is only advice, it is given to who sits at a terminal. */
static bool
quality_is_enough(const struct settings *s, struct span key, struct text *password)
{
#ifdef HAVE_PWQUALITY
	pwquality_settings_t *rules = pwquality_default_settings();
	struct text user = TEXT_UP_TO(MOST_ADDRESS);
	char buffer[PWQ_MAX_ERROR_MESSAGE_LEN];
	void *detail = NULL;
	int result = 0;

	/* Where it is advice, there is nobody to give it to. */
	if (!s->password_quality && !isatty(STDIN_FILENO))
		goto out;
	text_add(&user, span_part(key, 0, span_rindex(key, '@')));
	/* The dictionary is a package of its own: without it the other rules hold. */
	if (!rules || pwquality_read_config(rules, NULL, &detail) != 0)
		goto out;
	if (access(DICTIONARY, R_OK) < 0)
		pwquality_set_int_value(rules, PWQ_SETTING_DICT_CHECK, 0);
	result = pwquality_check(rules, text_str(password), NULL, text_str(&user), &detail);
	if (result < 0)
		cmd_fail(0, "the password is weak: %s",
			pwquality_strerror(buffer, sizeof buffer, result, detail));
out:
	if (rules)
		pwquality_free_settings(rules);
	text_clear(&user);
	return result >= 0 || !s->password_quality;
#else
	(void)s;
	(void)key;
	(void)password;
	return true;
#endif
}

bool
user_new_credential(const struct invocation *v, struct span key, const struct password *old,
	struct credential *c)
{
	struct text password, prepared = TEXT_UP_TO(MOST_PASSWORD), why = TEXT_UP_TO(MOST_SENTENCE);
	struct settings *s = cmd_settings(v, false);
	struct text whose = TEXT_UP_TO(MOST_ADDRESS);
	bool done = false;

	memset(c, 0, sizeof *c);
	if (!s)
		return false;
	text_add(&whose, key);
	if (!prompt_password(text_str(&whose), cmd_option(v, "--stdin") != NULL, &password, &why))
		cmd_fail(0, "%s", text_str(&why));
	else if (!password_prepare(text_span(&password), &prepared))
		cmd_fail(0,
			"the password is too long, or has characters that clients cannot send");
	else if (!quality_is_enough(s, key, &prepared))
		;
	else if (!credential_make(c, text_span(&prepared), s, old, &why))
		cmd_fail(0, "%s", text_str(&why));
	else
		done = true;
	text_wipe(&password);
	text_wipe(&prepared);
	text_clear(&why);
	text_clear(&whose);
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
	if (!cmd_option(v, "--no-password") && !user_new_credential(v, key, NULL, &c))
		goto out;
	/* The place before the name: from its first moment, mail for the user has where to go. */
	if ((status = make_maildir_as_owner(v, text_str(&home), uid, gid)) != EX_OK)
		goto out;
	u.home = text_span(&home);
	u.uid = uid;
	u.gid = gid;
	if (!userbase_add(base, &u, c.p.hash.len ? &c.p : NULL, &why))
		status = cmd_fail(EX_TEMPFAIL, "%s", text_str(&why));
out:
	text_clear(&why);
	text_clear(&home);
	credential_clear(&c);
	text_clear(&value);
	return status;
}

/* What all of them begin and end with. */
int
user_with_base(struct invocation *v, user_fn *does, bool local_only)
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
	return user_with_base(v, add, true);
}

int
user_must_find(struct userbase *base, struct span key, struct text *value, struct user *u)
{
	if (userbase_find(base, key, value, u))
		return EX_OK;
	return cmd_fail(EX_NOUSER, "%.*s is not a user", SPAN_ARG(key));
}

int
user_told(bool done, struct text *why)
{
	int status = done ? EX_OK : cmd_fail(EX_TEMPFAIL, "%s", text_str(why));

	text_clear(why);
	return status;
}

static void
on_command_told(void *me, struct channel *from, uint64_t id, const struct msg_command_told *m,
	const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	c->over = true;
}

/* Tells master, if it runs, that the user was changed; `limits`: what he may keep, if only that is new. */
static void
tell_master(const struct invocation *v, struct span key, const struct user *limits)
{
	struct hearing h = client_hearing();
	struct client c = { .me = NULL };

	h.on_command_told = on_command_told;
	if (!client_open(&c, &v->paths, &h))
		return;
	if (limits)
		send_user_quota(c.channel, 0,
			&(struct msg_user_quota){ .user = key,
				.quota_bytes = limits->quota_bytes,
				.quota_messages = limits->quota_messages },
			NULL);
	else
		send_user_changed(c.channel, 0, &(struct msg_user_changed){ .user = key }, NULL);
	if (!client_wait(&c, ANSWER_MILLISECONDS))
		cmd_fail(0, "the running suite does not answer: sessions of %.*s may go on",
			SPAN_ARG(key));
	client_close(&c);
}

void
user_tell_changed(const struct invocation *v, struct span key)
{
	tell_master(v, key, NULL);
}

void
user_tell_limits(const struct invocation *v, struct span key, const struct user *u)
{
	tell_master(v, key, u);
}

static int
change_password(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), value = TEXT_UP_TO(MOST_USER_RECORD),
		    secret = TEXT_UP_TO(MOST_USER_RECORD);
	struct credential c = { .p = { .app_count = 0 } };
	struct password old;
	struct user u;
	int status = user_must_find(base, key, &value, &u);

	if (status == EX_OK &&
		!user_new_credential(
			v, key, userbase_secret(base, key, &secret, &old) ? &old : NULL, &c))
		status = EX_NOINPUT;
	if (status == EX_OK)
		status = user_told(userbase_password(base, key, &c.p, &why), &why);
	if (status == EX_OK)
		user_tell_changed(v, key);
	text_wipe(&secret);
	credential_clear(&c);
	text_clear(&value);
	return status;
}

static int
run_passwd(struct invocation *v)
{
	return user_with_base(v, change_password, false);
}

static int
del(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), value = TEXT_UP_TO(MOST_USER_RECORD);
	struct user u;
	int status = user_must_find(base, key, &value, &u);

	if (status == EX_OK)
		status = user_told(userbase_remove(base, key, &why), &why);
	if (status == EX_OK) {
		user_tell_changed(v, key);
		printf("the mail stays in %s/%.*s\n", v->paths.mail, SPAN_ARG(u.home));
	}
	text_clear(&value);
	return status;
}

static int
run_del(struct invocation *v)
{
	return user_with_base(v, del, false);
}

const struct command cmd_user_add = {
	.words = "user add",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "add a user with a Maildir; the password is asked for",
	.options = add_options,
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
