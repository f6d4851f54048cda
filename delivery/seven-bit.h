/*
 * seven-bit - a message for servers that take only US-ASCII (RFC 6152 3): each part of it that has other bytes is
 * encoded again (RFC 2045), text as quoted-printable, everything else as base64.
 *
 * What is signed (multipart/signed, multipart/encrypted) is never touched, nor are header fields: they leave as they
 * are, as Exim and qmail send them. DKIM signatures over the body do not outlast it.
 */
#ifndef VALIJA_SEVEN_BIT_H
#define VALIJA_SEVEN_BIT_H

#include "common/span.h"

#define MOST_SEVEN_BIT_DEPTH 20      /* parts inside parts; deeper ones leave as they are */
#define MOST_SEVEN_BIT_BOUNDARY 200

/* Where bytes go; false: it failed, and nothing more is written. */
struct seven_bit_out {
	bool (*write)(void *me, struct span bytes);
	void *me;
	bool failed;
	bool left;                   /* something has other bytes still */
};

/* Has it bytes above 127, NUL, lines over 998 bytes, or CR and LF apart? */
bool seven_bit_needed(struct span message);
/* Writes it. */
void seven_bit_write(struct span message, struct seven_bit_out *out);

/* The same from a file of `size` bytes into an unnamed one in memory: its descriptor, with its size in *size; -1 with
 * errno. Not needed: 0 in *needed, and -1. left: something in it could not be encoded. */
int seven_bit_file(int fd, uint64_t *size, bool *needed, bool *left);

#endif
