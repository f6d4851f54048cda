/*
 * relayhost - the server of a provider that takes all our mail: which one for a sender, and what it
 * wants to know of us.
 */
#ifndef VALIJA_RELAYHOST_H
#define VALIJA_RELAYHOST_H

#include "common/message.h"
#include "common/settings.h"
#include "common/text.h"

#define MOST_CREDENTIALS (256 * 1024)   /* bytes of the file */
#define MOST_SECRET 4096

/* Options sender_relayhosts, then relayhost: HOST[:PORT], or empty. */
struct span relayhost_of(const struct settings *s, struct span sender);
/* One member of sender_relayhosts: "ADDRESS HOST[:PORT]" or "@DOMAIN HOST[:PORT]". */
bool sender_relayhost_read(struct span rule, struct span *sender, struct span *host);

struct credentials {
	char login[MOST_RELAY_LOGIN + 1], secret[MOST_SECRET + 1];
	bool token;                      /* the secret is an OAuth access token */
	bool command;                    /* which a program prints: the secret is empty yet (relay-token.c) */
};

/* The first line of `file` for this server and sender:
 *
 *     HOST[:PORT] [for=ADDRESS | for=@DOMAIN] LOGIN SECRET
 *
 * SECRET goes on to the end of the line; "oauth:TOKEN" is a token, "oauth-command:" one that is asked for. False: there is none. */
bool credentials_find(struct span file, struct span host, uint16_t port, struct span sender,
	struct credentials *to);

#endif
