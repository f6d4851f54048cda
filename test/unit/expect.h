/*
 * expect - for tests that compare text: double quotes are written as ' in what is expected, CRLF
 * as |.
 */
#ifndef VALIJA_TEST_EXPECT_H
#define VALIJA_TEST_EXPECT_H

#include "common/text.h"

#include <stdio.h>
#include <string.h>

#define MOST_EXPECTED ((size_t)64 * 1024 * 1024)
#define ROWS_OF(table) (sizeof(table) / sizeof((table)[0]))

/* Compares `got` with `expected`; tells `about` (what was put in) when they differ. */
static inline void
expect_text(const char *about, struct span got, const char *expected)
{
	struct text shown = TEXT_UP_TO(MOST_EXPECTED);

	for (size_t i = 0; i < got.len; i++) {
		if (got.at[i] == '\r' && i + 1 < got.len && got.at[i + 1] == '\n') {
			text_add_byte(&shown, '|');
			i++;
		} else {
			text_add_byte(&shown, got.at[i] == '"' ? '\'' : got.at[i]);
		}
	}
	if (strcmp(text_str(&shown), expected) != 0)
		fprintf(stderr, "of:       %s\n", about);
	assert_string_equal(text_str(&shown), expected);
	text_clear(&shown);
}

/* A message written with | for CRLF. */
static inline struct text
text_of(const char *written)
{
	struct text t = TEXT_UP_TO(MOST_EXPECTED);

	for (; *written != '\0'; written++) {
		if (*written == '|')
			text_add_str(&t, "\r\n");
		else
			text_add_byte(&t, (unsigned char)*written);
	}
	return t;
}

#endif
