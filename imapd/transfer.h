/*
 * transfer - Content-Transfer-Encoding undone (RFC 2045 section 6), from piece to piece.
 */
#ifndef VALIJA_IMAPD_TRANSFER_H
#define VALIJA_IMAPD_TRANSFER_H

#include "common/text.h"

#define MOST_HELD_BLANKS 256   /* a longer run of blanks is kept as it is (lines have at most 76) */

enum transfer {
	TRANSFER_IDENTITY,     /* 7bit, 8bit, binary, or no field */
	TRANSFER_BASE64,
	TRANSFER_QUOTED,       /* quoted-printable */
	TRANSFER_UNKNOWN,      /* bytes are passed as they are */
};

/* What a Content-Transfer-Encoding value (part.encoding; .at NULL: none) names. */
enum transfer transfer_of(struct span encoding);

struct transfer_stream {
	enum transfer kind;
	uint32_t bits;               /* base64: what is not yet out */
	unsigned have; /* base64: characters in `bits`; quoted-printable: bytes in `held` */
	unsigned char held[4];
	unsigned char blanks[MOST_HELD_BLANKS];   /* quoted-printable: they may be trailing */
	size_t blank_count;
	bool ended;                  /* base64: padding seen */
	bool broken;                 /* something was not as the encoding wants; decoding went on */
};

void transfer_begin(struct transfer_stream *stream, enum transfer kind);
/* Appends `in` decoded. Never more than in.len + MOST_HELD_BLANKS + 4 bytes. Fails only by
 * out->failed. */
void transfer_feed(struct transfer_stream *stream, struct span in, struct text *out);
/* Appends what was held back. stream->broken is then final (for BINARY: NO [UNKNOWN-CTE]). */
void transfer_end(struct transfer_stream *stream, struct text *out);

#endif
