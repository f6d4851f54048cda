/* Any octets as a message for a server that takes only US-ASCII: what is written is as long as was foretold; what was written
 * once is not written differently again; and what needs nothing stays as it was. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/text.h"
#include "delivery/seven-bit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Needed, possible; *to is what leaves. */
static bool
encode(struct span in, struct text *to)
{
	static int fd = -1;
	struct seven_bit *s;
	unsigned char piece[777];
	size_t len;
	bool needed;

	if (fd < 0 && (fd = memfd_create("message", MFD_CLOEXEC)) < 0)
		abort();
	if (ftruncate(fd, 0) < 0 || pwrite(fd, in.at, in.len, 0) != (ssize_t)in.len)
		abort();
	s = seven_bit_new(fd, in.len);
	while (!seven_bit_look(s))
		continue;
	needed = seven_bit_needed(s);
	while ((len = seven_bit_read(s, piece, sizeof(piece))) > 0)
		text_add(to, span_of(piece, len));
	if (to->len != seven_bit_size(s) || !seven_bit_possible(s))
		abort();
	seven_bit_free(&s);
	return needed;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* "=XX" for each byte, soft breaks, and a few fields for each part, of which a byte makes none. */
	size_t most = 8 * size + 4096 + size / 4 * 200;
	struct text once = TEXT_UP_TO(most), twice = TEXT_UP_TO(2 * most);
	bool needed = encode(span_of(data, size), &once);

	if (once.failed)
		abort();
	(void)encode(text_span(&once), &twice);
	if (!span_equal(text_span(&once), text_span(&twice)))
		abort();
	if (!needed && !span_equal(text_span(&once), span_of(data, size)))
		abort();
	text_clear(&once);
	text_clear(&twice);
	return 0;
}
