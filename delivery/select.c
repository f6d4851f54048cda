/* select - which messages `valija queue` means; see queue.h. */
#include "queue.h"

#include <fnmatch.h>
#include <string.h>

static bool
fits(struct span pattern, struct span text)
{
	char p[MOST_ADDRESS + 1], t[MOST_PATH_FIELD + 1];

	return span_copy(pattern, p, sizeof(p)) && span_copy(text, t, sizeof(t)) &&
		fnmatch(p, t, FNM_CASEFOLD | FNM_NOESCAPE) == 0;
}

/* "451 4.4.1 connection refused" has this in it? */
static bool
has_reason(struct span part, const struct verdict *told)
{
	struct text whole = TEXT_UP_TO(MOST_REASON + 32);
	bool has = false;

	text_printf(&whole, "%u %.*s %.*s", (unsigned int)told->code, SPAN_ARG(told->status),
		SPAN_ARG(told->reason));
	for (size_t i = 0; !has && i + part.len <= whole.len; i++)
		has = span_equal_nocase(span_part(text_span(&whole), i, part.len), part);
	text_clear(&whole);
	return has;
}

bool
select_fits_recipient(const struct msg_queue_select *s, const struct envelope_recipient *r)
{
	size_t at = span_rindex(r->address, '@');

	return r->told.outcome != DONE && (s->recipient.len == 0 || fits(s->recipient, r->address)) &&
		(s->destination.len == 0 ||
			fits(s->destination, span_part(r->address, at + 1, r->address.len))) &&
		(s->reason.len == 0 || has_reason(s->reason, &r->told));
}

bool
select_fits(const struct msg_queue_select *s, uint64_t now, const char *state,
	const struct envelope *e)
{
	uint64_t age = now > e->arrived ? now - e->arrived : 0;
	bool any = s->recipient.len == 0 && s->destination.len == 0 && s->reason.len == 0;

	if ((s->message != 0 && s->message != e->id) || (s->older != 0 && age < s->older) ||
	    (s->younger != 0 && age > s->younger) ||
	    (s->state.len > 0 && !span_equal(s->state, span_str(state))))
		return false;
	if (s->sender.len > 0 && !fits(s->sender, e->sender.len > 0 ? e->sender : SPAN("<>")))
		return false;
	for (uint32_t i = 0; !any && i < e->count; i++)
		any = select_fits_recipient(s, &e->recipient[i]);
	return any;
}
