/*
 * address-list - RFC 5322 3.4 and 4.4 address lists, as tolerantly as mail demands. See envelope.h.
 *
 * Every turn of every loop takes at least one byte, so the work is linear whatever the bytes are.
 */
#include "imapd/envelope.h"

#include "imapd/header.h"

void
address_item_init(struct address_item *item)
{
	*item = (struct address_item){ .name = TEXT_UP_TO(MOST_FIELD_VALUE),
		.route = TEXT_UP_TO(MOST_FIELD_VALUE), .local = TEXT_UP_TO(MOST_FIELD_VALUE),
		.domain = TEXT_UP_TO(MOST_FIELD_VALUE) };
}

void
address_item_clear(struct address_item *item)
{
	text_clear(&item->name);
	text_clear(&item->route);
	text_clear(&item->local);
	text_clear(&item->domain);
	address_item_init(item);
}

static void
item_reset(struct address_item *item)
{
	text_reset(&item->name);
	text_reset(&item->route);
	text_reset(&item->local);
	text_reset(&item->domain);
	item->kind = ADDRESS_MAILBOX;
	item->has_name = item->has_route = item->has_local = item->has_domain = false;
}

void
address_reader_init(struct address_reader *reader, struct span value)
{
	*reader = (struct address_reader){ .rest = span_part(value, 0, MOST_FIELD_VALUE) };
}

static bool
ends_word(unsigned char c)
{
	switch (c) {
	case ' ': case '\t': case '\r': case '\n':
	case '(': case '<': case '>': case '@': case ',': case ';': case ':': case '"':
		return true;
	default:
		return false;
	}
}

/* Takes a run of anything but blanks and the characters that structure addresses. */
static bool
word_take(struct span *in, struct span *word)
{
	size_t i = 0;

	while (i < in->len && !ends_word(in->at[i]))
		i++;
	return i > 0 && span_take_bytes(in, i, word);
}

/* Takes words and quoted strings up to a structuring character. `phrase` gets them with one blank
 * where blanks were (none around dots and quotes that touch), `words` how many stood apart. */
static void
phrase_take(struct span *in, struct text *phrase, size_t *words, struct span *comment)
{
	struct span part;
	bool after_dot = true;

	*words = 0;
	for (;;) {
		struct span before = *in;
		bool quoted, apart;

		cfws_skip(in, comment);
		apart = before.len != in->len;
		quoted = quoted_take(in, &part);
		if (!quoted && !word_take(in, &part))
			return;
		if (apart && !after_dot && (quoted || part.at[0] != '.')) {
			text_add_byte(phrase, ' ');
			(*words)++;
		} else if (*words == 0) {
			*words = 1;
		}
		if (quoted)
			quoted_add(phrase, part);
		else
			text_add(phrase, part);
		/* obsolete local parts have blanks around their dots (RFC 5322 4.4) */
		after_dot = !quoted && part.len == 1 && part.at[0] == '.';
	}
}

/* Takes what follows an "@": a dot-atom, with blanks and comments around the dots, or a literal. */
static void
domain_take(struct span *in, struct address_item *item, struct span *comment)
{
	struct span part, inside;

	item->has_domain = true;
	cfws_skip(in, comment);
	if (in->len > 0 && in->at[0] == '[') {
		size_t end = 1;

		while (end < in->len && in->at[end] != ']' && in->at[end] != '>')
			end++;
		if (end < in->len && in->at[end] == ']')
			end++;
		span_take_bytes(in, end, &part);
		field_unfold(part, &item->domain);
		return;
	}
	while (word_take(in, &part)) {
		struct span after = *in;

		text_add(&item->domain, part);
		cfws_skip(&after, comment);
		if (after.len == 0 || (after.at[0] != '.' && part.at[part.len - 1] != '.'))
			return;
		*in = after;
	}
	if (item->domain.len == 0 && quoted_take(in, &inside))
		quoted_add(&item->domain, inside);
}

/* Takes "@a,@b:" (RFC 5322 4.4 obs-route), if a colon comes before the ">". */
static void
route_take(struct span *in, struct address_item *item)
{
	struct span route;
	size_t i = 0;

	while (i < in->len && in->at[i] != ':' && in->at[i] != '>')
		i++;
	if (i == in->len || in->at[i] != ':')
		return;
	span_take_bytes(in, i, &route);
	*in = span_part(*in, 1, in->len);
	for (i = 0; i < route.len; i++)
		if (!span_has(SPAN(" \t\r\n"), route.at[i]))
			text_add_byte(&item->route, route.at[i]);
	item->has_route = true;
}

/* Takes the inside of "<...>" and the ">". */
static void
angle_take(struct span *in, struct address_item *item)
{
	size_t words;

	cfws_skip(in, NULL);
	if (in->len > 0 && in->at[0] == '@')
		route_take(in, item);
	phrase_take(in, &item->local, &words, NULL);
	item->has_local = words > 0;
	if (span_take(in, '@'))
		domain_take(in, item, NULL);
	while (in->len > 0 && in->at[0] != '>' && in->at[0] != ',' && in->at[0] != ';') {
		struct span inside;

		if (!quoted_take(in, &inside))
			*in = span_part(*in, 1, in->len);
	}
	span_take(in, '>');
}

/* Skips to the separator that ends an address. A comment there is kept. */
static void
address_end(struct span *in, struct span *comment)
{
	struct span inside;

	for (;;) {
		cfws_skip(in, comment);
		if (in->len == 0 || in->at[0] == ',' || in->at[0] == ';')
			return;
		if (!quoted_take(in, &inside))
			*in = span_part(*in, 1, in->len);
	}
}

static void
texts_swap(struct text *a, struct text *b)
{
	struct text t = *a;

	*a = *b;
	*b = t;
}

/* Takes one address or the start of a group. Something other than a separator stands at the
 * front. */
static void
address_take(struct address_reader *reader, struct address_item *item, struct span comment)
{
	struct span *in = &reader->rest;
	size_t words;

	phrase_take(in, &item->name, &words, &comment);
	item->has_name = words > 0;
	if (!reader->in_group && words > 0 && span_take(in, ':')) {
		item->kind = ADDRESS_GROUP_START;
		reader->in_group = true;
		return;
	}
	if (span_take(in, '<')) {
		angle_take(in, item);
	} else if (in->len > 0 && in->at[0] == '@') {
		*in = span_part(*in, 1, in->len);
		texts_swap(&item->name, &item->local);
		item->has_local = item->has_name;
		item->has_name = false;
		domain_take(in, item, &comment);
	} else if (words == 1) {
		texts_swap(&item->name, &item->local);     /* "root" */
		item->has_local = true;
		item->has_name = false;
	}
	address_end(in, &comment);
	if (!item->has_name && comment.at != NULL) {
		quoted_add(&item->name, span_trim(comment));
		item->has_name = item->name.len > 0;
	}
}

bool
address_next(struct address_reader *reader, struct address_item *item)
{
	struct span *in = &reader->rest;
	struct span comment = SPAN_NONE;

	item_reset(item);
	if (reader->count >= MOST_ADDRESSES)
		*in = span_part(*in, in->len, 0);
	for (;;) {
		cfws_skip(in, &comment);
		if (in->len == 0 || (reader->in_group && in->at[0] == ';')) {
			bool open = reader->in_group;

			span_take(in, ';');
			reader->in_group = false;
			item->kind = ADDRESS_GROUP_END;
			return open;
		}
		if (in->at[0] != ',' && in->at[0] != ';')
			break;
		*in = span_part(*in, 1, in->len);
		comment = SPAN_NONE;
	}
	reader->count++;
	address_take(reader, item, comment);
	return true;
}

bool
address_plain_local(struct span value, struct span *local)
{
	struct span in = span_part(value, 0, MOST_FIELD_VALUE), word;
	bool bare = word_take(&in, local) && in.len > 0 && in.at[0] == '@';

	if (bare)
		return true;
	while (span_take(&in, ' ') || word_take(&in, &word))
		;
	return span_take(&in, '<') && word_take(&in, local) && in.len > 0 &&
		(in.at[0] == '@' || in.at[0] == '>');
}
