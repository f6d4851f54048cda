/*
 * utf8 - characters of UTF-8, one at a time. See utf8.h.
 */
#include "utf8.h"

#include <string.h>

enum utf8_result
utf8_take(struct span *in, uint32_t *code)
{
	unsigned char first, low = 0x80, high = 0xbf;
	size_t need, i;
	uint32_t c;

	if (in->len == 0)
		return UTF8_UNFINISHED;
	first = in->at[0];
	if (first < 0x80) {
		need = 0;
		c = first;
	} else if (first >= 0xc2 && first <= 0xdf) {
		need = 1;
		c = first & 0x1f;
	} else if (first >= 0xe0 && first <= 0xef) {
		need = 2;
		c = first & 0x0f;
		low = first == 0xe0 ? 0xa0 : 0x80;      /* overlong */
		high = first == 0xed ? 0x9f : 0xbf;     /* surrogates */
	} else if (first >= 0xf0 && first <= 0xf4) {
		need = 3;
		c = first & 0x07;
		low = first == 0xf0 ? 0x90 : 0x80;
		high = first == 0xf4 ? 0x8f : 0xbf;
	} else {
		return UTF8_BROKEN;
	}
	for (i = 1; i <= need; i++) {
		if (i == in->len)
			return UTF8_UNFINISHED;
		if (in->at[i] < low || in->at[i] > high)
			return UTF8_BROKEN;
		c = c << 6 | (in->at[i] & 0x3f);
		low = 0x80;
		high = 0xbf;
	}
	in->at += need + 1;
	in->len -= need + 1;
	*code = c;
	return UTF8_CHARACTER;
}

size_t
utf8_put(unsigned char *to, uint32_t code)
{
	if (code < 0x80) {
		to[0] = (unsigned char)code;
		return 1;
	}
	if (code < 0x800) {
		to[0] = (unsigned char)(0xc0 | code >> 6);
		to[1] = (unsigned char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		to[0] = (unsigned char)(0xe0 | code >> 12);
		to[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
		to[2] = (unsigned char)(0x80 | (code & 0x3f));
		return 3;
	}
	to[0] = (unsigned char)(0xf0 | code >> 18);
	to[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
	to[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
	to[3] = (unsigned char)(0x80 | (code & 0x3f));
	return 4;
}

void
utf8_add(struct text *out, uint32_t code)
{
	unsigned char bytes[4];
	size_t len = utf8_put(bytes, code);

	text_add(out, span_of(bytes, len));
}

size_t
utf8_ascii_length(struct span in)
{
	size_t i = 0;
	uint64_t eight;

	for (; in.len - i >= 8; i += 8) {
		memcpy(&eight, in.at + i, 8);
		if (eight & 0x8080808080808080u)
			break;
	}
	while (i < in.len && in.at[i] < 0x80)
		i++;
	return i;
}

size_t
utf8_valid_length(struct span in, enum utf8_result *why)
{
	struct span rest = in;
	uint32_t code;

	*why = UTF8_CHARACTER;
	while (rest.len > 0 && *why == UTF8_CHARACTER) {
		rest = span_part(rest, utf8_ascii_length(rest), rest.len);
		if (rest.len > 0)
			*why = utf8_take(&rest, &code);
	}
	return in.len - rest.len;
}
