/* The header of the PROXY protocol: any octets, as a reader takes them. */
#include <stdlib.h>
#include <string.h>

#include "common/proxy-header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_facts f;
	const char *why = NULL;
	size_t at = 0, wants;
	bool peek;

	/* What is asked for never passes the ceiling, and the reader always gets on. */
	while ((wants = proxy_header_wants(span_of(data, at), &peek)) > 0 && at < size) {
		size_t got = wants < size - at ? wants : size - at;
		const uint8_t *lf = peek ? memchr(data + at, '\n', got) : NULL;

		if (at + wants > PROXY_HEADER_MOST)
			abort();
		at += lf ? (size_t)(lf - (data + at)) + 1 : got;
	}
	if (proxy_header_parse(span_of(data, at), &f, &why)) {
		if (f.tls[PROXY_TLS_MOST] != '\0' || !span_is_printable(span_str(f.tls)))
			abort();
		if (!f.own && f.from.ss_family != f.to.ss_family)
			abort();
	} else if (!why) {
		abort();
	}
	return 0;
}
