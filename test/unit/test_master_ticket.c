/*
 * Tickets: good once, for thirty seconds, for one session, at one front end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "master/ticket.h"

#define SESSION 4711
#define NOW	1000

static const struct msg_ticket_made made = {
	.ticket = { (const unsigned char *)"0123456789abcdef", TICKET_SIZE },
	.user = { (const unsigned char *)"ana@example.org", 15 },
	.home = { (const unsigned char *)"example.org/ana", 15 },
	.uid = 1000,
	.gid = 1001,
	.program = PROGRAM_IMAP_LOGIN,
	.index = 1,
};

static struct ticket_table table;

static enum ticket_verdict
take(const char *bytes, uint64_t session, enum program program, unsigned int index, uint64_t now,
	struct ticket *k)
{
	return ticket_take(&table, span_str(bytes), session, program, index, now, k);
}

static void
test_good_once(void **state)
{
	struct ticket k;

	(void)state;
	assert_true(ticket_keep(&table, SESSION, &made, NOW));
	assert_true(ticket_known(&table, made.ticket, NOW));
	assert_int_equal(take("0123456789abcdef", SESSION, PROGRAM_IMAP_LOGIN, 1,
				 NOW + TICKET_SECONDS - 1, &k),
		TICKET_GOOD);
	assert_string_equal(k.user, "ana@example.org");
	assert_string_equal(k.home, "example.org/ana");
	assert_int_equal(k.uid, 1000);
	assert_int_equal(k.gid, 1001);
	assert_int_equal(
		take("0123456789abcdef", SESSION, PROGRAM_IMAP_LOGIN, 1, NOW, &k), TICKET_UNKNOWN);
	assert_false(ticket_known(&table, made.ticket, NOW));
}

static void
test_forged(void **state)
{
	static const char *const forged[] = { "0123456789abcdeg", "1123456789abcdef",
		"0123456789abcde", "0123456789abcdef0", "" };
	struct ticket k = { .used = false };

	(void)state;
	assert_true(ticket_keep(&table, SESSION, &made, NOW));
	for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++)
		assert_int_equal(
			take(forged[i], SESSION, PROGRAM_IMAP_LOGIN, 1, NOW, &k), TICKET_UNKNOWN);
	/* An empty slot holds zeros, and zeros are no ticket. */
	assert_int_equal(ticket_take(&table, span_of("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", TICKET_SIZE),
				 0, 0, 0, NOW, &k),
		TICKET_UNKNOWN);
	assert_false(k.used);
}

static void
test_expired(void **state)
{
	struct ticket k;

	(void)state;
	assert_true(ticket_keep(&table, SESSION, &made, NOW));
	assert_int_equal(
		take("0123456789abcdef", SESSION, PROGRAM_IMAP_LOGIN, 1, NOW + TICKET_SECONDS, &k),
		TICKET_UNKNOWN);
}

/* Brought by the wrong one it is refused, and good for nobody any more. */
static void
test_misused(void **state)
{
	static const struct {
		uint64_t session;
		enum program program;
		unsigned int index;
	} wrong[] = {
		{ SESSION + 1, PROGRAM_IMAP_LOGIN, 1 },
		{ 0, PROGRAM_IMAP_LOGIN, 1 },
		{ SESSION, PROGRAM_IMAP_LOGIN, 0 },
		{ SESSION, PROGRAM_IMAP_LOGIN, 65537 },
		{ SESSION, PROGRAM_SMTPD, 1 },
	};
	struct ticket k;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_true(ticket_keep(&table, SESSION, &made, NOW));
		assert_int_equal(take("0123456789abcdef", wrong[i].session, wrong[i].program,
					 wrong[i].index, NOW, &k),
			TICKET_MISUSED);
		assert_int_equal(take("0123456789abcdef", SESSION, PROGRAM_IMAP_LOGIN, 1, NOW, &k),
			TICKET_UNKNOWN);
	}
}

static void
test_malformed(void **state)
{
	struct msg_ticket_made m = made;

	(void)state;
	m.ticket.len = TICKET_SIZE - 1;
	assert_false(ticket_keep(&table, SESSION, &m, NOW));
	m = made;
	m.user = SPAN_NONE;
	assert_false(ticket_keep(&table, SESSION, &m, NOW));
	assert_false(ticket_keep(&table, 0, &made, NOW));
	/* The same bytes twice: auth's random numbers are broken, or it is not auth. */
	assert_true(ticket_keep(&table, SESSION, &made, NOW));
	assert_false(ticket_keep(&table, SESSION + 1, &made, NOW));
}

static void
test_full(void **state)
{
	struct msg_ticket_made m = made;
	unsigned char bytes[TICKET_SIZE] = { 0 };
	struct ticket k;

	(void)state;
	m.ticket = span_of(bytes, sizeof bytes);
	for (uint32_t i = 0; i < MOST_TICKETS; i++) {
		memset(bytes, 'x', sizeof bytes);
		memcpy(bytes, &i, sizeof i);
		assert_true(ticket_keep(&table, i + 1, &m, NOW));
	}
	assert_false(ticket_keep(&table, SESSION, &made, NOW));
	/* None that is good was given up for it, and there is room again when they are old. */
	assert_int_equal(
		ticket_take(&table, m.ticket, MOST_TICKETS, PROGRAM_IMAP_LOGIN, 1, NOW, &k),
		TICKET_GOOD);
	assert_true(ticket_keep(&table, SESSION, &made, NOW));
	assert_false(ticket_keep(&table, SESSION, &m, NOW));
	assert_true(ticket_keep(&table, SESSION, &m, NOW + TICKET_SECONDS));
}

static int
clear(void **state)
{
	(void)state;
	ticket_table_clear(&table);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_good_once, clear),
		cmocka_unit_test_teardown(test_forged, clear),
		cmocka_unit_test_teardown(test_expired, clear),
		cmocka_unit_test_teardown(test_misused, clear),
		cmocka_unit_test_teardown(test_malformed, clear),
		cmocka_unit_test_teardown(test_full, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
