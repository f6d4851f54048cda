/*
 * tickets - session ticket keys for each service, from the one that tls-key makes.
 *
 * A ticket that IMAP gave must be worth nothing to SMTP (ALPACA, https://alpaca-attack.com): each
 * service has a key of its own, HMAC-SHA-512 of the service's name under tls-key's.
 */
#ifndef VALIJA_TICKETS_H
#define VALIJA_TICKETS_H

#include "common/program.h"
#include "common/span.h"

#define TICKET_MASTER_SIZE 64
#define TICKET_SERVICE_SIZE 64

void tickets_derive(const unsigned char master[TICKET_MASTER_SIZE], enum service service,
	unsigned char key[TICKET_SERVICE_SIZE]);

#endif
