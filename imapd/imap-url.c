/* imap-url - see imap-url.h. */
#include "imapd/imap-url.h"

/* Undoes percent-encoding (RFC 3986 2.1). False: broken, or a NUL. */
static bool
decode(struct span s, struct arena *arena, struct span *decoded)
{
	unsigned char *to = arena_alloc(arena, s.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		int high, low;

		if (s.at[i] != '%') {
			to[len++] = s.at[i];
			continue;
		}
		if (s.len - i < 3)
			return false;
		high = span_hex_value(s.at[i + 1]);
		low = span_hex_value(s.at[i + 2]);
		if (high < 0 || low < 0 || (high == 0 && low == 0))
			return false;
		to[len++] = (unsigned char)(high * 16 + low);
		i += 2;
	}
	*decoded = span_of(to, len);
	return true;
}

/* RFC 3986: what stands for itself in a URL is printable ASCII without these. */
static bool
only_url_characters(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] <= ' ' || s.at[i] >= 0x7f || span_has(SPAN("\"<>\\^`{|}"), s.at[i]))
			return false;
	}
	return true;
}

/* What stands before the first of the bytes in `ends`. */
static struct span
take_up_to(struct span *in, struct span ends)
{
	struct span part = *in;

	for (size_t i = 0; i < in->len; i++) {
		if (span_has(ends, in->at[i])) {
			part = span_part(*in, 0, i);
			break;
		}
	}
	*in = span_part(*in, part.len, SIZE_MAX);
	return part;
}

/* [user [";AUTH=" mechanism] "@"] host [":" port] */
static bool
take_server(struct span *in, struct arena *arena, struct imap_url *url)
{
	struct span server = take_up_to(in, SPAN("/")), user;
	size_t at = span_rindex(server, '@');
	uint64_t port;

	url->absolute = true;
	if (at < server.len) {
		user = span_part(server, 0, at);
		server = span_part(server, at + 1, SIZE_MAX);
		if (!decode(take_up_to(&user, SPAN(";")), arena, &url->user))
			return false;
		if (user.len > 0 && !span_starts_nocase(user, SPAN(";AUTH=")))
			return false;
	}
	if (!decode(take_up_to(&server, SPAN(":")), arena, &url->host) || url->host.len == 0)
		return false;
	return server.len == 0 || (span_take(&server, ':') &&
		span_take_number(&server, 65535, &port) && server.len == 0);
}

static bool
take_number(struct span *in, uint32_t least, uint32_t *n)
{
	uint64_t number;

	if (!span_take_number(in, UINT32_MAX, &number) || number < least)
		return false;
	*n = (uint32_t)number;
	return true;
}

/* The name up to ";UIDVALIDITY=" or "/;UID=": a ";" of a name is encoded. */
static bool
take_mailbox(struct span *in, struct arena *arena, struct imap_url *url)
{
	struct span name = take_up_to(in, SPAN(";"));

	if (span_take_word(in, SPAN(";UIDVALIDITY="))) {
		if (!take_number(in, 1, &url->uidvalidity) || !span_take(in, '/'))
			return false;
	} else if (name.len > 0 && name.at[name.len - 1] == '/') {
		name.len--;
	} else {
		return false;
	}
	return name.len > 0 && decode(name, arena, &url->mailbox);
}

/* ";UID=" n ["/;SECTION=" section] ["/;PARTIAL=" from ["." most]] */
static bool
take_message(struct span *in, struct arena *arena, struct imap_url *url)
{
	if (!span_take_word(in, SPAN(";UID=")) || !take_number(in, 1, &url->uid))
		return false;
	if (span_take_word(in, SPAN("/;SECTION=")) &&
		!decode(take_up_to(in, SPAN("/;")), arena, &url->section))
		return false;
	if (span_take_word(in, SPAN("/;PARTIAL="))) {
		url->partial = true;
		if (!take_number(in, 0, &url->from) ||
			(span_take(in, '.') && !take_number(in, 1, &url->most)))
			return false;
	}
	return true;
}

bool
imap_url_parse(struct span text, struct arena *arena, struct imap_url *url)
{
	struct span in = text;

	*url = (struct imap_url){ .text = text };
	if (text.len > MOST_IMAP_URL || !only_url_characters(text))
		return false;
	if (span_take_word(&in, SPAN("imap://")) && !take_server(&in, arena, url))
		return false;
	if (span_take(&in, '/')) {
		if (!take_mailbox(&in, arena, url))
			return false;
	} else if (url->absolute) {
		return false;
	}
	return take_message(&in, arena, url) && in.len == 0;
}
