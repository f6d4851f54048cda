/* placer - see placer.h. This file: what a worker hears, and the order of a batch. */
#include "placer.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/text.h"
#include "lent.h"
#include "limits.h"
#include "placer_inside.h"
#include "user.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

void
placer_init(struct placer *p, int mail, const char *hostname)
{
	memset(p, 0, sizeof(*p));
	p->mail = mail;
	p->hostname = hostname;
	p->most_lent = lent_most() / 2;   /* a file and its Maildir each */
	p->uid = geteuid();
	idmap_init(&p->jobs);
	TAILQ_INIT(&p->waiting);
}

static struct job *
job_new(struct placer *p, struct channel *from, uint64_t id, uint32_t hour)
{
	struct job *job = must_alloc(sizeof(*job));

	job->id = id;
	job->from = from;
	job->hour = hour;
	job->fd = job->maildir = -1;
	idmap_put(&p->jobs, id, job);
	return job;
}

/* Forgets a job that is in no list. An unnamed file is gone with its descriptor. */
static void
job_free(struct placer *p, struct job *job)
{
	idmap_remove(&p->jobs, job->id);
	if (job->tmp.str[0] != '\0' && placer_enter(p, job->uid, job->gid)) {
		maildir_drop(job->maildir, &job->tmp);
		user_leave();
	}
	if (job->fd >= 0)
		close(job->fd);
	if (job->maildir >= 0)
		close(job->maildir);
	for (size_t i = 0; i < job->targets; i++) {
		free(job->target[i].address);
		free(job->target[i].home);
		free(job->target[i].folder);
	}
	free(job->target);
	free(job->home);
	free(job->prefix);
	free(job);
}

static void
job_drop(struct placer *p, struct job *job)
{
	if (job->hour == HOUR_PLACING)
		TAILQ_REMOVE(&p->waiting, job, next);
	job_free(p, job);
}

void
placer_recognise(struct placer *p, int directory)
{
	if (p->ordered_devices < MOST_HOME_ROOTS && journal_orders(directory, &p->ordered[p->ordered_devices]))
		p->ordered_devices++;
}

void
placer_open_ledger(struct placer *p, int directory, const char *name)
{
	ledger_open(&p->ledger, directory, name);
	if (p->ledger.state != LEDGER_NONE)
		p->most_lent -= p->ledger.most_files;
	mail_root_name(p->mail, p->mail_name);
}

void
placer_begin_other_ledger(struct placer *p, struct ledger *l, struct event_base *base)
{
	ledger_begin(l, p, base, p->ordered_devices > 0 ? &p->ordered[0] : NULL);
}

void
placer_begin_ledger(struct placer *p, struct event_base *base)
{
	placer_begin_other_ledger(p, &p->ledger, base);
}

void
placer_set_journal(struct placer *p, struct span option)
{
	p->ordered_everywhere = span_equal(option, SPAN("yes"));
	p->ordered_nowhere = span_equal(option, SPAN("no"));
}

void
placer_clear(struct placer *p)
{
	size_t place;
	struct job *job;

	while (place = 0, (job = idmap_next(&p->jobs, &place)) != NULL)
		job_drop(p, job);
	idmap_clear(&p->jobs);
	filler_clear(&p->filler);
}

/* --- what it hears --- */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct placer *p = me;
	struct job *job = idmap_get(&p->jobs, id);

	if (m == MSG_forward_ask)
		return HOUR_SERVING;
	if (job != NULL && job->from != from) {
		/* There is one queue: the other one is dead, only we have not been told yet. */
		job_drop(p, job);
		job = NULL;
	}
	return id == 0 ? 0 : job == NULL ? HOUR_NONE : job->hour;
}

/* What queue was promised nothing about vanishes with it. */
static void
queue_gone(void *me, struct channel *from)
{
	struct placer *p = me;
	struct job *job;
	size_t place = 0;

	while ((job = idmap_next(&p->jobs, &place)) != NULL) {
		if (job->from != from)
			continue;
		job_drop(p, job);
		place = 0;   /* removal has moved others */
	}
}

static void
say_lend_refused(struct channel *to, uint64_t id, struct verdict v)
{
	send_lend_refused(to, id, &(struct msg_lend_refused){ VERDICT_FIELDS(v) }, NULL);
}

/* The root below which a system user's home lies, and the rest of its name; NULL when there is none. */
static const struct home_root *
root_of(const struct placer *p, struct span home, struct span *below)
{
	for (size_t i = 0; i < p->roots; i++) {
		const struct home_root *r = &p->root[i];

		if (home.len > r->path.len + 1 && home.at[r->path.len] == '/' &&
		    span_equal(span_part(home, 0, r->path.len), r->path)) {
			*below = span_part(home, r->path.len + 1, home.len);
			return r;
		}
	}
	return NULL;
}

bool
placer_enter(struct placer *p, uint32_t uid, uint32_t gid)
{
	if (p->homes && uid >= p->least_uid)
		return user_enter(uid, gid);
	if (!p->homes && uid == p->uid)
		return true;
	errno = EPERM;
	return false;
}

/* Where the Maildir of a home lies: a directory and a path below it. -1 with errno. */
static int
path_of(struct placer *p, struct span home, struct text *path)
{
	const struct home_root *r = NULL;
	struct span below = home;

	if (p->homes ? (r = root_of(p, home, &below)) == NULL
		     : home.len == 0 || home.at[0] == '/') {
		errno = EINVAL;
		return -1;
	}
	text_add(path, below);
	text_add_str(path, "/Maildir");
	if (path->failed)
		errno = ENAMETOOLONG;
	return path->failed ? -1 : r == NULL ? p->mail : r->fd;
}

int
placer_open(struct placer *p, struct span home, uint32_t uid, uint32_t gid)
{
	struct text path = TEXT_UP_TO(MOST_PATH_FIELD + 16);
	int root = path_of(p, home, &path), fd = -1;

	if (root >= 0 && placer_enter(p, uid, gid)) {
		fd = maildir_open(root, text_str(&path), true);
		user_leave();
	}
	text_clear(&path);
	return fd;
}

bool
placer_is_there(struct placer *p, const struct job *job)
{
	struct text path = TEXT_UP_TO(MOST_PATH_FIELD + 16);
	int root = path_of(p, span_str(job->home), &path);
	struct stat s;
	bool is;

	is = root >= 0 && fstatat(root, text_str(&path), &s, AT_SYMLINK_NOFOLLOW) == 0 &&
		s.st_dev == job->device && s.st_ino == job->inode;
	text_clear(&path);
	return is;
}

bool
placer_has_room(struct placer *p, int maildir, const struct quota *q, uint64_t size,
	struct quota_usage *usage, struct verdict *why)
{
	struct quota_usage u;

	(void)p;
	*usage = (struct quota_usage){ UINT64_MAX, UINT64_MAX };
	if (!quota_is_set(q))
		return true;
	if (q->bytes != 0 && size > q->bytes) {
		*why = V_OVER_QUOTA;
		return false;
	}
	/* What cannot be counted does not keep anybody's mail away. */
	if (quota_usage(maildir, q, &u) < 0)
		return true;
	*usage = u;
	if (!quota_is_full(q, &u))
		return true;
	*why = V_MAILBOX_FULL;
	return false;
}

/* Why a .forward does not count, or NULL. Its history (HARDENING F1): links to the files of others,
 * pipes, files and homes that others can write. */
static const char *
forward_fault(const struct stat *home, const struct stat *file, uint32_t uid)
{
	if ((home->st_uid != uid && home->st_uid != 0) || (home->st_mode & (S_IWGRP | S_IWOTH)))
		return "the home can be written by others";
	if (!S_ISREG(file->st_mode))
		return "it is not a file";
	if (file->st_uid != uid && file->st_uid != 0)
		return "it belongs to somebody else";
	if (file->st_nlink != 1)
		return "it has other names";
	if (file->st_mode & (S_IWGRP | S_IWOTH))
		return "it can be written by others";
	return file->st_size > MOST_FORWARD ? "it is too large" : NULL;
}

/* DONE with the text, NEVER when there is none that counts, LATER when that cannot be known. */
static uint8_t
forward_read(const struct home_root *r, struct span below, uint32_t uid, struct text *text)
{
	char *name = must_copy(below), piece[MOST_FORWARD];
	int home = open_in(r->fd, name, O_RDONLY | O_DIRECTORY, 0), file = -1;
	struct stat home_stat, file_stat;
	const char *fault = "it is not a file";
	uint8_t outcome = LATER;
	ssize_t got;

	if (home < 0) {
		outcome = errno == ENOENT || errno == EACCES ? NEVER : LATER;
	} else if ((file = open_in(home, ".forward", O_RDONLY, 0)) < 0) {
		outcome = errno == ENOENT || errno == ELOOP || errno == EINVAL || errno == EACCES
			? NEVER
			: LATER;
		fault = errno == ENOENT ? NULL : strerror(errno);
	} else if (fstat(home, &home_stat) == 0 && fstat(file, &file_stat) == 0) {
		fault = forward_fault(&home_stat, &file_stat, uid);
		outcome = NEVER;
		if (fault == NULL && (got = read_at(file, piece, sizeof(piece), 0)) >= 0) {
			text_add(text, span_of(piece, (size_t)got));
			outcome = DONE;
		}
	}
	if (outcome != DONE && fault != NULL && home >= 0)
		log_warning(0, "forward-ignored", KEY_STR("home", name), KEY_STR("reason", fault));
	if (file >= 0)
		close(file);
	if (home >= 0)
		close(home);
	free(name);
	return outcome;
}

void
placer_on_forward_ask(void *me, struct channel *from, uint64_t id, const struct msg_forward_ask *m,
	const int *fd)
{
	struct placer *p = me;
	struct text text = TEXT_UP_TO(MOST_FORWARD);
	struct span below;
	const struct home_root *r = root_of(p, m->home, &below);
	uint8_t outcome = NEVER;

	(void)fd;
	if (r != NULL && placer_enter(p, m->uid, m->gid)) {
		outcome = forward_read(r, below, m->uid, &text);
		user_leave();
	}
	send_forward_told(from, id,
		&(struct msg_forward_told){ .outcome = outcome, .text = text_span(&text) }, NULL);
	text_clear(&text);
}

/* What can write is with whom it was lent to; we keep what can only read, and do so while he writes. */
static void
job_keep(struct placer *p, struct job *job)
{
	int reading = -1;

	if (placer_enter(p, job->uid, job->gid)) {
		reading = lent_reopen(job->fd);
		user_leave();
	}
	if (reading < 0) {
		log_error(0, "lent-file-unreadable", KEY_ID("message", job->id), KEY_ERRNO);
		job->why = V_LATER;
	}
	close(job->fd);
	job->fd = reading;
}

static void
on_lend(void *me, struct channel *from, uint64_t id, const struct msg_lend *m, const int *fd)
{
	struct placer *p = me;
	struct quota quota = { m->quota_bytes, m->quota_messages };
	struct quota_usage usage;
	struct verdict full = { .outcome = 0 };
	struct maildir_name tmp = { "" };
	int maildir, file = -1, other;
	struct job *job;
	struct stat s;

	(void)fd;
	if (p->jobs.count >= p->most_lent) {
		say_lend_refused(from, id, V_BUSY);
		return;
	}
	maildir = placer_open(p, m->home, m->uid, m->gid);
	if (maildir >= 0 && placer_enter(p, m->uid, m->gid)) {
		if (placer_has_room(p, maildir, &quota, 0, &usage, &full))
			file = maildir_file(maildir, &tmp);
		user_leave();
	}
	if (full.outcome != 0) {
		say_lend_refused(from, id, full);
		goto out;
	}
	if (file < 0 || (other = fcntl(file, F_DUPFD_CLOEXEC, 0)) < 0) {
		struct verdict v = verdict_of_errno(errno);

		log_error(0, "mailbox-unusable", KEY_ID("message", id),
			KEY_SPAN("directory", m->home),
			KEY_STR("at", maildir < 0 ? "Maildir" : "tmp"), KEY_ERRNO);
		say_lend_refused(from, id, v);
		if (file >= 0)
			close(file);
		goto out;
	}
	job = job_new(p, from, id, HOUR_LENT);
	job->fd = file;
	job->home = must_copy(m->home);
	job->uid = m->uid;
	job->gid = m->gid;
	job->state = FILE_LENT;
	job->tmp = tmp;
	job->maildir = maildir;
	maildir = -1;
	if (fstat(job->maildir, &s) == 0) {
		job->device = s.st_dev;
		job->inode = s.st_ino;
	}
	send_lent(from, id, &(struct msg_lent){ }, &other);
	job_keep(p, job);
out:
	if (maildir >= 0)
		close(maildir);
}

static void
on_lend_return(void *me, struct channel *from, uint64_t id, const struct msg_lend_return *m,
	const int *fd)
{
	struct placer *p = me;

	(void)from;
	(void)m;
	(void)fd;
	job_drop(p, idmap_get(&p->jobs, id));
}

static void
on_target(void *me, struct channel *from, uint64_t id, const struct msg_target *m, const int *fd)
{
	struct placer *p = me;
	struct job *job = idmap_get(&p->jobs, id);
	struct target *t;

	(void)fd;
	if (job == NULL)
		job = job_new(p, from, id, HOUR_OPEN);
	if (job->targets == MOST_PLACES) {
		job->why = V_MOST_RECIPIENTS;
		job->why_number = m->number;
		return;
	}
	if (job->targets == job->room) {
		job->room = job->room == 0 ? 4 : job->room * 2;
		job->target = must_realloc(job->target, job->room * sizeof(*job->target));
	}
	t = &job->target[job->targets++];
	memset(t, 0, sizeof(*t));
	t->number = m->number;
	t->address = must_copy(m->address);
	t->home = must_copy(m->home);
	t->folder = must_copy(m->folder);
	t->uid = m->uid;
	t->gid = m->gid;
	t->quota = (struct quota){ m->quota_bytes, m->quota_messages };
	t->place = -1;
}

static void
commit(struct placer *p, struct job *job, uint64_t size)
{
	job->size = size;
	job->hour = HOUR_PLACING;
	TAILQ_INSERT_TAIL(&p->waiting, job, next);
}

static void
on_place(void *me, struct channel *from, uint64_t id, const struct msg_place *m, const int *fd)
{
	struct placer *p = me;

	(void)from;
	(void)fd;
	commit(p, idmap_get(&p->jobs, id), m->size);
}

static void
on_place_copy(void *me, struct channel *from, uint64_t id, const struct msg_place_copy *m,
	const int *fd)
{
	struct placer *p = me;
	struct job *job = idmap_get(&p->jobs, id);

	(void)from;
	job->copy = true;
	job->fd = fd[0];
	job->prefix = (unsigned char *)must_copy(m->prefix);
	job->prefix_len = m->prefix.len;
	commit(p, job, m->size);
}

const struct hearing placer_hears_queue = {
	.hour = hour,
	.gone = queue_gone,
	.on_lend = on_lend,
	.on_lend_return = on_lend_return,
	.on_target = on_target,
	.on_place = on_place,
	.on_place_copy = on_place_copy,
};

/* --- a batch --- */

void
job_refuse_target(struct job *job, struct target *t, struct verdict v)
{
	t->refused = true;
	if (job->copy) {
		send_place_refused(job->from, job->id,
			&(struct msg_place_refused){.number = t->number, VERDICT_FIELDS(v)}, NULL);
	} else if (job->why.outcome == 0) {
		job->why = v;
		job->why_number = t->number;
	}
}

/* Takes jobs from those that wait, as many as have room for their places. */
static void
batch_take(struct placer *p, struct batch *b)
{
	struct job *job;
	size_t places = 0;

	memset(b, 0, sizeof(*b));
	TAILQ_INIT(&b->jobs);
	while ((job = TAILQ_FIRST(&p->waiting)) != NULL &&
	    places + job->targets <= MOST_BATCH_PLACES) {
		TAILQ_REMOVE(&p->waiting, job, next);
		TAILQ_INSERT_TAIL(&b->jobs, job, next);
		places += job->targets;
	}
}

static bool
source_fits(struct job *job)
{
	struct stat s;

	if (fstat(job->fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size >= 0 &&
	    (uint64_t)s.st_size == job->size)
		return true;
	log_error(0, "queued-file-refused", KEY_ID("message", job->id),
		KEY_STR("reason", "not a file of the size that was announced"));
	job->why = V_IN_DOUBT;
	return false;
}

/* Which of the journals that were recognised; p->ordered_devices: none. */
static size_t
journal_of(const struct placer *p, dev_t device)
{
	size_t i = 0;

	while (i < p->ordered_devices && p->ordered[i].device != device)
		i++;
	return i;
}

bool
placer_keeps_order(const struct placer *p, dev_t device)
{
	return !p->ordered_nowhere && journal_of(p, device) < p->ordered_devices;
}

/* May the body get its name before it is synced, and do both become durable together (journal.h)? What only the
 * administrator says, and we cannot see, is not relied on for what is promised. */
static void
job_look_at_journal(const struct placer *p, struct job *job)
{
	struct statfs fs;
	struct stat s;

	if (p->ordered_nowhere || fstat(job->fd, &s) < 0)
		return;
	job->file_device = s.st_dev;
	job->one_commit = placer_keeps_order(p, job->file_device);
	job->sync_later = job->one_commit ||
		(p->ordered_everywhere && fstatfs(job->fd, &fs) == 0 &&
			(fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC));
}

static void
journal_forget(struct placer *p, size_t at)
{
	if (at >= p->ordered_devices)
		return;
	log_info(0, "journal-not-relied-on", KEY_STR("reason", "its file system makes fast commits"));
	if (p->ordered[at].fast_commits >= 0)
		close(p->ordered[at].fast_commits);
	p->ordered[at] = p->ordered[--p->ordered_devices];
}

bool
placer_journal_is_whole(struct placer *p, dev_t device)
{
	size_t at = journal_of(p, device);
	bool whole = at < p->ordered_devices && journal_is_whole(&p->ordered[at]);

	if (!whole)
		journal_forget(p, at);
	return whole;
}

void
job_sync_failed(struct job *job)
{
	job->why = verdict_of_errno(errno);
	log_error(0, "sync-failed", KEY_ID("message", job->id), KEY_ERRNO);
}

static void
job_sync(struct job *job, int (*sync)(int fd))
{
	if (sync(job->fd) < 0)
		job_sync_failed(job);
}

/* Is it one for the ledger? */
static bool
job_may_enter(struct placer *p, const struct job *job)
{
	return job->one_commit && job->file_device == p->ledger.device && ledger_wants(&p->ledger, job->size);
}

static void
job_enter(struct placer *p, struct job *job)
{
	struct ledger_target target[MOST_PLACES];

	if (!job_may_enter(p, job))
		return;
	for (size_t i = 0; i < job->targets; i++) {
		struct target *t = &job->target[i];

		t->name = maildir_name_new(p->hostname, job->size, job->size);
		target[i] = (struct ledger_target){ span_str(t->home), span_str(t->folder), span_str(t->name.str) };
	}
	job->entered = ledger_put(&p->ledger, target, job->targets, job->fd, job->size);
}

/* SEALED, then, where there is a ledger, DURABLE by it (ledger.h). */
static void
batch_enter(struct placer *p, struct batch *b)
{
	struct job *job;

	TAILQ_FOREACH(job, &b->jobs, next)
		if (job->why.outcome == 0 && job->state == FILE_SEALED)
			job_enter(p, job);
	if (ledger_sync(&p->ledger)) {
		TAILQ_FOREACH(job, &b->jobs, next)
			if (job->entered != 0)
				job->state = FILE_DURABLE;
	} else {
		TAILQ_FOREACH(job, &b->jobs, next)
			job->entered = 0;
	}
}

/* SEALED, then WRITTEN or DURABLE: every file of the batch begins to be written before we wait for
 * one. */
static void
batch_sync_bodies(struct placer *p, struct batch *b)
{
	struct job *job;
	bool sealed;

	TAILQ_FOREACH(job, &b->jobs, next) {
		if (job->why.outcome != 0 || (job->copy && source_fits(job)) || job->copy)
			continue;
		if (!placer_enter(p, job->uid, job->gid)) {
			job->why = V_MAILBOX_UNUSABLE;
			continue;
		}
		sealed = lent_seal(job->fd, job->id, job->size, job->tmp.str[0] != '\0', &job->why);
		user_leave();
		if (!sealed)
			continue;
		job->state = FILE_SEALED;
		job_look_at_journal(p, job);
		if (job_may_enter(p, job))
			continue;
		/* What cannot be placed on the disk may be said here, and only here. */
		if (sync_file_range(job->fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0 && errno != ENOSYS)
			job_sync_failed(job);
	}
	batch_enter(p, b);
	TAILQ_FOREACH(job, &b->jobs, next) {
		if (job->why.outcome != 0 || job->copy || job->entered != 0)
			continue;
		job_sync(job, job->sync_later ? journal_written : fdatasync);
		if (job->why.outcome == 0)
			job->state = job->sync_later ? FILE_WRITTEN : FILE_DURABLE;
	}
}

/* The body of its own, and the directory of each of its names, which batch_sync_places does. */
static void
job_sync_apart(struct batch *b, struct job *job)
{
	job_sync(job, fdatasync);
	for (size_t i = 0; i < job->targets; i++)
		if (job->target[i].place >= 0)
			b->place[job->target[i].place].named = true;
}

/* One sync of `last` makes durable what was named before it on its device; if that fails, nothing of it is. If the journal
 * turns out to be of another kind than we took it for, all of it is synced apart, now and in future. */
static void
device_sync(struct placer *p, struct batch *b, struct job *last)
{
	size_t at = journal_of(p, last->file_device);
	struct job *job;
	bool whole;

	job_sync(last, fsync);
	whole = at < p->ordered_devices && journal_is_whole(&p->ordered[at]);
	TAILQ_FOREACH(job, &b->jobs, next) {
		if (!job->one_commit || job->entered != 0 || job->file_device != last->file_device)
			continue;
		job->one_commit = false;
		if (job->why.outcome == 0)
			job->why = last->why;
		if (!whole && job->why.outcome == 0)
			job_sync_apart(b, job);
	}
	if (!whole)
		journal_forget(p, at);
}

/* The bodies that got their names first. Each link changes the file's own inode, so that syncing the file commits the last
 * of its names, and the journal, which is one sequence, all that came before: earlier files of the batch too. */
static void
batch_sync_written(struct placer *p, struct batch *b)
{
	struct job *job;

	TAILQ_FOREACH(job, &b->jobs, next)
		if (job->why.outcome == 0 && job->entered == 0 && job->sync_later && !job->one_commit)
			job_sync(job, fsync);
	TAILQ_FOREACH_REVERSE(job, &b->jobs, job_list, next)
		if (job->why.outcome == 0 && job->entered == 0 && job->one_commit && job->state == FILE_NAMED)
			device_sync(p, b, job);
}

static void
batch_sync_places(struct batch *b)
{
	for (size_t i = 0; i < b->places; i++) {
		struct place *at = &b->place[i];

		int synced;

		if (!at->named)
			continue;
		synced = fsync(at->new);
		if (synced == 0)
			continue;
		at->error = errno;
		log_error(0, "sync-failed", KEY_STR("directory", at->home),
			KEY_STR("folder", at->folder), KEY_ERRNO);
	}
}

/* Who is refused: where the names could not be made durable too. */
static void
job_judge(struct placer *p, struct batch *b, struct job *job)
{
	for (size_t i = 0; i < job->targets && job->why.outcome == 0; i++) {
		struct target *t = &job->target[i];

		if (!t->refused && t->place >= 0 && b->place[t->place].error != 0)
			job_refuse_target(job, t, verdict_of_errno(b->place[t->place].error));
	}
	if (job->why.outcome != 0 && job->entered != 0) {
		/* A name that stays, should the machine go down now, has the whole message behind it: without the
		 * record nothing else sees to that. */
		if (fdatasync(job->fd) < 0)
			log_warning(0, "sync-failed", KEY_ID("message", job->id), KEY_ERRNO);
		batch_unname(p, b, job);
		ledger_withdraw(&p->ledger, job->entered);
		job->entered = 0;
	} else if (job->why.outcome != 0) {
		batch_unname(p, b, job);
	}
}

/* PROMISED, or everything was taken back. */
static void
job_answer(struct placer *p, struct job *job)
{
	if (job->why.outcome != 0) {
		if (job->copy)
			for (size_t i = 0; i < job->targets; i++)
				if (!job->target[i].refused)
					job_refuse_target(job, &job->target[i], job->why);
	}
	if (job->why.outcome != 0 && !job->copy) {
		send_place_refused(job->from, job->id, &(struct msg_place_refused){
			.number = job->why_number, VERDICT_FIELDS(job->why) }, NULL);
	} else {
		for (size_t n = 0; n < job->targets; n++)
			if (job->target[n].warning > 0 && !job->target[n].refused)
				quota_warning_say(job->from, span_str(job->target[n].address),
					&job->target[n].quota, job->target[n].warning);
		job->state = FILE_PROMISED;
		p->placed++;
		send_placed(job->from, job->id, &(struct msg_placed){ }, NULL);
	}
}

/* Everybody has his answer: what else may be done about a message that is in its places. */
static void
job_fill(struct placer *p, const struct batch *b, const struct job *job)
{
	if (job->state != FILE_PROMISED || p->filler.gist == NULL)
		return;
	for (size_t i = 0; i < job->targets; i++) {
		const struct target *t = &job->target[i];
		const struct place *at = t->refused || t->place < 0 ? NULL : &b->place[t->place];
		int inbox = -1;

		if (at == NULL || at->new < 0)
			continue;
		if (t->folder[0] != '\0' && (inbox = placer_open(p, span_str(t->home), t->uid, t->gid)) < 0)
			continue;
		filler_begin(p, inbox >= 0 ? inbox : at->maildir, at->maildir, at->new, &t->name, t->uid, t->gid);
		if (inbox >= 0)
			close(inbox);
	}
}

/* Its file is settled later, and remains open until then. */
static void
job_leave_to_ledger(struct placer *p, struct job *job)
{
	if (job->entered == 0)
		return;
	ledger_keep(&p->ledger, job->entered, job->fd);
	job->fd = -1;
}

void
placer_work(struct placer *p)
{
	static struct batch b;
	struct job *job;

	while (!TAILQ_EMPTY(&p->waiting)) {
		batch_take(p, &b);
		batch_sync_bodies(p, &b);
		TAILQ_FOREACH(job, &b.jobs, next)
			if (job->why.outcome == 0)
				batch_name(p, &b, job);
		batch_sync_written(p, &b);
		batch_sync_places(&b);
		TAILQ_FOREACH(job, &b.jobs, next)
			job_judge(p, &b, job);
		ledger_sync(&p->ledger);
		TAILQ_FOREACH(job, &b.jobs, next)
			job_answer(p, job);
		while ((job = TAILQ_FIRST(&b.jobs)) != NULL) {
			TAILQ_REMOVE(&b.jobs, job, next);
			job_leave_to_ledger(p, job);
			job_fill(p, &b, job);
			job_free(p, job);
		}
		for (size_t i = 0; i < b.places; i++) {
			if (b.place[i].new >= 0)
				close(b.place[i].new);
			if (b.place[i].maildir >= 0)
				close(b.place[i].maildir);
		}
	}
}
