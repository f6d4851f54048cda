/*
 * mailbox-sync - what other programs did in a folder's new/ and cur/, brought into the index.
 *
 * new/ is emptied into cur/ (the names get ":2,"). What stands in cur/ is compared with the index
 * by base name: what is new gets UIDs, in the order in which it arrived; what is gone is expunged;
 * flags that others changed in the names are merged: a letter that differs from what we last saw
 * there was changed by them, all others are as our journal says. See mailbox.h.
 */
#include "imapd/mailbox.h"

#include "common/beneath.h"
#include "common/log.h"
#include "imapd/flags.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How coarse the times of directories may be (a tick at 100 Hz, and again as much): a younger time
 * proves nothing. */
#define COARSE_NANOSECONDS 20000000
#define MOST_LISTINGS 3

struct arrival {
	uint64_t when;           /* the number that the name begins with */
	uint32_t uid;            /* that another server gave it, or 0 */
	bool from_new;
	uint8_t letters;
	uint32_t lower;
	char *base;
};

struct scan {
	struct mailbox *m;
	struct arrival *arrivals;
	size_t count, room;
	struct change change;
	struct number_ranges gone;
	uint8_t mark;
	size_t marked;
	bool changed_by_us;      /* names in cur/ were changed by this scan itself */
};

/* A name in cur/, and what is made of it. */
struct settled {
	const char *name;
	struct mail_name parts;
	char to[MAILDIR_MOST_NAME + 1], base[MAILDIR_MOST_NAME + 1];
};

static struct index_stamp
stamp_of(const struct stat *st)
{
	return (struct index_stamp){ st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec };
}

static bool
stamp_equal(struct index_stamp a, struct index_stamp b)
{
	return a.seconds == b.seconds && a.nanoseconds == b.nanoseconds;
}

/* Is the time so old that a change after it would have made it younger? */
static bool
stamp_is_firm(struct index_stamp s)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec < s.seconds)
		return false;
	return now.tv_sec - s.seconds > 1 ||
		(now.tv_sec - s.seconds) * 1000000000L +
		now.tv_nsec - (long)s.nanoseconds > COARSE_NANOSECONDS;
}

static int
directory_stamp(int directory, struct index_stamp *stamp)
{
	struct stat st;

	if (fstat(directory, &st) < 0)
		return -1;
	if (st.st_nlink == 0) {
		errno = ENOENT;
		return -1;
	}
	*stamp = stamp_of(&st);
	return 0;
}

static void
add_arrival(struct scan *s, const struct mail_name *parts, bool from_new)
{
	struct span digits = parts->base;
	struct arrival *a;

	if (s->count == s->room) {
		s->room = s->room == 0 ? 16 : 2 * s->room;
		s->arrivals = must_realloc(s->arrivals, s->room * sizeof(*s->arrivals));
	}
	a = &s->arrivals[s->count++];
	*a = (struct arrival){ 0, 0, from_new, parts->letters, parts->lower, must_copy(parts->base) };
	if (!span_take_number(&digits, UINT64_MAX, &a->when))
		a->when = UINT64_MAX;
}

/* Only plain files are messages: no link, no FIFO, no directory that somebody put there. */
static bool
is_message(int directory, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_name[0] == '.')
		return false;
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_REG;
	return fstatat(directory, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(st.st_mode);
}

static DIR *
list_directory(int directory)
{
	int fd = open_in(directory, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL && fd >= 0)
		close(fd);
	return d;
}

/* A name that no message has: for a file whose base is taken. */
static void
fresh_base(struct scan *s, char base[MAILDIR_MOST_NAME + 1])
{
	struct maildir_name fresh = maildir_name_new(s->m->store->host, 0, 0);
	char *comma = strchr(fresh.str, ',');

	if (comma != NULL)
		*comma = '\0';     /* no sizes: we do not know them */
	memcpy(base, fresh.str, sizeof(fresh.str));
}

/* Moves new/NAME to cur/BASE:2, and notes it. */
static void
move_from_new(struct scan *s, const char *name)
{
	char base[MAILDIR_MOST_NAME + 1], to[MAILDIR_MOST_NAME + 1];
	struct mail_name parts;

	mail_name_split(span_str(name), &parts);
	(void)span_copy(parts.base, base, sizeof(base));
	if (name_table_find(&s->m->names, &s->m->index, parts.base) != NO_RECORD)
		fresh_base(s, base);
	parts.letters &= (uint8_t)~LETTER_BARE;
	for (int tries = 0; tries < 2; tries++) {
		if (!mail_name_join(span_str(base), parts.letters, parts.lower, to, sizeof(to)))
			fresh_base(s, base);
		else if (renameat2(s->m->new, name, s->m->cur, to, RENAME_NOREPLACE) == 0) {
			parts.base = span_str(base);
			add_arrival(s, &parts, true);
			s->changed_by_us = true;
			return;
		} else if (errno == EEXIST) {
			fresh_base(s, base);
		} else {
			break;
		}
	}
	if (errno != ENOENT)
		log_warning(0, "not-moved-to-cur", KEY_STR("folder", s->m->folder),
			KEY_STR("name", name), KEY_ERRNO);
}

/* Empties new/. *stamp is its time when it was seen empty; *empty tells whether it was. */
static int
scan_new(struct scan *s, struct index_stamp *stamp, bool *empty)
{
	*empty = false;
	for (int i = 0; i < MOST_LISTINGS && !*empty; i++) {
		struct dirent *entry;
		size_t before = s->count;
		DIR *d;

		if (directory_stamp(s->m->new, stamp) < 0 ||
			(d = list_directory(s->m->new)) == NULL)
			return -1;
		while ((entry = readdir(d)) != NULL) {
			if (is_message(s->m->new, entry))
				move_from_new(s, entry->d_name);
		}
		closedir(d);
		*empty = s->count == before;
	}
	return 0;
}

/* Two files with one base: both there, so both are messages; the second gets a name of its own. */
static void
part_twins(struct scan *s, const char *name, const struct index_record *r)
{
	char base[MAILDIR_MOST_NAME + 1], to[MAILDIR_MOST_NAME + 1], known[MAILDIR_MOST_NAME + 1];
	struct mail_name parts;
	struct stat st;

	mail_name_split(span_str(name), &parts);
	if (!mailbox_file_name(s->m, r, known) || strcmp(known, name) == 0 ||
		fstatat(s->m->cur, known, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;      /* it was renamed while we read: seen under both names */
	fresh_base(s, base);
	if (!mail_name_join(span_str(base), parts.letters, parts.lower, to, sizeof(to)) ||
		renameat2(s->m->cur, name, s->m->cur, to, RENAME_NOREPLACE) < 0)
		return;
	log_notice(0, "same-name-twice", KEY_STR("folder", s->m->folder), KEY_STR("name", name));
	parts.base = span_str(base);
	parts.has_size = parts.has_vsize = false;
	add_arrival(s, &parts, false);
	s->changed_by_us = true;
}

/* Gives the file the usual name for its base and letters. 0, or -1 with errno. */
static int
rename_settled(struct scan *s, struct settled *n)
{
	errno = ENAMETOOLONG;
	if (!mail_name_join(n->parts.base, n->parts.letters, n->parts.lower, n->to, sizeof(n->to)))
		return -1;
	return renameat2(s->m->cur, n->name, s->m->cur, n->to, RENAME_NOREPLACE);
}

/* Known files are found by base and letters: a name whose letters stand in another order than the Maildir page wants, or
 * twice, as some programs and scripts write them, is made the usual one. False: the file has gone meanwhile. */
static bool
settle_name(struct scan *s, struct settled *n)
{
	int result;

	mail_name_split(span_str(n->name), &n->parts);
	if ((n->parts.letters & LETTER_BARE) || !mail_name_join(n->parts.base, n->parts.letters, n->parts.lower, n->to,
		sizeof(n->to)) || strcmp(n->to, n->name) == 0)
		return true;
	result = rename_settled(s, n);
	if (result < 0 && errno == EEXIST) {     /* that is another message */
		fresh_base(s, n->base);
		n->parts.base = span_str(n->base);
		n->parts.has_size = n->parts.has_vsize = false;
		result = rename_settled(s, n);
	}
	if (result == 0) {
		s->changed_by_us = true;
		n->name = n->to;
		return true;
	}
	if (errno == ENOENT)
		return false;
	log_warning(0, "not-renamed", KEY_STR("folder", s->m->folder), KEY_STR("name", n->name), KEY_ERRNO);
	mail_name_split(span_str(n->name), &n->parts);
	return true;
}

/* The letters on disk are not those that we saw last: somebody changed them. What he changed is
 * taken over. */
static void
merge_letters(struct scan *s, const struct index_record *r, const struct mail_name *parts)
{
	struct number_ranges one = { NULL, 0, 0 };
	uint8_t changed = (uint8_t)((r->letters ^ parts->letters) & ~LETTER_BARE);
	uint8_t set = flags_of_letters(changed & parts->letters);
	uint8_t cleared = flags_of_letters(changed & (uint8_t)~parts->letters);

	number_ranges_add(&one, r->uid);
	if (set & ~r->flags)
		change_flags(&s->change, CHANGE_ADD, set, NULL, &one);
	if (cleared & r->flags)
		change_flags(&s->change, CHANGE_REMOVE, cleared, NULL, &one);
	change_letters(&s->change, r->uid, parts->letters, parts->lower);
	number_ranges_clear(&one);
}

static int
base_order(const void *a, const void *b)
{
	const struct arrival *x = a, *y = b;

	return strcmp(x->base, y->base);
}

/* The first `moved` arrivals are those from new/, in the order of their bases. */
static bool
was_moved_by_us(const struct scan *s, size_t moved, struct span base)
{
	size_t low = 0, high = moved;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = span_compare(span_str(s->arrivals[middle].base), base);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Compares cur/ with the index. With `again` only missing messages are of interest: a rename during
 * a reading can hide a file from it. */
static int
scan_cur(struct scan *s, size_t moved, bool again)
{
	struct mailbox *m = s->m;
	struct dirent *entry;
	struct settled n;
	DIR *d = list_directory(m->cur);

	if (d == NULL)
		return -1;
	while ((entry = readdir(d)) != NULL) {
		struct index_record *r;
		size_t at;

		if (!is_message(m->cur, entry))
			continue;
		n.name = entry->d_name;
		if (!settle_name(s, &n))
			continue;
		at = name_table_find(&m->names, &m->index, n.parts.base);
		if (at == NO_RECORD) {
			if (!again && !was_moved_by_us(s, moved, n.parts.base))
				add_arrival(s, &n.parts, false);
			continue;
		}
		r = &m->index.records[at];
		if (r->seen == s->mark) {
			if (!again)
				part_twins(s, n.name, r);
			continue;
		}
		r->seen = s->mark;
		s->marked++;
		if (r->letters != n.parts.letters || r->lower != n.parts.lower)
			merge_letters(s, r, &n.parts);
	}
	closedir(d);
	return 0;
}

/* Those whose UIDs are known come first. Files that others put into cur/ come before those that we
 * took from new/: only these are \Recent. */
static int
arrival_order(const void *a, const void *b)
{
	const struct arrival *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid - 1 < y->uid - 1 ? -1 : 1;      /* 0 is last */
	if (x->from_new != y->from_new)
		return x->from_new ? 1 : -1;
	if (x->when != y->when)
		return x->when < y->when ? -1 : 1;
	/* Of one second: "M99999" is before "M100000". */
	return strverscmp(x->base, y->base);
}

/* Looks up which UIDs another server gave; two names never get one. */
static void
take_uids(struct scan *s, const struct takeover *t)
{
	for (size_t i = 0; i < s->count; i++) {
		struct arrival *a = &s->arrivals[i];

		a->uid = takeover_uid(t, span_str(a->base));
		a->from_new = a->from_new && a->uid == 0;
	}
	if (s->count > 0)
		qsort(s->arrivals, s->count, sizeof(*s->arrivals), arrival_order);
	for (size_t i = s->count; i-- > 1;) {
		struct arrival *a = &s->arrivals[i];

		if (a->uid == a[-1].uid && strcmp(a->base, a[-1].base) != 0)
			a->uid = 0;
	}
}

/* The keywords that it had there. False: there are none. */
static bool
take_keywords(struct scan *s, const struct arrival *a, struct keyword_bits *bits)
{
	struct span names[KEYWORD_LETTERS + MOST_KEYWORDS];
	size_t count = takeover_keywords(s->m->takeover, span_str(a->base), a->lower, names);

	*bits = (struct keyword_bits){ { 0 } };
	for (size_t i = 0; i < count; i++) {
		int number = index_keyword(&s->m->index, names[i], true);

		if (number == NO_KEYWORD)
			log_warning(0, "keyword-not-taken-over", KEY_STR("folder", s->m->folder),
				KEY_SPAN("keyword", names[i]));
		else
			bits->word[number / 64] |= (uint64_t)1 << (number % 64);
	}
	return count > 0;
}

static void
add_message(struct scan *s, const struct arrival *a)
{
	struct index_record r = { .date = UNKNOWN_DATE, .saved = UNKNOWN_DATE };
	struct keyword_bits bits;
	struct mail_name parts;
	bool marked = s->m->takeover != NULL && take_keywords(s, a, &bits);

	mail_name_split(span_str(a->base), &parts);
	r.size = parts.has_size ? parts.size : UNKNOWN_SIZE;
	r.vsize = parts.has_vsize ? parts.vsize : UNKNOWN_SIZE;
	r.letters = a->letters;
	r.lower = a->lower;
	r.flags = flags_of_letters(a->letters);
	/* What stood in new/ was written there when it was delivered, its file's time; what somebody
	 * puts into cur/ of a folder that we know may be older than that. */
	if (!a->from_new && s->m->index.count > 0)
		r.saved = time(NULL);
	change_add(&s->change, &r, span_str(a->base), marked ? &bits : NULL);
}

/* *uid, the next to be given, at least `least`. */
static void
raise_uid(struct scan *s, uint32_t *uid, uint32_t least)
{
	if (*uid >= least)
		return;
	*uid = least;
	change_state(&s->change, least, s->m->index.modseq, 0);
}

/* New messages get their records; UIDs that another program gave are taken over, and what it did
 * not know comes behind all that it gave. */
static void
take_arrivals(struct scan *s)
{
	const struct takeover *t = s->m->takeover;
	uint32_t old_next = s->m->index.uidnext, uid = old_next, recent = 0;

	if (s->count == 0 && t == NULL)
		return;
	if (t != NULL)
		take_uids(s, t);
	s->m->filled_seen = false;
	if (s->count > 0)
		qsort(s->arrivals, s->count, sizeof(*s->arrivals), arrival_order);
	for (size_t i = 0; i < s->count; i++) {
		const struct arrival *a = &s->arrivals[i];

		if (i > 0 && strcmp(a->base, s->arrivals[i - 1].base) == 0)
			continue;
		raise_uid(s, &uid, a->uid > 0 || t == NULL ? a->uid : t->uidnext);
		if (a->from_new && recent == 0)
			recent = uid;
		add_message(s, a);
		uid++;
	}
	if (t != NULL)
		raise_uid(s, &uid, t->uidnext);
	if (recent == 0)
		recent = uid;
	if (s->m->index.recent_from == old_next && recent != old_next)
		change_state(&s->change, old_next, s->m->index.modseq, recent);
}

/* What was seen in neither reading is gone. */
static void
take_losses(struct scan *s)
{
	const struct index *ix = &s->m->index;

	for (size_t i = 0; i < ix->count; i++) {
		if (ix->records[i].seen != s->mark)
			number_ranges_add(&s->gone, ix->records[i].uid);
	}
	if (s->gone.count > 0)
		change_expunge(&s->change, &s->gone);
}

static int
compare_cur(struct scan *s)
{
	struct index *ix = &s->m->index;
	size_t moved = s->count;

	if (moved > 0)
		qsort(s->arrivals, moved, sizeof(*s->arrivals), base_order);
	/* A mark that no record has yet. */
	s->mark = ix->count > 0 && ix->records[0].seen == 1 ? 2 : 1;
	for (size_t i = 0; i < ix->count; i++)
		ix->records[i].seen = (uint8_t)(3 - s->mark);
	if (scan_cur(s, moved, false) < 0)
		return -1;
	if (s->marked < ix->count && scan_cur(s, moved, true) < 0)
		return -1;
	if (s->marked < ix->count)
		take_losses(s);
	return 0;
}

static void
scan_clear(struct scan *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->arrivals[i].base);
	free(s->arrivals);
	change_clear(&s->change);
	number_ranges_clear(&s->gone);
}

static int
scan_folder(struct mailbox *m, bool read_cur)
{
	struct scan s = { .m = m };
	struct index_stamp in_new, in_cur;
	int result = -1;
	bool empty;

	change_init(&s.change);
	m->check_new = m->check_cur = false;
	if (scan_new(&s, &in_new, &empty) < 0 || directory_stamp(m->cur, &in_cur) < 0)
		goto out;
	if (read_cur && compare_cur(&s) < 0)
		goto out;
	take_arrivals(&s);
	m->cur_unsynced = s.changed_by_us || m->cur_unsynced;
	/* Good for the next opening only when nothing younger can hide behind the same time. */
	if (read_cur && empty && stamp_is_firm(in_new) && stamp_is_firm(in_cur))
		change_stamps(&s.change, in_new, in_cur, true);
	result = mailbox_commit(m, &s.change);
out:
	if (result < 0)
		m->check_new = m->check_cur = true;
	scan_clear(&s);
	return result;
}

int
mailbox_scan(struct mailbox *m)
{
	return scan_folder(m, true);
}

int
mailbox_refresh(struct mailbox *m)
{
	struct index_stamp in_new, in_cur;
	bool watched, by_time;
	int result;

	if (m->gone) {
		errno = ENOENT;
		return -1;
	}
	store_drain(m->store);
	watched = m->watch_cur >= 0 && m->watch_new >= 0;
	by_time = !watched || m->opening;
	if ((watched && !m->check_new && !m->check_cur) || m->held > 0)
		return 0;
	if (directory_stamp(m->new, &in_new) < 0 || directory_stamp(m->cur, &in_cur) < 0) {
		m->gone = errno == ENOENT;
		return -1;
	}
	if (by_time && m->index.stamped && stamp_equal(in_new, m->index.in_new) &&
		stamp_equal(in_cur, m->index.in_cur)) {
		m->check_new = m->check_cur = m->opening = false;
		return 0;
	}
	/* New mail alone does not make us read all of cur/, when we would have heard of other
	 * changes. */
	result = scan_folder(m, !watched || m->check_cur);
	m->opening = m->opening && result < 0;
	if (result < 0 && errno == ENOENT)
		m->gone = true;
	return result;
}

void
mailbox_settle(struct mailbox *m)
{
	struct index_stamp in_new, in_cur;
	struct change c;

	if (m->gone || m->index.names_pending || m->held > 0 || m->watch_cur < 0 || m->watch_new < 0)
		return;
	if (directory_stamp(m->new, &in_new) < 0 || directory_stamp(m->cur, &in_cur) < 0 ||
		!stamp_is_firm(in_new) ||
		!stamp_is_firm(in_cur))
		return;
	store_drain(m->store);
	if (m->check_new || m->check_cur ||
		(m->index.stamped && stamp_equal(in_new, m->index.in_new) &&
		stamp_equal(in_cur, m->index.in_cur)))
		return;
	change_init(&c);
	c.lazy = true;
	change_stamps(&c, in_new, in_cur, true);
	if (index_commit(&m->index, &c) < 0)
		log_warning(0, "index-not-written", KEY_STR("folder", m->folder), KEY_ERRNO);
	change_clear(&c);
}
