/*
 * parameters - see parameters.h.
 */
#include "smtpd/parameters.h"

static bool
is_letter_or_digit(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* esmtp-value: any CHAR but "=", SP and control characters. */
static bool
is_value_octet(unsigned char c)
{
	return c > 32 && c < 127 && c != '=';
}

static struct span
take_while(struct span *in, bool (*fits)(unsigned char c))
{
	size_t n = 0;
	struct span taken;

	while (n < in->len && fits(in->at[n]))
		n++;
	taken = span_part(*in, 0, n);
	*in = span_part(*in, n, in->len - n);
	return taken;
}

static bool
is_keyword_octet(unsigned char c)
{
	return is_letter_or_digit(c) || c == '-';
}

bool
esmtp_parameter_take(struct span *in, struct esmtp_parameter *p)
{
	struct span left = *in;
	struct esmtp_parameter found = { SPAN_NONE, SPAN_NONE, false };

	if (!span_take(&left, ' '))
		return false;
	while (span_take(&left, ' '))
		;
	if (left.len == 0 || !is_letter_or_digit(left.at[0]))
		return false;
	found.name = take_while(&left, is_keyword_octet);
	if (span_take(&left, '=')) {
		found.has_value = true;
		found.value = take_while(&left, is_value_octet);
		if (found.value.len == 0)
			return false;
	}
	if (left.len > 0 && left.at[0] != ' ')
		return false;
	*in = left;
	*p = found;
	return true;
}

static int
hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
esmtp_is_xtext(struct span value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = value.at[i];
		int high, low;

		if (c <= 32 || c >= 127 || c == '=')
			return false;
		if (c != '+')
			continue;
		if (value.len - i < 3)
			return false;
		high = hex_digit(value.at[i + 1]);
		low = hex_digit(value.at[i + 2]);
		if (high < 0 || low < 0 || high * 16 + low < 32 || high * 16 + low > 126)
			return false;
		i += 2;
	}
	return true;
}
