/*
 * mutf7 - modified UTF-7 of mailbox names. See mutf7.h.
 */
#include "imapd/mutf7.h"

#include "common/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static bool
is_direct(uint32_t code)
{
	return code >= 0x20 && code <= 0x7e;
}

/* No name has these: controls, and the separators of lines and paragraphs (RFC 6855 section 3). */
static bool
is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* Takes the UTF-16 units of one shift, up to its hyphen. */
struct units {
	struct span in;
	uint32_t bits;
	unsigned have;           /* bits in `bits` */
};

/* The next unit. False at the hyphen, or where base64 ends otherwise. */
static bool
unit_take(struct units *units, uint32_t *unit)
{
	while (units->have < 16) {
		size_t value;

		if (units->in.len == 0 || units->in.at[0] == 0)
			return false;
		value = span_index(span_of(alphabet, 64), units->in.at[0]);
		if (value == 64)
			return false;
		units->bits = (units->bits << 6 | (uint32_t)value) & 0x3fffff;
		units->have += 6;
		units->in = span_part(units->in, 1, units->in.len);
	}
	units->have -= 16;
	*unit = units->bits >> units->have & 0xffff;
	return true;
}

/* Takes base64 and its hyphen from the front and appends the characters. */
static bool
shift_take(struct span *in, struct text *out)
{
	struct units units = { .in = *in };
	uint32_t unit, low;
	size_t count = 0;

	for (; unit_take(&units, &unit); count++) {
		if (unit >= 0xd800 && unit <= 0xdbff) {
			if (!unit_take(&units, &low) || low < 0xdc00 || low > 0xdfff)
				return false;
			unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
		} else if (unit >= 0xdc00 && unit <= 0xdfff) {
			return false;
		}
		/* RFC 3501 5.1.3: what can stand for itself must */
		if (is_direct(unit) || is_control(unit))
			return false;
		utf8_add(out, unit);
	}
	/* fewer bits than a base64 character are left, and they are zero */
	if (count == 0 || units.have >= 6 || (units.bits & ((1u << units.have) - 1)) != 0)
		return false;
	*in = units.in;
	return span_take(in, '-');
}

/* Undoes what was appended since `before`. */
static bool
give_back(struct text *out, size_t before, bool good)
{
	good = good && !out->failed;
	if (!good)
		out->len = before;
	return good;
}

bool
mutf7_to_utf8(struct span name, struct text *out)
{
	size_t before = out->len;
	bool shifted = false;         /* a shift has just ended */

	while (name.len > 0) {
		unsigned char c = name.at[0];

		if (!is_direct(c))
			return give_back(out, before, false);
		name = span_part(name, 1, name.len);
		if (c != '&') {
			text_add_byte(out, c);
			shifted = false;
		} else if (span_take(&name, '-')) {
			text_add_byte(out, '&');
			shifted = false;
		} else if (shifted || !shift_take(&name, out)) {
			return give_back(out, before, false);
		} else {
			shifted = true;
		}
	}
	return give_back(out, before, true);
}

/* Appends UTF-16 units as base64. */
struct shift {
	uint32_t bits;
	unsigned have;
	bool open;
};

static void
unit_add(struct shift *shift, uint32_t unit, struct text *out)
{
	if (!shift->open)
		text_add_byte(out, '&');
	shift->open = true;
	shift->bits = (shift->bits << 16 | unit) & 0x3fffff;
	shift->have += 16;
	while (shift->have >= 6) {
		shift->have -= 6;
		text_add_byte(out, (unsigned char)alphabet[shift->bits >> shift->have & 63]);
	}
}

static void
shift_end(struct shift *shift, struct text *out)
{
	if (!shift->open)
		return;
	if (shift->have > 0)
		text_add_byte(out, (unsigned char)alphabet[shift->bits << (6 - shift->have) & 63]);
	text_add_byte(out, '-');
	*shift = (struct shift){ 0 };
}

bool
mutf7_from_utf8(struct span name, struct text *out)
{
	size_t before = out->len;
	struct shift shift = { 0 };
	uint32_t code;

	while (name.len > 0) {
		if (utf8_take(&name, &code) != UTF8_CHARACTER || is_control(code))
			return give_back(out, before, false);
		if (is_direct(code)) {
			shift_end(&shift, out);
			text_add_byte(out, (unsigned char)code);
			if (code == '&')
				text_add_byte(out, '-');
		} else if (code >= 0x10000) {
			unit_add(&shift, 0xd800 + ((code - 0x10000) >> 10), out);
			unit_add(&shift, 0xdc00 + ((code - 0x10000) & 0x3ff), out);
		} else {
			unit_add(&shift, code, out);
		}
	}
	shift_end(&shift, out);
	return give_back(out, before, true);
}
