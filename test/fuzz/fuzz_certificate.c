/* A client's certificate, as a stranger sends it: what becomes of its mail addresses is a list that can be
 * read in one way only. */
#include <stdlib.h>
#include <string.h>

#include "common/span.h"
#include "tlsproxy/client-certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	gnutls_datum_t der = { (unsigned char *)(uintptr_t)data, (unsigned int)size };
	char mail[MOST_CERTIFICATE_MAIL + 1];
	struct span list, one;

	client_certificate_mail(&der, mail);
	for (list = span_str(mail); list.len != 0;) {
		if (!span_take_until(&list, ',', &one)) {
			one = list;
			list = SPAN_NONE;
		}
		if (one.len < 3 || !span_is_printable(one) || span_has(one, ' ') || span_has(one, '"') ||
			span_index(one, '@') != span_rindex(one, '@') || span_index(one, '@') == 0 ||
			span_index(one, '@') + 1 >= one.len)
			abort();
	}
	return 0;
}
