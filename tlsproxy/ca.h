/*
 * ca - the certificate authority that `valija init` makes, and the server certificate it issues.
 *
 * In one directory (an open descriptor; state/tls/ of an instance):
 *
 *   ca.crt       the authority's certificate, for clients to trust          0644
 *   ca.key       its key; may be taken away and kept offline                0400
 *   server.crt   the server's certificate, followed by the authority's      0644
 *   server.key   its key                                                    0400
 *
 * Keys are ECDSA P-256. Each file is written aside, made durable and renamed. No function here
 * logs: a failure is handed up as a sentence.
 */
#ifndef VALIJA_CA_H
#define VALIJA_CA_H

#include "common/text.h"

#define CA_DAYS 7305            /* 20 years */
#define SERVER_DAYS 820 /* clients refuse more than 825, even from an authority of one's own */
#define MOST_WHY 512            /* ceiling to give to the `why` texts below */

#define CA_CERTIFICATE "ca.crt"
#define CA_KEY "ca.key"
#define SERVER_CERTIFICATE "server.crt"
#define SERVER_KEY "server.key"

/* Makes in `directory` what is missing: the authority, and a server certificate for `hostname`
 * (a name of letters, digits, hyphens and dots, RFC 952 and RFC 1123 2.1), localhost, 127.0.0.1 and
 * ::1. What is there already is kept and checked to be a pair. The authority is called "Valija CA
 * for HOSTNAME". 0, or -1 with a sentence in *why. */
int ca_make(int directory, const char *hostname, struct text *why);

/* Issues a new server certificate from the authority in `directory`, for the key that is there
 * (so that one rename changes both together). 0, or -1 with a sentence in *why. */
int ca_issue(int directory, const char *hostname, struct text *why);

#endif
