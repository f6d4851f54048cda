/* MTA-STS: any octets as a record of DNS and as a policy. What is taken is bounded, printable, and one pattern a line. */
#include <stdlib.h>

#include "delivery/sts-policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size), id, rest, pattern;
	struct sts_policy p;

	if (sts_record_read(in, &id)) {
		if (id.len == 0 || id.len > MOST_STS_ID || !span_is_printable(id) || id.at < data || !sts_record_claims(in))
			abort();
	}
	if (sts_policy_read(in, &p) == NULL) {
		if (p.mode > STS_ENFORCE || p.max_age > MOST_STS_AGE || p.mx.len > MOST_STS_MX)
			abort();
		rest = text_span(&p.mx);
		if (p.mode != STS_NONE && rest.len == 0)
			abort();
		while (span_take_until(&rest, '\n', &pattern))
			if (pattern.len == 0 || !span_is_printable(pattern) || span_has(pattern, ' '))
				abort();
		if (rest.len > 0)
			abort();
		(void)sts_mx_matches(text_span(&p.mx), in);
	} else if (p.mx.len > 0) {
		abort();
	}
	sts_policy_clear(&p);
	return 0;
}
