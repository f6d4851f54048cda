/* URLs of messages (RFC 5092): what is taken holds no NUL and names a message. */
#include "imapd/imap-url.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { NULL, false };
	struct imap_url url;

	if (imap_url_parse(span_of(data, size), &arena, &url) && (url.uid == 0 ||
		span_has(url.mailbox, '\0') || span_has(url.section, '\0') ||
		(url.mailbox.at == NULL && url.absolute) ||
		url.mailbox.len > size || url.section.len > size))
		abort();
	arena_clear(&arena);
	return 0;
}
