/*
 * verify - is this the mail server that relay meant? WebPKI (RFC 5280, RFC 6125, RFC 8461 4.1) and
 * DANE (RFC 7672), over certificates that a stranger sent.
 */
#ifndef VALIJA_VERIFY_H
#define VALIJA_VERIFY_H

#include <gnutls/x509.h>

#include "common/message.h"
#include "dane.h"

/* What relay asked for, kept until the handshake is over. One piece of memory: free(). */
struct wanted {
	uint8_t level;                  /* enum tls_level */
	char server_name[MOST_HOST + 1];
	struct span names, tlsa;
	unsigned char bytes[];
};

struct verdict {
	enum tls_verified verified;
	bool acceptable;                /* at the level that was asked for */
	const char *result;             /* of RFC 8460 4.3, static; "" when verified */
	char fault[MOST_REASON + 1];    /* for people; "" when verified */
};

/* Copies. NULL, with a reason in static memory, when relay asked for nonsense. */
struct wanted *wanted_new(const struct msg_tls_connect *m, const char **why);

/* Judges the chain (DER, the server's own certificate first) that was shown. `trust` may be NULL: no
 * authorities are known. */
void verify_server(const struct wanted *wanted, const gnutls_datum_t *chain, unsigned int count,
	gnutls_x509_trust_list_t trust, struct verdict *v);

#endif
