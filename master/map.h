/*
 * map - compiles the text files of tables(5) and aliases(5), each into a table beside users.db.
 *
 * A table is built aside and renamed: daemons see the old or the new one, whole, and at once. A file
 * with a mistake changes nothing.
 */
#ifndef VALIJA_MAP_H
#define VALIJA_MAP_H

#include "common/settings.h"
#include "common/tables.h"
#include "common/text.h"
#include "master/paths.h"

#define MOST_MAP_SOURCE (64 * 1024 * 1024) /* bytes of a source file */
#define MOST_MAP_COMPLAINTS 16384
#define MOST_MAP_VALUE (1024 * 1024)

enum map_result { MAP_WRITTEN, MAP_ABSENT, MAP_REMOVED, MAP_FAILED };

const char *map_name(enum table_kind kind);
const char *map_help(enum table_kind kind);
/* By its name; false when there is none. */
bool map_kind(const char *name, enum table_kind *kind);
/* Compiles one. *complaints gets lines "file:line: reason"; warnings begin with "warning: ". *count:
 * how many keys it has. Without a source, a table that was compiled before is removed. */
enum map_result map_compile(const struct paths *p, const struct settings *s, enum table_kind kind,
	struct text *complaints, unsigned int *count);

/* Looks a key up, as it would stand in the source, and puts its value as text into *value. 1, 0 when it
 * is not there, -1 (errno) when the table cannot be read. */
int map_get(const struct paths *p, enum table_kind kind, struct span key, struct text *value);
/* Calls `row` with each key and its value, as text. 0 or -1. */
int map_each(const struct paths *p, enum table_kind kind,
	void (*row)(void *me, struct span key, struct span value), void *me);
/* The absolute name of a source: the first that `aliases` lists, or NAME beside valija.conf. On the
 * heap. */
char *map_source(const struct paths *p, const struct settings *s, enum table_kind kind, size_t i);

#endif
