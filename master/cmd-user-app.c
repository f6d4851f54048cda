/*
 * cmd-user-app - application passwords: a second password for one program or device, made here, shown
 * once, good for some services only, and revoked without a new password for the others.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/program.h"
#include "common/secret.h"
#include "master/cmd-user.h"
#include "master/json.h"

/* What an application password can be limited to, and which services that is. */
static const struct {
	const char *name;
	uint8_t services;
} limits[] = {
	{ "imap", 1u << SERVICE_IMAP | 1u << SERVICE_IMAPS },
	{ "smtp", 1u << SERVICE_SMTP | 1u << SERVICE_SUBMISSION | 1u << SERVICE_SUBMISSIONS },
};

#define LIMIT_COUNT (sizeof limits / sizeof limits[0])

static bool
take_services(const char *text, uint8_t *services)
{
	struct span in = span_str(text ? text : ""), word;

	*services = 0;
	while (in.len) {
		bool known = false;

		if (!span_take_until(&in, ',', &word)) {
			word = in;
			in.len = 0;
		}
		for (size_t i = 0; i < LIMIT_COUNT; i++)
			if (span_equal_nocase(word, span_str(limits[i].name))) {
				*services |= limits[i].services;
				known = true;
			}
		if (!known) {
			cmd_fail(0, "%.*s is not a service: imap, smtp", SPAN_ARG(word));
			return false;
		}
	}
	return true;
}

static size_t
find(const struct password *p, struct span name)
{
	size_t i = 0;

	while (i < p->app_count && !span_equal(p->app[i].name, name))
		i++;
	return i;
}

/* What adding needs of the user's passwords: who has none, or no salt yet, gets one. */
struct made {
	struct text password;
	unsigned char hash[SCRAM_MOST_KEY], salt[SCRAM_SALT];
	struct scram_room room;
};

static void
fill(struct password *p, struct made *m, const struct settings *s, struct app_password *a)
{
	if (p->scram_salt.len == 0) {
		secret_random(m->salt, sizeof m->salt);
		p->scram_salt = span_of(m->salt, sizeof m->salt);
		p->scram_iterations = (uint32_t)s->scram_iterations;
	}
	app_password_new(&m->password);
	app_password_hash(text_span(&m->password), p->scram_salt, m->hash);
	a->hash = span_of(m->hash, sizeof m->hash);
	if (p->scram_iterations > 0)
		scram_make(text_span(&m->password), p->scram_salt, p->scram_iterations, &m->room,
			a->scram);
}

static int
add(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), secret = TEXT_UP_TO(MOST_USER_RECORD),
		    value = TEXT_UP_TO(MOST_USER_RECORD);
	struct settings *s = cmd_settings(v, false);
	struct made m = { .password = TEXT_UP_TO(APP_PASSWORD_LENGTH) };
	struct span name = span_str(v->arguments[1]);
	struct app_password a = { .name = name, .created = (uint64_t)time(NULL) };
	struct password p;
	struct user u;
	int status = s ? user_must_find(base, key, &value, &u) : EX_CONFIG;

	if (status != EX_OK)
		goto out;
	status = EX_USAGE;
	if (!take_services(cmd_option(v, "--services"), &a.services))
		goto out;
	if (name.len == 0 || name.len > MOST_APP_NAME || !span_is_printable(name)) {
		cmd_fail(0, "the name may have %d printable characters", MOST_APP_NAME);
		goto out;
	}
	status = EX_DATAERR;
	if (!userbase_secret(base, key, &secret, &p)) {
		cmd_fail(0, "%.*s has no password of his own; `valija user passwd` gives one",
			SPAN_ARG(key));
		goto out;
	}
	if (find(&p, name) < p.app_count || p.app_count == MOST_APP_PASSWORDS) {
		cmd_fail(0, p.app_count == MOST_APP_PASSWORDS
				? "there are as many application passwords as there may be"
				: "there is an application password of this name");
		goto out;
	}
	fill(&p, &m, s, &a);
	p.app[p.app_count++] = a;
	status = user_told(userbase_password(base, key, &p, &why), &why);
	if (status == EX_OK)
		printf("%s\n", text_str(&m.password));
out:
	text_wipe(&m.password);
	secret_wipe(&m, sizeof m);
	text_wipe(&secret);
	text_clear(&value);
	settings_free(&s);
	return status;
}

static int
del(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text why = TEXT_UP_TO(MOST_SENTENCE), secret = TEXT_UP_TO(MOST_USER_RECORD);
	struct password p = { .app_count = 0 };
	size_t at = 0;
	int status = EX_DATAERR;

	if (userbase_secret(base, key, &secret, &p))
		at = find(&p, span_str(v->arguments[1]));
	if (at == p.app_count) {
		cmd_fail(0, "%.*s has no application password of this name", SPAN_ARG(key));
	} else {
		memmove(&p.app[at], &p.app[at + 1], (--p.app_count - at) * sizeof p.app[0]);
		status = user_told(userbase_password(base, key, &p, &why), &why);
		if (status == EX_OK)
			user_tell_changed(v, key);
	}
	text_wipe(&secret);
	return status;
}

static void
tell_one(const struct app_password *a, struct json *j)
{
	char created[32] = "-";
	time_t t = (time_t)a->created;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(created, sizeof created, "%Y-%m-%d", &tm);
	if (j)
		json_open(j, NULL, '{');
	else
		printf("%-24.*s %s ", SPAN_ARG(a->name), created);
	if (j) {
		json_text(j, "name", a->name);
		json_number(j, "created", (int64_t)a->created);
		json_open(j, "services", '[');
	}
	for (size_t i = 0; i < LIMIT_COUNT; i++)
		if (a->services == 0 || (a->services & limits[i].services)) {
			if (j)
				json_text(j, NULL, span_str(limits[i].name));
			else
				printf(" %s", limits[i].name);
		}
	if (j) {
		json_close(j, ']');
		json_close(j, '}');
	} else {
		putchar('\n');
	}
}

static int
list(const struct invocation *v, struct userbase *base, struct span key)
{
	struct text secret = TEXT_UP_TO(MOST_USER_RECORD), value = TEXT_UP_TO(MOST_USER_RECORD);
	struct json j = { .to = stdout };
	bool as_json = cmd_option(v, "--json") != NULL;
	struct password p = { .app_count = 0 };
	struct user u;
	int status = user_must_find(base, key, &value, &u);

	if (status == EX_OK) {
		(void)userbase_secret(base, key, &secret, &p);
		if (as_json)
			json_open(&j, NULL, '[');
		for (size_t i = 0; i < p.app_count; i++)
			tell_one(&p.app[i], as_json ? &j : NULL);
		if (as_json) {
			json_close(&j, ']');
			putchar('\n');
		}
	}
	text_wipe(&secret);
	text_clear(&value);
	return status;
}

static int
run(struct invocation *v)
{
	if (v->argument_count == 1)
		return user_with_base(v, list, false);
	return user_with_base(v, cmd_option(v, "--delete") ? del : add, false);
}

static const struct option_row options[] = {
	{ "--services", "LIST", "good for imap or smtp only; default: both", false },
	{ "--delete", NULL, "revoke the one of this title; the user's sessions end", false },
	{ "--json", NULL, "list as JSON", false },
	{ NULL, NULL, NULL, false },
};

const struct command cmd_user_app = {
	.words = "user app-password",
	.arguments = "NAME@DOMAIN [TITLE]",
	.least = 1,
	.most = 2,
	.help = "make an application password and show it once; without TITLE list them",
	.options = options,
	.run = run,
};
