/*
 * install - a new certificate, with or without a new key, takes the place of the managed pair
 * (server.crt, server.key in the directory of ca.h), all checked before anything changes.
 *
 *   server.crt.new  server.key.new   written and checked; then the key is renamed, then the certificate
 *   server.crt.old  server.key.old   what they replaced, for install_rollback
 *   next.key                         a key made ahead, for a request or a TLSA record; used when it fits
 *
 * Two names cannot be changed at once: after a crash between the two renames install_recover finishes or
 * forgets. A running suite minds no moment in between: it keeps what it has until the pair fits.
 */
#ifndef VALIJA_INSTALL_H
#define VALIJA_INSTALL_H

#include "certificate.h"

#define NEXT_KEY "next.key"

/* `key` empty: the one in service, or next.key. Refused, with a sentence: what cannot be read, does not fit,
 * is out of time, or (unless `any_name`) is not for `hostname`. 0 with *facts, or -1. */
int install_pair(int directory, struct span crt, struct span key, const char *hostname, bool any_name,
	struct certificate_facts *facts, struct text *why);
/* The pair before the last install comes back, and the present one becomes the old one. */
int install_rollback(int directory, const char *hostname, struct certificate_facts *facts,
	struct text *why);
/* After a crash: finishes what fits, removes what does not. */
void install_recover(int directory);

#endif
