/* The message table: numbers, ceilings, and that every row round-trips at its ceilings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/message.h"
#include "common/wire.h"

#include <string.h>

static unsigned char filling[MOST_PACKET];

static void
fill_number(void *at, size_t size)
{
	memset(at, 0xa5, size);
}

/* Every field of every row at its ceiling fits one packet and comes back the same. */
#define FILL_u8(f, most) fill_number(&m.f, 1);
#define FILL_u16(f, most) fill_number(&m.f, 2);
#define FILL_u32(f, most) fill_number(&m.f, 4);
#define FILL_u64(f, most) fill_number(&m.f, 8);
#define FILL_flag(f, most) m.f = true;
#define FILL_text(f, most) m.f = span_of(filling, (most));
#define FILL_octets(f, most) m.f = span_of(filling, (most));
#define FILL_secret(f, most) m.f = span_of(filling, (most));
#define SAME_u8(f) assert_int_equal(m.f, back.f);
#define SAME_u16(f) assert_int_equal(m.f, back.f);
#define SAME_u32(f) assert_int_equal(m.f, back.f);
#define SAME_u64(f) assert_true(m.f == back.f);
#define SAME_flag(f) assert_int_equal(m.f, back.f);
#define SAME_text(f) assert_true(span_equal(m.f, back.f));
#define SAME_octets(f) assert_true(span_equal(m.f, back.f));
#define SAME_secret(f) assert_true(span_equal(m.f, back.f));
#define FILL(kind, field, most) FILL_##kind(field, most)
#define SAME(kind, field, most) SAME_##kind(field)

#define M(name, number, by, to, hours, fds) \
	static void round_trip_##name(void) \
	{ \
		unsigned char packet[MOST_PACKET]; \
		struct msg_##name m, back; \
		size_t len; \
\
		memset(&m, 0, sizeof(m)); \
		memset(&back, 0, sizeof(back)); \
		name##_fields(FILL) \
		len = message_encode(MSG_##name, 1, &m, packet); \
		assert_true(len >= 10); \
		assert_true(message_decode(MSG_##name, span_of(packet + 10, len - 10), &back)); \
		name##_fields(SAME) \
	}
MESSAGES(M)
#undef M

static void
test_every_row_round_trips_at_its_ceilings(void **state)
{
	(void)state;
	memset(filling, 'x', sizeof(filling));
#define M(name, number, by, to, hours, fds) round_trip_##name();
	MESSAGES(M)
#undef M
}

static void
test_rows_are_sound(void **state)
{
	(void)state;
	for (unsigned int number = 0; number < 65536; number++) {
		const struct message_row *row = message_row(number);

		if (row == NULL)
			continue;
		assert_int_equal(row->number, number);
		assert_true(row->by != 0 && row->to != 0 && row->hours != 0);
		assert_true(row->fds >= 0 && row->fds <= MOST_DESCRIPTORS);
		assert_true((row->hours & ~OR_GONE) != 0);
	}
	assert_null(message_row(0));
	assert_null(message_row(65535));
}

static void
test_secrets_are_marked(void **state)
{
	(void)state;
	assert_true(message_row(MSG_auth_ask)->has_secret);
	assert_true(message_row(MSG_passport_key)->has_secret);
	assert_false(message_row(MSG_mail_begin)->has_secret);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_round_trips_at_its_ceilings),
		cmocka_unit_test(test_rows_are_sound),
		cmocka_unit_test(test_secrets_are_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
