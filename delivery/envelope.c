/* envelope - see envelope.h. */
#include "envelope.h"

#include "common/crc32c.h"
#include "common/wire.h"
#include "idmap.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 3     /* 1: no wishes yet; 2: without tls_optional and hold_for */
#define HEAD_SIZE (2 * sizeof(uint32_t))

enum record_kind { RECORD_ENVELOPE = 1, RECORD_RECIPIENT = 2, RECORD_TOLD = 3, RECORD_HELD = 4 };

static void
record_add(struct text *to, struct text *body)
{
	struct span s = text_span(body);

	if (body->failed)
		to->failed = true;
	/* All or nothing: no ceiling may cut a record in two. */
	if (to->failed || s.len > to->most - to->len || HEAD_SIZE > to->most - to->len - s.len) {
		to->failed = true;
	} else {
		wire_add_u32(to, (uint32_t)s.len, sizeof(uint32_t));
		wire_add_u32(to, crc32c(s), sizeof(uint32_t));
		text_add(to, s);
	}
	text_reset(body);
}

static void
record_begin(struct text *body, enum record_kind kind)
{
	wire_add_u8(body, (uint8_t)kind, 1);
	wire_add_u8(body, VERSION, 1);
}

static void
wishes_add(struct text *to, const struct wishes *w)
{
	wire_add_octets(to, w->envid, MOST_ENVID);
	wire_add_u8(to, w->ret, 1);
	wire_add_flag(to, w->require_tls, 1);
	wire_add_u64(to, w->hold_until, 8);
	wire_add_u64(to, w->deliver_by, 8);
	wire_add_u8(to, w->by_mode, 1);
	wire_add_flag(to, w->by_trace, 1);
	wire_add_u8(to, w->priority, 1);
	wire_add_octets(to, w->auth_param, MOST_ADDRESS);
	wire_add_flag(to, w->tls_optional, 1);
	wire_add_u32(to, w->hold_for, 4);
}

static bool
wishes_take(struct span *in, uint8_t version, struct wishes *w)
{
	return wire_take_octets(in, &w->envid, MOST_ENVID) && wire_take_u8(in, &w->ret, 1) &&
		wire_take_flag(in, &w->require_tls, 1) && wire_take_u64(in, &w->hold_until, 8) &&
		wire_take_u64(in, &w->deliver_by, 8) && wire_take_u8(in, &w->by_mode, 1) &&
		wire_take_flag(in, &w->by_trace, 1) && wire_take_u8(in, &w->priority, 1) &&
		wire_take_octets(in, &w->auth_param, MOST_ADDRESS) &&
		(version < 3 || (wire_take_flag(in, &w->tls_optional, 1) && wire_take_u32(in, &w->hold_for, 4)));
}

void
envelope_encode(const struct envelope *e, struct text *to)
{
	struct text body = TEXT_UP_TO(MOST_RECORD);

	record_begin(&body, RECORD_ENVELOPE);
	wire_add_u64(&body, e->id, 8);
	wire_add_u64(&body, e->session, 8);
	wire_add_u8(&body, e->service, 1);
	wire_add_octets(&body, e->sender, MOST_ADDRESS);
	wire_add_octets(&body, e->login, MOST_ADDRESS);
	wire_add_u8(&body, e->body, 1);
	wire_add_flag(&body, e->utf8, 1);
	wire_add_u64(&body, e->size, 8);
	wire_add_octets(&body, e->digest, DIGEST_SIZE);
	wire_add_u64(&body, e->arrived, 8);
	wire_add_u32(&body, e->count, 4);
	wishes_add(&body, &e->wishes);
	wire_add_flag(&body, e->held, 1);
	wire_add_octets(&body, e->hold_reason, MOST_REASON);
	wire_add_octets(&body, e->top, MOST_TRACE);
	record_add(to, &body);
	for (uint32_t i = 0; i < e->count; i++) {
		const struct envelope_recipient *r = &e->recipient[i];

		record_begin(&body, RECORD_RECIPIENT);
		wire_add_u32(&body, r->number, 4);
		wire_add_octets(&body, r->address, MOST_ADDRESS);
		wire_add_octets(&body, r->home, MOST_PATH_FIELD);
		wire_add_u32(&body, r->uid, 4);
		wire_add_u32(&body, r->gid, 4);
		wire_add_u8(&body, 0, 1); /* kind: an address; there are no others yet */
		wire_add_u8(&body, r->notify, 1);
		wire_add_octets(&body, r->orcpt, MOST_ORCPT);
		wire_add_octets(&body, r->given, MOST_ADDRESS);
		wire_add_octets(&body, r->sender, MOST_ADDRESS);
		record_add(to, &body);
	}
	text_clear(&body);
}

void
envelope_encode_told(uint32_t number, const struct verdict *v, uint64_t when, struct text *to)
{
	struct text body = TEXT_UP_TO(MOST_RECORD);

	record_begin(&body, RECORD_TOLD);
	wire_add_u32(&body, number, 4);
	wire_add_u8(&body, v->outcome, 1);
	wire_add_u16(&body, v->code, 2);
	wire_add_octets(&body, v->status, MOST_STATUS);
	wire_add_octets(&body, v->reason, MOST_REASON);
	wire_add_u64(&body, when, 8);
	record_add(to, &body);
	text_clear(&body);
}

void
envelope_encode_held(bool held, struct span reason, uint64_t when, struct text *to)
{
	struct text body = TEXT_UP_TO(MOST_RECORD);

	record_begin(&body, RECORD_HELD);
	wire_add_flag(&body, held, 1);
	wire_add_octets(&body, reason, MOST_REASON);
	wire_add_u64(&body, when, 8);
	record_add(to, &body);
	text_clear(&body);
}

/* Takes one whole, undamaged record; *body starts behind its version. */
static bool
record_take(struct span *in, uint8_t *kind, uint8_t *version, struct span *body)
{
	struct span rest = *in, record;
	uint32_t len, crc;

	if (!wire_take_u32(&rest, &len, 4) || !wire_take_u32(&rest, &crc, 4) || len > MOST_RECORD ||
	    !span_take_bytes(&rest, len, &record) || crc32c(record) != crc ||
	    !wire_take_u8(&record, kind, 1) || !wire_take_u8(&record, version, 1))
		return false;
	*body = record;
	*in = rest;
	return true;
}

static bool
envelope_take(struct span *in, struct envelope *e)
{
	struct span b;
	uint8_t kind, version;

	if (!record_take(in, &kind, &version, &b) || kind != RECORD_ENVELOPE || version < 1 ||
		version > VERSION)
		return false;
	e->wishes.priority = PRIORITY_NORMAL;
	return wire_take_u64(&b, &e->id, 8) &&
	       wire_take_u64(&b, &e->session, 8) && wire_take_u8(&b, &e->service, 1) &&
	       wire_take_octets(&b, &e->sender, MOST_ADDRESS) &&
	       wire_take_octets(&b, &e->login, MOST_ADDRESS) && wire_take_u8(&b, &e->body, 1) &&
	       wire_take_flag(&b, &e->utf8, 1) && wire_take_u64(&b, &e->size, 8) &&
	       wire_take_octets(&b, &e->digest, DIGEST_SIZE) && wire_take_u64(&b, &e->arrived, 8) &&
	       wire_take_u32(&b, &e->count, 4) &&
	       (version == 1 || (wishes_take(&b, version, &e->wishes) && wire_take_flag(&b, &e->held, 1) &&
		       wire_take_octets(&b, &e->hold_reason, MOST_REASON) &&
		       wire_take_octets(&b, &e->top, MOST_TRACE))) && b.len == 0;
}

static bool
recipient_take(struct span *in, struct envelope_recipient *r)
{
	struct span b;
	uint8_t kind, version, reserved;

	return record_take(in, &kind, &version, &b) && kind == RECORD_RECIPIENT && version >= 1 &&
	       version <= VERSION && wire_take_u32(&b, &r->number, 4) &&
	       wire_take_octets(&b, &r->address, MOST_ADDRESS) &&
	       wire_take_octets(&b, &r->home, MOST_PATH_FIELD) && wire_take_u32(&b, &r->uid, 4) &&
	       wire_take_u32(&b, &r->gid, 4) &&
	       (version == 1 || (wire_take_u8(&b, &reserved, 1) && reserved == 0 &&
		       wire_take_u8(&b, &r->notify, 1) &&
		       wire_take_octets(&b, &r->orcpt, MOST_ORCPT) &&
		       wire_take_octets(&b, &r->given, MOST_ADDRESS) &&
		       wire_take_octets(&b, &r->sender, MOST_ADDRESS))) && b.len == 0;
}

static bool
told_take(struct span b, uint32_t *number, struct verdict *v, uint64_t *when)
{
	return wire_take_u32(&b, number, 4) && wire_take_u8(&b, &v->outcome, 1) &&
		wire_take_u16(&b, &v->code, 2) && wire_take_octets(&b, &v->status, MOST_STATUS) &&
		wire_take_octets(&b, &v->reason, MOST_REASON) && wire_take_u64(&b, when, 8) &&
		b.len == 0 && v->outcome >= DONE && v->outcome <= BROKEN;
}

static bool
held_take(struct span b, struct envelope *e)
{
	bool held;
	struct span reason;
	uint64_t when;

	if (!wire_take_flag(&b, &held, 1) || !wire_take_octets(&b, &reason, MOST_REASON) ||
	    !wire_take_u64(&b, &when, 8) || b.len != 0)
		return false;
	e->held = held;
	e->hold_reason = reason;
	return true;
}

/* Applies the told and held records. One that is whole but says something that we do not understand (a
 * newer version) is passed over: the recipient is tried again rather than forgotten. */
static void
tell_recipients(struct span *in, struct envelope *e)
{
	struct idmap by_number;
	struct span b;
	struct verdict v;
	uint8_t kind, version;
	uint32_t number;
	uint64_t when;

	idmap_init(&by_number);
	for (uint32_t i = 0; i < e->count; i++)
		idmap_put(&by_number, e->recipient[i].number + 1ull, &e->recipient[i]);
	while (record_take(in, &kind, &version, &b)) {
		struct envelope_recipient *r;

		if (version < 1 || version > VERSION || (kind == RECORD_HELD && held_take(b, e)))
			continue;
		if (kind != RECORD_TOLD ||
			!told_take(b, &number, &v, &when) ||
			(r = idmap_get(&by_number, number + 1ull)) == NULL)
			continue;
		r->told = v;
		r->told_at = when;
	}
	idmap_clear(&by_number);
}

bool
envelope_decode(struct span in, struct envelope *e, size_t *whole)
{
	struct span rest = in;
	struct envelope found;

	memset(&found, 0, sizeof(found));
	/* A recipient record is never shorter than its head: the count cannot ask for more memory
	 * than the file justifies. */
	if (!envelope_take(&rest, &found) || found.id == 0 || found.count == 0 ||
	    found.count > rest.len / HEAD_SIZE)
		return false;
	found.recipient = must_alloc(found.count * sizeof(*found.recipient));
	for (uint32_t i = 0; i < found.count; i++) {
		if (!recipient_take(&rest, &found.recipient[i])) {
			envelope_clear(&found);
			return false;
		}
	}
	tell_recipients(&rest, &found);
	*whole = in.len - rest.len;
	*e = found;
	return true;
}

void
envelope_clear(struct envelope *e)
{
	free(e->recipient);
	e->recipient = NULL;
	e->count = 0;
}

size_t
envelope_whole(struct span in)
{
	struct span rest = in, body;
	uint8_t kind, version;

	while (record_take(&rest, &kind, &version, &body))
		;
	return in.len - rest.len;
}
