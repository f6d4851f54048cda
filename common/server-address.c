/* server-address - see server-address.h. */
#include "server-address.h"

#include <arpa/inet.h>

static bool
is_literal(struct span s)
{
	char text[INET6_ADDRSTRLEN + 1];
	unsigned char bytes[16];

	s.len = span_index(s, '%');
	return span_copy(s, text, sizeof(text)) &&
		(inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1);
}

/* Letters, digits, hyphen, underscore, dots; of a scope, after %, the same. */
static bool
is_host(struct span s, bool literal)
{
	if (s.len == 0 || s.len > MOST_SERVER_HOST)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '-' && c != '_' && c != '.' && c < 0x80 &&
			!(literal && (c == ':' || c == '%')))
			return false;
	}
	return true;
}

bool
server_address_read(struct span given, uint16_t default_port, struct server_address *to)
{
	struct span host = given, port = SPAN_NONE;
	uint64_t number = default_port;
	size_t colon = span_rindex(given, ':');
	bool bracketed = span_take(&host, '[');

	if (bracketed) {
		port = host;
		if (!span_take_until(&port, ']', &host) || (port.len > 0 && !span_take(&port, ':')) ||
			(port.len == 0 && given.at[given.len - 1] != ']'))
			return false;
	} else if (colon < given.len && span_index(given, ':') == colon) {
		host = span_part(given, 0, colon);
		port = span_part(given, colon + 1, given.len);
		if (port.len == 0)
			return false;
	}
	if (port.len > 0 &&
		(!span_take_number(&port, UINT16_MAX, &number) || port.len > 0 || number == 0))
		return false;
	*to = (struct server_address){ .host = host, .port = (uint16_t)number,
		.literal = is_literal(host), .bracketed = bracketed };
	return is_host(host, to->literal);
}
