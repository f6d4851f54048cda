/* usage - how much the user has (mailbox.h; common/quota.h). What a round of events adds and takes away is written
 * once, at its end. Without limits nobody counts. */
#include "imapd/mailbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int
store_usage(struct store *store, struct quota_usage *u)
{
	store_usage_write(store);
	return quota_usage(store->maildir, &store->quota, u);
}

/* `used` and `more` within `most`; 0: no limit. Who has too much already may replace it by no more (RFC 8508 3.4). */
static bool
fits(uint64_t used, uint64_t more, uint64_t most)
{
	return most == 0 || more == 0 || (used <= most && more <= most - used);
}

int
store_has_room(struct store *store, uint64_t bytes, uint64_t messages)
{
	struct quota_usage u;

	if (!quota_is_set(&store->quota))
		return 0;
	if (store_usage(store, &u) < 0)
		return -1;
	errno = EDQUOT;
	return fits(u.bytes, bytes, store->quota.bytes) &&
		fits(u.messages, messages, store->quota.messages) ? 0 : -1;
}

void
store_used(struct store *store, int64_t bytes, int64_t messages)
{
	if (!quota_is_set(&store->quota))
		return;
	store->more_bytes += bytes;
	store->more_messages += messages;
}

uint64_t
mailbox_file_size(const struct mailbox *m, const struct index_record *r)
{
	char name[MAILDIR_MOST_NAME + 1];
	struct stat st;

	if (r->size != UNKNOWN_SIZE)
		return r->size;
	if (mailbox_file_name(m, r, name) && fstatat(m->cur, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(st.st_mode))
		return (uint64_t)st.st_size;
	return 0;
}

void
store_usage_write(struct store *store)
{
	if (store->more_bytes == 0 && store->more_messages == 0)
		return;
	quota_add_replacing(store->maildir, &store->quota, store->more_bytes, store->more_messages);
	store->more_bytes = store->more_messages = 0;
}

void
store_usage_forget(struct store *store)
{
	store->more_bytes = store->more_messages = 0;
	if (quota_is_set(&store->quota))
		quota_forget(store->maildir);
}
