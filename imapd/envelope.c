/*
 * envelope - ENVELOPE of a header. See envelope.h.
 */
#include "imapd/envelope.h"

#include "imapd/header.h"
#include "imapd/quote.h"

#define MOST_SAME_FIELDS 100     /* To, Cc and Bcc fields that are put together */

enum row { DATE, SUBJECT, FROM, SENDER, REPLY_TO, TO, CC, BCC, IN_REPLY_TO, MESSAGE_ID, ROWS };

/* In the order of the response (RFC 3501 7.4.2). */
static const struct {
	struct span name;
	bool addresses;
	bool many;        /* several fields are one list (RFC 5322 4.5.3) */
} rows[ROWS] = {
	[DATE]        = { SPAN("Date"),        false, false },
	[SUBJECT]     = { SPAN("Subject"),     false, false },
	[FROM]        = { SPAN("From"),        true,  false },
	[SENDER]      = { SPAN("Sender"),      true,  false },
	[REPLY_TO]    = { SPAN("Reply-To"),    true,  false },
	[TO]          = { SPAN("To"),          true,  true  },
	[CC]          = { SPAN("Cc"),          true,  true  },
	[BCC]         = { SPAN("Bcc"),         true,  true  },
	[IN_REPLY_TO] = { SPAN("In-Reply-To"), false, false },
	[MESSAGE_ID]  = { SPAN("Message-ID"),  false, false },
};

struct values {
	size_t count;
	struct span value[MOST_SAME_FIELDS];
};

static struct span
text_or_none(const struct text *text, bool there)
{
	if (!there)
		return SPAN_NONE;
	return text->len == 0 ? SPAN("") : text_span(text);
}

/* (name adl mailbox host). In an address mailbox and host are never NIL, as NIL tells groups. */
static void
item_write(const struct address_item *item, struct text *out)
{
	text_add_byte(out, '(');
	if (item->kind == ADDRESS_GROUP_START) {
		text_add(out, SPAN("NIL NIL "));
		quote_string(out, text_span(&item->name));
		text_add(out, SPAN(" NIL"));
	} else if (item->kind == ADDRESS_GROUP_END) {
		text_add(out, SPAN("NIL NIL NIL NIL"));
	} else {
		quote_nstring(out, text_or_none(&item->name, item->has_name));
		text_add_byte(out, ' ');
		quote_nstring(out, text_or_none(&item->route, item->has_route));
		text_add_byte(out, ' ');
		quote_string(out, text_span(&item->local));
		text_add_byte(out, ' ');
		quote_string(out, text_span(&item->domain));
	}
	text_add_byte(out, ')');
}

/* Appends the address list of these fields, or NIL when there is no address in them. */
static void
addresses_write(const struct values *values, struct address_item *item, struct text *out)
{
	struct address_reader reader;
	uint32_t count = 0;
	size_t i;

	for (i = 0; i < values->count && count < MOST_ADDRESSES; i++) {
		address_reader_init(&reader, values->value[i]);
		reader.count = count;
		while (address_next(&reader, item)) {
			if (count++ == 0)
				text_add_byte(out, '(');
			item_write(item, out);
		}
	}
	text_add(out, count == 0 ? SPAN("NIL") : SPAN(")"));
}

static bool
has_address(const struct values *values)
{
	struct address_reader reader;
	struct address_item item;
	bool found = false;

	address_item_init(&item);
	for (size_t i = 0; i < values->count && !found; i++) {
		address_reader_init(&reader, values->value[i]);
		found = address_next(&reader, &item);
	}
	address_item_clear(&item);
	return found;
}

/* Collects the values of the ten fields; of those that come once the first counts. */
static void
values_collect(struct span header, struct values values[ROWS])
{
	struct field field;

	for (size_t row = 0; row < ROWS; row++)
		values[row].count = 0;
	while (field_take(&header, &field)) {
		for (size_t row = 0; row < ROWS; row++) {
			struct values *v = &values[row];

			if (field.name.len != rows[row].name.len ||
				!span_equal_nocase(field.name, rows[row].name))
				continue;
			if (v->count < (rows[row].many ? MOST_SAME_FIELDS : 1u))
				v->value[v->count++] = field.value;
			break;
		}
	}
}

/* `brief`: without what can be long. */
static void
rows_write(const struct values values[ROWS], bool brief, struct text *out)
{
	const struct values none = { 0 };
	struct address_item item;

	address_item_init(&item);
	for (size_t row = 0; row < ROWS; row++) {
		const struct values *v = &values[row];
		bool empty = v->count == 0;

		text_add(out, row == 0 ? SPAN("(") : SPAN(" "));
		/* RFC 3501 7.4.2: absent or empty, they are what From is */
		if ((row == SENDER || row == REPLY_TO) && (empty || !has_address(v)))
			v = &values[FROM];
		if (rows[row].addresses)
			addresses_write(brief ? &none : v, &item, out);
		else if (empty || (brief && v->value[0].len > MOST_QUOTED))
			text_add(out, SPAN("NIL"));
		else
			quote_field(out, v->value[0]);
	}
	text_add_byte(out, ')');
	address_item_clear(&item);
}

void
envelope_write(struct span header, struct text *out)
{
	struct values values[ROWS];
	struct text envelope = TEXT_UP_TO(MOST_ENVELOPE);

	values_collect(header, values);
	rows_write(values, false, &envelope);
	if (envelope.failed) {
		text_reset(&envelope);
		rows_write(values, true, &envelope);
	}
	text_add(out, text_span(&envelope));
	text_clear(&envelope);
}
