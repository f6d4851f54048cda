/*
 * The text of DATA, and its header: cut into pieces as the first bytes say, or in one piece, the
 * same comes out; what comes out never holds more than came in; the end is CR LF . CR LF alone.
 * The text of BDAT, cut into chunks in the same way, comes out as it came in. And its framing: the
 * input as a stream of BDAT commands and chunks never leads outside of it.
 */
#include <stdlib.h>
#include <string.h>

#include "smtpd/chunk.h"
#include "smtpd/data.h"
#include "smtpd/header.h"

#define PIECES 8
#define FUZZ_MOST 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
	struct data data;
	struct header_scan scan;
	struct text out;
	size_t taken;
};

static void
feed(struct result *r, struct span piece)
{
	static unsigned char plain[FUZZ_MOST + DATA_ROOM];
	size_t had = piece.len, n = data_feed(&r->data, &piece, plain);
	struct span text = span_of(plain, n);

	if (n > had + DATA_ROOM)
		abort();
	r->taken += had - piece.len;
	header_scan_feed(&r->scan, &text, &r->out);
	text_add(&r->out, text);
	if (r->data.ended)
		header_scan_finish(&r->scan, &r->out);
}

/* Where the first CR LF . CR LF (or a . CR LF at the very start) ends; 0: nowhere. */
static size_t
true_end(struct span in)
{
	struct span mark = SPAN("\r\n.\r\n");
	size_t at;

	if (in.len >= 3 && memcmp(in.at, ".\r\n", 3) == 0)
		return 3;
	at = span_find(in, mark);
	return at == in.len ? 0 : at + mark.len;
}

/* Normalised: no bare CR or LF is left, the end is the same, and cuts make no difference. */
static void
normalised(struct span in, const uint8_t *cuts)
{
	static unsigned char plain[2 * FUZZ_MOST + DATA_ROOM], again[2 * FUZZ_MOST + DATA_ROOM];
	struct data whole = { .normalise = true }, cut = { .normalise = true };
	struct span all = in, left = in;
	size_t n = data_feed(&whole, &all, plain), m = 0;

	if (n > 2 * in.len + DATA_ROOM || in.len - all.len != (true_end(in) ? true_end(in) : in.len))
		abort();
	for (size_t i = 0; i < n; i++)
		if ((plain[i] == '\r' && i + 1 < n && plain[i + 1] != '\n') ||
			(plain[i] == '\n' && (i == 0 || plain[i - 1] != '\r')))
			abort();
	for (size_t i = 0; i < PIECES && !cut.ended; i++) {
		struct span piece = span_part(left, 0, i + 1 < PIECES ? cuts[i] : left.len);

		left = span_part(left, piece.len, left.len);
		m += data_feed(&cut, &piece, again + m);
	}
	if (m != n || memcmp(plain, again, n) != 0 || cut.ended != whole.ended)
		abort();
}

/* The same octets counted: nothing is taken away, one line end at most is added. */
static void
counted(struct span in, const uint8_t *cuts)
{
	struct result whole = { .data.counted = true, .out = TEXT_UP_TO(2 * FUZZ_MOST) },
		      cut = { .data.counted = true, .out = TEXT_UP_TO(2 * FUZZ_MOST) };
	static unsigned char plain[FUZZ_MOST + DATA_ROOM];
	unsigned char end[DATA_END_ROOM];
	struct span left = in, same = in;
	struct text copy = TEXT_UP_TO(2 * FUZZ_MOST);

	feed(&whole, in);
	for (size_t i = 0; i < PIECES; i++) {
		struct span piece = span_part(left, 0, i + 1 < PIECES ? cuts[i] : left.len);

		feed(&cut, piece);
		left = span_part(left, piece.len, left.len);
	}
	if (whole.taken != in.len || cut.taken != in.len || whole.data.ended || cut.data.ended ||
		whole.data.size != cut.data.size || whole.data.bare_lf != cut.data.bare_lf ||
		whole.data.bare_cr != cut.data.bare_cr || whole.data.nul != cut.data.nul ||
		!span_equal(text_span(&whole.out), text_span(&cut.out)))
		abort();
	cut.data = (struct data){ .counted = true };
	text_add(&copy, span_of(plain, data_feed(&cut.data, &same, plain)));
	text_add(&copy, span_of(end, data_finish(&cut.data, end)));
	if (!span_equal(span_part(text_span(&copy), 0, in.len), in) ||
		copy.len > in.len + 2 || cut.data.size != in.len)
		abort();
	text_clear(&whole.out);
	text_clear(&cut.out);
	text_clear(&copy);
}

/* As turn.c and bdat.c take it: a line, then as many octets as it says. */
static void
framing(struct span in)
{
	struct span word = SPAN("BDAT");
	size_t lf;

	while ((lf = span_find(in, SPAN("\r\n"))) < in.len) {
		struct span line = span_part(in, 0, lf);
		uint64_t size = 0;
		bool last = false;

		in = span_part(in, lf + 2, in.len);
		if (!span_take_word(&line, word))
			continue;
		if (!chunk_parse(line, &size, &last)) {
			if (size != 0 || last)
				abort();
			return;
		}
		in = span_part(in, size < in.len ? (size_t)size : in.len, in.len);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole = {.out = TEXT_UP_TO(2 * FUZZ_MOST)},
		      cut = {.out = TEXT_UP_TO(2 * FUZZ_MOST)};
	struct span in, left;

	if (size < PIECES || size > FUZZ_MOST)
		return 0;
	whole.scan.submitted = cut.scan.submitted = data[0] & 1;
	in = left = span_of(data + PIECES, size - PIECES);
	normalised(in, data);
	counted(in, data);
	framing(in);
	feed(&whole, in);
	for (size_t i = 0; i < PIECES && !cut.data.ended; i++) {
		struct span piece = span_part(left, 0, i + 1 < PIECES ? data[i] : left.len);

		feed(&cut, piece);
		left = span_part(left, piece.len, left.len);
	}
	if (whole.data.ended != cut.data.ended || whole.taken != cut.taken ||
		whole.data.size != cut.data.size || whole.data.bare_lf != cut.data.bare_lf ||
		whole.data.bare_cr != cut.data.bare_cr || whole.data.nul != cut.data.nul ||
		whole.scan.received != cut.scan.received ||
		whole.scan.has_date != cut.scan.has_date ||
		!span_equal(text_span(&whole.out), text_span(&cut.out)))
		abort();
	if (whole.data.ended != (true_end(in) != 0) ||
		(whole.data.ended && whole.taken != true_end(in)))
		abort();
	text_clear(&whole.out);
	text_clear(&cut.out);
	return 0;
}
