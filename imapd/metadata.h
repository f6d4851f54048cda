/*
 * metadata - annotations of a mailbox, or of the server as one user sees it (RFC 5464): entries with
 * values, in one small file.
 *
 * Of a mailbox: the file valija-metadata in its folder, so that it goes along when the folder is
 * renamed or deleted. Of the server: Maildir/valija/metadata. A change writes the file anew, whole
 * and durable. valija-index(5) tells its form. A file that is damaged counts as empty.
 *
 * The special use of a mailbox (RFC 6154) is its entry /private/specialuse.
 */
#ifndef VALIJA_IMAPD_METADATA_H
#define VALIJA_IMAPD_METADATA_H

#include "imapd/folder.h"

#define METADATA_FILE "valija-metadata"
#define METADATA_SERVER_FILE "metadata"          /* in Maildir/valija */
#define METADATA_SPECIAL_USE "/private/specialuse"
#define MOST_METADATA_ENTRIES 200                /* of one mailbox, or of the server */
#define MOST_METADATA_NAME 255
#define MOST_METADATA_VALUE 60000
#define MOST_METADATA_FILE (512 * 1024)

struct metadata_entry {
	struct span name, value;         /* into metadata.content, or what the caller gave */
};

struct metadata {
	struct text content;
	struct metadata_entry at[MOST_METADATA_ENTRIES];
	size_t count;
};

/* Of which mailbox: a folder ("" is INBOX), or NULL for the server. 0, also when there is none; -1
 * with errno: ENOENT when there is no such folder. Release with metadata_clear. */
int metadata_read(const struct store *store, const char *folder, struct metadata *m);
/* Durable. -1 with errno; EFBIG: over MOST_METADATA_FILE. */
int metadata_write(struct store *store, const char *folder, const struct metadata *m);
void metadata_clear(struct metadata *m);
/* The entry called `name` (in any case), or NULL. */
const struct metadata_entry *metadata_find(const struct metadata *m, struct span name);
/* Sets an entry, or removes it (value.at NULL); spans are borrowed until metadata_write. False:
 * there are MOST_METADATA_ENTRIES. */
bool metadata_set(struct metadata *m, struct span name, struct span value);

#endif
