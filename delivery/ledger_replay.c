/* ledger_replay - what an earlier life has promised: found in its Maildirs, or delivered again. */
#include "ledger_inside.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/quota.h"
#include "placer_inside.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- one file --- */

/* Where it is: in new/ or cur/, under which name now. */
struct found {
	int directory;               /* or -1: nowhere */
	char name[MAILDIR_MOST_NAME + 1];
};

static bool
begins_name(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && (entry[len] == '\0' || entry[len] == ':');
}

/* Under this name, or one with flags behind it. */
static bool
look_in(int maildir, const char *subdir, const char *name, struct found *f)
{
	int fd = maildir_subdir(maildir, subdir), listing;
	struct dirent *entry;
	struct stat s;
	DIR *dir;

	f->directory = fd;
	snprintf(f->name, sizeof(f->name), "%s", name);
	if (fd >= 0 && fstatat(fd, name, &s, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	listing = fd < 0 ? -1 : open_in(fd, ".", O_RDONLY | O_DIRECTORY, 0);
	dir = listing < 0 ? NULL : fdopendir(listing);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (begins_name(entry->d_name, name)) {
			snprintf(f->name, sizeof(f->name), "%s", entry->d_name);
			closedir(dir);
			return true;
		}
	if (dir != NULL)
		closedir(dir);
	else if (listing >= 0)
		close(listing);
	if (fd >= 0)
		close(fd);
	f->directory = -1;
	return false;
}

static bool
has_body(int fd, struct span body)
{
	unsigned char piece[16 * 1024];
	size_t at = 0;
	struct stat s;

	if (fstat(fd, &s) < 0 || s.st_size < 0 || (uint64_t)s.st_size != body.len)
		return false;
	while (at < body.len) {
		ssize_t got = read_at(fd, piece, sizeof(piece), (off_t)at);

		if (got <= 0 || memcmp(piece, body.at + at, (size_t)got) != 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

/* The file that was found is as it was promised, and durable. */
static bool
stands(const struct found *f, struct span body, bool went_down)
{
	int fd = open_in(f->directory, f->name, O_RDONLY, 0);
	bool good;

	if (fd < 0)
		return errno == ENOENT && !went_down;   /* its user was quicker */
	good = (!went_down || has_body(fd, body)) && fsync(fd) == 0;
	close(fd);
	return good && fsync(f->directory) == 0;
}

/* Writes it anew, in place of what was found; otherwise into new/. 0 or -1 with errno. */
static int
write_again(int maildir, const char *name, struct span body, struct found *f)
{
	int tmp = maildir_subdir(maildir, "tmp"), fd = -1, result = -1;
	struct maildir_name unnamed = { "" };

	if (f->directory < 0) {
		f->directory = maildir_subdir(maildir, "new");
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	if (tmp >= 0 && f->directory >= 0)
		fd = maildir_file(maildir, &unnamed);
	if (fd >= 0 && write_all(fd, body.at, body.len) == 0 && fsync(fd) == 0) {
		unlinkat(tmp, name, 0);   /* of a life that ended here */
		result = maildir_link_into(fd, maildir, &unnamed, tmp, name);
		if (result == 0)
			result = renameat(tmp, name, f->directory, f->name);
		/* The rename changed no file: its directory is what has to be durable. */
		if (result == 0)
			result = fsync(fd) < 0 || fsync(f->directory) < 0 ? -1 : 0;
	}
	int error = errno;

	if (fd >= 0) {
		maildir_drop(maildir, &unnamed);
		close(fd);
	}
	if (tmp >= 0)
		close(tmp);
	errno = error;
	return result;
}

static int
deliver_into(struct placer *p, int maildir, const struct ledger_target *t, const struct ledger_record *r,
	bool went_down, bool again)
{
	char *name = must_copy(t->name);
	struct found f;
	bool there = look_in(maildir, "new", name, &f) || look_in(maildir, "cur", name, &f);
	int result = 0, inbox;

	/* While the machine lives, what is not there was removed by its user. */
	if (there ? again || !stands(&f, r->body, went_down) : went_down) {
		result = write_again(maildir, name, r->body, &f);
		if (result == 0)
			log_notice(0, "delivered-from-ledger", KEY_SPAN("directory", t->home),
				KEY_SPAN("folder", t->folder), KEY_STR("file", f.name));
		if (result == 0 && (inbox = placer_open(p, t->home, p->uid, getegid())) >= 0) {
			quota_forget(inbox);
			close(inbox);
		}
	}
	int error = errno;

	if (f.directory >= 0)
		close(f.directory);
	free(name);
	errno = error;
	return result;
}

bool
ledger_deliver(struct placer *p, const struct ledger_record *r, bool went_down, bool again)
{
	struct span in = r->target;
	struct ledger_target t;
	bool all = true;

	while (ledger_target_take(&in, &t)) {
		char *folder = must_copy(t.folder);
		int maildir = placer_open_folder(p, t.home, folder, p->uid, getegid());

		if (maildir < 0 || deliver_into(p, maildir, &t, r, went_down, again) < 0) {
			log_error(0, "ledger-not-delivered", KEY_NUM("record", r->number),
				KEY_SPAN("directory", t.home), KEY_STR("folder", folder), KEY_ERRNO);
			all = false;
		}
		if (maildir >= 0)
			close(maildir);
		free(folder);
	}
	return all;
}

/* --- the whole ledger --- */

struct kept {
	struct ledger_record record[2 * LEDGER_PAGES];
	size_t count;
};

static int
by_number(const void *a, const void *b)
{
	const struct ledger_record *one = a, *two = b;

	return one->number < two->number ? -1 : one->number > two->number;
}

/* All records that are not settled, in their order. */
static void
records_find(struct span file, const struct ledger_mark *m, struct kept *k)
{
	struct ledger_record *r;
	size_t at = 2, end, pages;

	k->count = 0;
	for (unsigned int segment = 0; segment < 2; segment++) {
		end = 2 + (segment + 1) * (size_t)LEDGER_PAGES;
		while (at < end) {
			r = &k->record[k->count];
			pages = 1;
			if (ledger_record_read(span_part(span_part(file, 0, end * LEDGER_PAGE), at * LEDGER_PAGE,
				file.len), m->key, r, &pages) && r->number > m->settled) {
				r->page = at;
				k->count++;
			}
			at += pages;
		}
	}
	qsort(k->record, k->count, sizeof(k->record[0]), by_number);
}

/* Between the first and the last none may be missing, but in the last batch, which was promised only if it is whole. */
static void
say_missing(const struct ledger_mark *m, const struct kept *k)
{
	uint64_t expected = k->count == 0 ? 0 : k->record[k->count - 1].number - m->settled;

	if (expected > k->count)
		log_error(0, "ledger-incomplete", KEY_NUM("records", k->count), KEY_NUM("missing", expected - k->count));
}

/* Delivered, and not to be delivered again when the rest of them is tried later: its user may have removed it by then. */
static void
strike_out(struct ledger *l, struct ledger_record *r)
{
	ledger_record_withdraw(l->key, r->number, &l->text);
	if (!ledger_write(l, text_span(&l->text), r->page))
		log_warning(0, "ledger-not-written", KEY_ERRNO);
}

/* True: all of them. */
static bool
records_deliver(struct ledger *l, struct kept *k, bool went_down, time_t until)
{
	bool all = true;

	l->hurried = false;

	for (size_t i = 0; i < k->count; i++) {
		if (time(NULL) > until) {
			l->hurried = true;
			log_warning(0, "ledger-takes-long", KEY_NUM("records", k->count), KEY_NUM("delivered", i));
			all = false;
			break;
		}
		if (k->record[i].withdrawn)
			continue;
		if (ledger_deliver(l->placer, &k->record[i], went_down, false))
			k->record[i].delivered = true;
		else
			all = false;
	}
	for (size_t i = 0; i < k->count && !all; i++)
		if (k->record[i].delivered)
			strike_out(l, &k->record[i]);
	return (all || fdatasync(l->fd) == 0) && all;
}

/* Is anything in it for a mail root that is not this one? */
static bool
is_of_others(const struct ledger *l, const struct ledger_mark *m, const struct kept *k)
{
	bool other = m->mail.len > 0 && !span_equal(m->mail, span_str(l->placer->mail_name));

	for (size_t i = 0; other && i < k->count; i++)
		if (!k->record[i].withdrawn)
			return true;
	return false;
}

static void
recover_from(struct ledger *l, struct span file, const struct ledger_mark *m, time_t until)
{
	bool went_down = l->boot[0] == '\0' || l->mounting == 0 || !span_equal(m->boot, span_str(l->boot)) ||
		m->mounting != l->mounting;
	struct kept *k = must_alloc(sizeof(*k));

	records_find(file, m, k);
	if (k->count > 0)
		log_notice(0, "ledger-read", KEY_NUM("records", k->count), KEY_NUM("went_down", went_down));
	say_missing(m, k);
	if (is_of_others(l, m, k)) {
		log_error(0, "ledger-of-another-mail-root", KEY_STR("file", MAIL_ROOT_FILE), KEY_SPAN("wanted", m->mail),
			KEY_STR("found", l->placer->mail_name), KEY_STR("reason", "is its file system mounted?"));
		l->state = LEDGER_BROKEN;
		free(k);
		return;
	}
	memcpy(l->key, m->key, LEDGER_KEY);
	l->marks = m->count;
	l->settled = l->synced = l->number = k->count > 0 ? k->record[k->count - 1].number : m->settled;
	l->state = records_deliver(l, k, went_down, until) ? LEDGER_READY : LEDGER_HELD;
	if (l->state == LEDGER_READY)
		ledger_mark(l);
	free(k);
}

static bool
is_zero(struct span s)
{
	return s.len == 0 || (s.at[0] == 0 && memcmp(s.at, s.at + 1, s.len - 1) == 0);
}

void
ledger_recover(struct ledger *l, time_t until)
{
	unsigned char *bytes = must_alloc(LEDGER_SIZE);
	ssize_t got = read_at(l->fd, bytes, LEDGER_SIZE, 0);
	struct span file = span_of(bytes, got < 0 ? 0 : (size_t)got);
	struct ledger_mark m;

	/* One that was not made to its end has promised nothing. */
	l->state = LEDGER_EMPTY;
	if (got == (ssize_t)LEDGER_SIZE && ledger_mark_read(file, &m)) {
		recover_from(l, file, &m, until);
	} else if (got < 0 || !is_zero(file)) {
		log_error(0, "ledger-unreadable", KEY_STR("reason", "no mark in it is whole; left as it is, and not used"));
		l->state = LEDGER_BROKEN;
	}
	free(bytes);
}
