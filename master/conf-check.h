/*
 * conf-check - the draft of a configuration while it is being read, and what must hold of it as
 * a whole.
 */
#ifndef VALIJA_CONF_CHECK_H
#define VALIJA_CONF_CHECK_H

#include "common/settings.h"
#include "common/text.h"
#include "master/paths.h"

#define MOST_COMPLAINTS 100

/* Settings whose texts live in `kept`, with the line of each, and the complaints so far. */
struct conf_draft {
	const char *file;
	struct settings s;
	char **kept;
	size_t kept_count;
	struct conf_line {
		size_t at;	   /* offset in struct settings */
		unsigned int line; /* of its first value */
	} * lines;
	size_t line_count;
	struct conf_complaint {
		unsigned int line; /* 0: about the file as a whole */
		char *reason;
	} complaints[MOST_COMPLAINTS];
	size_t complaint_count;
};

/* A copy that lives as long as the draft. */
struct span conf_keep(struct conf_draft *d, struct span s);
/* The same, cut to 80 bytes, with anything but printable ASCII as '?': fit for a complaint. */
struct span conf_printable(struct conf_draft *d, struct span s);

/* Notes where an option was set; returns the line where it was set before, or 0. conf_line: the
 * line where the option at this offset was set, or 0. */
unsigned int conf_set(struct conf_draft *d, size_t at, unsigned int line);
unsigned int conf_line(const struct conf_draft *d, size_t at);

void conf_complain(struct conf_draft *d, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* All complaints by line, as "file:line: reason\n". */
void conf_draft_tell(struct conf_draft *d, struct text *to);
/* Forgets values and complaints. */
void conf_draft_reset(struct conf_draft *d);
/* Gives all memory back. */
void conf_draft_clear(struct conf_draft *d);

/* Fills in what the file leaves out (hostname, log, certificate, key), and complains of
 * everything that is in its range but makes no sense. With `files`, also tries to read the files
 * named. */
void conf_check(struct conf_draft *d, const struct paths *p, bool files);

#endif
