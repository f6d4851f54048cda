/* spooler_write - the disk's side of a round of the spool worker. */
#include "spooler_inside.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/maildir.h"
#include "lent.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a full or failing spool means to the sender. */
static struct verdict
verdict_of_spool(int error)
{
	return error == ENOSPC || error == EDQUOT ? V_STORAGE : V_LATER;
}

static void
fail(struct spool_job *job, const char *what)
{
	job->why = verdict_of_spool(errno);
	log_error(0, "spool-failed", KEY_ID("message", job->id), KEY_STR("at", what), KEY_ERRNO);
}

/* LENT to SEALED; the envelope is written, unnamed, beside it. */
static void
seal(struct spooler *s, struct spool_job *job)
{
	struct span envelope = text_span(&job->strings);

	if (job->why.outcome != 0)
		return;
	if (!job->renews && !lent_seal(job->fd, job->id, job->envelope.size, job->named, &job->why))
		return;
	job->state = FILE_SEALED;
	/* What cannot be placed on the disk may be said here, and only here. */
	if (!job->renews && sync_file_range(job->fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0 && errno != ENOSYS) {
		fail(job, "sync");
		return;
	}
	job->envelope_fd = open_in(s->queue, ".", O_TMPFILE | O_RDWR, 0600);
	if (job->envelope_fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR) && (job->named = true))
		job->envelope_fd = open_in(s->queue,
			spool_name(job->id, SUFFIX_ENVELOPE SUFFIX_UNNAMED).str,
			O_RDWR | O_CREAT | O_EXCL, 0600);
	if (job->envelope_fd < 0 || write_all(job->envelope_fd, envelope.at, envelope.len) < 0)
		fail(job, "envelope");
}

static int
link_as(struct spooler *s, int fd, uint64_t id, const char *suffix)
{
	static const struct maildir_name none;

	return maildir_link(fd, s->spool, &none, s->spool, SPOOL_QUEUE, spool_name(id, suffix).str);
}

/* The new envelope takes the place of the old one in one step; before that, it is ID.env.new. */
static void
replace(struct spooler *s, struct spool_job *job)
{
	struct spool_name new = spool_name(job->id, SUFFIX_ENVELOPE SUFFIX_UNNAMED),
			  old = spool_name(job->id, SUFFIX_ENVELOPE);
	struct stat st;

	if (fstatat(s->queue, old.str, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		fail(job, "envelope to be replaced");
		return;
	}
	if (!job->named) {
		unlinkat(s->queue, new.str, 0);   /* what a crash has left */
		if (link_as(s, job->envelope_fd, job->id, SUFFIX_ENVELOPE SUFFIX_UNNAMED) < 0) {
			fail(job, "link of envelope");
			return;
		}
	}
	if (renameat(s->queue, new.str, s->queue, old.str) < 0) {
		fail(job, "envelope to be replaced");
		unlinkat(s->queue, new.str, 0);
		return;
	}
	job->state = FILE_NAMED;
}

/* DURABLE to NAMED. The message first: an envelope in queue/ always has its message. */
static void
name(struct spooler *s, struct spool_job *job)
{
	if (job->renews) {
		replace(s, job);
	} else if (link_as(s, job->fd, job->id, SUFFIX_MESSAGE) < 0) {
		fail(job, "link of message");
	} else if (link_as(s, job->envelope_fd, job->id, SUFFIX_ENVELOPE) < 0) {
		fail(job, "link of envelope");
		unlinkat(s->queue, spool_name(job->id, SUFFIX_MESSAGE).str, 0);
	} else {
		job->state = FILE_NAMED;
	}
}

/* NAMED. Without a journal the inode on the disk is the one that was synced before it had a name: its count of links is 0, and
 * e2fsck takes such a name away. */
static void
sync_links(struct spooler *s, struct spool_job *job)
{
	if ((job->renews || fsync(job->fd) == 0) && fsync(job->envelope_fd) == 0)
		return;
	fail(job, "sync of links");
	if (!job->renews)
		spool_unname(s, job->id);
}

void
spool_write(struct spooler *s)
{
	struct spool_job *job;

	TAILQ_FOREACH(job, &s->spooling, next)
		seal(s, job);
	TAILQ_FOREACH(job, &s->spooling, next) {
		if (job->why.outcome != 0)
			continue;
		if ((!job->renews && fdatasync(job->fd) < 0) || fdatasync(job->envelope_fd) < 0)
			fail(job, "sync");
		else
			job->state = FILE_DURABLE;
	}
	TAILQ_FOREACH(job, &s->spooling, next)
		if (job->why.outcome == 0)
			name(s, job);
	TAILQ_FOREACH(job, &s->spooling, next)
		if (job->why.outcome == 0 && !s->ordered)
			sync_links(s, job);
}

void
spool_unname(struct spooler *s, uint64_t id)
{
	unlinkat(s->queue, spool_name(id, SUFFIX_ENVELOPE).str, 0);
	unlinkat(s->queue, spool_name(id, SUFFIX_MESSAGE).str, 0);
}

/* Where the next record goes: behind the last whole one. What a crash left behind it is cut off,
 * or the new record could not be found. -1 with errno. */
static off_t
end_of_records(int fd)
{
	struct stat st;
	unsigned char *at;
	ssize_t len;
	size_t whole;

	if (fstat(fd, &st) < 0)
		return -1;
	if (st.st_size > MOST_ENVELOPE_FILE) {
		errno = EFBIG;
		return -1;
	}
	at = must_alloc((size_t)st.st_size + 1);
	len = read_at(fd, at, (size_t)st.st_size, 0);
	whole = len < 0 ? 0 : envelope_whole(span_of(at, (size_t)len));
	free(at);
	if (len < 0 || whole == 0) {
		errno = len < 0 ? errno : EINVAL;
		return -1;
	}
	if ((off_t)whole < st.st_size && ftruncate(fd, (off_t)whole) < 0)
		return -1;
	return (off_t)whole;
}

/* Appends the records of `first` and of those behind it that are about the same message. */
static int
append(struct spooler *s, struct spool_job *first)
{
	int fd = open_in(s->queue, spool_name(first->id, SUFFIX_ENVELOPE).str, O_RDWR, 0);
	int result = -1;
	off_t end;

	if (fd < 0)
		return -1;
	end = end_of_records(fd);
	if (end >= 0 && lseek(fd, end, SEEK_SET) == end) {
		result = 0;
		for (struct spool_job *job = first;
			job != NULL && job->id == first->id && result == 0;
			job = TAILQ_NEXT(job, next))
			result = write_all(fd, job->strings.at, job->strings.len);
		if (result == 0)
			result = fdatasync(fd);
	}
	int error = errno;

	close(fd);
	errno = error;
	return result;
}

void
spool_tell(struct spooler *s)
{
	struct spool_job *job = TAILQ_FIRST(&s->telling);

	while (job != NULL) {
		uint64_t id = job->id;
		int result = append(s, job);

		if (result < 0)
			log_error(0, "spool-failed", KEY_ID("message", id), KEY_STR("at", "record"),
				KEY_ERRNO);
		for (; job != NULL && job->id == id; job = TAILQ_NEXT(job, next))
			job->outcome = result == 0 ? DONE : LATER;
	}
}

static bool
remove_name(struct spooler *s, uint64_t id, const char *suffix)
{
	if (unlinkat(s->queue, spool_name(id, suffix).str, 0) == 0 || errno == ENOENT)
		return true;
	log_error(0, "spool-failed", KEY_ID("message", id), KEY_STR("at", suffix), KEY_ERRNO);
	return false;
}

void
spool_unlink(struct spooler *s)
{
	struct spool_job *job;

	TAILQ_FOREACH(job, &s->removing, next)
		job->outcome = remove_name(s, job->id, SUFFIX_ENVELOPE) &&
			remove_name(s, job->id, SUFFIX_MESSAGE) ? DONE : LATER;
}
