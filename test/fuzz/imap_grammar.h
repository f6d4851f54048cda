/*
 * imap_grammar - a second opinion: is this text an ENVELOPE, a BODYSTRUCTURE, a BODY by the
 * grammar of RFC 3501 section 9? For unit tests and fuzz targets. Each function takes one rule
 * from the front; false when it does not stand there.
 */
#ifndef VALIJA_TEST_IMAP_GRAMMAR_H
#define VALIJA_TEST_IMAP_GRAMMAR_H

#include "common/span.h"

#define GRAMMAR_DEPTH 110       /* more than MOST_PART_DEPTH */

static inline bool
g_quoted(struct span *in)
{
	if (!span_take(in, '"'))
		return false;
	while (in->len > 0 && in->at[0] != '"') {
		if (in->at[0] == 0 || in->at[0] == '\r' || in->at[0] == '\n' || in->at[0] >= 0x80)
			return false;
		if (in->at[0] == '\\' && (in->len < 2 || (in->at[1] != '"' && in->at[1] != '\\')))
			return false;
		*in = span_part(*in, in->at[0] == '\\' ? 2 : 1, in->len);
	}
	return span_take(in, '"');
}

static inline bool
g_string(struct span *in)
{
	struct span bytes;
	uint64_t len;

	if (in->len > 0 && in->at[0] == '"')
		return g_quoted(in);
	return span_take(in, '{') && span_take_number(in, UINT32_MAX, &len) &&
	       span_take_word(in, SPAN("}\r\n")) && span_take_bytes(in, len, &bytes) &&
	       !span_has(bytes, 0);
}

static inline bool
g_nil(struct span *in)
{
	return span_take_word(in, SPAN("NIL"));
}

static inline bool
g_nstring(struct span *in)
{
	return g_nil(in) || g_string(in);
}

static inline bool
g_number(struct span *in)
{
	uint64_t number;

	return span_take_number(in, UINT32_MAX, &number);
}

/* An address list, in which groups are opened and closed in turn. */
static inline bool
g_addresses(struct span *in)
{
	bool group = false;

	if (g_nil(in))
		return true;
	if (!span_take(in, '('))
		return false;
	do {
		bool mailbox, host;

		if (!span_take(in, '(') || !g_nstring(in) || !span_take(in, ' ') ||
			!g_nstring(in) || !span_take(in, ' '))
			return false;
		mailbox = !g_nil(in);
		if ((mailbox && !g_string(in)) || !span_take(in, ' '))
			return false;
		host = !g_nil(in);
		if ((host && !g_string(in)) || !span_take(in, ')') || (host && !mailbox))
			return false;
		if (!host && group == mailbox)
			return false;          /* a group in a group, or an end without a start */
		if (!host)
			group = mailbox;
	} while (in->len > 0 && in->at[0] != ')');
	return !group && span_take(in, ')');
}

static inline bool
g_envelope(struct span *in)
{
	if (!span_take(in, '(') || !g_nstring(in) || !span_take(in, ' ') || !g_nstring(in))
		return false;
	for (int i = 0; i < 6; i++)
		if (!span_take(in, ' ') || !g_addresses(in))
			return false;
	return span_take(in, ' ') && g_nstring(in) && span_take(in, ' ') && g_nstring(in) &&
		span_take(in, ')');
}

static inline bool
g_parameters(struct span *in)
{
	if (g_nil(in))
		return true;
	if (!span_take(in, '('))
		return false;
	do {
		if (!g_string(in) || !span_take(in, ' ') || !g_string(in))
			return false;
	} while (span_take(in, ' '));
	return span_take(in, ')');
}

static inline bool
g_language(struct span *in)
{
	if (!span_take(in, '('))
		return g_nstring(in);
	do {
		if (!g_string(in))
			return false;
	} while (span_take(in, ' '));
	return span_take(in, ')');
}

static inline bool
g_extension(struct span *in)
{
	if (!span_take(in, ' '))
		return false;
	if (!g_nil(in) && !(span_take(in, '(') && g_string(in) && span_take(in, ' ') &&
		g_parameters(in) && span_take(in, ')')))
		return false;
	return span_take(in, ' ') && g_language(in) && span_take(in, ' ') && g_nstring(in);
}

static inline bool g_body(struct span *in, bool extended, unsigned depth);

static inline bool
g_single(struct span *in, bool extended, unsigned depth)
{
	struct span start = *in;
	bool text, message;

	text = span_starts_nocase(start, SPAN("\"text\" "));
	message = span_starts_nocase(start, SPAN("\"message\" \"rfc822\" ")) ||
		span_starts_nocase(start, SPAN("\"message\" \"global\" "));
	if (!g_string(in) || !span_take(in, ' ') || !g_string(in) || !span_take(in, ' ') ||
		!g_parameters(in) || !span_take(in, ' ') || !g_nstring(in) || !span_take(in, ' ') ||
		!g_nstring(in) || !span_take(in, ' ') || !g_string(in) || !span_take(in, ' ') ||
		!g_number(in))
		return false;
	if (message && (!span_take(in, ' ') || !g_envelope(in) || !span_take(in, ' ') ||
		!g_body(in, extended, depth + 1)))
		return false;
	if ((text || message) && (!span_take(in, ' ') || !g_number(in)))
		return false;
	return !extended || (span_take(in, ' ') && g_nstring(in) && g_extension(in));
}

static inline bool
g_body(struct span *in, bool extended, unsigned depth)
{
	if (depth > GRAMMAR_DEPTH || !span_take(in, '('))
		return false;
	if (in->len == 0 || in->at[0] != '(')
		return g_single(in, extended, depth) && span_take(in, ')');
	while (in->len > 0 && in->at[0] == '(')
		if (!g_body(in, extended, depth + 1))
			return false;
	return span_take(in, ' ') && g_string(in) &&
		(!extended || (span_take(in, ' ') && g_parameters(in) && g_extension(in))) &&
		span_take(in, ')');
}

#endif
