/* fetch-url - see fetch-url.h. */
#include "fetch-url.h"

#include <arpa/inet.h>
#include <string.h>

#define MOST_URL_HOST 253
#define MOST_LABEL 63

static bool
is_address(struct span host)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char address[16];

	return span_copy(host, text, sizeof(text)) &&
		(inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1);
}

/* RFC 1123 2.1; underscores are no part of a host's name. Something with a letter in its last label, so
 * that no short form of an address (127.1, 0x7f000001) is one. */
static bool
is_host(struct span host)
{
	size_t label = 0;
	bool letter = false;

	if (host.len == 0 || host.len > MOST_URL_HOST)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = host.at[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (c == '.') {
			if (label == 0 || host.at[i - 1] == '-')
				return false;
			label = 0;
			letter = false;
			continue;
		}
		if (!is_letter && !(c >= '0' && c <= '9') && !(c == '-' && label > 0))
			return false;
		letter |= is_letter;
		if (++label > MOST_LABEL)
			return false;
	}
	return label > 0 && letter && host.at[host.len - 1] != '-';
}

/* HOST, HOST:PORT, [IPv6], [IPv6]:PORT. */
static bool
read_authority(struct fetch_url *to)
{
	struct span rest = to->authority;
	uint64_t port;

	if (span_take(&rest, '[')) {
		if (!span_take_until(&rest, ']', &to->host) || !span_has(to->host, ':') || !is_address(to->host))
			return false;
		to->literal = true;
	} else {
		to->host = span_part(rest, 0, span_index(rest, ':'));
		rest = span_part(rest, to->host.len, rest.len);
		to->literal = is_address(to->host);
		if (!to->literal && !is_host(to->host))
			return false;
	}
	if (rest.len == 0)
		return true;
	if (!span_take(&rest, ':') || !span_take_number(&rest, UINT16_MAX, &port) || port == 0 || rest.len > 0)
		return false;
	to->port = (uint16_t)port;
	return true;
}

const char *
fetch_url_read(struct span text, struct fetch_url *to)
{
	size_t len = 0;

	memset(to, 0, sizeof(*to));
	if (!span_is_printable(text) || span_has(text, ' '))
		return "the URL has other characters than printable ones of ASCII";
	if (span_take_word(&text, SPAN("https://")))
		to->tls = true;
	else if (!span_take_word(&text, SPAN("http://")))
		return "the URL begins with neither https:// nor http://";
	if (span_has(text, '#') || span_has(text, '\\'))
		return "the URL has a fragment or a backslash";
	while (len < text.len && text.at[len] != '/' && text.at[len] != '?')
		len++;
	to->authority = span_part(text, 0, len);
	to->target = span_part(text, len, text.len);
	if (span_has(to->authority, '@'))
		return "the URL has a user in it";
	to->port = to->tls ? 443 : 80;
	return read_authority(to) ? NULL : "the URL names no host, or a port that is none";
}
