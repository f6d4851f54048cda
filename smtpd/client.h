/*
 * client - how many connections one client address has here.
 *
 * The key is the IPv4 address, or the first 64 bits of an IPv6 address: what one customer of a
 * provider has. It never contains anything that the client chose to say. The set is a balanced
 * tree, so that nobody gains by choosing addresses.
 */
#ifndef VALIJA_SMTPD_CLIENT_H
#define VALIJA_SMTPD_CLIENT_H

#include <stdint.h>

#include "common/message.h"

struct sockaddr;
struct client;

struct client_key {
	unsigned char at[16];
};

/* The address as text without port (an IPv4 address in IPv6 clothes as IPv4), and its key. An
 * address of another family gives "unknown" and a key of zeros. */
void client_name(const struct sockaddr *from, char ip[MOST_IP], struct client_key *key);
/* Counts one more connection; NULL when there are `most` already. The tree *root starts NULL. */
struct client *client_enter(void **root, const struct client_key *key, uint64_t most);
/* Counts one less, and forgets the address with the last. Sets *c to NULL; accepts NULL inside. */
void client_leave(void **root, struct client **c);

#endif
