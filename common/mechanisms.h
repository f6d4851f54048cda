/*
 * mechanisms - the SASL mechanisms that are offered: one row for each, for those who announce them
 * (smtpd, imap-login) and for auth, which has the last word.
 */
#ifndef VALIJA_MECHANISMS_H
#define VALIJA_MECHANISMS_H

#include "program.h"
#include "settings.h"
#include "text.h"

#define MECHANISM_CERTIFICATE 2u /* needs a client certificate that was verified */
#define MECHANISM_TOKEN	      4u /* needs an issuer of tokens in the configuration */
#define MECHANISM_PLUS	      1u /* needs channel binding data of the TLS connection */

/* In the order in which they are offered: the best first. */
#define MECHANISMS(M) \
	M("SCRAM-SHA-256-PLUS", MECHANISM_PLUS) \
	M("SCRAM-SHA-1-PLUS",   MECHANISM_PLUS) \
	M("SCRAM-SHA-256",      0) \
	M("SCRAM-SHA-1",        0) \
	M("EXTERNAL",           MECHANISM_CERTIFICATE) \
	M("OAUTHBEARER",        MECHANISM_TOKEN) \
	M("XOAUTH2",            MECHANISM_TOKEN) \
	M("PLAIN",              0) \
	M("LOGIN",              0)

/* Is there such a mechanism (any case)? */
bool mechanism_exists(struct span name);
/* The settings' list for a service: filled in by master, so that it is never empty. */
const struct list *mechanisms_of(const struct settings *s, enum service service);
/* Is `name` (any case) offered by this service on this connection? `passport` as tls_ready brought it:
 * its seal is not looked at, so that this is for announcing; auth opens it. */
bool mechanism_offered(
	const struct settings *s, enum service service, struct span passport, struct span name);
/* Writes all that are offered, in order, each after `before`. */
void mechanisms_offer(const struct settings *s, enum service service, struct span passport,
	const char *before, struct text *to);

#endif
