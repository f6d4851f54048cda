/*
 * passport-fields - what a passport holds; for passport*.c alone.
 */
#ifndef VALIJA_PASSPORT_FIELDS_H
#define VALIJA_PASSPORT_FIELDS_H

#include "passport.h"

#define PASSPORT_MAC_SIZE 32 /* HMAC-SHA-256, behind the fields */

/* The fields, in the order of the wire: kind, name, ceiling. */
#define PASSPORT_FIELDS(F) \
	F(u64, session, 8) F(u64, issued, 8) F(u8, service, 1) F(text, ip, MOST_IP) F(text, via, MOST_IP) \
	F(text, local_ip, MOST_IP) F(text, version, 16) F(text, cipher, 64) F(text, sni, MOST_HOST) \
	F(text, alpn, 32) F(flag, certificate_valid, 1) F(octets, certificate_hash, 32) \
	F(octets, certificate_key, 32) F(text, certificate_subject, 400) F(text, certificate_mail, 640) \
	F(octets, exporter, 64) F(octets, unique, 64) F(octets, end_point, 64)

#endif
