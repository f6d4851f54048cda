/* text - see text.h. */
#include "text.h"

#include "secret.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *
must_alloc(size_t size)
{
	void *at = calloc(1, size > 0 ? size : 1);

	if (at == NULL)
		abort();
	return at;
}

void *
must_realloc(void *old, size_t size)
{
	void *at = realloc(old, size > 0 ? size : 1);

	if (at == NULL)
		abort();
	return at;
}

char *
must_copy(struct span s)
{
	char *copy = must_alloc(s.len + 1);

	if (s.len > 0)
		memcpy(copy, s.at, s.len);
	return copy;
}

/* Makes place for `more` bytes and a NUL behind them. */
static bool
text_reserve(struct text *t, size_t more)
{
	size_t room;

	if (t->failed)
		return false;
	if (more > t->most || t->len > t->most - more) {
		t->failed = true;
		return false;
	}
	if (t->len + more < t->room)
		return true;
	room = t->room < 64 ? 64 : t->room * 2;
	if (room < t->len + more + 1)
		room = t->len + more + 1;
	if (room > t->most + 1)
		room = t->most + 1;
	t->at = must_realloc(t->at, room);
	t->room = room;
	return true;
}

void
text_add(struct text *t, struct span s)
{
	if (s.len == 0 || !text_reserve(t, s.len))
		return;
	memcpy(t->at + t->len, s.at, s.len);
	t->len += s.len;
}

void
text_add_str(struct text *t, const char *string)
{
	text_add(t, span_str(string));
}

void
text_add_byte(struct text *t, unsigned char c)
{
	if (text_reserve(t, 1))
		t->at[t->len++] = c;
}

void
text_add_number(struct text *t, uint64_t n)
{
	unsigned char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (unsigned char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	text_add(t, span_of(digits + i, sizeof(digits) - i));
}

void
text_add_hex(struct text *t, struct span s)
{
	static const char digit[] = "0123456789abcdef";

	if (s.len > t->most || !text_reserve(t, 2 * s.len))
		return;
	for (size_t i = 0; i < s.len; i++) {
		t->at[t->len++] = (unsigned char)digit[s.at[i] >> 4];
		t->at[t->len++] = (unsigned char)digit[s.at[i] & 15];
	}
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
text_add_base64(struct text *t, struct span s)
{
	if (s.len > t->most || !text_reserve(t, (s.len + 2) / 3 * 4))
		return;
	for (size_t i = 0; i < s.len; i += 3) {
		size_t left = s.len - i;
		uint32_t three = (uint32_t)s.at[i] << 16 |
			(left > 1 ? (uint32_t)s.at[i + 1] << 8 : 0) | (left > 2 ? s.at[i + 2] : 0);

		t->at[t->len++] = (unsigned char)base64[three >> 18];
		t->at[t->len++] = (unsigned char)base64[three >> 12 & 63];
		t->at[t->len++] = (unsigned char)(left > 1 ? base64[three >> 6 & 63] : '=');
		t->at[t->len++] = (unsigned char)(left > 2 ? base64[three & 63] : '=');
	}
}

static int
base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes one group of four; returns the number of bytes, or 0 when it is malformed. */
static size_t
base64_group(const unsigned char *at, bool last, unsigned char out[3])
{
	int a = base64_value(at[0]), b = base64_value(at[1]), c = base64_value(at[2]),
	    d = base64_value(at[3]);
	size_t len = 3;

	if (last && at[3] == '=') {
		d = 0;
		len = 2;
		if (at[2] == '=') {
			c = 0;
			len = 1;
		}
	}
	if (a < 0 || b < 0 || c < 0 || d < 0)
		return 0;
	if ((len == 1 && (b & 15) != 0) || (len == 2 && (c & 3) != 0))
		return 0; /* RFC 4648 section 3.5: unused bits are zero */
	out[0] = (unsigned char)(a << 2 | b >> 4);
	out[1] = (unsigned char)((b & 15) << 4 | c >> 2);
	out[2] = (unsigned char)((c & 3) << 6 | d);
	return len;
}

bool
text_add_base64_decoded(struct text *t, struct span s)
{
	size_t before = t->len;

	if (s.len % 4 != 0 || t->failed || s.len / 4 * 3 > t->most - t->len + 2)
		return false;
	for (size_t i = 0; i < s.len; i += 4) {
		unsigned char out[3];
		size_t len = base64_group(s.at + i, i + 4 == s.len, out);

		if (len > 0)
			text_add(t, span_of(out, len));
		if (len == 0 || t->failed) {
			t->len = before;
			t->failed = false;
			return false;
		}
	}
	return true;
}

void
text_printf(struct text *t, const char *format, ...)
{
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (len < 0) {
		t->failed = true;
		return;
	}
	if (len == 0 || !text_reserve(t, (size_t)len))
		return;
	va_start(arguments, format);
	vsnprintf((char *)t->at + t->len, (size_t)len + 1, format, arguments);
	va_end(arguments);
	t->len += (size_t)len;
}

struct span
text_span(const struct text *t)
{
	return (struct span){ t->at, t->len };
}

const char *
text_str(struct text *t)
{
	if (t->at == NULL)
		return "";
	t->at[t->len] = '\0'; /* text_reserve keeps one byte more than the contents */
	return (const char *)t->at;
}

void
text_drop(struct text *t, size_t len)
{
	if (len >= t->len) {
		t->len = 0;
		return;
	}
	memmove(t->at, t->at + len, t->len - len);
	t->len -= len;
}

void
text_reset(struct text *t)
{
	t->len = 0;
	t->failed = false;
}

void
text_clear(struct text *t)
{
	free(t->at);
	t->at = NULL;
	t->len = t->room = 0;
	t->failed = false;
}

void
text_wipe(struct text *t)
{
	if (t->at != NULL)
		secret_wipe(t->at, t->room);
	text_clear(t);
}
