/* map-plain - compiles the tables of tables(5): a key, blanks, a value. */
#include <errno.h>
#include <string.h>

#include "delivery/transport.h"
#include "master/map-inside.h"

/* An address or "@domain". */
static bool
is_address(struct span s)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY);
	bool is = span_rindex(s, '@') < s.len && alias_key(s, &key);

	text_clear(&key);
	return is;
}

/* The key as daemons look it up: an address, @domain; for transports also domain, .domain and "*". */
static bool
key_of(enum table_kind kind, struct span word, struct text *key)
{
	struct text full = TEXT_UP_TO(MOST_ALIAS_KEY + 2);
	bool dot = word.len > 1 && word.at[0] == '.', good;

	if (kind != TABLE_TRANSPORT || span_rindex(word, '@') < word.len)
		return span_rindex(word, '@') < word.len && alias_key(word, key);
	text_reset(key);
	if (span_equal(word, SPAN("*"))) {
		text_add_byte(key, '*');
		return true;
	}
	text_add_byte(&full, '@');
	text_add(&full, span_part(word, dot, word.len));
	good = alias_key(text_span(&full), key);
	if (good && dot)
		key->at[0] = '.';
	else if (good)
		text_drop(key, 1);
	text_clear(&full);
	return good;
}

static const char *
senders_fault(struct span value)
{
	struct text text = TEXT_UP_TO(MOST_ALIAS_MEMBER);
	struct alias_member m;
	const char *why = NULL;
	int taken, count = 0;

	while ((taken = alias_member_take(&value, &text, &m, &why)) > 0 && why == NULL) {
		count++;
		if (m.kind != ALIAS_ADDRESS || !is_address(m.text))
			why = "the value must be addresses or @domains, with commas between";
	}
	text_clear(&text);
	return why != NULL || count > 0 ? why : "there is no value";
}

static const char *
value_fault(enum table_kind kind, struct span value)
{
	struct transport_way way;
	const char *why = NULL;

	if (value.len > MOST_TABLE_VALUE)
		return "the value is too long";
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] < 0x20 || value.at[i] == 0x7f)
			return "a control character";
	switch (kind) {
	case TABLE_TRANSPORT:
		return transport_parse(value, &way, &why) ? NULL : why;
	case TABLE_CANONICAL:
	case TABLE_SENDER_CANONICAL:
	case TABLE_RECIPIENT_CANONICAL:
		return is_address(value) ? NULL : "the value must be an address or @domain";
	case TABLE_SENDERS:
		return senders_fault(value);
	default:
		return NULL;
	}
}

static void
plain_line(struct map_work *w, const struct map_file *f, const struct map_line *line)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY);
	size_t blank = 0;
	bool quoted = false;
	struct span value;
	const char *why;

	for (; blank < line->text.len; blank++) {
		unsigned char c = line->text.at[blank];

		quoted ^= c == '"';
		if (!quoted && (c == ' ' || c == '\t'))
			break;
	}
	value = span_trim(span_part(line->text, blank, line->text.len));
	if (!key_of(w->kind, span_part(line->text, 0, blank), &key))
		map_complain(w, f->path, line->number, "%.*s is not a key of this table",
			SPAN_ARG(span_part(line->text, 0, blank)));
	else if ((why = value_fault(w->kind, value)) != NULL)
		map_complain(w, f->path, line->number, "%s", why);
	else if (map_key_is_new(w, text_span(&key), f->path, line->number)) {
		w->count++;
		if (table_build_put(w->build, text_span(&key), value) < 0)
			map_complain(w, f->path, line->number, "cannot be stored: %s",
				strerror(errno));
	}
	text_clear(&key);
}

void
map_plain(struct map_work *w, const struct map_file *f)
{
	struct text joined = TEXT_UP_TO(MOST_MAP_VALUE);
	struct span rest = text_span(&f->text);
	struct map_line line;
	unsigned int at = 0;

	while (map_line_take(&rest, &at, &joined, &line))
		plain_line(w, f, &line);
	if (joined.failed)
		map_complain(w, f->path, at, "a line is too long");
	text_clear(&joined);
}
