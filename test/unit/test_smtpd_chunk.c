/* What BDAT announces, and the text of chunks: whole, octet by octet, cut in two at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/text.h"
#include "smtpd/chunk.h"
#include "smtpd/data.h"

static const struct {
	const char *in;
	bool good, last;
	uint64_t size;
} announced[] = {
	{ " 0", true, false, 0 },
	{ " 0 LAST", true, true, 0 },
	{ "  86 last", true, true, 86 },
	{ " 86   LaSt", true, true, 86 },
	{ " 0000000000000000000000000007", true, false, 7 },
	{ " 18446744073709551615", true, false, UINT64_MAX },
	{ " 18446744073709551616", true, false, UINT64_MAX },
	{ " 99999999999999999999", true, false, UINT64_MAX },
	{ " 99999999999999999999 LAST", true, true, UINT64_MAX },
	{ " 184467440737095516160000000000000000000005 LAST", true, true, UINT64_MAX },
	{ "", false, false, 0 },
	{ " ", false, false, 0 },
	{ "5", false, false, 0 },
	{ " LAST", false, false, 0 },
	{ " 5LAST", false, false, 0 },
	{ " 5 LAST ", false, false, 0 },
	{ " 5 LASTS", false, false, 0 },
	{ " 5 LAST LAST", false, false, 0 },
	{ " 5 ", false, false, 0 },
	{ " 5 6", false, false, 0 },
	{ " -1", false, false, 0 },
	{ " +1", false, false, 0 },
	{ " 0x10", false, false, 0 },
	{ " 5\tLAST", false, false, 0 },
	{ " 99999999999999999999x", false, false, 0 },
};

static void
announcements(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(announced) / sizeof(announced[0]); i++) {
		uint64_t size = 4711;
		bool last = true, good = announced[i].good;

		print_message("\"%s\"\n", announced[i].in);
		assert_int_equal(chunk_parse(span_str(announced[i].in), &size, &last), good);
		assert_int_equal(size, good ? announced[i].size : 4711);
		assert_int_equal(last, good ? announced[i].last : true);
	}
}

static const struct row {
	const char *in, *out;
	bool bare_cr, bare_lf;
} rows[] = {
	{ "", "", false, false },
	{ "a", "a\r\n", false, false },
	{ "a\r\n", "a\r\n", false, false },
	{ ".", ".\r\n", false, false },
	{ ".\r\n", ".\r\n", false, false },
	{ "..\r\n.\r\n", "..\r\n.\r\n", false, false },
	{ "a\r\n.\r\nQUIT\r\n", "a\r\n.\r\nQUIT\r\n", false, false },
	{ "a\r", "a\r\r\n", true, false },
	{ "\r", "\r\r\n", true, false },
	{ "a\n", "a\n\r\n", false, true },
	{ ".\n", ".\n\r\n", false, true },
	{ "a\rb", "a\rb\r\n", true, false },
	{ ".\rb\r\n", ".\rb\r\n", true, false },
	{ "a\r\r\n", "a\r\r\n", true, false },
};

static void
check(const struct row *row, size_t cut, size_t step)
{
	struct span all = span_str(row->in);
	struct data d = { .counted = true };
	struct text out = TEXT_UP_TO(256);
	unsigned char room[64];
	size_t at = 0;

	while (at < all.len) {
		struct span piece = span_part(all, at, at < cut ? cut - at : step);
		size_t had = piece.len, n = data_feed(&d, &piece, room);

		assert_true(n <= had + DATA_ROOM);
		assert_int_equal(piece.len, 0);
		assert_false(d.ended);
		text_add(&out, span_of(room, n));
		at += had;
	}
	text_add(&out, span_of(room, data_finish(&d, room)));
	assert_true(span_equal(text_span(&out), span_str(row->out)));
	assert_true(d.ended);
	assert_int_equal(d.bare_cr, row->bare_cr);
	assert_int_equal(d.bare_lf, row->bare_lf);
	assert_int_equal(d.size, all.len); /* what we add is not the client's */
	text_clear(&out);
}

static void
every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t cut = 0; cut <= strlen(rows[i].in); cut++)
			check(&rows[i], cut, 64);
		check(&rows[i], 0, 1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announcements), cmocka_unit_test(every_cut)};

	return cmocka_run_group_tests_name("smtpd_chunk", tests, NULL, NULL);
}
