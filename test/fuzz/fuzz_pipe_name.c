/*
 * Names of commands and files of aliases, as they stand in envelopes (pipe_name.h), and the words of a command line. The
 * first byte chooses.
 */
#include "delivery/command_words.h"
#include "delivery/pipe_name.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is a name is so in one way only. */
static void
name(struct span in)
{
	struct text again = TEXT_UP_TO(MOST_PIPE_NAME);
	struct span alias = SPAN_NONE;
	uint32_t member = 0;

	if (!pipe_name_take(in, &alias, &member)) {
		text_clear(&again);
		return;
	}
	text_printf(&again, "|%08x", (unsigned int)member);
	text_add(&again, alias);
	if (!pipe_name_is(in) || alias.len == 0 || alias.len > MOST_ALIAS_KEY || alias.at + alias.len != in.at + in.len ||
		again.failed || !span_equal(text_span(&again), in))
		abort();
	text_clear(&again);
}

/* Words lie in the text, in order, none over another; together they are no longer than it. */
static void
words(struct span in)
{
	char *text = malloc(in.len + 1), *word[MOST_COMMAND_WORDS + 1], *end = text;
	size_t count = 0;

	memcpy(text, in.at, in.len);
	text[in.len] = '\0';
	if (command_words(text, word)) {
		for (; word[count] != NULL; count++) {
			if (word[count] < end || word[count] > text + in.len || strchr(word[count], '"') != NULL)
				abort();
			end = word[count] + strlen(word[count]) + 1;
		}
		if (count == 0 || count > MOST_COMMAND_WORDS || end > text + in.len + 1)
			abort();
	}
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] & 1)
		name(span_of(data + 1, size - 1));
	else
		words(span_of(data + 1, size - 1));
	return 0;
}
