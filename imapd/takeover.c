/* takeover - see takeover.h. */
#include "imapd/takeover.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/maildir.h"
#include "imapd/flags.h"
#include "imapd/imap-parse.h"
#include "imapd/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- parsing --- */

/* The next line, without its end; false when no whole one is left. What stands behind the last line
 * feed was torn off: it may be half a name. */
static bool
take_line(struct takeover *t, struct span *in, struct span *line)
{
	if (!span_take_until(in, '\n', line)) {
		t->bad += in->len > 0;
		return false;
	}
	if (line->len > 0 && line->at[line->len - 1] == '\r')
		line->len--;
	return true;
}

/* A file's name as it was when the list was written: its flags may be stale, its base is not. */
static struct span
base_of(struct span name)
{
	return span_part(name, 0, span_index(name, ':'));
}

static bool
is_base(struct span base)
{
	return base.len > 0 && base.len <= MAILDIR_MOST_NAME && base.at[0] != '.' &&
		!span_has(base, '/') && !span_has(base, '\0');
}

static bool
is_keyword(struct span name)
{
	struct span rest = name, atom;

	return name.len <= MOST_KEYWORD && imap_take_atom(&rest, &atom) && rest.len == 0;
}

/* A number up to a space or the end. */
static bool
take_field_number(struct span *in, uint64_t most, uint32_t *number)
{
	struct span rest = *in;
	uint64_t n;

	if (!span_take_number(&rest, most, &n) || (rest.len > 0 && !span_take(&rest, ' ')))
		return false;
	*number = (uint32_t)n;
	*in = rest;
	return true;
}

/* "1 VALIDITY NEXT" (Courier and the first Dovecot), or "3 V<validity> N<next> G<guid>" in any
 * order, with fields that we need not know. */
static bool
take_header(struct span line, bool *version3, uint32_t *validity, uint32_t *next)
{
	uint32_t version;

	*validity = *next = 0;
	if (!take_field_number(&line, 3, &version))
		return false;
	*version3 = version == 3;
	if (version == 1)
		return take_field_number(&line, UINT32_MAX, validity) && *validity != 0 &&
			take_field_number(&line, UINT32_MAX, next) && *next != 0;
	if (version != 3)
		return false;
	while (line.len > 0) {
		struct span field;

		if (!span_take_until(&line, ' ', &field)) {
			field = line;
			line = SPAN_NONE;
		}
		if (span_take(&field, 'V') && !take_field_number(&field, UINT32_MAX, validity))
			return false;
		if (span_take(&field, 'N') && !take_field_number(&field, UINT32_MAX, next))
			return false;
	}
	return *validity != 0 && *next != 0;
}

/* "UID NAME", or "UID [K<value> ...] :NAME". */
static bool
take_uid_line(struct span line, bool version3, struct taken_uid *found)
{
	if (!take_field_number(&line, MOST_TAKEN_UID - 1, &found->uid) || found->uid == 0)
		return false;
	if (version3) {
		struct span field;

		while (line.len > 0 && line.at[0] != ':') {
			if (!span_take_until(&line, ' ', &field))
				return false;
		}
		if (!span_take(&line, ':'))
			return false;
	}
	found->base = base_of(line);
	return is_base(found->base);
}

bool
takeover_parse_uids(struct takeover *t, struct span in)
{
	uint32_t validity, next, last = 0;
	struct taken_uid found;
	struct span line;
	bool version3;

	if (!take_line(t, &in, &line) || !take_header(line, &version3, &validity, &next) ||
		next > MOST_TAKEN_UID)
		return false;
	t->uidvalidity = validity;
	while (t->uid_count < MOST_MESSAGES && take_line(t, &in, &line)) {
		/* UIDs ascend; one that does not was damaged, or its like above was. */
		if (!take_uid_line(line, version3, &found) || found.uid <= last) {
			t->bad++;
			continue;
		}
		last = found.uid;
		if (t->uid_count == t->uid_room) {
			t->uid_room = t->uid_room == 0 ? 64 : 2 * t->uid_room;
			t->uids = must_realloc(t->uids, t->uid_room * sizeof(*t->uids));
		}
		t->uids[t->uid_count++] = found;
	}
	/* Lines are appended without the header being written anew. */
	t->uidnext = next > last ? next : last + 1;
	return true;
}

void
takeover_parse_letters(struct takeover *t, struct span in)
{
	struct span line;
	uint32_t number;

	while (take_line(t, &in, &line)) {
		if (take_field_number(&line, KEYWORD_LETTERS - 1, &number) && is_keyword(line))
			t->letters[number] = line;
		else
			t->bad++;
	}
}

/* Names, one a line; an empty line; "BASE:NUMBER NUMBER ...". */
void
takeover_parse_courier_keywords(struct takeover *t, struct span in)
{
	struct taken_keywords found;
	struct span line;

	while (take_line(t, &in, &line) && line.len > 0) {
		if (t->name_count == MOST_KEYWORDS) {
			t->bad++;
			continue;
		}
		/* A bad name keeps its number. */
		t->bad += !is_keyword(line);
		t->names[t->name_count++] = is_keyword(line) ? line : SPAN_NONE;
	}
	while (t->marked_count < MOST_MESSAGES && take_line(t, &in, &line)) {
		if (!span_take_until(&line, ':', &found.base) || !is_base(found.base)) {
			t->bad++;
			continue;
		}
		found.numbers = line;
		if (t->marked_count == t->marked_room) {
			t->marked_room = t->marked_room == 0 ? 64 : 2 * t->marked_room;
			t->marked = must_realloc(t->marked, t->marked_room * sizeof(*t->marked));
		}
		t->marked[t->marked_count++] = found;
	}
}

/* --- asking --- */

/* By name; of one name the highest UID first: it was given last. */
static int
uid_order(const void *a, const void *b)
{
	const struct taken_uid *x = a, *y = b;
	int order = span_compare(x->base, y->base);

	return order != 0 ? order : x->uid > y->uid ? -1 : x->uid < y->uid;
}

static int
marked_order(const void *a, const void *b)
{
	const struct taken_keywords *x = a, *y = b;
	int order = span_compare(x->base, y->base);

	return order != 0 ? order : x->base.at < y->base.at ? -1 : x->base.at > y->base.at;
}

void
takeover_sort(struct takeover *t)
{
	if (t->uid_count > 0)
		qsort(t->uids, t->uid_count, sizeof(*t->uids), uid_order);
	if (t->marked_count > 0)
		qsort(t->marked, t->marked_count, sizeof(*t->marked), marked_order);
}

uint32_t
takeover_uid(const struct takeover *t, struct span base)
{
	size_t low = 0, high = t->uid_count;

	base = base_of(base);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (span_compare(t->uids[middle].base, base) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < t->uid_count && span_equal(t->uids[low].base, base) ? t->uids[low].uid : 0;
}

size_t
takeover_keywords(const struct takeover *t, struct span base, uint32_t lower,
	struct span names[KEYWORD_LETTERS + MOST_KEYWORDS])
{
	size_t low = 0, high = t->marked_count, count = 0;
	struct span numbers;
	uint32_t number;

	for (size_t i = 0; i < KEYWORD_LETTERS; i++) {
		if ((lower >> i & 1) && t->letters[i].len > 0)
			names[count++] = t->letters[i];
	}
	base = base_of(base);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (span_compare(t->marked[middle].base, base) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == t->marked_count || !span_equal(t->marked[low].base, base))
		return count;
	numbers = t->marked[low].numbers;
	for (size_t i = 0; i < MOST_KEYWORDS && take_field_number(&numbers, MOST_KEYWORDS - 1,
		&number); i++) {
		if (number < t->name_count && t->names[number].len > 0)
			names[count++] = t->names[number];
	}
	return count;
}

/* --- reading --- */

/* The start of a file, `most` bytes at most, on the heap. False: there is none, or (logged) it
 * cannot be read. */
static bool
read_list(int directory, const char *folder, const char *name, size_t most,
	unsigned char **content, struct span *in)
{
	int fd = open_in(directory, name, O_RDONLY, 0);
	struct stat st;
	ssize_t got = -1;

	*content = NULL;
	if (fd < 0 && errno == ENOENT)
		return false;
	if (fd >= 0 && fstat(fd, &st) == 0) {
		size_t size = (uint64_t)st.st_size < most ? (size_t)st.st_size : most;

		*content = must_alloc(size + 1);
		got = read_at(fd, *content, size, 0);
	}
	if (got < 0)
		log_warning(0, "list-unreadable", KEY_STR("folder", folder), KEY_STR("list", name),
			KEY_ERRNO);
	if (fd >= 0)
		close(fd);
	*in = span_of(*content, got < 0 ? 0 : (size_t)got);
	return got >= 0;
}

struct takeover *
takeover_new(int directory, const char *folder)
{
	struct takeover *t = must_alloc(sizeof(*t));
	const char *list = "dovecot-uidlist";
	struct stat st;
	struct span in;

	*t = (struct takeover){ .uidvalidity = 0 };
	/* Courier's list is older wherever both are: Dovecot began with it. */
	if (fstatat(directory, list, &st, AT_SYMLINK_NOFOLLOW) < 0)
		list = "courierimapuiddb";
	if (read_list(directory, folder, list, MOST_UIDLIST, &t->contents[0], &in) &&
		!takeover_parse_uids(t, in))
		log_warning(0, "list-unreadable", KEY_STR("folder", folder), KEY_STR("list", list),
			KEY_STR("why", "no header of version 1 or 3; UIDs begin anew"));
	if (read_list(directory, folder, "dovecot-keywords", MOST_KEYWORD_LIST, &t->contents[1],
		&in))
		takeover_parse_letters(t, in);
	if (read_list(directory, folder, "courierimapkeywords/:list", MOST_KEYWORD_LIST,
		&t->contents[2], &in))
		takeover_parse_courier_keywords(t, in);
	takeover_sort(t);
	if (t->bad > 0)
		log_warning(0, "list-damaged", KEY_STR("folder", folder),
			KEY_NUM("lines-passed-over", t->bad));
	if (t->uidvalidity != 0)
		log_notice(0, "taken-over", KEY_STR("folder", folder), KEY_STR("list", list),
			KEY_NUM("uidvalidity", t->uidvalidity), KEY_NUM("uidnext", t->uidnext),
			KEY_NUM("messages", t->uid_count));
	return t;
}

void
takeover_free(struct takeover **t)
{
	if (*t == NULL)
		return;
	for (size_t i = 0; i < sizeof((*t)->contents) / sizeof((*t)->contents[0]); i++)
		free((*t)->contents[i]);
	free((*t)->uids);
	free((*t)->marked);
	free(*t);
	*t = NULL;
}
