/*
 * Record data of the DNS, of the type that the first byte says: what is taken is printable.
 */
#include "master/dns-client.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text to = TEXT_UP_TO(4096);

	if (size && dns_record_put((enum dns_type)data[0], span_of(data + 1, size - 1), &to) &&
		!span_is_printable(text_span(&to)))
		abort();
	text_clear(&to);
	return 0;
}
