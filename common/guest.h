/*
 * guest - how many connections one client address has here.
 *
 * The key is the IPv4 address, or the first 64 bits of an IPv6 address: what one customer of a
 * provider has. It never contains anything that the client chose to say. The set is a balanced
 * tree, so that nobody gains by choosing addresses.
 */
#ifndef VALIJA_GUEST_H
#define VALIJA_GUEST_H

#include <stdint.h>

#include "message.h"

struct sockaddr;
struct guest;

struct guest_key {
	unsigned char at[16];
};

/* The address as text without port (an IPv4 address in IPv6 clothes as IPv4), and its key. A client
 * of a UNIX socket is "local", one of another family "unknown", both with a key of zeros. */
void guest_name(const struct sockaddr *from, char ip[MOST_IP], struct guest_key *key);
/* The key of an address as text. False when it is none: "local", "unknown". */
bool guest_key_of(const char *ip, struct guest_key *key);
/* The key of a user at an address, which no address has. */
void guest_key_of_user(const struct guest_key *address, struct span user, struct guest_key *key);
/* Counts one more connection; NULL when there are `most` already. The tree *root starts NULL and
 * owns what is returned, until guest_leave(). */
struct guest *guest_enter(void **root, const struct guest_key *key, uint64_t most);
/* The connection *v counts for `key` from now on. False, and nothing changed, when that has `most`. */
bool guest_move(void **root, struct guest **v, const struct guest_key *key, uint64_t most);
/* Counts one less, and forgets the address with the last. Sets *v to NULL; accepts NULL inside. */
void guest_leave(void **root, struct guest **v);

#endif
