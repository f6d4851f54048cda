/*
 * allowance - see allowance.h.
 */
#include "smtpd/allowance.h"

#include <stdlib.h>

#include "common/wire.h"

#define VERSION 1
#define MOST_RECORD 64
#define HOUR_MILLISECONDS 3600000u
#define UNIT 1000u            /* a level is in thousandths */

struct levels {
	uint64_t when, messages, recipients;
};

static bool
levels_decode(struct span in, struct levels *l)
{
	uint8_t version;

	return wire_take_u8(&in, &version, 1) && version == VERSION && wire_take_u64(&in, &l->when, 8) &&
		wire_take_u64(&in, &l->messages, 8) && wire_take_u64(&in, &l->recipients, 8) && in.len == 0;
}

static uint64_t
elapsed(uint64_t then, uint64_t now)
{
	uint64_t passed = now > then ? now - then : 0;

	return passed > HOUR_MILLISECONDS ? HOUR_MILLISECONDS : passed;
}

/* What is left of a level after `passed` milliseconds; `most` sinks in an hour. */
static uint64_t
sunk(uint64_t level, uint64_t most, uint64_t passed)
{
	uint64_t down = passed * most / (HOUR_MILLISECONDS / UNIT);

	return level > down && passed < HOUR_MILLISECONDS ? level - down : 0;
}

/* Is there room for `more`? Else *seconds until there is. */
static bool
fits(uint64_t level, uint64_t more, uint64_t most, uint32_t *seconds)
{
	uint64_t over;

	if (most == 0 || level == 0 || level + more * UNIT <= most * UNIT)
		return true;
	over = level + more * UNIT - most * UNIT;
	*seconds = (uint32_t)(over * 3600 / (most * UNIT) + 1);
	if (*seconds > 3600)
		*seconds = 3600;
	return false;
}

static void
levels_write(struct table *t, struct span login, const struct levels *l)
{
	struct text value = TEXT_UP_TO(MOST_RECORD);

	wire_add_u8(&value, VERSION, 1);
	wire_add_u64(&value, l->when, 8);
	wire_add_u64(&value, l->messages, 8);
	wire_add_u64(&value, l->recipients, 8);
	table_put(t, login, text_span(&value));
	text_clear(&value);
}

enum allowance
allowance_take(struct table *t, const struct settings *s, struct span login, uint32_t recipients, uint64_t now,
	uint32_t *seconds)
{
	uint64_t messages_most = s->submission_messages_per_hour;
	uint64_t recipients_most = s->submission_recipients_per_hour;
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	struct levels l = { 0 };
	uint64_t passed;

	if (table_get(t, login, &value) != TABLE_FOUND || !levels_decode(text_span(&value), &l))
		l = (struct levels){ .when = now };
	text_clear(&value);
	passed = elapsed(l.when, now);
	l.messages = sunk(l.messages, messages_most, passed);
	l.recipients = sunk(l.recipients, recipients_most, passed);
	l.when = now;
	if (!fits(l.messages, 1, messages_most, seconds))
		return TOO_MANY_MESSAGES;
	if (!fits(l.recipients, recipients, recipients_most, seconds))
		return TOO_MANY_RECIPIENTS;
	l.messages += UNIT;
	l.recipients += (uint64_t)recipients * UNIT;
	levels_write(t, login, &l);
	return ALLOWED;
}

struct purge {
	uint64_t now;
	char **logins;
	size_t count;
};

static bool
look(void *me, struct span key, struct span value)
{
	struct purge *p = me;
	struct levels l;

	if ((!levels_decode(value, &l) || elapsed(l.when, p->now) >= HOUR_MILLISECONDS) &&
		!span_has(key, '\0'))
		p->logins[p->count++] = must_copy(key);
	return p->count < ALLOWANCE_PURGE_BATCH;
}

bool
allowance_purge(struct table *t, uint64_t now)
{
	struct purge p = { .now = now };

	p.logins = must_alloc(ALLOWANCE_PURGE_BATCH * sizeof(*p.logins));
	table_each(t, look, &p);
	for (size_t i = 0; i < p.count; i++) {
		table_remove(t, span_str(p.logins[i]));
		free(p.logins[i]);
	}
	free(p.logins);
	return p.count == ALLOWANCE_PURGE_BATCH;
}
