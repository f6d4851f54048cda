/* Any octets as a message for a server that takes only US-ASCII: what is written is bounded; and what was written once is
 * not written differently again. */
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "delivery/seven-bit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
add(void *me, struct span bytes)
{
	text_add(me, bytes);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* "=XX" for each byte, soft breaks, and a few fields for each part, of which a byte makes none. */
	size_t most = 8 * size + 4096 + size / 4 * 200;
	struct text once = TEXT_UP_TO(most), twice = TEXT_UP_TO(2 * most);
	struct seven_bit_out out = { .write = add, .me = &once };

	seven_bit_write(span_of(data, size), &out);
	if (once.failed || out.failed)
		abort();
	out.me = &twice;
	seven_bit_write(text_span(&once), &out);
	if (!span_equal(text_span(&once), text_span(&twice)))
		abort();
	if (!seven_bit_needed(span_of(data, size)) && !span_equal(text_span(&once), span_of(data, size)))
		abort();
	text_clear(&once);
	text_clear(&twice);
	return 0;
}
