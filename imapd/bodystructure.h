/*
 * bodystructure - BODYSTRUCTURE and BODY of a parsed message (RFC 3501 7.4.2 and 9, "body").
 */
#ifndef VALIJA_IMAPD_BODYSTRUCTURE_H
#define VALIJA_IMAPD_BODYSTRUCTURE_H

#include "imapd/mime.h"

#define MOST_BODYSTRUCTURE ((size_t)8 * 1024 * 1024)   /* bytes that bodystructure_write can add */

/* Appends the parenthesized structure of mime->parts[0] to `out`: with extension data
 * (BODYSTRUCTURE) when `extended`, else without (BODY). Parameters are told as sent (RFC 2231
 * pieces too). A structure over MOST_BODYSTRUCTURE is told as one application/octet-stream part.
 * Fails only by out->failed. */
void bodystructure_write(const struct mime *mime, bool extended, struct text *out);

#endif
