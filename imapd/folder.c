/* folder - see folder.h. Names, and what is there; making and removing is folder-change.c. */
#include "imapd/folder.h"

#include "imapd/metadata.h"

#include "common/beneath.h"
#include "imapd/mutf7.h"
#include "imapd/nfc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *
part_is_wrong(struct span part, bool first)
{
	if (part.len == 0)
		return "a part of the name is empty";
	if (span_has(part, '.'))
		return "a name cannot hold a dot";
	if (part.at[0] == '~')
		return "a part of a name cannot begin with ~";
	if (first && (span_equal(part, SPAN("cur")) || span_equal(part, SPAN("new")) ||
		span_equal(part, SPAN("tmp"))))
		return "cur, new and tmp belong to the Maildir";
	return NULL;
}

/* INBOX is that in any case (RFC 9051 5.1), also in front of others: "inbox/a" would have a parent that cannot be. */
static bool
is_below_inbox(struct span name)
{
	struct span first;

	return span_take_until(&name, FOLDER_SEPARATOR, &first) && span_equal_nocase(first, SPAN("INBOX"));
}

bool
folder_of_name(struct span name, char folder[MOST_FOLDER_NAME + 1], const char **why)
{
	struct text utf8 = TEXT_UP_TO(4 * MOST_FOLDER_NAME);
	struct span rest = name, part;
	bool decoded, first = true;

	if (span_equal_nocase(name, SPAN("INBOX"))) {
		folder[0] = '\0';
		return true;
	}
	*why = "a name has 1 to 199 bytes";
	if (name.len == 0 || name.len >= MOST_FOLDER_NAME)
		return false;
	*why = "the name is not modified UTF-7, or holds a control character";
	decoded = mutf7_to_utf8(name, &utf8);
	/* A slash or a dot must not come in through base64 either. */
	decoded = decoded && span_index(text_span(&utf8), '\0') == utf8.len;
	text_clear(&utf8);
	if (!decoded)
		return false;
	while (rest.len > 0 || first) {
		if (!span_take_until(&rest, FOLDER_SEPARATOR, &part)) {
			part = rest;
			rest = SPAN_NONE;
		} else if (rest.len == 0) {
			*why = "a part of the name is empty";
			return false;
		}
		*why = part_is_wrong(part, first);
		if (*why != NULL)
			return false;
		first = false;
	}
	folder[0] = '.';
	for (size_t i = 0; i < name.len; i++)
		folder[i + 1] = (char)(name.at[i] == FOLDER_SEPARATOR ? '.' : name.at[i]);
	folder[name.len + 1] = '\0';
	if (is_below_inbox(name))
		memcpy(folder + 1, "INBOX", sizeof("INBOX") - 1);
	return true;
}

/* `disk` is without the dot in front. */
static void
wire_write(struct span disk, struct text *out)
{
	for (size_t i = 0; i < disk.len; i++)
		text_add_byte(out, disk.at[i] == '.' ? FOLDER_SEPARATOR : disk.at[i]);
}

void
folder_name_write(const char *folder, struct text *out)
{
	if (folder[0] == '\0')
		text_add(out, SPAN("INBOX"));
	else
		wire_write(span_str(folder + 1), out);
}

static const char *const uses[] = { "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Important",
	"\\Junk", "\\Sent", "\\Trash" };
#define USES (sizeof(uses) / sizeof(uses[0]))

const char *
folder_use_of(struct span use)
{
	for (size_t i = 0; i < USES; i++) {
		if (span_equal_nocase(use, span_str(uses[i])))
			return uses[i];
	}
	return NULL;
}

/* What a name of ours says without any metadata. */
static const char *
use_of_name(struct span name)
{
	static const char *const names[] = { "Archive", "Drafts", "Junk", "Sent", "Trash" };
	char use[20];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!span_equal(name, span_str(names[i])))
			continue;
		snprintf(use, sizeof(use), "\\%s", names[i]);
		return folder_use_of(span_str(use));
	}
	return NULL;
}

int
folder_check(const struct store *store, const char *folder)
{
	int fd;

	if (folder[0] == '\0')
		return 0;
	fd = open_in(store->maildir, folder, O_PATH | O_DIRECTORY, 0);
	if (fd < 0) {
		if (errno == ENOTDIR || errno == ELOOP)
			errno = ENOENT;
		return -1;
	}
	close(fd);
	return 0;
}

/* One level of a name on the wire, in NFC. False: it is so already, or cannot be. */
static bool
normalize_level(struct span level, struct text *out)
{
	struct text utf8 = TEXT_UP_TO(4 * MOST_FOLDER_NAME), form = TEXT_UP_TO(4 * MOST_FOLDER_NAME);
	bool other = span_has(level, '&') && mutf7_to_utf8(level, &utf8) && nfc_add(&form, text_span(&utf8)) &&
		!span_equal(text_span(&utf8), text_span(&form)) && mutf7_from_utf8(text_span(&form), out);

	text_clear(&utf8);
	text_clear(&form);
	return other;
}

void
folder_normalize(const struct store *store, char folder[MOST_FOLDER_NAME + 1])
{
	struct text wire = TEXT_UP_TO(MOST_FOLDER_NAME), form = TEXT_UP_TO(MOST_FOLDER_NAME);
	char so_far[MOST_FOLDER_NAME + 1];
	struct span rest, level;
	const char *why;
	size_t at = 0;

	if (strchr(folder, '&') == NULL || folder_check(store, folder) == 0)
		return;
	folder_name_write(folder, &wire);
	for (rest = text_span(&wire); rest.len > 0; at += level.len + 1) {
		if (!span_take_until(&rest, FOLDER_SEPARATOR, &level)) {
			level = rest;
			rest = SPAN_NONE;
		}
		if (at > 0)
			text_add_byte(&form, FOLDER_SEPARATOR);
		memcpy(so_far, folder, at + 1 + level.len);
		so_far[at + 1 + level.len] = '\0';
		if (folder_check(store, so_far) == 0 || !normalize_level(level, &form))
			text_add(&form, level);
	}
	if (!form.failed && folder_of_name(text_span(&form), so_far, &why))
		memcpy(folder, so_far, sizeof(so_far));
	text_clear(&wire);
	text_clear(&form);
}

/* --- listing --- */

/* Byte order with the separator before all else: so the children of a name stand right behind it.
 * INBOX is first. */
static int
name_order(const void *a, const void *b)
{
	struct span x = ((const struct folder_entry *)a)->name;
	struct span y = ((const struct folder_entry *)b)->name;
	bool x_in = span_equal(x, SPAN("INBOX")), y_in = span_equal(y, SPAN("INBOX"));
	size_t least = x.len < y.len ? x.len : y.len;

	if (x_in != y_in)
		return x_in ? -1 : 1;
	for (size_t i = 0; i < least; i++) {
		if (x.at[i] == y.at[i])
			continue;
		if (x.at[i] == FOLDER_SEPARATOR || y.at[i] == FOLDER_SEPARATOR)
			return x.at[i] == FOLDER_SEPARATOR ? -1 : 1;
		return x.at[i] < y.at[i] ? -1 : 1;
	}
	return x.len < y.len ? -1 : x.len > y.len;
}

static struct folder_entry *
add_entry(struct folder_list *list, struct span name)
{
	struct folder_entry *e;

	if (list->count == list->room) {
		list->room = list->room == 0 ? 64 : 2 * list->room;
		list->entries = must_realloc(list->entries, list->room * sizeof(*list->entries));
	}
	e = &list->entries[list->count++];
	*e = (struct folder_entry){ .name = name };
	return e;
}

/* The name on the wire of a directory entry that is a folder we could serve. */
static bool
name_of_entry(const struct dirent *entry, struct arena *arena, struct span *name)
{
	char folder[MOST_FOLDER_NAME + 1];
	struct text wire = TEXT_UP_TO(MAILDIR_MOST_NAME);
	const char *why;
	bool good;

	if (entry->d_name[0] != '.' || entry->d_name[1] == '\0' ||
		(entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
		return false;
	wire_write(span_str(entry->d_name + 1), &wire);
	good = folder_of_name(text_span(&wire), folder, &why) && strcmp(folder, entry->d_name) == 0;
	if (good)
		*name = arena_copy(arena, text_span(&wire));
	text_clear(&wire);
	return good;
}

static int
list_directory(const struct store *store, struct folder_list *list)
{
	int fd = open_in(store->maildir, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct span name;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((entry = readdir(d)) != NULL && list->count < MOST_FOLDERS) {
		if (!name_of_entry(entry, &list->arena, &name))
			continue;
		if (entry->d_type == DT_UNKNOWN && folder_check(store, entry->d_name) < 0)
			continue;
		add_entry(list, name)->exists = true;
	}
	closedir(d);
	return 0;
}

/* Names that stand in the list twice become one. */
static void
join_twins(struct folder_list *list)
{
	size_t to = 0;

	if (list->count == 0)
		return;
	qsort(list->entries, list->count, sizeof(*list->entries), name_order);
	for (size_t i = 1; i < list->count; i++) {
		struct folder_entry *last = &list->entries[to], *e = &list->entries[i];

		if (span_equal(last->name, e->name)) {
			last->exists |= e->exists;
			last->subscribed |= e->subscribed;
		} else {
			list->entries[++to] = *e;
		}
	}
	list->count = to + 1;
}

/* "A/B/C" implies "A" and "A/B". */
static void
add_parents(struct folder_list *list)
{
	size_t count = list->count;

	for (size_t i = 0; i < count; i++) {
		struct span name = list->entries[i].name;

		for (size_t k = 1; k < name.len; k++) {
			if (name.at[k] == FOLDER_SEPARATOR && list->count < 2 * MOST_FOLDERS)
				add_entry(list, span_part(name, 0, k));
		}
	}
	join_twins(list);
}

bool
folder_name_is_below(struct span name, struct span parent)
{
	return name.len > parent.len + 1 && name.at[parent.len] == FOLDER_SEPARATOR &&
		span_equal(span_part(name, 0, parent.len), parent);
}

void
folder_list_mark(struct folder_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		list->entries[i].children = list->entries[i].subscribed_below = false;
	for (size_t i = 0; i < list->count; i++) {
		struct folder_entry *e = &list->entries[i];

		/* INBOX stands first, its children where the alphabet puts them. */
		size_t from = span_equal(e->name, SPAN("INBOX")) ? 1 : i + 1;

		for (size_t k = from; k < list->count; k++) {
			const struct folder_entry *below = &list->entries[k];

			if (!folder_name_is_below(below->name, e->name)) {
				if (i > 0)
					break;
				continue;
			}
			e->children |= below->exists;
			e->subscribed_below |= below->subscribed;
			if (e->children && e->subscribed_below)
				break;
		}
	}
}

/* --- subscriptions: a name a line, as on disk without its dot; Dovecot's version 2 too --- */

static bool
read_lines(const struct store *store, const char *file, struct text *content)
{
	int fd = open_in(store->maildir, file, O_RDONLY, 0);
	unsigned char piece[8192];
	off_t at = 0;
	ssize_t got;

	if (fd < 0)
		return false;
	while ((got = read_at(fd, piece, sizeof(piece), at)) > 0 && !content->failed) {
		text_add(content, span_of(piece, (size_t)got));
		at += got;
	}
	close(fd);
	if (content->failed)
		errno = EFBIG;
	return got >= 0 && !content->failed;
}

/* Courier's list, while there is none of ours: all its names begin with "INBOX.", but for INBOX. */
static bool
read_courier_subscriptions(const struct store *store, struct text *content)
{
	struct text courier = TEXT_UP_TO(MOST_SUBSCRIPTIONS_FILE);
	bool good = read_lines(store, MAILDIR_COURIER_SUBSCRIPTIONS, &courier);
	struct span in = text_span(&courier), line;

	while (good && span_take_until(&in, '\n', &line)) {
		(void)span_take_word(&line, SPAN("INBOX."));
		text_add(content, line);
		text_add_byte(content, '\n');
	}
	text_clear(&courier);
	return good || errno == ENOENT;
}

static bool
read_subscriptions(const struct store *store, struct text *content)
{
	if (read_lines(store, MAILDIR_SUBSCRIPTIONS, content))
		return true;
	return errno == ENOENT && read_courier_subscriptions(store, content);
}

/* Takes the next name from the file, as on the wire, into `name` (reset). No name of ours has a slash on disk:
 * *foreign, it is another user's, as it stands. */
static bool
next_subscription(struct span *in, bool version2, struct text *name, bool *foreign)
{
	struct span line;

	for (;;) {
		if (!span_take_until(in, '\n', &line)) {
			line = *in;
			*in = SPAN_NONE;
		}
		if (line.len > 0 && line.at[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0 && in->len == 0)
			return false;
		if (line.len == 0 || line.len > MOST_FOREIGN_NAME)
			continue;
		text_reset(name);
		*foreign = span_has(line, '/');
		if (*foreign) {
			text_add(name, line);
			return true;
		}
		for (size_t i = 0; i < line.len; i++) {
			bool parts = version2 ? line.at[i] == '\t' : line.at[i] == '.';

			text_add_byte(name, parts ? FOLDER_SEPARATOR : line.at[i]);
		}
		return true;
	}
}

static void
add_foreign(struct folder_list *list, struct span name)
{
	/* Grown by doubling. */
	if ((list->foreign_count & (list->foreign_count + 1)) == 0)
		list->foreign = must_realloc(list->foreign,
			(2 * list->foreign_count + 1) * sizeof(*list->foreign));
	list->foreign[list->foreign_count++] = arena_copy(&list->arena, name);
}

static bool
take_version(struct span *in)
{
	return span_take_word(in, SPAN("V\t2\n"));
}

static struct span
name_of_folder(const char *folder, struct arena *arena)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);
	struct span kept;

	folder_name_write(folder, &name);
	kept = arena_copy(arena, text_span(&name));
	text_clear(&name);
	return kept;
}

static int
list_subscribed(const struct store *store, struct folder_list *list)
{
	struct text content = TEXT_UP_TO(MOST_SUBSCRIPTIONS_FILE),
		name = TEXT_UP_TO(MOST_FOREIGN_NAME);
	char folder[MOST_FOLDER_NAME + 1];
	bool good = read_subscriptions(store, &content), version2, foreign;
	struct span in = text_span(&content);
	const char *why;

	version2 = take_version(&in);
	while (good && list->count + list->foreign_count < 2 * MOST_FOLDERS &&
		next_subscription(&in, version2, &name, &foreign)) {
		if (foreign)
			add_foreign(list, text_span(&name));
		else if (folder_of_name(text_span(&name), folder, &why))
			add_entry(list, name_of_folder(folder, &list->arena))->subscribed = true;
	}
	text_clear(&content);
	text_clear(&name);
	return good ? 0 : -1;
}

/* What is subscribed but is neither there nor wanted. */
static void
drop_missing(struct folder_list *list)
{
	size_t to = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (list->entries[i].exists)
			list->entries[to++] = list->entries[i];
	}
	list->count = to;
}

/* That a mailbox has no use, whatever its name says: its entry is there and empty. */
static const char no_use[] = "";

/* The special use that a folder's metadata say: NULL when they say nothing. */
static const char *
use_of_metadata(const struct store *store, struct span name)
{
	char folder[MOST_FOLDER_NAME + 1];
	const struct metadata_entry *e;
	const char *why, *use = NULL;
	struct metadata *m;

	if (!folder_of_name(name, folder, &why))
		return NULL;
	m = must_alloc(sizeof(*m));
	if (metadata_read(store, folder, m) == 0 &&
		(e = metadata_find(m, SPAN(METADATA_SPECIAL_USE))) != NULL)
		use = e->value.len == 0 ? no_use : folder_use_of(e->value);
	metadata_clear(m);
	free(m);
	return use;
}

static void
mark_uses(const struct store *store, struct folder_list *list)
{
	bool taken[USES] = { false };

	for (size_t i = 0; i < list->count; i++) {
		struct folder_entry *e = &list->entries[i];

		e->use = e->exists ? use_of_metadata(store, e->name) : NULL;
		for (size_t k = 0; k < USES; k++)
			taken[k] |= e->use == uses[k];
	}
	for (size_t i = 0; i < list->count; i++) {
		struct folder_entry *e = &list->entries[i];
		const char *use = e->exists && e->use == NULL ? use_of_name(e->name) : NULL;

		for (size_t k = 0; k < USES; k++) {
			if (use == uses[k] && !taken[k])
				e->use = use;
		}
		if (e->use == no_use)
			e->use = NULL;
	}
}

bool
folder_names_use(const char *folder)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);
	bool named;

	folder_name_write(folder, &name);
	named = use_of_name(text_span(&name)) != NULL;
	text_clear(&name);
	return named;
}

int
folder_use(const struct store *store, const char *folder, const char **use)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);
	struct folder_list list;

	*use = NULL;
	if (folder_list_read(store, false, &list) < 0)
		return -1;
	folder_name_write(folder, &name);
	for (size_t i = 0; i < list.count; i++) {
		if (span_equal(list.entries[i].name, text_span(&name)))
			*use = list.entries[i].use;
	}
	text_clear(&name);
	folder_list_clear(&list);
	return 0;
}

int
folder_list_read(const struct store *store, bool subscribed_too, struct folder_list *list)
{
	*list = (struct folder_list){ .entries = NULL };
	add_entry(list, SPAN("INBOX"))->exists = true;
	if (list_directory(store, list) < 0 || list_subscribed(store, list) < 0) {
		int saved = errno;

		folder_list_clear(list);
		errno = saved;
		return -1;
	}
	join_twins(list);
	if (!subscribed_too)
		drop_missing(list);
	add_parents(list);
	folder_list_mark(list);
	mark_uses(store, list);
	return 0;
}

void
folder_list_clear(struct folder_list *list)
{
	free(list->entries);
	free(list->foreign);
	arena_clear(&list->arena);
	*list = (struct folder_list){ .entries = NULL };
}

/* A line of the file: a name of ours with the separator that the file has. */
static void
add_subscription(struct text *to, struct span name, bool foreign, bool version2)
{
	for (size_t i = 0; i < name.len; i++)
		text_add_byte(to, foreign || name.at[i] != FOLDER_SEPARATOR ?
			name.at[i] : version2 ? '\t' : '.');
	text_add_byte(to, '\n');
}

static int
subscribe(struct store *store, struct span wanted, bool is_foreign, bool subscribed)
{
	struct text content = TEXT_UP_TO(MOST_SUBSCRIPTIONS_FILE), name = TEXT_UP_TO(MOST_FOREIGN_NAME),
		after = TEXT_UP_TO(MOST_SUBSCRIPTIONS_FILE);
	bool found = false, version2, foreign;
	struct span in;
	int result = -1;

	if (!read_subscriptions(store, &content))
		goto out;
	in = text_span(&content);
	version2 = take_version(&in);
	if (version2)
		text_add(&after, SPAN("V\t2\n\n"));
	while (next_subscription(&in, version2, &name, &foreign)) {
		bool same = foreign == is_foreign && span_equal(text_span(&name), wanted);

		found |= same;
		if (!same || subscribed)
			add_subscription(&after, text_span(&name), foreign, version2);
	}
	if (subscribed && !found)
		add_subscription(&after, wanted, is_foreign, version2);
	errno = ENOSPC;
	if (found == subscribed)
		result = 0;
	else if (!after.failed)
		result = store_write_file(store, store->maildir, MAILDIR_SUBSCRIPTIONS, text_span(&after),
			true);
out:
	text_clear(&content);
	text_clear(&name);
	text_clear(&after);
	return result;
}

int
folder_subscribe(struct store *store, const char *folder, bool subscribed)
{
	struct text wanted = TEXT_UP_TO(MOST_FOLDER_NAME);
	int result;

	folder_name_write(folder, &wanted);
	result = subscribe(store, text_span(&wanted), false, subscribed);
	text_clear(&wanted);
	return result;
}

int
folder_subscribe_foreign(struct store *store, struct span name, bool subscribed)
{
	if (name.len > MOST_FOREIGN_NAME) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return subscribe(store, name, true, subscribed);
}

bool
list_match(struct span pattern, struct span name, char separator)
{
	/* can[i]: the pattern so far matches the first i bytes of the name. */
	bool can[MOST_LISTED_NAME + 1] = { true };
	/* so much of it is INBOX, which is that in any case */
	size_t inbox = !span_starts_nocase(name, SPAN("INBOX")) ||
		(name.len > 5 && name.at[5] != (unsigned char)separator) ? 0 : 5;

	if (name.len > MOST_LISTED_NAME)
		return false;
	for (size_t p = 0; p < pattern.len; p++) {
		unsigned char c = pattern.at[p];
		bool before = can[0], any = false;

		if (c == '*' || c == '%') {
			for (size_t i = 1; i <= name.len; i++)
				can[i] = can[i] || (can[i - 1] &&
					(c == '*' || name.at[i - 1] != (unsigned char)separator));
			continue;
		}
		can[0] = false;
		for (size_t i = 1; i <= name.len; i++) {
			unsigned char n = name.at[i - 1];
			bool here = before && (n == c || (i <= inbox && (c | 0x20) == (n | 0x20) &&
				c >= 'A'));

			before = can[i];
			can[i] = here;
			any |= here;
		}
		if (!any)
			return false;
	}
	return can[name.len];
}
