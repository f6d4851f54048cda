/* ledger_record - see ledger_record.h. */
#include "ledger_record.h"

#include "common/crc32c.h"
#include "common/wire.h"

#include <string.h>

#define MARK_MAGIC SPAN("valija ledger 1\n")
#define RECORD_MAGIC SPAN("valija record 1\n")
#define MAGIC_SIZE 16
#define CRC_SIZE sizeof(uint32_t)
#define AT_CRC MAGIC_SIZE
#define AT_LENGTH (AT_CRC + CRC_SIZE)
#define AT_TARGETS (AT_LENGTH + 4)
#define AT_BODY (AT_TARGETS + 4)
#define HEAD_SIZE (AT_BODY + 4 + LEDGER_KEY + 8)

/* --- marks --- */

void
ledger_mark_write(const struct ledger_mark *m, struct text *page)
{
	static const unsigned char nothing[LEDGER_PAGE];
	uint32_t crc;

	text_reset(page);
	text_add(page, MARK_MAGIC);
	wire_add_u32(page, 0, 4);
	text_add(page, span_of(m->key, LEDGER_KEY));
	wire_add_u64(page, m->count, 8);
	wire_add_u64(page, m->settled, 8);
	wire_add_u64(page, m->mounting, 8);
	wire_add_octets(page, m->boot, LEDGER_MOST_BOOT);
	wire_add_octets(page, m->mail, LEDGER_MOST_MAIL);   /* older marks have zeros here: "" */
	text_add(page, span_of(nothing, LEDGER_PAGE - page->len));
	crc = crc32c(span_part(text_span(page), AT_LENGTH, LEDGER_PAGE));
	memcpy(page->at + AT_CRC, &crc, CRC_SIZE);
}

static bool
take(struct span *in, void *to, size_t len)
{
	if (in->len < len)
		return false;
	memcpy(to, in->at, len);
	*in = span_part(*in, len, in->len);
	return true;
}

static bool
mark_read_one(struct span page, struct ledger_mark *m)
{
	struct span in = span_part(page, MAGIC_SIZE, page.len);
	uint32_t crc;

	return page.len == LEDGER_PAGE && span_equal(span_part(page, 0, MAGIC_SIZE), MARK_MAGIC) &&
		wire_take_u32(&in, &crc, 4) && crc == crc32c(in) && take(&in, m->key, LEDGER_KEY) &&
		wire_take_u64(&in, &m->count, 8) && wire_take_u64(&in, &m->settled, 8) &&
		wire_take_u64(&in, &m->mounting, 8) && wire_take_octets(&in, &m->boot, LEDGER_MOST_BOOT) &&
		wire_take_octets(&in, &m->mail, LEDGER_MOST_MAIL);
}

bool
ledger_mark_read(struct span file, struct ledger_mark *m)
{
	struct ledger_mark one, two;
	bool first = mark_read_one(span_part(file, 0, LEDGER_PAGE), &one),
	     second = mark_read_one(span_part(file, LEDGER_PAGE, LEDGER_PAGE), &two);

	if (!first && !second)
		return false;
	*m = !second || (first && one.count > two.count) ? one : two;
	return true;
}

/* --- records --- */

void
ledger_record_begin(const unsigned char key[LEDGER_KEY], uint64_t number, struct text *t)
{
	text_reset(t);
	text_add(t, RECORD_MAGIC);
	wire_add_u32(t, 0, 4); /* AT_CRC, */
	wire_add_u32(t, 0, 4); /* AT_LENGTH, */
	wire_add_u32(t, 0, 4); /* AT_TARGETS, */
	wire_add_u32(t, 0, 4); /* AT_BODY: ledger_record_seal */
	text_add(t, span_of(key, LEDGER_KEY));
	wire_add_u64(t, number, 8);
}

void
ledger_record_target(struct text *t, const struct ledger_target *target)
{
	wire_add_octets(t, target->home, LEDGER_MOST_WORD);
	wire_add_octets(t, target->folder, LEDGER_MOST_WORD);
	wire_add_octets(t, target->name, LEDGER_MOST_WORD);
}

static void
put_u32(struct text *t, size_t at, uint32_t value)
{
	memcpy(t->at + at, &value, sizeof(value));
}

void
ledger_record_seal(struct text *t, uint32_t targets, uint32_t body)
{
	if (t->failed || t->len > LEDGER_MOST_RECORD) {
		t->failed = true;
		return;
	}
	put_u32(t, AT_LENGTH, (uint32_t)t->len);
	put_u32(t, AT_TARGETS, targets);
	put_u32(t, AT_BODY, body);
	put_u32(t, AT_CRC, crc32c(span_part(text_span(t), AT_LENGTH, t->len)));
}

void
ledger_record_withdraw(const unsigned char key[LEDGER_KEY], uint64_t number, struct text *t)
{
	ledger_record_begin(key, number, t);
	ledger_record_seal(t, 0, 0);
}

/* A name that stands in new/ is a word of its own directory, before the flags begin. */
static bool
is_name(struct span name)
{
	return name.len > 0 && name.len <= 255 && name.at[0] != '.' && !span_has(name, '/') && !span_has(name, ':') &&
		!span_has(name, '\0');
}

bool
ledger_target_take(struct span *in, struct ledger_target *t)
{
	struct span rest = *in;

	if (!wire_take_octets(&rest, &t->home, LEDGER_MOST_WORD) ||
	    !wire_take_octets(&rest, &t->folder, LEDGER_MOST_WORD) ||
	    !wire_take_octets(&rest, &t->name, LEDGER_MOST_WORD) || t->home.len == 0 || span_has(t->home, '\0') ||
	    span_has(t->folder, '\0') || !is_name(t->name))
		return false;
	*in = rest;
	return true;
}

static bool
targets_are_whole(const struct ledger_record *r)
{
	struct span in = r->target;
	struct ledger_target t;

	for (uint32_t i = 0; i < r->targets; i++)
		if (!ledger_target_take(&in, &t))
			return false;
	return in.len == 0;
}

bool
ledger_record_read(struct span in, const unsigned char key[LEDGER_KEY], struct ledger_record *r, size_t *pages)
{
	struct span whole, rest = span_part(in, MAGIC_SIZE, in.len);
	unsigned char its_key[LEDGER_KEY];
	uint32_t crc, length, body;

	memset(r, 0, sizeof(*r));
	if (!span_equal(span_part(in, 0, MAGIC_SIZE), RECORD_MAGIC) || !wire_take_u32(&rest, &crc, 4) ||
	    !wire_take_u32(&rest, &length, 4) || !wire_take_u32(&rest, &r->targets, 4) ||
	    !wire_take_u32(&rest, &body, 4) || !take(&rest, its_key, LEDGER_KEY) ||
	    !wire_take_u64(&rest, &r->number, 8) || memcmp(its_key, key, LEDGER_KEY) != 0)
		return false;
	whole = span_part(in, 0, length);
	if (length > in.len || length > LEDGER_MOST_RECORD || length < HEAD_SIZE || r->targets > LEDGER_MOST_TARGETS ||
	    crc32c(span_part(whole, AT_LENGTH, whole.len)) != crc)
		return false;
	rest = span_part(whole, HEAD_SIZE, whole.len);
	if (body > rest.len)
		return false;
	r->target = span_part(rest, 0, rest.len - body);
	r->body = span_part(rest, rest.len - body, body);
	r->withdrawn = r->targets == 0;
	*pages = (length + LEDGER_PAGE - 1) / LEDGER_PAGE;
	return targets_are_whole(r) && r->number != 0;
}
