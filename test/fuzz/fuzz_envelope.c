/*
 * Envelopes of the spool: whatever lies there is read without harm; what is read is written back
 * the same. An input that begins with a letter is a file as it is; any other is a row of bodies (u8
 * length each, times 16), which get their right length and checksum here, so that fuzzing comes
 * past them.
 */
#include "common/crc32c.h"
#include "common/wire.h"
#include "delivery/envelope.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
frame(struct span in, struct text *file)
{
	while (in.len > 1) {
		size_t len = (size_t)in.at[0] * 16;
		struct span body = span_part(in, 1, len);

		wire_add_u32(file, (uint32_t)body.len, 4);
		wire_add_u32(file, crc32c(body), 4);
		text_add(file, body);
		in = span_part(in, 1 + body.len, in.len);
	}
}

static void
read_back(struct span in)
{
	struct envelope e, back;
	struct text again = TEXT_UP_TO(MOST_ENVELOPE_FILE);
	size_t whole, whole_again, records = envelope_whole(in);

	if (!envelope_decode(in, &e, &whole))
		return;
	envelope_encode(&e, &again);
	if (whole > in.len || records != whole || again.failed ||
	    !envelope_decode(text_span(&again), &back, &whole_again) || back.count != e.count ||
	    whole_again != again.len || !span_equal(back.sender, e.sender))
		abort();
	envelope_clear(&back);
	envelope_clear(&e);
	text_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text file = TEXT_UP_TO(MOST_ENVELOPE_FILE);

	if (size > 0 && data[0] >= 'A' && data[0] <= 'z') {
		read_back(span_of(data + 1, size - 1));
	} else {
		frame(span_of(data, size), &file);
		read_back(text_span(&file));
	}
	text_clear(&file);
	return 0;
}
