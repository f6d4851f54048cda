/* sts-cache - see sts-cache.h. */
#include "sts-cache.h"

#include "common/log.h"
#include "common/wire.h"

#include <string.h>

#define VERSION 1

/* A row: u8 version, u8 mode, u64 fetched, u64 expires, id and mx, each with its length. */
static bool
decode(struct span in, struct sts_remembered *to)
{
	uint8_t version, mode;
	struct span id, mx;

	*to = (struct sts_remembered){ .mx = TEXT_UP_TO(MOST_STS_MX) };
	if (!wire_take_u8(&in, &version, 1) || version != VERSION || !wire_take_u8(&in, &mode, 1) ||
		mode > STS_ENFORCE || !wire_take_u64(&in, &to->fetched, 8) ||
		!wire_take_u64(&in, &to->expires, 8) || !wire_take_text(&in, &id, MOST_STS_ID) ||
		!wire_take_text(&in, &mx, MOST_STS_MX) || in.len > 0 || !span_copy(id, to->id, sizeof(to->id)))
		return false;
	to->mode = (enum sts_mode)mode;
	text_add(&to->mx, mx);
	return true;
}

bool
sts_cache_find(struct table *t, struct span domain, uint64_t now, struct sts_remembered *to)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	bool found;

	*to = (struct sts_remembered){ .mx = TEXT_UP_TO(MOST_STS_MX) };
	found = table_get(t, domain, &value) == TABLE_FOUND && decode(text_span(&value), to) &&
		to->expires > now;
	text_clear(&value);
	return found;
}

void
sts_remembered_clear(struct sts_remembered *r)
{
	text_clear(&r->mx);
}

bool
sts_cache_put(struct table *t, size_t *count, struct span domain, struct span id, const struct sts_policy *p,
	uint64_t now)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE), old = TEXT_UP_TO(TABLE_MOST_VALUE);
	bool there = table_get(t, domain, &old) == TABLE_FOUND, good;

	text_clear(&old);
	if (!there && *count >= MOST_STS_POLICIES) {
		log_warning(0, "sts-cache-full", KEY_NUM("policies", *count));
		return false;
	}
	wire_add_u8(&value, VERSION, 1);
	wire_add_u8(&value, (uint8_t)p->mode, 1);
	wire_add_u64(&value, now, 8);
	wire_add_u64(&value, now + p->max_age, 8);
	wire_add_text(&value, id, MOST_STS_ID);
	wire_add_text(&value, text_span(&p->mx), MOST_STS_MX);
	good = !value.failed && table_put(t, domain, text_span(&value)) == 0 && table_sync(t) == 0;
	if (!good)
		log_error(0, "table-not-written", KEY_STR("table", "policies.db"));
	else if (!there)
		(*count)++;
	text_clear(&value);
	return good;
}

struct each {
	bool (*row)(void *me, struct span domain, const struct sts_remembered *r);
	void *me;
};

static bool
on_row(void *arg, struct span key, struct span value)
{
	const struct each *e = arg;
	struct sts_remembered r;
	bool go_on = true;

	if (decode(value, &r) && span_is_printable(key))
		go_on = e->row(e->me, key, &r);
	sts_remembered_clear(&r);
	return go_on;
}

void
sts_cache_each(struct table *t, bool (*row)(void *me, struct span domain, const struct sts_remembered *r),
	void *me)
{
	struct each e = { row, me };

	(void)table_each(t, on_row, &e);
}

/* --- age --- */

struct sweep {
	uint64_t now, age;
	struct span behind;
	struct sts_old *old;
	size_t most, found, rows;
};

static bool
sweep_row(void *arg, struct span domain, const struct sts_remembered *r)
{
	struct sweep *s = arg;
	bool expired = r->expires <= s->now;

	s->rows++;
	if (s->found < s->most && span_compare(domain, s->behind) > 0 && (expired || r->fetched + s->age <= s->now) &&
		span_copy(domain, s->old[s->found].domain, sizeof(s->old[0].domain)))
		s->old[s->found++].expired = expired;
	return true;
}

size_t
sts_cache_sweep(struct table *t, uint64_t now, uint64_t age, char behind[MOST_HOST + 1], struct sts_old *old, size_t most,
	size_t *rows)
{
	struct sweep s = { .now = now, .age = age, .behind = span_str(behind), .old = old, .most = most };

	sts_cache_each(t, sweep_row, &s);
	*rows = s.rows;
	if (s.found == most)
		memcpy(behind, old[most - 1].domain, sizeof(old[0].domain));
	else
		behind[0] = '\0';
	return s.found;
}
