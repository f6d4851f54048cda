/* fold - see fold.h. ASCII, which is most of what there is, goes eight bytes at a time. */
#include "imapd/fold.h"

#include "imapd/casemap-table.h"
#include "common/utf8.h"

#include <string.h>

#define ROWS (sizeof(casemap_rows) / sizeof(casemap_rows[0]))

/* Hangul syllables decompose by arithmetic (Unicode 3.12). */
#define HANGUL_FIRST 0xac00u
#define HANGUL_LAST 0xd7a3u
#define HANGUL_LEAD 0x1100u
#define HANGUL_VOWEL 0x1161u
#define HANGUL_TAIL 0x11a7u
#define HANGUL_VOWELS 21u
#define HANGUL_TAILS 28u

/* Eight ASCII characters at once: takes 0x20 from each byte from 'a' to 'z'. */
static uint64_t
fold_eight(uint64_t in)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t from_a = in + (0x80 - 'a') * ones;          /* high bit: not below 'a' */
	uint64_t above_z = in + (0x80 - 'z' - 1) * ones;     /* high bit: above 'z' */

	return in - ((from_a & ~above_z & high) >> 2);
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
		to[i] = (unsigned char)(in.at[i] >= 'a' && in.at[i] <= 'z' ? in.at[i] - 0x20 :
			in.at[i]);
	return i;
}

static size_t
put_hangul(uint32_t code, unsigned char *to)
{
	uint32_t at = code - HANGUL_FIRST, tail = at % HANGUL_TAILS;
	size_t len = utf8_put(to, HANGUL_LEAD + at / (HANGUL_VOWELS * HANGUL_TAILS));

	len += utf8_put(to + len, HANGUL_VOWEL + at / HANGUL_TAILS % HANGUL_VOWELS);
	if (tail > 0)
		len += utf8_put(to + len, HANGUL_TAIL + tail);
	return len;
}

/* What `code` becomes, at most MOST_FOLDED bytes. */
static size_t
put_folded(uint32_t code, unsigned char *to)
{
	size_t low = 0, high = ROWS, len = 0;

	if (code >= HANGUL_FIRST && code <= HANGUL_LAST)
		return put_hangul(code, to);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (casemap_rows[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == ROWS || casemap_rows[low].code != code)
		return utf8_put(to, code);
	for (size_t i = 0; i < casemap_rows[low].len; i++)
		len += utf8_put(to + len, casemap_pool[casemap_rows[low].at + i]);
	return len;
}

size_t
fold_some(struct span *in, unsigned char *to, size_t room)
{
	size_t len = 0;

	while (in->len > 0 && room - len >= MOST_FOLDED) {
		size_t ascii = fold_ascii(*in, to + len, room - len);
		uint32_t code;

		len += ascii;
		*in = span_part(*in, ascii, in->len);
		if (in->len == 0 || room - len < MOST_FOLDED || in->at[0] < 0x80)
			continue;
		if (utf8_take(in, &code) == UTF8_CHARACTER) {
			len += put_folded(code, to + len);
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
