/*
 * table - keys and values in a file. Berkeley DB stands behind it; nobody else includes <db.h>.
 *
 * A table is either built aside and renamed into place (table_build), so that readers see the old
 * or the new one whole; or it is private to one process that reads and writes it (table_private).
 * What is read back is untrusted: keys and values have ceilings, and callers decode values by
 * length. No environment is used, and DB_CONFIG files are not read (CVE-2017-10140).
 */
#ifndef VALIJA_TABLE_H
#define VALIJA_TABLE_H

#include "text.h"

#define TABLE_MOST_KEY 1024
#define TABLE_MOST_VALUE (64 * 1024)

struct table;

/* What a reader needs of a room beside the common set and a ROOM_READ rule (SCMP_SYS of <seccomp.h>). */
#define TABLE_READER_SYSCALLS SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(stat), SCMP_SYS(pread64)
/* And a private table, beside that. */
#define TABLE_PRIVATE_SYSCALLS SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(fsync), SCMP_SYS(fdatasync), \
	SCMP_SYS(fchmodat), SCMP_SYS(unlinkat), SCMP_SYS(unlink), SCMP_SYS(rename), SCMP_SYS(fallocate)

enum table_result { TABLE_FOUND = 1, TABLE_NONE = 0, TABLE_ERROR = -1 };

/* A reader of `name` in `directory` (a descriptor, borrowed for the table's life). The file may not
 * exist yet: then everything is TABLE_NONE. A replaced file is noticed at the next call. */
struct table *table_reader(int directory, const char *name);
/* A table that this process alone reads and writes; made if missing, remade if damaged (logged). NULL with errno. */
struct table *table_private(int directory, const char *name, unsigned int mode);
void table_free(struct table **t);

/* value is reset, then filled. */
enum table_result table_get(struct table *t, struct span key, struct text *value);
/* Only for private tables. 0 or -1. */
int table_put(struct table *t, struct span key, struct span value);
int table_remove(struct table *t, struct span key);
int table_sync(struct table *t);
/* In key order; the callback returns false to stop. 0 or -1. */
int table_each(struct table *t, bool (*row)(void *me, struct span key, struct span value), void *me);

/* Building aside: begin copies nothing; commit makes the file durable, gives it `mode` and owner
 * uid:gid (-1: unchanged), renames it over `name`, and syncs the directory. One builder at a time:
 * a lock file beside it. */
struct table_build;
struct table_build *table_build_begin(int directory, const char *name);
int table_build_put(struct table_build *b, struct span key, struct span value);
int table_build_commit(struct table_build **b, unsigned int mode, long uid, long gid);
void table_build_abort(struct table_build **b);

#endif
