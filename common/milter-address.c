/*
 * milter-address - see milter-address.h.
 */
#include "milter-address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#define MOST_PORT 65535

static bool
parse_unix(struct span path, struct sockaddr_storage *to, socklen_t *len)
{
	struct sockaddr_un *at = (void *)to;

	at->sun_family = AF_UNIX;
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
	return path.len > 0 && path.at[0] == '/' &&
	       span_copy(path, at->sun_path, sizeof(at->sun_path));
}

static bool
parse_inet(struct span in, struct sockaddr_storage *to, socklen_t *len)
{
	struct sockaddr_in *four = (void *)to;
	struct sockaddr_in6 *six = (void *)to;
	char host[INET6_ADDRSTRLEN];
	bool bracket = span_take(&in, '[');
	struct span part;
	uint64_t port;

	if (!span_take_until(&in, bracket ? ']' : ':', &part) || (bracket && !span_take(&in, ':')) ||
	    !span_copy(part, host, sizeof(host)) || !span_take_number(&in, MOST_PORT, &port) ||
	    in.len > 0 || port == 0)
		return false;
	if (bracket) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)port);
		*len = sizeof(*six);
		return inet_pton(AF_INET6, host, &six->sin6_addr) == 1;
	}
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)port);
	*len = sizeof(*four);
	return inet_pton(AF_INET, host, &four->sin_addr) == 1;
}

bool
milter_address_parse(struct span text, struct sockaddr_storage *to, socklen_t *len)
{
	memset(to, 0, sizeof(*to));
	if (span_take_word(&text, SPAN("unix:")) || span_take_word(&text, SPAN("local:")))
		return parse_unix(text, to, len);
	if (span_take_word(&text, SPAN("inet:")) || span_take_word(&text, SPAN("inet6:")))
		return parse_inet(text, to, len);
	return false;
}
