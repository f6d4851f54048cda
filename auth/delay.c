/* delay - see delay.h. */
#include "delay.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/message.h"
#include "common/text.h"
#include "recent.h"

#define PREFIX_BYTES 8 /* of an IPv6 address: a /64 */

struct delays {
	struct digest_key key;
	struct recent *addresses, *users;
	struct recent *pairs; /* when: until which second the penalty runs */
};

struct delays *
delays_new(void)
{
	struct delays *d = must_alloc(sizeof(*d));

	digest_key_new(&d->key);
	d->addresses = recent_new(DELAY_MOST_ADDRESSES);
	d->users = recent_new(DELAY_MOST_USERS);
	d->pairs = recent_new(DELAY_MOST_PAIRS);
	return d;
}

void
delays_free(struct delays **d)
{
	if (*d == NULL)
		return;
	recent_free(&(*d)->addresses);
	recent_free(&(*d)->users);
	recent_free(&(*d)->pairs);
	free(*d);
	*d = NULL;
}

/* The part of an address that one client cannot change at will, and `user` where there is one. */
static struct digest
digest_of_ip(const struct delays *d, struct span ip, struct span user)
{
	struct span parts[2];
	struct in6_addr six;
	char text[MOST_IP + 1];

	if (span_copy(ip, text, sizeof(text)) && inet_pton(AF_INET6, text, &six) == 1) {
		if (IN6_IS_ADDR_V4MAPPED(&six) &&
			inet_ntop(AF_INET, &six.s6_addr[12], text, sizeof(text)) != NULL)
			ip = span_str(text);
		else
			ip = span_of(six.s6_addr, PREFIX_BYTES);
	}
	parts[0] = ip;
	parts[1] = user;
	return digest_of(&d->key, parts, user.len > 0 ? 2 : 1);
}

static uint32_t
cost(struct recent *r, const struct digest *digest, uint64_t now, uint32_t first, uint32_t most)
{
	struct recent_mark *mark = recent_touch(r, digest);
	uint64_t seconds = first;

	if (mark->when + DELAY_FORGET_SECONDS < now)
		mark->count = 0;
	mark->when = now;
	for (uint32_t i = 0; i < mark->count && seconds > 0 && seconds < most; i++)
		seconds *= 2;
	if (mark->count < UINT32_MAX)
		mark->count++;
	return seconds < most ? (uint32_t)seconds : most;
}

uint32_t
delays_failed(struct delays *d, struct span ip, struct span user, uint64_t now, uint32_t first,
	uint32_t most)
{
	struct digest of_ip = digest_of_ip(d, ip, SPAN_NONE);
	struct digest of_user = digest_of(&d->key, &user, 1);
	struct digest of_pair = digest_of_ip(d, ip, user);
	uint32_t a = cost(d->addresses, &of_ip, now, first, most), b = 0;

	if (user.len == 0)
		return a;
	b = cost(d->users, &of_user, now, first, most);
	if (a < b)
		a = b;
	recent_touch(d->pairs, &of_pair)->when = now + a;
	return a;
}

uint32_t
delays_hold(struct delays *d, struct span ip, struct span user, uint64_t now)
{
	struct digest of_pair = digest_of_ip(d, ip, user);
	struct recent_mark *mark = recent_find(d->pairs, &of_pair);
	uint32_t hold;

	if (mark == NULL || mark->when <= now)
		return 0;
	hold = (uint32_t)(mark->when - now);
	mark->when++; /* the one behind this one waits a second longer */
	return hold;
}

void
delays_right(struct delays *d, struct span ip, struct span user)
{
	struct digest of_user = digest_of(&d->key, &user, 1);
	struct digest of_pair = digest_of_ip(d, ip, user);

	recent_forget(d->users, &of_user);
	recent_forget(d->pairs, &of_pair);
}
