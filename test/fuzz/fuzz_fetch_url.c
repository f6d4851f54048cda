/* URLs that other domains name (policies, reports): any octets. What is taken apart lies inside, and is safe to
 * put into a request. */
#include <stdlib.h>

#include "delivery/fetch-url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
lies_inside(struct span part, struct span whole)
{
	if (part.len > 0 && (part.at < whole.at || part.at + part.len > whole.at + whole.len))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct fetch_url url;

	if (fetch_url_read(text, &url) != NULL)
		return 0;
	lies_inside(url.host, text);
	lies_inside(url.authority, text);
	lies_inside(url.target, text);
	if (!span_is_printable(text) || span_has(text, ' ') || url.port == 0 || url.host.len == 0 ||
		span_has(url.authority, '@') || span_has(url.authority, '/') || span_has(url.target, '#'))
		abort();
	if (url.target.len > 0 && url.target.at[0] != '/' && url.target.at[0] != '?')
		abort();
	return 0;
}
