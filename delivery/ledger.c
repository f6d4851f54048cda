/* ledger - see ledger.h. This file: what goes in, and how it is settled. */
#include "ledger.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/secret.h"
#include "ledger_inside.h"
#include "placer_inside.h"

#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LEDGER_LOCK_LOOKS 20 /* a second */

/* --- its file --- */

static bool
say_without(const char *name, const char *reason)
{
	log_warning(0, "no-ledger", KEY_STR("ledger", name), KEY_STR("reason", reason));
	return false;
}

/* Two processes that fill one would destroy what either has promised; one that settles its last may take a moment. */
static bool
lock(int fd)
{
	static const struct timespec pause = { .tv_nsec = 1000000000 / LEDGER_LOCK_LOOKS };

	for (int looks = LEDGER_LOCK_SECONDS * LEDGER_LOCK_LOOKS; flock(fd, LOCK_EX | LOCK_NB) < 0; looks--) {
		if (errno != EWOULDBLOCK || looks <= 0)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static bool
file_open(struct ledger *l, int directory, const char *name)
{
	struct stat s;

	l->fd = openat(directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (l->fd < 0)
		return say_without(name, strerror(errno));
	if (fstat(l->fd, &s) < 0 || !S_ISREG(s.st_mode) || s.st_nlink != 1 || s.st_uid != geteuid())
		return say_without(name, "not a file of ours");
	if (!lock(l->fd))
		return say_without(name, "another process has it");
	return true;
}

static void
boot_read(char boot[LEDGER_MOST_BOOT])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read_at(fd, boot, LEDGER_MOST_BOOT - 1, 0);

	boot[got < 0 ? 0 : got] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

void
ledger_open(struct ledger *l, int directory, const char *name)
{
	struct rlimit limit;

	memset(l, 0, sizeof(*l));
	l->text = TEXT_UP_TO(LEDGER_MOST_RECORD + LEDGER_PAGE);
	l->page = TEXT_UP_TO(LEDGER_PAGE);
	l->segment[0].first = 2;
	l->segment[1].first = 2 + LEDGER_PAGES;
	/* Each that is not settled yet has a descriptor. */
	l->most_files = LEDGER_MOST_FILES;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 16 < l->most_files)
		l->most_files = (size_t)limit.rlim_cur / 16;
	boot_read(l->boot);
	if (file_open(l, directory, name)) {
		l->state = LEDGER_EMPTY;
		return;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

bool
ledger_write(struct ledger *l, struct span bytes, size_t page)
{
	off_t at = (off_t)(page * LEDGER_PAGE);

	while (bytes.len > 0) {
		ssize_t done = pwrite(l->fd, bytes.at, bytes.len, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		bytes = span_part(bytes, (size_t)done, bytes.len);
		at += done;
	}
	return true;
}

static void
arm(struct ledger *l, unsigned int milliseconds)
{
	struct timeval wait = { .tv_sec = milliseconds / 1000, .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000 };

	if (l->timer != NULL)
		evtimer_add(l->timer, &wait);
}

/* What is in it stays promised by it, and is settled at once; nothing more goes in. */
static void
broken(struct ledger *l)
{
	if (l->state == LEDGER_BROKEN)
		return;
	log_error(0, "ledger-broken", KEY_ERRNO);
	l->state = LEDGER_BROKEN;
	arm(l, 0);
}

bool
ledger_mark(struct ledger *l)
{
	struct ledger_mark m = { .count = ++l->marks, .settled = l->settled, .boot = span_str(l->boot),
		.mounting = l->mounting, .mail = span_str(l->placer->mail_name) };

	memcpy(m.key, l->key, LEDGER_KEY);
	ledger_mark_write(&m, &l->page);
	if (ledger_write(l, text_span(&l->page), l->marks % 2) && fdatasync(l->fd) == 0)
		return true;
	broken(l);
	return false;
}

/* Zeros that are written have their place on the disk, and no later write of them needs the journal. */
static bool
file_make(struct ledger *l)
{
	static const unsigned char nothing[16 * LEDGER_PAGE];

	if (ftruncate(l->fd, 0) < 0)
		return false;
	for (size_t page = 0; page < LEDGER_SIZE / LEDGER_PAGE; page += 16) {
		struct span piece = span_part(span_of(nothing, sizeof(nothing)), 0, LEDGER_SIZE - page * LEDGER_PAGE);

		if (!ledger_write(l, piece, page))
			return false;
	}
	if (fsync(l->fd) < 0)
		return false;
	secret_random(l->key, sizeof(l->key));
	l->number = l->synced = l->settled = l->marks = 0;
	l->state = LEDGER_READY;
	return ledger_mark(l);
}

static void
make(struct ledger *l)
{
	if (file_make(l))
		return;
	log_warning(0, "ledger-not-made", KEY_ERRNO);
	if (ftruncate(l->fd, 0) < 0)
		log_debug(0, "ledger-not-cut", KEY_ERRNO);
	l->state = LEDGER_BROKEN;
}

/* --- what goes in --- */

bool
ledger_wants(struct ledger *l, uint64_t size)
{
	if (!l->wanted || size == 0 || size > LEDGER_MOST_BODY)
		return false;
	if (l->state == LEDGER_EMPTY && !l->first) {
		l->first = true;
		arm(l, 0);
	}
	return l->state == LEDGER_READY;
}

static struct ledger_segment *
other_of(struct ledger *l)
{
	return &l->segment[1 - l->current];
}

/* The segment that has room for one more of so many pages; NULL: none. */
static struct ledger_segment *
segment_for(struct ledger *l, uint32_t pages)
{
	struct ledger_segment *s = &l->segment[l->current], *next = other_of(l);

	if (s->count < l->most_files && s->used + pages <= LEDGER_PAGES)
		return s;
	if (l->full && (l->stuck || next->pending > 0 || !ledger_settle_full(l)))
		return NULL;
	l->current = 1 - l->current;
	l->full = true;
	arm(l, LEDGER_FULL_MILLISECONDS);
	return next;
}

static bool
record_make(struct ledger *l, const struct ledger_target *target, size_t count, int fd, uint64_t size)
{
	static const unsigned char nothing[LEDGER_PAGE];
	static unsigned char body[LEDGER_MOST_BODY];

	if (size > sizeof(body) || read_at(fd, body, (size_t)size, 0) != (ssize_t)size)
		return false;
	ledger_record_begin(l->key, l->number + 1, &l->text);
	for (size_t i = 0; i < count; i++)
		ledger_record_target(&l->text, &target[i]);
	text_add(&l->text, span_of(body, (size_t)size));
	ledger_record_seal(&l->text, (uint32_t)count, (uint32_t)size);
	if (!l->text.failed && l->text.len % LEDGER_PAGE > 0)
		text_add(&l->text, span_of(nothing, LEDGER_PAGE - l->text.len % LEDGER_PAGE));
	return !l->text.failed;
}

uint64_t
ledger_put(struct ledger *l, const struct ledger_target *target, size_t count, int fd, uint64_t size)
{
	struct ledger_segment *s;
	struct ledger_file *f;
	uint32_t pages;

	if (l->state != LEDGER_READY || count == 0 || count > LEDGER_MOST_TARGETS ||
	    !record_make(l, target, count, fd, size))
		return 0;
	pages = (uint32_t)(l->text.len / LEDGER_PAGE);
	if ((s = segment_for(l, pages)) == NULL)
		return 0;
	f = &s->file[s->count];
	*f = (struct ledger_file){ .fd = -1, .number = l->number + 1, .page = s->first + s->used };
	if (!ledger_write(l, text_span(&l->text), f->page)) {
		broken(l);
		return 0;
	}
	s->count++;
	s->pending++;
	s->used += pages;
	l->dirty = true;
	return ++l->number;
}

/* What was put since go another way. */
static void
give_up_pending(struct ledger_segment *s, uint64_t synced)
{
	for (size_t i = 0; i < s->count; i++) {
		struct ledger_file *f = &s->file[i];

		if (f->fd >= 0 || f->withdrawn || f->number <= synced)
			continue;
		f->withdrawn = true;
		s->pending--;
	}
}

bool
ledger_sync(struct ledger *l)
{
	if (!l->dirty)
		return true;
	l->dirty = false;
	if (l->state == LEDGER_READY && fdatasync(l->fd) < 0)
		broken(l);
	if (l->state == LEDGER_READY) {
		l->synced = l->number;
		return true;
	}
	give_up_pending(&l->segment[0], l->synced);
	give_up_pending(&l->segment[1], l->synced);
	return false;
}

static struct ledger_file *
file_of(struct ledger *l, uint64_t number, struct ledger_segment **segment)
{
	for (size_t n = 0; n < 2; n++) {
		struct ledger_segment *s = &l->segment[n];

		/* Mostly the last. */
		for (size_t i = s->count; i > 0; i--)
			if (s->file[i - 1].number == number) {
				*segment = s;
				return &s->file[i - 1];
			}
	}
	return NULL;
}

void
ledger_keep(struct ledger *l, uint64_t number, int fd)
{
	struct ledger_segment *s;
	struct ledger_file *f = file_of(l, number, &s);

	if (f == NULL || f->fd >= 0) {
		close(fd);
		return;
	}
	f->fd = fd;
	s->pending--;
	if (sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0 && errno != ENOSYS)
		f->failed = true;
	if (l->timer != NULL && !evtimer_pending(l->timer, NULL))
		arm(l, LEDGER_SETTLE_SECONDS * 1000);
}

void
ledger_withdraw(struct ledger *l, uint64_t number)
{
	struct ledger_segment *s;
	struct ledger_file *f = file_of(l, number, &s);

	if (f == NULL || f->fd >= 0 || f->withdrawn)
		return;
	f->withdrawn = true;
	s->pending--;
	ledger_record_withdraw(l->key, number, &l->text);
	l->dirty = true;
	if (!ledger_write(l, text_span(&l->text), f->page))
		broken(l);
}

/* --- how it is settled --- */

/* Waits until their data is at the disk, and then makes it and all their names durable with one commit: the file that is
 * changed last joins the transaction that runs, and the journal is one sequence (journal.h). False: that is not known. */
static bool
settle_together(struct ledger *l, struct ledger_segment *s)
{
	struct ledger_file *last = NULL;
	bool all = true;
	struct stat st;

	for (size_t i = 0; i < s->count; i++) {
		struct ledger_file *f = &s->file[i];

		if (f->withdrawn)
			continue;
		if (sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			SYNC_FILE_RANGE_WAIT_AFTER) < 0)
			f->failed = true;
		all = all && !f->failed;
		last = f;
	}
	if (last == NULL)
		return true;
	if (fstat(last->fd, &st) < 0 || fchmod(last->fd, st.st_mode & 07777) < 0 || fsync(last->fd) < 0) {
		log_warning(0, "sync-failed", KEY_STR("what", "ledger"), KEY_ERRNO);
		/* Who opens it anew is not told once more that its data was lost. */
		last->failed = true;
		all = false;
	}
	return placer_journal_is_whole(l->placer, l->device) && all;
}

/* The record of a file, read again from the ledger. */
static bool
deliver_again(struct ledger *l, const struct ledger_file *f)
{
	static unsigned char bytes[LEDGER_MOST_RECORD];
	ssize_t got = read_at(l->fd, bytes, sizeof(bytes), (off_t)f->page * LEDGER_PAGE);
	struct ledger_record r;
	size_t pages;

	if (got < 0 || !ledger_record_read(span_of(bytes, (size_t)got), l->key, &r, &pages) || r.number != f->number) {
		log_error(0, "ledger-unreadable", KEY_NUM("record", f->number));
		return false;
	}
	return ledger_deliver(l->placer, &r, false, f->failed);
}

static bool
settle_apart(struct ledger *l, struct ledger_segment *s)
{
	bool all = true;

	for (size_t i = 0; i < s->count; i++) {
		struct ledger_file *f = &s->file[i];

		if (f->withdrawn)
			continue;
		if (deliver_again(l, f))
			f->withdrawn = true;   /* not to be done twice */
		else
			all = false;
	}
	return all;
}

static bool
segment_settle(struct ledger *l, struct ledger_segment *s)
{
	if (s->count == 0)
		return true;
	if (!settle_together(l, s) && !settle_apart(l, s)) {
		log_error(0, "ledger-not-settled", KEY_NUM("record", s->file[0].number));
		l->stuck = true;
		arm(l, LEDGER_RETRY_SECONDS * 1000);
		return false;
	}
	l->settled = s->file[s->count - 1].number;
	for (size_t i = 0; i < s->count; i++)
		if (s->file[i].fd >= 0)
			close(s->file[i].fd);
	s->count = 0;
	s->used = 0;
	return true;
}

bool
ledger_settle_full(struct ledger *l)
{
	if (!segment_settle(l, other_of(l)))
		return false;
	l->full = false;
	/* Where that cannot be said durably, what is settled may not be written over. */
	return ledger_mark(l);
}

bool
ledger_settle(struct ledger *l)
{
	struct ledger_segment *s = &l->segment[l->current];
	uint64_t before = l->settled;

	if (l->full && !segment_settle(l, other_of(l)))
		return false;
	l->full = false;
	if (s->pending > 0 || !segment_settle(l, s))
		return false;
	return l->settled == before || ledger_mark(l);
}

static void
arm_if_held(struct ledger *l)
{
	if (l->state == LEDGER_HELD)
		arm(l, l->hurried ? 100 : LEDGER_RETRY_SECONDS * 1000);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct ledger *l = arg;

	(void)fd;
	(void)what;
	l->stuck = false;
	if (l->state == LEDGER_EMPTY && l->first) {
		make(l);
	} else if (l->state == LEDGER_HELD) {
		ledger_recover(l, time(NULL) + LEDGER_RECOVER_SECONDS);
	} else if ((l->full && l->state == LEDGER_READY ? ledger_settle_full(l) : ledger_settle(l)) &&
		l->segment[l->current].count > 0) {
		arm(l, LEDGER_SETTLE_SECONDS * 1000);
	}
	arm_if_held(l);
}

void
ledger_begin(struct ledger *l, struct placer *p, struct event_base *base, const struct journal *mail)
{
	l->placer = p;
	l->mounting = mail != NULL ? mail->mounting : 0;
	l->device = mail != NULL ? mail->device : 0;
	if (l->state == LEDGER_NONE)
		return;
	l->timer = base != NULL ? evtimer_new(base, on_timer, l) : NULL;
	if (p->recovers_until == 0)
		p->recovers_until = time(NULL) + LEDGER_RECOVER_SECONDS;
	ledger_recover(l, p->recovers_until);
	arm_if_held(l);
}

void
ledger_end(struct ledger *l, bool cut)
{
	bool over = (l->state == LEDGER_READY || l->state == LEDGER_BROKEN) && ledger_settle(l);

	if (cut && over && l->state == LEDGER_READY && ftruncate(l->fd, 0) < 0)
		log_warning(0, "ledger-not-cut", KEY_ERRNO);
	if (l->timer != NULL)
		event_free(l->timer);
	l->timer = NULL;
	if (l->state != LEDGER_NONE)
		close(l->fd);
	l->fd = -1;
	l->state = LEDGER_NONE;
	text_clear(&l->text);
	text_clear(&l->page);
}
