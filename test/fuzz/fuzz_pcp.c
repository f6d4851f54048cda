/* What a router answers to a request for a port: any octets. */
#include <stdlib.h>
#include <string.h>

#include "master/pcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char packet[PCP_REQUEST];
	struct pcp_answer a;
	struct pcp_request r = { .seconds = 0 };

	if (pcp_answer_take(span_of(data, size), &a) != PCP_ANSWER)
		return 0;
	if (size < 60 || size > PCP_MOST_ANSWER || strlen(pcp_result_text(a.result)) == 0)
		abort();
	/* What was read, written as a request, has the same nonce and ports in the same places. */
	memcpy(r.nonce, a.nonce, sizeof r.nonce);
	r.inside = a.inside;
	r.outside = a.outside;
	r.seconds = a.seconds;
	pcp_request_put(&r, packet);
	if (memcmp(packet + 24, data + 24, PCP_NONCE) != 0 || memcmp(packet + 40, data + 40, 2) != 0 ||
		(a.seconds && memcmp(packet + 42, data + 42, 2) != 0))
		abort();
	return 0;
}
