/*
 * cmd-user-import - takes users over from passwd(5), from a passwd-file of Dovecot, or from CSV.
 *
 * A file is read twice: first to find all that is wrong with it, then, when nothing is, to add those
 * who are not there yet. Either all of them are added or none.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/address.h"
#include "common/password.h"
#include "common/password-scheme.h"
#include "common/secret.h"
#include "common/users.h"
#include "master/cmd-user.h"
#include "master/layout.h"

#define MOST_FILE   (64 * 1024 * 1024)
#define MOST_FIELDS 16

enum form { FORM_PASSWD, FORM_DOVECOT, FORM_CSV, FORM_COUNT };

static const char *const form_names[FORM_COUNT] = { "passwd", "dovecot", "csv" };

/* One row as it stands in the file. */
struct entry {
	struct text name, field; /* the password's field */
	uint64_t uid, quota_bytes, quota_messages;
	bool skip;
};

struct import {
	const char *file;
	enum form form;
	const struct settings *s;
	struct span domain, rest; /* rest: not read yet */
	struct text bytes, shadow;
	unsigned int line, errors, added, skipped, without, without_scram;
	unsigned int uid, gid;
	bool failed; /* in the second round: then nobody is added */
	/* The user that is being handed out. */
	struct entry entry;
	struct text key, home, hash;
	struct credential credential;
};

static void __attribute__((format(printf, 2, 3)))
complain(struct import *in, const char *format, ...)
{
	char sentence[MOST_SENTENCE];
	va_list ap;

	va_start(ap, format);
	vsnprintf(sentence, sizeof sentence, format, ap);
	va_end(ap);
	in->errors++;
	cmd_fail(0, "%s:%u: %s", in->file, in->line, sentence);
}

/* --- fields --- */

static bool
take_line(struct span *in, struct span *line)
{
	if (in->len == 0)
		return false;
	if (!span_take_until(in, '\n', line)) {
		*line = *in;
		in->len = 0;
	}
	if (line->len && line->at[line->len - 1] == '\r')
		line->len--;
	return true;
}

static size_t
split(struct span line, struct span fields[MOST_FIELDS])
{
	size_t n = 0;

	/* The last one has what is left, colons too. */
	while (n + 1 < MOST_FIELDS && span_take_until(&line, ':', &fields[n]))
		n++;
	fields[n++] = line;
	return n;
}

/* The hash of `name` in the shadow(5) that was given, or what stood in the row. */
static struct span
shadow_of(const struct import *in, struct span name, struct span field)
{
	struct span rest = text_span(&in->shadow), line, fields[MOST_FIELDS];

	while (take_line(&rest, &line))
		if (split(line, fields) > 1 && span_equal(fields[0], name))
			return fields[1];
	return field;
}

/* "*:storage=1G", "*:bytes=5M:messages=100": what userdb_quota_rule says; storage counts in KiB where
 * no unit is given. */
static void
take_quota(struct entry *e, struct span rule)
{
	struct span part;

	while (rule.len) {
		bool kibi = false;
		char number[32];
		uint64_t n;

		if (!span_take_until(&rule, ':', &part)) {
			part = rule;
			rule.len = 0;
		}
		if (span_take_word(&part, SPAN("storage=")))
			kibi = part.len && part.at[part.len - 1] <= '9';
		else if (span_take_word(&part, SPAN("messages="))) {
			(void)span_take_number(&part, UINT64_MAX, &e->quota_messages);
			continue;
		} else if (!span_take_word(&part, SPAN("bytes=")))
			continue;
		if (span_copy(part, number, sizeof number) && user_take_size(number, &n))
			e->quota_bytes = kibi ? n * 1024 : n;
	}
}

static bool
read_colons(struct import *in, struct span line)
{
	struct entry *e = &in->entry;
	struct span fields[MOST_FIELDS], part;
	size_t n = split(line, fields);

	if (n < 2) {
		complain(in, "not of the form name:password:...");
		return false;
	}
	text_add(&e->name, fields[0]);
	text_add(&e->field, in->form == FORM_PASSWD ? shadow_of(in, fields[0], fields[1]) : fields[1]);
	if (in->form == FORM_PASSWD) {
		part = n > 2 ? fields[2] : SPAN_NONE;
		/* Accounts of the system are no people. */
		e->skip = !span_take_number(&part, UINT32_MAX, &e->uid) ||
			e->uid < in->s->system_least_uid || e->uid == 65534;
	} else if (n > 7) {
		struct span extra = fields[7];

		for (size_t i = 8; i < n; i++)
			extra.len = (size_t)(fields[i].at + fields[i].len - extra.at);
		while (extra.len) {
			if (!span_take_until(&extra, ' ', &part)) {
				part = extra;
				extra.len = 0;
			}
			if (span_take_word(&part, SPAN("userdb_quota_rule=")))
				take_quota(e, part);
		}
	}
	return true;
}

/* One field of CSV (RFC 4180), within a line. */
static bool
take_csv(struct span *line, struct text *to)
{
	if (!span_take(line, '"')) {
		size_t n = span_index(*line, ',');

		text_add(to, span_part(*line, 0, n));
		*line = span_part(*line, n, line->len);
		return true;
	}
	for (;;) {
		size_t n = span_index(*line, '"');

		if (n == line->len)
			return false;
		text_add(to, span_part(*line, 0, n));
		*line = span_part(*line, n + 1, line->len);
		if (!span_take(line, '"'))
			return line->len == 0 || line->at[0] == ',';
		text_add_byte(to, '"');
	}
}

/* ADDRESS,PASSWORD[,QUOTA] */
static bool
read_csv(struct import *in, struct span line)
{
	struct entry *e = &in->entry;
	struct text quota = TEXT_UP_TO(32);
	bool ok = take_csv(&line, &e->name) && (span_take(&line, ',') || line.len == 0) &&
		take_csv(&line, &e->field) &&
		(line.len == 0 || (span_take(&line, ',') && take_csv(&line, &quota)));

	/* A row of titles. */
	e->skip = ok && in->line == 1 && !span_has(text_span(&e->name), '@') &&
		(span_starts_nocase(text_span(&e->name), SPAN("address")) ||
			span_starts_nocase(text_span(&e->name), SPAN("email")));
	if (!ok)
		complain(in, "not of the form ADDRESS,PASSWORD[,QUOTA]");
	else if (!e->skip && quota.len && !user_take_size(text_str(&quota), &e->quota_bytes)) {
		complain(in, "the quota is no size: 500M, 2G, or none");
		ok = false;
	}
	text_clear(&quota);
	return ok;
}

/* --- a user --- */

static bool
make_key(struct import *in)
{
	struct text whole = TEXT_UP_TO(MOST_ADDRESS);
	struct address a;
	struct span at;
	bool ok;

	text_reset(&in->key);
	text_reset(&in->home);
	text_add(&whole, text_span(&in->entry.name));
	if (!span_has(text_span(&whole), '@')) {
		text_add_byte(&whole, '@');
		text_add(&whole, in->domain);
	}
	at = text_span(&whole);
	ok = !whole.failed && address_take_mailbox(&at, true, &a) == ADDRESS_OK && at.len == 0 &&
		!a.literal && address_key(&a, &in->key) && user_home(text_span(&in->key), &in->home);
	if (!ok)
		complain(in, "the name is not one of an address");
	else if (!settings_is_local_domain(in->s, a.domain)) {
		complain(in, "%.*s is not in a domain of this server", SPAN_ARG(text_span(&in->key)));
		ok = false;
	}
	text_clear(&whole);
	return ok;
}

/* The password's field, to what is kept. With `real` unset nothing is hashed: only looked at. */
static bool
make_password(struct import *in, bool real, struct password *p)
{
	struct text prepared = TEXT_UP_TO(MOST_PASSWORD), why = TEXT_UP_TO(MOST_SENTENCE);
	struct span field = text_span(&in->entry.field);
	enum password_form form;
	bool ok = true;

	memset(p, 0, sizeof *p);
	text_wipe(&in->hash);
	in->hash = TEXT_UP_TO(MOST_HASH);
	if (in->form == FORM_CSV && field.len && field.at[0] != '{' && field.at[0] != '$') {
		text_add(&in->hash, field);
		form = PASSWORD_CLEAR;
	} else {
		form = password_scheme_read(field, &in->hash);
	}
	if (form == PASSWORD_STRANGE || in->hash.failed) {
		complain(in, "the password is of a form that valija does not know, or its hash is not whole");
		ok = false;
	} else if (form == PASSWORD_CLEAR) {
		ok = password_prepare(text_span(&in->hash), &prepared);
		if (!ok)
			complain(in, "the password has characters that clients cannot send");
		else if (real && !(ok = credential_make(&in->credential, text_span(&prepared),
					   in->s, NULL, &why)))
			complain(in, "%s", text_str(&why));
		else if (real)
			*p = in->credential.p;
	} else if (form == PASSWORD_HASH) {
		p->hash = text_span(&in->hash);
		p->changed = (uint64_t)time(NULL);
		in->without_scram += real;
	} else {
		in->without += real;
	}
	text_wipe(&prepared);
	text_clear(&why);
	return ok;
}

static void
entry_clear(struct entry *e)
{
	text_clear(&e->name);
	text_wipe(&e->field);
	*e = (struct entry){ .name = TEXT_UP_TO(MOST_ADDRESS), .field = TEXT_UP_TO(MOST_HASH) };
}

/* The next row that is a user; complains of those that are none. */
static bool
next_entry(struct import *in)
{
	struct span line;

	while (take_line(&in->rest, &line)) {
		in->line++;
		if (span_trim(line).len == 0 || line.at[0] == '#')
			continue;
		entry_clear(&in->entry);
		if (!(in->form == FORM_CSV ? read_csv(in, line) : read_colons(in, line)))
			continue;
		if (in->entry.name.failed || in->entry.field.failed)
			complain(in, "too long");
		else if (!in->entry.skip && make_key(in))
			return true;
	}
	return false;
}

static bool
next(void *me, struct user *u, struct password *p)
{
	struct import *in = me;

	credential_clear(&in->credential);
	if (!next_entry(in))
		return false;
	if (!make_password(in, true, p)) {
		in->failed = true;
		return false;
	}
	*u = (struct user){ .address = text_span(&in->key),
		.home = text_span(&in->home),
		.uid = in->uid,
		.gid = in->gid,
		.quota_bytes = in->entry.quota_bytes,
		.quota_messages = in->entry.quota_messages,
		.created = (uint64_t)time(NULL) };
	in->added++;
	return true;
}

static void
skipped(void *me, const struct user *u)
{
	struct import *in = me;

	in->added--;
	in->skipped++;
	printf("%.*s is there already, and stays as it is\n", SPAN_ARG(u->address));
}

/* --- the file --- */

static bool
read_file(const char *name, struct text *to)
{
	FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	unsigned char block[65536];
	size_t n;
	bool ok;

	if (!file) {
		cmd_fail(0, "%s: %s", name, strerror(errno));
		return false;
	}
	while ((n = fread(block, 1, sizeof block, file)) > 0)
		text_add(to, span_of(block, n));
	secret_wipe(block, sizeof block);
	ok = !ferror(file) && !to->failed && !span_has(text_span(to), '\0');
	if (!ok)
		cmd_fail(0, "%s cannot be read, is larger than %d bytes, or is no text", name,
			MOST_FILE);
	if (file != stdin)
		fclose(file);
	return ok;
}

static int
take_over(const struct invocation *v, struct import *in)
{
	struct userbase_source source = { next, skipped, in, &in->failed };
	struct text why = TEXT_UP_TO(MOST_SENTENCE);
	struct password p;
	struct userbase *base;
	int status;

	in->rest = text_span(&in->bytes);
	while (next_entry(in))
		(void)make_password(in, false, &p);
	if (in->errors)
		return cmd_fail(EX_DATAERR, "nothing was imported: %u mistakes", in->errors);
	in->rest = text_span(&in->bytes);
	in->line = 0;
	if (!layout_mail_owner(&in->uid, &in->gid, &why) ||
		!(base = userbase_open(&v->paths, &why))) {
		cmd_fail(0, "%s", text_str(&why));
		text_clear(&why);
		return EX_CANTCREAT;
	}
	status = user_told(userbase_add_many(base, &source, &why), &why);
	userbase_close(&base);
	if (status != EX_OK)
		return status;
	printf("%u added, %u were there\n", in->added, in->skipped);
	if (in->without)
		printf("%u have no password: `valija user passwd` gives one\n", in->without);
	if (in->without_scram)
		printf("%u came with a hash: SCRAM works for them after a login with PLAIN or LOGIN\n",
			in->without_scram);
	return EX_OK;
}

static int
run(struct invocation *v)
{
	const char *form = cmd_option(v, "--format"), *domain = cmd_option(v, "--domain"),
		   *shadow = cmd_option(v, "--shadow");
	struct settings *s = cmd_settings(v, false);
	struct import in = { .file = v->arguments[0],
		.s = s,
		.bytes = TEXT_UP_TO(MOST_FILE),
		.shadow = TEXT_UP_TO(MOST_FILE),
		.key = TEXT_UP_TO(MOST_ADDRESS),
		.home = TEXT_UP_TO(MOST_PATH_FIELD) };
	int status = EX_CONFIG;

	entry_clear(&in.entry);
	if (!s)
		return status;
	while (in.form < FORM_COUNT && strcmp(form ? form : "dovecot", form_names[in.form]) != 0)
		in.form++;
	in.domain = domain ? span_str(domain) : s->domains.count ? s->domains.at[0] : SPAN_NONE;
	if (in.form == FORM_COUNT)
		status = cmd_fail(EX_USAGE, "--format is passwd, dovecot or csv, not %s", form);
	else if (!read_file(in.file, &in.bytes) || (shadow && !read_file(shadow, &in.shadow)))
		status = EX_NOINPUT;
	else
		status = take_over(v, &in);
	entry_clear(&in.entry);
	credential_clear(&in.credential);
	text_wipe(&in.bytes);
	text_wipe(&in.shadow);
	text_wipe(&in.hash);
	text_clear(&in.key);
	text_clear(&in.home);
	settings_free(&s);
	return status;
}

static const struct option_row options[] = {
	{ "--format", "FORM", "passwd, dovecot (the default) or csv", false },
	{ "--domain", "DOMAIN", "of names without one; default: the first of domains", false },
	{ "--shadow", "FILE", "the hashes, for passwd", false },
	{ NULL, NULL, NULL, false },
};

const struct command cmd_user_import = {
	.words = "user import",
	.arguments = "FILE",
	.least = 1,
	.most = 1,
	.help = "add the users of FILE (- for the standard input), all of them or none",
	.options = options,
	.run = run,
};
