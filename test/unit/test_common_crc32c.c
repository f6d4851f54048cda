/* The checksum of records on disk: the RFC's own examples, and every way through its two loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/crc32c.h"

/* RFC 3720 appendix B.4; the last one is the check value of the catalogues of CRCs. */
static void
crc32c_is_castagnoli(void **state)
{
	static const unsigned char zeros[32];
	unsigned char ones[32], up[32], down[32];

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (unsigned char i = 0; i < 32; i++) {
		up[i] = i;
		down[i] = (unsigned char)(31 - i);
	}
	assert_int_equal(crc32c(span_of(zeros, 32)), 0x8a9136aa);
	assert_int_equal(crc32c(span_of(ones, 32)), 0x62a8ab43);
	assert_int_equal(crc32c(span_of(up, 32)), 0x46dd794e);
	assert_int_equal(crc32c(span_of(down, 32)), 0x113fdb5c);
	assert_int_equal(crc32c(SPAN("123456789")), 0xe3069283);
	assert_int_equal(crc32c(SPAN_NONE), 0);
}

/* One bit at a time, as the polynomial is defined. */
static uint32_t
slowly(struct span s)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < s.len; i++) {
		crc ^= s.at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
	}
	return ~crc;
}

/* Any length and any alignment: steps of eight bytes, and what is left over. */
static void
every_length_and_place(void **state)
{
	unsigned char bytes[64];
	uint32_t seed = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		seed = seed * 1664525u + 1013904223u;
		bytes[i] = (unsigned char)(seed >> 24);
	}
	for (size_t from = 0; from < 9; from++) {
		for (size_t len = 0; from + len <= sizeof(bytes); len++) {
			struct span s = span_of(bytes + from, len);

			assert_int_equal(crc32c(s), slowly(s));
			assert_int_equal(crc32c_by_tables(0, s), slowly(s));
			assert_int_equal(crc32c_lanes(s), crc32c_lanes_by_tables(s));
			for (size_t cut = 0; cut <= len; cut++)
				assert_int_equal(crc32c_more(crc32c(span_part(s, 0, cut)),
					span_part(s, cut, SIZE_MAX)), crc32c(s));
		}
	}
}

/* Any change of one bit, or of two bytes' places, tells. */
static void
lanes_tell_changes(void **state)
{
	unsigned char bytes[200];
	uint32_t whole;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7);
	whole = crc32c_lanes(span_of(bytes, sizeof(bytes)));
	for (size_t i = 0; i < 8 * sizeof(bytes); i++) {
		bytes[i / 8] ^= (unsigned char)(1u << (i % 8));
		assert_int_not_equal(crc32c_lanes(span_of(bytes, sizeof(bytes))), whole);
		bytes[i / 8] ^= (unsigned char)(1u << (i % 8));
	}
	for (size_t i = 0; i + 32 < sizeof(bytes); i++) {
		unsigned char a = bytes[i];

		bytes[i] = bytes[i + 32];
		bytes[i + 32] = a;
		assert_int_not_equal(crc32c_lanes(span_of(bytes, sizeof(bytes))), whole);
		bytes[i + 32] = bytes[i];
		bytes[i] = a;
	}
	assert_int_not_equal(crc32c_lanes(span_of(bytes, 199)), whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_is_castagnoli),
		cmocka_unit_test(every_length_and_place),
		cmocka_unit_test(lanes_tell_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
