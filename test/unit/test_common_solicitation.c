/* Keywords of solicitation classes (RFC 3865 2.2): what is one, what a field says, what is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "common/solicitation.h"

static void
one(void **state)
{
	static const char *const good[] = { "a", "Z", "net.example:ADV", "a1._-:", "org.example:ADV:ADLT" };
	static const char *const bad[] = { "", "1", ".a", ":a", "a,b", "a b", " a", "a ", "a=b", "a+0A", "\xc3\xbc", "a\r" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(solicitation_is_class(span_str(good[i])) && solicitation_fits(span_str(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(solicitation_is_class(span_str(bad[i])));
}

static void
list(void **state)
{
	char many[SOLICITATION_MOST + 2];

	(void)state;
	assert_true(solicitation_fits(SPAN("a,b,c")));
	assert_false(solicitation_fits(SPAN("")));
	assert_false(solicitation_fits(SPAN(",a")));
	assert_false(solicitation_fits(SPAN("a,")));
	assert_false(solicitation_fits(SPAN("a,,b")));
	assert_false(solicitation_fits(SPAN("a, b")));
	memset(many, 'x', sizeof(many));
	assert_true(solicitation_fits(span_of(many, SOLICITATION_MOST)));
	assert_false(solicitation_fits(span_of(many, SOLICITATION_MOST + 1)));
}

static void
field(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ " net.example:ADV", "net.example:ADV" }, { " a,\r\n\tb\r", "a,b" }, { "a ,b , c ", "a,b,c" },
		{ " a b", NULL }, { " a,", NULL }, { ",a", NULL }, { "", NULL }, { " ", NULL }, { " a;b", NULL },
		{ " a\r\nRCPT TO:<x@y.example>", NULL },
	};
	struct text t = TEXT_UP_TO(SOLICITATION_MOST), many = TEXT_UP_TO(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		text_reset(&t);
		assert_int_equal(solicitation_from_field(span_str(rows[i].in), &t), rows[i].out != NULL);
		if (rows[i].out)
			assert_string_equal(text_str(&t), rows[i].out);
		if (rows[i].out)
			assert_true(solicitation_fits(text_span(&t)));
	}
	text_clear(&t);
	t = (struct text)TEXT_UP_TO(4096);
	for (int i = 0; i < 501; i++)
		text_add_str(&many, i ? ",x" : "x");
	assert_false(solicitation_from_field(text_span(&many), &t));
	text_clear(&t);
	text_clear(&many);
}

static void
found(void **state)
{
	struct span at[] = { SPAN("net.example:ADV"), SPAN("org.example:ADV:ADLT") };
	struct list classes = { .at = at, .count = 2 };

	(void)state;
	assert_int_equal(solicitation_find(SPAN(""), &classes).len, 0);
	assert_int_equal(solicitation_find(SPAN("net.example,ADV net.example:ADV1 org.example:ADV"), &classes).len, 0);
	assert_ptr_equal(solicitation_find(SPAN(", x\t;Net.Example:adv"), &classes).at, at[0].at);
	assert_ptr_equal(solicitation_find(SPAN("a,org.example:ADV:ADLT,net.example:ADV"), &classes).at, at[1].at);
	assert_int_equal(solicitation_find(SPAN("net.example:ADV"), &(struct list){ .count = 0 }).len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(one), cmocka_unit_test(list), cmocka_unit_test(field),
		cmocka_unit_test(found) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
