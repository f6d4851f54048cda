/* queued - what lies in the spool of one message, read by queue; see queue.h. */
#include "queue.h"

#include "common/beneath.h"
#include "common/log.h"
#include "spool_name.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
queued_read(struct queue *q, uint64_t id, struct queued_file *f)
{
	int fd = open_in(q->queue, spool_name(id, SUFFIX_ENVELOPE).str, O_RDONLY, 0), error = 0;
	struct stat st;
	ssize_t len;
	size_t whole;

	memset(f, 0, sizeof(*f));
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		error = errno;
	else if (st.st_size > MOST_ENVELOPE_FILE)
		error = EBADMSG;
	if (error == 0) {
		f->at = must_alloc((size_t)st.st_size + 1);
		len = read_at(fd, f->at, (size_t)st.st_size, 0);
		if (len < 0)
			error = errno;
		else if (!envelope_decode(span_of(f->at, (size_t)len), &f->envelope, &whole) ||
		    f->envelope.id != id)
			error = EBADMSG;
		f->len = len < 0 ? 0 : (size_t)len;
	}
	close(fd);
	if (error == 0)
		return 0;
	queued_file_clear(f);
	errno = error;
	return -1;
}

void
queued_file_clear(struct queued_file *f)
{
	envelope_clear(&f->envelope);
	free(f->at);
	f->at = NULL;
}

void
queued_set_aside(struct queue *q, struct queued *m, const char *reason)
{
	static const char *const suffixes[] = { SUFFIX_ENVELOPE, SUFFIX_MESSAGE };
	int corrupt = open_in(q->spool, SPOOL_CORRUPT, O_PATH | O_DIRECTORY, 0);

	log_error(0, "unreadable-in-queue", KEY_ID("message", m->id), KEY_STR("reason", reason),
		KEY_STR("moved-to", SPOOL_CORRUPT));
	for (size_t i = 0; corrupt >= 0 && i < 2; i++) {
		struct spool_name name = spool_name(m->id, suffixes[i]);

		if (renameat(q->queue, name.str, corrupt, name.str) < 0 && errno != ENOENT)
			log_error(0, "spool-failed", KEY_ID("message", m->id),
				KEY_STR("at", SPOOL_CORRUPT), KEY_ERRNO);
	}
	if (corrupt >= 0)
		close(corrupt);
	schedule_forget(&q->schedule, m);
}
