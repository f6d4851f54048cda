/*
 * name-table - from the base name of a file to its message.
 *
 * Needed only when a directory is read or a file appears; built then, and kept. It follows the
 * index by itself: new messages are added at the next look, those that went are not found any more.
 */
#ifndef VALIJA_IMAPD_NAME_TABLE_H
#define VALIJA_IMAPD_NAME_TABLE_H

#include "imapd/index.h"

struct name_entry {
	uint32_t hash;
	uint32_t uid;        /* 0: free */
};

struct name_table {
	struct name_entry *entries;
	size_t size;         /* a power of two, or 0 */
	size_t used;
	uint32_t next_uid;   /* messages from this UID on are not in it yet */
};

/* The position in `ix` of the message whose file has this base name, or NO_RECORD. */
size_t name_table_find(struct name_table *t, const struct index *ix, struct span base);
void name_table_clear(struct name_table *t);

#endif
