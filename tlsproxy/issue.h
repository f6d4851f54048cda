/*
 * issue - certificates beyond the first one: self-signed, asked for (CSR), for other servers and for
 * people, and the revocation list of an instance's own authority.
 *
 * Works in the authority's directory (ca.h; an open descriptor). Beside its files lie:
 *
 *   ca.issued    a line for each certificate that was issued: SERIAL UNTIL KIND NAME [revoked WHEN]   0644
 *   ca.crl       the revocation list, made anew by issue_crl                                         0644
 *
 * Functions return 0, or -1 with a sentence in *why. Keys in texts are wiped by the caller (text_wipe).
 */
#ifndef VALIJA_ISSUE_H
#define VALIJA_ISSUE_H

#include "common/text.h"

#define CA_ISSUED "ca.issued"
#define CA_REVOKED "ca.crl"
#define CLIENT_DAYS 730
#define SELF_SIGNED_DAYS 365
#define CRL_DAYS 30               /* make it anew before: an outdated list lets nobody in */
#define MOST_NAMES 64             /* of one certificate */
#define MOST_ISSUED_FILE (1024 * 1024)
#define MOST_SERIAL_TEXT 40

/* A new key and a certificate that it signs itself, for `names` (host names). */
int issue_self_signed(const char *const *names, size_t count, int days, struct text *crt,
	struct text *key, struct text *why);
/* May a certificate be made for these names? */
bool issue_names_are_good(const char *const *names, size_t count, struct text *why);
/* A new private key (PEM, ECDSA P-256). */
int issue_key(struct text *key, struct text *why);
/* A request (PKCS#10, PEM) for `names` by the key of file `key_name`. */
int issue_request(int directory, const char *key_name, const char *const *names, size_t count,
	struct text *pem, struct text *why);
/* By the directory's authority: a new key and a certificate with the authority's behind it. */
int issue_server(int directory, const char *const *names, size_t count, int days, struct text *crt,
	struct text *key, struct text *why);
/* For a person's mail client: PKCS#12 with key, certificate and authority under `password`. */
int issue_client(int directory, const char *address, int days, const char *password,
	struct text *p12, char serial[MOST_SERIAL_TEXT + 1], struct text *why);
/* Marks what was issued as revoked: by serial number (hexadecimal), or by name, when there is one alone that
 * is not revoked. */
int issue_revoke(int directory, const char *which, struct text *why);
/* Makes ca.crl of what is marked. */
int issue_crl(int directory, struct text *why);

#endif
