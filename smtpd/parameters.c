/*
 * parameters - see parameters.h.
 */
#include "smtpd/parameters.h"

#include "common/address.h"
#include "common/embedded.h"
#include "common/message.h"

static bool
is_letter_or_digit(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* esmtp-value: any CHAR but "=", SP and control characters; UTF-8 by RFC 6531 3.3: each parameter
 * says for itself what it takes. */
static bool
is_value_octet(unsigned char c)
{
	return c > 32 && c != 127 && c != '=';
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

/* Takes one character of xtext: a printable one that stands for itself, or "+XX" for one. */
static bool
take_xchar(struct span *in, char *to)
{
	int high, low;

	if (in->len == 0 || in->at[0] <= 32 || in->at[0] >= 127 || in->at[0] == '=')
		return false;
	if (in->at[0] != '+') {
		*to = (char)in->at[0];
		*in = span_part(*in, 1, in->len);
		return true;
	}
	if (in->len < 3)
		return false;
	high = hex_digit(in->at[1]);
	low = hex_digit(in->at[2]);
	if (high < 0 || low < 0 || high * 16 + low < 32 || high * 16 + low > 126)
		return false;
	*to = (char)(high * 16 + low);
	*in = span_part(*in, 3, in->len);
	return true;
}

/* `utf8`: octets beyond ASCII stand for themselves (they were checked to be UTF-8). */
static bool
decode(struct span in, bool utf8, char *to, size_t room)
{
	size_t n = 0;

	while (in.len > 0) {
		if (n + 1 >= room)
			return false;
		if (utf8 && in.at[0] >= 0x80) {
			to[n++] = (char)in.at[0];
			in = span_part(in, 1, in.len);
		} else if (!take_xchar(&in, &to[n++])) {
			return false;
		}
	}
	to[n] = '\0';
	return true;
}

bool
esmtp_xtext_decode(struct span value, char *to, size_t room)
{
	return room > 0 && decode(value, false, to, room);
}

/* What begins as a character of RFC 6533 section 3 is one, and no control is there, however it is written. */
static bool
wide_fits(struct span address)
{
	uint32_t code;

	while (address.len > 0) {
		if (embedded_take(&address, &code))
			continue;
		if (embedded_begins(address) || (address.len > 1 && address.at[0] == 0xc2 && address.at[1] < 0xa0))
			return false;
		address = span_part(address, 1, address.len);
	}
	return true;
}

bool
esmtp_orcpt_decode(struct span value, bool utf8, char *to, size_t room)
{
	struct span type = span_part(value, 0, span_index(value, ';'));
	struct span address = span_part(value, type.len + 1, value.len);
	bool wide = span_equal_nocase(type, SPAN("utf-8")), beyond = utf8 && wide;

	/* "addr-type = atom": those that are registered are letters, digits and hyphens. */
	for (size_t i = 0; i < type.len; i++)
		if (!is_keyword_octet(type.at[i]))
			return false;
	if (type.len == 0 || address.len == 0 || type.len + 2 > room ||
		(beyond && !span_is_utf8(address)))
		return false;
	if (!span_copy(type, to, room))
		return false;
	to[type.len] = ';';
	return decode(address, beyond, to + type.len + 1, room - type.len - 1) && (!wide || wide_fits(span_str(to + type.len + 1)));
}

bool
esmtp_helo_fits(struct span name)
{
	struct span left = name, domain;
	bool literal;

	if (name.len == 0 || name.len > MOST_HOST)
		return false;
	if (address_take_domain(&left, false, &domain, &literal) && left.len == 0)
		return true;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.at[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}
