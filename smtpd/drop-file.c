/*
 * drop-file - see drop-file.h.
 */
#include "smtpd/drop-file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beneath.h"

/* The envelope at the end of the file. */
static bool
read_envelope(struct drop_file *f, uint64_t whole, const char **why)
{
	unsigned char foot[DROP_FOOT];
	size_t len;

	if (whole < DROP_FOOT ||
	    read_at(f->fd, foot, sizeof(foot), (off_t)(whole - DROP_FOOT)) != DROP_FOOT ||
	    !drop_foot_parse(span_of(foot, sizeof(foot)), &len) || len > whole - DROP_FOOT) {
		*why = "not written by sendmail";
		return false;
	}
	f->size = whole - DROP_FOOT - len;
	f->fields = TEXT_UP_TO(DROP_ENVELOPE_MOST);
	f->fields.at = must_alloc(len + 1);
	f->fields.room = len + 1;
	if (read_at(f->fd, f->fields.at, len, (off_t)f->size) != (ssize_t)len) {
		*why = "changed while it was read";
		return false;
	}
	f->fields.len = len;
	return drop_parse(text_span(&f->fields), &f->envelope, why);
}

static bool
judge(struct drop_file *f, int directory, uint64_t most, const char **why)
{
	struct stat st, above;

	if (fstat(f->fd, &st) < 0 || fstat(directory, &above) < 0) {
		*why = "cannot be looked at";
		return false;
	}
	f->uid = st.st_uid;
	if (!S_ISREG(st.st_mode))
		*why = "not a regular file";
	else if (st.st_nlink != 1)
		*why = "has another name elsewhere";
	else if (st.st_gid != above.st_gid)
		*why = "was not made here";
	else if ((uint64_t)st.st_size > most + DROP_ENVELOPE_MOST + DROP_FOOT)
		*why = "larger than this server takes";
	else
		return read_envelope(f, (uint64_t)st.st_size, why);
	return false;
}

enum drop_file_state
drop_file_open(
	struct drop_file *f, int directory, const char *name, uint64_t most, const char **why)
{
	*f = (struct drop_file){ .fd = open_in(directory, name, O_RDONLY | O_NOFOLLOW, 0),
		.uid = UINT32_MAX };
	if (f->fd < 0) {
		*why = "not a regular file";
		/* A link (ELOOP), a pipe or a directory (EINVAL), a socket (ENXIO). */
		if (errno == ELOOP || errno == EINVAL || errno == ENXIO || errno == EISDIR)
			return DROP_FILE_BAD;
		*why = "others may not read it";
		return errno == EACCES ? DROP_FILE_BAD : DROP_FILE_GONE;
	}
	if (judge(f, directory, most, why))
		return DROP_FILE_GOOD;
	drop_clear(&f->envelope);
	text_clear(&f->fields);
	close(f->fd);
	f->fd = -1;
	return DROP_FILE_BAD;
}

void
drop_file_close(struct drop_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	drop_clear(&f->envelope);
	text_clear(&f->fields);
}

ssize_t
drop_file_read(const struct drop_file *f, void *to, size_t len, uint64_t at)
{
	if (at >= f->size)
		return 0;
	if (len > f->size - at)
		len = (size_t)(f->size - at);
	return read_at(f->fd, to, len, (off_t)at);
}
