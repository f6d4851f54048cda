/* mailbox - see mailbox.h. Opening, closing, watching, making durable; reading the directories is
 * mailbox-sync.c. */
#include "imapd/mailbox.h"

#include "common/beneath.h"
#include "common/log.h"
#include "imapd/cache.h"
#include "imapd/flags.h"
#include "imapd/index-record.h"
#include "imapd/placing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WATCH_DIRECTORY (IN_ONLYDIR | IN_DONT_FOLLOW)
#define WATCH_CUR (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | WATCH_DIRECTORY)
#define WATCH_NEW (IN_CREATE | IN_MOVED_TO | WATCH_DIRECTORY)

#define MOST_TIDIED 100000u     /* messages of a folder whose snapshot is written between sessions' turns */

/* --- the store --- */

int
store_init(struct store *store, int maildir, const char *host)
{
	const struct quota quota = store->quota;

	*store = (struct store){ .maildir = maildir, .tmp = -1, .private = -1, .inotify = -1,
		.quota = quota };
	if (!span_copy(span_str(host), store->host, sizeof(store->host)) || host[0] == '\0')
		(void)span_copy(SPAN("localhost"), store->host, sizeof(store->host));
	if (mkdirat(maildir, MAILDIR_PRIVATE, 0700) < 0 && errno != EEXIST)
		return -1;
	store->tmp = open_in(maildir, "tmp", O_RDONLY | O_DIRECTORY, 0);
	store->private = open_in(maildir, MAILDIR_PRIVATE, O_RDONLY | O_DIRECTORY, 0);
	if (store->tmp < 0 || store->private < 0) {
		int saved = errno;

		store_clear(store);
		errno = saved;
		return -1;
	}
	store->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (store->inotify < 0)
		log_warning(0, "no-inotify", KEY_ERRNO);
	return 0;
}

static void
journal_close(struct store *store)
{
	if (store->ordered && store->journal.fast_commits >= 0)
		close(store->journal.fast_commits);
	store->ordered = false;
}

void
store_recognise(struct store *store, bool rely)
{
	struct statfs fs;

	store->ordered = journal_orders(store->tmp, &store->journal);
	store->needs_name = !store->ordered && fstatfs(store->tmp, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
	if (!rely)
		journal_close(store);
}

int
store_name_aside(const struct store *store, int fd, uint64_t size, struct maildir_name *tmp)
{
	struct maildir_name name;

	if (tmp->str[0] != '\0')
		return 0;
	name = maildir_name_new(store->host, size, size);
	if (maildir_link_into(fd, store->maildir, tmp, store->tmp, name.str) < 0)
		return -1;
	*tmp = name;
	return 0;
}

static void mailbox_free(struct mailbox *m);

void
store_clear(struct store *store)
{
	while (store->mailboxes != NULL)
		mailbox_free(store->mailboxes);
	if (store->tmp >= 0)
		close(store->tmp);
	if (store->private >= 0)
		close(store->private);
	if (store->inotify >= 0)
		close(store->inotify);
	store->tmp = store->private = store->inotify = -1;
	journal_close(store);
}

struct mailbox *
store_find(const struct store *store, const char *folder)
{
	for (struct mailbox *m = store->mailboxes; m != NULL; m = m->next) {
		if (!m->gone && strcmp(m->folder, folder) == 0)
			return m;
	}
	return NULL;
}

int
store_durable(struct store *store)
{
	int result = 0;

	for (struct mailbox *m = store->mailboxes; m != NULL; m = m->next) {
		if (mailbox_durable(m) < 0)
			result = -1;
	}
	store_usage_write(store);
	return result;
}

void
store_close_quiet(struct store *store, unsigned int keep)
{
	for (;;) {
		struct mailbox *oldest = NULL;
		unsigned int quiet = 0;

		for (struct mailbox *m = store->mailboxes; m != NULL; m = m->next) {
			if (m->users > 0)
				continue;
			quiet++;
			if (oldest == NULL || m->gone || (!oldest->gone && m->used < oldest->used))
				oldest = m;
		}
		if (oldest == NULL || (quiet <= keep && !oldest->gone))
			return;
		mailbox_free(oldest);
	}
}

/* --- watching --- */

static bool
is_in_cur(const struct mailbox *m, const char *name)
{
	struct stat st;

	return fstatat(m->cur, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Does this event say anything that we do not know? Our own links, renames and removals come back
 * as events too. */
static bool
is_news_in_cur(struct mailbox *m, uint32_t mask, const char *name)
{
	struct mail_name parts;
	const struct index_record *r;
	size_t at;
	bool as_known;

	if (name[0] == '.')
		return false;
	mail_name_split(span_str(name), &parts);
	at = name_table_find(&m->names, &m->index, parts.base);
	r = at == NO_RECORD ? NULL : &m->index.records[at];
	as_known = r != NULL && r->letters == parts.letters && r->lower == parts.lower;
	if (mask & (IN_CREATE | IN_MOVED_TO))
		return !as_known && is_in_cur(m, name);
	return as_known && !is_in_cur(m, name);
}

static void
on_watched(struct store *store, const struct inotify_event *e)
{
	for (struct mailbox *m = store->mailboxes; m != NULL; m = m->next) {
		if (e->mask & IN_Q_OVERFLOW) {
			m->check_cur = m->check_new = true;
		} else if (e->wd == m->watch_new || e->wd == m->watch_cur) {
			bool in_cur = e->wd == m->watch_cur;

			if (e->mask & IN_IGNORED) {      /* the directory is no more */
				m->watch_cur = in_cur ? -1 : m->watch_cur;
				m->watch_new = in_cur ? m->watch_new : -1;
				m->check_cur = m->check_new = true;
			} else if (!in_cur) {
				m->check_new = true;
			} else if (!m->check_cur && e->len > 0) {
				m->check_cur = is_news_in_cur(m, e->mask, e->name);
			}
		}
	}
}

void
store_drain(struct store *store)
{
	/* not on the stack, which would keep its pages: of this one only those are there that were filled */
	static _Alignas(struct inotify_event) char buffer[16 * 1024];
	ssize_t got;

	if (store->inotify < 0)
		return;
	while ((got = read(store->inotify, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < got;) {
			const struct inotify_event *e =
				(const struct inotify_event *)(const void *)(buffer + at);

			on_watched(store, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
}

/* By the working directory, as inotify wants a path: a folder has no other name that we may
 * trust. */
static void
watch(struct mailbox *m)
{
	m->watch_cur = m->watch_new = -1;
	if (m->store->inotify < 0 || fchdir(m->directory) < 0)
		return;
	m->watch_cur = inotify_add_watch(m->store->inotify, "cur", WATCH_CUR);
	m->watch_new = inotify_add_watch(m->store->inotify, "new", WATCH_NEW);
	if (m->watch_cur >= 0 && m->watch_new >= 0)
		return;
	log_notice(0, "not-watched", KEY_STR("folder", m->folder), KEY_ERRNO);
	if (m->watch_cur >= 0)
		(void)inotify_rm_watch(m->store->inotify, m->watch_cur);
	if (m->watch_new >= 0)
		(void)inotify_rm_watch(m->store->inotify, m->watch_new);
	m->watch_cur = m->watch_new = -1;
}

/* --- opening and closing --- */

/* A folder that was copied with all its files has the index id of the one that it was copied from:
 * the one whose inode the index remembers keeps it. A restored Maildir has other inodes everywhere,
 * and keeps its ids. */
static int
settle_identity(struct mailbox *m)
{
	unsigned char id[MAILBOX_ID_BYTES];
	struct change c;
	struct stat st;
	int result;

	if (fstat(m->directory, &st) < 0)
		return -1;
	if (m->index.inode == (uint64_t)st.st_ino)
		return 0;
	memcpy(id, m->index.id, sizeof(id));
	if (m->index.inode != 0 && mailbox_id_elsewhere(m->store, m->folder, id)) {
		log_notice(0, "folder-was-copied", KEY_STR("folder", m->folder));
		index_close(&m->index);
		if (mailbox_id_renew(m->store, m->directory, id) < 0 ||
			index_open(&m->index, m->store->private, id, store_new_uidvalidity,
			m->store) < 0)
			return -1;
	}
	change_init(&c);
	change_inode(&c, (uint64_t)st.st_ino);
	result = index_commit(&m->index, &c);
	change_clear(&c);
	return result;
}

/* The UIDVALIDITY of a journal that has to be made. A folder that never had an id of ours takes
 * over what another server knew; so does one whose first opening was cut short. Not one whose journal
 * was lost: the other server's lists know nothing of the UIDs that we have given since. */
static uint32_t
uidvalidity_at_birth(void *me)
{
	struct mailbox *m = me;
	struct stat st;

	if (m->id_made || fstatat(m->index.directory, JOURNAL_NEW, &st, AT_SYMLINK_NOFOLLOW) == 0)
		m->takeover = takeover_new(m->directory, m->folder);
	if (m->takeover == NULL || m->takeover->uidvalidity == 0)
		return store_new_uidvalidity(m->store);
	store_note_uidvalidity(m->store, m->takeover->uidvalidity);
	return m->takeover->uidvalidity;
}

static int
open_parts(struct mailbox *m)
{
	unsigned char id[MAILBOX_ID_BYTES];
	int made;

	m->directory = open_in(m->store->maildir, m->folder[0] == '\0' ? "." : m->folder,
		O_RDONLY | O_DIRECTORY, 0);
	if (m->directory < 0)
		return -1;
	m->cur = open_in(m->directory, "cur", O_RDONLY | O_DIRECTORY, 0);
	m->new = open_in(m->directory, "new", O_RDONLY | O_DIRECTORY, 0);
	if (m->cur < 0 || m->new < 0)
		return -1;
	made = mailbox_id(m->store, m->directory, id);
	if (made < 0)
		return -1;
	m->id_made = made == 1;
	watch(m);       /* before anything is looked at: what happens from now on is heard of */
	if (index_open_held(&m->index, m->store->private, id, uidvalidity_at_birth, m) < 0)
		return -1;
	if (settle_identity(m) < 0)
		return -1;
	placing_undo(m);
	m->check_cur = m->check_new = m->opening = true;
	if (mailbox_refresh(m) < 0)
		return -1;
	takeover_free(&m->takeover);
	/* All UIDs that were taken over, or none. */
	return m->index.unnamed ? mailbox_durable(m) : 0;
}

static void
mailbox_unlink(struct mailbox *m)
{
	struct mailbox **at = &m->store->mailboxes;

	while (*at != NULL && *at != m)
		at = &(*at)->next;
	if (*at == m)
		*at = m->next;
}

static void
mailbox_free(struct mailbox *m)
{
	if (!m->gone && !m->broken && m->index.journal >= 0) {
		while (mailbox_follow_names(m, UINT_MAX))
			;
		if (mailbox_durable(m) == 0) {
			mailbox_settle(m);
			cache_close(m);
			if (index_compact(&m->index) < 0 || index_snapshot(&m->index) < 0)
				log_warning(0, "index-not-compacted", KEY_STR("folder", m->folder),
					KEY_ERRNO);
		}
	}
	if (m->watch_cur >= 0)
		(void)inotify_rm_watch(m->store->inotify, m->watch_cur);
	if (m->watch_new >= 0)
		(void)inotify_rm_watch(m->store->inotify, m->watch_new);
	cache_close(m);
	mailbox_unlink(m);
	index_close(&m->index);
	name_table_clear(&m->names);
	takeover_free(&m->takeover);
	if (m->cur >= 0)
		close(m->cur);
	if (m->new >= 0)
		close(m->new);
	if (m->directory >= 0)
		close(m->directory);
	free(m);
}

struct mailbox *
mailbox_open(struct store *store, const char *folder)
{
	struct mailbox *m = store_find(store, folder);
	int saved;

	if (m != NULL) {
		m->users++;
		m->used = ++store->clock;
		if (mailbox_refresh(m) == 0)
			return m;
		saved = errno;
		mailbox_release(&m);
		errno = saved;
		return NULL;
	}
	if (strlen(folder) > MOST_FOLDER_NAME) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	m = must_alloc(sizeof(*m));
	*m = (struct mailbox){ .store = store, .directory = -1, .cur = -1, .new = -1,
		.watch_cur = -1, .watch_new = -1 };
	m->index.directory = m->index.journal = -1;
	memcpy(m->folder, folder, strlen(folder) + 1);
	m->next = store->mailboxes;
	store->mailboxes = m;
	m->users = 1;
	m->used = ++store->clock;
	if (open_parts(m) == 0)
		return m;
	saved = errno;
	m->gone = true;      /* nothing of it is to be written at closing */
	mailbox_free(m);
	errno = saved;
	return NULL;
}

void
mailbox_tidy(struct mailbox *m)
{
	mailbox_settle(m);
	cache_flush(m);
	/* Of a very large one it takes too long while sessions wait: at its closing then. */
	if (m->index.count <= MOST_TIDIED && index_snapshot(&m->index) < 0)
		log_warning(0, "index-not-compacted", KEY_STR("folder", m->folder), KEY_ERRNO);
}

void
mailbox_release(struct mailbox **m)
{
	struct store *store;

	if (*m == NULL)
		return;
	store = (*m)->store;
	if (--(*m)->users == 0)
		store_close_quiet(store, MOST_QUIET_MAILBOXES);
	*m = NULL;
}

/* --- changes --- */

int
mailbox_commit(struct mailbox *m, struct change *c)
{
	uint64_t modseq = m->index.modseq;

	if (index_commit(&m->index, c) < 0) {
		log_error(0, "index-not-written", KEY_STR("folder", m->folder), KEY_ERRNO);
		return -1;
	}
	if (m->index.modseq != modseq)
		m->names_from = 0;
	return 0;
}

/* The names in cur/, and, where a journal keeps the order, the messages that have got one. If it turns out to be of another
 * kind than we took it for, that fsync has promised less: then all that there is, once, and each message by itself from then
 * on. */
static int
sync_names(struct mailbox *m)
{
	if (!m->cur_unsynced)
		return 0;
	if (fsync(m->cur) < 0)
		return -1;
	if (!m->store->ordered || journal_is_whole(&m->store->journal))
		return 0;
	log_info(0, "journal-not-relied-on", KEY_STR("reason", "its file system makes fast commits"));
	journal_close(m->store);
	return syncfs(m->cur);
}

int
mailbox_durable(struct mailbox *m)
{
	/* Names first: a record of a message that is gone must not outlive a crash that brings its
	 * file back. */
	if (sync_names(m) < 0 || index_sync(&m->index) < 0) {
		log_error(0, "not-durable", KEY_STR("folder", m->folder), KEY_ERRNO);
		m->broken = true;
		return -1;
	}
	m->cur_unsynced = false;
	return 0;
}

bool
mailbox_file_name(const struct mailbox *m, const struct index_record *r,
	char name[MAILDIR_MOST_NAME + 1])
{
	return mail_name_join(index_name(&m->index, r), r->letters, r->lower, name,
		MAILDIR_MOST_NAME + 1);
}

bool
mailbox_follow_names(struct mailbox *m, unsigned int most)
{
	char old[MAILDIR_MOST_NAME + 1], now[MAILDIR_MOST_NAME + 1];
	struct change c;
	bool some_left;
	size_t at;

	if (!m->index.names_pending || m->gone)
		return false;
	change_init(&c);
	c.lazy = true;
	for (at = index_from(&m->index, m->names_from); at < m->index.count && most > 0; at++) {
		const struct index_record *r = &m->index.records[at];
		uint8_t letters = index_wanted_letters(r);

		if (!index_name_pending(r))
			continue;
		most--;
		if (!mailbox_file_name(m, r, old) || !mail_name_join(index_name(&m->index, r),
			letters, r->lower, now, sizeof(now)))
			continue;
		if (renameat2(m->cur, old, m->cur, now, RENAME_NOREPLACE) == 0)
			change_letters(&c, r->uid, letters, r->lower);
		else if (errno == ENOENT)
			m->check_cur = true;    /* somebody else renamed or removed it */
		else if (errno != ENAMETOOLONG)
			log_warning(0, "not-renamed", KEY_STR("folder", m->folder),
				KEY_STR("name", old), KEY_ERRNO);
	}
	some_left = at < m->index.count;
	m->names_from = some_left ? m->index.records[at].uid : 0;
	if (index_commit(&m->index, &c) < 0)
		m->check_cur = true;
	change_clear(&c);
	m->index.names_pending = some_left;
	return some_left;
}

int
mailbox_open_file(struct mailbox *m, uint32_t uid)
{
	char name[MAILDIR_MOST_NAME + 1];

	for (int tries = 0; tries < 2; tries++) {
		size_t at = index_find(&m->index, uid);
		int fd;

		if (at == NO_RECORD || !mailbox_file_name(m, &m->index.records[at], name))
			break;
		fd = open_in(m->cur, name, O_RDONLY, 0);
		if (fd >= 0 || errno != ENOENT)
			return fd;
		m->check_cur = true;
		if (tries == 0 && mailbox_refresh(m) < 0)
			return -1;
	}
	errno = ENOENT;
	return -1;
}

/* 0: the file is gone (now, or before); -1. */
static int
remove_file(struct mailbox *m, uint32_t uid)
{
	char name[MAILDIR_MOST_NAME + 1];
	bool counts = quota_is_set(&m->store->quota);

	for (int tries = 0; tries < 2; tries++) {
		size_t at = index_find(&m->index, uid);
		uint64_t size;

		if (at == NO_RECORD)
			return 0;
		if (!mailbox_file_name(m, &m->index.records[at], name)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		size = counts ? mailbox_file_size(m, &m->index.records[at]) : 0;
		if (unlinkat(m->cur, name, 0) == 0) {
			store_used(m->store, -(int64_t)size, -1);
			return 0;
		}
		if (errno != ENOENT)
			return -1;
		m->check_cur = true;
		if (tries == 0 && mailbox_refresh(m) < 0)
			return -1;
	}
	return 0;
}

bool
mailbox_expunge_some(struct mailbox *m, const struct number_ranges *uids, uint32_t *from,
	unsigned int most, int *error)
{
	struct number_ranges removed = { NULL, 0, 0 };
	struct change c;
	size_t i = 0;

	for (; i < uids->count && most > 0; i++) {
		uint32_t first = uids->at[i].from > *from ? uids->at[i].from : *from;
		size_t at = index_from(&m->index, first);

		for (; at < m->index.count && m->index.records[at].uid <= uids->at[i].to &&
			most > 0; most--) {
			uint32_t uid = m->index.records[at].uid;

			if (remove_file(m, uid) == 0)
				number_ranges_add(&removed, uid);
			else
				*error = errno;
			*from = uid + 1;
			at = index_from(&m->index, uid + 1);
		}
	}
	change_init(&c);
	m->cur_unsynced = removed.count > 0 || m->cur_unsynced;
	if (removed.count > 0)
		change_expunge(&c, &removed);
	if (mailbox_commit(m, &c) < 0)
		*error = errno;
	change_clear(&c);
	number_ranges_clear(&removed);
	return most > 0;
}

int
mailbox_expunge(struct mailbox *m, const struct number_ranges *uids)
{
	uint32_t from = 0;
	int error = 0;

	(void)mailbox_expunge_some(m, uids, &from, UINT_MAX, &error);
	errno = error;
	return error == 0 ? 0 : -1;
}
