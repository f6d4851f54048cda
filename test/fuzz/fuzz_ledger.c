/*
 * Ledgers: whatever stands in the file is read without harm, and no target that is read leads out of its Maildir. The
 * first byte says whether the rest is a file as it is, or what stands behind the head of a record or mark, which gets its
 * right key, length and checksum here, so that fuzzing comes past them.
 */
#include "delivery/ledger_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char key[LEDGER_KEY] = "fuzz";

static void
read_record(struct span in)
{
	struct ledger_record r;
	struct ledger_target t;
	size_t pages = 0, bytes = 0;
	uint32_t count = 0;

	if (!ledger_record_read(in, key, &r, &pages))
		return;
	while (ledger_target_take(&r.target, &t)) {
		count++;
		bytes += t.home.len + t.folder.len + t.name.len;
		if (t.name.len == 0 || t.name.len > 255 || span_has(t.name, '/') || t.name.at[0] == '.' ||
		    span_has(t.home, '\0') || span_has(t.folder, '\0'))
			abort();
	}
	if (count != r.targets || r.withdrawn != (count == 0) || pages == 0 || bytes + r.body.len > in.len ||
	    r.body.len > LEDGER_MOST_RECORD || (r.body.len > 0 && r.body.at + r.body.len > in.at + in.len))
		abort();
}

/* What was written is read back. */
static void
write_record(struct span in)
{
	struct ledger_target t = { span_part(in, 0, in.len / 4), SPAN("folder"), SPAN("name") };
	struct text text = TEXT_UP_TO(LEDGER_MOST_RECORD);
	struct ledger_record r;
	size_t pages;

	ledger_record_begin(key, 9, &text);
	ledger_record_target(&text, &t);
	text_add(&text, in);
	ledger_record_seal(&text, 1, (uint32_t)in.len);
	if (!text.failed && t.home.len > 0 && !span_has(t.home, '\0') &&
	    (!ledger_record_read(text_span(&text), key, &r, &pages) || !span_equal(r.body, in) || r.number != 9))
		abort();
	text_clear(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text text = TEXT_UP_TO(LEDGER_MOST_RECORD);
	struct span in = span_of(data, size);
	struct ledger_mark m;

	if (size < 6)
		return 0;
	ledger_mark_read(in, &m);
	read_record(in);
	ledger_record_begin(key, data[1], &text);
	text_add(&text, span_part(in, 6, in.len));
	ledger_record_seal(&text, data[0] % 8, (uint32_t)(data[2] << 16 | data[3] << 8 | data[4]));
	if (!text.failed)
		read_record(text_span(&text));
	text_clear(&text);
	write_record(span_part(in, 1, in.len));
	return 0;
}
