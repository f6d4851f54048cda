/*
 * public - see public.h.
 */
#include "master/public.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "master/process.h"
#include "master/watch.h"

struct reached {
	char address[MOST_ADDRESS_TEXT];
	const char *source;
	uint8_t family;
};

struct reached_list {
	struct reached at[MOST_PUBLIC];
	size_t count;
};

struct public {
	struct reached_list now;
	char dns[MOST_PUBLIC_TEXT + 1]; /* as it was told */
};

static struct public *
public_of(struct supervisor *s)
{
	if (!s->public)
		s->public = must_alloc(sizeof *s->public);
	return s->public;
}

/* --- who we are --- */

/* Half of the list is for each family: many of one do not hide the other. */
static void
add(struct reached_list *l, uint8_t family, const uint8_t *at, const char *source)
{
	struct reached one = { .source = source, .family = family };
	size_t of_family = 0;

	netstate_address_name(family, at, one.address);
	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->at[i].address, one.address) == 0)
			return;
		of_family += l->at[i].family == family;
	}
	if (of_family < MOST_PUBLIC / 2)
		l->at[l->count++] = one;
}

/* Those of a text with commas that are of this family. `global`: others are no address of ours, whoever says so. */
static void
add_text(struct reached_list *l, struct span text, uint8_t family, bool global, const char *source)
{
	uint8_t one_family, at[16];
	struct span one;

	for (bool more = text.len > 0; more;) {
		more = span_take_until(&text, ',', &one);
		if (!more)
			one = text;
		if (netstate_address_take(one, &one_family, at) && one_family == family &&
			(!global || netstate_kind_of(family, at) == NETSTATE_GLOBAL))
			add(l, family, at, source);
	}
}

static void
add_family(struct supervisor *s, struct reached_list *l, uint8_t family)
{
	const struct settings *set = s->now.settings;
	const struct netstate *n = watch_netstate(s);
	size_t before = l->count;

	for (size_t i = 0; i < set->public_address.count; i++)
		add_text(l, set->public_address.at[i], family, false, "public_address");
	for (size_t i = 0; i < n->address_count; i++) {
		const struct netstate_address *a = &n->addresses[i];

		if (a->family == family && a->kind == NETSTATE_GLOBAL && a->life != NETSTATE_TEMPORARY &&
			netstate_is_usable(a))
			add(l, family, a->at, "this machine");
	}
	if (l->count > before || !netstate_has_route(n, family))
		return;
	if (family == 4 && set->port_mapping)
		add_text(l, span_str(watch_router(s)), family, false, "router");
	add_text(l, span_str(public_of(s)->dns), family, true, "dns");
}

/* --- who is told --- */

static bool
hears(const struct process *p)
{
	return p->control && (message_row(MSG_public_address)->to & (1u << p->row->program));
}

static void
put(const struct reached_list *l, struct text *to)
{
	for (size_t i = 0; i < l->count; i++) {
		text_add_str(to, i ? "," : "");
		text_add_str(to, l->at[i].address);
	}
}

void
public_tell(struct process *p)
{
	struct text all = TEXT_UP_TO(MOST_PUBLIC_TEXT);

	if (hears(p)) {
		put(&public_of(p->s)->now, &all);
		send_public_address(p->control, 0,
			&(struct msg_public_address){ .addresses = text_span(&all) }, NULL);
	}
	text_clear(&all);
}

static bool
same(const struct reached_list *a, const struct reached_list *b)
{
	bool equal = a->count == b->count;

	for (size_t i = 0; equal && i < a->count; i++)
		equal = strcmp(a->at[i].address, b->at[i].address) == 0;
	return equal;
}

void
public_follow(struct supervisor *s)
{
	struct public *p = public_of(s);
	struct reached_list new = { .count = 0 };
	struct text was = TEXT_UP_TO(MOST_PUBLIC_TEXT), is = TEXT_UP_TO(MOST_PUBLIC_TEXT);
	struct process *one;
	bool differs;

	if (!s->now.settings || s->phase == PHASE_STOPPING)
		return;
	add_family(s, &new, 4);
	add_family(s, &new, 6);
	differs = !same(&p->now, &new);
	put(&p->now, &was);
	put(&new, &is);
	p->now = new;
	if (differs) {
		log_notice(0, "reached-at", KEY_SPAN("old", text_span(&was)),
			KEY_SPAN("new", text_span(&is)),
			KEY_STR("by", new.count ? new.at[0].source : ""));
		TAILQ_FOREACH(one, &s->processes, next)
			public_tell(one);
	}
	text_clear(&was);
	text_clear(&is);
}

void
public_told(struct supervisor *s, struct span addresses)
{
	span_copy(addresses, public_of(s)->dns, sizeof s->public->dns);
	public_follow(s);
}

bool
public_at(const struct supervisor *s, size_t i, const char **address, const char **source)
{
	if (!s->public || i >= s->public->now.count)
		return false;
	*address = s->public->now.at[i].address;
	*source = s->public->now.at[i].source;
	return true;
}

void
public_end(struct supervisor *s)
{
	free(s->public);
	s->public = NULL;
}
