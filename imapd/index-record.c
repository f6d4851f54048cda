/* index-record - see index-record.h. */
#include "imapd/index-record.h"

#include "common/crc32c.h"
#include "common/maildir.h"
#include "common/wire.h"
#include "imapd/flags.h"

#include <string.h>

static const char magic[8] = { 'V', 'A', 'L', 'I', 'J', 'A', 'J', '1' };
#define BYTE_ORDER_MARK 0x01020304u

/* --- making records --- */

/* Starts a record; its head is filled by record_end. Returns where it begins. */
static size_t
record_begin(struct text *t, enum record_kind kind)
{
	size_t at = t->len;

	wire_add_u32(t, 0, 4);
	wire_add_u32(t, 0, 4);
	wire_add_u8(t, (uint8_t)kind, 1);
	return at;
}

static void
record_end(struct text *t, size_t at)
{
	uint32_t len;

	if (t->failed)
		return;
	len = (uint32_t)(t->len - at - RECORD_HEAD);
	memcpy(t->at + at, &len, 4);
}

static void
add_keywords(struct text *t, const struct keyword_bits *bits)
{
	uint16_t count = 0;

	for (size_t i = 0; bits != NULL && i < MOST_KEYWORDS / 64; i++)
		count = (uint16_t)(count + __builtin_popcountll(bits->word[i]));
	wire_add_u16(t, count, 2);
	for (unsigned int i = 0; count > 0 && i < MOST_KEYWORDS; i++) {
		if (bits->word[i / 64] >> (i % 64) & 1)
			wire_add_u16(t, (uint16_t)i, 2);
	}
}

static void
add_ranges(struct text *t, const struct number_range *at, size_t count)
{
	wire_add_u32(t, (uint32_t)count, 4);
	text_add(t, span_of(at, count * sizeof(*at)));
}

void
record_add(struct text *t, const struct index_record *r, struct span base,
	const struct keyword_bits *keywords)
{
	size_t at = record_begin(t, RECORD_MESSAGE);

	wire_add_u64(t, r->modseq, 8);
	wire_add_u32(t, r->uid, 4);
	wire_add_u8(t, r->flags, 1);
	wire_add_u8(t, r->letters, 1);
	wire_add_u32(t, r->lower, 4);
	wire_add_u64(t, (uint64_t)r->date, 8);
	wire_add_u64(t, (uint64_t)r->saved, 8);
	wire_add_u64(t, r->size, 8);
	wire_add_u64(t, r->vsize, 8);
	wire_add_u64(t, r->thread, 8);
	text_add(t, span_of(r->email, EMAIL_ID_BYTES));
	wire_add_text(t, base, MAILDIR_MOST_NAME);
	add_keywords(t, keywords);
	record_end(t, at);
}

void
record_vanished(struct text *t, const struct vanished *v)
{
	size_t at = record_begin(t, RECORD_VANISHED);

	wire_add_u64(t, v->forgotten, 8);
	wire_add_u32(t, (uint32_t)v->count, 4);
	for (size_t i = 0; i < v->count; i++) {
		wire_add_u64(t, v->at[i].modseq, 8);
		wire_add_u32(t, v->at[i].from, 4);
		wire_add_u32(t, v->at[i].to, 4);
	}
	record_end(t, at);
}

void
record_keyword(struct text *t, unsigned int number, struct span name)
{
	size_t at = record_begin(t, RECORD_KEYWORD);

	wire_add_u16(t, (uint16_t)number, 2);
	wire_add_text(t, name, MOST_KEYWORD);
	record_end(t, at);
}

void
change_init(struct change *c)
{
	*c = (struct change){ .records = TEXT_UP_TO((size_t)1 << 32) };
}

void
change_clear(struct change *c)
{
	text_clear(&c->records);
	change_init(c);
}

void
change_add(struct change *c, const struct index_record *r, struct span base,
	const struct keyword_bits *keywords)
{
	static const unsigned char none[EMAIL_ID_BYTES];
	struct index_record named = *r;

	if (memcmp(r->email, none, EMAIL_ID_BYTES) == 0)
		email_id_of_name(base, named.email);
	record_add(&c->records, &named, base, keywords);
	c->adds++;
}

/* So many that a record stays below MOST_RECORD. */
#define RANGES_IN_RECORD 1000000u

void
change_flags(struct change *c, enum change_mode mode, uint8_t flags,
	const struct keyword_bits *keywords,
	const struct number_ranges *uids)
{
	for (size_t i = 0; i < uids->count; i += RANGES_IN_RECORD) {
		size_t count = uids->count - i < RANGES_IN_RECORD ?
			uids->count - i : RANGES_IN_RECORD;
		size_t at = record_begin(&c->records, RECORD_FLAGS);

		wire_add_u64(&c->records, 0, 8);
		wire_add_u8(&c->records, (uint8_t)mode, 1);
		wire_add_u8(&c->records, flags, 1);
		add_keywords(&c->records, keywords);
		add_ranges(&c->records, uids->at + i, count);
		record_end(&c->records, at);
	}
}

void
change_expunge(struct change *c, const struct number_ranges *uids)
{
	for (size_t i = 0; i < uids->count; i += RANGES_IN_RECORD) {
		size_t count = uids->count - i < RANGES_IN_RECORD ?
			uids->count - i : RANGES_IN_RECORD;
		size_t at = record_begin(&c->records, RECORD_EXPUNGE);

		wire_add_u64(&c->records, 0, 8);
		add_ranges(&c->records, uids->at + i, count);
		record_end(&c->records, at);
	}
}

void
change_facts(struct change *c, const struct index_record *r)
{
	size_t at = record_begin(&c->records, RECORD_LEARNED);

	wire_add_u32(&c->records, r->uid, 4);
	wire_add_u64(&c->records, (uint64_t)r->date, 8);
	wire_add_u64(&c->records, (uint64_t)r->saved, 8);
	wire_add_u64(&c->records, r->size, 8);
	wire_add_u64(&c->records, r->vsize, 8);
	wire_add_u64(&c->records, r->thread, 8);
	record_end(&c->records, at);
}

void
change_letters(struct change *c, uint32_t uid, uint8_t letters, uint32_t lower)
{
	size_t at = record_begin(&c->records, RECORD_LETTERS);

	wire_add_u32(&c->records, uid, 4);
	wire_add_u8(&c->records, letters, 1);
	wire_add_u32(&c->records, lower, 4);
	record_end(&c->records, at);
}

void
change_stamps(struct change *c, struct index_stamp in_new, struct index_stamp in_cur, bool good)
{
	size_t at = record_begin(&c->records, RECORD_STAMPS);

	wire_add_u64(&c->records, (uint64_t)in_new.seconds, 8);
	wire_add_u32(&c->records, in_new.nanoseconds, 4);
	wire_add_u64(&c->records, (uint64_t)in_cur.seconds, 8);
	wire_add_u32(&c->records, in_cur.nanoseconds, 4);
	wire_add_u8(&c->records, good, 1);
	record_end(&c->records, at);
}

void
change_state(struct change *c, uint32_t uidnext, uint64_t modseq, uint32_t recent_from)
{
	size_t at = record_begin(&c->records, RECORD_STATE);

	wire_add_u32(&c->records, uidnext, 4);
	wire_add_u64(&c->records, modseq, 8);
	wire_add_u32(&c->records, recent_from, 4);
	record_end(&c->records, at);
}

void
change_inode(struct change *c, uint64_t inode)
{
	size_t at = record_begin(&c->records, RECORD_INODE);

	wire_add_u64(&c->records, inode, 8);
	record_end(&c->records, at);
}

/* --- sealing --- */

static void
seal_each(struct text *t, void (*number)(unsigned char *payload, void *me), void *me)
{
	uint32_t len, crc;

	for (size_t at = 0; at < t->len; at += RECORD_HEAD + len) {
		unsigned char *payload = t->at + at + RECORD_HEAD;

		memcpy(&len, t->at + at, 4);
		if (number != NULL)
			number(payload, me);
		crc = crc32c(span_of(payload, len));
		memcpy(t->at + at + 4, &crc, 4);
	}
}

struct numbering {
	uint32_t *uidnext;
	uint64_t *modseq;
};

static void
number_payload(unsigned char *payload, void *me)
{
	struct numbering *n = me;
	uint32_t uidnext;

	if (payload[0] == RECORD_STATE) {
		memcpy(&uidnext, payload + AT_UIDNEXT, 4);
		if (uidnext > *n->uidnext)
			*n->uidnext = uidnext;
	}
	if (payload[0] == RECORD_MESSAGE) {
		memcpy(payload + AT_UID, n->uidnext, 4);
		++*n->uidnext;
	}
	if (payload[0] == RECORD_MESSAGE || payload[0] == RECORD_FLAGS ||
		payload[0] == RECORD_EXPUNGE) {
		++*n->modseq;
		memcpy(payload + AT_MODSEQ, n->modseq, 8);
	}
}

void
records_seal(struct text *records, uint32_t *uidnext, uint64_t *modseq)
{
	struct numbering n = { uidnext, modseq };

	seal_each(records, number_payload, &n);
}

void
records_seal_kept(struct text *records)
{
	seal_each(records, NULL, NULL);
}

/* --- the header --- */

void
journal_header_write(struct text *out, const unsigned char id[MAILBOX_ID_BYTES],
	uint32_t uidvalidity, uint64_t made)
{
	size_t at = out->len;

	text_add(out, span_of(magic, sizeof(magic)));
	wire_add_u32(out, BYTE_ORDER_MARK, 4);
	wire_add_u32(out, JOURNAL_VERSION, 4);
	wire_add_u32(out, uidvalidity, 4);
	wire_add_u32(out, 0, 4);
	text_add(out, span_of(id, MAILBOX_ID_BYTES));
	wire_add_u64(out, made, 8);
	wire_add_u32(out, crc32c(span_of(out->at + at, out->len - at)), 4);
	while (out->len - at < JOURNAL_HEADER)
		text_add_byte(out, 0);
}

bool
journal_header_read(struct span in, unsigned char id[MAILBOX_ID_BYTES], uint32_t *uidvalidity,
	uint64_t *made, uint32_t *version)
{
	struct span whole = span_part(in, 0, 8 + 4 * 4 + MAILBOX_ID_BYTES + 8), found, id_span;
	uint32_t order, validity, zero, crc;

	if (in.len < JOURNAL_HEADER || !span_take_bytes(&in, sizeof(magic), &found) ||
		!span_equal(found, span_of(magic, sizeof(magic))))
		return false;
	if (!wire_take_u32(&in, &order, 4) || order != BYTE_ORDER_MARK ||
		!wire_take_u32(&in, version, 4) ||
		(*version != JOURNAL_VERSION && *version != JOURNAL_VERSION_OLD) ||
		!wire_take_u32(&in, &validity, 4) || validity == 0 ||
		!wire_take_u32(&in, &zero, 4) || !span_take_bytes(&in, MAILBOX_ID_BYTES,
		&id_span) ||
		!wire_take_u64(&in, made, 8) || !wire_take_u32(&in, &crc, 4) ||
		crc != crc32c(whole))
		return false;
	memcpy(id, id_span.at, MAILBOX_ID_BYTES);
	*uidvalidity = validity;
	return true;
}

/* --- applying records --- */

bool
record_take(struct span *in, struct span *payload)
{
	struct span rest = *in, bytes;
	uint32_t len, crc;

	if (!wire_take_u32(&rest, &len, 4) || len == 0 || len > MOST_RECORD ||
		!wire_take_u32(&rest, &crc, 4) ||
		!span_take_bytes(&rest, len, &bytes) || crc32c(bytes) != crc)
		return false;
	*in = rest;
	*payload = bytes;
	return true;
}

static bool
take_keywords(const struct index *ix, struct span *in, struct keyword_bits *bits)
{
	uint16_t count, number;

	memset(bits, 0, sizeof(*bits));
	if (!wire_take_u16(in, &count, 2))
		return false;
	for (; count > 0; count--) {
		if (!wire_take_u16(in, &number, 2) || number >= ix->keywords.count)
			return false;
		bits->word[number / 64] |= (uint64_t)1 << (number % 64);
	}
	return true;
}

/* The ranges lie unaligned in the payload: read one by one. */
static bool
take_ranges(struct span *in, struct span *ranges)
{
	uint32_t count;

	return wire_take_u32(in, &count, 4) && span_take_bytes(in,
		(size_t)count * sizeof(struct number_range), ranges) &&
		in->len == 0;
}

static bool
next_range(struct span *ranges, struct number_range *range)
{
	return wire_take_u32(ranges, &range->from, 4) && wire_take_u32(ranges, &range->to, 4);
}

void
index_make_room(struct index *ix)
{
	struct index_record *heap;
	size_t room = ix->count + ix->count / 4 + 16;

	if (ix->count < ix->room)
		return;
	if (ix->records_map.at == NULL) {
		ix->records = must_realloc(ix->records, room * sizeof(*ix->records));
	} else {
		heap = must_alloc(room * sizeof(*heap));
		memcpy(heap, ix->records, ix->count * sizeof(*heap));
		index_unmap(&ix->records_map);
		ix->records = heap;
	}
	ix->room = room;
}

/* The new message `r`, if its UID and name can be; the fields behind them were taken. */
static bool
append_message(struct index *ix, struct index_record *r, struct span name,
	const struct keyword_bits *bits)
{
	if (r->uid < ix->uidnext || r->uid == UINT32_MAX || name.len == 0 || span_has(name, '/') ||
		name.at[0] == '.' || ix->count >= MOST_MESSAGES ||
		name.len > UINT32_MAX - ix->old_names.len - ix->names.len)
		return false;
	index_make_room(ix);
	r->flags &= FLAG_SYSTEM;
	r->keywords = keywords_set(&ix->keywords, *bits);
	r->name = (uint32_t)(ix->old_names.len + ix->names.len);
	r->name_len = (uint8_t)name.len;
	text_add(&ix->names, name);
	ix->records[ix->count++] = *r;
	ix->uidnext = r->uid + 1;
	ix->names_pending |= index_name_pending(r);
	if (r->modseq > ix->modseq)
		ix->modseq = r->modseq;
	return true;
}

/* What ADD and MESSAGE begin with. */
static bool
take_message(struct span *in, struct index_record *r)
{
	return wire_take_u64(in, &r->modseq, 8) && wire_take_u32(in, &r->uid, 4) &&
		wire_take_u8(in, &r->flags, 1) && wire_take_u8(in, &r->letters, 1) &&
		wire_take_u32(in, &r->lower, 4);
}

static bool
take_date(struct span *in, int64_t *date)
{
	uint64_t bits;

	if (!wire_take_u64(in, &bits, 8))
		return false;
	*date = (int64_t)bits;
	return true;
}

static bool
apply_add(struct index *ix, struct span in)
{
	struct index_record r = { .saved = UNKNOWN_DATE };
	struct keyword_bits bits;
	struct span name;

	if (!take_message(&in, &r) || !take_date(&in, &r.date) ||
		!wire_take_u64(&in, &r.size, 8) || !wire_take_u64(&in, &r.vsize, 8) ||
		!wire_take_text(&in, &name, MAILDIR_MOST_NAME) || !take_keywords(ix, &in, &bits) ||
		in.len != 0)
		return false;
	email_id_of_name(name, r.email);
	return append_message(ix, &r, name, &bits);
}

static bool
apply_message(struct index *ix, struct span in)
{
	struct index_record r = { .modseq = 0 };
	struct keyword_bits bits;
	struct span email, name;

	if (!take_message(&in, &r) || !take_date(&in, &r.date) || !take_date(&in, &r.saved) ||
		!wire_take_u64(&in, &r.size, 8) || !wire_take_u64(&in, &r.vsize, 8) ||
		!wire_take_u64(&in, &r.thread, 8) ||
		!span_take_bytes(&in, EMAIL_ID_BYTES, &email) ||
		!wire_take_text(&in, &name, MAILDIR_MOST_NAME) || !take_keywords(ix, &in, &bits) ||
		in.len != 0)
		return false;
	memcpy(r.email, email.at, EMAIL_ID_BYTES);
	return append_message(ix, &r, name, &bits);
}

static void
change_record(struct index *ix, struct index_record *r, enum change_mode mode, uint8_t flags,
	const struct keyword_bits *bits,
	uint64_t modseq)
{
	struct keyword_bits now = keywords_bits(&ix->keywords, r->keywords);
	uint8_t old_flags = r->flags;
	uint32_t old_keywords = r->keywords;

	for (size_t i = 0; i < MOST_KEYWORDS / 64; i++) {
		if (mode == CHANGE_ADD)
			now.word[i] |= bits->word[i];
		else if (mode == CHANGE_REMOVE)
			now.word[i] &= ~bits->word[i];
		else
			now.word[i] = bits->word[i];
	}
	if (mode == CHANGE_ADD)
		r->flags |= flags;
	else if (mode == CHANGE_REMOVE)
		r->flags &= (uint8_t)~flags;
	else
		r->flags = flags;
	r->keywords = keywords_set(&ix->keywords, now);
	if (r->flags != old_flags || r->keywords != old_keywords)
		r->modseq = modseq;
	ix->names_pending |= index_name_pending(r);
}

static bool
apply_flags(struct index *ix, struct span in)
{
	struct keyword_bits bits;
	struct number_range range;
	struct span ranges;
	uint64_t modseq;
	uint8_t mode, flags;

	if (!wire_take_u64(&in, &modseq, 8) || !wire_take_u8(&in, &mode, 1) ||
		mode > CHANGE_REPLACE ||
		!wire_take_u8(&in, &flags, 1) || (flags & ~FLAG_SYSTEM) ||
		!take_keywords(ix, &in, &bits) ||
		!take_ranges(&in, &ranges))
		return false;
	while (next_range(&ranges, &range)) {
		for (size_t i = index_from(ix, range.from); i < ix->count &&
			ix->records[i].uid <= range.to; i++)
			change_record(ix, &ix->records[i], mode, flags, &bits, modseq);
	}
	if (modseq > ix->modseq)
		ix->modseq = modseq;
	return true;
}

static bool
apply_expunge(struct index *ix, struct span in)
{
	struct number_range range = { 0, 0 };
	struct span ranges;
	uint64_t modseq;
	size_t from, to;
	bool more;

	if (!wire_take_u64(&in, &modseq, 8) || !take_ranges(&in, &ranges))
		return false;
	if (modseq > ix->modseq)
		ix->modseq = modseq;
	more = next_range(&ranges, &range);
	if (!more)
		return true;
	from = to = index_from(ix, range.from);
	for (; from < ix->count; from++) {
		const struct index_record *r = &ix->records[from];

		while (more && r->uid > range.to)
			more = next_range(&ranges, &range);
		if (more && r->uid >= range.from) {
			ix->name_garbage += r->name_len;
			ix->expunges++;
			vanished_add(&ix->vanished, modseq, r->uid, r->uid);
		} else {
			if (to != from)
				ix->records[to] = *r;
			to++;
		}
	}
	ix->count = to;
	return true;
}

static bool
apply_keyword(struct index *ix, struct span in)
{
	struct span name;
	uint16_t number;

	return wire_take_u16(&in, &number, 2) && wire_take_text(&in, &name, MOST_KEYWORD) &&
		in.len == 0 && name.len > 0 &&
		number == ix->keywords.count && keywords_add(&ix->keywords, name) != NO_KEYWORD;
}

static bool
apply_facts(struct index *ix, struct span in, bool with_more)
{
	struct index_record r = { .modseq = 0 }, *to;
	uint32_t uid;
	size_t at;

	if (!wire_take_u32(&in, &uid, 4) || !take_date(&in, &r.date) ||
		(with_more && !take_date(&in, &r.saved)) || !wire_take_u64(&in, &r.size, 8) ||
		!wire_take_u64(&in, &r.vsize, 8) ||
		(with_more && !wire_take_u64(&in, &r.thread, 8)) || in.len != 0)
		return false;
	at = index_find(ix, uid);
	if (at == NO_RECORD)
		return true;      /* gone meanwhile */
	to = &ix->records[at];
	to->date = r.date;
	to->size = r.size;
	to->vsize = r.vsize;
	if (with_more) {
		to->saved = r.saved;
		to->thread = r.thread;
	}
	return true;
}

static bool
apply_vanished(struct index *ix, struct span in)
{
	uint64_t forgotten, modseq = 0;
	uint32_t count, from, to;

	if (!wire_take_u64(&in, &forgotten, 8) || !wire_take_u32(&in, &count, 4) ||
		in.len != (uint64_t)count * 16)
		return false;
	vanished_forget(&ix->vanished, forgotten);
	while (wire_take_u64(&in, &modseq, 8) && wire_take_u32(&in, &from, 4) &&
		wire_take_u32(&in, &to, 4)) {
		if (from > 0 && from <= to)
			vanished_add(&ix->vanished, modseq, from, to);
		if (modseq > ix->modseq)
			ix->modseq = modseq;
	}
	return true;
}

static bool
apply_letters(struct index *ix, struct span in)
{
	uint32_t uid, lower;
	uint8_t letters;
	size_t at;

	if (!wire_take_u32(&in, &uid, 4) || !wire_take_u8(&in, &letters, 1) ||
		!wire_take_u32(&in, &lower, 4) || in.len != 0)
		return false;
	at = index_find(ix, uid);
	if (at == NO_RECORD)
		return true;
	ix->records[at].letters = letters;
	ix->records[at].lower = lower;
	ix->names_pending |= index_name_pending(&ix->records[at]);
	return true;
}

static bool
apply_stamps(struct index *ix, struct span in)
{
	struct index_stamp in_new, in_cur;
	uint64_t s1, s2;
	uint8_t good;

	if (!wire_take_u64(&in, &s1, 8) || !wire_take_u32(&in, &in_new.nanoseconds, 4) ||
		!wire_take_u64(&in, &s2, 8) ||
		!wire_take_u32(&in, &in_cur.nanoseconds, 4) || !wire_take_u8(&in, &good, 1) ||
		in.len != 0)
		return false;
	in_new.seconds = (int64_t)s1;
	in_cur.seconds = (int64_t)s2;
	ix->in_new = in_new;
	ix->in_cur = in_cur;
	ix->stamped = good == 1;
	return true;
}

static bool
apply_state(struct index *ix, struct span in)
{
	uint32_t uidnext, recent_from;
	uint64_t modseq;

	if (!wire_take_u32(&in, &uidnext, 4) || !wire_take_u64(&in, &modseq, 8) ||
		!wire_take_u32(&in, &recent_from, 4) ||
		in.len != 0)
		return false;
	/* They only ever grow. */
	if (uidnext > ix->uidnext)
		ix->uidnext = uidnext;
	if (modseq > ix->modseq)
		ix->modseq = modseq;
	if (recent_from > ix->recent_from)
		ix->recent_from = recent_from;
	return true;
}

bool
record_apply(struct index *ix, struct span payload)
{
	uint8_t kind;

	if (!wire_take_u8(&payload, &kind, 1))
		return false;
	switch (kind) {
	case RECORD_ADD:
		return apply_add(ix, payload);
	case RECORD_FLAGS:
		return apply_flags(ix, payload);
	case RECORD_EXPUNGE:
		return apply_expunge(ix, payload);
	case RECORD_KEYWORD:
		return apply_keyword(ix, payload);
	case RECORD_FACTS:
		return apply_facts(ix, payload, false);
	case RECORD_MESSAGE:
		return apply_message(ix, payload);
	case RECORD_LEARNED:
		return apply_facts(ix, payload, true);
	case RECORD_VANISHED:
		return apply_vanished(ix, payload);
	case RECORD_LETTERS:
		return apply_letters(ix, payload);
	case RECORD_STAMPS:
		return apply_stamps(ix, payload);
	case RECORD_STATE:
		return apply_state(ix, payload);
	case RECORD_INODE:
		return wire_take_u64(&payload, &ix->inode, 8) && payload.len == 0;
	default:
		return false;
	}
}
