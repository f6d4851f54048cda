/*
 * client-certificate - what a client's certificate says, and whether it is worth anything.
 */
#ifndef VALIJA_CLIENT_CERTIFICATE_H
#define VALIJA_CLIENT_CERTIFICATE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

#include "common/span.h"

#define MOST_SUBJECT 400
#define MOST_CERTIFICATE_MAIL 640

struct client_certificate {
	bool shown, valid;
	unsigned char hash[32], key[32];        /* SHA-256 of certificate, and of public key */
	char subject[MOST_SUBJECT + 1];         /* RFC 4514; cut, and odd bytes as '?' */
	char mail[MOST_CERTIFICATE_MAIL + 1];   /* rfc822Names, lower-case domains, commas between */
	char fault[200];                        /* why it is not valid */
};

/* Looks at what the client of this session showed, also in the handshake that is resumed: against the
 * authorities and revocation lists of the session's credentials, as they are today. */
void client_certificate_see(gnutls_session_t tls, struct client_certificate *seen);
/* The mail addresses of a certificate (DER), as in `mail`. For tests and fuzzing. */
void client_certificate_mail(const gnutls_datum_t *der, char to[MOST_CERTIFICATE_MAIL + 1]);

#endif
