/* Packets of PCP, byte by byte (RFC 6887 7, 11.1, 13.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "master/pcp.h"

static const unsigned char request[PCP_REQUEST] = {
	2, 1, 0, 0, 0, 0, 2, 0x58,                                     /* version, MAP, 600 seconds */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 77, 10,    /* the client */
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,                         /* the nonce */
	6, 0, 0, 0, 0x27, 0x29, 0, 25,                                 /* TCP, 10025, 25 */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0,          /* any address */
	2, 0, 0, 0,                                                    /* PREFER_FAILURE */
};
static const unsigned char answer[60] = {
	2, 0x81, 0, 0, 0, 0, 1, 0x2c, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
	6, 0, 0, 0, 0x27, 0x29, 0, 25,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 45, 45, 45, 1,
};

static void
requests(void **state)
{
	struct pcp_request r = { .nonce = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, .client = { 192, 168, 77, 10 },
		.inside = 10025, .outside = 25, .seconds = 600 };
	unsigned char packet[PCP_REQUEST], gone[PCP_REQUEST];

	(void)state;
	assert_int_equal(pcp_request_put(&r, packet), sizeof request);
	assert_memory_equal(packet, request, sizeof request);
	r.seconds = 0;
	assert_int_equal(pcp_request_put(&r, packet), 60);
	memcpy(gone, request, sizeof gone);
	memset(gone + 4, 0, 4);
	memset(gone + 42, 0, 2); /* the port outside */
	gone[60] = 0;		 /* no option */
	assert_memory_equal(packet, gone, sizeof gone);
}

static void
answers(void **state)
{
	struct pcp_answer a;

	(void)state;
	assert_int_equal(pcp_answer_take(span_of(answer, sizeof answer), &a), PCP_ANSWER);
	assert_int_equal(a.result, 0);
	assert_int_equal(a.seconds, 300);
	assert_int_equal(a.epoch, 0x1000);
	assert_int_equal(a.inside, 10025);
	assert_int_equal(a.outside, 25);
	assert_memory_equal(a.nonce, request + 24, PCP_NONCE);
	assert_memory_equal(a.address, "\x2d\x2d\x2d\x01", 4);
}

/* Each takes the good answer, changes one octet, and says what that makes of it. */
static void
answers_that_are_none(void **state)
{
	static const struct {
		unsigned int at;
		unsigned char value;
		enum pcp_outcome outcome;
	} rows[] = {
		{ 0, 1, PCP_NONSENSE }, { 0, 3, PCP_NONSENSE }, { 1, 0x01, PCP_NONSENSE }, { 1, 0x82, PCP_NONSENSE },
		{ 3, 1, PCP_OTHER_VERSION }, { 3, 2, PCP_ANSWER }, { 3, 255, PCP_ANSWER }, { 36, 17, PCP_NONSENSE },
	};
	static const unsigned char nat_pmp[8] = { 0, 0x80, 0, 1 }, other[24] = { 3, 0x81, 0, 1 };
	unsigned char packet[PCP_MOST_ANSWER + 4];
	struct pcp_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		memcpy(packet, answer, sizeof answer);
		packet[rows[i].at] = rows[i].value;
		if (pcp_answer_take(span_of(packet, sizeof answer), &a) != rows[i].outcome)
			fail_msg("octet %u is %u", rows[i].at, rows[i].value);
	}
	memset(packet, 0, sizeof packet);
	memcpy(packet, answer, sizeof answer);
	for (size_t len = 0; len <= sizeof packet; len++)
		assert_int_equal(pcp_answer_take(span_of(packet, len), &a),
			len >= sizeof answer && len <= PCP_MOST_ANSWER && len % 4 == 0 ? PCP_ANSWER : PCP_NONSENSE);
	assert_int_equal(pcp_answer_take(SPAN_NONE, &a), PCP_NONSENSE);
	assert_int_equal(pcp_answer_take(span_of(nat_pmp, sizeof nat_pmp), &a), PCP_OTHER_VERSION);
	assert_int_equal(pcp_answer_take(span_of(other, sizeof other), &a), PCP_OTHER_VERSION);
	/* An address that is none of IPv4. */
	memcpy(packet, answer, sizeof answer);
	packet[44] = 0x20;
	assert_int_equal(pcp_answer_take(span_of(packet, sizeof answer), &a), PCP_ANSWER);
	assert_memory_equal(a.address, "\0\0\0\0", 4);
}

static void
every_result_has_a_text(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 256; i++)
		assert_true(strlen(pcp_result_text((uint8_t)i)) > 0 && strlen(pcp_result_text((uint8_t)i)) <= 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(answers),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(every_result_has_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
