/* passwd-file - see passwd-file.h. */
#include "passwd-file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"

struct row {
	struct span name, field;
};

struct passwd_file {
	struct text bytes;
	struct row *rows; /* sorted by name */
	size_t count;
};

static int
by_name(const void *left, const void *right)
{
	const struct row *a = left, *b = right;

	return span_compare(a->name, b->name);
}

static bool
read_all(int fd, struct text *to)
{
	unsigned char block[65536];
	ssize_t n;

	for (;;) {
		n = read(fd, block, sizeof(block));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 && !to->failed && !span_has(text_span(to), '\0');
		text_add(to, span_of(block, (size_t)n));
	}
}

static void
add_row(struct passwd_file *f, struct span line)
{
	struct row row;

	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0 || line.at[0] == '#' || !span_take_until(&line, ':', &row.name))
		return;
	row.field = span_part(line, 0, span_index(line, ':'));
	if ((f->count & (f->count - 1)) == 0) /* a power of two, or none yet: room for as many again */
		f->rows = must_realloc(
			f->rows, (f->count == 0 ? 1 : 2 * f->count) * sizeof(f->rows[0]));
	f->rows[f->count++] = row;
}

struct passwd_file *
passwd_file_read(int fd)
{
	struct passwd_file *f = must_alloc(sizeof(*f));
	struct span rest, line;

	f->bytes = TEXT_UP_TO(PASSWD_FILE_MOST);
	if (!read_all(fd, &f->bytes)) {
		log_error(0, "passwd-file-unusable",
			KEY_STR("reason", "it cannot be read, is too long, or is no text"));
		passwd_file_free(&f);
		return NULL;
	}
	rest = text_span(&f->bytes);
	while (rest.len > 0) {
		if (!span_take_until(&rest, '\n', &line)) {
			line = rest;
			rest.len = 0;
		}
		add_row(f, line);
	}
	if (f->count > 0)
		qsort(f->rows, f->count, sizeof(f->rows[0]), by_name);
	log_info(0, "passwd-file", KEY_NUM("rows", f->count));
	return f;
}

void
passwd_file_free(struct passwd_file **f)
{
	if (*f == NULL)
		return;
	text_wipe(&(*f)->bytes);
	free((*f)->rows);
	free(*f);
	*f = NULL;
}

static bool
find(const struct passwd_file *f, struct span name, struct span *field)
{
	const struct row key = {.name = name, .field = SPAN_NONE}, *row;

	row = f->count == 0 ? NULL
			    : bsearch(&key, f->rows, f->count, sizeof(f->rows[0]), by_name);
	if (row != NULL)
		*field = row->field;
	return row != NULL;
}

bool
passwd_file_find(const struct passwd_file *f, struct span key, const struct settings *s,
	struct span *field)
{
	size_t at = span_rindex(key, '@');

	if (f == NULL)
		return false;
	if (find(f, key, field))
		return true;
	return s->domains.count > 0 && at < key.len &&
	       span_equal_nocase(span_part(key, at + 1, key.len), s->domains.at[0]) &&
	       find(f, span_part(key, 0, at), field);
}
