/*
 * seven-bit - a message for servers that take only US-ASCII (RFC 6152 3): each part of it that has other bytes is
 * encoded again (RFC 2045), text as quoted-printable, everything else as base64.
 *
 * What is signed (multipart/signed, multipart/encrypted; RFC 1847 2.1 wants it in US-ASCII from the beginning) is never
 * touched, nor are header fields: they leave as they are, as Exim and qmail send them. DKIM signatures over the body do
 * not outlast it. A typeless part of multipart/digest is a message (RFC 2046 5.1.5).
 *
 * No more than a slice of the message is read at a time, and it is nowhere kept: first it is looked at, slice by slice,
 * which leaves a list of its parts and its length; then it is read as often as somebody wants it.
 */
#ifndef VALIJA_SEVEN_BIT_H
#define VALIJA_SEVEN_BIT_H

#include "common/span.h"

#define MOST_SEVEN_BIT_DEPTH 20          /* parts inside parts; deeper ones leave as they are */
#define MOST_SEVEN_BIT_BOUNDARY 200
#define MOST_SEVEN_BIT_PARTS 5000        /* that are encoded again; more leave as they are */
#define MOST_SEVEN_BIT_HEADER (1024 * 1024)  /* octets of one part's header; longer: it leaves as it is */
#define SEVEN_BIT_SLICE (256 * 1024)     /* octets of the message that one look reads */

struct seven_bit;

/* Of the `size` bytes of a file, which is borrowed as long as this lives. */
struct seven_bit *seven_bit_new(int fd, uint64_t size);
void seven_bit_free(struct seven_bit **s);

/* Looks at the next slice. False: there is more to look at. True: the rest may be asked for. */
bool seven_bit_look(struct seven_bit *s);
/* Has it (but for its own header) bytes above 127, NUL, lines over 998 bytes, or CR and LF apart? True also when it
 * could not be read. */
bool seven_bit_needed(const struct seven_bit *s);
/* It could be read, and can be written. */
bool seven_bit_possible(const struct seven_bit *s);
/* Something in it has such bytes still. */
bool seven_bit_left(const struct seven_bit *s);
/* Its length, encoded. */
uint64_t seven_bit_size(const struct seven_bit *s);

/* Reads it, encoded, from its beginning. */
void seven_bit_rewind(struct seven_bit *s);
/* The next bytes: at most `room`; 0: that was all, or (when fewer than seven_bit_size() came) the file cannot be read. */
size_t seven_bit_read(struct seven_bit *s, unsigned char *to, size_t room);

#endif
