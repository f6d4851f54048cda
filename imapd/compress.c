/* compress - see compress.h. */
#include "imapd/compress.h"

#include <stdlib.h>
#include <zlib.h>

/* Raw DEFLATE (RFC 1951). We read windows of any size; ours are smaller, and so is our memory. */
#define THEIR_WINDOW (-15)
#define OUR_WINDOW (-13)
#define OUR_MEMORY 6
#define OUR_LEVEL 5

struct compress {
	z_stream in, out;
	struct text received;            /* compressed, not yet inflated */
	bool more;                       /* zlib may have output left without new input */
	struct text wire;
	size_t sent;
};

struct compress *
compress_new(void)
{
	struct compress *c = must_alloc(sizeof(*c));

	c->received = TEXT_UP_TO(COMPRESS_PIECE + 1);
	c->wire = TEXT_UP_TO(4 * COMPRESS_PIECE);
	if (inflateInit2(&c->in, THEIR_WINDOW) != Z_OK) {
		free(c);
		return NULL;
	}
	if (deflateInit2(&c->out, OUR_LEVEL, Z_DEFLATED, OUR_WINDOW, OUR_MEMORY,
		Z_DEFAULT_STRATEGY) != Z_OK) {
		(void)inflateEnd(&c->in);
		free(c);
		return NULL;
	}
	return c;
}

void
compress_free(struct compress **cp)
{
	struct compress *c = *cp;

	if (c == NULL)
		return;
	(void)inflateEnd(&c->in);
	(void)deflateEnd(&c->out);
	text_wipe(&c->received);
	text_clear(&c->wire);
	free(c);
	*cp = NULL;
}

void
compress_take(struct compress *c, struct span bytes)
{
	text_add(&c->received, bytes);
}

bool
compress_is_hungry(const struct compress *c)
{
	return c->received.len == 0 && !c->more;
}

int
compress_inflate(struct compress *c, struct imap_input *in)
{
	static unsigned char plain[COMPRESS_PIECE];
	size_t room = imap_input_room(in), got;
	int result;

	if (room == 0 || compress_is_hungry(c))
		return 0;
	if (room > sizeof(plain))
		room = sizeof(plain);
	c->in.next_in = c->received.at;
	c->in.avail_in = (uInt)c->received.len;
	c->in.next_out = plain;
	c->in.avail_out = (uInt)room;
	result = inflate(&c->in, Z_SYNC_FLUSH);
	got = room - c->in.avail_out;
	text_drop(&c->received, c->received.len - c->in.avail_in);
	c->more = c->in.avail_out == 0;
	/* Z_BUF_ERROR: nothing could be done, which is no error. */
	if (result != Z_OK && result != Z_BUF_ERROR)
		return -1;
	if (got > 0)
		imap_input_add(in, span_of(plain, got));
	return got > 0;
}

void
compress_deflate(struct compress *c, struct span plain)
{
	unsigned char piece[4096];

	c->out.next_in = (unsigned char *)(uintptr_t)plain.at;
	c->out.avail_in = (uInt)plain.len;
	do {
		c->out.next_out = piece;
		c->out.avail_out = sizeof(piece);
		(void)deflate(&c->out, Z_SYNC_FLUSH);
		text_add(&c->wire, span_of(piece, sizeof(piece) - c->out.avail_out));
	} while (c->out.avail_out == 0);
}

struct span
compress_wire(const struct compress *c)
{
	return span_part(text_span(&c->wire), c->sent, SIZE_MAX);
}

void
compress_sent(struct compress *c, size_t len)
{
	c->sent += len;
	if (c->sent == c->wire.len) {
		text_clear(&c->wire);    /* a session that idles keeps no buffer */
		c->sent = 0;
	}
}
