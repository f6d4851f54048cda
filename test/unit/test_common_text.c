/* Spans, texts, ids and log lines: bounds, base64, and that foreign text cannot pretend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/id.h"
#include "common/log.h"
#include "common/message.h"
#include "common/secret.h"
#include "common/text.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
test_numbers(void **state)
{
	static const struct {
		const char *in;
		uint64_t most;
		bool ok;
		uint64_t value;
	} cases[] = {
		{ "0", 10, true, 0 }, { "10", 10, true, 10 }, { "11", 10, false, 0 },
		{ "", 10, false, 0 }, { "x", 10, false, 0 }, { "-1", 10, false, 0 },
		{ "007", 10, true, 7 }, { "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999999", UINT64_MAX, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span in = span_str(cases[i].in), before = in;
		uint64_t n = 77;

		assert_int_equal(span_take_number(&in, cases[i].most, &n), cases[i].ok);
		if (cases[i].ok)
			assert_true(n == cases[i].value && in.len == 0);
		else
			assert_true(n == 77 && in.at == before.at && in.len == before.len);
	}
}

static void
test_hex_value(void **state)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	int right = 0;

	(void)state;
	for (int i = 0; i < 32; i++)
		assert_int_equal(span_hex_value((unsigned char)digits[i]), i % 16);
	for (int c = 0; c < 256; c++)
		right += span_hex_value((unsigned char)c) >= 0;
	assert_int_equal(right, 22);
}

static void
test_utf8(void **state)
{
	(void)state;
	assert_true(span_is_utf8(SPAN("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xac")));
	assert_false(span_is_utf8(SPAN("\xc0\xaf")));             /* overlong */
	assert_false(span_is_utf8(SPAN("\xed\xa0\x80")));         /* surrogate */
	assert_false(span_is_utf8(SPAN("\xf4\x90\x80\x80")));     /* past U+10FFFF */
	assert_false(span_is_utf8(SPAN("\xe2\x82")));             /* cut */
	assert_false(span_is_utf8(SPAN("a\0b")));
}

static void
test_ceiling_sticks(void **state)
{
	struct text t = TEXT_UP_TO(10);

	(void)state;
	text_add(&t, SPAN("12345678"));
	text_add(&t, SPAN("901"));
	assert_true(t.failed);
	text_add(&t, SPAN("9"));
	assert_true(span_equal(text_span(&t), SPAN("12345678")));
	assert_string_equal(text_str(&t), "12345678");
	text_reset(&t);
	text_add(&t, SPAN("1234567890"));
	assert_false(t.failed);
	assert_string_equal(text_str(&t), "1234567890");
	text_clear(&t);
}

static void
test_base64(void **state)
{
	static const char *const wrong[] = { "Zg=", "Zg", "Z===", "=AAA", "Zh==", "Zm9=", "Zg==Zg==",
		"Zm 9", "Zm9v\n", "Zm9v!", "A" };

	(void)state;
	for (size_t len = 0; len < 300; len++) {
		unsigned char bytes[300];
		struct text coded = TEXT_UP_TO(1000), back = TEXT_UP_TO(len);

		secret_random(bytes, sizeof(bytes));
		text_add_base64(&coded, span_of(bytes, len));
		assert_true(text_add_base64_decoded(&back, text_span(&coded)));
		assert_true(span_equal(text_span(&back), span_of(bytes, len)));
		text_clear(&coded);
		text_clear(&back);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct text t = TEXT_UP_TO(100);

		text_add(&t, SPAN("x"));
		assert_false(text_add_base64_decoded(&t, span_str(wrong[i])));
		assert_int_equal(t.len, 1);
		assert_false(t.failed);
		text_clear(&t);
	}
}

static void
test_ids(void **state)
{
	uint64_t back;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t id = id_new();

		assert_true(id_parse(span_str(id_name(id).str), &back));
		assert_true(id == back);
	}
	assert_true(id_parse(span_str(id_name(UINT64_MAX).str), &back));
	assert_false(id_parse(SPAN("0000000000000"), &back));
	assert_false(id_parse(SPAN("VVVVVVVVVVVVV"), &back)); /* 65 bits */
	assert_false(id_parse(SPAN("../etc/passwd"), &back));
	assert_false(id_parse(SPAN("000000000000a"), &back));
	assert_false(id_parse(SPAN("00000000000011"), &back));
}

/* What arrives at the log process for one event. */
static void
logged(int end, char *line, size_t room)
{
	unsigned char packet[MOST_PACKET];
	ssize_t len = recv(end, packet, sizeof(packet), MSG_DONTWAIT);
	struct msg_log_line m;

	assert_true(len > 10);
	assert_true(message_decode(MSG_log_line, span_of(packet + 10, (size_t)len - 10), &m));
	assert_true(span_copy(m.line, line, room));
}

static void
test_foreign_text_cannot_pretend(void **state)
{
	int ends[2];
	char line[4096];
	struct span evil = SPAN("a\" ip=198.51.100.9\r\nauth-failed ip=1.2.3.4 \x1b[31m%n \xff \\");

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	log_open("test", ends[0]);
	log_info(0x1234, "auth-failed", KEY_STR("ip", "192.0.2.7"), KEY_NUM("n", -3),
		KEY_ID("message", 0), KEY_SPAN("user", evil));
	logged(ends[1], line, sizeof(line));
	assert_string_equal(line, "auth-failed session=00000000004HK ip=192.0.2.7 n=-3 "
		"user=\"a\\x22 ip=198.51.100.9\\x0d\\x0aauth-failed ip=1.2.3.4 \\x1b[31m%n \\xff \\x5c\"");
	log_info(0, "word", KEY_STR("name", "gr\xc3\xbcn"), KEY_SPAN("c1", SPAN("\xc2\x9b" "31m")),
		KEY_STR("none", ""));
	logged(ends[1], line, sizeof(line));
	assert_string_equal(line, "word name=\"gr\xc3\xbcn\" c1=\"\\xc2\\x9b31m\" none=\"\"");
	/* A line of its own, or backwards, for who reads it; their neighbours are letters. */
	log_info(0, "word", KEY_SPAN("a", SPAN("x\xe2\x80\xa8y\xe2\x80\xa9")), KEY_SPAN("b", SPAN("\xe2\x80\xae" "x\xe2\x81\xa9")),
		KEY_SPAN("c", SPAN("\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x82\xac")), KEY_SPAN("cut", SPAN("\xe2\x80")));
	logged(ends[1], line, sizeof(line));
	assert_string_equal(line, "word a=\"x\\xe2\\x80\\xa8y\\xe2\\x80\\xa9\" b=\"\\xe2\\x80\\xaex\\xe2\\x81\\xa9\" "
		"c=\"\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x82\xac\" cut=\"\\xe2\\x80\"");
	log_open("test", -1);
	close(ends[0]);
	close(ends[1]);
}

static uint32_t waits_told;

static void
lines_wait(void *me)
{
	(void)me;
	waits_told++;
}

/* Reads all that has come; returns how many lines, with their numbers rising one by one from *next. */
static uint64_t
lines_in_order(int fd, uint64_t *next)
{
	unsigned char packet[MOST_PACKET];
	struct msg_log_line m;
	uint64_t count = 0;
	ssize_t len;
	char line[4096], wanted[64];

	while ((len = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) > 10) {
		assert_true(message_decode(MSG_log_line, span_of(packet + 10, (size_t)len - 10), &m));
		assert_true(span_copy(m.line, line, sizeof(line)));
		snprintf(wanted, sizeof(wanted), "flood i=%llu", (unsigned long long)*next);
		if (strcmp(line, wanted) != 0) {
			assert_int_equal(strncmp(line, "log-lines-dropped count=", 24), 0);
			*next += strtoull(line + 24, NULL, 10);
			continue;
		}
		++*next;
		count++;
	}
	return count;
}

/* A burst that the socket has no room for comes whole, in order, and is told of once. */
static void
test_log_keeps_a_burst(void **state)
{
	int ends[2];
	uint64_t next = 0, count = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	log_open("test", ends[0]);
	log_on_waiting(lines_wait, NULL);
	waits_told = 0;
	for (int i = 0; i < 3000; i++)
		log_info(0, "flood", KEY_NUM("i", i));
	assert_int_equal(waits_told, 1);
	while (!log_flush())
		count += lines_in_order(ends[1], &next);
	count += lines_in_order(ends[1], &next);
	assert_int_equal(count, 3000);
	log_on_waiting(NULL, NULL);
	log_open("test", -1);
	close(ends[0]);
	close(ends[1]);
}

/* Who speaks a little faster than he is heard, for long, uses the room again of what went. */
static void
test_log_uses_its_room_again(void **state)
{
	int ends[2];
	uint64_t next = 0, count = 0, said = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	log_open("test", ends[0]);
	/* Fifty thousand lines: four times as much as may wait. Never more than a half of that does. */
	while (said < 3000)
		log_info(0, "flood", KEY_NUM("i", said++));
	while (said < 50000) {
		unsigned char packet[MOST_PACKET];
		struct msg_log_line m;
		char line[4096], wanted[64];
		ssize_t len;

		for (int i = 0; i < 20; i++)
			log_info(0, "flood", KEY_NUM("i", said++));
		for (int i = 0; i < 20; i++, count++) {
			len = recv(ends[1], packet, sizeof(packet), MSG_DONTWAIT);
			assert_true(len > 10);
			assert_true(message_decode(MSG_log_line, span_of(packet + 10, (size_t)len - 10), &m));
			assert_true(span_copy(m.line, line, sizeof(line)));
			snprintf(wanted, sizeof(wanted), "flood i=%llu", (unsigned long long)next++);
			assert_string_equal(line, wanted);
		}
	}
	while (!log_flush())
		count += lines_in_order(ends[1], &next);
	count += lines_in_order(ends[1], &next);
	assert_int_equal(count, said);
	log_open("test", -1);
	close(ends[0]);
	close(ends[1]);
}

/* More than may wait is counted, at its place among the lines; nobody blocks. */
static void
test_log_never_blocks_and_counts(void **state)
{
	int ends[2];
	uint64_t next = 0, count = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	log_open("test", ends[0]);
	for (int i = 0; i < 50000; i++)
		log_info(0, "flood", KEY_NUM("i", i));
	while (!log_flush())
		count += lines_in_order(ends[1], &next);
	log_info(0, "flood", KEY_NUM("i", 50000));
	count += lines_in_order(ends[1], &next);
	assert_int_equal(next, 50001);
	assert_in_range(count, 3000, 49999);
	/* Nobody reads any more: what waits is let go of. */
	for (int i = 0; i < 3000; i++)
		log_info(0, "flood", KEY_NUM("i", i));
	close(ends[1]);
	assert_true(log_flush());
	log_open("test", -1);
	close(ends[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_hex_value),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_ceiling_sticks),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_foreign_text_cannot_pretend),
		cmocka_unit_test(test_log_keeps_a_burst),
		cmocka_unit_test(test_log_uses_its_room_again),
		cmocka_unit_test(test_log_never_blocks_and_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
