/* command_words - the words of a command in aliases(5): blanks separate them, double quotes hold one together. */
#ifndef VALIJA_COMMAND_WORDS_H
#define VALIJA_COMMAND_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define MOST_COMMAND_WORDS 64

/* Cuts `text` into words where it lies; word[] has room for MOST_COMMAND_WORDS and a NULL. Nothing else has a meaning.
 * False: no word, too many, or a quote that does not end. */
bool command_words(char *text, char **word);

#endif
