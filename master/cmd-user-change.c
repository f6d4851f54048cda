/*
 * cmd-user-change - bars a user, lets him in again, sets when he expires and how much he may keep.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "master/cmd-user.h"

/* One change to what is known of a user; returns false after complaining. */
typedef bool alter_fn(const struct invocation *v, struct user *u);

/* What a running suite hears of it. */
enum tells { NOTHING, SESSIONS_END, LIMITS };

static int
alter(const struct invocation *v, struct userbase *base, struct span key, alter_fn *how,
	enum tells tells)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), value = TEXT_UP_TO(MOST_USER_RECORD);
	struct user u;
	int status = user_must_find(base, key, &value, &u);

	if (status == EX_OK && !how(v, &u))
		status = EX_USAGE;
	if (status == EX_OK)
		status = user_told(userbase_change(base, &u, &why), &why);
	if (status == EX_OK && tells == SESSIONS_END)
		user_tell_changed(v, key);
	else if (status == EX_OK && tells == LIMITS)
		user_tell_limits(v, key, &u);
	text_clear(&value);
	return status;
}

static bool
set_disabled(const struct invocation *v, struct user *u)
{
	(void)v;
	u->disabled = true;
	return true;
}

static bool
set_enabled(const struct invocation *v, struct user *u)
{
	(void)v;
	u->disabled = false;
	return true;
}

bool
user_take_date(const char *text, uint64_t *seconds)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M", "%Y-%m-%d" };

	*seconds = 0;
	if (strcmp(text, "never") == 0)
		return true;
	for (size_t i = 0; i < 2; i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(text, forms[i], &tm);
		time_t t = end && *end == '\0' ? mktime(&tm) : -1;

		if (t > 0) {
			*seconds = (uint64_t)t;
			return true;
		}
	}
	return false;
}

bool
user_take_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	struct span in = span_str(text);
	const char *unit;
	uint64_t n;

	*bytes = 0;
	if (strcmp(text, "none") == 0)
		return true;
	if (!span_take_number(&in, UINT64_MAX >> 41, &n))
		return false;
	if (in.len == 1 && (unit = strchr(units, in.at[0] & ~0x20)) != NULL && *unit != '\0') {
		n <<= 10 * (size_t)(unit - units + 1);
		in.len = 0;
	}
	*bytes = n;
	return in.len == 0;
}

static bool
set_expiry(const struct invocation *v, struct user *u)
{
	if (user_take_date(v->arguments[1], &u->expires))
		return true;
	cmd_fail(0, "%s is not a date: 2026-12-31, 2026-12-31T18:00, or never", v->arguments[1]);
	return false;
}

static bool
set_quota(const struct invocation *v, struct user *u)
{
	const char *messages = cmd_option(v, "--messages");

	if (!user_take_size(v->arguments[1], &u->quota_bytes)) {
		cmd_fail(0, "%s is not a size: 500M, 2G, or none", v->arguments[1]);
		return false;
	}
	if (messages && !user_take_size(messages, &u->quota_messages)) {
		cmd_fail(0, "%s is not a number of messages", messages);
		return false;
	}
	return true;
}

static int
disable(const struct invocation *v, struct userbase *base, struct span key)
{
	return alter(v, base, key, set_disabled, SESSIONS_END);
}

static int
enable(const struct invocation *v, struct userbase *base, struct span key)
{
	return alter(v, base, key, set_enabled, NOTHING);
}

static int
expire(const struct invocation *v, struct userbase *base, struct span key)
{
	uint64_t when;
	bool past = user_take_date(v->arguments[1], &when) && when != 0 &&
		when <= (uint64_t)time(NULL);

	return alter(v, base, key, set_expiry, past ? SESSIONS_END : NOTHING);
}

static int
quota(const struct invocation *v, struct userbase *base, struct span key)
{
	return alter(v, base, key, set_quota, LIMITS);
}

/* Also of one who is in no table: a user of the system, or one who was removed. */
static int
kick(const struct invocation *v, struct userbase *base, struct span key)
{
	(void)base;
	user_tell_changed(v, key);
	return EX_OK;
}

static int
run_kick(struct invocation *v)
{
	return user_with_base(v, kick, false);
}

static int
run_disable(struct invocation *v)
{
	return user_with_base(v, disable, false);
}

static int
run_enable(struct invocation *v)
{
	return user_with_base(v, enable, false);
}

static int
run_expire(struct invocation *v)
{
	return user_with_base(v, expire, false);
}

static int
run_quota(struct invocation *v)
{
	return user_with_base(v, quota, false);
}

static const struct option_row quota_options[] = {
	{ "--messages", "N", "so many messages at most", false },
	{ NULL, NULL, NULL, false },
};

const struct command cmd_user_disable = {
	.words = "user disable",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "bar a user: no login, no mail for him (550 5.2.1); his sessions end",
	.run = run_disable,
};
const struct command cmd_user_enable = {
	.words = "user enable",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "undo user disable",
	.run = run_enable,
};
const struct command cmd_user_kick = {
	.words = "user kick",
	.arguments = "NAME@DOMAIN",
	.least = 1,
	.most = 1,
	.help = "end the IMAP and SMTP sessions of a user, who may log in again",
	.run = run_kick,
};
const struct command cmd_user_expire = {
	.words = "user expire",
	.arguments = "NAME@DOMAIN DATE",
	.least = 2,
	.most = 2,
	.help = "let a user not log in from DATE on (2026-12-31, or never)",
	.run = run_expire,
};
const struct command cmd_user_quota = {
	.words = "user quota",
	.arguments = "NAME@DOMAIN SIZE",
	.least = 2,
	.most = 2,
	.help = "limit a mailbox to SIZE (500M, 2G, or none)",
	.options = quota_options,
	.run = run_quota,
};
