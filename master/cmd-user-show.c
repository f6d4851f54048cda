/*
 * cmd-user-show - lists users, and shows what is known of one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "master/cmd-user.h"
#include "master/json.h"

static const struct option_row json_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

static void
json_user(struct json *j, const struct user *u)
{
	json_open(j, NULL, '{');
	json_text(j, "address", u->address);
	json_number(j, "uid", u->uid);
	json_number(j, "gid", u->gid);
	json_text(j, "home", u->home);
	json_number(j, "quota_bytes", (int64_t)u->quota_bytes);
	json_number(j, "quota_messages", (int64_t)u->quota_messages);
	json_number(j, "expires", (int64_t)u->expires);
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

static const char *
date(uint64_t seconds, char to[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds == 0 || !localtime_r(&t, &tm) || !strftime(to, 32, "%Y-%m-%d %H:%M", &tm))
		return "never";
	return to;
}

static void
show_plain(const struct invocation *v, const struct user *u, const struct password *p)
{
	char when[32];

	printf("address      %.*s\nuid:gid      %u:%u\nmaildir      %s/%.*s/Maildir\n"
	       "created      %s\n",
		SPAN_ARG(u->address), u->uid, u->gid, v->paths.mail, SPAN_ARG(u->home),
		date(u->created, when));
	printf("may log in   %s\n", u->disabled ? "no" : "yes");
	printf("expires      %s\n", date(u->expires, when));
	if (u->quota_bytes || u->quota_messages)
		printf("quota        %llu bytes, %llu messages (0: no limit)\n",
			(unsigned long long)u->quota_bytes,
			(unsigned long long)u->quota_messages);
	else
		printf("quota        none\n");
	if (!p) {
		printf("password     none of his own\n");
		return;
	}
	printf("password     changed %s\n", date(p->changed, when));
	printf("scram        %s\n", p->scram[SCRAM_SHA256].stored.len ? "yes" : "no");
	printf("application passwords  %zu\n", p->app_count);
}

static int
show(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text value = TEXT_UP_TO(MOST_USER_RECORD), secret = TEXT_UP_TO(MOST_USER_RECORD);
	struct json j = { .to = stdout };
	struct password p;
	struct user u;
	bool has;
	int status = user_must_find(base, key, &value, &u);

	if (status == EX_OK) {
		has = userbase_secret(base, key, &secret, &p);
		if (cmd_option(v, "--json")) {
			json_user(&j, &u);
			putchar('\n');
		} else {
			show_plain(v, &u, has ? &p : NULL);
		}
	}
	text_clear(&value);
	text_wipe(&secret);
	return status;
}

static int
run_show(struct invocation *v)
{
	return user_with_base(v, show, false);
}

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
