/*
 * The manual tells of every option what its row says: name, help, default and bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/settings.h"
#include "common/text.h"

#define PAGE	  "man/valija.conf.5"
#define MOST_PAGE 200000

static struct text page = { NULL, 0, 0, MOST_PAGE, false };

/* The page with newlines as blanks: where a sentence is broken does not matter. */
static int
read_page(void **state)
{
	FILE *file = fopen(PAGE, "r");
	int c;

	(void)state;
	if (!file)
		return -1;
	while ((c = fgetc(file)) != EOF)
		text_add_byte(&page, c == '\n' ? ' ' : (unsigned char)c);
	fclose(file);
	return page.failed ? -1 : 0;
}

static void
expect(const char *name, const char *sentence)
{
	if (!strstr(text_str(&page), sentence))
		fail_msg("%s does not say of %s: %s", PAGE, name, sentence);
}

static void
expect_option(const char *kind, const char *name, const char *help, const char *initial,
	unsigned long long number, unsigned long long least, unsigned long long most)
{
	char sentence[200];

	snprintf(sentence, sizeof sentence, ".It Ic %s Pq %s ", name,
		strcmp(kind, "flag") ? kind : "yes or no");
	expect(name, sentence);
	expect(name, help);
	if (strcmp(kind, "number") == 0) {
		snprintf(sentence, sizeof sentence, "From %llu to %llu; default %llu. ", least,
			most, number);
		expect(name, sentence);
	} else if (initial && initial[0]) {
		snprintf(sentence, sizeof sentence, "Default: %s. ", initial);
		expect(name, sentence);
	}
}

static void
test_every_option(void **state)
{
	(void)state;
#define INITIAL_text(i)	  i, 0
#define INITIAL_list(i)	  i, 0
#define INITIAL_number(i) NULL, i
#define INITIAL_flag(i)	  NULL, i
#define O(kind, name, initial, least, most, help)                                                  \
	expect_option(#kind, #name, help, INITIAL_##kind(initial), least, most);
	SETTINGS(O)
#undef O
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_option) };

	return cmocka_run_group_tests(tests, read_page, NULL);
}
