/* command_words - see command_words.h. */
#include "command_words.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool
command_words(char *text, char **word)
{
	size_t count = 0;
	char *to = text;

	for (;;) {
		bool quoted = false;

		while (is_blank(*text))
			text++;
		if (*text == '\0')
			break;
		if (count == MOST_COMMAND_WORDS)
			return false;
		word[count++] = to;
		/* What is written lies never behind what is read: a word is followed by a blank or the end. */
		for (; *text != '\0' && (quoted || !is_blank(*text)); text++)
			if (*text == '"')
				quoted = !quoted;
			else
				*to++ = *text;
		if (quoted)
			return false;
		if (*text != '\0')
			text++;
		*to++ = '\0';
	}
	word[count] = NULL;
	return count > 0;
}
