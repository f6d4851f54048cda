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
#define L63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

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
		{ " FROM:<a@b.example> RET=HDRS", 555, "5.5.4" }, { " FROM:<a@b.example> -X", 501, "5.5.4" },
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
		const struct refusal *no = envelope_parse_mail(span_str(rows[i].in), true, &to);

		if ((no ? no->code : 0) != rows[i].code || strcmp(no ? no->status : "", rows[i].status) != 0)
			fail_msg("%s: %u %s", rows[i].in, no ? no->code : 0, no ? no->status : "");
	}
	assert_int_equal(envelope_parse_mail(SPAN(" FROM:<> SIZE=1"), false, NULL)->code, 555);
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
		{ " TO:<a@b.example> NOTIFY=NEVER", 555, "5.5.4", "", false },
		{ " TO:<a@b.example> ORCPT=rfc822;x+0AEVIL", 555, "5.5.4", "", false },
		{ " TO:<a@b.example> =", 501, "5.5.4", "", false },
		{ " TO:<\xc3\xbc@b.example>", 553, "5.6.7", "", false },
		{ " TO:<\xc3\xbc@b.example>", 0, "", "\xc3\xbc@b.example", true },
		{ " TO:<x" X64 "@b.example>", 501, "5.1.3", "", false },
		{ " TO:<\"a\x01\"@b.example>", 501, "5.1.3", "", false },
		{ " FROM:<a@b.example>", 501, "5.5.4", "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address a = { 0 };
		struct text t = TEXT_UP_TO(MOST_ADDRESS);
		const struct refusal *no = envelope_parse_rcpt(span_str(rows[i].in), rows[i].utf8, &a);

		envelope_address_put(&t, &a);
		if ((no ? no->code : 0) != rows[i].code || strcmp(no ? no->status : "", rows[i].status) != 0 ||
		    strcmp(text_str(&t), rows[i].address) != 0)
			fail_msg("%s: %u %s", rows[i].in, no ? no->code : 0, no ? no->status : "");
		text_clear(&t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(mail), cmocka_unit_test(rcpt) };

	return cmocka_run_group_tests_name("smtpd_envelope", tests, NULL, NULL);
}
