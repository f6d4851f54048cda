/* map-inside - what the files of the compiler of tables share: one compilation. */
#ifndef VALIJA_MAP_INSIDE_H
#define VALIJA_MAP_INSIDE_H

#include <sys/stat.h>

#include "common/alias.h"
#include "common/users.h"
#include "master/map.h"

struct map_work {
	enum table_kind kind;
	struct table_build *build;
	struct text *complaints;
	const struct settings *settings; /* or NULL */
	struct table *users;         /* aliases: who has a mailbox; or NULL */
	void *keys;                  /* tree of those that are there, with their lines */
	unsigned int count;
	bool failed;
};

/* A source file, whole. */
struct map_file {
	char *path;
	struct text text;
	struct stat st;
};

/* A logical line: continuation lines are joined with blanks, comments left out. */
struct map_line {
	struct span text;            /* valid until the next is taken */
	unsigned int number;
};

void map_complain(struct map_work *w, const char *path, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* False after complaining; errno is ENOENT, and nothing is said, when it is not there and `optional`. */
bool map_file_read(struct map_work *w, const char *path, bool optional, struct map_file *f);
void map_file_clear(struct map_file *f);
/* Takes the next logical line from *rest; *at counts physical lines; `joined` keeps the text. */
bool map_line_take(struct span *rest, unsigned int *at, struct text *joined, struct map_line *line);
/* The blank and comment lines that `part` begins with. */
struct span map_comments(struct span part);
/* True for a key that was not there yet; otherwise warns. */
bool map_key_is_new(struct map_work *w, struct span key, const char *path, unsigned int line);

/* One source file of aliases; one line of another table. */
void map_aliases(struct map_work *w, const struct map_file *f);
void map_plain(struct map_work *w, const struct map_file *f);

#endif
