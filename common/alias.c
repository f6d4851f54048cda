/* alias - see alias.h. */
#include "alias.h"

#include "address.h"
#include "wire.h"

#include <string.h>

/*
 * Records: u8 version, u32 uid, u32 gid, u32 line, u32 parts, octets members. A list over one
 * record goes on under the keys name NUL 1, name NUL 2 ...: u8 version, octets members. A member:
 * u8 kind, octets text. Read back, all of it is untrusted.
 */
#define ALIAS_VERSION 1
#define MOST_PART     (60 * 1024)
#define MOST_PARTS    (MOST_ALIAS_BYTES / MOST_PART + 1)

/* --- text --- */

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
skip_blanks(struct span *in)
{
	while (in->len > 0 && is_blank(in->at[0]))
		*in = span_part(*in, 1, in->len);
}

/* "...", where \c stands for c. The quotes are left out, or kept for an address. */
static bool
take_quoted(struct span *in, bool keep, struct text *to)
{
	struct span rest = span_part(*in, 1, in->len);

	if (keep)
		text_add_byte(to, '"');
	while (rest.len > 0 && rest.at[0] != '"') {
		if (rest.at[0] == '\n')
			return false;
		if (rest.at[0] == '\\' && rest.len > 1) {
			if (keep)
				text_add_byte(to, '\\');
			rest = span_part(rest, 1, rest.len);
		}
		text_add_byte(to, rest.at[0]);
		rest = span_part(rest, 1, rest.len);
	}
	if (rest.len == 0)
		return false;
	if (keep)
		text_add_byte(to, '"');
	*in = span_part(rest, 1, rest.len);
	return true;
}

/* What stands behind a closing quote decides: "..."@domain is an address. */
static bool
quotes_local_part(struct span in)
{
	bool escaped = false;

	for (size_t i = 1; i < in.len; i++) {
		if (in.at[i] == '"' && !escaped)
			return i + 1 < in.len && in.at[i + 1] == '@';
		escaped = in.at[i] == '\\' && !escaped;
	}
	return false;
}

/* Everything up to the comma or the end of the line, quotes undone. Blanks inside a command stay. */
static bool
take_raw(struct span *in, struct text *to)
{
	size_t kept = to->len;

	while (in->len > 0 && in->at[0] != ',' && in->at[0] != '\n') {
		if (in->at[0] == '"') {
			if (!take_quoted(in, quotes_local_part(*in), to))
				return false;
			kept = to->len;
			continue;
		}
		if (in->at[0] == '\\' && in->len > 1 && to->len > 0 && in->at[1] != '\n') {
			text_add_byte(to, '\\');
			*in = span_part(*in, 1, in->len);
		}
		text_add_byte(to, in->at[0]);
		if (!is_blank(in->at[0]))
			kept = to->len;
		*in = span_part(*in, 1, in->len);
	}
	if (kept < to->len)
		to->len = kept;
	return true;
}

/* Name <address>: the address. */
static struct span
without_name(struct span s)
{
	size_t open = span_rindex(s, '<');

	if (s.len > 2 && s.at[s.len - 1] == '>' && open < s.len)
		return span_trim(span_part(s, open + 1, s.len - open - 2));
	return s;
}

static const char *
classify(struct span s, struct alias_member *m)
{
	m->kind = ALIAS_ADDRESS;
	m->text = s;
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x20 || s.at[i] == 0x7f)
			return "a control character";
	if (span_take_word(&m->text, SPAN(":include:"))) {
		m->kind = ALIAS_INCLUDE;
		return m->text.len > 0 && m->text.at[0] == '/' ? NULL
							       : ":include: needs an absolute name";
	}
	if (span_take(&m->text, '|')) {
		m->kind = ALIAS_COMMAND;
		m->text = span_trim(m->text);
		return m->text.len > 0 && m->text.at[0] == '/'
			? NULL
			: "a command needs the absolute name of its program";
	}
	if (m->text.at[0] == '/') {
		m->kind = ALIAS_FILE;
		return NULL;
	}
	if (m->text.at[0] == ':')
		return "of the members with a colon there is only :include:";
	if (span_take(&m->text, '\\'))
		m->kind = ALIAS_FINAL;
	m->text = without_name(m->text);
	return m->text.len > 0 && m->text.len <= MOST_ALIAS_KEY ? NULL : "not an address";
}

int
alias_member_take(struct span *in, struct text *text, struct alias_member *m, const char **why)
{
	text_reset(text);
	for (;;) {
		skip_blanks(in);
		if (in->len > 0 && in->at[0] == '#') {
			while (in->len > 0 && in->at[0] != '\n')
				*in = span_part(*in, 1, in->len);
			continue;
		}
		if (!span_take(in, ','))
			break;
	}
	if (in->len == 0)
		return 0;
	if (!take_raw(in, text)) {
		*why = "a quotation mark is not closed";
		return -1;
	}
	span_take(in, ',');
	if (text->failed || text->len == 0) {
		*why = text->failed ? "too long" : "an empty member";
		return -1;
	}
	*why = classify(text_span(text), m);
	return *why == NULL ? 1 : -1;
}

/* The key of a whole mailbox. */
static bool
mailbox_key(struct span mailbox, struct text *key)
{
	struct address a;

	return address_take_mailbox(&mailbox, true, &a) == ADDRESS_OK && mailbox.len == 0 &&
		!a.literal && address_key(&a, key) && !key->failed;
}

/* A local part with blanks and the like, which its writer has not quoted. */
static void
add_quoted(struct text *to, struct span local)
{
	text_add_byte(to, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.at[i] == '"' || local.at[i] == '\\')
			text_add_byte(to, '\\');
		text_add_byte(to, local.at[i]);
	}
	text_add_byte(to, '"');
}

/* Whatever stands before or behind the '@' is completed, made a key, and taken away again. */
bool
alias_key(struct span name, struct text *key)
{
	struct text full = TEXT_UP_TO(MOST_ALIAS_KEY + 16);
	bool bare = span_rindex(name, '@') == name.len, good;

	text_reset(key);
	if (name.len > 0 && name.at[0] == '@')
		text_add_byte(&full, 'a');
	text_add(&full, name);
	if (bare)
		text_add_str(&full, "@x");
	good = name.len > 0 && mailbox_key(text_span(&full), key);
	if (!good && bare && name.len > 0) {
		text_reset(&full);
		text_reset(key);
		add_quoted(&full, name);
		text_add_str(&full, "@x");
		good = mailbox_key(text_span(&full), key);
	}
	good = good && !full.failed;
	if (good && bare)
		key->len -= 2;
	else if (good && name.at[0] == '@')
		text_drop(key, 1);
	text_clear(&full);
	return good;
}

int
alias_name_take(struct span *in, struct text *key, const char **why)
{
	struct text name = TEXT_UP_TO(MOST_ALIAS_KEY);
	bool good = true;

	skip_blanks(in);
	while (good && in->len > 0 && in->at[0] != ':' && in->at[0] != '\n') {
		if (in->at[0] == '"') {
			good = take_quoted(in, quotes_local_part(*in), &name);
			continue;
		}
		text_add_byte(&name, in->at[0]);
		*in = span_part(*in, 1, in->len);
	}
	*why = !good			 ? "a quotation mark is not closed"
		: !span_take(in, ':')	 ? "a line needs NAME: MEMBER, ..."
		: !alias_key(span_trim(text_span(&name)), key) ? "this is not a name"
							       : NULL;
	text_clear(&name);
	return *why == NULL ? 1 : -1;
}

/* --- records --- */

void
alias_encode(const struct alias_member *m, struct text *to)
{
	size_t before = to->len;

	if (m->text.len > MOST_ALIAS_MEMBER || to->most - to->len < m->text.len + 8)
		to->failed = true;
	wire_add_u8(to, (uint8_t)m->kind, 1);
	wire_add_octets(to, m->text, MOST_ALIAS_MEMBER);
	if (to->failed)
		to->len = before;
}

bool
alias_decode(struct span *members, struct alias_member *m)
{
	struct span rest = *members;
	uint8_t kind;

	if (!wire_take_u8(&rest, &kind, 1) ||
	    !wire_take_octets(&rest, &m->text, MOST_ALIAS_MEMBER) || kind < ALIAS_ADDRESS ||
	    kind > ALIAS_COMMAND || m->text.len == 0)
		return false;
	m->kind = (enum alias_kind)kind;
	*members = rest;
	return true;
}

/* Where a piece of at most MOST_PART may end: never inside a member. */
static size_t
piece(struct span members)
{
	struct span rest = members;
	struct alias_member m;
	size_t whole = 0;

	while (members.len - rest.len <= MOST_PART) {
		whole = members.len - rest.len;
		if (!alias_decode(&rest, &m))
			break;
	}
	return whole;
}

static void
part_key(struct span key, uint32_t part, struct text *to)
{
	text_reset(to);
	text_add(to, key);
	if (part > 0) {
		text_add_byte(to, 0);
		text_add_number(to, part);
	}
}

int
alias_store(struct table_build *b, struct span key, const struct alias_head *head,
	struct span members)
{
	struct text record = TEXT_UP_TO(TABLE_MOST_VALUE), name = TEXT_UP_TO(TABLE_MOST_KEY);
	uint32_t parts = 0;
	int result = 0;

	for (struct span rest = members; parts == 0 || rest.len > 0; parts++)
		rest = span_part(rest, rest.len == 0 ? 0 : piece(rest), rest.len);
	for (uint32_t part = 0; part < parts && result == 0; part++) {
		size_t len = piece(members);

		part_key(key, part, &name);
		text_reset(&record);
		wire_add_u8(&record, ALIAS_VERSION, 1);
		if (part == 0) {
			wire_add_u32(&record, head->uid, 4);
			wire_add_u32(&record, head->gid, 4);
			wire_add_u32(&record, head->line, 4);
			wire_add_u32(&record, parts, 4);
		}
		wire_add_octets(&record, span_part(members, 0, len), MOST_PART);
		members = span_part(members, len, members.len);
		result = table_build_put(b, text_span(&name), text_span(&record));
	}
	text_clear(&record);
	text_clear(&name);
	return result;
}

enum table_result
alias_load(struct table *t, struct span key, struct alias_head *head, struct text *members)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE), name = TEXT_UP_TO(TABLE_MOST_KEY);
	enum table_result result = TABLE_FOUND;
	uint32_t parts = 1;

	text_reset(members);
	if (key.len == 0 || key.len > MOST_ALIAS_KEY || span_has(key, 0))
		result = TABLE_NONE;
	for (uint32_t part = 0; part < parts && result == TABLE_FOUND; part++) {
		struct span in, list;
		uint8_t version;

		part_key(key, part, &name);
		if ((result = table_get(t, text_span(&name), &value)) != TABLE_FOUND)
			break;
		in = text_span(&value);
		if (!wire_take_u8(&in, &version, 1) || version != ALIAS_VERSION ||
		    (part == 0 && (!wire_take_u32(&in, &head->uid, 4) ||
			    !wire_take_u32(&in, &head->gid, 4) ||
			    !wire_take_u32(&in, &head->line, 4) || !wire_take_u32(&in, &parts, 4) ||
			    parts == 0 || parts > MOST_PARTS)) ||
		    !wire_take_octets(&in, &list, MOST_PART) || in.len != 0)
			result = TABLE_NONE;
		else
			text_add(members, list);
		if (members->failed)
			result = TABLE_NONE;
	}
	text_clear(&value);
	text_clear(&name);
	return result;
}
