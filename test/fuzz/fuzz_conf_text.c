/*
 * The text of a configuration: blanking comments moves no byte and no line, and what is looked for in the rest is found
 * within it, once each, in a line that there is.
 */
#include <stdlib.h>

#include "master/conf-text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned int
lines_of(struct span s)
{
	unsigned int lines = 1;

	for (size_t i = 0; i < s.len; i++)
		lines += s.at[i] == '\n';
	return lines;
}

static void
find_empty_lists(struct span s)
{
	unsigned int line = 1, last = 1, most = lines_of(s);
	struct span rest = s, name;
	size_t before = rest.len;

	while (conf_text_take_empty_list(&rest, &name, &line)) {
		if (line < last || line > most || rest.len >= before || name.len == 0)
			abort();
		if (name.at < s.at || name.at + name.len > s.at + s.len || rest.at + rest.len != s.at + s.len)
			abort();
		last = line;
		before = rest.len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct text text = TEXT_UP_TO(MOST_CONF_FILE);
	unsigned int most = lines_of(in);

	/* No NUL gets this far from a file. */
	if (size > MOST_CONF_FILE || span_has(in, 0))
		return 0;
	(void)conf_text_open_brace(in);
	find_empty_lists(in);
	text_add(&text, in);
	if (conf_text_blank(&text) > most || text.len != size || lines_of(text_span(&text)) != most)
		abort();
	if (conf_text_open_brace(text_span(&text)) > most)
		abort();
	find_empty_lists(text_span(&text));
	text_clear(&text);
	return 0;
}
