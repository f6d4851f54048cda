/*
 * conf-text - the text of a configuration file, with its comments blanked.
 *
 * libConfuse (3.3, for one) counts the line of a comment three times over, and we promise line
 * numbers: so it gets the text without comments, each byte of them a blank, every newline in its
 * place.
 */
#ifndef VALIJA_CONF_TEXT_H
#define VALIJA_CONF_TEXT_H

#include "common/text.h"

#define MOST_CONF_FILE (1024 * 1024) /* bytes */

/* Reads `path` into *text (which is empty, with a ceiling of MOST_CONF_FILE). False with a
 * reason in *why: not readable, not a regular file, too large, or with NUL bytes. */
bool conf_text_read(const char *path, struct text *text, struct text *why);
/* Blanks the comments in place: # and // to the end of the line, and those of C; not in quotes.
 * Returns the line in which a quotation mark opens that is never closed, or 0. */
unsigned int conf_text_blank(struct text *text);
/* Returns the line in which, after an equal sign, a brace opens that is not closed before the next equal sign of
 * another line, or before the end; or 0. `text` is one that conf_text_blank has been through. */
unsigned int conf_text_open_brace(struct span text);
/* Takes text from the front up to the next "name = {}", of which libConfuse tells nothing. *line counts on from
 * what it was: 1 at first. False: there is none in the rest. */
bool conf_text_take_empty_list(struct span *text, struct span *name, unsigned int *line);

#endif
