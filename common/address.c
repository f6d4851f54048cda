#include "address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#define MOST_LABEL   63 /* octets, RFC 1035 2.3.4 */
#define MOST_LITERAL 46 /* an IPv6 address as text, INET6_ADDRSTRLEN */

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_let_dig(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

/* RFC 5322 3.2.3 */
static bool
is_atext(unsigned char c)
{
	return is_let_dig(c) || (c != 0 && c < 0x80 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* C1 controls; the separators of lines and paragraphs, and the marks, embeddings, overrides and isolates of
 * direction: what a reader sees of an address that has one is not that address. */
static bool
is_wide_control(ucs4_t c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
		(c >= 0x2066 && c <= 0x2069);
}

/* Takes one character beyond ASCII (UTF8-non-ascii, RFC 6532 3.1). Controls are none. */
static bool
take_utf8(struct span *in, ucs4_t *c)
{
	int n;

	if (in->len == 0 || in->at[0] < 0x80)
		return false;
	n = u8_mbtoucr(c, in->at, in->len);
	if (n <= 0 || is_wide_control(*c))
		return false;
	*in = span_part(*in, (size_t)n, in->len);
	return true;
}

/* Why does a parser not like what stands at the front? */
static enum address_error
error_at(struct span in, bool utf8)
{
	ucs4_t c;

	if (in.len > 0 && is_control(in.at[0]))
		return ADDRESS_CONTROL;
	if (in.len > 0 && in.at[0] >= 0x80 && u8_mbtoucr(&c, in.at, in.len) > 0 && is_wide_control(c))
		return ADDRESS_CONTROL;
	if (in.len > 0 && in.at[0] >= 0x80 && !utf8)
		return ADDRESS_NEEDS_UTF8;
	return ADDRESS_SYNTAX;
}

/* Dot-string = Atom *("." Atom) (RFC 5321 4.1.2; UTF8-non-ascii by RFC 6531 3.3). */
static enum address_error
take_dot_string(struct span *in, bool utf8, struct address *a)
{
	struct span rest = *in;
	bool after_dot = true, beyond = false;
	ucs4_t c;

	for (;;) {
		if (rest.len > 0 && is_atext(rest.at[0])) {
			rest = span_part(rest, 1, rest.len);
			after_dot = false;
		} else if (utf8 && take_utf8(&rest, &c)) {
			after_dot = false;
			beyond = true;
		} else if (!after_dot && span_take(&rest, '.')) {
			after_dot = true;
		} else {
			break;
		}
	}
	if (after_dot)
		return error_at(rest, utf8);
	if (rest.len > 0 && rest.at[0] != '@' && rest.at[0] != '>')
		return error_at(rest, utf8);
	a->local = span_part(*in, 0, in->len - rest.len);
	a->quoted = false;
	a->utf8 |= beyond;
	*in = rest;
	return ADDRESS_OK;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE (RFC 5321 4.1.2): neither controls nor folding. */
static enum address_error
take_quoted_string(struct span *in, bool utf8, struct address *a)
{
	struct span rest = *in;
	bool beyond = false;
	ucs4_t c;

	if (!span_take(&rest, '"'))
		return ADDRESS_SYNTAX;
	while (!span_take(&rest, '"')) {
		if (rest.len == 0)
			return ADDRESS_SYNTAX;
		if (span_take(&rest, '\\')) {
			/* quoted-pairSMTP: only printable ASCII and space */
			if (rest.len == 0 || rest.at[0] >= 0x80 || is_control(rest.at[0]))
				return error_at(rest, true);
			rest = span_part(rest, 1, rest.len);
		} else if (rest.at[0] >= 0x20 && rest.at[0] < 0x7f) {
			rest = span_part(rest, 1, rest.len);
		} else if (utf8 && take_utf8(&rest, &c)) {
			beyond = true;
		} else {
			return error_at(rest, utf8);
		}
	}
	a->local = span_part(*in, 0, in->len - rest.len);
	a->quoted = true;
	a->utf8 |= beyond;
	*in = rest;
	return ADDRESS_OK;
}

static enum address_error
take_local(struct span *in, bool utf8, struct address *a)
{
	enum address_error e;
	struct span before = *in;

	if (in->len > 0 && in->at[0] == '"')
		e = take_quoted_string(in, utf8, a);
	else
		e = take_dot_string(in, utf8, a);
	if (e == ADDRESS_OK && a->local.len > MOST_LOCAL_PART) {
		*in = before;
		e = ADDRESS_TOO_LONG;
	}
	return e;
}

/* A U-label has letters, marks and digits; and the few characters that RFC 5892 2.6 lets in by
 * context (appendix A). */
static bool
is_label_character(ucs4_t c)
{
	static const ucs4_t by_context[] = {0xb7, 0x375, 0x5f3, 0x5f4, 0x200c, 0x200d, 0x30fb};

	for (size_t i = 0; i < sizeof(by_context) / sizeof(by_context[0]); i++)
		if (c == by_context[i])
			return true;
	return uc_is_general_category_withtable(
		c, UC_CATEGORY_MASK_L | UC_CATEGORY_MASK_M | UC_CATEGORY_MASK_N);
}

/* sub-domain = Let-dig [Ldh-str] / U-label */
static bool
take_label(struct span *in, bool utf8, bool *beyond)
{
	struct span rest = *in, before;
	bool hyphen = true; /* none at the start */
	ucs4_t c;

	while (rest.len > 0) {
		before = rest;
		if (is_let_dig(rest.at[0])) {
			rest = span_part(rest, 1, rest.len);
			hyphen = false;
		} else if (rest.at[0] == '-' && rest.len < in->len) {
			rest = span_part(rest, 1, rest.len);
			hyphen = true;
		} else if (utf8 && take_utf8(&rest, &c)) {
			if (!is_label_character(c)) {
				rest = before;
				break;
			}
			hyphen = false;
			*beyond = true;
		} else {
			break;
		}
	}
	if (rest.len == in->len || hyphen || in->len - rest.len > MOST_LABEL)
		return false;
	*in = rest;
	return true;
}

/* address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]" (RFC 5321 4.1.3). No other tag is registered.
 */
static bool
take_literal(struct span *in)
{
	struct span rest = *in, inner;
	unsigned char address[sizeof(struct in6_addr)];
	char copy[MOST_LITERAL];
	int family = AF_INET;

	if (!span_take(&rest, '[') || !span_take_until(&rest, ']', &inner))
		return false;
	if (span_take_word(&inner, SPAN("IPv6:")))
		family = AF_INET6;
	if (!span_copy(inner, copy, sizeof(copy)) || inet_pton(family, copy, address) != 1)
		return false;
	*in = rest;
	return true;
}

static bool
take_domain(struct span *in, bool utf8, struct span *domain, bool *literal, bool *beyond)
{
	struct span rest = *in;

	if (rest.len > 0 && rest.at[0] == '[') {
		if (!take_literal(&rest))
			return false;
		*literal = true;
	} else {
		bool wide = false;
		do {
			if (!take_label(&rest, utf8, &wide))
				return false;
		} while (span_take(&rest, '.'));
		*literal = false;
		*beyond |= wide;
	}
	*domain = span_part(*in, 0, in->len - rest.len);
	*in = rest;
	return true;
}

bool
address_take_domain(struct span *in, bool utf8, struct span *domain, bool *literal)
{
	struct span rest = *in, found;
	bool is_literal, beyond = false;

	if (!take_domain(&rest, utf8, &found, &is_literal, &beyond) || found.len > MOST_DOMAIN)
		return false;
	*domain = found;
	*literal = is_literal;
	*in = rest;
	return true;
}

/* Of a domain that did not parse, the reason that a person can act upon. */
static enum address_error
domain_error(struct span in, bool utf8)
{
	for (size_t i = 0; i < in.len && in.at[i] != '>'; i++) {
		enum address_error e = error_at(span_part(in, i, in.len), utf8);
		if (e != ADDRESS_SYNTAX)
			return e;
	}
	return ADDRESS_SYNTAX;
}

enum address_error
address_take_mailbox(struct span *in, bool utf8, struct address *a)
{
	struct address found = {SPAN_NONE, SPAN_NONE, false, false, false};
	struct span rest = *in;
	enum address_error e;

	e = take_local(&rest, utf8, &found);
	if (e != ADDRESS_OK)
		return e;
	if (!span_take(&rest, '@'))
		return error_at(rest, utf8);
	if (!take_domain(&rest, utf8, &found.domain, &found.literal, &found.utf8))
		return domain_error(rest, utf8);
	if (found.domain.len > MOST_DOMAIN)
		return ADDRESS_TOO_LONG;
	*a = found;
	*in = rest;
	return ADDRESS_OK;
}

/* A-d-l ":" (RFC 5321 4.1.2): accepted, ignored (3.3, appendix C). */
static enum address_error
take_source_route(struct span *in, bool utf8)
{
	struct span domain;
	bool literal, beyond = false;

	if (in->len == 0 || in->at[0] != '@')
		return ADDRESS_OK;
	do {
		if (!span_take(in, '@') || !take_domain(in, utf8, &domain, &literal, &beyond) ||
			literal)
			return domain_error(*in, utf8);
	} while (span_take(in, ','));
	return span_take(in, ':') ? ADDRESS_OK : domain_error(*in, utf8);
}

enum address_error
address_take_path(struct span *in, bool allow_null, bool utf8, struct address *a)
{
	static const struct address none = {{NULL, 0}, {NULL, 0}, false, false, false};
	struct address found = none;
	struct span rest = *in, word;
	enum address_error e;

	if (!span_take(&rest, '<'))
		return error_at(rest, true);
	word = rest;
	if (allow_null && span_take(&rest, '>')) {
		*a = none;
		*in = rest;
		return ADDRESS_OK;
	}
	if (!allow_null && span_take_word(&word, SPAN("postmaster")) && span_take(&word, '>')) {
		/* RFC 5321 4.5.1: every server knows <postmaster> without a domain, as a recipient.
		 */
		found.local = span_part(rest, 0, sizeof("postmaster") - 1);
		rest = word;
		goto out;
	}
	e = take_source_route(&rest, utf8);
	if (e == ADDRESS_OK)
		e = address_take_mailbox(&rest, utf8, &found);
	if (e != ADDRESS_OK)
		return e;
	if (!span_take(&rest, '>'))
		return domain_error(rest, utf8);
	if (in->len - rest.len > MOST_PATH)
		return ADDRESS_TOO_LONG;
out:
	*a = found;
	*in = rest;
	return ADDRESS_OK;
}

/* --- the key --- */

static void
lower_ascii(struct text *t)
{
	for (size_t i = 0; i < t->len; i++)
		if (t->at[i] >= 'A' && t->at[i] <= 'Z')
			t->at[i] = (unsigned char)(t->at[i] + ('a' - 'A'));
}

static bool
is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] >= 0x80)
			return false;
	return true;
}

/* Replaces what is in `t` by its normal form C, and for domains by its lower case beyond ASCII. */
static void
normalize(struct text *t, bool lower)
{
	uint8_t *made;
	size_t len;

	if (is_ascii(text_span(t)))
		return;
	if (lower)
		made = u8_tolower(t->at, t->len, NULL, UNINORM_NFC, NULL, &len);
	else
		made = u8_normalize(UNINORM_NFC, t->at, t->len, NULL, &len);
	if (made == NULL) {
		t->failed = true;
		return;
	}
	text_reset(t);
	text_add(t, span_of(made, len));
	free(made);
}

static void
unquote(struct span quoted, struct text *to)
{
	for (size_t i = 1; i + 1 < quoted.len; i++) {
		if (quoted.at[i] == '\\')
			i++;
		text_add_byte(to, quoted.at[i]);
	}
}

static void
add_local(struct text *to, struct span local)
{
	struct address a = {SPAN_NONE, SPAN_NONE, false, false, false};
	struct span in = local;

	/* Can it stand without quotes? Normal form C may have made ';' and '`' of other characters,
	 * so the question comes after it. */
	if (take_dot_string(&in, true, &a) == ADDRESS_OK && in.len == 0) {
		text_add(to, local);
		return;
	}
	text_add_byte(to, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.at[i] == '"' || local.at[i] == '\\')
			text_add_byte(to, '\\');
		text_add_byte(to, local.at[i]);
	}
	text_add_byte(to, '"');
}

bool
address_key(const struct address *a, struct text *to)
{
	struct text part = TEXT_UP_TO((size_t)4 * (MOST_LOCAL_PART + MOST_DOMAIN));
	bool failed;

	if (a->quoted)
		unquote(a->local, &part);
	else
		text_add(&part, a->local);
	/* Before: J with a caron has no character of its own, j has. After: the kelvin sign became
	 * K. */
	lower_ascii(&part);
	normalize(&part, false);
	lower_ascii(&part);
	failed = part.failed;
	add_local(to, text_span(&part));

	if (a->domain.len > 0) {
		text_reset(&part);
		text_add(&part, a->domain);
		normalize(&part, true);
		lower_ascii(&part);
		failed |= part.failed;
		text_add_byte(to, '@');
		text_add(to, text_span(&part));
	}
	text_clear(&part);
	return !failed && !to->failed;
}
