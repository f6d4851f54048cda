/* cache-payload - see cache-payload.h. */
#include "imapd/cache-payload.h"

#include "common/crc32c.h"
#include "common/wire.h"
#include "imapd/bodystructure.h"
#include "imapd/envelope.h"
#include "imapd/header.h"
#include "imapd/preview.h"

#include <stdlib.h>
#include <string.h>

#define MOST_ITEM ((size_t)32 * 1024 * 1024)
#define BYTE_ORDER_MARK 0x01020304u

static const char magic[8] = { 'V', 'A', 'L', 'I', 'J', 'A', 'C', '1' };

/* --- the header --- */

void
cache_header_write(const struct cache *c, const struct index *ix, struct text *out)
{
	text_add(out, span_of(magic, sizeof(magic)));
	wire_add_u32(out, BYTE_ORDER_MARK, 4);
	wire_add_u32(out, CACHE_VERSION, 4);
	wire_add_u32(out, ix->uidvalidity, 4);
	text_add(out, span_of(ix->id, MAILBOX_ID_BYTES));
	wire_add_u64(out, c->made, 8);
	wire_add_u64(out, c->records, 8);
	wire_add_u32(out, c->wanted, 4);
	wire_add_u16(out, (uint16_t)c->name_count, 2);
	for (unsigned int i = 0; i < c->name_count; i++)
		wire_add_text(out, span_str(c->names[i]), MOST_CACHE_NAME);
	while (out->len < CACHE_HEADER_BYTES - 4)
		text_add_byte(out, 0);
	wire_add_u32(out, crc32c(text_span(out)), 4);
}

bool
cache_header_read(struct cache *c, const struct index *ix, struct span whole)
{
	struct span in = whole, found, found_id, name, seal;
	uint32_t order, version, validity, crc;
	uint16_t count;

	seal = span_part(whole, CACHE_HEADER_BYTES - 4, 4);
	if (whole.len != CACHE_HEADER_BYTES || !wire_take_u32(&seal, &crc, 4) ||
		crc != crc32c(span_part(whole, 0, CACHE_HEADER_BYTES - 4)) ||
		!span_take_bytes(&in, sizeof(magic), &found) ||
		!span_equal(found, span_of(magic, sizeof(magic))) ||
		!wire_take_u32(&in, &order, 4) || order != BYTE_ORDER_MARK ||
		!wire_take_u32(&in, &version, 4) || version != CACHE_VERSION ||
		!wire_take_u32(&in, &validity, 4) || (ix != NULL && validity != ix->uidvalidity) ||
		!span_take_bytes(&in, MAILBOX_ID_BYTES, &found_id) ||
		(ix != NULL && !span_equal(found_id, span_of(ix->id, MAILBOX_ID_BYTES))) ||
		!wire_take_u64(&in, &c->made, 8) || c->made == 0 ||
		!wire_take_u64(&in, &c->records, 8) ||
		!wire_take_u32(&in, &c->wanted, 4) || !wire_take_u16(&in, &count, 2) ||
		count > MOST_CACHE_NAMES)
		return false;
	c->wanted &= CACHE_HAS(CACHE_ITEMS) - 1;
	while (c->name_count < count) {
		if (!wire_take_text(&in, &name, MOST_CACHE_NAME) || name.len == 0)
			return false;
		c->names[c->name_count++] = must_copy(name);
	}
	return true;
}

void
cache_forget_wishes(struct cache *c)
{
	while (c->name_count > 0)
		free(c->names[--c->name_count]);
	c->wanted = 0;
	c->records = 0;
}

/* --- names --- */

int
cache_find_name(const struct cache *c, struct span name)
{
	for (unsigned int i = 0; i < c->name_count; i++) {
		if (span_equal_nocase(span_str(c->names[i]), name))
			return (int)i;
	}
	return -1;
}

uint64_t
cache_all_names(const struct cache *c)
{
	return c->name_count == 64 ? UINT64_MAX : ((uint64_t)1 << c->name_count) - 1;
}

/* --- reading --- */

uint32_t
cache_uid(struct span payload)
{
	uint32_t uid = 0;

	(void)wire_take_u32(&payload, &uid, 4);
	return uid;
}

bool
cache_payload_read(struct span in, uint32_t uid, struct cached *got)
{
	uint32_t found, has;

	*got = (struct cached){ .has = 0 };
	if (!wire_take_u32(&in, &found, 4) || found != uid || !wire_take_u32(&in, &has, 4) ||
		has >= CACHE_HAS(CACHE_ITEMS) || !wire_take_u64(&in, &got->names, 8))
		return false;
	got->has = has;
	for (unsigned int i = 0; i < CACHE_ITEMS; i++) {
		if ((has & CACHE_HAS(i)) && !wire_take_octets(&in, &got->item[i], MOST_ITEM))
			return false;
	}
	return wire_take_octets(&in, &got->header, MOST_ITEM) && in.len == 0;
}

/* --- making --- */

/* An octets field whose length is known only behind it. */
static size_t
octets_begin(struct text *out)
{
	wire_add_u32(out, 0, 4);
	return out->len;
}

static void
octets_end(struct text *out, size_t at)
{
	uint32_t len = (uint32_t)(out->len - at);

	if (!out->failed)
		memcpy(out->at + at - 4, &len, 4);
}

static void
add_item(enum cache_item item, struct span header, const struct mime *mime, struct text *out)
{
	switch (item) {
	case CACHE_ENVELOPE:
		envelope_write(header, out);
		break;
	case CACHE_PREVIEW:
		preview_write(mime, out);
		break;
	case CACHE_STRUCTURE:
	case CACHE_BODY:
	case CACHE_ITEMS:
	default:
		bodystructure_write(mime, item == CACHE_STRUCTURE, out);
		break;
	}
}

static void
add_lines(const struct cache *c, struct span header, struct text *out)
{
	struct field field;

	if (header.len == 0)
		return;
	while (field_take(&header, &field)) {
		if (field.name.len > 0 && cache_find_name(c, field.name) >= 0)
			text_add(out, field.whole);
	}
	text_add(out, SPAN("\r\n"));
}

void
cache_payload_write(const struct cache *c, uint32_t uid, unsigned int items, struct span message, struct span header,
	struct text *out)
{
	struct mime mime;
	bool parsed = (items & ~CACHE_HAS(CACHE_ENVELOPE)) != 0;
	size_t at;

	if (parsed)
		mime_parse(message, &mime);
	wire_add_u32(out, uid, 4);
	wire_add_u32(out, items, 4);
	wire_add_u64(out, cache_all_names(c), 8);
	for (unsigned int i = 0; i < CACHE_ITEMS; i++) {
		if (!(items & CACHE_HAS(i)))
			continue;
		at = octets_begin(out);
		add_item((enum cache_item)i, header, parsed ? &mime : NULL, out);
		octets_end(out, at);
	}
	at = octets_begin(out);
	if (c->name_count > 0)
		add_lines(c, header, out);
	octets_end(out, at);
	if (parsed)
		mime_clear(&mime);
}
