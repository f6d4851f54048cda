/*
 * fold - simple case folding of UTF-8. See fold.h.
 */
#include "imapd/fold.h"

#include "imapd/utf8.h"

#include <string.h>

/* Where each `step`th character from `first` to `last` folds to `delta` further. In order. */
static const struct {
	uint32_t first, last, step;
	int32_t delta;
} ranges[] = {
	{ 0x0041, 0x005a, 1, 32 },
	{ 0x00b5, 0x00b5, 1, 775 },          /* micro sign, to Greek mu */
	{ 0x00c0, 0x00d6, 1, 32 },
	{ 0x00d8, 0x00de, 1, 32 },
	{ 0x0100, 0x012e, 2, 1 },
	{ 0x0130, 0x0130, 1, -199 },         /* I with dot above, to i */
	{ 0x0132, 0x0136, 2, 1 },
	{ 0x0139, 0x0147, 2, 1 },
	{ 0x014a, 0x0176, 2, 1 },
	{ 0x0178, 0x0178, 1, -121 },
	{ 0x0179, 0x017d, 2, 1 },
	{ 0x017f, 0x017f, 1, -268 },         /* long s */
	{ 0x01cd, 0x01db, 2, 1 },
	{ 0x01de, 0x01ee, 2, 1 },
	{ 0x01f8, 0x021e, 2, 1 },
	{ 0x0222, 0x0232, 2, 1 },
	{ 0x0386, 0x0386, 1, 38 },
	{ 0x0388, 0x038a, 1, 37 },
	{ 0x038c, 0x038c, 1, 64 },
	{ 0x038e, 0x038f, 1, 63 },
	{ 0x0391, 0x03a1, 1, 32 },
	{ 0x03a3, 0x03ab, 1, 32 },
	{ 0x03c2, 0x03c2, 1, 1 },            /* final sigma */
	{ 0x0400, 0x040f, 1, 80 },
	{ 0x0410, 0x042f, 1, 32 },
	{ 0x0460, 0x0480, 2, 1 },
	{ 0x048a, 0x04be, 2, 1 },
	{ 0x04c0, 0x04c0, 1, 15 },
	{ 0x04c1, 0x04cd, 2, 1 },
	{ 0x04d0, 0x052e, 2, 1 },
	{ 0x0531, 0x0556, 1, 48 },
	{ 0x1e00, 0x1e94, 2, 1 },
	{ 0x1e9e, 0x1e9e, 1, -7615 },        /* capital sharp s */
	{ 0x1ea0, 0x1efe, 2, 1 },
	{ 0x2160, 0x216f, 1, 16 },
	{ 0x24b6, 0x24cf, 1, 26 },
	{ 0xff21, 0xff3a, 1, 32 },
};

uint32_t
fold_character(uint32_t code)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (code < ranges[i].first)
			break;
		if (code <= ranges[i].last && (code - ranges[i].first) % ranges[i].step == 0)
			return (uint32_t)((int32_t)code + ranges[i].delta);
	}
	return code;
}

/* Eight ASCII characters at once: adds 0x20 to each byte from 'A' to 'Z'. */
static uint64_t
fold_eight(uint64_t in)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t from_a = in + (0x80 - 'A') * ones;          /* high bit: not below 'A' */
	uint64_t above_z = in + (0x80 - 'Z' - 1) * ones;     /* high bit: above 'Z' */

	return in | ((from_a & ~above_z & high) >> 2);
}

/* Folds the run of ASCII at the front, at most `room` bytes; returns its length. */
static size_t
fold_ascii(struct span in, unsigned char *to, size_t room)
{
	size_t most = in.len < room ? in.len : room, i = 0;
	uint64_t eight;

	for (; most - i >= 8; i += 8) {
		memcpy(&eight, in.at + i, 8);
		if (eight & 0x8080808080808080u)
			break;
		eight = fold_eight(eight);
		memcpy(to + i, &eight, 8);
	}
	for (; i < most && in.at[i] < 0x80; i++)
		to[i] = (unsigned char)(in.at[i] >= 'A' && in.at[i] <= 'Z' ? in.at[i] | 0x20 :
			in.at[i]);
	return i;
}

size_t
fold_some(struct span *in, unsigned char *to, size_t room)
{
	size_t len = 0;

	while (in->len > 0 && room - len >= 4) {
		size_t ascii = fold_ascii(*in, to + len, room - len);
		uint32_t code;

		len += ascii;
		*in = span_part(*in, ascii, in->len);
		if (in->len == 0 || room - len < 4 || in->at[0] < 0x80)
			continue;
		if (utf8_take(in, &code) == UTF8_CHARACTER) {
			len += utf8_put(to + len, fold_character(code));
		} else {
			to[len++] = in->at[0];
			*in = span_part(*in, 1, in->len);
		}
	}
	return len;
}

void
fold_add(struct text *out, struct span in)
{
	unsigned char piece[1024];

	while (in.len > 0) {
		size_t len = fold_some(&in, piece, sizeof(piece));

		text_add(out, span_of(piece, len));
	}
}
