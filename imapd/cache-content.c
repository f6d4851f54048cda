/* cache-content - what is kept of a message, made and read; see cache.h, cache-file.h. */
#include "imapd/cache-file.h"

#include "common/log.h"
#include "common/wire.h"
#include "imapd/bodystructure.h"
#include "imapd/envelope.h"
#include "imapd/header.h"
#include "imapd/preview.h"

#include <errno.h>
#include <string.h>

#define MOST_ITEM ((size_t)32 * 1024 * 1024)

uint32_t
cache_uid(struct span payload)
{
	uint32_t uid = 0;

	(void)wire_take_u32(&payload, &uid, 4);
	return uid;
}

/* --- names --- */

/* The number of a name, or -1. */
static int
find_name(const struct cache *c, struct span name)
{
	for (unsigned int i = 0; i < c->name_count; i++) {
		if (span_equal_nocase(span_str(c->names[i]), name))
			return (int)i;
	}
	return -1;
}

uint64_t
cache_name(struct mailbox *m, struct span name)
{
	struct cache *c = cache_open(m);
	int number = find_name(c, name);

	if (number < 0) {
		if (c->name_count == MOST_CACHE_NAMES || name.len == 0 ||
			name.len > MOST_CACHE_NAME || span_has(name, '\0'))
			return 0;
		number = (int)c->name_count;
		c->names[c->name_count++] = must_copy(name);
		c->stale_header = true;
	}
	return (uint64_t)1 << number;
}

/* --- reading --- */

static bool
payload_read(struct span in, uint32_t uid, struct cached *got)
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
add_item(enum cache_item item, struct mail *mail, struct text *out)
{
	switch (item) {
	case CACHE_ENVELOPE:
		envelope_write(mail->header, out);
		break;
	case CACHE_PREVIEW:
		preview_write(mail_mime(mail), out);
		break;
	case CACHE_STRUCTURE:
	case CACHE_BODY:
	case CACHE_ITEMS:
	default:
		bodystructure_write(mail_mime(mail), item == CACHE_STRUCTURE, out);
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
		if (field.name.len > 0 && find_name(c, field.name) >= 0)
			text_add(out, field.whole);
	}
	text_add(out, SPAN("\r\n"));
}

static void
payload_write(struct cache *c, uint32_t uid, struct mail *mail)
{
	struct text *out = &c->work;
	size_t at;

	text_reset(out);
	wire_add_u32(out, uid, 4);
	wire_add_u32(out, c->wanted, 4);
	wire_add_u64(out, c->name_count == 64 ? UINT64_MAX :
		((uint64_t)1 << c->name_count) - 1, 8);
	for (unsigned int i = 0; i < CACHE_ITEMS; i++) {
		if (!(c->wanted & CACHE_HAS(i)))
			continue;
		at = octets_begin(out);
		add_item((enum cache_item)i, mail, out);
		octets_end(out, at);
	}
	at = octets_begin(out);
	if (c->name_count > 0)
		add_lines(c, mail->header, out);
	octets_end(out, at);
}

bool
cache_get(struct mailbox *m, uint32_t uid, unsigned int items, uint64_t names,
	struct change *learned, struct cached *got)
{
	struct cache *c = cache_open(m);
	size_t at = index_find(&m->index, uid);
	struct span payload;
	struct mail mail;
	bool damaged;

	if (at == NO_RECORD) {
		errno = ENOENT;
		return false;
	}
	if (cache_record(c, &m->index.records[at], &payload) && payload_read(payload, uid, got) &&
		(got->has & items) == items && (got->names & names) == names)
		return true;
	if (items & ~c->wanted) {
		c->wanted |= items;
		c->stale_header = true;
	}
	if (mail_open(m, uid, learned, &mail) < 0)
		return false;
	payload_write(c, uid, &mail);
	damaged = mail_is_damaged(&mail);
	mail_close(&mail);
	if (damaged) {
		errno = EIO;
		return false;
	}
	at = index_find(&m->index, uid);      /* records may have moved */
	if (at != NO_RECORD && !c->work.failed)
		cache_append(c, &m->index.records[at], text_span(&c->work));
	errno = EIO;
	return payload_read(text_span(&c->work), uid, got);
}

uint64_t
cache_names(struct mailbox *m, const char *const *fields, size_t count)
{
	uint64_t names = 0, name = 1;

	for (size_t i = 0; i < count && name != 0; i++) {
		name = cache_name(m, span_str(fields[i]));
		names |= name;
	}
	return name == 0 ? 0 : names;
}

bool
cache_lines(struct mailbox *m, uint32_t uid, uint64_t names, struct change *learned,
	struct span *header)
{
	struct cache *c = cache_open(m);
	struct cached got;
	struct mail mail;
	bool damaged;

	if (names != 0) {
		if (!cache_get(m, uid, 0, names, learned, &got))
			return false;
		*header = got.header;
		return true;
	}
	if (mail_open(m, uid, learned, &mail) < 0)
		return false;
	text_reset(&c->work);
	text_add(&c->work, mail.header);
	damaged = mail_is_damaged(&mail);
	mail_close(&mail);
	if (damaged) {
		errno = EIO;
		return false;
	}
	*header = text_span(&c->work);
	return true;
}
