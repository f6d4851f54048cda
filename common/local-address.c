/*
 * local-address - see local-address.h.
 */
#include "local-address.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "guest.h"

bool
local_address_is(int fd, struct span ip)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);
	struct guest_key key;
	char name[MOST_IP];

	if (fd < 0 || ip.len == 0 || getsockname(fd, (struct sockaddr *)&at, &len) < 0 ||
		(at.ss_family != AF_INET && at.ss_family != AF_INET6))
		return false;
	guest_name((const struct sockaddr *)&at, name, &key);
	return span_equal(span_str(name), ip);
}
