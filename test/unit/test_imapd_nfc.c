/* NFC: what libunistring says of every character that comes apart, of every pair that comes together, and of random strings of
 * them; Unicode promises that a later version says the same of them. And what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <uninorm.h>

#include "imapd/nfc-table.h"
#include "imapd/nfc.h"
#include "common/utf8.h"

#include "expect.h"

static void
compare(struct span in)
{
	struct text out = TEXT_UP_TO(10000);
	size_t len;
	uint8_t *wanted = u8_normalize(UNINORM_NFC, in.at, in.len, NULL, &len);

	assert_non_null(wanted);
	assert_true(nfc_add(&out, in));
	assert_int_equal(out.len, len);
	if (len > 0)
		assert_memory_equal(out.at, wanted, len);
	text_clear(&out);
	free(wanted);
}

static void
compare_codes(const uint32_t *codes, size_t count)
{
	struct text in = TEXT_UP_TO(10000);

	for (size_t i = 0; i < count; i++)
		utf8_add(&in, codes[i]);
	compare(text_span(&in));
	text_clear(&in);
}

static void
test_every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS_OF(nfc_parts); i++) {
		const struct nfc_part *p = &nfc_parts[i];
		uint32_t marked[] = { 'a', p->code, 0x323, 0x301 };

		compare_codes(&p->code, 1);
		compare_codes(&p->first, p->second == 0 ? 1 : 2);
		compare_codes(marked, ROWS_OF(marked));
	}
	for (uint32_t code = 0xac00; code <= 0xd7a3; code += 13) {
		uint32_t more[] = { code, 0x11a8, 0x11a8 };

		compare_codes(more, ROWS_OF(more));
	}
	for (uint32_t lead = 0x10fe; lead < 0x1116; lead++) {
		uint32_t some[] = { lead, 0x1160 + lead % 24, 0x11a6 + lead % 31 };

		compare_codes(some, ROWS_OF(some));
	}
}

/* A character from somewhere in the tables. */
static uint32_t
any(uint32_t *seed)
{
	uint32_t r = *seed = *seed * 1664525u + 1013904223u, at = r >> 10;

	switch (r >> 29) {
	case 0:
		return 'a' + at % 26;
	case 1:
		return nfc_parts[at % ROWS_OF(nfc_parts)].code;
	case 2:
		return nfc_pairs[at % ROWS_OF(nfc_pairs)].first;
	case 3:
		return nfc_pairs[at % ROWS_OF(nfc_pairs)].second;
	case 4:
		return 0x1100 + at % 0x100;
	default:
		return nfc_classes[at % ROWS_OF(nfc_classes)].from;
	}
}

static void
test_random_strings(void **state)
{
	uint32_t seed = 1, codes[12];

	(void)state;
	for (unsigned int round = 0; round < 50000; round++) {
		size_t count = 2 + round % 11;

		for (size_t i = 0; i < count; i++)
			codes[i] = any(&seed);
		compare_codes(codes, count);
	}
}

static void
test_ends(void **state)
{
	struct text in = TEXT_UP_TO(10000), out = TEXT_UP_TO(10000), small = TEXT_UP_TO(2);

	(void)state;
	assert_true(nfc_add(&out, SPAN_NONE));
	assert_false(nfc_add(&out, SPAN("a\xff")));
	assert_false(nfc_add(&out, SPAN("a\xcc")));
	assert_int_equal(out.len, 0);
	for (size_t i = 0; i < MOST_NFC_CHARACTERS; i++)
		utf8_add(&in, i == 0 ? 'a' : i % 2 ? 0x323 : 0x301);
	compare(text_span(&in));
	utf8_add(&in, 0x301);
	assert_false(nfc_add(&out, text_span(&in)));
	assert_int_equal(out.len, 0);
	assert_false(nfc_add(&small, SPAN("abc")));
	text_clear(&in);
	text_clear(&out);
	text_clear(&small);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row),
		cmocka_unit_test(test_random_strings),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests_name("nfc", tests, NULL, NULL);
}
