/* placing - see placing.h. */
#include "imapd/placing.h"

#include "common/beneath.h"
#include "common/log.h"
#include "imapd/flags.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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
	if (fstat(fd, &before) < 0 || write_all(fd, names.at, names.len) < 0) {
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
undo_all(struct mailbox *m, FILE *f)
{
	char *name = NULL;
	size_t room = 0, undone = 0;
	ssize_t len;

	while ((len = getdelim(&name, &room, '\0', f)) > 0 && name[len - 1] == '\0')
		undone += undo_one(m, name);
	free(name);
	return undone;
}

void
placing_undo(struct mailbox *m)
{
	int fd = open_in(m->index.directory, PLACING_NAME, O_RDONLY, 0);
	bool doubtful = m->id_made || m->index.unnamed || m->index.damaged > 0;
	size_t undone;
	FILE *f;

	if (fd < 0)
		return;
	f = doubtful ? NULL : fdopen(fd, "r");
	if (f == NULL) {
		close(fd);
	} else {
		undone = undo_all(m, f);
		fclose(f);
		if (undone > 0)
			log_notice(0, "append-undone", KEY_STR("folder", m->folder), KEY_NUM("messages", undone));
	}
	(void)unlinkat(m->index.directory, PLACING_NAME, 0);
}
