/* map - see map.h. This file: sources, lines, and the compiled table; map-aliases.c and map-plain.c: what
 * a line means. */
#include "master/map.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <config.h>

#include "common/beneath.h"
#include "master/map-inside.h"

static const struct {
	const char *name, *table, *help;
} rows[] = {
#define T(symbol, name, help) [TABLE_##symbol] = { name, name ".db", help },
	TABLES(T)
#undef T
};

const char *
map_name(enum table_kind kind)
{
	return rows[kind].name;
}

const char *
map_help(enum table_kind kind)
{
	return rows[kind].help;
}

bool
map_kind(const char *name, enum table_kind *kind)
{
	for (size_t i = 0; i < TABLE_KINDS; i++)
		if (strcmp(rows[i].name, name) == 0) {
			*kind = (enum table_kind)i;
			return true;
		}
	return false;
}

char *
map_source(const struct paths *p, const struct settings *s, enum table_kind kind, size_t i)
{
	char *name, *path;

	if (kind != TABLE_ALIASES)
		return i == 0 ? paths_join(p->conf_dir, rows[kind].name) : NULL;
	if (i >= s->aliases.count)
		return NULL;
	name = must_copy(s->aliases.at[i]);
	if (name[0] == '/')
		return name;
	path = paths_join(p->conf_dir, name);
	free(name);
	return path;
}

/* --- sources --- */

void
map_complain(struct map_work *w, const char *path, unsigned int line, const char *format, ...)
{
	char text[512];
	va_list ap;

	w->failed = true;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	/* A name or value is foreign text. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	text_printf(w->complaints, line ? "%s:%u: %s\n" : "%s:%.0u %s\n", path, line, text);
}

/* Whoever can write a source, or rename one over it, decides where mail goes, and what is run. */
static bool
is_safe(struct map_work *w, const char *path, const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid() && w->kind != TABLE_ALIASES)
		map_complain(w, path, 0, "belongs to uid %u", (unsigned int)st->st_uid);
	else if (st->st_mode & S_IWOTH)
		map_complain(w, path, 0, "can be written by everybody: chmod o-w it");
	else
		return true;
	return false;
}

bool
map_file_read(struct map_work *w, const char *path, bool optional, struct map_file *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	unsigned char piece[16384];
	ssize_t got = 0;
	bool good = false;

	memset(f, 0, sizeof *f);
	f->text = TEXT_UP_TO(MOST_MAP_SOURCE);
	if (fd < 0) {
		if (!optional || errno != ENOENT)
			map_complain(w, path, 0, "%s", strerror(errno));
		return false;
	}
	if (fstat(fd, &f->st) < 0 || !S_ISREG(f->st.st_mode)) {
		map_complain(w, path, 0, "is not a file");
		goto out;
	}
	if (!is_safe(w, path, &f->st))
		goto out;
	while ((got = read(fd, piece, sizeof piece)) > 0)
		text_add(&f->text, span_of(piece, (size_t)got));
	good = got == 0 && !f->text.failed && !span_has(text_span(&f->text), 0);
	if (!good)
		map_complain(w, path, 0, "%s", got < 0 ? strerror(errno)
				: f->text.failed       ? "is too large"
						       : "has NUL bytes in it");
out:
	close(fd);
	if (good)
		f->path = must_copy(span_str(path));
	else
		text_clear(&f->text);
	errno = good ? 0 : EINVAL;
	return good;
}

void
map_file_clear(struct map_file *f)
{
	free(f->path);
	text_clear(&f->text);
}

/* A physical line, without its end. */
static struct span
line_cut(struct span *rest)
{
	size_t end = span_index(*rest, '\n');
	struct span line = span_part(*rest, 0, end);

	*rest = span_part(*rest, end + 1, rest->len);
	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

static bool
is_nothing(struct span line)
{
	line = span_trim(line);
	return line.len == 0 || line.at[0] == '#';
}

struct span
map_comments(struct span part)
{
	struct span rest = part;

	while (rest.len > 0) {
		struct span next = rest;

		if (!is_nothing(line_cut(&next)))
			break;
		rest = next;
	}
	return span_part(part, 0, part.len - rest.len);
}

bool
map_line_take(struct span *rest, unsigned int *at, struct text *joined, struct map_line *line)
{
	text_reset(joined);
	line->number = 0;
	while (rest->len > 0) {
		struct span next = *rest, part = line_cut(&next);
		bool goes_on = part.len > 0 && (part.at[0] == ' ' || part.at[0] == '\t');

		if (!is_nothing(part) && line->number != 0 && !goes_on)
			break;
		*rest = next;
		++*at;
		if (is_nothing(part))
			continue;
		if (line->number == 0)
			line->number = *at;
		else
			text_add_byte(joined, ' ');
		text_add(joined, span_trim(part));
		if (joined->failed)
			return false;
	}
	line->text = text_span(joined);
	return line->number != 0;
}

struct known_key {
	unsigned int line;
	char name[];
};

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct known_key *)a)->name, ((const struct known_key *)b)->name);
}

bool
map_key_is_new(struct map_work *w, struct span key, const char *path, unsigned int line)
{
	struct known_key *k = must_alloc(sizeof *k + key.len + 1), **node;

	k->line = line;
	memcpy(k->name, key.at, key.len);
	node = tsearch(k, &w->keys, compare);
	if (!node)
		abort();
	if (*node == k)
		return true;
	text_printf(w->complaints, "warning: %s:%u: %s stands on line %u already, and that counts\n",
		path, line, k->name, (*node)->line);
	free(k);
	return false;
}

/* --- the compiled table --- */

static int
open_tables(const struct paths *p)
{
	return open(p->tables, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Nobody else may put files there: Berkeley DB would read a DB_CONFIG, daemons a table. */
static bool
directory_is_safe(struct map_work *w, const struct paths *p, int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		map_complain(w, p->tables, 0, "%s", strerror(errno));
	else if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
		map_complain(w, p->tables, 0, "must belong to uid %u, and be writable by nobody else",
			(unsigned int)geteuid());
	else
		return true;
	return false;
}

static bool
commit(struct table_build **build)
{
	struct group *g;

	if (geteuid() != 0)
		return table_build_commit(build, 0600, -1, -1) == 0;
	if (!(g = getgrnam(VALIJA_GROUP))) {
		errno = ENOENT;
		return false;
	}
	return table_build_commit(build, 0640, 0, (long)g->gr_gid) == 0;
}

/* How many sources there are; each is compiled. */
static unsigned int
compile_sources(struct map_work *w, const struct paths *p, const struct settings *s)
{
	unsigned int found = 0;
	char *path;

	for (size_t i = 0; (path = map_source(p, s, w->kind, i)); i++) {
		struct map_file f;

		if (map_file_read(w, path, true, &f)) {
			found++;
			if (w->kind == TABLE_ALIASES)
				map_aliases(w, &f);
			else
				map_plain(w, &f);
			map_file_clear(&f);
		}
		free(path);
	}
	return found;
}

static enum map_result
without_source(struct map_work *w, const struct paths *p, int fd)
{
	if (unlinkat(fd, rows[w->kind].table, 0) == 0)
		return MAP_REMOVED;
	if (errno == ENOENT)
		return MAP_ABSENT;
	map_complain(w, p->tables, 0, "%s: %s", rows[w->kind].table, strerror(errno));
	return MAP_FAILED;
}

enum map_result
map_compile(const struct paths *p, const struct settings *s, enum table_kind kind,
	struct text *complaints, unsigned int *count)
{
	struct map_work w = { .kind = kind, .complaints = complaints, .settings = s };
	enum map_result result = MAP_FAILED;
	int fd = open_tables(p);
	unsigned int found;

	if (!directory_is_safe(&w, p, fd))
		goto out;
	if (!(w.build = table_build_begin(fd, rows[kind].table))) {
		map_complain(&w, p->tables, 0, "%s: %s", rows[kind].table, strerror(errno));
		goto out;
	}
	if (kind == TABLE_ALIASES)
		w.users = table_reader(fd, USERS_TABLE);
	found = compile_sources(&w, p, s);
	table_free(&w.users);
	*count = w.count;
	if (w.failed)
		table_build_abort(&w.build);
	else if (found == 0) {
		table_build_abort(&w.build);
		result = without_source(&w, p, fd);
	} else if (commit(&w.build))
		result = MAP_WRITTEN;
	else
		map_complain(&w, p->tables, 0, "%s: %s", rows[kind].table, strerror(errno));
	tdestroy(w.keys, free);
out:
	if (fd >= 0)
		close(fd);
	return result;
}

/* --- looking into one --- */

/* A member as it would stand in a file. */
static void
show_member(const struct alias_member *m, struct text *to)
{
	bool quote = m->kind == ALIAS_COMMAND || m->kind == ALIAS_FILE;

	text_add_str(to, quote ? "\"" : "");
	text_add_str(to, m->kind == ALIAS_COMMAND ? "|" : m->kind == ALIAS_FINAL ? "\\" : "");
	for (size_t i = 0; i < m->text.len; i++) {
		if (quote && (m->text.at[i] == '"' || m->text.at[i] == '\\'))
			text_add_byte(to, '\\');
		text_add_byte(to, m->text.at[i]);
	}
	text_add_str(to, quote ? "\"" : "");
}

static void
show_members(struct span members, struct text *to)
{
	struct alias_member m;

	text_reset(to);
	while (alias_decode(&members, &m)) {
		text_add_str(to, to->len > 0 ? ", " : "");
		show_member(&m, to);
	}
}

int
map_get(const struct paths *p, enum table_kind kind, struct span word, struct text *value)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY), members = TEXT_UP_TO(MOST_ALIAS_BYTES);
	int fd = open_tables(p);
	struct table *t = fd < 0 ? NULL : table_reader(fd, rows[kind].table);
	struct alias_head head;
	enum table_result result = TABLE_ERROR;

	if (t && kind == TABLE_ALIASES) {
		result = alias_key(word, &key)
			? alias_load(t, text_span(&key), &head, &members)
			: TABLE_NONE;
		show_members(text_span(&members), value);
	} else if (t) {
		result = table_get(t, span_has(word, '@') && alias_key(word, &key)
				? text_span(&key)
				: word,
			value);
	}
	table_free(&t);
	if (fd >= 0)
		close(fd);
	text_clear(&key);
	text_clear(&members);
	return (int)result;
}

struct each {
	void (*row)(void *me, struct span key, struct span value);
	void *me;
	struct table *table;
	enum table_kind kind;
	struct text members, shown;
};

static bool
each_row(void *me, struct span key, struct span value)
{
	struct each *e = me;
	struct alias_head head;

	/* The further parts of a long list. */
	if (span_has(key, 0))
		return true;
	if (e->kind == TABLE_ALIASES) {
		if (alias_load(e->table, key, &head, &e->members) != TABLE_FOUND)
			return true;
		show_members(text_span(&e->members), &e->shown);
		value = text_span(&e->shown);
	}
	e->row(e->me, key, value);
	return true;
}

int
map_each(const struct paths *p, enum table_kind kind,
	void (*row)(void *me, struct span key, struct span value), void *me)
{
	int fd = open_tables(p), result = -1;
	/* One to walk through, one to look into. */
	struct table *walk = fd < 0 ? NULL : table_reader(fd, rows[kind].table);
	struct each e = { row, me, fd < 0 ? NULL : table_reader(fd, rows[kind].table), kind,
		TEXT_UP_TO(MOST_ALIAS_BYTES), TEXT_UP_TO(2 * MOST_ALIAS_BYTES) };

	if (walk && e.table)
		result = table_each(walk, each_row, &e);
	table_free(&walk);
	table_free(&e.table);
	text_clear(&e.members);
	text_clear(&e.shown);
	if (fd >= 0)
		close(fd);
	return result;
}
