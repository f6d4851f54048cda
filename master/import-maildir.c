/*
 * import-maildir - a Maildir of Dovecot, Courier or anybody: folders beside each other (".Sent.2024") or inside each
 * other ("Sent/2024"), messages with their flags and times, and what the server knew of UIDs, keywords, subscriptions.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beneath.h"
#include "master/import.h"

/* imapd/takeover.c reads these when the folder is opened for the first time. */
static const char *const lists[] = { "dovecot-uidlist", "dovecot-keywords", "courierimapuiddb" };

#define COURIER_KEYWORDS      "courierimapkeywords"
#define COURIER_KEYWORDS_LIST ":list"
#define MOST_LINE	      1024

static int
open_directory(int directory, const char *name)
{
	return open_in(directory, name, O_RDONLY | O_DIRECTORY, 0);
}

static bool
is_maildir(int directory)
{
	struct stat st;

	return fstatat(directory, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Letters of keywords mean something only beside the list that they point into. */
static void
name_for(const struct import *in, const char *name, char to[MAILDIR_MOST_NAME + 1])
{
	char *flags;
	size_t n = 0;

	snprintf(to, MAILDIR_MOST_NAME + 1, "%s", name);
	flags = strstr(to, ":2,");
	for (char *c = flags ? flags + 3 : NULL; c && *c; c++)
		if (import_is_fresh(in) || *c < 'a' || *c > 'z')
			flags[3 + n++] = *c;
	if (flags)
		flags[3 + n] = '\0';
}

static void
take_message(struct import *in, int directory, const char *subdir, const char *name)
{
	char new_name[MAILDIR_MOST_NAME + 1];
	struct stat st;
	uint64_t octets;
	int from, to;

	if (import_has(in, span_str(name)))
		return;
	from = open_in(directory, name, O_RDONLY, 0);
	if (from < 0 || fstat(from, &st) < 0) {
		/* Read meanwhile, and so renamed: the other server still runs. It is found the next time. */
		if (errno != ENOENT)
			import_complain(in, "%s: %s", name, strerror(errno));
		if (from >= 0)
			close(from);
		return;
	}
	to = import_file(in);
	if (to >= 0 && !import_copy(from, to, &octets)) {
		import_complain(in, "%s: %s", name, strerror(errno));
		import_drop(in, to);
		to = -1;
	}
	close(from);
	if (to < 0)
		return;
	name_for(in, name, new_name);
	import_put(in, to, subdir, new_name, st.st_mtime, octets);
}

static void
take_subdir(struct import *in, int folder, const char *subdir)
{
	int fd = open_directory(folder, subdir);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *one;

	if (!all) {
		import_complain(in, "%s: %s", subdir, strerror(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((one = import_next(in, all, subdir)))
		if (one->d_name[0] != '.')
			take_message(in, dirfd(all), subdir, one->d_name);
	closedir(all);
}

/* Only before anybody has opened the folder here: later its UIDs are given. */
static bool
take_lists(struct import *in, int folder)
{
	bool any = false;
	int keywords;

	if (!import_is_fresh(in))
		return false;
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		any = any || faccessat(folder, lists[i], R_OK, AT_SYMLINK_NOFOLLOW) == 0;
		import_list(in, folder, lists[i], NULL);
	}
	keywords = open_directory(folder, COURIER_KEYWORDS);
	if (keywords >= 0) {
		import_list(in, keywords, COURIER_KEYWORDS_LIST, COURIER_KEYWORDS);
		close(keywords);
	}
	return any;
}

static void
take_folder(struct import *in, int folder, const char *name)
{
	bool uids;

	if (!import_into(in, name))
		return;
	uids = take_lists(in, folder);
	take_subdir(in, folder, "new");
	take_subdir(in, folder, "cur");
	import_folder_end(in, uids ? "UIDs kept" : "");
}

/* A folder that is not taken is told, unless it is none: a file, or a link to one. */
static void
left_out(struct import *in, int directory, const char *name, const char *why)
{
	struct stat st;

	if (fstatat(directory, name, &st, 0) == 0 && S_ISDIR(st.st_mode))
		import_complain(in, "%s is left out: %s", name, why);
}

/* `name`: of the folder so far, "" or ".A.B". */
static void
walk(struct import *in, int directory, const char *name, unsigned int depth)
{
	int copy = open_directory(directory, ".");
	DIR *all = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *one;

	if (is_maildir(directory))
		take_folder(in, directory, name);
	while (all && (one = import_next(in, all, name)) && import_may_go_on(in)) {
		struct text below = TEXT_UP_TO(MAILDIR_MOST_NAME);
		bool plus = one->d_name[0] == '.';
		int fd;

		if (strcmp(one->d_name, ".") == 0 || strcmp(one->d_name, "..") == 0 ||
			strcmp(one->d_name, "cur") == 0 || strcmp(one->d_name, "new") == 0 ||
			strcmp(one->d_name, "tmp") == 0 || (plus && depth > 0))
			continue;
		if (depth == MOST_IMPORT_DEPTH) {
			left_out(in, directory, one->d_name, "too deep");
			continue;
		}
		fd = open_directory(directory, one->d_name);
		text_printf(&below, "%s%s%s", name, plus ? "" : ".", one->d_name);
		if (fd < 0)
			left_out(in, directory, one->d_name,
				errno == ELOOP ? "a link; name the place that it leads to" : strerror(errno));
		else if (below.failed)
			left_out(in, directory, one->d_name, "the name is too long");
		/* A directory without Maildirs below it costs a look, and gives nothing. */
		if (fd >= 0 && !below.failed && (!plus || is_maildir(fd)))
			walk(in, fd, text_str(&below), depth + 1);
		if (fd >= 0)
			close(fd);
		text_clear(&below);
	}
	if (all)
		closedir(all);
	else if (copy >= 0)
		close(copy);
}

/* --- subscriptions --- */

/* Dovecot's "Sent", its version 2 with tabs between levels, Courier's "INBOX.Sent". */
static void
take_subscriptions(struct import *in, int directory, const char *name)
{
	int fd = open_in(directory, name, O_RDONLY, 0);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char line[MOST_LINE];

	if (!file) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (fgets(line, sizeof line, file)) {
		struct span s;

		line[strcspn(line, "\r\n")] = '\0';
		if (strncmp(line, "V\t", 2) == 0)
			continue;
		for (char *c = line; *c; c++)
			if (*c == '\t')
				*c = '.';
		s = span_str(line);
		span_take_word(&s, SPAN("INBOX."));
		import_subscribe(in, s);
	}
	fclose(file);
}

void
import_maildir(struct import *in, int directory)
{
	walk(in, directory, "", 0);
	take_subscriptions(in, directory, MAILDIR_SUBSCRIPTIONS);
	take_subscriptions(in, directory, MAILDIR_COURIER_SUBSCRIPTIONS);
}
