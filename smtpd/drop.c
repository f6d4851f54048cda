/*
 * drop - see drop.h.
 */
#include "smtpd/drop.h"

#include <stdlib.h>

#include "common/message.h"

#define FIELD_MOST 1024

bool
drop_add(struct drop *d, struct span recipient)
{
	if (d->count == DROP_RECIPIENTS_MOST)
		return false;
	if (d->count == d->room) {
		d->room = d->room == 0 ? 8 : d->room * 2;
		d->recipient = must_realloc(d->recipient, d->room * sizeof(*d->recipient));
	}
	d->recipient[d->count++] = recipient;
	return true;
}

void
drop_clear(struct drop *d)
{
	free(d->recipient);
	*d = (struct drop){ .count = 0 };
}

static void
put(struct text *to, char kind, struct span value)
{
	text_add_number(to, value.len + 1);
	text_add_byte(to, ':');
	text_add_byte(to, (unsigned char)kind);
	text_add(to, value);
	text_add_byte(to, ',');
}

bool
drop_put(const struct drop *d, struct text *to)
{
	size_t before = to->len;

	put(to, 'S', d->sender);
	for (size_t i = 0; i < d->count; i++)
		put(to, 'R', d->recipient[i]);
	if (d->eight_bit)
		put(to, 'B', SPAN("8"));
	if (d->notify.len > 0)
		put(to, 'N', d->notify);
	if (d->ret.len > 0)
		put(to, 'T', d->ret);
	if (d->envid.len > 0)
		put(to, 'V', d->envid);
	if (to->failed || to->len - before > DROP_ENVELOPE_MOST)
		return false;
	text_printf(to, "valija-drop-1 %010lu\n", (unsigned long)(to->len - before));
	return !to->failed;
}

bool
drop_foot_parse(struct span foot, size_t *envelope)
{
	struct span digits;
	uint64_t number;

	if (foot.len != DROP_FOOT || !span_equal(span_part(foot, 0, 14), SPAN("valija-drop-1 ")) ||
	    foot.at[DROP_FOOT - 1] != '\n')
		return false;
	digits = span_part(foot, 14, 10);
	if (!span_take_number(&digits, DROP_ENVELOPE_MOST, &number) || digits.len > 0)
		return false;
	*envelope = (size_t)number;
	return true;
}

/* What goes into a line of SMTP: nothing that could end it. */
static bool
is_plain(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] < 0x20 || value.at[i] == 0x7f)
			return false;
	return true;
}

static bool
take_field(struct span *in, unsigned char *kind, struct span *value)
{
	uint64_t len;

	if (in->len == 0 || in->at[0] == '0' || !span_take_number(in, FIELD_MOST, &len) ||
	    !span_take(in, ':') || !span_take_bytes(in, (size_t)len, value) || !span_take(in, ','))
		return false;
	*kind = value->at[0];
	*value = span_part(*value, 1, value->len);
	return is_plain(*value);
}

static bool
keep_once(struct span *place, struct span value)
{
	bool first = place->len == 0;

	*place = value;
	return first && value.len > 0;
}

static bool
keep(struct drop *d, unsigned char kind, struct span value, bool *has_sender)
{
	switch (kind) {
	case 'S':
		if (*has_sender || value.len > MOST_ADDRESS)
			return false;
		*has_sender = true;
		d->sender = value;
		return true;
	case 'R':
		return value.len > 0 && value.len <= MOST_ADDRESS && drop_add(d, value);
	case 'B':
		d->eight_bit = true;
		return span_equal(value, SPAN("8"));
	case 'N':
		return keep_once(&d->notify, value);
	case 'T':
		return keep_once(&d->ret, value);
	case 'V':
		return keep_once(&d->envid, value);
	default:
		return false;
	}
}

bool
drop_parse(struct span fields, struct drop *d, const char **why)
{
	unsigned char kind;
	struct span value;
	bool has_sender = false, good = true;

	*d = (struct drop){ .count = 0 };
	while (good && fields.len > 0)
		good = take_field(&fields, &kind, &value) && keep(d, kind, value, &has_sender);
	if (good && has_sender && d->count > 0)
		return true;
	*why = good ? "no sender or no recipient" : "malformed envelope";
	drop_clear(d);
	return false;
}
