/* Records of what was filled at delivery: what was written is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/filled.h"

#include <stdlib.h>
#include <string.h>

static void
two_records(struct text *out)
{
	assert_true(filled_add(out, &(struct filled){ SPAN("1.M2P3.host,S=4,W=5"), SPAN("gist\0one") }));
	assert_true(filled_add(out, &(struct filled){ SPAN("n"), SPAN("") }));
}

static void
what_was_added_is_taken(void **state)
{
	struct text out = TEXT_UP_TO(2 * MOST_FILLED_RECORD);
	struct filled f;
	struct span in;

	(void)state;
	two_records(&out);
	in = text_span(&out);
	assert_true(filled_take(&in, &f));
	assert_true(span_equal(f.name, SPAN("1.M2P3.host,S=4,W=5")) && span_equal(f.gist, SPAN("gist\0one")));
	assert_true(filled_take(&in, &f));
	assert_true(span_equal(f.name, SPAN("n")) && f.gist.len == 0 && in.len == 0);
	assert_false(filled_take(&in, &f));
	text_clear(&out);
}

static void
limits_are_kept(void **state)
{
	struct text out = TEXT_UP_TO(MOST_FILLED_RECORD);
	unsigned char *many = must_alloc(MOST_FILLED_GIST + 1);
	char name[MAILDIR_MOST_NAME + 1];
	struct filled f;
	struct span in;

	(void)state;
	memset(name, 'x', sizeof(name));
	assert_true(filled_add(&out, &(struct filled){ span_of(name, MAILDIR_MOST_NAME), span_of(many, MOST_FILLED_GIST) }));
	assert_int_equal(out.len, MOST_FILLED_RECORD);
	in = text_span(&out);
	assert_true(filled_take(&in, &f) && f.gist.len == MOST_FILLED_GIST && f.name.len == MAILDIR_MOST_NAME);
	text_reset(&out);
	assert_false(filled_add(&out, &(struct filled){ SPAN("n"), span_of(many, MOST_FILLED_GIST + 1) }));
	text_reset(&out);
	assert_false(filled_add(&out, &(struct filled){ span_of(name, MAILDIR_MOST_NAME + 1), SPAN("") }));
	text_reset(&out);
	assert_false(filled_add(&out, &(struct filled){ SPAN("a\0b"), SPAN("") }));
	text_clear(&out);
	free(many);
}

/* Each byte of the first record changed, and each length cut: it is none, and *in stays. */
static void
i4_damage_is_no_record(void **state)
{
	struct text out = TEXT_UP_TO(2 * MOST_FILLED_RECORD);
	struct filled f;
	struct span in, first;
	size_t len;

	(void)state;
	two_records(&out);
	first = text_span(&out);
	assert_true(filled_take(&first, &f));
	len = out.len - first.len;
	for (size_t at = 0; at < len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			out.at[at] ^= (unsigned char)(1 << bit);
			in = text_span(&out);
			assert_false(filled_take(&in, &f));
			assert_int_equal(in.len, out.len);
			out.at[at] ^= (unsigned char)(1 << bit);
		}
		in = span_of(out.at, at);
		assert_false(filled_take(&in, &f));
	}
	for (size_t size = 0; size < 64; size++) {     /* zeros, as in a hole: the CRC of nothing is 0 */
		unsigned char hole[64] = { 0 };

		in = span_of(hole, size);
		assert_false(filled_take(&in, &f));
	}
	text_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_is_taken),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(i4_damage_is_no_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
