/*
 * passport - what a TLS worker saw of a connection, sealed so that nobody on the way can change it.
 *
 * HMAC-SHA-256 over the encoded fields, with a key that master makes at its start and gives to the
 * TLS workers and auth alone. smtpd and imap-login carry the bytes and cannot make them.
 */
#ifndef VALIJA_PASSPORT_H
#define VALIJA_PASSPORT_H

#include "message.h"
#include "text.h"

#define PASSPORT_KEY_SIZE 32

struct passport {
	uint64_t session;
	uint64_t issued;                 /* seconds since 1970 */
	uint8_t service;
	struct span ip;                  /* the client's, as the worker's own getpeername says; or, where a
	                                  * proxy is in between (`via`), as the front end says */
	struct span via;                 /* the proxy, as getpeername says, or empty */
	struct span local_ip;
	struct span version, cipher, sni, alpn;
	bool certificate_valid;          /* a client certificate was shown and verified: authority,
	                                  * revocation list, dates, purpose */
	struct span certificate_hash;    /* SHA-256 of it, or empty: none was shown */
	struct span certificate_key;     /* SHA-256 of its public key (SubjectPublicKeyInfo), or empty */
	struct span certificate_subject; /* its distinguished name (RFC 4514), cut where too long */
	struct span certificate_mail;    /* its rfc822Names, with commas between; odd ones left out */
	struct span exporter;            /* tls-exporter channel binding (RFC 9266), or empty */
	struct span unique;              /* tls-unique (RFC 5929): TLS 1.2 with the extended master secret, or empty */
	struct span end_point;           /* tls-server-end-point (RFC 5929), or empty */
};

/* False when a field is over its ceiling. */
bool passport_seal(const unsigned char key[PASSPORT_KEY_SIZE], const struct passport *p, struct text *to);
/* Checks the seal in constant time, then decodes; spans point into `sealed`. */
bool passport_open(const unsigned char key[PASSPORT_KEY_SIZE], struct span sealed, struct passport *p);
/* The same without looking at the seal: for what a front end tells its client, and nothing else. */
bool passport_peek(struct span sealed, struct passport *p);

#endif
