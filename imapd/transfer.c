/*
 * transfer - Content-Transfer-Encoding undone. See transfer.h.
 */
#include "imapd/transfer.h"

#include "imapd/header.h"
#include "imapd/mime.h"

#define DECODED_PIECE 3072

enum transfer
transfer_of(struct span encoding)
{
	static const struct {
		struct span name;
		enum transfer transfer;
	} rows[] = {
		{ SPAN("7bit"),             TRANSFER_IDENTITY },
		{ SPAN("8bit"),             TRANSFER_IDENTITY },
		{ SPAN("binary"),           TRANSFER_IDENTITY },
		{ SPAN("base64"),           TRANSFER_BASE64 },
		{ SPAN("quoted-printable"), TRANSFER_QUOTED },
	};
	struct span token;

	if (encoding.at == NULL)
		return TRANSFER_IDENTITY;
	cfws_skip(&encoding, NULL);
	if (!mime_token_take(&encoding, &token))
		return encoding.len == 0 ? TRANSFER_IDENTITY : TRANSFER_UNKNOWN;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (span_equal_nocase(token, rows[i].name))
			return rows[i].transfer;
	return TRANSFER_UNKNOWN;
}

void
transfer_begin(struct transfer_stream *stream, enum transfer kind)
{
	*stream = (struct transfer_stream){ .kind = kind };
}

/* base64 (RFC 2045 6.8) */

#define NOT_BASE64 0xff

static unsigned char
sextet(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned char)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned char)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (unsigned char)(c - '0' + 52);
	if (c == '+')
		return 62;
	return c == '/' ? 63 : NOT_BASE64;
}

static const unsigned char *
sextets(void)
{
	static unsigned char table[256];
	static bool made;

	for (unsigned c = 0; !made && c < 256; c++)
		table[c] = sextet((unsigned char)c);
	made = true;
	return table;
}

/* Writes the bytes of an unfinished group to `to`; returns how many. */
static size_t
group_end(struct transfer_stream *stream, unsigned char *to)
{
	size_t len = stream->have > 1 ? stream->have - 1 : 0;
	uint32_t bits = stream->bits << (6 * (4 - stream->have));

	if (stream->have == 1)
		stream->broken = true;
	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)(bits >> (16 - 8 * i));
	stream->bits = 0;
	stream->have = 0;
	return len;
}

/* One character that is not simply the next of the alphabet's. Line ends are expected; others are
 * to be ignored (RFC 2045 6.8), but noted. */
static size_t
base64_odd(struct transfer_stream *stream, unsigned char c, unsigned char *to)
{
	if (c == '=') {
		if (stream->have == 0 && !stream->ended)
			stream->broken = true;
		stream->ended = true;
		return stream->have > 0 ? group_end(stream, to) : 0;
	}
	if (c != '\r' && c != '\n' && c != ' ' && c != '\t')
		stream->broken = true;
	return 0;
}

static size_t
base64_byte(struct transfer_stream *stream, unsigned char c, unsigned char *to)
{
	unsigned char value = sextets()[c];

	if (value == NOT_BASE64)
		return base64_odd(stream, c, to);
	if (stream->ended && stream->have == 0) {
		stream->broken = true;         /* something behind the padding */
		stream->ended = false;
	}
	stream->bits = stream->bits << 6 | value;
	if (++stream->have < 4)
		return 0;
	return group_end(stream, to);
}

/* The way of nearly all bytes: whole groups of four. Returns how many groups it did, `most` at
 * most. */
static size_t
base64_groups(struct span in, unsigned char *to, size_t most)
{
	const unsigned char *table = sextets(), *from = in.at;
	size_t groups;

	if (most > in.len / 4)
		most = in.len / 4;
	for (groups = 0; groups < most; groups++, from += 4, to += 3) {
		uint32_t a = table[from[0]], b = table[from[1]];
		uint32_t c = table[from[2]], d = table[from[3]];
		uint32_t bits = a << 18 | b << 12 | c << 6 | d;

		if ((a | b | c | d) & 0x80)
			break;
		to[0] = (unsigned char)(bits >> 16);
		to[1] = (unsigned char)(bits >> 8);
		to[2] = (unsigned char)bits;
	}
	return groups;
}

static void
base64_feed(struct transfer_stream *stream, struct span in, struct text *out)
{
	unsigned char piece[DECODED_PIECE + 4];
	size_t len = 0, i = 0;

	while (i < in.len) {
		if (stream->have == 0 && !stream->ended) {
			size_t groups = base64_groups(span_part(in, i, in.len), piece + len,
				(DECODED_PIECE - len) / 3);

			i += groups * 4;
			len += groups * 3;
		}
		if (i < in.len && len < DECODED_PIECE)
			len += base64_byte(stream, in.at[i++], piece + len);
		if (len >= DECODED_PIECE) {
			text_add(out, span_of(piece, len));
			len = 0;
		}
	}
	text_add(out, span_of(piece, len));
}

/* quoted-printable (RFC 2045 6.7); lower case is not legal, but common */

static void
blanks_flush(struct transfer_stream *stream, struct text *out)
{
	text_add(out, span_of(stream->blanks, stream->blank_count));
	stream->blank_count = 0;
}

/* The held bytes, which start with "=", turn out to be no escape: they are kept as text. */
static void
held_flush(struct transfer_stream *stream, struct text *out)
{
	stream->broken = true;
	text_add(out, span_of(stream->held, stream->have));
	stream->have = 0;
}

/* Takes the byte behind a held "=" or "=X". False: the byte is to be read as any other. */
static bool
escape_feed(struct transfer_stream *stream, unsigned char c, struct text *out)
{
	int high, low;

	if (stream->have == 1) {
		if (c == '\n') {                                /* soft line break */
			stream->have = 0;
		} else if (c == '\r' || c == ' ' || c == '\t') {
			if (stream->held[1] == 0 || c == '\r')
				stream->held[1] = c;            /* padding before the line end */
		} else if (stream->held[1] == 0 && span_hex_value(c) >= 0) {
			stream->held[stream->have++] = c;
		} else {
			held_flush(stream, out);
			return false;
		}
		return true;
	}
	high = span_hex_value(stream->held[1]);
	low = span_hex_value(c);
	if (low < 0) {
		held_flush(stream, out);
		return false;
	}
	text_add_byte(out, (unsigned char)(high << 4 | low));
	stream->have = 0;
	return true;
}

static void
byte_feed(struct transfer_stream *stream, unsigned char c, struct text *out)
{
	if (stream->have > 0 && escape_feed(stream, c, out))
		return;
	if (c == ' ' || c == '\t') {
		if (stream->blank_count == MOST_HELD_BLANKS)
			blanks_flush(stream, out);
		stream->blanks[stream->blank_count++] = c;
		return;
	}
	if (c == '\r' || c == '\n')
		stream->blank_count = 0;        /* rule 3: blanks at a line's end go */
	blanks_flush(stream, out);
	if (c == '=') {
		stream->held[0] = '=';
		stream->held[1] = 0;
		stream->have = 1;
		return;
	}
	text_add_byte(out, c);
}

/* How many of the bytes at the front, all of one line, stand for themselves: to the next "=", and
 * without the blanks and the CR at the end. */
static size_t
plain_length(struct span line)
{
	size_t len = span_index(line, '=');

	if (len > 0 && line.at[len - 1] == '\r')
		len--;
	while (len > 0 && (line.at[len - 1] == ' ' || line.at[len - 1] == '\t'))
		len--;
	return len;
}

static void
quoted_feed(struct transfer_stream *stream, struct span in, struct text *out)
{
	size_t at = 0, end = 0;          /* where we are, and where the line ends */

	while (at < in.len) {
		size_t len = 0;
		unsigned char c;

		if (at >= end)
			end = at + span_index(span_part(in, at, in.len), '\n') + 1;
		if (stream->have == 0)
			len = plain_length(span_part(in, at, end - 1 - at));
		if (len > 0)
			blanks_flush(stream, out);
		text_add(out, span_part(in, at, len));
		at += len;
		/* what stopped us, with all blanks before it: each is looked at twice at most */
		do {
			if (at == in.len)
				break;
			c = in.at[at++];
			byte_feed(stream, c, out);
		} while (stream->have == 0 && (c == ' ' || c == '\t'));
	}
}

void
transfer_feed(struct transfer_stream *stream, struct span in, struct text *out)
{
	switch (stream->kind) {
	case TRANSFER_BASE64:
		base64_feed(stream, in, out);
		return;
	case TRANSFER_QUOTED:
		quoted_feed(stream, in, out);
		return;
	case TRANSFER_UNKNOWN:
		stream->broken = true;
		break;
	case TRANSFER_IDENTITY:
		break;
	}
	text_add(out, in);
}

void
transfer_end(struct transfer_stream *stream, struct text *out)
{
	unsigned char last[4];

	if (stream->kind == TRANSFER_BASE64 && stream->have > 0) {
		stream->broken = true;
		text_add(out, span_of(last, group_end(stream, last)));
	} else if (stream->kind == TRANSFER_QUOTED && stream->have == 1) {
		stream->have = 0;                   /* a soft line break at the very end */
	} else if (stream->kind == TRANSFER_QUOTED && stream->have > 1) {
		held_flush(stream, out);
	}
	stream->blank_count = 0;
}
