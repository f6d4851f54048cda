/* The envelope file: any bytes survive; any damage is noticed; a torn tail loses only itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/crc32c.h"
#include "common/wire.h"
#include "delivery/envelope.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 400

static unsigned char pool[MOST_PATH_FIELD];

static struct span
random_bytes(size_t most)
{
	size_t len = (size_t)rand() % (most + 1);

	for (size_t i = 0; i < sizeof(pool); i++)
		pool[i] = (unsigned char)rand();
	return span_of(must_copy(span_of(pool, len)), len);
}

static struct envelope
random_envelope(uint32_t count)
{
	struct envelope e = { .id = (uint64_t)rand() + 1, .session = (uint64_t)rand() << 20,
		.service = (uint8_t)rand(), .sender = random_bytes(MOST_ADDRESS),
		.login = random_bytes(MOST_ADDRESS), .body = (uint8_t)rand(), .utf8 = rand() % 2,
		.size = (uint64_t)rand() << 31, .digest = random_bytes(DIGEST_SIZE),
		.arrived = (uint64_t)rand(), .held = rand() % 2,
		.hold_reason = random_bytes(MOST_REASON), .top = random_bytes(MOST_PATH_FIELD),
		.count = count };

	e.wishes = (struct wishes){ .envid = random_bytes(MOST_ENVID),
		.auth_param = random_bytes(MOST_ADDRESS), .hold_until = (uint64_t)rand(),
		.deliver_by = (uint64_t)rand(), .ret = RET_HEADERS, .by_mode = 'R',
		.priority = 13, .require_tls = rand() % 2, .by_trace = rand() % 2,
		.tls_optional = rand() % 2, .hold_for = (uint32_t)rand() };

	e.recipient = must_alloc(count * sizeof(*e.recipient));
	for (uint32_t i = 0; i < count; i++)
		e.recipient[i] = (struct envelope_recipient){.number = i * 7,
			.uid = (uint32_t)rand(),
			.gid = (uint32_t)rand(),
			.address = random_bytes(MOST_ADDRESS),
			.home = random_bytes(MOST_PATH_FIELD),
			.notify = (uint8_t)rand(),
			.orcpt = random_bytes(MOST_ORCPT),
			.given = random_bytes(MOST_ADDRESS),
			.sender = random_bytes(MOST_ADDRESS)};
	return e;
}

static void
random_free(struct envelope *e)
{
	free((void *)(uintptr_t)e->sender.at);
	free((void *)(uintptr_t)e->login.at);
	free((void *)(uintptr_t)e->digest.at);
	free((void *)(uintptr_t)e->hold_reason.at);
	free((void *)(uintptr_t)e->top.at);
	free((void *)(uintptr_t)e->wishes.envid.at);
	free((void *)(uintptr_t)e->wishes.auth_param.at);
	for (uint32_t i = 0; i < e->count; i++) {
		free((void *)(uintptr_t)e->recipient[i].address.at);
		free((void *)(uintptr_t)e->recipient[i].home.at);
		free((void *)(uintptr_t)e->recipient[i].orcpt.at);
		free((void *)(uintptr_t)e->recipient[i].given.at);
		free((void *)(uintptr_t)e->recipient[i].sender.at);
	}
	envelope_clear(e);
}

static void
same(const struct envelope *a, const struct envelope *b)
{
	assert_true(a->id == b->id && a->session == b->session && a->service == b->service);
	assert_true(span_equal(a->sender, b->sender) && span_equal(a->login, b->login));
	assert_true(a->body == b->body && a->utf8 == b->utf8 && a->size == b->size);
	assert_true(span_equal(a->digest, b->digest) && a->arrived == b->arrived);
	assert_true(a->held == b->held && span_equal(a->hold_reason, b->hold_reason));
	assert_true(span_equal(a->top, b->top));
	assert_true(span_equal(a->wishes.envid, b->wishes.envid));
	assert_true(span_equal(a->wishes.auth_param, b->wishes.auth_param));
	assert_true(a->wishes.hold_until == b->wishes.hold_until &&
		    a->wishes.deliver_by == b->wishes.deliver_by &&
		    a->wishes.ret == b->wishes.ret && a->wishes.by_mode == b->wishes.by_mode);
	assert_true(a->wishes.priority == b->wishes.priority &&
		    a->wishes.require_tls == b->wishes.require_tls &&
		    a->wishes.by_trace == b->wishes.by_trace);
	assert_true(a->wishes.tls_optional == b->wishes.tls_optional && a->wishes.hold_for == b->wishes.hold_for);
	assert_int_equal(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		assert_int_equal(a->recipient[i].number, b->recipient[i].number);
		assert_true(span_equal(a->recipient[i].address, b->recipient[i].address));
		assert_true(span_equal(a->recipient[i].home, b->recipient[i].home));
		assert_int_equal(a->recipient[i].notify, b->recipient[i].notify);
		assert_true(span_equal(a->recipient[i].orcpt, b->recipient[i].orcpt) &&
			    span_equal(a->recipient[i].given, b->recipient[i].given) &&
			    span_equal(a->recipient[i].sender, b->recipient[i].sender));
		assert_true(a->recipient[i].uid == b->recipient[i].uid &&
			    a->recipient[i].gid == b->recipient[i].gid);
	}
}

/* No byte of an address, a name or a reason becomes structure. */
static void
i1_any_bytes_survive(void **state)
{
	(void)state;
	srand(5);
	for (int round = 0; round < ROUNDS; round++) {
		struct envelope e = random_envelope(1 + (uint32_t)rand() % 6), back;
		struct text file = TEXT_UP_TO(MOST_ENVELOPE);
		struct span reason = random_bytes(MOST_REASON);
		struct verdict v = { NEVER, 550, SPAN("5.1.1"), reason };
		uint32_t about = (uint32_t)rand() % e.count;
		size_t whole;

		envelope_encode(&e, &file);
		envelope_encode_told(e.recipient[about].number, &v, 77, &file);
		assert_false(file.failed);
		assert_true(envelope_decode(text_span(&file), &back, &whole));
		assert_int_equal(whole, file.len);
		same(&e, &back);
		for (uint32_t i = 0; i < e.count; i++)
			assert_int_equal(back.recipient[i].told.outcome, i == about ? NEVER : 0);
		assert_true(span_equal(back.recipient[about].told.reason, reason));
		assert_true(back.recipient[about].told.code == 550 &&
			    back.recipient[about].told_at == 77);
		free((void *)(uintptr_t)reason.at);
		envelope_clear(&back);
		random_free(&e);
		text_clear(&file);
	}
}

/* Hold and release: the last record counts, and what was told stays told. */
static void
the_last_held_record_counts(void **state)
{
	struct envelope e = random_envelope(1), back;
	struct text file = TEXT_UP_TO(MOST_ENVELOPE);
	struct verdict v = V_MAILBOX_UNUSABLE;
	size_t whole;

	(void)state;
	e.held = false;
	envelope_encode(&e, &file);
	envelope_encode_held(true, SPAN("because"), 5, &file);
	envelope_encode_told(0, &v, 6, &file);
	assert_true(envelope_decode(text_span(&file), &back, &whole));
	assert_true(back.held && span_equal(back.hold_reason, SPAN("because")));
	assert_int_equal(back.recipient[0].told.outcome, LATER);
	envelope_clear(&back);
	envelope_encode_held(false, SPAN_NONE, 7, &file);
	assert_true(envelope_decode(text_span(&file), &back, &whole));
	assert_false(back.held);
	assert_int_equal(back.recipient[0].told.outcome, LATER);
	envelope_clear(&back);
	random_free(&e);
	text_clear(&file);
}

static void
record_v1(struct text *file, struct text *body)
{
	wire_add_u32(file, (uint32_t)body->len, 4);
	wire_add_u32(file, crc32c(text_span(body)), 4);
	text_add(file, text_span(body));
	text_reset(body);
}

/* What lies in the spool at an upgrade is read as before. */
static void
an_envelope_of_version_1_is_read(void **state)
{
	struct text file = TEXT_UP_TO(MOST_ENVELOPE), b = TEXT_UP_TO(MOST_RECORD);
	struct envelope e;
	size_t whole;

	(void)state;
	text_add(&b, SPAN("\1\1"));
	wire_add_u64(&b, 77, 8);
	wire_add_u64(&b, 99, 8);
	wire_add_u8(&b, 1, 1);
	wire_add_octets(&b, SPAN("a@b.example"), MOST_ADDRESS);
	wire_add_octets(&b, SPAN_NONE, MOST_ADDRESS);
	wire_add_u8(&b, BODY_7BIT, 1);
	wire_add_flag(&b, false, 1);
	wire_add_u64(&b, 1234, 8);
	wire_add_octets(&b, SPAN("0123456789abcdef0123456789abcdef"), DIGEST_SIZE);
	wire_add_u64(&b, 4711, 8);
	wire_add_u32(&b, 1, 4);
	record_v1(&file, &b);
	text_add(&b, SPAN("\2\1"));
	wire_add_u32(&b, 3, 4);
	wire_add_octets(&b, SPAN("c@d.example"), MOST_ADDRESS);
	wire_add_octets(&b, SPAN("d.example/c"), MOST_PATH_FIELD);
	wire_add_u32(&b, 7, 4);
	wire_add_u32(&b, 8, 4);
	record_v1(&file, &b);
	text_add(&b, SPAN("\3\1"));
	wire_add_u32(&b, 3, 4);
	wire_add_u8(&b, LATER, 1);
	wire_add_u16(&b, 451, 2);
	wire_add_octets(&b, SPAN("4.2.0"), MOST_STATUS);
	wire_add_octets(&b, SPAN("later"), MOST_REASON);
	wire_add_u64(&b, 5000, 8);
	record_v1(&file, &b);
	assert_true(envelope_decode(text_span(&file), &e, &whole));
	assert_int_equal(whole, file.len);
	assert_true(e.id == 77 && e.size == 1234 && e.arrived == 4711 && e.count == 1);
	assert_false(e.held);
	assert_int_equal(e.wishes.priority, PRIORITY_NORMAL);
	assert_true(e.recipient[0].number == 3 && e.recipient[0].told.code == 451);
	assert_true(span_equal(e.recipient[0].home, SPAN("d.example/c")));
	assert_int_equal(e.recipient[0].given.len, 0);
	envelope_clear(&e);
	text_clear(&file);
	text_clear(&b);
}

/* What an earlier version has in its spool: all wishes but the latest two. */
static void
an_envelope_of_version_2_is_read(void **state)
{
	struct text file = TEXT_UP_TO(MOST_ENVELOPE), b = TEXT_UP_TO(MOST_RECORD);
	struct envelope e;
	size_t whole;

	(void)state;
	text_add(&b, SPAN("\1\2"));
	wire_add_u64(&b, 77, 8);
	wire_add_u64(&b, 99, 8);
	wire_add_u8(&b, 1, 1);
	wire_add_octets(&b, SPAN("a@b.example"), MOST_ADDRESS);
	wire_add_octets(&b, SPAN_NONE, MOST_ADDRESS);
	wire_add_u8(&b, BODY_7BIT, 1);
	wire_add_flag(&b, false, 1);
	wire_add_u64(&b, 1234, 8);
	wire_add_octets(&b, SPAN("0123456789abcdef0123456789abcdef"), DIGEST_SIZE);
	wire_add_u64(&b, 4711, 8);
	wire_add_u32(&b, 1, 4);
	wire_add_octets(&b, SPAN("Q1"), MOST_ENVID);
	wire_add_u8(&b, RET_FULL, 1);
	wire_add_flag(&b, true, 1);
	wire_add_u64(&b, 5000, 8);
	wire_add_u64(&b, 6000, 8);
	wire_add_u8(&b, 'N', 1);
	wire_add_flag(&b, true, 1);
	wire_add_u8(&b, 12, 1);
	wire_add_octets(&b, SPAN("x@y.example"), MOST_ADDRESS);
	wire_add_flag(&b, true, 1);
	wire_add_octets(&b, SPAN("why"), MOST_REASON);
	wire_add_octets(&b, SPAN("Top: x\r\n"), MOST_TRACE);
	record_v1(&file, &b);
	text_add(&b, SPAN("\2\2"));
	wire_add_u32(&b, 3, 4);
	wire_add_octets(&b, SPAN("c@d.example"), MOST_ADDRESS);
	wire_add_octets(&b, SPAN("d.example/c"), MOST_PATH_FIELD);
	wire_add_u32(&b, 7, 4);
	wire_add_u32(&b, 8, 4);
	wire_add_u8(&b, 0, 1);
	wire_add_u8(&b, NOTIFY_DELAY, 1);
	for (int i = 0; i < 3; i++)
		wire_add_octets(&b, SPAN_NONE, MOST_ORCPT);
	record_v1(&file, &b);
	assert_true(envelope_decode(text_span(&file), &e, &whole));
	assert_int_equal(whole, file.len);
	assert_true(e.wishes.require_tls && e.wishes.hold_until == 5000 && e.wishes.deliver_by == 6000 && e.wishes.priority == 12);
	assert_true(!e.wishes.tls_optional && e.wishes.hold_for == 0 && e.held && span_equal(e.hold_reason, SPAN("why")));
	assert_true(e.count == 1 && e.recipient[0].notify == NOTIFY_DELAY && span_equal(e.top, SPAN("Top: x\r\n")));
	envelope_clear(&e);
	text_clear(&file);
	text_clear(&b);
}

static void
a_torn_tail_is_cut_at_the_last_whole_record(void **state)
{
	struct envelope e = random_envelope(2), back;
	struct text file = TEXT_UP_TO(MOST_ENVELOPE);
	struct verdict first = V_MAILBOX_UNUSABLE, second = V_DELIVERED;
	size_t born, told, whole;

	(void)state;
	envelope_encode(&e, &file);
	born = file.len;
	envelope_encode_told(0, &first, 1, &file);
	told = file.len;
	envelope_encode_told(0, &second, 2, &file);
	for (size_t len = 0; len <= file.len; len++) {
		/* A copy of exact size, so that a read past its end is seen. */
		unsigned char *cut = must_alloc(len + 1);
		struct span s = span_of(memcpy(cut, file.at, len), len);

		assert_int_equal(envelope_decode(s, &back, &whole), len >= born);
		if (len >= born) {
			assert_int_equal(whole, len == file.len ? file.len
						: len >= told	? told
								: born);
			assert_int_equal(envelope_whole(s), whole);
			assert_int_equal(back.recipient[0].told.outcome,
				len == file.len ? DONE : len >= told ? LATER : 0);
			envelope_clear(&back);
		}
		free(cut);
	}
	random_free(&e);
	text_clear(&file);
}

/* I4, L1: each single flipped bit ends what is believed at that record. */
static void
every_damage_is_noticed(void **state)
{
	struct envelope e = random_envelope(2), back;
	struct text file = TEXT_UP_TO(MOST_ENVELOPE);
	struct verdict v = V_DELIVERED;
	size_t born, whole;

	(void)state;
	envelope_encode(&e, &file);
	born = file.len;
	envelope_encode_told(0, &v, 1, &file);
	for (size_t bit = 0; bit < file.len * 8; bit++) {
		file.at[bit / 8] ^= (unsigned char)(1u << bit % 8);
		if (envelope_decode(text_span(&file), &back, &whole)) {
			assert_true(bit / 8 >= born && whole == born);
			assert_int_equal(back.recipient[0].told.outcome, 0);
			envelope_clear(&back);
		} else {
			assert_true(bit / 8 < born);
		}
		file.at[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
	random_free(&e);
	text_clear(&file);
}

static void
ceilings_hold(void **state)
{
	struct envelope e = random_envelope(3);
	struct text small = TEXT_UP_TO(60), file = TEXT_UP_TO(MOST_ENVELOPE);
	char big[MOST_REASON + 1];
	struct verdict v = { NEVER, 550, SPAN("5.1.1"), span_of(big, sizeof(big)) };

	(void)state;
	memset(big, 'x', sizeof(big));
	envelope_encode(&e, &small);
	assert_true(small.failed);
	envelope_encode_told(1, &v, 1, &file);
	assert_true(file.failed && file.len == 0);
	random_free(&e);
	text_clear(&small);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i1_any_bytes_survive),
		cmocka_unit_test(the_last_held_record_counts),
		cmocka_unit_test(an_envelope_of_version_1_is_read),
		cmocka_unit_test(an_envelope_of_version_2_is_read),
		cmocka_unit_test(a_torn_tail_is_cut_at_the_last_whole_record),
		cmocka_unit_test(every_damage_is_noticed),
		cmocka_unit_test(ceilings_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
