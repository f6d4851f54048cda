/* quota - see quota.h. */
#include "quota.h"

#include "beneath.h"
#include "span.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool
quota_is_set(const struct quota *q)
{
	return q->bytes != 0 || q->messages != 0;
}

bool
quota_is_full(const struct quota *q, const struct quota_usage *u)
{
	return (q->bytes != 0 && u->bytes >= q->bytes) ||
		(q->messages != 0 && u->messages >= q->messages);
}

/* "1000000S,1000C": only the limits that there are. */
static void
limits_put(const struct quota *q, struct text *to)
{
	if (q->bytes != 0) {
		text_add_number(to, q->bytes);
		text_add_byte(to, 'S');
	}
	if (q->bytes != 0 && q->messages != 0)
		text_add_byte(to, ',');
	if (q->messages != 0) {
		text_add_number(to, q->messages);
		text_add_byte(to, 'C');
	}
	text_add_byte(to, '\n');
}

/* "-4096 -1", with blanks as anybody likes. */
static bool
take_signed(struct span *in, int64_t *n)
{
	struct span rest = *in;
	uint64_t value;
	bool minus;

	while (span_take(&rest, ' '))
		;
	minus = span_take(&rest, '-');
	if (!minus)
		span_take(&rest, '+');
	if (!span_take_number(&rest, INT64_MAX / 4, &value))
		return false;
	*n = minus ? -(int64_t)value : (int64_t)value;
	*in = rest;
	return true;
}

static bool
sum_lines(struct span in, struct quota_usage *u)
{
	int64_t bytes = 0, messages = 0;
	struct span line;

	while (span_take_until(&in, '\n', &line)) {
		int64_t more_bytes, more_messages;

		if (!take_signed(&line, &more_bytes) || !take_signed(&line, &more_messages) ||
		    __builtin_add_overflow(bytes, more_bytes, &bytes) ||
		    __builtin_add_overflow(messages, more_messages, &messages))
			return false;
	}
	if (in.len > 0 || bytes < 0 || messages < 0)
		return false;
	u->bytes = (uint64_t)bytes;
	u->messages = (uint64_t)messages;
	return true;
}

/* What the open file says, if it is for these limits. *age: seconds since it was changed. */
static bool
file_sum(int fd, const struct quota *q, struct quota_usage *u, int64_t *age)
{
	char bytes[MOST_QUOTA_FILE + 1] = "";
	struct text limits = TEXT_UP_TO(64);
	ssize_t len = fd < 0 ? -1 : read_at(fd, bytes, sizeof(bytes), 0);
	struct span in = span_of(bytes, len < 0 ? 0 : (size_t)len);
	struct stat st;
	bool good;

	limits_put(q, &limits);
	good = len > 0 && len <= MOST_QUOTA_FILE && fstat(fd, &st) == 0 && in.len >= limits.len &&
		memcmp(in.at, limits.at, limits.len) == 0 &&
		sum_lines(span_part(in, limits.len, in.len), u);
	if (good)
		*age = (int64_t)time(NULL) - (int64_t)st.st_mtime;
	text_clear(&limits);
	return good;
}

static bool
file_read(int maildir, const struct quota *q, struct quota_usage *u, int64_t *age)
{
	int fd = open_in(maildir, QUOTA_FILE, O_RDONLY, 0);
	bool good = file_sum(fd, q, u, age);

	if (fd >= 0)
		close(fd);
	return good;
}

/* ",S=4096" of a name, or what the file system says; false for what is not counted. */
static bool
message_size(int directory, const char *name, uint64_t *size)
{
	const char *s = strstr(name, ",S=");
	struct span digits = span_str(s == NULL ? NULL : s + 3);
	struct stat st;

	if (name[0] == '.')
		return false;
	if (s != NULL && span_take_number(&digits, INT64_MAX / 4, size))
		return true;
	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	*size = (uint64_t)st.st_size;
	return true;
}

static int
count_names(int folder, const char *name, struct quota_usage *u, uint64_t *looked)
{
	int fd = open_in(folder, name, O_RDONLY | O_DIRECTORY, 0);
	struct dirent *entry;
	uint64_t size;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	if ((dir = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	while ((entry = readdir(dir)) != NULL && ++*looked < MOST_QUOTA_NAMES) {
		if (!message_size(fd, entry->d_name, &size))
			continue;
		u->bytes += size;
		u->messages++;
	}
	closedir(dir);
	return 0;
}

static int
count_folder(int maildir, const char *name, struct quota_usage *u, uint64_t *looked)
{
	int folder = open_in(maildir, name, O_RDONLY | O_DIRECTORY, 0), result;

	if (folder < 0)
		return 0; /* a file, or a link: no folder */
	result = count_names(folder, "new", u, looked) < 0 || count_names(folder, "cur", u, looked) < 0
		? -1
		: 0;
	close(folder);
	return result;
}

static int
count_all(int maildir, struct quota_usage *u)
{
	int fd = open_in(maildir, ".", O_RDONLY | O_DIRECTORY, 0), result;
	unsigned int folders = 0;
	struct dirent *entry;
	uint64_t looked = 0;
	DIR *dir;

	memset(u, 0, sizeof(*u));
	if (fd < 0 || (dir = fdopendir(fd)) == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	result = count_folder(maildir, ".", u, &looked);
	while (result == 0 && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] == '.' && entry->d_name[1] != '\0' && entry->d_name[1] != '.' &&
		    ++folders < MOST_QUOTA_FOLDERS)
			result = count_folder(maildir, entry->d_name, u, &looked);
	closedir(dir);
	return result;
}

int
quota_replace(int maildir, const struct quota *q, const struct quota_usage *u)
{
	struct text text = TEXT_UP_TO(256);
	int tmp = open_in(maildir, "tmp", O_RDONLY | O_DIRECTORY, 0), fd = -1, result = -1, error;
	char name[64];

	snprintf(name, sizeof(name), QUOTA_FILE ".%ld.%u", (long)getpid(), (unsigned int)time(NULL));
	limits_put(q, &text);
	text_printf(&text, "%llu %llu\n", (unsigned long long)u->bytes,
		(unsigned long long)u->messages);
	if (tmp >= 0)
		fd = open_in(tmp, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd >= 0 && write_all(fd, text.at, text.len) == 0)
		result = renameat(tmp, name, maildir, QUOTA_FILE);
	error = errno;
	if (fd >= 0 && result < 0)
		unlinkat(tmp, name, 0);
	if (fd >= 0)
		close(fd);
	if (tmp >= 0)
		close(tmp);
	text_clear(&text);
	errno = error;
	return result;
}

int
quota_usage(int maildir, const struct quota *q, struct quota_usage *u)
{
	int64_t age;

	if (file_read(maildir, q, u, &age) &&
	    (!quota_is_full(q, u) || (age >= 0 && age < QUOTA_FRESH_SECONDS)))
		return 0;
	if (count_all(maildir, u) < 0)
		return -1;
	quota_replace(maildir, q, u);
	return 0;
}

void
quota_add(int maildir, const struct quota *q, int64_t bytes, int64_t messages)
{
	struct quota_usage u;
	struct text line = TEXT_UP_TO(64);
	int64_t age;
	int fd = file_read(maildir, q, &u, &age)
		? open_in(maildir, QUOTA_FILE, O_WRONLY | O_APPEND, 0)
		: -1;

	/* A line that was cut off makes the whole file unreadable, and so it is counted anew. */
	text_printf(&line, "%lld %lld\n", (long long)bytes, (long long)messages);
	if (fd >= 0) {
		if (write_all(fd, line.at, line.len) < 0)
			unlinkat(maildir, QUOTA_FILE, 0);
		close(fd);
	}
	text_clear(&line);
}

/* `n` more (fewer), but never below nothing. */
static uint64_t
moved(uint64_t from, int64_t n)
{
	return n < 0 && (uint64_t)-n > from ? 0 : from + (uint64_t)n;
}

void
quota_add_replacing(int maildir, const struct quota *q, int64_t bytes, int64_t messages)
{
	struct quota_usage before, after, u;
	int fd = open_in(maildir, QUOTA_FILE, O_RDONLY, 0);
	int64_t age;

	if (!file_sum(fd, q, &before, &age)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	u = (struct quota_usage){ moved(before.bytes, bytes), moved(before.messages, messages) };
	if (quota_replace(maildir, q, &u) == 0 && file_sum(fd, q, &after, &age) &&
	    (after.bytes != before.bytes || after.messages != before.messages)) {
		u.bytes = moved(u.bytes, (int64_t)(after.bytes - before.bytes));
		u.messages = moved(u.messages, (int64_t)(after.messages - before.messages));
		quota_replace(maildir, q, &u);
	}
	close(fd);
}

void
quota_forget(int maildir)
{
	unlinkat(maildir, QUOTA_FILE, 0);
}
