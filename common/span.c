/* span - see span.h. */
#include "span.h"

#include <string.h>

struct span
span_of(const void *at, size_t len)
{
	return (struct span){ at, len };
}

struct span
span_str(const char *string)
{
	return (struct span){ (const unsigned char *)string, string != NULL ? strlen(string) : 0 };
}

static unsigned char
lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

bool
span_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool
span_equal_nocase(struct span a, struct span b)
{
	return a.len == b.len && span_starts_nocase(a, b);
}

int
span_compare(struct span a, struct span b)
{
	size_t least = a.len < b.len ? a.len : b.len;
	int order = least == 0 ? 0 : memcmp(a.at, b.at, least);

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

bool
span_starts_nocase(struct span s, struct span prefix)
{
	if (s.len < prefix.len)
		return false;
	for (size_t i = 0; i < prefix.len; i++)
		if (s.at[i] != prefix.at[i] && lower(s.at[i]) != lower(prefix.at[i]))
			return false;
	return true;
}

bool
span_has(struct span s, unsigned char c)
{
	return s.len > 0 && memchr(s.at, c, s.len) != NULL;
}

size_t
span_find(struct span s, struct span needle)
{
	const unsigned char *found;

	if (needle.len == 0)
		return 0;
	if (s.len < needle.len)
		return s.len;
	found = memmem(s.at, s.len, needle.at, needle.len);
	return found != NULL ? (size_t)(found - s.at) : s.len;
}

size_t
span_index(struct span s, unsigned char c)
{
	const unsigned char *found = s.len > 0 ? memchr(s.at, c, s.len) : NULL;

	return found != NULL ? (size_t)(found - s.at) : s.len;
}

size_t
span_rindex(struct span s, unsigned char c)
{
	const unsigned char *found = s.len > 0 ? memrchr(s.at, c, s.len) : NULL;

	return found != NULL ? (size_t)(found - s.at) : s.len;
}

struct span
span_part(struct span s, size_t from, size_t len)
{
	if (from > s.len)
		from = s.len;
	if (len > s.len - from)
		len = s.len - from;
	return (struct span){ s.at != NULL ? s.at + from : NULL, len };
}

struct span
span_trim(struct span s)
{
	while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
		s.at++, s.len--;
	while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

bool
span_is_printable(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x20 || s.at[i] > 0x7e)
			return false;
	return true;
}

/* How many bytes the character at the front has, 0 when it is malformed (RFC 3629 section 4). */
static size_t
utf8_length(struct span s)
{
	unsigned char c = s.at[0], least = 0x80, most = 0xbf;
	size_t len;

	if (c < 0x80)
		return c != 0;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (s.len < len)
		return 0;
	if (c == 0xe0)
		least = 0xa0;
	else if (c == 0xed)
		most = 0x9f;
	else if (c == 0xf0)
		least = 0x90;
	else if (c == 0xf4)
		most = 0x8f;
	if (s.at[1] < least || s.at[1] > most)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s.at[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool
span_is_utf8(struct span s)
{
	while (s.len > 0) {
		size_t len = utf8_length(s);

		if (len == 0)
			return false;
		s.at += len;
		s.len -= len;
	}
	return true;
}

int
span_hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
span_take(struct span *in, unsigned char c)
{
	if (in->len == 0 || in->at[0] != c)
		return false;
	in->at++;
	in->len--;
	return true;
}

bool
span_take_word(struct span *in, struct span word)
{
	if (!span_starts_nocase(*in, word))
		return false;
	in->at += word.len;
	in->len -= word.len;
	return true;
}

bool
span_take_number(struct span *in, uint64_t most, uint64_t *number)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < in->len && in->at[i] >= '0' && in->at[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(in->at[i] - '0');

		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (i == 0 || n > most)
		return false;
	in->at += i;
	in->len -= i;
	*number = n;
	return true;
}

bool
span_take_until(struct span *in, unsigned char c, struct span *part)
{
	size_t i = span_index(*in, c);

	if (i == in->len)
		return false;
	*part = (struct span){ in->at, i };
	in->at += i + 1;
	in->len -= i + 1;
	return true;
}

bool
span_take_bytes(struct span *in, size_t len, struct span *part)
{
	if (in->len < len)
		return false;
	*part = (struct span){ in->at, len };
	if (len > 0)
		in->at += len;
	in->len -= len;
	return true;
}

bool
span_copy(struct span s, char *to, size_t room)
{
	if (s.len >= room || span_has(s, 0))
		return false;
	if (s.len > 0)
		memcpy(to, s.at, s.len);
	to[s.len] = '\0';
	return true;
}
