/* The words of a command, and the name by which queue's records know it. */
#include "delivery/command_words.h"
#include "delivery/pipe_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
expect(const char *text, bool good, const char *joined)
{
	char copy[512], all[512] = "", *word[MOST_COMMAND_WORDS + 1];

	assert_true(strlen(text) < sizeof copy);
	strcpy(copy, text);
	assert_int_equal(command_words(copy, word), good);
	for (size_t i = 0; good && word[i] != NULL; i++) {
		strcat(all, "<");
		strcat(all, word[i]);
		strcat(all, ">");
	}
	if (good)
		assert_string_equal(all, joined);
}

static void
test_words(void **state)
{
	char many[2 * MOST_COMMAND_WORDS + 3] = "";

	(void)state;
	expect("/bin/x", true, "</bin/x>");
	expect("  /bin/x\t a  b ", true, "</bin/x><a><b>");
	expect("/x \"a  b\" c\"d e\"f \"\"", true, "</x><a  b><cd ef><>");
	expect("/x $HOME `id` ; | & > y 'a b' \\\"q\"", true, "</x><$HOME><`id`><;><|><&><>><y><'a><b'><\\q>");
	expect("", false, "");
	expect(" \t", false, "");
	expect("/x \"a", false, "");
	for (size_t i = 0; i < MOST_COMMAND_WORDS; i++)
		strcat(many, "a ");
	{
		char *word[MOST_COMMAND_WORDS + 1];
		char copy[sizeof many];

		strcpy(copy, many);
		assert_true(command_words(copy, word));
		assert_null(word[MOST_COMMAND_WORDS]);
		strcat(many, "a");
		assert_false(command_words(many, word));
	}
}

static void
test_names(void **state)
{
	struct text name = TEXT_UP_TO(MOST_PIPE_NAME);
	struct span alias;
	uint32_t member;

	(void)state;
	pipe_name_make(SPAN("list@example.org"), SPAN("/bin/x y"), &name);
	assert_false(name.failed);
	assert_true(pipe_name_is(text_span(&name)));
	assert_true(pipe_name_take(text_span(&name), &alias, &member));
	assert_true(span_equal(alias, SPAN("list@example.org")));
	text_clear(&name);
	assert_false(pipe_name_take(SPAN("example.org/ana"), &alias, &member));
	assert_false(pipe_name_take(SPAN("|0123456"), &alias, &member));
	assert_false(pipe_name_take(SPAN("|01234567"), &alias, &member));
	assert_false(pipe_name_take(SPAN("|0123456Xa"), &alias, &member));
	assert_true(pipe_name_take(SPAN("|00c0ffeea"), &alias, &member));
	assert_int_equal(member, 0x00c0ffee);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
