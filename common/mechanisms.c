/* mechanisms - see mechanisms.h. */
#include "mechanisms.h"

#include "passport.h"

static const struct row {
	const char *name;
	unsigned int needs;
} rows[] = {
#define M(name, needs) {name, needs},
	MECHANISMS(M)
#undef M
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct row *
find(struct span name)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (span_equal_nocase(name, span_str(rows[i].name)))
			return &rows[i];
	return NULL;
}

bool
mechanism_exists(struct span name)
{
	return find(name) != NULL;
}

const struct list *
mechanisms_of(const struct settings *s, enum service service)
{
	return service_program(service) == PROGRAM_IMAP_LOGIN ? &s->imap_mechanisms
							      : &s->smtp_mechanisms;
}

static bool
listed(const struct list *list, const struct row *row)
{
	for (size_t i = 0; i < list->count; i++)
		if (span_equal_nocase(list->at[i], span_str(row->name)))
			return true;
	return false;
}

/* What this connection has. */
static unsigned int
has(const struct settings *s, struct span passport)
{
	struct passport p;
	unsigned int got = settings_wants_tokens(s) ? MECHANISM_TOKEN : 0;

	if (!passport_peek(passport, &p))
		return got;
	if (p.exporter.len + p.unique.len + p.end_point.len > 0)
		got |= MECHANISM_PLUS;
	if (p.certificate_valid)
		got |= MECHANISM_CERTIFICATE;
	return got;
}

bool
mechanism_offered(
	const struct settings *s, enum service service, struct span passport, struct span name)
{
	const struct row *row = find(name);

	return row != NULL && listed(mechanisms_of(s, service), row) &&
	       (row->needs & ~has(s, passport)) == 0;
}

void
mechanisms_offer(const struct settings *s, enum service service, struct span passport,
	const char *before, struct text *to)
{
	const struct list *list = mechanisms_of(s, service);
	unsigned int got = has(s, passport);

	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (!listed(list, &rows[i]) || (rows[i].needs & ~got) != 0)
			continue;
		text_add_str(to, before);
		text_add_str(to, rows[i].name);
	}
}
