/*
 * A name server's answer: read without harm; what comes of it can be taken apart again, and holds
 * only names that hosts may have. The first byte chooses the type that was asked for.
 */
#include "delivery/dns-packet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
take_apart(struct span answers, uint16_t type)
{
	struct sockaddr_storage address;
	unsigned char txt[512];
	uint16_t a, b, c;
	uint8_t x, y, z;
	struct span name = SPAN_NONE, again = answers;
	socklen_t len;
	size_t used, records = 0, names = 0;

	while (dns_take_record(&again, &name))
		records++;
	again = answers;
	while (type == DNS_MX && dns_take_mx(&again, &a, &name))
		names++;
	while (type == DNS_SRV && dns_take_srv(&again, &a, &b, &c, &name))
		names++;
	if ((type == DNS_MX || type == DNS_SRV) && names != records)
		abort();
	while (type == DNS_A && dns_take_address(&again, &address, &len))
		;
	while (type == DNS_TXT && dns_take_txt(&again, txt, sizeof(txt), &used))
		if (used > sizeof(txt))
			abort();
	while (type == DNS_TLSA && dns_take_tlsa(&again, &x, &y, &z, &name))
		if (name.len == 0)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t types[] = { DNS_A, DNS_AAAA, DNS_MX, DNS_TXT, DNS_TLSA, DNS_SRV, DNS_PTR,
		DNS_CNAME };
	struct dns_packet p;
	const char *why;
	uint16_t type;

	if (size < 1)
		return 0;
	type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
	dns_packet_init(&p);
	dns_packet_read(span_of(data + 1, size - 1), SPAN("example.org"), type, &p, &why);
	if ((p.outcome == DNS_FOUND) != (p.answers.len > 0) || (why != NULL && p.outcome != DNS_LATER))
		abort();
	take_apart(text_span(&p.answers), type);
	dns_packet_clear(&p);
	return 0;
}
