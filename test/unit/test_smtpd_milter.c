/* Filters: their packets, and what they may make of a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/milter-address.h"
#include "smtpd/milter-edit.h"
#include "smtpd/milter-packet.h"

static void
packets(void **state)
{
	struct text t = TEXT_UP_TO(1000);
	struct milter_reply r;
	struct span in;
	bool broken = false;

	(void)state;
	milter_packet_put(&t, 'L', (struct span[]){ SPAN("a"), SPAN("bc") }, 2);
	assert_memory_equal(t.at, "\0\0\0\4Labc", 8);
	for (size_t n = 0; n < t.len; n++) {
		in = span_part(text_span(&t), 0, n);
		assert_false(milter_packet_take(&in, &r, &broken));
		assert_false(broken);
	}
	in = text_span(&t);
	assert_true(milter_packet_take(&in, &r, &broken));
	assert_int_equal(r.command, 'L');
	assert_true(span_equal(r.data, SPAN("abc")) && in.len == 0);
	/* Lengths that nobody has. */
	in = SPAN("\0\0\0\0c");
	assert_false(milter_packet_take(&in, &r, &broken));
	assert_true(broken);
	broken = false;
	in = SPAN("\xff\xff\xff\xff""c");
	assert_false(milter_packet_take(&in, &r, &broken));
	assert_true(broken);
	text_clear(&t);
}

static void
negotiation(void **state)
{
	uint32_t actions, steps;
	struct span macros, names;
	const char *why = NULL;

	(void)state;
	assert_true(milter_options_parse(
		SPAN("\0\0\0\6\0\0\0\x11\0\0\0\x7f"), &actions, &steps, &macros, &why));
	assert_int_equal(actions, 0x11);
	assert_int_equal(steps, 0x7f);
	assert_false(milter_options_parse(SPAN("\0\0\0\6\0\0\0\x11\0\0\0"), &actions, &steps, &macros, &why));
	assert_false(milter_options_parse(SPAN("\0\0\0\7\0\0\0\x11\0\0\0\0"), &actions, &steps, &macros, &why));
	assert_false(milter_options_parse(SPAN("\0\0\0\1\0\0\0\x11\0\0\0\0"), &actions, &steps, &macros, &why));
	/* An action and a step that were not offered. */
	assert_true(milter_options_parse(SPAN("\0\0\0\6\0\0\1\xff\0\0\0\0"), &actions, &steps, &macros, &why));
	assert_false(milter_options_parse(SPAN("\0\0\0\6\0\0\2\x04\0\0\0\0"), &actions, &steps, &macros, &why));
	assert_false(milter_options_parse(SPAN("\0\0\0\6\0\0\0\x01\0\0\x08\0"), &actions, &steps, &macros, &why));
	assert_non_null(why);
	/* Macros that it wishes for, by stage; cut short anywhere they are none. */
	macros = SPAN("\0\0\0\0j {client_addr}\0\0\0\0\5i\0");
	assert_true(milter_macros_find(macros, MACROS_END, &names));
	assert_true(span_equal(names, SPAN("i")));
	assert_true(milter_macros_find(macros, MACROS_CONNECT, &names));
	assert_true(span_equal(names, SPAN("j {client_addr}")));
	assert_false(milter_macros_find(macros, MACROS_RCPT, &names));
	for (size_t n = 0; n < macros.len; n++)
		assert_false(milter_macros_find(span_part(macros, 0, n), MACROS_END, &names));
}

static void
envelopes(void **state)
{
	struct span address, parameters;

	(void)state;
	assert_true(milter_envelope_parse(SPAN("<a@b>\0"), &address, &parameters));
	assert_true(span_equal(address, SPAN("a@b")) && parameters.len == 0);
	assert_true(milter_envelope_parse(SPAN("a@b\0NOTIFY=NEVER\0"), &address, &parameters));
	assert_true(span_equal(parameters, SPAN("NOTIFY=NEVER")));
	assert_true(milter_envelope_parse(SPAN("<>\0"), &address, &parameters));
	assert_int_equal(address.len, 0);
	assert_false(milter_envelope_parse(SPAN("a@b"), &address, &parameters));
	assert_false(milter_envelope_parse(SPAN("a@b\0x"), &address, &parameters));
	assert_false(milter_envelope_parse(SPAN("a@b\0x\0y\0"), &address, &parameters));
	assert_false(milter_envelope_parse(SPAN("a@b\r\nRCPT TO:<c@d>\0"), &address, &parameters));
	assert_false(milter_envelope_parse(SPAN_NONE, &address, &parameters));
}

static void
codes(void **state)
{
	static const struct {
		const char *data, *words, *status;
		unsigned int code;
	} cases[] = {
		{ "550 5.7.1 no spam", "no spam", "5.7.1", 550 },
		{ "451 4.7.1 greylisted 100%% sure", "greylisted 100% sure", "4.7.1", 451 },
		{ "550 no", "no", "", 550 },
		{ "550 4.7.1 odd", "4.7.1 odd", "", 550 },
		{ "550-5.7.1 one\r\n550 5.7.1 two", "one", "5.7.1", 550 },
		{ "554", "", "", 554 },
		{ "550 a\x1b[2J\tb", "a?[2J?b", "", 550 },
		{ "250 ok", NULL, NULL, 0 },
		{ "55", NULL, NULL, 0 },
		{ "5x0 no", NULL, NULL, 0 },
		{ "5500 no", NULL, NULL, 0 },
		{ "", NULL, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text words = TEXT_UP_TO(400);
		struct span status = SPAN_NONE;
		unsigned int code = 0;
		bool good = milter_code_parse(span_str(cases[i].data), &code, &status, &words);

		if (good != (cases[i].words != NULL) ||
		    (good && (code != cases[i].code || strcmp(text_str(&words), cases[i].words) != 0 ||
				     !span_equal(status, span_str(cases[i].status)))))
			fail_msg("%s", cases[i].data);
		text_clear(&words);
	}
}

static void
header_packets(void **state)
{
	struct span name, value;
	uint32_t index;

	(void)state;
	assert_true(milter_header_parse(SPAN("\0\0\0\2X-A\0b\0"), true, &index, &name, &value));
	assert_int_equal(index, 2);
	assert_true(span_equal(name, SPAN("X-A")) && span_equal(value, SPAN("b")));
	assert_true(milter_header_parse(SPAN("X-A\0\0"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("X-A\0b"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("X-A\0b\0c"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("X A\0b\0"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("X:\0b\0"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("\r\nBcc\0b\0"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("\0b\0"), false, &index, &name, &value));
	assert_false(milter_header_parse(SPAN("\0\0"), true, &index, &name, &value));
}

/* --- the message --- */

#define TRACE "Received: by us\r\n\tid 1\r\n"
#define MESSAGE TRACE "From: a\r\nTo: b,\r\n c\r\nFrom : d\r\n\r\nbody\r\n"

static struct milter_edit e;
static int file = -1;

static void
begin(const char *message)
{
	file = memfd_create("message", MFD_CLOEXEC);
	assert_int_equal(write_all(file, message, strlen(message)), 0);
	assert_true(milter_edit_init(&e, file, strlen(message), strlen(TRACE), 1000));
}

/* How many slices that took. */
static int
write_all_slices(void)
{
	int slices = 1, more;

	while ((more = milter_edit_write(&e)) > 0)
		slices++;
	assert_int_equal(more, 0);
	return slices;
}

static void
becomes(const char *message)
{
	char now[4096] = "";

	assert_true(milter_edit_changed(&e));
	write_all_slices();
	assert_int_equal(lseek(file, 0, SEEK_END), strlen(message));
	assert_int_equal(e.size, strlen(message));
	assert_int_equal(read_at(file, now, sizeof(now) - 1, 0), strlen(message));
	assert_string_equal(now, message);
	milter_edit_clear(&e);
	close(file);
}

static void
fields_are_shown(void **state)
{
	struct text value = TEXT_UP_TO(1000);
	struct span name;

	(void)state;
	begin(MESSAGE);
	assert_int_equal(e.hidden, 1);
	assert_int_equal(e.count, 4);
	milter_edit_value(&e, 2, &name, &value);
	assert_true(span_equal(name, SPAN("To")));
	assert_string_equal(text_str(&value), " b,\n c");
	milter_edit_value(&e, 3, &name, &value);
	assert_true(span_equal(name, SPAN("From")));
	assert_false(milter_edit_changed(&e));
	text_clear(&value);
	milter_edit_clear(&e);
	close(file);
}

static void
headers_change(void **state)
{
	(void)state;
	begin(MESSAGE);
	assert_true(milter_edit_add(&e, SPAN("X-A"), SPAN("b"), false));
	assert_true(milter_edit_insert(&e, 0, SPAN("Top"), SPAN("1"), false));
	assert_true(milter_edit_insert(&e, 2, SPAN("X-B"), SPAN(" c"), true));
	becomes("Top: 1\r\n" TRACE "X-B: c\r\nFrom: a\r\nTo: b,\r\n c\r\nFrom : d\r\nX-A: b\r\n\r\nbody\r\n");
	begin(MESSAGE);
	assert_true(milter_edit_change(&e, 2, SPAN("from"), SPAN("x"), false));
	assert_true(milter_edit_change(&e, 1, SPAN("To"), SPAN_NONE, false));
	assert_true(milter_edit_change(&e, 1, SPAN("Received"), SPAN_NONE, false));
	assert_true(milter_edit_change(&e, 3, SPAN("New"), SPAN("y"), false));
	becomes(TRACE "From: a\r\nfrom: x\r\nNew: y\r\n\r\nbody\r\n");
	/* Shorter than before: the body moves forward. */
	begin(MESSAGE);
	assert_true(milter_edit_change(&e, 1, SPAN("To"), SPAN_NONE, false));
	becomes(TRACE "From: a\r\nFrom : d\r\n\r\nbody\r\n");
	/* No body, no empty line. */
	begin(TRACE "A: b\r\n");
	assert_true(milter_edit_add(&e, SPAN("C"), SPAN("d"), false));
	becomes(TRACE "A: b\r\nC: d\r\n\r\n");
}

/* A filter that repeats what a stranger wrote cannot be made to add a field. */
static void
i7_values_stay_in_their_field(void **state)
{
	(void)state;
	begin(TRACE "A: b\r\n\r\n");
	assert_true(milter_edit_add(&e, SPAN("C"), SPAN("d\nBcc: x\r\nE: f\rG: h\n i\n"), false));
	assert_true(milter_edit_add(&e, SPAN("D"), SPAN("a\n\nb"), false));
	becomes(TRACE "A: b\r\nC: d\r\n\tBcc: x\r\n\tE: f\r\n\tG: h\r\n i\r\n"
		      "D: a\r\n\t\r\n\tb\r\n\r\n");
}

static void
s1_new_bodies_have_whole_lines(void **state)
{
	char piece[64];

	(void)state;
	begin(MESSAGE);
	assert_true(milter_edit_body(&e, SPAN("one\n.\r"), true));
	assert_true(milter_edit_body(&e, SPAN("\ntwo\rthree\r"), false));
	assert_int_equal(milter_edit_body_read(&e, piece, sizeof(piece), 3), 16);
	becomes(TRACE "From: a\r\nTo: b,\r\n c\r\nFrom : d\r\n\r\none\r\n.\r\ntwo\r\nthree\r\n");
	begin(MESSAGE);
	assert_true(milter_edit_body(&e, SPAN("no end"), true));
	becomes(TRACE "From: a\r\nTo: b,\r\n c\r\nFrom : d\r\n\r\nno end\r\n");
	/* Over the limit. */
	begin(MESSAGE);
	for (int i = 0; i < 100; i++)
		assert_true(milter_edit_body(&e, SPAN("12345678\r\n"), i == 0));
	assert_true(milter_edit_body(&e, SPAN("\r\n"), false));
	assert_false(milter_edit_body(&e, SPAN("x"), false));
	milter_edit_clear(&e);
	close(file);
}

/* In slices, so that nobody waits for it: backwards when the header grows, forwards when it shrinks. */
static void
large_bodies_move(void **state)
{
	static char big[3000000], now[sizeof(big) + 1000];
	size_t len = strlen(TRACE "A: b\r\n\r\n");

	(void)state;
	memcpy(big, TRACE "A: b\r\n\r\n", len);
	for (size_t i = len; i < sizeof(big) - 1; i++)
		big[i] = (char)('a' + i * 7 % 26);
	begin(big);
	assert_true(milter_edit_add(&e, SPAN("C"), SPAN("d"), false));
	assert_true(write_all_slices() > 5);
	assert_int_equal(e.size, sizeof(big) - 1 + 6);
	assert_int_equal(read_at(file, now, sizeof(now), 0), sizeof(big) - 1 + 6);
	assert_memory_equal(now, TRACE "A: b\r\nC: d\r\n\r\n", len + 6);
	assert_memory_equal(now + len + 6, big + len, sizeof(big) - 1 - len);
	milter_edit_clear(&e);
	close(file);
	begin(big);
	assert_true(milter_edit_change(&e, 1, SPAN("A"), SPAN_NONE, false));
	assert_true(write_all_slices() > 5);
	assert_int_equal(read_at(file, now, sizeof(now), 0), sizeof(big) - 1 - 6);
	assert_memory_equal(now, TRACE "\r\n", len - 6);
	assert_memory_equal(now + len - 6, big + len, sizeof(big) - 1 - len);
	milter_edit_clear(&e);
	close(file);
	/* A new one too. */
	file = memfd_create("message", MFD_CLOEXEC);
	assert_int_equal(write_all(file, MESSAGE, strlen(MESSAGE)), 0);
	assert_true(milter_edit_init(&e, file, strlen(MESSAGE), strlen(TRACE), sizeof(big)));
	memcpy(big + sizeof(big) - 3, "\r\n", 3);
	for (size_t i = len; i < sizeof(big) - 1; i += 60000)
		assert_true(milter_edit_body(&e,
			span_of(big + i, sizeof(big) - 1 - i < 60000 ? sizeof(big) - 1 - i : 60000), i == len));
	assert_true(write_all_slices() > 5);
	assert_int_equal(e.size, strlen(MESSAGE) - strlen("body\r\n") + sizeof(big) - 1 - len);
	assert_int_equal(read_at(file, now, sizeof(now), 0), e.size);
	assert_memory_equal(now + e.size - (sizeof(big) - 1 - len), big + len, sizeof(big) - 1 - len);
	milter_edit_clear(&e);
	close(file);
}

static void
addresses(void **state)
{
	static const char *const good[] = { "unix:/run/x/y", "local:/x", "inet:127.0.0.1:8891",
		"inet6:[::1]:8891", "inet:[::1]:1" };
	static const char *const bad[] = { "", "/run/x", "unix:run/x", "unix:", "inet:localhost:1",
		"inet:127.0.0.1", "inet:127.0.0.1:0", "inet:127.0.0.1:65536", "inet6:::1:1", "tcp:1.2.3.4:1" };
	struct sockaddr_storage to;
	socklen_t len;
	struct text path = TEXT_UP_TO(1000);

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(milter_address_parse(span_str(good[i]), &to, &len));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(milter_address_parse(span_str(bad[i]), &to, &len));
	text_add_str(&path, "unix:/");
	for (int i = 0; i < 200; i++)
		text_add_byte(&path, 'x');
	assert_false(milter_address_parse(text_span(&path), &to, &len));
	text_clear(&path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets),
		cmocka_unit_test(negotiation),
		cmocka_unit_test(envelopes),
		cmocka_unit_test(codes),
		cmocka_unit_test(header_packets),
		cmocka_unit_test(fields_are_shown),
		cmocka_unit_test(headers_change),
		cmocka_unit_test(i7_values_stay_in_their_field),
		cmocka_unit_test(s1_new_bodies_have_whole_lines),
		cmocka_unit_test(large_bodies_move),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests_name("smtpd_milter", tests, NULL, NULL);
}
