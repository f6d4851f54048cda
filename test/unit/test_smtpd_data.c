/* The end of DATA and its dots: every table row whole, byte by byte, and cut in two at every place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/text.h"
#include "smtpd/data.h"

static const struct row {
	const char *in, *out, *rest;
	bool ended, bare_cr, bare_lf;
} rows[] = {
	{ ".\r\n", "", "", true, false, false },
	{ "\r\n.\r\n", "\r\n", "", true, false, false },
	{ "a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", true, false, false },
	{ "..\r\n.\r\n", ".\r\n", "", true, false, false },
	{ "...\r\n.\r\n", "..\r\n", "", true, false, false },
	{ ".a\r\n.\r\n", "a\r\n", "", true, false, false },
	{ "a.\r\n.\r\n", "a.\r\n", "", true, false, false },
	{ "a\r\n.\r", "a\r\n", "", false, false, false },
	{ "a\n.\n", "a\n.\n", "", false, false, true },
	{ "a\n.\r\nb", "a\n.\r\nb", "", false, false, true },
	{ "a\r\n.\nb", "a\r\n\nb", "", false, false, true },
	{ "a\r\n.\rb", "a\r\n\rb", "", false, true, false },
	{ "a\r\n.\r\r\nb", "a\r\n\r\r\nb", "", false, true, false },
	{ "a\r.\r\nb", "a\r.\r\nb", "", false, true, false },
	{ "a\r\r\n.\r\n", "a\r\r\n", "", true, true, false },
	{ "\n.\r\n", "\n.\r\n", "", false, false, true },
	{ "\r.\r\n", "\r.\r\n", "", false, true, false },
	{ "a\r\n.\r\n.\r\n", "a\r\n", ".\r\n", true, false, false },
};

static void
check(const struct row *row, const size_t *cuts, size_t count)
{
	struct span all = span_str(row->in);
	struct data d = { 0 };
	struct text out = TEXT_UP_TO(4096);
	unsigned char room[256];
	size_t at = 0;

	for (size_t i = 0; i <= count && !d.ended; i++) {
		size_t end = i < count ? cuts[i] : all.len;
		struct span piece = span_part(all, at, end - at);
		size_t had = piece.len, n = data_feed(&d, &piece, room);

		assert_true(n <= had + DATA_ROOM);
		text_add(&out, span_of(room, n));
		at += had - piece.len;
	}
	assert_true(span_equal(text_span(&out), span_str(row->out)));
	assert_true(span_equal(span_part(all, at, all.len), span_str(row->rest)));
	assert_int_equal(d.ended, row->ended);
	assert_int_equal(d.bare_cr, row->bare_cr);
	assert_int_equal(d.bare_lf, row->bare_lf);
	assert_int_equal(d.size, strlen(row->out));
	text_clear(&out);
}

static void
every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].in), each[64];

		for (size_t cut = 0; cut <= len; cut++)
			check(&rows[i], &cut, 1);
		for (size_t j = 0; j < len; j++)
			each[j] = j + 1;
		check(&rows[i], each, len);
	}
}

static void
nul_is_seen_everywhere(void **state)
{
	static const char *const around[] = { "", "a", "\r", ".", ".\r", "\r\n", "\r\n." };

	(void)state;
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
		struct data d = { 0 };
		unsigned char in[8], out[16];
		struct span s = span_of(in, strlen(around[i]) + 1);

		memcpy(in, around[i], s.len);
		data_feed(&d, &s, out);
		assert_true(d.nul);
	}
}

/* normalise_newlines: every line becomes one, and CR LF . CR LF of the client is the only end. */
static void
normalises(void **state)
{
	static const struct {
		const char *in, *out;
		bool ended;
	} cases[] = {
		{ "a\nb\rc\r\n.\r\n", "a\r\nb\r\nc\r\n", true }, { "a\n.\n", "a\r\n.\r\n", false },
		{ "a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", true }, { "a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n", true },
		{ "a\r.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n", true }, { "\r\r\n.\r\n", "\r\n\r\n", true },
		{ "\n\n\n\r\n.\r\n", "\r\n\r\n\r\n\r\n", true }, { "a\n..\r\n.\r\n", "a\r\n..\r\n", true },
		{ "\r\n.\r.\r\n.\r\n", "\r\n\r\n.\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span all = span_str(cases[i].in);

		for (size_t cut = 0; cut <= all.len; cut++) {
			struct data d = { .normalise = true };
			struct span one = span_part(all, 0, cut), two = span_part(all, cut, all.len);
			unsigned char room[256];
			size_t n = data_feed(&d, &one, room);

			assert_true(n <= 2 * cut + DATA_ROOM);
			if (!d.ended)
				n += data_feed(&d, &two, room + n);
			if (!span_equal(span_of(room, n), span_str(cases[i].out)) || d.ended != cases[i].ended)
				fail_msg("row %zu, cut at %zu", i, cut);
			assert_false(d.bare_cr || d.bare_lf);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut), cmocka_unit_test(nul_is_seen_everywhere),
		cmocka_unit_test(normalises)};

	return cmocka_run_group_tests_name("smtpd_data", tests, NULL, NULL);
}
