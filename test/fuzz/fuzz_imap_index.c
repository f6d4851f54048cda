/* Payloads of the journal, one after the other, as if their checksums were right: UIDs ascend and stay
 * below the next one, names are names of files within the text, sets of keywords exist, what
 * vanished is in order, and every question about it is answered. Each is two bytes of length and so
 * many bytes. */
#include <stdlib.h>

#include "common/wire.h"
#include "imapd/index-record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
check_messages(const struct index *ix)
{
	uint32_t last = 0;

	for (size_t i = 0; i < ix->count; i++) {
		const struct index_record *r = &ix->records[i];
		struct span name = index_name(ix, r);

		must(r->uid > last && r->uid < ix->uidnext);
		last = r->uid;
		must(name.len > 0 && name.at >= ix->names.at &&
			name.at + name.len <= ix->names.at + ix->names.len);
		must(!span_has(name, '/') && name.at[0] != '.');
		must(r->keywords < ix->keywords.set_count);
		must(index_find(ix, r->uid) == i);
	}
}

static void
check_vanished(const struct index *ix)
{
	struct number_ranges gone = { NULL, 0, 0 };
	uint64_t modseq = 0;

	for (size_t i = 0; i < ix->vanished.count; i++) {
		must(ix->vanished.at[i].modseq >= modseq);
		modseq = ix->vanished.at[i].modseq;
	}
	index_vanished(ix, 3, &gone);
	for (size_t i = 1; i < gone.count; i++)
		must(gone.at[i].from > gone.at[i - 1].from);
	number_ranges_clear(&gone);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct index ix = { .uidnext = 1, .recent_from = 1, .modseq = 1,
		.names = TEXT_UP_TO(UINT32_MAX) };
	struct span in = span_of(data, size), payload;
	uint64_t last_modseq = 1;
	uint16_t len;

	keywords_init(&ix.keywords);
	while (wire_take_u16(&in, &len, 2) && span_take_bytes(&in, len, &payload)) {
		(void)record_apply(&ix, payload);
		must(ix.modseq >= last_modseq);
		last_modseq = ix.modseq;
	}
	check_messages(&ix);
	check_vanished(&ix);
	free(ix.records);
	text_clear(&ix.names);
	keywords_clear(&ix.keywords);
	vanished_clear(&ix.vanished);
	return 0;
}
