/* map-aliases - compiles an aliases(5) file; :include: files are read here, once. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "master/map-inside.h"

#define MOST_INCLUDES 10 /* files that include files */
#define MOST_RECORD 4096 /* of a user */

/* One list under way. */
struct list_work {
	struct map_work *w;
	struct text members;
	unsigned int count;
	struct {
		dev_t device;
		ino_t inode;
	} open[MOST_INCLUDES];
	unsigned int depth;
};

static void list_take(
	struct list_work *l, struct span in, const char *path, unsigned int line, bool lines);

static void
include(struct list_work *l, struct span name, const char *path, unsigned int line)
{
	char *other = must_copy(name);
	struct map_file f;

	if (!map_file_read(l->w, other, false, &f)) {
		map_complain(l->w, path, line, ":include:%s cannot be read", other);
		free(other);
		return;
	}
	for (unsigned int i = 0; i < l->depth; i++)
		if (l->open[i].device == f.st.st_dev && l->open[i].inode == f.st.st_ino) {
			map_complain(l->w, path, line, ":include:%s: the file includes itself", other);
			goto out;
		}
	if (l->depth == MOST_INCLUDES) {
		map_complain(l->w, path, line, ":include:%s: more than %d files in each other",
			other, MOST_INCLUDES);
		goto out;
	}
	l->open[l->depth].device = f.st.st_dev;
	l->open[l->depth++].inode = f.st.st_ino;
	list_take(l, text_span(&f.text), other, 1, true);
	l->depth--;
out:
	map_file_clear(&f);
	free(other);
}

/* What can be known to be wrong before any mail comes. */
static const char *
member_fault(const struct list_work *l, const struct alias_member *m)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY);
	const char *fault = NULL;

	if (m->kind == ALIAS_COMMAND || m->kind == ALIAS_FILE)
		return l->depth > 1 ? "commands and files are not for included files" : NULL;
	if (m->kind == ALIAS_INCLUDE)
		return NULL;
	if (!alias_key(m->text, &key))
		fault = "not an address";
	text_clear(&key);
	return fault;
}

static bool
is_allowed(const struct settings *s, const struct alias_member *m)
{
	if (m->kind == ALIAS_COMMAND)
		return s && s->alias_commands;
	return m->kind != ALIAS_FILE || span_equal(m->text, SPAN("/dev/null")) || (s && s->alias_files);
}

/* lines: a newline ends a member, and counts. */
static void
list_take(struct list_work *l, struct span in, const char *path, unsigned int line, bool lines)
{
	struct text text = TEXT_UP_TO(MOST_ALIAS_MEMBER);
	struct span before = in;
	struct alias_member m;
	const char *why;
	int taken;

	while ((taken = alias_member_take(&in, &text, &m, &why)) != 0) {
		if (taken > 0 && (why = member_fault(l, &m)) == NULL) {
			if (!is_allowed(l->w->settings, &m))
				text_printf(l->w->complaints,
					"warning: %s:%u: %.*s: %s is off: mail for this member alone is refused\n",
					path, line, SPAN_ARG(text_span(&text)),
					m.kind == ALIAS_COMMAND ? "alias_commands" : "alias_files");
			if (m.kind == ALIAS_INCLUDE)
				include(l, m.text, path, line);
			else if (++l->count > MOST_ALIAS_MEMBERS)
				why = "too many members";
			else
				alias_encode(&m, &l->members);
			if (l->members.failed)
				why = "the list is too long";
		}
		for (; lines && before.at < in.at; before = span_part(before, 1, before.len))
			line += before.at[0] == '\n';
		if (taken < 0 || why != NULL) {
			map_complain(l->w, path, line, "%.*s: %s", SPAN_ARG(text_span(&text)), why);
			break;
		}
	}
	text_clear(&text);
}

static bool
is_user(const struct map_work *w, struct span address)
{
	struct text record = TEXT_UP_TO(MOST_RECORD);
	bool found = table_get(w->users, address, &record) == TABLE_FOUND;

	text_clear(&record);
	return found;
}

/* A user's address comes before an alias: whoever expects otherwise has to hear of it. */
static void
warn_of_user(struct map_work *w, struct span key, const char *path, unsigned int line)
{
	struct text address = TEXT_UP_TO(MOST_ALIAS_KEY);
	bool bare = !span_has(key, '@');
	size_t count = !bare ? 1 : w->settings ? w->settings->domains.count : 0;

	for (size_t i = 0; w->users && i < count; i++) {
		text_reset(&address);
		text_add(&address, key);
		if (bare) {
			text_add_byte(&address, '@');
			text_add(&address, w->settings->domains.at[i]);
		}
		if (address.failed || !is_user(w, text_span(&address)))
			continue;
		text_printf(w->complaints, "warning: %s:%u: %.*s is a user: mail for that address goes to his mailbox, not by this alias\n",
			path, line, SPAN_ARG(text_span(&address)));
		break;
	}
	text_clear(&address);
}

static void
alias_line(struct map_work *w, const struct map_file *f, const struct map_line *line)
{
	struct list_work l = { .w = w, .members = TEXT_UP_TO(MOST_ALIAS_BYTES) };
	struct alias_head head = { f->st.st_uid, f->st.st_gid, line->number };
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY);
	struct span in = line->text;
	const char *why;

	l.open[0].device = f->st.st_dev;
	l.open[0].inode = f->st.st_ino;
	l.depth = 1;
	if (alias_name_take(&in, &key, &why) < 0) {
		map_complain(w, f->path, line->number, "%s", why);
	} else if (map_key_is_new(w, text_span(&key), f->path, line->number)) {
		warn_of_user(w, text_span(&key), f->path, line->number);
		list_take(&l, in, f->path, line->number, false);
		if (!w->failed && alias_store(w->build, text_span(&key), &head,
				text_span(&l.members)) < 0)
			map_complain(w, f->path, line->number, "cannot be stored: %s",
				strerror(errno));
		w->count++;
	}
	text_clear(&l.members);
	text_clear(&key);
}

void
map_aliases(struct map_work *w, const struct map_file *f)
{
	struct text joined = TEXT_UP_TO(MOST_MAP_VALUE);
	struct span rest = text_span(&f->text);
	struct map_line line;
	unsigned int at = 0;

	while (map_line_take(&rest, &at, &joined, &line))
		alias_line(w, f, &line);
	if (joined.failed)
		map_complain(w, f->path, at, "a line is too long: write the list into a file of its own and :include: it");
	text_clear(&joined);
}
