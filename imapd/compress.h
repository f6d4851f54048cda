/*
 * compress - the DEFLATE streams of one session (COMPRESS=DEFLATE, RFC 4978), over zlib.
 *
 * Bounded both ways: what came compressed is inflated only as far as there is room for commands, so
 * that a few bytes that stand for many meet the same limits as many bytes; what goes out is taken
 * piece by piece. Memory: some 110 KiB a session.
 */
#ifndef VALIJA_IMAPD_COMPRESS_H
#define VALIJA_IMAPD_COMPRESS_H

#include "common/text.h"
#include "imapd/imap-input.h"

#define COMPRESS_PIECE (32 * 1024)     /* bytes that are deflated, inflated at once */

struct compress;

/* NULL: no memory. */
struct compress *compress_new(void);
void compress_free(struct compress **c);
/* Compressed bytes from the client. Only when compress_is_hungry, COMPRESS_PIECE at most. */
void compress_take(struct compress *c, struct span bytes);
bool compress_is_hungry(const struct compress *c);
/* Inflates into `in`, as much as it has room for. 1: something came out; 0: nothing did; -1: that is no
 * DEFLATE, or its end: the connection must go. */
int compress_inflate(struct compress *c, struct imap_input *in);
/* Deflates `plain`; all that was given so far can be read by the client afterwards. */
void compress_deflate(struct compress *c, struct span plain);
/* What is to be sent; compress_sent says how much of it was. */
struct span compress_wire(const struct compress *c);
void compress_sent(struct compress *c, size_t len);

#endif
