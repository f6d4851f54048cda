/*
 * charset - text of any charset to UTF-8, for searching.
 *
 * UTF-8, US-ASCII, ISO-8859-1 and Windows-1252 are done here. Others are a table of names that mail
 * uses, done by iconv: mail must not choose among the C library's several hundred converters, some
 * of which had holes. Handles are kept, MOST_ICONV_HANDLES of them. What cannot be converted
 * becomes U+FFFD; nothing is refused.
 */
#ifndef VALIJA_IMAPD_CHARSET_H
#define VALIJA_IMAPD_CHARSET_H

#include "common/text.h"

#define MOST_ICONV_HANDLES 8
#define MOST_CHARSET_CARRY 16

struct charset;    /* a row of a static table */

/* The charset called `name` (any case, as in Content-Type), or NULL if it is not known. An empty
 * name is US-ASCII. For SEARCH CHARSET: NULL means NO [BADCHARSET (...)]. */
struct charset *charset_find(struct span name);
/* As charset_find, but what is unknown is read as UTF-8 with Windows-1252 for what is no UTF-8:
 * for mail. */
struct charset *charset_or_guess(struct span name);
/* "(US-ASCII UTF-8 ...)" for BADCHARSET. */
#define CHARSET_LIST "(US-ASCII UTF-8 ISO-8859-1 WINDOWS-1252)"

/* A conversion that goes on from piece to piece. */
struct charset_stream {
	struct charset *charset;
	void *handle;                                /* iconv's, lent until charset_end */
	bool own;                                    /* the handle is this stream's alone */
	unsigned char carry[MOST_CHARSET_CARRY];     /* an unfinished character */
	size_t carried;
};

void charset_begin(struct charset_stream *stream, struct charset *charset);
/* Appends `in` as UTF-8 to `out`; an unfinished character at the end waits for more. Fails only
 * by out->failed. `out` gets at most 4 bytes for one byte of input, and a few. */
void charset_feed(struct charset_stream *stream, struct span in, struct text *out);
/* An unfinished character becomes U+FFFD. The stream is over. */
void charset_end(struct charset_stream *stream, struct text *out);
/* All at once. */
void charset_convert(struct charset *charset, struct span in, struct text *out);
/* Whether converting changes nothing, wherever the bytes are valid UTF-8 (UTF-8, US-ASCII). */
bool charset_is_utf8(const struct charset *charset);
/* Whether charset_or_guess of this name is one of those that are done here. */
bool charset_is_built_in(struct span name);
/* Closes all handles (at the end of a test, or when the process goes quiet). No stream may be
 * open. */
void charset_close_all(void);

#endif
