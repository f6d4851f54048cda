/* Envelopes of the spool: whatever lies there is read without harm; what is read is written back
 * the same. */
#include "delivery/envelope.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope e;
	size_t whole;

	if (!envelope_decode(span_of(data, size), &e, &whole)) {
		(void)envelope_whole(span_of(data, size));
		return 0;
	}
	struct text again = TEXT_UP_TO(MOST_ENVELOPE_FILE);
	struct envelope back;
	size_t whole_again;

	envelope_encode(&e, &again);
	if (whole > size || again.failed ||
		!envelope_decode(text_span(&again), &back, &whole_again) || back.count != e.count ||
		whole_again != again.len)
		abort();
	envelope_clear(&back);
	envelope_clear(&e);
	text_clear(&again);
	return 0;
}
