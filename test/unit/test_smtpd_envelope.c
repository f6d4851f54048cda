/* MAIL and RCPT: what is taken, what is refused, and with which code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "smtpd/envelope.h"
#include "smtpd/parameters.h"

#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define L36 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define L63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

#define ALL (OFFERS_PARAMETERS | OFFERS_REQUIRETLS | OFFERS_RELEASE | OFFERS_PRIORITY | OFFERS_SOLICIT)

static void
mail(void **state)
{
	static const struct {
		const char *in;
		unsigned int code;
		const char *status;
	} rows[] = {
		{ " FROM:<>", 0, "" }, { " from:<a@b.example>", 0, "" }, { " FROM: <a@b.example>", 0, "" },
		{ " FROM:<@r.example:a@b.example>", 0, "" }, { " FROM:<a@[192.0.2.1]>", 0, "" },
		{ " FROM:<a@b.example> SIZE=18446744073709551615", 0, "" },
		{ " FROM:<a@b.example> size=99999999999999999999", 0, "" },
		{ " FROM:<a@b.example> SIZE=999999999999999999999", 501, "5.5.4" },
		{ " FROM:<a@b.example> SIZE=-1", 501, "5.5.4" }, { " FROM:<a@b.example> SIZE=", 501, "5.5.4" },
		{ " FROM:<a@b.example> BODY=8bitmime SMTPUTF8 AUTH=a+2Bb@c.example", 0, "" },
		{ " FROM:<a@b.example>  BODY=7BIT", 0, "" },
		{ " FROM:<a@b.example> BODY", 501, "5.5.4" }, { " FROM:<a@b.example> AUTH=x+0A", 501, "5.5.4" },
		{ " FROM:<a@b.example> AUTH=x+2", 501, "5.5.4" }, { " FROM:<a@b.example> AUTH=x+2b", 501, "5.5.4" },
		{ " FROM:<a@b.example> AUTH=+00", 501, "5.5.4" }, { " FROM:<a@b.example> A=1=2", 501, "5.5.4" },
		{ " FROM:<a@b.example> FOO=BAR", 555, "5.5.4" }, { " FROM:<a@b.example> -X", 501, "5.5.4" },
		{ " FROM:<> RET=hdrs ENVID=QQ+2B314159", 0, "" }, { " FROM:<> RET=FULL", 0, "" },
		{ " FROM:<> RET", 501, "5.5.4" }, { " FROM:<> RET=", 501, "5.5.4" },
		{ " FROM:<> RET=SOME", 501, "5.5.4" }, { " FROM:<> RET=FULL RET=FULL", 501, "5.5.4" },
		{ " FROM:<> ENVID=" X64 L36, 0, "" }, { " FROM:<> ENVID=x" X64 L36, 501, "5.5.4" },
		{ " FROM:<> ENVID", 501, "5.5.4" }, { " FROM:<> ENVID=x+00", 501, "5.5.4" },
		{ " FROM:<> ENVID=x+0A", 501, "5.5.4" }, { " FROM:<> ENVID=x+7F", 501, "5.5.4" },
		{ " FROM:<> ENVID=x+E9", 501, "5.5.4" }, { " FROM:<> ENVID=x+2b", 501, "5.5.4" },
		{ " FROM:<> ENVID=x+", 501, "5.5.4" }, { " FROM:<> ENVID=\xc3\xbc", 501, "5.5.4" },
		{ " FROM:<> REQUIRETLS", 0, "" }, { " FROM:<> REQUIRETLS=YES", 501, "5.5.4" },
		{ " FROM:<> BY=120;N", 0, "" }, { " FROM:<> BY=+120;rt", 0, "" }, { " FROM:<> BY=-1;NT", 0, "" },
		{ " FROM:<> BY=0;N", 0, "" }, { " FROM:<> BY=0;R", 501, "5.5.4" }, { " FROM:<> BY=-1;R", 501, "5.5.4" },
		{ " FROM:<> BY=120", 501, "5.5.4" }, { " FROM:<> BY=120;", 501, "5.5.4" },
		{ " FROM:<> BY=120;X", 501, "5.5.4" }, { " FROM:<> BY=120;NTT", 501, "5.5.4" },
		{ " FROM:<> BY=1000000000;N", 501, "5.5.4" }, { " FROM:<> BY=;N", 501, "5.5.4" },
		{ " FROM:<> HOLDFOR=86400", 0, "" }, { " FROM:<> HOLDFOR=86401", 501, "5.5.4" },
		{ " FROM:<> HOLDFOR=1", 0, "" }, { " FROM:<> HOLDFOR=-1", 501, "5.5.4" },
		{ " FROM:<> HOLDFOR", 501, "5.5.4" }, { " FROM:<> HOLDFOR=9999999999", 501, "5.5.4" },
		{ " FROM:<> HOLDUNTIL=2001-09-09T01:46:41Z", 0, "" }, { " FROM:<> HOLDUNTIL=2001-09-10T01:46:40Z", 0, "" },
		{ " FROM:<> HOLDUNTIL=2001-09-10T01:46:41Z", 501, "5.5.4" }, { " FROM:<> HOLDUNTIL=1960-01-01T00:00:00Z", 0, "" },
		{ " FROM:<> HOLDUNTIL=2001-02-29T01:46:41Z", 501, "5.5.4" }, { " FROM:<> HOLDUNTIL=tomorrow", 501, "5.5.4" },
		{ " FROM:<> HOLDUNTIL=2001-09-09T01:46:41Z HOLDFOR=1", 501, "5.5.4" },
		{ " FROM:<> MT-PRIORITY=-9", 0, "" }, { " FROM:<> MT-PRIORITY=9", 0, "" },
		{ " FROM:<> MT-PRIORITY=10", 501, "5.5.4" }, { " FROM:<> MT-PRIORITY=-0", 501, "5.5.4" },
		{ " FROM:<> MT-PRIORITY=+1", 501, "5.5.4" }, { " FROM:<> MT-PRIORITY", 501, "5.5.4" },
		{ " FROM:<> MT-PRIORITY=03", 501, "5.5.4" }, { " FROM:<> MT-PRIORITY=-03", 501, "5.5.4" },
		{ " FROM:<> SOLICIT=net.example:ADV,org.example:ADV:ADLT", 0, "" }, { " FROM:<> solicit=A", 0, "" },
		{ " FROM:<> SOLICIT", 501, "5.5.4" }, { " FROM:<> SOLICIT=", 501, "5.5.4" },
		{ " FROM:<> SOLICIT=1a", 501, "5.5.4" }, { " FROM:<> SOLICIT=a,", 501, "5.5.4" },
		{ " FROM:<> SOLICIT=,a", 501, "5.5.4" }, { " FROM:<> SOLICIT=a,,b", 501, "5.5.4" },
		{ " FROM:<> SOLICIT=a+0Ab", 501, "5.5.4" }, { " FROM:<> SOLICIT=a(b)", 501, "5.5.4" },
		{ " FROM:<> SOLICIT=a;b", 501, "5.5.4" }, { " FROM:<> SOLICIT=\xc3\xbc", 501, "5.5.4" },
		{ " FROM:<> SOLICIT=a SOLICIT=a", 501, "5.5.4" },
		{ " FROM:<> HOLDFOR=0", 501, "5.5.4" }, { " FROM:<> HOLDFOR=01", 501, "5.5.4" },
		{ " FROM:<> BY=0000000001;N", 501, "5.5.4" }, { " FROM:<> BY=-000000001;N", 0, "" },
		{ " FROM:<> BY=5;R HOLDFOR=5", 0, "" }, { " FROM:<> BY=5;R HOLDFOR=6", 501, "5.5.4" },
		{ " FROM:<> HOLDFOR=1 BY=0;N", 501, "5.5.4" }, { " FROM:<> HOLDFOR=1 BY=-5;N", 501, "5.5.4" },
		{ " FROM:<> BODY=binarymime", 0, "" }, { " FROM:<> BODY=9BIT", 501, "5.5.4" },
		{ " FROM:<a@b.example> SMTPUTF8 SMTPUTF8", 501, "5.5.4" },
		{ " FROM:<\xc3\xbc@b.example> SMTPUTF8", 0, "" }, { " FROM:<\xc3\xbc@b.example>", 553, "5.6.7" },
		{ " FROM:<a@\xc3\xbc.example>", 553, "5.6.7" }, { " FROM:<\xc3@b.example> SMTPUTF8", 501, "5.1.7" },
		{ " FROM:<a\tb@b.example>", 501, "5.1.7" }, { " FROM:<a@b.example", 501, "5.1.7" },
		{ " FROM:<a b@b.example>", 501, "5.1.7" }, { " FROM:<a@b..example>", 501, "5.1.7" },
		{ " FROM:<a@b.example>x", 501, "5.5.4" }, { " FROM:<a>", 501, "5.1.7" },
		{ " FROM:<" X64 "@b.example>", 0, "" }, { " FROM:<x" X64 "@b.example>", 501, "5.1.7" },
		{ " FROM:<a@" L63 "." L63 "." L63 "." L63 ">", 501, "5.1.7" },
		{ "FROM:<>", 501, "5.5.4" }, { "", 501, "5.5.4" }, { " FROM:", 501, "5.5.4" },
		{ " FROM:a@b.example", 501, "5.5.4" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct envelope_sender to;
		const struct refusal *no = envelope_parse_mail(span_str(rows[i].in), ALL,
			1000000000, 86400, &to); /* now: 9 September 2001, 01:46:40 */

		if ((no ? no->code : 0) != rows[i].code || strcmp(no ? no->status : "", rows[i].status) != 0)
			fail_msg("%s: %u %s", rows[i].in, no ? no->code : 0, no ? no->status : "");
	}
	assert_int_equal(envelope_parse_mail(SPAN(" FROM:<> SIZE=1"), 0, 1, 1, NULL)->code, 555);
	assert_int_equal(envelope_parse_mail(SPAN(" FROM:<> REQUIRETLS"), OFFERS_PARAMETERS, 1, 1, NULL)->code, 530);
	assert_int_equal(envelope_parse_mail(SPAN(" FROM:<> HOLDFOR=1"), OFFERS_PARAMETERS, 1, 1, NULL)->code, 555);
	assert_int_equal(envelope_parse_mail(SPAN(" FROM:<> MT-PRIORITY=1"), OFFERS_PARAMETERS, 1, 1, NULL)->code, 555);
	assert_int_equal(envelope_parse_mail(SPAN(" FROM:<> SOLICIT=a"), ALL & ~OFFERS_SOLICIT, 1, 1, NULL)->code, 555);
}

static void
rcpt(void **state)
{
	static const struct {
		const char *in;
		unsigned int code;
		const char *status, *address;
		bool utf8;
	} rows[] = {
		{ " TO:<a@b.example>", 0, "", "a@b.example", false },
		{ " to: <PostMaster>", 0, "", "PostMaster", false },
		{ " TO:<@a.example,@b.example:c@d.example>", 0, "", "c@d.example", false },
		{ " TO:<\"a b\"@c.example>", 0, "", "\"a b\"@c.example", false },
		{ " TO:<>", 501, "5.1.3", "", false }, { " TO:<a>", 501, "5.1.3", "", false },
		{ " TO:<a@b.example> FOO", 555, "5.5.4", "", false },
		{ " TO:<a@b.example> NOTIFY=NEVER", 0, "", "a@b.example", false },
		{ " TO:<a@b.example> NOTIFY=success,Delay,FAILURE ORCPT=rfc822;a@b.example", 0, "", "a@b.example", false },
		{ " TO:<a@b.example> NOTIFY=SUCCESS,", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> NOTIFY=,SUCCESS", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> NOTIFY=NEVER,DELAY", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> NOTIFY=DELAY,DELAY", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> NOTIFY", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> NOTIFY=NEVER NOTIFY=NEVER", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=rfc822;x+0AEVIL", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=rfc822;x+00", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=rfc822", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=;x", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=rfc822;", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=rf c;x", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=utf-8;\xc3\xbc@b.example", 501, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=utf-8;\xc3\xbc@b.example", 0, "", "a@b.example", true },
		{ " TO:<a@b.example> ORCPT=utf-8;\xc3@b.example", 501, "5.5.4", "", true },
		{ " TO:<a@b.example> ORCPT=rfc822;\xc3\xbc@b.example", 501, "5.5.4", "", true },
		{ " TO:<a@b.example> =", 501, "5.5.4", "", false },
		{ " TO:<\xc3\xbc@b.example>", 553, "5.6.7", "", false },
		{ " TO:<\xc3\xbc@b.example>", 0, "", "\xc3\xbc@b.example", true },
		{ " TO:<x" X64 "@b.example>", 501, "5.1.3", "", false },
		{ " TO:<\"a\x01\"@b.example>", 501, "5.1.3", "", false },
		{ " FROM:<a@b.example>", 501, "5.5.4", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct envelope_recipient a = { 0 };
		struct text t = TEXT_UP_TO(MOST_ADDRESS);
		const struct refusal *no = envelope_parse_rcpt(span_str(rows[i].in),
			OFFERS_PARAMETERS, rows[i].utf8, &a);

		envelope_address_put(&t, &a.address);
		if ((no ? no->code : 0) != rows[i].code || strcmp(no ? no->status : "", rows[i].status) != 0 ||
		    strcmp(text_str(&t), rows[i].address) != 0)
			fail_msg("%s: %u %s", rows[i].in, no ? no->code : 0, no ? no->status : "");
		text_clear(&t);
	}
}

static void
i1_values_are_decoded_whole(void **state)
{
	struct envelope_sender m;
	struct envelope_recipient r;

	(void)state;
	assert_null(envelope_parse_mail(SPAN(" FROM:<a@b.example> ENVID=a+20b+3Dc+2B RET=FULL BY=+50;NT AUTH=e+40f"
		" HOLDFOR=7 MT-PRIORITY=-4"), ALL, 100, 10, &m));
	assert_string_equal(m.envid, "a b=c+");
	assert_string_equal(m.auth, "e@f");
	assert_int_equal(m.ret, RET_FULL);
	assert_true(m.by_mode == 'N' && m.by_trace && m.by_seconds == 50);
	assert_true(m.hold_until == 107 && m.priority == -4);
	assert_null(envelope_parse_rcpt(SPAN(" TO:<a@b.example> ORCPT=rfc822;x+2By@z NOTIFY=SUCCESS,DELAY"),
		OFFERS_PARAMETERS, false, &r));
	assert_string_equal(r.orcpt, "rfc822;x+y@z");
	assert_int_equal(r.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
}

/* Random octets as xtext: what is taken, written anew, is what was decoded. */
static void
i1_xtext_goes_round(void **state)
{
	unsigned int seed = 4711;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		unsigned char raw[24];
		char decoded[25], again[25];
		struct text encoded = TEXT_UP_TO(100);
		size_t len = (seed = seed * 1103515245 + 12345) >> 16 & 15;

		for (size_t i = 0; i < len; i++)
			raw[i] = (unsigned char)("+0A2BxF= \x7f\n"[((seed = seed * 1103515245 + 12345) >> 16) % 11]);
		if (!esmtp_xtext_decode(span_of(raw, len), decoded, sizeof(decoded)))
			continue;
		assert_true(span_is_printable(span_str(decoded)));
		for (const char *at = decoded; *at; at++) {
			text_add_byte(&encoded, '+');
			text_printf(&encoded, "%02X", (unsigned char)*at);
		}
		assert_true(esmtp_xtext_decode(text_span(&encoded), again, sizeof(again)));
		assert_string_equal(decoded, again);
		text_clear(&encoded);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail), cmocka_unit_test(rcpt),
		cmocka_unit_test(i1_values_are_decoded_whole), cmocka_unit_test(i1_xtext_goes_round),
	};

	return cmocka_run_group_tests_name("smtpd_envelope", tests, NULL, NULL);
}
