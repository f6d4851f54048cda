/*
 * recover - what lies in the spool at start, by the table in states.h.
 *
 * Only names are read here, some at a time, so that a spool of a million messages neither stops the
 * loop nor fills memory; each envelope is read at its first attempt.
 */
#include "queue.h"

#include "common/beneath.h"
#include "common/log.h"
#include "spool_name.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_A_TURN 1000
#define MOST_STRANGERS_NAMED 100         /* in the log; how many there are is told at the end */
/* A spool worker that served the queue before us may be about to name an envelope. */
#define ORPHAN_WAIT_SECONDS 60

/* NULL: logged. */
static DIR *
open_queue(struct queue *q)
{
	int fd = open_in(q->spool, SPOOL_QUEUE, O_RDONLY | O_DIRECTORY, 0);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (directory == NULL) {
		log_error(0, "spool-unusable", KEY_STR("directory", SPOOL_QUEUE), KEY_ERRNO);
		if (fd >= 0)
			close(fd);
	}
	return directory;
}

/* A file of a file system without unnamed files. Its message was promised to nobody, unless it is
 * being written right now. */
static void
remove_unfinished(struct queue *q, const char *name, uint64_t id)
{
	struct stat st;

	if (idmap_get(&q->conversations, id) != NULL ||
	    fstatat(q->queue, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_mtime + ORPHAN_WAIT_SECONDS > time(NULL))
		return;
	unlinkat(q->queue, name, 0);
}

static void
note(struct queue *q, const char *name)
{
	struct queued *m;
	uint64_t id;
	bool envelope = spool_name_parse(name, SUFFIX_ENVELOPE, &id);

	if (!envelope && !spool_name_parse(name, SUFFIX_MESSAGE, &id)) {
		if (spool_name_parse(name, SUFFIX_MESSAGE SUFFIX_UNNAMED, &id) ||
		    spool_name_parse(name, SUFFIX_ENVELOPE SUFFIX_UNNAMED, &id))
			remove_unfinished(q, name, id);
		else if (name[0] != '.' && q->strangers++ < MOST_STRANGERS_NAMED)
			log_warning(0, "stranger-in-queue", KEY_STR("file", name));
		return;
	}
	/* What is being spooled, delivered or was accepted since the start is known already. */
	if (idmap_get(&q->conversations, id) != NULL)
		return;
	if ((m = schedule_find(&q->schedule, id)) == NULL)
		m = schedule_add(&q->schedule, id);
	else if (m->has_message && m->has_envelope)
		return;
	m->has_envelope |= envelope;
	m->has_message |= !envelope;
	if (m->has_message && m->has_envelope)
		schedule_at(&q->schedule, m, queue_now());
}

/* Halves: a message alone is what a crash left before the promise or after the end; an envelope
 * alone is a damage, and its turn says so. */
static void
scan_end(struct queue *q)
{
	size_t place = 0, halves = 0;
	struct queued *m;

	closedir(q->scan);
	q->scan = NULL;
	while ((m = idmap_next(&q->schedule.messages, &place)) != NULL) {
		/* What has its turn, or an order for it, is no half: its other name came by meanwhile. */
		if ((m->has_message && m->has_envelope) || m->active)
			continue;
		schedule_at(
			&q->schedule, m, queue_now() + (m->has_envelope ? 0 : ORPHAN_WAIT_SECONDS));
		halves++;
	}
	log_info(0, "queue-read", KEY_NUM("messages", q->schedule.messages.count - halves),
		KEY_NUM("unfinished", halves), KEY_NUM("strangers", q->strangers));
}

/* --- once more --- */

static bool
is_there(struct queue *q, uint64_t id, const char *suffix)
{
	struct stat st;

	return fstatat(q->queue, spool_name(id, suffix).str, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What a spool worker of the queue before us has named after the scan had passed: nobody was promised it, but it would
 * lie there, whole, until the next start. */
static void
note_late(struct queue *q, const char *name)
{
	struct queued *m;
	uint64_t id;

	if (!spool_name_parse(name, SUFFIX_ENVELOPE, &id) || idmap_get(&q->conversations, id) != NULL ||
		schedule_find(&q->schedule, id) != NULL || !is_there(q, id, SUFFIX_ENVELOPE) || !is_there(q, id, SUFFIX_MESSAGE))
		return;
	log_notice(0, "found-in-queue", KEY_ID("message", id));
	m = schedule_add(&q->schedule, id);
	m->has_envelope = m->has_message = true;
	schedule_at(&q->schedule, m, queue_now());
}

static void
on_second_look(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval at_once;
	struct queue *q = arg;
	struct dirent *entry;

	(void)fd;
	(void)what;
	if (q->second_look == NULL && (q->second_look = open_queue(q)) == NULL)
		return;
	for (int n = 0; n < NAMES_A_TURN; n++) {
		if ((entry = readdir(q->second_look)) == NULL) {
			closedir(q->second_look);
			q->second_look = NULL;
			attempts_run(q);
			return;
		}
		note_late(q, entry->d_name);
	}
	evtimer_add(q->second_event, &at_once);
}

/* --- the scan --- */

static void
on_scan(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval at_once, later = { .tv_sec = ORPHAN_WAIT_SECONDS };
	struct queue *q = arg;
	struct dirent *entry;

	(void)fd;
	(void)what;
	for (int n = 0; n < NAMES_A_TURN; n++) {
		errno = 0;
		if ((entry = readdir(q->scan)) == NULL) {
			if (errno != 0)
				log_error(0, "spool-failed", KEY_STR("directory", SPOOL_QUEUE),
					KEY_ERRNO);
			scan_end(q);
			evtimer_add(q->second_event, &later);
			attempts_run(q);
			return;
		}
		note(q, entry->d_name);
	}
	attempts_run(q);
	evtimer_add(q->scan_event, &at_once);
}

bool
recover_begin(struct queue *q)
{
	static const struct timeval at_once;

	if ((q->scan = open_queue(q)) == NULL)
		return false;
	q->scan_event = evtimer_new(q->daemon.base, on_scan, q);
	q->second_event = evtimer_new(q->daemon.base, on_second_look, q);
	if (q->scan_event == NULL || q->second_event == NULL)
		abort();
	evtimer_add(q->scan_event, &at_once);
	return true;
}

bool
recover_orphan(struct queue *q, struct queued *m)
{
	if (is_there(q, m->id, SUFFIX_ENVELOPE)) {
		m->has_envelope = m->has_message = true;
		return true;
	}
	log_notice(0, "unfinished-message-removed", KEY_ID("message", m->id));
	unlinkat(q->queue, spool_name(m->id, SUFFIX_MESSAGE).str, 0);
	schedule_forget(&q->schedule, m);
	return false;
}

void
recover_unpromised(struct queue *q, uint64_t id)
{
	/* Before all ids are known, a captured smtpd could have given it that of a message which lies there, promised. */
	if (q->scan != NULL)
		return;
	/* As in spool_unlink: no envelope is ever without its message. */
	if ((unlinkat(q->queue, spool_name(id, SUFFIX_ENVELOPE).str, 0) < 0 && errno != ENOENT) ||
		(unlinkat(q->queue, spool_name(id, SUFFIX_MESSAGE).str, 0) < 0 && errno != ENOENT))
		log_error(0, "spool-failed", KEY_ID("message", id), KEY_STR("at", "removal"), KEY_ERRNO);
}
