/*
 * conf-draft - values, their lines, and complaints, while a configuration is being read.
 */
#include "master/conf-check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SHOWN 80 /* bytes of a wrong value in a complaint */

struct span
conf_keep(struct conf_draft *d, struct span s)
{
	char *copy = must_copy(s);

	d->kept = must_realloc(d->kept, (d->kept_count + 1) * sizeof *d->kept);
	d->kept[d->kept_count++] = copy;
	return span_of(copy, s.len);
}

struct span
conf_printable(struct conf_draft *d, struct span s)
{
	struct span kept = conf_keep(d, span_part(s, 0, MOST_SHOWN));
	char *copy = d->kept[d->kept_count - 1];

	for (size_t i = 0; i < kept.len; i++)
		if (copy[i] < 0x20 || copy[i] > 0x7e)
			copy[i] = '?';
	return kept;
}

static struct conf_line *
line_find(const struct conf_draft *d, size_t at)
{
	for (size_t i = 0; i < d->line_count; i++)
		if (d->lines[i].at == at)
			return &d->lines[i];
	return NULL;
}

static struct conf_line *
line_make(struct conf_draft *d, size_t at)
{
	struct conf_line *l = line_find(d, at);

	if (l)
		return l;
	d->lines = must_realloc(d->lines, (d->line_count + 1) * sizeof *d->lines);
	d->lines[d->line_count] = (struct conf_line){ .at = at };
	return &d->lines[d->line_count++];
}

unsigned int
conf_set(struct conf_draft *d, size_t at, unsigned int line)
{
	struct conf_line *l = line_make(d, at);
	unsigned int before = l->line;

	if (before == 0)
		l->line = line;
	return before;
}

unsigned int
conf_line(const struct conf_draft *d, size_t at)
{
	const struct conf_line *l = line_find(d, at);

	return l ? l->line : 0;
}

void
conf_complain(struct conf_draft *d, unsigned int line, const char *format, ...)
{
	char reason[1024];
	va_list ap;

	if (d->complaint_count == MOST_COMPLAINTS)
		return;
	va_start(ap, format);
	vsnprintf(reason, sizeof reason, format, ap);
	va_end(ap);
	d->complaints[d->complaint_count++] =
		(struct conf_complaint){ line, must_copy(span_str(reason)) };
}

static int
by_line(const void *a, const void *b)
{
	const struct conf_complaint *x = a, *y = b;

	return x->line < y->line ? -1 : x->line > y->line;
}

void
conf_draft_tell(struct conf_draft *d, struct text *to)
{
	qsort(d->complaints, d->complaint_count, sizeof d->complaints[0], by_line);
	for (size_t i = 0; i < d->complaint_count; i++) {
		if (d->complaints[i].line)
			text_printf(to, "%s:%u: %s\n", d->file, d->complaints[i].line,
				d->complaints[i].reason);
		else
			text_printf(to, "%s: %s\n", d->file, d->complaints[i].reason);
	}
	if (d->complaint_count == MOST_COMPLAINTS)
		text_printf(to, "%s: there may be more; only the first %d are told\n", d->file,
			MOST_COMPLAINTS);
}

void
conf_draft_reset(struct conf_draft *d)
{
	for (size_t i = 0; i < d->kept_count; i++)
		free(d->kept[i]);
	for (size_t i = 0; i < d->complaint_count; i++)
		free(d->complaints[i].reason);
#define FREE_text(name)
#define FREE_number(name)
#define FREE_flag(name)
#define FREE_list(name)				  free(d->s.name.at);
#define O(kind, name, initial, least, most, help) FREE_##kind(name)
	SETTINGS(O)
#undef O
	memset(&d->s, 0, sizeof d->s);
	d->kept_count = d->line_count = d->complaint_count = 0;
}

void
conf_draft_clear(struct conf_draft *d)
{
	conf_draft_reset(d);
	free(d->kept);
	free(d->lines);
	d->kept = NULL;
	d->lines = NULL;
}
