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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_A_TURN 1000
#define MOST_STRANGERS_NAMED 100         /* in the log; how many there are is told at the end */
/* A spool worker that served the queue before us may be about to name an envelope. */
#define ORPHAN_WAIT_SECONDS 60

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
		if (m->has_message && m->has_envelope)
			continue;
		schedule_at(
			&q->schedule, m, queue_now() + (m->has_envelope ? 0 : ORPHAN_WAIT_SECONDS));
		halves++;
	}
	log_info(0, "queue-read", KEY_NUM("messages", q->schedule.messages.count - halves),
		KEY_NUM("unfinished", halves), KEY_NUM("strangers", q->strangers));
}

static void
on_scan(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval at_once;
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
	int fd = open_in(q->spool, SPOOL_QUEUE, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || (q->scan = fdopendir(fd)) == NULL) {
		log_error(0, "spool-unusable", KEY_STR("directory", SPOOL_QUEUE), KEY_ERRNO);
		if (fd >= 0)
			close(fd);
		return false;
	}
	q->scan_event = evtimer_new(q->daemon.base, on_scan, q);
	evtimer_add(q->scan_event, &at_once);
	return true;
}

bool
recover_orphan(struct queue *q, struct queued *m)
{
	struct stat st;

	if (fstatat(q->queue, spool_name(m->id, SUFFIX_ENVELOPE).str, &st, AT_SYMLINK_NOFOLLOW) ==
		0) {
		m->has_envelope = m->has_message = true;
		return true;
	}
	log_notice(0, "unfinished-message-removed", KEY_ID("message", m->id));
	unlinkat(q->queue, spool_name(m->id, SUFFIX_MESSAGE).str, 0);
	schedule_forget(&q->schedule, m);
	return false;
}
