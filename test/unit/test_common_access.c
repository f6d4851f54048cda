/* Rules about clients, hosts and addresses; and block lists of DNS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/access.h"
#include "common/block-list.h"

static void
rules(void **state)
{
	static const struct {
		enum access_kind kind;
		const char *row;
		enum access_action action;     /* 0: refused */
		const char *text;
	} rows[] = {
		{ ACCESS_CLIENT, "192.0.2.0/24 reject", ACCESS_REJECT, "" },
		{ ACCESS_CLIENT, " .dyn.example\tDEFER  come back later ", ACCESS_DEFER, "come back later" },
		{ ACCESS_CLIENT, "192.0.2.1/24 reject", 0, "" }, { ACCESS_CLIENT, "192.0.2.1", 0, "" },
		{ ACCESS_CLIENT, "192.0.2.1 sink", 0, "" }, { ACCESS_CLIENT, "", 0, "" },
		{ ACCESS_HOST, "localhost permit", ACCESS_PERMIT, "" }, { ACCESS_HOST, "localhost permit it", 0, "" },
		{ ACCESS_HOST, ". permit", 0, "" }, { ACCESS_HOST, "a b", 0, "" },
		{ ACCESS_ADDRESS, "a@b.example hold look at it", ACCESS_HOLD, "look at it" },
		{ ACCESS_ADDRESS, "@b.example discard", ACCESS_DISCARD, "" },
		{ ACCESS_ADDRESS, "@.b.example warn", ACCESS_WARN, "" }, { ACCESS_ADDRESS, "news@ reject", ACCESS_REJECT, "" },
		{ ACCESS_ADDRESS, "<> permit", ACCESS_PERMIT, "" }, { ACCESS_ADDRESS, "@ reject", 0, "" },
		{ ACCESS_ADDRESS, "b.example reject", 0, "" },
		{ ACCESS_ADDRESS, "a@b.example redirect c@d.example", ACCESS_REDIRECT, "c@d.example" },
		{ ACCESS_ADDRESS, "a@b.example redirect", 0, "" }, { ACCESS_ADDRESS, "a@b.example redirect x", 0, "" },
		{ ACCESS_ADDRESS, "a@b.example reject \xc3\xbc", 0, "" },
		{ ACCESS_ADDRESS, "a@b.example reject a\rb", 0, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct access_rule rule = { .action = 0 };
		const char *why;
		bool right = access_parse(span_str(rows[i].row), rows[i].kind, &rule, &why);

		if (right != (rows[i].action != 0) || right == (why != NULL) || rule.action != rows[i].action ||
			!span_equal(rule.text, span_str(rows[i].text)))
			fail_msg("%s: %s", rows[i].row, why ? why : "taken");
	}
}

static void
fits(void **state)
{
	(void)state;
	assert_true(access_fits_host(SPAN("mail.example"), SPAN("MAIL.Example")));
	assert_false(access_fits_host(SPAN("mail.example"), SPAN("a.mail.example")));
	assert_true(access_fits_host(SPAN(".example"), SPAN("a.b.EXAMPLE")));
	assert_false(access_fits_host(SPAN(".example"), SPAN("example")));
	assert_false(access_fits_host(SPAN(".example"), SPAN(".example")));
	assert_false(access_fits_host(SPAN(".b.example"), SPAN("ab.example")));
	assert_true(access_fits_client(SPAN("2001:db8::/32"), "2001:db8::7", NULL));
	assert_false(access_fits_client(SPAN("2001:db8::/32"), "local", NULL));
	assert_true(access_fits_client(SPAN(".example"), "192.0.2.1", "a.example"));
	assert_false(access_fits_client(SPAN(".example"), "192.0.2.1", NULL));
	assert_true(access_fits_address(SPAN("A@b.example"), SPAN("a@B.example")));
	assert_true(access_fits_address(SPAN("@b.example"), SPAN("\"x@y\"@b.example")));
	assert_false(access_fits_address(SPAN("@b.example"), SPAN("x@a.b.example")));
	assert_true(access_fits_address(SPAN("@.b.example"), SPAN("x@a.b.example")));
	assert_true(access_fits_address(SPAN("news@"), SPAN("news@any.example")));
	assert_false(access_fits_address(SPAN("news@"), SPAN("")));
	assert_false(access_fits_address(SPAN("@b.example"), SPAN("")));
	assert_true(access_fits_address(SPAN("<>"), SPAN("")));
	assert_false(access_fits_address(SPAN("<>"), SPAN("a@b.example")));
}

static void
block_lists(void **state)
{
	static const char *const wrong[] = { "", "=127.0.0.2", "a..b", "zone.example=", "zone.example=127.0.0",
		"zone.example=127.0.0.256", "zone.example=127.0.0.3-2", "zone.example=127.0.0.2-", "[192.0.2.1]",
		"zone.example=127.0.0.2.1", "zone.example=127.0.0.2 x" };
	struct block_list list;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (block_list_parse(span_str(wrong[i]), &list))
			fail_msg("%s", wrong[i]);
	assert_true(block_list_parse(SPAN("zone.example"), &list));
	assert_true(span_equal(list.zone, SPAN("zone.example")));
	assert_true(block_list_counts(&list, (unsigned char[4]){ 127, 0, 0, 2 }));
	assert_true(block_list_counts(&list, (unsigned char[4]){ 127, 1, 2, 3 }));
	assert_false(block_list_counts(&list, (unsigned char[4]){ 192, 0, 2, 1 }));
	assert_false(block_list_counts(&list, (unsigned char[4]){ 127, 255, 255, 254 }));
	assert_true(block_list_parse(SPAN("zone.example=127.0.0-1.2-11"), &list));
	assert_true(block_list_counts(&list, (unsigned char[4]){ 127, 0, 1, 11 }));
	assert_false(block_list_counts(&list, (unsigned char[4]){ 127, 0, 0, 12 }));
	assert_false(block_list_counts(&list, (unsigned char[4]){ 127, 0, 2, 2 }));
	assert_true(block_list_parse(SPAN("zone.example=127.0.0.2"), &list));
	assert_false(block_list_counts(&list, (unsigned char[4]){ 127, 0, 0, 3 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules), cmocka_unit_test(fits), cmocka_unit_test(block_lists),
	};

	return cmocka_run_group_tests_name("common_access", tests, NULL, NULL);
}
