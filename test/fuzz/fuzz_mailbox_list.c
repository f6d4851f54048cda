/* Addresses in header fields: any octets. */
#include <stdlib.h>

#include "smtpd/mailbox-list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span whole = span_of(data, size), in = whole;
	struct mailbox_found found;
	struct text out = TEXT_UP_TO(1 << 20);

	while (mailbox_list_next(&in, &found)) {
		if (found.spec.at < data || found.spec.at + found.spec.len > data + size ||
		    found.spec.at + found.spec.len > in.at)
			abort();
		text_reset(&out);
		mailbox_found_put(&out, &found);
		if (out.len > found.spec.len)
			abort();
	}
	if (in.len > 0)
		abort();
	text_reset(&out);
	mailbox_list_qualify(whole, SPAN("d"), &out);
	if (!out.failed && out.len < size)
		abort();
	text_clear(&out);
	return 0;
}
