/*
 * authorities - PEM files of certificate authorities, and of their revocation lists.
 */
#ifndef VALIJA_AUTHORITIES_H
#define VALIJA_AUTHORITIES_H

#include "common/text.h"

#define MOST_AUTHORITIES_FILE (4 * 1024 * 1024)  /* bytes of PEM */

/* Reads the file of an open descriptor, which the caller keeps, into *pem, and sees that it holds
 * authorities (or revocation lists, `revoked`) that GnuTLS can use. 0, or -1 with a sentence. */
int authorities_read(int fd, bool revoked, struct text *pem, struct text *why);
/* Only sees. */
int authorities_check(int fd, bool revoked, struct text *why);

/* When the list that ends first (RFC 5280 5.1.2.5) was made and ends; -1: none ends. 0, or -1 with a
 * reason. */
int authorities_list_dates(int fd, int64_t *from, int64_t *until, struct text *why);

#endif
