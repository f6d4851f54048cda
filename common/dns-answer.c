/* dns-answer - see dns-answer.h. */
#include "dns-answer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

bool
dns_take_record(struct span *answers, struct span *rdata)
{
	struct span in = *answers, head;

	if (!span_take_bytes(&in, 2, &head) ||
		!span_take_bytes(&in, (size_t)(head.at[0] << 8 | head.at[1]), rdata)) {
		*answers = SPAN_NONE;
		return false;
	}
	*answers = in;
	return true;
}

static bool
take_u16(struct span *in, uint16_t *to)
{
	struct span two;

	if (!span_take_bytes(in, 2, &two))
		return false;
	*to = (uint16_t)(two.at[0] << 8 | two.at[1]);
	return true;
}

/* What dns lets through, checked again: letters in lower case, digits, hyphen, underscore, slash. */
static bool
is_name(struct span s)
{
	if (s.len > MOST_DNS_NAME)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
			c != '.' && c != '/')
			return false;
	}
	return true;
}

bool
dns_take_mx(struct span *answers, uint16_t *preference, struct span *name)
{
	struct span r;

	while (dns_take_record(answers, &r))
		if (take_u16(&r, preference) && is_name(r)) {
			*name = r;
			return true;
		}
	return false;
}

bool
dns_take_name(struct span *answers, struct span *name)
{
	while (dns_take_record(answers, name))
		if (name->len > 0 && is_name(*name))
			return true;
	return false;
}

bool
dns_take_srv(struct span *answers, uint16_t *priority, uint16_t *weight, uint16_t *port,
	struct span *name)
{
	struct span r;

	while (dns_take_record(answers, &r))
		if (take_u16(&r, priority) && take_u16(&r, weight) && take_u16(&r, port) &&
			is_name(r)) {
			*name = r;
			return true;
		}
	return false;
}

bool
dns_take_address(struct span *answers, struct sockaddr_storage *address, socklen_t *len)
{
	struct sockaddr_in *four = (struct sockaddr_in *)(void *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)address;
	struct span r;

	while (dns_take_record(answers, &r)) {
		memset(address, 0, sizeof(*address));
		if (r.len == sizeof(four->sin_addr)) {
			four->sin_family = AF_INET;
			memcpy(&four->sin_addr, r.at, r.len);
			*len = sizeof(*four);
			return true;
		}
		if (r.len == sizeof(six->sin6_addr)) {
			six->sin6_family = AF_INET6;
			memcpy(&six->sin6_addr, r.at, r.len);
			*len = sizeof(*six);
			return true;
		}
	}
	return false;
}

bool
dns_take_tlsa(struct span *answers, uint8_t *usage, uint8_t *selector, uint8_t *matching,
	struct span *data)
{
	struct span r;

	while (dns_take_record(answers, &r)) {
		if (r.len < 4)
			continue;
		*usage = r.at[0];
		*selector = r.at[1];
		*matching = r.at[2];
		*data = span_part(r, 3, r.len);
		return true;
	}
	return false;
}

bool
dns_take_txt(struct span *answers, unsigned char *to, size_t room, size_t *len)
{
	struct span r, part;

	while (dns_take_record(answers, &r)) {
		bool good = r.len > 0;

		*len = 0;
		while (good && r.len > 0) {
			size_t part_len = r.at[0];

			r = span_part(r, 1, r.len);
			good = span_take_bytes(&r, part_len, &part) && part.len <= room - *len;
			if (good && part.len > 0)
				memcpy(to + *len, part.at, part.len);
			if (good)
				*len += part.len;
		}
		if (good)
			return true;
	}
	return false;
}

bool
dns_reverse(struct span address, const char *suffix, char *to, size_t room)
{
	size_t used = 0;
	int n = 0;

	if (address.len != 4 && address.len != 16)
		return false;
	for (size_t i = address.len; i-- > 0 && n >= 0 && used < room; used += (size_t)n)
		n = address.len == 4
			? snprintf(to + used, room - used, "%u.", address.at[i])
			: snprintf(to + used, room - used, "%x.%x.", address.at[i] & 15U,
				  (unsigned int)address.at[i] >> 4);
	if (suffix == NULL)
		suffix = address.len == 4 ? "in-addr.arpa" : "ip6.arpa";
	if (n < 0 || used + strlen(suffix) >= room)
		return false;
	memcpy(to + used, suffix, strlen(suffix) + 1);
	return true;
}

const char *
dns_outcome_name(enum dns_outcome outcome)
{
	switch (outcome) {
	case DNS_FOUND:
		return "found";
	case DNS_NODATA:
		return "no-data";
	case DNS_NXDOMAIN:
		return "no-such-name";
	case DNS_BOGUS:
		return "bogus";
	default:
		return "later";
	}
}
