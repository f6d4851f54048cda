/* TLSA records that DNS gave, and the certificate that a server showed: both come from strangers. The
 * first two bytes are the length of the records, then they come, then names up to a line's end, then DER. */
#include <stdlib.h>
#include <string.h>

#include "tlsproxy/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size), len, list = SPAN_NONE, names = SPAN_NONE;
	struct msg_tls_connect m = { .level = size > 0 ? data[size - 1] % 3 : 0 };
	gnutls_datum_t chain[2];
	struct wanted *w;
	struct verdict v;
	const char *why;

	if (!span_take_bytes(&in, 2, &len) ||
	    !span_take_bytes(&in, ((size_t)len.at[0] << 8 | len.at[1]) % 8192, &list))
		return 0;
	(void)span_take_until(&in, '\n', &names);
	m.tlsa = list;
	m.names = span_part(names, 0, 1024);
	w = wanted_new(&m, &why);
	if (w == NULL)
		return 0;
	chain[0] = (gnutls_datum_t){ (unsigned char *)(uintptr_t)in.at, (unsigned int)in.len };
	chain[1] = chain[0];
	verify_server(w, chain, 2, NULL, &v);
	if (v.verified != TLS_VERIFIED_NO && (v.fault[0] != '\0' || !v.acceptable))
		abort();
	free(w);
	return 0;
}
