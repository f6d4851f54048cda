/* cache-content - what is kept of a message, made and read; see cache.h, cache-file.h. */
#include "imapd/cache-payload.h"

#include <errno.h>

uint64_t
cache_name(struct mailbox *m, struct span name)
{
	struct cache *c = cache_open(m);
	int number = cache_find_name(c, name);

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

/* The message at `at` of the index, if all that is asked for is kept of it. */
static bool
is_kept(struct mailbox *m, size_t at, unsigned int items, uint64_t names, struct cached *got)
{
	const struct index_record *r = &m->index.records[at];
	struct span payload;

	return cache_record(m->cache, r, &payload) && cache_payload_read(payload, r->uid, got) &&
		(got->has & items) == items && (got->names & names) == names;
}

bool
cache_get(struct mailbox *m, uint32_t uid, unsigned int items, uint64_t names,
	struct change *learned, struct cached *got)
{
	struct cache *c = cache_open(m);
	size_t at = index_find(&m->index, uid);
	struct mail mail;
	bool damaged;

	if (at == NO_RECORD) {
		errno = ENOENT;
		return false;
	}
	if (is_kept(m, at, items, names, got) ||
		(cache_take_filled(m) && is_kept(m, at, items, names, got)))
		return true;
	if (items & ~c->wanted) {
		c->wanted |= items;
		c->stale_header = true;
	}
	if (mail_open(m, uid, learned, &mail) < 0)
		return false;
	text_reset(&c->work);
	cache_payload_write(c, uid, c->wanted, mail.bytes, mail.header, &c->work);
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
	return cache_payload_read(text_span(&c->work), uid, got);
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
