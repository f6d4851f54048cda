/*
 * import - see import.h. This file: the user's place.
 */
#include "master/import.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/beneath.h"

#define MAILBOX_ID_FILE "valija-mailbox" /* of imapd/mailbox.h: somebody has opened the folder */
#define PROGRESS_MILLISECONDS 500
#define MOST_SUBSCRIPTIONS (16u * 1024 * 1024)
#define COPY_AT_ONCE 65536

/* A message that was written, and has no name yet. */
struct waiting {
	int fd;
	struct maildir_name tmp;
	bool seen; /* to cur/ */
	char name[MAILDIR_MOST_NAME + 1];
	uint64_t octets;
};

struct import_folder {
	int directory;
	char *name;
	bool fresh;
	void *bases; /* tsearch: unique parts of the names that are there */
	struct waiting waiting[IMPORT_BATCH];
	size_t count;
	uint64_t messages, there;
};

/* These two say nothing of success; -1 is nobody's, so that it only asks. */
static void
become(unsigned int uid, unsigned int gid)
{
	setfsgid(gid);
	setfsuid(uid);
	if ((unsigned int)setfsgid((gid_t)-1) == gid && (unsigned int)setfsuid((uid_t)-1) == uid)
		return;
	fprintf(stderr, "valija: this machine does not let root act as uid %u, gid %u\n", uid, gid);
	exit(EX_OSERR);
}

void
import_as_user(const struct import *in)
{
	if (in->root)
		become(in->uid, in->gid);
}

void
import_as_self(const struct import *in)
{
	if (in->root)
		become(0, 0);
}

/* Names were chosen by people far away; nothing of them may steer a terminal. */
static void
make_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

void
import_complain(struct import *in, const char *format, ...)
{
	char sentence[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(sentence, sizeof sentence, format, ap);
	va_end(ap);
	make_printable(sentence);
	in->failed++;
	fprintf(stderr, "%svalija: %s: %s\n", in->terminal ? "\r\033[K" : "", in->user, sentence);
}

void
import_begin(struct import *in, int maildir, unsigned int uid, unsigned int gid, const char *user)
{
	*in = (struct import){ .maildir = maildir,
		.uid = uid,
		.gid = gid,
		.root = geteuid() == 0,
		.user = user,
		.subscribed = TEXT_UP_TO(MOST_SUBSCRIPTIONS),
		.terminal = isatty(STDERR_FILENO) == 1 };
}

/* --- progress --- */

static const char *
folder_text(const struct import_folder *f)
{
	static char text[MAILDIR_MOST_NAME + 1];

	if (!f->name[0])
		return "INBOX";
	snprintf(text, sizeof text, "%s", f->name + 1);
	make_printable(text);
	return text;
}

static void
progress(struct import *in)
{
	struct timespec now;
	int64_t gone;

	if (!in->terminal)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	gone = (now.tv_sec - in->told.tv_sec) * 1000 + (now.tv_nsec - in->told.tv_nsec) / 1000000;
	if (in->told.tv_sec && gone < PROGRESS_MILLISECONDS)
		return;
	in->told = now;
	fprintf(stderr, "\r\033[K%s: %s: %llu messages, %llu there already; in all %llu, %llu MiB", in->user,
		folder_text(in->folder), (unsigned long long)in->folder->messages,
		(unsigned long long)in->folder->there, (unsigned long long)in->messages,
		(unsigned long long)(in->octets >> 20));
}

/* --- names that are there --- */

const struct dirent *
import_next(struct import *in, DIR *all, const char *name)
{
	const struct dirent *one;

	errno = 0;
	one = readdir(all);
	if (!one && errno)
		import_complain(in, "%s: not all of it can be read: %s", name, strerror(errno));
	return one;
}

/* The unique part: before flags, and before S= and W=, which not every program keeps. */
static struct span
base_of(struct span name)
{
	struct span base = span_part(name, 0, span_index(name, ':'));

	return span_part(base, 0, span_index(base, ','));
}

static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void
remember(struct import_folder *f, struct span name)
{
	char *key = must_copy(base_of(name));
	void **node = tsearch(key, &f->bases, compare);

	if (!node)
		abort();
	if (*node != (void *)key)
		free(key);
}

static void
remember_all(struct import *in, const char *subdir)
{
	int fd;
	DIR *all;
	const struct dirent *one;

	import_as_user(in);
	fd = maildir_subdir(in->folder->directory, subdir);
	import_as_self(in);
	if (fd < 0 || !(all = fdopendir(fd))) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((one = import_next(in, all, subdir)))
		if (one->d_name[0] != '.')
			remember(in->folder, span_str(one->d_name));
	closedir(all);
}

bool
import_has(struct import *in, struct span base)
{
	char *key = must_copy(base_of(base));
	bool has = tfind(key, &in->folder->bases, compare) != NULL;

	free(key);
	if (has) {
		in->folder->there++;
		progress(in);
	}
	return has;
}

/* --- folders --- */

bool
import_into(struct import *in, const char *name)
{
	struct import_folder *f = must_alloc(sizeof *f);

	f->name = must_copy(span_str(name));
	in->folder = f;
	import_as_user(in);
	f->directory = maildir_make(in->maildir, name[0] ? name : ".") < 0
		? -1
		: open_in(in->maildir, name[0] ? name : ".", O_RDONLY | O_DIRECTORY, 0);
	f->fresh = f->directory >= 0 &&
		faccessat(f->directory, MAILBOX_ID_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
	import_as_self(in);
	if (f->directory < 0) {
		import_complain(in, "the folder %s cannot be made: %s", folder_text(f), strerror(errno));
		free(f->name);
		free(f);
		in->folder = NULL;
		return false;
	}
	remember_all(in, "new");
	remember_all(in, "cur");
	return true;
}

bool
import_may_go_on(struct import *in)
{
	if (in->folders < MOST_IMPORT_FOLDERS)
		return true;
	if (!in->full)
		import_complain(in, "more than %d folders: the others are left out", MOST_IMPORT_FOLDERS);
	in->full = true;
	return false;
}

bool
import_is_fresh(const struct import *in)
{
	return in->folder->fresh;
}

/* --- messages --- */

int
import_file(struct import *in)
{
	struct import_folder *f = in->folder;
	int fd;

	import_as_user(in);
	fd = maildir_file(f->directory, &f->waiting[f->count].tmp);
	import_as_self(in);
	if (fd < 0)
		import_complain(in, "no file in %s: %s", folder_text(f), strerror(errno));
	return fd;
}

static void
forget(struct import_folder *f, int fd, const struct maildir_name *tmp)
{
	maildir_drop(f->directory, tmp);
	close(fd);
}

void
import_drop(struct import *in, int fd)
{
	import_as_user(in);
	forget(in->folder, fd, &in->folder->waiting[in->folder->count].tmp);
	import_as_self(in);
}

static void
name_one(struct import *in, struct waiting *w)
{
	struct import_folder *f = in->folder;
	int made = maildir_link(w->fd, f->directory, &w->tmp, f->directory, w->seen ? "cur" : "new", w->name);

	if (made == 0) {
		in->messages++;
		f->messages++;
		in->octets += w->octets;
	} else if (errno == EEXIST) {
		f->there++;
	} else {
		import_complain(in, "%s in %s: %s", w->name, folder_text(f), strerror(errno));
	}
	forget(f, w->fd, &w->tmp);
}

/* Bodies first, then names, then the directories: what has a name is whole. Without a name it is taken the next time. */
static void
batch_end(struct import *in)
{
	struct import_folder *f = in->folder;
	bool whole;

	if (f->count == 0)
		return;
	import_as_user(in);
	whole = syncfs(f->directory) == 0;
	if (!whole)
		import_complain(in, "%zu messages of %s are left out: %s", f->count, folder_text(f), strerror(errno));
	for (size_t i = 0; i < f->count; i++)
		if (whole)
			name_one(in, &f->waiting[i]);
		else
			forget(f, f->waiting[i].fd, &f->waiting[i].tmp);
	if (maildir_sync(f->directory, "new") < 0 || maildir_sync(f->directory, "cur") < 0)
		import_complain(in, "%s: %s", folder_text(f), strerror(errno));
	import_as_self(in);
	f->count = 0;
	progress(in);
}

void
import_put(struct import *in, int fd, const char *subdir, const char *name, time_t came, uint64_t octets)
{
	struct import_folder *f = in->folder;
	struct waiting *w = &f->waiting[f->count];
	const struct timespec times[2] = { { came, 0 }, { came, 0 } };

	/* The time of arrival (INTERNALDATE) is the file's. */
	if (came > 0)
		futimens(fd, times);
	w->fd = fd;
	w->seen = strcmp(subdir, "cur") == 0;
	w->octets = octets;
	if (!span_copy(span_str(name), w->name, sizeof w->name)) {
		import_complain(in, "%s: the name is too long", name);
		import_drop(in, fd);
		return;
	}
	remember(f, span_str(name));
	if (++f->count == IMPORT_BATCH)
		batch_end(in);
}

bool
import_copy(int from, int to, uint64_t *octets)
{
	unsigned char some[COPY_AT_ONCE];
	ssize_t n;

	*octets = 0;
	while ((n = read_at(from, some, sizeof some, (off_t)*octets)) > 0) {
		if (write_all(to, some, (size_t)n) < 0)
			return false;
		*octets += (uint64_t)n;
	}
	return n == 0;
}

/* A directory of the folder, or the folder itself. -1 with errno. */
static int
place_of_list(const struct import_folder *f, const char *below)
{
	if (below && mkdirat(f->directory, below, 0700) < 0 && errno != EEXIST)
		return -1;
	return open_in(f->directory, below ? below : ".", O_RDONLY | O_DIRECTORY, 0);
}

void
import_list(struct import *in, int directory, const char *name, const char *below)
{
	struct import_folder *f = in->folder;
	int from = open_in(directory, name, O_RDONLY, 0), to = -1, place;
	struct maildir_name tmp = { "" };
	uint64_t octets;

	if (from < 0)
		return;
	import_as_user(in);
	place = place_of_list(f, below);
	if (place < 0 || (to = maildir_file(f->directory, &tmp)) < 0 || !import_copy(from, to, &octets) ||
		fsync(to) < 0 || (maildir_link_into(to, f->directory, &tmp, place, name) < 0 && errno != EEXIST))
		import_complain(in, "%s of %s: %s", name, folder_text(f), strerror(errno));
	maildir_drop(f->directory, &tmp);
	if (to >= 0)
		close(to);
	if (place >= 0)
		close(place);
	import_as_self(in);
	close(from);
}

void
import_folder_end(struct import *in, const char *remark)
{
	struct import_folder *f = in->folder;

	batch_end(in);
	if (in->terminal)
		fputs("\r\033[K", stderr);
	printf("%s: %s: %llu messages", in->user, folder_text(f), (unsigned long long)f->messages);
	if (f->there)
		printf(", %llu there already", (unsigned long long)f->there);
	printf("%s%s\n", remark[0] ? ", " : "", remark);
	fflush(stdout);
	in->folders++;
	in->there += f->there;
	tdestroy(f->bases, free);
	close(f->directory);
	free(f->name);
	free(f);
	in->folder = NULL;
}

/* --- subscriptions --- */

static bool
has_line(const struct text *t, struct span line)
{
	struct span left = text_span(t), one;

	while (span_take_until(&left, '\n', &one))
		if (span_equal(one, line))
			return true;
	return false;
}

void
import_subscribe(struct import *in, struct span name)
{
	if (name.len == 0 || span_equal_nocase(name, SPAN("INBOX")) || has_line(&in->subscribed, name))
		return;
	text_add(&in->subscribed, name);
	text_add_byte(&in->subscribed, '\n');
}

/* What stands there, then what is new; in place of the old file, whole. */
static void
subscriptions_end(struct import *in)
{
	static const char tmp[] = MAILDIR_SUBSCRIPTIONS ".import";
	struct text all = TEXT_UP_TO(2 * MOST_SUBSCRIPTIONS);
	struct span left = text_span(&in->subscribed), one;
	unsigned char some[COPY_AT_ONCE];
	ssize_t n = -1;
	off_t at = 0;
	int fd;

	if (in->subscribed.len == 0)
		return;
	import_as_user(in);
	fd = open_in(in->maildir, MAILDIR_SUBSCRIPTIONS, O_RDONLY, 0);
	while (fd >= 0 && (n = read_at(fd, some, sizeof some, at)) > 0) {
		text_add(&all, span_of(some, (size_t)n));
		at += n;
	}
	if (fd >= 0)
		close(fd);
	if (all.len && all.at[all.len - 1] != '\n')
		text_add_byte(&all, '\n');
	while (span_take_until(&left, '\n', &one))
		if (!has_line(&all, one)) {
			text_add(&all, one);
			text_add_byte(&all, '\n');
		}
	unlinkat(in->maildir, tmp, 0);
	fd = open_in(in->maildir, tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || all.failed || write_all(fd, all.at, all.len) < 0 || fsync(fd) < 0 ||
		renameat(in->maildir, tmp, in->maildir, MAILDIR_SUBSCRIPTIONS) < 0)
		import_complain(in, "subscriptions: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	import_as_self(in);
	text_clear(&all);
}

bool
import_end(struct import *in)
{
	subscriptions_end(in);
	text_clear(&in->subscribed);
	if (fsync(in->maildir) < 0)
		import_complain(in, "%s", strerror(errno));
	close(in->maildir);
	printf("%s: %llu folders, %llu messages, %llu MiB; %llu were there already; %llu failed\n", in->user,
		(unsigned long long)in->folders, (unsigned long long)in->messages,
		(unsigned long long)(in->octets >> 20), (unsigned long long)in->there,
		(unsigned long long)in->failed);
	return in->failed == 0;
}
