/* Addresses in header fields, as people and programs write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "smtpd/mailbox-list.h"

static void
what_is_found(void **state)
{
	/* found: each address, and a blank; "!" behind one that can be none. */
	static const struct {
		const char *body, *found;
	} cases[] = {
		{ "", "" },
		{ " , ,; , ", "" },
		{ "root", "root " },
		{ "a@b.example", "a@b.example " },
		{ "a@b.example, c@d.example", "a@b.example c@d.example " },
		{ "root (Cron Daemon)", "root " },
		{ "(x, y@z) root", "root " },
		{ "Ana Mu\xc3\xb1oz <a@b.example>", "a@b.example " },
		{ "\"Smith, John\" <j@s.example>, k@s.example", "j@s.example k@s.example " },
		{ "\"a b\"@c.example", "\"a b\"@c.example " },
		{ "\"a\\\",b\"@c.example,d", "\"a\\\",b\"@c.example d " },
		{ "a@[192.0.2.1]", "a@[192.0.2.1] " },
		{ "a . b @ c . example", "a.b@c.example " },
		{ "a(one)@(two)b.example(three)", "a@b.example " },
		{ "John Smith", "JohnSmith! " },
		{ "Undisclosed recipients:;", "" },
		{ "Friends: a@b.example, C <c@d.example>;, e@f.example",
			"a@b.example c@d.example e@f.example " },
		{ "<@a.example,@b.example:c@d.example>", "c@d.example " },
		{ "<>", " " },
		{ "Nobody <>", " " },
		{ "a@b.example\r\n\t,c@d.example\r\n", "a@b.example c@d.example " },
		/* Not closed. */
		{ "\"a@b.example, c@d.example", "\"a@b.example, c@d.example " },
		{ "(a@b.example, c@d.example", "" },
		{ "<a@b.example, c@d.example", "c@d.example " },
		{ "a@b.example> c@d.example", "a@b.example>c@d.example! " },
		{ "<a@b.example> c@d.example", "a@b.example " },
		{ "a\\", "a\\ " },
		{ "\"\\", "\"\\ " },
	};
	struct text said = TEXT_UP_TO(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span in = span_str(cases[i].body);
		struct mailbox_found found;

		text_reset(&said);
		while (mailbox_list_next(&in, &found)) {
			mailbox_found_put(&said, &found);
			if (!found.is_one)
				text_add_byte(&said, '!');
			text_add_byte(&said, ' ');
		}
		assert_int_equal(in.len, 0);
		if (strcmp(text_str(&said), cases[i].found) != 0)
			fail_msg("%s: \"%s\"", cases[i].body, text_str(&said));
	}
	text_clear(&said);
}

static void
headers_are_qualified(void **state)
{
	static const struct {
		const char *before, *after;
	} cases[] = {
		{ "From: root (Cron Daemon)\r\nTo: root\r\nSubject: root, a\r\n\r\n",
			"From: root@d.example (Cron Daemon)\r\nTo: root@d.example\r\nSubject: root, a\r\n\r\n" },
		{ "to: a,\r\n b@x.example,\r\n\t\"c d\"\r\n",
			"to: a@d.example,\r\n b@x.example,\r\n\t\"c d\"@d.example\r\n" },
		{ "Resent-Cc : A <a>, <>\r\n", "Resent-Cc : A <a@d.example>, <>\r\n" },
		{ "To: John Smith\r\n", "To: John Smith\r\n" },
		{ "To: undisclosed-recipients:;\r\n", "To: undisclosed-recipients:;\r\n" },
		{ "To: a", "To: a@d.example" },
		{ "no field\r\n", "no field\r\n" },
		{ "", "" },
	};
	struct text out = TEXT_UP_TO(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text_reset(&out);
		mailbox_list_qualify(span_str(cases[i].before), SPAN("d.example"), &out);
		assert_string_equal(text_str(&out), cases[i].after);
	}
	text_clear(&out);
}

/* Ten thousand of everything, and depth. */
static void
it_takes_any_amount(void **state)
{
	struct text many = TEXT_UP_TO(1 << 20);
	struct mailbox_found found;
	struct span in;
	unsigned int count = 0;

	(void)state;
	for (int i = 0; i < 10000; i++)
		text_add_str(&many, "a@b.example (x),");
	for (int i = 0; i < 100000; i++)
		text_add_byte(&many, '(');
	in = text_span(&many);
	while (mailbox_list_next(&in, &found))
		count++;
	assert_int_equal(count, 10000);
	text_clear(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_found),
		cmocka_unit_test(headers_are_qualified),
		cmocka_unit_test(it_takes_any_amount),
	};

	return cmocka_run_group_tests_name("smtpd_mailbox_list", tests, NULL, NULL);
}
