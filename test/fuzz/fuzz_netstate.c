/*
 * Datagrams of rtnetlink: whatever they hold, the snapshot stays within its bounds.
 */
#include "master/netstate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netstate n = { 0 };
	char name[MOST_ADDRESS_TEXT];

	netstate_concerns(span_of(data, size));
	netstate_take(&n, span_of(data, size));
	if (n.link_count > MOST_LINKS || n.address_count > MOST_ADDRESSES || n.route_count > MOST_ROUTES)
		abort();
	for (size_t i = 0; i < n.address_count; i++) {
		if (n.addresses[i].family != 4 && n.addresses[i].family != 6)
			abort();
		netstate_address_name(n.addresses[i].family, n.addresses[i].at, name);
		netstate_link(&n, n.addresses[i].link);
	}
	netstate_has_route(&n, 4);
	netstate_has_route(&n, 6);
	netstate_clear(&n);
	return 0;
}
