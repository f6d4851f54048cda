/* placing - see placing.h. */
#include "imapd/placing.h"

#include "common/beneath.h"
#include "common/log.h"
#include "imapd/flags.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
placing_begin(struct mailbox *m, struct span names)
{
	int fd = open_in(m->index.directory, PLACING_NAME, O_WRONLY | O_CREAT | O_APPEND, 0600), error;
	struct stat before;

	if (fd < 0)
		return -1;
	m->placing = true;
	errno = EFBIG;
	if (fstat(fd, &before) < 0 || before.st_size < 0 || (uint64_t)before.st_size + names.len > MOST_PLACING) {
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	if (write_all(fd, names.at, names.len) < 0) {
		error = errno;
		/* What others will write behind it begins with a whole name. */
		if (ftruncate(fd, before.st_size) < 0)
			log_warning(0, "placing-not-cut", KEY_STR("folder", m->folder), KEY_ERRNO);
		close(fd);
		errno = error;
		return -1;
	}
	close(fd);
	return 0;
}

void
placing_end(struct mailbox *m)
{
	if (m->held > 0 || !m->placing)
		return;
	m->placing = false;
	if (unlinkat(m->index.directory, PLACING_NAME, 0) < 0 && !m->gone)
		log_warning(0, "placing-not-removed", KEY_STR("folder", m->folder), KEY_ERRNO);
}

/* Removes it, if it is a name of a file without a record. */
static bool
undo_one(struct mailbox *m, const char *name)
{
	struct mail_name parts;

	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL)
		return false;
	mail_name_split(span_str(name), &parts);
	return name_table_find(&m->names, &m->index, parts.base) == NO_RECORD && unlinkat(m->cur, name, 0) == 0;
}

static size_t
undo_all(struct mailbox *m, const char *names, size_t len)
{
	const char *end;
	size_t undone = 0;

	for (; (end = memchr(names, '\0', len)) != NULL; names = end + 1) {
		undone += undo_one(m, names);
		len -= (size_t)(end + 1 - names);
	}
	return undone;
}

static void
undo_from(struct mailbox *m, int fd)
{
	char *names;
	struct stat st;
	size_t undone;
	ssize_t got;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > MOST_PLACING)
		return;
	names = must_alloc((size_t)st.st_size);
	got = read_at(fd, names, (size_t)st.st_size, 0);
	undone = got > 0 ? undo_all(m, names, (size_t)got) : 0;
	free(names);
	if (undone > 0)
		log_notice(0, "append-undone", KEY_STR("folder", m->folder), KEY_NUM("messages", undone));
}

void
placing_undo(struct mailbox *m)
{
	int fd = open_in(m->index.directory, PLACING_NAME, O_RDONLY, 0);

	if (fd < 0)
		return;
	if (!m->id_made && !m->index.unnamed && m->index.damaged == 0)
		undo_from(m, fd);
	close(fd);
	(void)unlinkat(m->index.directory, PLACING_NAME, 0);
}
