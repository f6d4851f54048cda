/*
 * starttls - the way into TLS (RFC 3207), and from the first byte on a submissions listener.
 *
 * The socket goes to a TLS worker; what comes back is another one, with the plaintext. There is no
 * way back from TLS into clear: when the worker or its socket is gone, so is the session.
 */
#ifndef VALIJA_SMTPD_STARTTLS_H
#define VALIJA_SMTPD_STARTTLS_H

#include "smtpd/server.h"

/* What the TLS workers and tls-key say; rows of smtpd's table of peers. */
extern const struct hearing hearing_tls;

/* Everything was said: gives the socket away. */
void starttls_hand_over(struct session *s);
/* A new tls-key must hear of the handshakes that are under way. */
void starttls_announce_again(struct server *server, struct channel *tls_key);

#endif
