/*
 * pcp - packets of the Port Control Protocol (RFC 6887): the opcode MAP, for IPv4 and TCP. No socket, no clock.
 *
 * Debian has no library for it (libpcp there is another thing); a request and an answer have a fixed form, and the
 * answer is read as a stranger's.
 */
#ifndef VALIJA_PCP_H
#define VALIJA_PCP_H

#include "span.h"

#define PCP_PORT 5351		/* of the router; NAT-PMP has the same */
#define PCP_NONCE 12		/* octets that only we and the router know: without them nobody changes our mapping */
#define PCP_REQUEST 64		/* octets of a request: header, MAP, the option PREFER_FAILURE */
#define PCP_MOST_ANSWER 1100	/* RFC 6887 7 */

struct pcp_request {
	unsigned char nonce[PCP_NONCE];
	unsigned char client[4]; /* our address, as the router sees it */
	uint16_t inside, outside; /* ports; outside must be that and no other */
	uint32_t seconds;	  /* 0: take the mapping away */
};

struct pcp_answer {
	unsigned char nonce[PCP_NONCE];
	uint8_t result;	  /* RFC 6887 7.4; 0: success */
	uint32_t seconds; /* of the mapping; with an error: for how long it will be one */
	uint32_t epoch;	  /* seconds since the router forgot everything */
	uint16_t inside, outside;
	unsigned char address[4]; /* where the world reaches us; zeros where it is none of IPv4 */
};

enum pcp_outcome {
	PCP_ANSWER,	   /* *answer is whole */
	PCP_OTHER_VERSION, /* the router speaks NAT-PMP, or another version */
	PCP_NONSENSE	   /* neither: to be ignored */
};

/* Returns how many octets it has: all, or without the option where a mapping is taken away. */
size_t pcp_request_put(const struct pcp_request *r, unsigned char to[PCP_REQUEST]);
/* *answer is set with PCP_ANSWER only. Whose it is, nonce and inside tell. */
enum pcp_outcome pcp_answer_take(struct span packet, struct pcp_answer *answer);
/* "the router does not permit it": for people. */
const char *pcp_result_text(uint8_t result);

#endif
