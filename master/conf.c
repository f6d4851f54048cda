/*
 * conf - valija.conf becomes settings.
 *
 * libConfuse reads the syntax. Every option is given to it as text, and each value is turned
 * into what its row says by value_came(), while libConfuse still knows the line; a wrong value
 * is noted and reading goes on, so that one run tells everything. Only an unknown name stops
 * libConfuse; it is then noted, made known as one to be ignored, and the file is read again.
 */
#include "master/conf.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/conf-check.h"
#include "master/conf-names.h"
#include "master/conf-text.h"

enum kind { KIND_text, KIND_number, KIND_flag, KIND_list };

static const struct row {
	const char *name;
	enum kind kind;
	size_t at;	     /* where in struct settings */
	const char *initial; /* as text; numbers by number_initial */
	uint64_t number_initial, least, most;
} rows[] = {
#define INITIAL_text(i)	  i, 0
#define INITIAL_list(i)	  i, 0
#define INITIAL_number(i) NULL, i
#define INITIAL_flag(i)	  NULL, i
#define O(kind, name, initial, least, most, help)                                                  \
	{ #name, KIND_##kind, offsetof(struct settings, name), INITIAL_##kind(initial), least,     \
		most },
	SETTINGS(O)
#undef O
};

#define ROW_COUNT	 (sizeof rows / sizeof rows[0])
#define MOST_REASON_TEXT 512
#define MOST_UNKNOWN	 64 /* unknown names noted before we give up */

/* What is being read. libConfuse hands nothing of ours to its callbacks, so this is the one
 * static pointer; it is set only while conf_read runs. */
static struct reading {
	struct conf_draft *draft;
	struct unknown {
		char *name;
		unsigned int line;
	} unknown[MOST_UNKNOWN];
	size_t unknown_count;
	bool again; /* another name was unknown: read once more */
} * reading;

static const struct row *
row_of(const char *name)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

static unsigned int
line_of(const cfg_t *cfg)
{
	return cfg->line > 0 ? (unsigned int)cfg->line : 0;
}

static void
list_add(struct conf_draft *d, setting_list *list, struct span member)
{
	list->at = must_realloc(list->at, (list->count + 1) * sizeof *list->at);
	list->at[list->count++] = conf_keep(d, member);
}

static void
number_came(const struct row *row, unsigned int line, struct span value)
{
	setting_number number = 0;
	struct span rest = value;

	if (!span_take_number(&rest, UINT64_MAX, &number) || rest.len != 0) {
		conf_complain(reading->draft, line, "%s needs a whole number, not \"%.*s\"",
			row->name, SPAN_ARG(conf_printable(reading->draft, value)));
		return;
	}
	if (number < row->least || number > row->most) {
		conf_complain(reading->draft, line, "%s = %llu is out of range: from %llu to %llu",
			row->name, (unsigned long long)number, (unsigned long long)row->least,
			(unsigned long long)row->most);
		return;
	}
	*(setting_number *)(void *)((char *)&reading->draft->s + row->at) = number;
}

static void
text_came(const struct row *row, unsigned int line, struct span value)
{
	if (value.len < row->least || value.len > row->most) {
		conf_complain(reading->draft, line, "%s may have %llu bytes at most", row->name,
			(unsigned long long)row->most);
		return;
	}
	if (!span_is_utf8(value)) {
		conf_complain(reading->draft, line, "%s is not UTF-8", row->name);
		return;
	}
	*(setting_text *)(void *)((char *)&reading->draft->s + row->at) =
		conf_keep(reading->draft, value);
}

static void
list_came(const struct row *row, unsigned int line, struct span value)
{
	setting_list *list = (setting_list *)(void *)((char *)&reading->draft->s + row->at);
	struct span part;

	/* {a, b} comes member by member; "a, b" in quotes means the same. */
	for (bool more = true; more;) {
		more = span_take_until(&value, ',', &part);
		if (!more)
			part = value;
		part = span_trim(part);
		if (part.len == 0)
			continue;
		if (list->count >= row->most) {
			conf_complain(reading->draft, line, "%s may have %llu members at most",
				row->name, (unsigned long long)row->most);
			return;
		}
		if (!span_is_utf8(part) || part.len > MOST_PATH_NAME)
			conf_complain(reading->draft, line,
				"%s has a member that is not UTF-8 or too long", row->name);
		else
			list_add(reading->draft, list, part);
	}
}

/* libConfuse: one value of an option has been read. Never fails: complaints are collected. */
static int
value_came(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	const struct row *row = row_of(opt->name);
	struct span v = span_str(value);
	unsigned int before;
	int flag;

	*(const char **)result = value;
	if (!row)
		return 0;
	/* The first value of an assignment: was there one before? */
	if (opt->nvalues == 1 && (before = conf_set(reading->draft, row->at, line_of(cfg))))
		conf_complain(reading->draft, line_of(cfg), "%s is set twice: first in line %u",
			row->name, before);
	switch (row->kind) {
	case KIND_text:
		text_came(row, line_of(cfg), v);
		break;
	case KIND_number:
		number_came(row, line_of(cfg), v);
		break;
	case KIND_list:
		list_came(row, line_of(cfg), v);
		break;
	case KIND_flag:
		flag = cfg_parse_boolean(value);
		if (flag != cfg_true && flag != cfg_false)
			conf_complain(reading->draft, line_of(cfg),
				"%s needs yes or no, not \"%.*s\"", row->name,
				SPAN_ARG(conf_printable(reading->draft, v)));
		else
			*(setting_flag *)(void *)((char *)&reading->draft->s + row->at) =
				flag == cfg_true;
		break;
	}
	return 0;
}

static void
error_came(cfg_t *cfg, const char *format, va_list ap)
{
	char sentence[512];

	/* libConfuse 3.x stops at a name that it does not know; its only argument is the name. */
	if (strcmp(format, "no such option '%s'") == 0 && reading->unknown_count < MOST_UNKNOWN) {
		struct unknown *u = &reading->unknown[reading->unknown_count++];

		u->name = must_copy(
			conf_printable(reading->draft, span_str(va_arg(ap, const char *))));
		u->line = line_of(cfg);
		reading->again = true;
		return;
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	/* The format is libConfuse's own. */
	vsnprintf(sentence, sizeof sentence, format, ap);
#pragma GCC diagnostic pop
	conf_complain(reading->draft, line_of(cfg), "%.*s",
		SPAN_ARG(conf_printable(reading->draft, span_str(sentence))));
}

/* All rows as libConfuse wants them, then the names that turned out to be unknown. */
static cfg_opt_t *
options_new(void)
{
	size_t n = 0;
	cfg_opt_t *options = must_alloc((ROW_COUNT + MOST_UNKNOWN + 1) * sizeof *options);

	for (size_t i = 0; i < ROW_COUNT; i++) {
		cfg_flag_t list = rows[i].kind == KIND_list ? CFGF_LIST : CFGF_NONE;

		options[n++] = (cfg_opt_t){ .name = rows[i].name,
			.type = CFGT_STR,
			.flags = CFGF_NODEFAULT | list,
			.parsecb = value_came };
	}
	for (size_t i = 0; i < reading->unknown_count; i++)
		options[n++] = (cfg_opt_t){ .name = reading->unknown[i].name,
			.type = CFGT_STR,
			.flags = CFGF_NODEFAULT | CFGF_LIST,
			.parsecb = value_came };
	options[n] = (cfg_opt_t)CFG_END();
	return options;
}

static void
initial_values(struct conf_draft *d)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		char *field = (char *)&d->s + rows[i].at;

		if (rows[i].kind == KIND_number)
			*(setting_number *)(void *)field = rows[i].number_initial;
		else if (rows[i].kind == KIND_flag)
			*(setting_flag *)(void *)field = rows[i].number_initial != 0;
		else if (rows[i].kind == KIND_text)
			*(setting_text *)(void *)field = span_str(rows[i].initial);
	}
}

/* Lists that the file does not name get their default now: one that it names begins empty. */
static void
initial_lists(struct conf_draft *d)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (rows[i].kind == KIND_list && !conf_line(d, rows[i].at))
			list_came(&rows[i], 0, span_str(rows[i].initial));
}

static bool
read_text(const char *text)
{
	cfg_opt_t *options = options_new();
	cfg_t *cfg = cfg_init(options, CFGF_NONE);
	int result;

	if (!cfg) {
		free(options);
		conf_complain(reading->draft, 0, "no memory");
		return false;
	}
	cfg_set_error_function(cfg, error_came);
	result = cfg_parse_buf(cfg, text);
	cfg_free(cfg);
	free(options);
	return result == CFG_SUCCESS;
}

static struct settings *
seal(struct conf_draft *d, uint32_t generation)
{
	struct settings *s;
	int fd = settings_to_file(&d->s);

	/* What master goes by is read back from the very bytes that the daemons will get. */
	s = fd < 0 ? NULL : settings_from_file(fd, generation);
	if (fd >= 0)
		close(fd);
	if (!s)
		conf_complain(d, 0, "the settings are too large to be handed to the daemons");
	return s;
}

/* A list without members says that there are to be none, which is not the same as to leave it out. */
static void
note_empty_lists(struct conf_draft *d, struct span text)
{
	unsigned int line = 1, before;
	struct span name;

	while (conf_text_take_empty_list(&text, &name, &line))
		for (size_t i = 0; i < ROW_COUNT; i++)
			if (rows[i].kind == KIND_list && span_equal(name, span_str(rows[i].name)) &&
				(before = conf_set(d, rows[i].at, line)))
				conf_complain(d, line > before ? line : before, "%s is set twice: first in line %u",
					rows[i].name, line > before ? before : line);
}

/* Reads, and reads again as long as names turn up that are unknown. True when it got to the end.
 * */
static bool
read_all(struct conf_draft *draft, const char *text)
{
	struct reading now = { .draft = draft };
	bool whole;

	reading = &now;
	do {
		/* What an earlier round found is found again, except the unknown names. */
		now.again = false;
		conf_draft_reset(draft);
		initial_values(draft);
		whole = read_text(text);
	} while (now.again && now.unknown_count < MOST_UNKNOWN);
	for (size_t i = 0; i < now.unknown_count; i++) {
		const char *meant = conf_meant(now.unknown[i].name);

		conf_complain(draft, now.unknown[i].line, "there is no option \"%s\"%s%s%s",
			now.unknown[i].name, meant ? "; is \"" : "", meant ? meant : "",
			meant ? "\" meant?" : "");
		free(now.unknown[i].name);
	}
	note_empty_lists(draft, span_str(text));
	initial_lists(draft);
	reading = NULL;
	return whole;
}

/* Reads into the draft, which the caller clears. */
static struct settings *
read_draft(struct conf_draft *draft, const struct paths *p, uint32_t generation, bool files, struct text *errors)
{
	struct text text = TEXT_UP_TO(MOST_CONF_FILE), why = TEXT_UP_TO(MOST_REASON_TEXT);
	struct settings *s = NULL;
	unsigned int open_quote, open_brace;

	if (!conf_text_read(p->conf, &text, &why))
		conf_complain(draft, 0, "%s", text_str(&why));
	else if ((open_quote = conf_text_blank(&text)))
		conf_complain(
			draft, open_quote, "the quotation mark that opens here is not closed");
	else if ((open_brace = conf_text_open_brace(text_span(&text))))
		conf_complain(draft, open_brace,
			"the brace that opens here is not closed (a member with = in it needs quotation marks)");
	else if (read_all(draft, text_str(&text)))
		conf_check(draft, p, files);
	if (draft->complaint_count == 0)
		s = seal(draft, generation);
	conf_draft_tell(draft, errors);
	text_clear(&text);
	text_clear(&why);
	return s;
}

struct settings *
conf_read(const struct paths *p, uint32_t generation, bool files, struct text *errors)
{
	struct conf_draft draft = { .file = p->conf };
	struct settings *s = read_draft(&draft, p, generation, files, errors);

	conf_draft_clear(&draft);
	return s;
}

struct settings *
conf_read_noting(const struct paths *p, void (*set)(void *me, size_t at), void *me, struct text *errors)
{
	struct conf_draft draft = { .file = p->conf };
	struct settings *s = read_draft(&draft, p, 1, false, errors);

	for (size_t i = 0; s && i < draft.line_count; i++)
		set(me, draft.lines[i].at);
	conf_draft_clear(&draft);
	return s;
}
