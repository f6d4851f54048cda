/*
 * ourselves - see ourselves.h.
 */
#include "ourselves.h"

#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "network.h"

#define MOST_OWN 4096 /* addresses of this machine; a network that has more cuts its list too */

static struct {
	struct network *own;
	size_t own_count, own_room;
	char public[MOST_PUBLIC][MOST_IP + 1];
	size_t public_count;
} me;

static bool
read_address(struct span ip, struct network *n)
{
	/* 128: one address, not a network. */
	return !span_has(ip, '/') && network_parse(ip, n);
}

static bool
same(const struct network *a, const struct network *b)
{
	return memcmp(a->at, b->at, sizeof(a->at)) == 0;
}

static struct network *
find_own(const struct network *n)
{
	for (size_t i = 0; i < me.own_count; i++)
		if (same(&me.own[i], n))
			return &me.own[i];
	return NULL;
}

static bool
is_loopback(const struct network *n)
{
	static const unsigned char ipv4[13] = { [10] = 0xff, [11] = 0xff, [12] = 127 }, ipv6[16] = { [15] = 1 };

	return memcmp(n->at, ipv4, sizeof(ipv4)) == 0 || memcmp(n->at, ipv6, sizeof(ipv6)) == 0;
}

void
ourselves_came(struct span ip)
{
	struct network n;

	if (!read_address(ip, &n) || is_loopback(&n) || find_own(&n) || me.own_count == MOST_OWN)
		return;
	if (me.own_count == me.own_room) {
		me.own_room = me.own_room ? me.own_room * 2 : 4;
		me.own = must_realloc(me.own, me.own_room * sizeof(*me.own));
	}
	me.own[me.own_count++] = n;
}

void
ourselves_gone(struct span ip)
{
	struct network n, *found;

	if (read_address(ip, &n) && (found = find_own(&n)))
		*found = me.own[--me.own_count];
}

void
ourselves_public(struct span list)
{
	struct network n;
	struct span one;
	bool more = list.len > 0;

	me.public_count = 0;
	while (more && me.public_count < MOST_PUBLIC) {
		more = span_take_until(&list, ',', &one);
		if (!more)
			one = list;
		if (read_address(one, &n) && span_copy(one, me.public[me.public_count], sizeof(me.public[0])))
			me.public_count++;
	}
}

bool
ourselves_have(struct span ip)
{
	struct network n, public;

	if (!read_address(ip, &n))
		return false;
	for (size_t i = 0; i < me.public_count; i++)
		if (read_address(span_str(me.public[i]), &public) && same(&n, &public))
			return true;
	return find_own(&n) != NULL;
}

bool
ourselves_have_literal(struct span domain)
{
	if (!span_take(&domain, '[') || domain.len == 0 || domain.at[domain.len - 1] != ']')
		return false;
	domain.len--;
	span_take_word(&domain, SPAN("IPv6:"));
	return ourselves_have(domain);
}

struct span
ourselves_reached_at(unsigned int family)
{
	for (size_t i = 0; i < me.public_count; i++) {
		struct span ip = span_str(me.public[i]);

		if (span_has(ip, ':') == (family == 6))
			return ip;
	}
	return SPAN_NONE;
}

static bool
is_full_name(struct span name)
{
	return span_has(name, '.') && !span_equal_nocase(name, SPAN("localhost.localdomain"));
}

void
ourselves_name(struct span hostname, unsigned int family, struct text *to)
{
	struct span ip = ourselves_reached_at(family == 6 ? 6 : 4);

	if (ip.len == 0 && family == 0)
		ip = ourselves_reached_at(6);
	if (is_full_name(hostname) || ip.len == 0) {
		text_add(to, hostname);
		return;
	}
	text_add_str(to, span_has(ip, ':') ? "[IPv6:" : "[");
	text_add(to, ip);
	text_add_byte(to, ']');
}
