/*
 * certificate - reads a chain and a key from open files, and says in a sentence what is wrong.
 *
 * For tls-key (does this key fit, and will we serve with it?), for the TLS worker (chains, names)
 * and for `valija check` and `status` (days left, names). gnutls needs no initialisation by the
 * caller.
 */
#ifndef VALIJA_CERTIFICATE_H
#define VALIJA_CERTIFICATE_H

#include "common/text.h"

#define MOST_CERTIFICATE_FILE 65536   /* bytes of a PEM file */
#define MOST_CHAIN 8                  /* certificates in one */
#define MOST_CERTIFICATE_NAMES 100    /* names in the first of them */
#define LEAST_RSA_BITS 2048
#define WARN_DAYS 21                  /* an expiry nearer than this deserves a warning */

struct certificate_facts {
	int64_t not_before, not_after;   /* seconds since 1970 */
	int days_left;                   /* whole days; negative when expired */
	bool not_yet;                    /* it begins in the future */
	bool names_host;                 /* it is valid for the host name that was asked about */
	char key[32];                    /* "ECDSA P-256", "RSA 2048", "Ed25519" */
	unsigned char key_digest[32];    /* SHA-256 of the public key (SubjectPublicKeyInfo) */
	char subject[256],
		issuer[256]; /* distinguished names, printable ASCII; cut where too long */
	char names[1024];    /* DNS names and addresses, with ", " between; cut at a whole name */
};

/* Reads the chain from `chain_fd` and, unless it is -1, the key from `key_fd` (both from their
 * start; the caller keeps them), and checks what tls-key would check: readable, complete, of a
 * supported kind and strength, not encrypted, each certificate signed by the next, the key of the
 * first. `hostname` may be NULL. 0 with *facts, or -1 with a sentence in *why: it would be refused.
 * Dates and names are facts for the caller to judge, not refusals. */
int certificate_check(int chain_fd, int key_fd, const char *hostname,
	struct certificate_facts *facts, struct text *why);

/* Can clients be expected to get from the chain of `chain_fd` to an authority: does it end with a certificate that
 * signed itself, or whose issuer is in the file `own`, in the file `trust`, or, where that is empty, among the
 * authorities that the system trusts? Missing files hold nobody. False also where the chain cannot be read. */
bool certificate_chain_ends(int chain_fd, const char *own, const char *trust);

/* The same digest of a private key's public half, from a file of `directory`. 0 or -1. */
int certificate_key_digest(int directory, const char *name, unsigned char digest[32]);

#endif
