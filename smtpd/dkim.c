/* dkim - see dkim.h. */
#include "smtpd/dkim.h"

#include <inttypes.h>
#include <string.h>

#define FOLD_AT 72                   /* characters of base64 in a line */

/* --- the body: RFC 6376 3.4.4 --- */

void
dkim_body_init(struct dkim_body *b)
{
	memset(b, 0, sizeof(*b));
	sha256_init(&b->hash);
}

static void
hash_str(struct sha256_ctx *hash, const char *s)
{
	sha256_update(hash, strlen(s), (const uint8_t *)s);
}

/* Something that is no white space comes: what was held back before it counts. */
static void
release(struct dkim_body *b)
{
	for (; b->empty_lines > 0; b->empty_lines--)
		hash_str(&b->hash, "\r\n");
	if (b->blank)
		hash_str(&b->hash, " ");
	b->blank = false;
	b->line = b->any = true;
}

static void
end_line(struct dkim_body *b)
{
	b->blank = false;
	b->line = false;
	b->empty_lines++;
}

static bool
is_plain(unsigned char c)
{
	return c != ' ' && c != '\t' && c != '\r' && c != '\n';
}

void
dkim_body_feed(struct dkim_body *b, struct span piece)
{
	size_t i = 0, from;

	while (i < piece.len) {
		unsigned char c = piece.at[i];

		if (b->cr && c == '\n') {
			b->cr = false;
			end_line(b);
			i++;
			continue;
		}
		if (b->cr) {                     /* a CR that ends no line is text */
			b->cr = false;
			release(b);
			hash_str(&b->hash, "\r");
		}
		if (is_plain(c) || c == '\n') {
			release(b);
			for (from = i++; i < piece.len && is_plain(piece.at[i]); i++)
				;
			sha256_update(&b->hash, i - from, piece.at + from);
			continue;
		}
		b->cr = c == '\r';
		b->blank |= c != '\r';
		i++;
	}
}

void
dkim_body_finish(struct dkim_body *b, unsigned char digest[DKIM_HASH_SIZE])
{
	/* Empty lines at the end do not count; a last line has its end, be it there or not. */
	if (b->cr) {
		release(b);
		hash_str(&b->hash, "\r");
	}
	if (b->any)
		hash_str(&b->hash, "\r\n");
	sha256_digest(&b->hash, DKIM_HASH_SIZE, digest);
}

/* --- the header --- */

/* A field, with its folded lines and the last line end. */
static bool
take_field(struct span *header, struct span *whole)
{
	size_t len = 0;

	do {
		size_t end = span_index(span_part(*header, len, header->len), '\n');

		if (end == header->len - len)
			return false;
		len += end + 1;
	} while (len < header->len && (header->at[len] == ' ' || header->at[len] == '\t'));
	*whole = span_part(*header, 0, len);
	*header = span_part(*header, len, header->len);
	return !span_equal(*whole, SPAN("\r\n"));
}

/* Name and value of a field. False: it is none. */
static bool
split_field(struct span whole, struct span *name, struct span *value)
{
	if (!span_take_until(&whole, ':', name))
		return false;
	*name = span_trim(*name);
	*value = whole;
	return name->len > 0;
}

/* RFC 6376 3.4.2: unfolded, white space as one space, none at the ends. */
static void
add_relaxed(struct sha256_ctx *hash, struct span value)
{
	bool blank = false, any = false;

	for (size_t i = 0; i < value.len; i++) {
		if (!is_plain(value.at[i])) {
			blank = any;
			continue;
		}
		if (blank)
			hash_str(hash, " ");
		sha256_update(hash, 1, value.at + i);
		blank = false;
		any = true;
	}
}

static void
add_name(struct sha256_ctx *hash, struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.at[i];

		c = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
		sha256_update(hash, 1, &c);
	}
	hash_str(hash, ":");
}

/* Field `which` of that name, counted from the last one (0) up (RFC 6376 5.4.2). */
static bool
field_from_below(struct span header, struct span wanted, size_t which, struct span *value)
{
	struct span rest = header, whole, name, found;
	size_t count = 0;

	while (take_field(&rest, &whole))
		count += split_field(whole, &name, &found) && span_equal_nocase(name, wanted);
	if (which >= count)
		return false;
	rest = header;
	for (size_t at = count - which; take_field(&rest, &whole);) {
		if (split_field(whole, &name, value) && span_equal_nocase(name, wanted) && --at == 0)
			return true;
	}
	return false;
}

/* What is signed when it is there; `over` is named once more than it is there, so that nobody can
 * add another one (RFC 6376 5.4). */
static const struct {
	const char *name;
	bool over;
} signed_fields[] = {
	{ "From", true }, { "Sender", false }, { "Reply-To", false }, { "To", true }, { "Cc", true },
	{ "Subject", true }, { "Date", true }, { "Message-ID", true }, { "In-Reply-To", false },
	{ "References", false }, { "MIME-Version", false }, { "Content-Type", false },
	{ "Content-Transfer-Encoding", false }, { "List-Id", false }, { "List-Post", false },
	{ "List-Unsubscribe", false }, { "List-Unsubscribe-Post", false }, { "Autocrypt", false },
};
#define SIGNED_FIELDS (sizeof(signed_fields) / sizeof(signed_fields[0]))
#define MOST_OF_A_NAME 5             /* more of one name are left unsigned */

/* h=, and the hash of the fields that it names. */
static void
add_signed(struct span header, struct text *field, struct sha256_ctx *hash)
{
	bool first = true;

	for (size_t i = 0; i < SIGNED_FIELDS; i++) {
		struct span name = span_str(signed_fields[i].name), value;
		size_t which = 0;

		for (; which < MOST_OF_A_NAME && field_from_below(header, name, which, &value);
			which++) {
			add_name(hash, name);
			add_relaxed(hash, value);
			hash_str(hash, "\r\n");
			text_add_str(field, first ? "" : ":");
			text_add(field, name);
			first = false;
		}
		if (signed_fields[i].over) {
			text_add_str(field, first ? "" : ":");
			text_add(field, name);
			first = false;
		}
		if (i % 6 == 5 && i + 1 < SIGNED_FIELDS)
			text_add(field, SPAN("\r\n\t"));
	}
}

bool
dkim_field_begin(const struct dkim_entry *entry, struct span header,
	const unsigned char body[DKIM_HASH_SIZE], int64_t when, struct text *field,
	unsigned char digest[DKIM_HASH_SIZE])
{
	size_t from = field->len;
	struct sha256_ctx hash;
	struct span value;

	sha256_init(&hash);
	text_add(field, SPAN("DKIM-Signature: v=1; a="));
	text_add_str(field, dkim_algorithm_name(entry->algorithm));
	text_add(field, SPAN("; c=relaxed/relaxed; d="));
	text_add(field, entry->domain);
	text_add(field, SPAN(";\r\n\ts="));
	text_add(field, entry->selector);
	text_printf(field, "; t=%" PRId64 ";\r\n\th=", when);
	add_signed(header, field, &hash);
	text_add(field, SPAN(";\r\n\tbh="));
	text_add_base64(field, span_of(body, DKIM_HASH_SIZE));
	text_add(field, SPAN(";\r\n\tb="));
	if (field->failed)
		return false;
	/* RFC 6376 3.7: the field itself comes last, without a line end. */
	value = span_part(text_span(field), from, field->len);
	(void)span_take_until(&value, ':', &(struct span){ NULL, 0 });
	add_name(&hash, SPAN("DKIM-Signature"));
	add_relaxed(&hash, value);
	sha256_digest(&hash, DKIM_HASH_SIZE, digest);
	return true;
}

void
dkim_field_end(struct text *field, struct span signature)
{
	struct text base64 = TEXT_UP_TO(MOST_DKIM_FIELD);

	text_add_base64(&base64, signature);
	for (size_t at = 0; at < base64.len; at += FOLD_AT) {
		if (at > 0)
			text_add(field, SPAN("\r\n\t "));
		text_add(field, span_part(text_span(&base64), at, FOLD_AT));
	}
	text_add(field, SPAN("\r\n"));
	text_clear(&base64);
}

/* --- who signs --- */

/* Passes over a quoted string or a comment; false where neither stands. */
static bool
skip_quoted(struct span *in)
{
	unsigned char open = in->len > 0 ? in->at[0] : 0, close = open == '(' ? ')' : '"';
	size_t depth = 1, i = 1;

	if (open != '"' && open != '(')
		return false;
	for (; i < in->len && depth > 0; i++) {
		if (in->at[i] == '\\')
			i++;
		else if (in->at[i] == close)
			depth--;
		else if (open == '(' && in->at[i] == '(')
			depth++;
	}
	*in = span_part(*in, i, in->len);
	return true;
}

static bool
is_domain_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
		c == '.' || c >= 0x80;
}

/* The first "@" outside quotes and comments; what follows it, up to what is no domain. */
static bool
add_domain(struct span in, struct text *domain)
{
	while (in.len > 0 && in.at[0] != '@') {
		if (!skip_quoted(&in))
			in = span_part(in, 1, in.len);
	}
	if (!span_take(&in, '@'))
		return false;
	for (; in.len > 0 && is_domain_char(in.at[0]); in = span_part(in, 1, in.len))
		text_add_byte(domain, in.at[0] >= 'A' && in.at[0] <= 'Z' ? in.at[0] | 0x20 :
			in.at[0]);
	return domain->len > 0 && !domain->failed;
}

bool
dkim_from_domain(struct span header, struct text *domain)
{
	struct span value, second;

	if (!field_from_below(header, SPAN("From"), 0, &value) ||
		field_from_below(header, SPAN("From"), 1, &second))
		return false;
	return add_domain(value, domain);
}
