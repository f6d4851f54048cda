/* embedded - see embedded.h. */
#include "embedded.h"

#define DIGITS_MOST 6

static int
hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool
is_character(uint32_t code)
{
	return code >= 0x20 && !(code >= 0x7f && code < 0xa0) && !(code >= 0xd800 && code <= 0xdfff) && code <= 0x10ffff;
}

bool
embedded_begins(struct span s)
{
	return span_equal(span_part(s, 0, 3), SPAN("\\x{"));
}

bool
embedded_take(struct span *in, uint32_t *code)
{
	struct span rest = span_part(*in, 3, in->len), digits;
	uint32_t found = 0;

	if (!embedded_begins(*in) || !span_take_until(&rest, '}', &digits) || digits.len < 2 || digits.len > DIGITS_MOST ||
		digits.at[0] == '0')
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		int digit = hex_digit(digits.at[i]);

		if (digit < 0)
			return false;
		found = found * 16 + (uint32_t)digit;
	}
	if (!is_character(found))
		return false;
	*code = found;
	*in = rest;
	return true;
}
