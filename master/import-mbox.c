/*
 * import-mbox - mbox files, as mail programs and older servers keep them (RFC 4155; mboxo and mboxrd).
 *
 * A message begins at a line "From " with a date, behind an empty line or at the start. What the file's program noted
 * in Status and X-Status becomes flags; these fields, and others that are true only in that file, do not come along.
 * Lines end with CRLF afterwards. The name of a message is made from its content, so that it is known again; of two that
 * are equal to the last octet, one is enough.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beneath.h"
#include "master/import.h"

#define DIGEST_OCTETS 12 /* of a SHA-256, in the name: 96 bits */

/* A message that is being read. */
struct reading {
	struct text octets;
	time_t came;
	bool in_header, dropping; /* the field whose line was last, with its continuations */
	bool blank;		  /* an empty line that belongs to the message if another line follows */
	bool first, folder_data;  /* a first message that programs keep notes in: none of anybody's */
	bool old, seen, answered, flagged, deleted, draft;
};

static const char *const dropped[] = { "Status:", "X-Status:", "X-Keywords:", "X-UID:", "X-IMAP:", "X-IMAPbase:",
	"Content-Length:" };

/* "From ana@example.org Sat Nov 28 15:00:00 2026", perhaps with a zone before or behind the year. */
static bool
is_from_line(const char *line, time_t *came)
{
	static const char *const forms[] = { "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M %Y", "%a %b %d %H:%M:%S %Z %Y",
		"%a, %d %b %Y %H:%M:%S" };
	const char *at = line + 5;

	if (strncmp(line, "From ", 5) != 0)
		return false;
	/* The sender may hold blanks, or be missing: the date is looked for behind each. */
	for (; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL) {
		while (*at == ' ')
			at++;
		for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
			struct tm tm = { .tm_isdst = -1 };

			if (strptime(at, forms[i], &tm)) {
				*came = mktime(&tm);
				return true;
			}
		}
	}
	return false;
}

static void
note_flags(struct reading *r, const char *line)
{
	const char *value = strchr(line, ':') + 1;

	for (const char *c = value; *c; c++)
		switch (*c) {
		case 'R': r->seen = true; break;
		case 'O': r->old = true; break;
		case 'A': r->answered = true; break;
		case 'F': r->flagged = true; break;
		case 'D': r->deleted = true; break;
		case 'T': r->draft = true; break;
		default: break;
		}
}

/* Is this line of the header to be left out? */
static bool
leave_out(struct reading *r, const char *line, size_t len)
{
	if (line[0] == ' ' || line[0] == '\t')
		return r->dropping;
	r->dropping = false;
	for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
		r->dropping = r->dropping || (len > strlen(dropped[i]) && strncasecmp(line, dropped[i], strlen(dropped[i])) == 0);
	if (strncasecmp(line, "Status:", 7) == 0 || strncasecmp(line, "X-Status:", 9) == 0)
		note_flags(r, line);
	r->folder_data = r->folder_data || (r->first && strncasecmp(line, "X-IMAP:", 7) == 0);
	return r->dropping;
}

static void
add_line(struct reading *r, const char *line, size_t len)
{
	if (r->blank)
		text_add_str(&r->octets, "\r\n");
	r->blank = false;
	if (len == 0 && !r->in_header) {
		r->blank = true;
		return;
	}
	if (len == 0)
		r->in_header = false;
	if (r->in_header && leave_out(r, line, len))
		return;
	/* ">From " was "From ", and with mboxrd ">>From " was ">From ". */
	if (line[0] == '>' && strncmp(line + strspn(line, ">"), "From ", 5) == 0) {
		line++;
		len--;
	}
	text_add(&r->octets, span_of(line, len));
	text_add_str(&r->octets, "\r\n");
}

/* TIME.DIGEST.mbox,S=SIZE,W=SIZE:2,FLAGS; false: it is there already. */
static bool
name_of(struct import *in, const struct reading *r, char name[MAILDIR_MOST_NAME + 1])
{
	unsigned char digest[32];
	char hex[2 * DIGEST_OCTETS + 1], base[128];

	gnutls_hash_fast(GNUTLS_DIG_SHA256, r->octets.at, r->octets.len, digest);
	for (size_t i = 0; i < DIGEST_OCTETS; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	snprintf(base, sizeof base, "%lld.I%s.mbox", (long long)r->came, hex);
	if (import_has(in, span_str(base)))
		return false;
	snprintf(name, MAILDIR_MOST_NAME + 1, "%s,S=%zu,W=%zu:2,%s%s%s%s%s", base, r->octets.len, r->octets.len,
		r->draft ? "D" : "", r->flagged ? "F" : "", r->answered ? "R" : "", r->seen ? "S" : "",
		r->deleted ? "T" : "");
	return true;
}

static void
message_end(struct import *in, struct reading *r)
{
	char name[MAILDIR_MOST_NAME + 1];
	int fd;

	if (r->octets.failed)
		import_complain(in, "a message of more than %u MiB is left out", MOST_IMPORT_MESSAGE >> 20);
	else if (r->octets.len > 0 && !r->folder_data && name_of(in, r, name) && (fd = import_file(in)) >= 0) {
		if (write_all(fd, r->octets.at, r->octets.len) < 0) {
			import_complain(in, "%s: %s", name, strerror(errno));
			import_drop(in, fd);
		} else {
			import_put(in, fd, r->old || r->seen ? "cur" : "new", name, r->came, r->octets.len);
		}
	}
	text_clear(&r->octets);
}

static void
message_begin(struct reading *r, time_t came, bool first)
{
	*r = (struct reading){
		.octets = TEXT_UP_TO(MOST_IMPORT_MESSAGE), .came = came, .in_header = true, .first = first };
}

/* Without its end. Of a line that no message may have, the rest is dropped, and line->failed set. False: no more. */
static bool
read_line(FILE *from, struct text *line)
{
	int c;

	text_reset(line);
	while ((c = getc_unlocked(from)) != EOF && c != '\n')
		text_add_byte(line, (unsigned char)c);
	while (line->len > 0 && line->at[line->len - 1] == '\r')
		line->len--;
	return c != EOF || line->len > 0;
}

void
import_mbox(struct import *in, int file, const char *name)
{
	FILE *from = fdopen(file, "r");
	struct reading r = { .octets = TEXT_UP_TO(MOST_IMPORT_MESSAGE) };
	struct text all = TEXT_UP_TO(MOST_IMPORT_MESSAGE);
	bool any = false, behind_blank = true;
	time_t came;

	if (!from) {
		import_complain(in, "%s: %s", name, strerror(errno));
		close(file);
		return;
	}
	while (read_line(from, &all)) {
		const char *line = text_str(&all);
		size_t n = all.len;

		if (behind_blank && is_from_line(line, &came)) {
			if (any)
				message_end(in, &r);
			message_begin(&r, came, !any);
			any = true;
		} else if (any) {
			add_line(&r, line, n);
			r.octets.failed = r.octets.failed || all.failed;
		} else if (n > 0) {
			import_complain(in, "%s is no mbox: it does not begin with a line \"From \"", name);
			break;
		}
		behind_blank = n == 0;
	}
	if (any)
		message_end(in, &r);
	if (ferror(from))
		import_complain(in, "%s: %s", name, strerror(errno));
	text_clear(&all);
	fclose(from);
}

/* --- a directory of them --- */

static bool
begins_like_mbox(int file)
{
	char begin[5];

	return read_at(file, begin, sizeof begin, 0) == (ssize_t)sizeof begin && memcmp(begin, "From ", 5) == 0;
}

/* Folder names are modified UTF-7 on disk; a file of another kind of name would be one that nobody can open. */
static bool
folder_name(struct text *to, const char *above, const char *name)
{
	for (const char *c = name; *c; c++)
		if (*c < ' ' || *c > '~')
			return false;
	text_printf(to, "%s.", above);
	for (const char *c = name; *c; c++)
		text_add_byte(to, (unsigned char)(*c == '.' ? '_' : *c));
	return !to->failed;
}

static void
walk(struct import *in, int directory, const char *above, unsigned int depth)
{
	int copy = open_in(directory, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *all = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *one;

	while (all && (one = import_next(in, all, above)) && import_may_go_on(in)) {
		struct text name = TEXT_UP_TO(MAILDIR_MOST_NAME);
		struct stat st;
		int fd;

		if (one->d_name[0] == '.' || fstatat(directory, one->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (depth == MOST_IMPORT_DEPTH) {
			import_complain(in, "%s is left out: too deep", one->d_name);
			continue;
		}
		fd = open_in(directory, one->d_name, O_RDONLY | (S_ISDIR(st.st_mode) ? O_DIRECTORY : 0), 0);
		if (fd < 0 && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
			import_complain(in, "%s: %s", one->d_name, strerror(errno));
		else if (fd >= 0 && !folder_name(&name, above, one->d_name))
			import_complain(in, "%s: rename it first, with letters of ASCII or modified UTF-7", one->d_name);
		else if (fd >= 0 && S_ISDIR(st.st_mode))
			walk(in, fd, text_str(&name), depth + 1);
		else if (fd >= 0 && begins_like_mbox(fd) &&
			import_into(in, strcasecmp(text_str(&name), ".INBOX") == 0 ? "" : text_str(&name))) {
			import_mbox(in, fd, one->d_name);
			import_folder_end(in, "");
			fd = -1;
		}
		if (fd >= 0)
			close(fd);
		text_clear(&name);
	}
	if (all)
		closedir(all);
	else if (copy >= 0)
		close(copy);
}

void
import_mboxes(struct import *in, int directory)
{
	walk(in, directory, "", 0);
}
