/*
 * charset - text of any charset to UTF-8. See charset.h.
 */
#include "imapd/charset.h"

#include "common/utf8.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#define CONVERTED_PIECE 4096
#define NO_HANDLE ((iconv_t)-1)

enum kind {
	KIND_UTF8,       /* what is broken becomes U+FFFD */
	KIND_GUESS,      /* UTF-8, and Windows-1252 for what is no UTF-8 */
	KIND_LATIN,      /* Windows-1252, which has ISO-8859-1 in it */
	KIND_ICONV,
};

struct charset {
	struct span name;
	enum kind kind;
	const char *iconv_name;
	iconv_t handle;
	bool has_handle, lent;
	uint64_t used;           /* when, for closing the one least recently used */
};

#define BUILT_IN(name, kind) { SPAN(name), kind, NULL, NO_HANDLE, false, false, 0 }
#define BY_ICONV(name, iconv_name) \
	{ SPAN(name), KIND_ICONV, iconv_name, NO_HANDLE, false, false, 0 }

/* Where a charset has a superset that senders really mean, the superset is used. */
static struct charset charsets[] = {
	BUILT_IN("utf-8", KIND_UTF8),
	BUILT_IN("us-ascii", KIND_GUESS),
	BUILT_IN("iso-8859-1", KIND_LATIN),
	BUILT_IN("windows-1252", KIND_LATIN),
	BUILT_IN("utf8", KIND_UTF8),
	BUILT_IN("ascii", KIND_GUESS),
	BUILT_IN("ansi_x3.4-1968", KIND_GUESS),
	BUILT_IN("iso8859-1", KIND_LATIN),
	BUILT_IN("iso_8859-1", KIND_LATIN),
	BUILT_IN("latin1", KIND_LATIN),
	BUILT_IN("cp1252", KIND_LATIN),
	BUILT_IN("cp-1252", KIND_LATIN),
	BY_ICONV("iso-8859-2", "ISO-8859-2"),
	BY_ICONV("latin2", "ISO-8859-2"),
	BY_ICONV("iso-8859-3", "ISO-8859-3"),
	BY_ICONV("iso-8859-4", "ISO-8859-4"),
	BY_ICONV("iso-8859-5", "ISO-8859-5"),
	BY_ICONV("iso-8859-6", "ISO-8859-6"),
	BY_ICONV("iso-8859-7", "ISO-8859-7"),
	BY_ICONV("iso-8859-8", "ISO-8859-8"),
	BY_ICONV("iso-8859-8-i", "ISO-8859-8"),
	BY_ICONV("iso-8859-9", "WINDOWS-1254"),
	BY_ICONV("iso-8859-10", "ISO-8859-10"),
	BY_ICONV("iso-8859-11", "WINDOWS-874"),
	BY_ICONV("iso-8859-13", "ISO-8859-13"),
	BY_ICONV("iso-8859-14", "ISO-8859-14"),
	BY_ICONV("iso-8859-15", "ISO-8859-15"),
	BY_ICONV("latin-9", "ISO-8859-15"),
	BY_ICONV("iso-8859-16", "ISO-8859-16"),
	BY_ICONV("windows-1250", "WINDOWS-1250"),
	BY_ICONV("windows-1251", "WINDOWS-1251"),
	BY_ICONV("windows-1253", "WINDOWS-1253"),
	BY_ICONV("windows-1254", "WINDOWS-1254"),
	BY_ICONV("windows-1255", "WINDOWS-1255"),
	BY_ICONV("windows-1256", "WINDOWS-1256"),
	BY_ICONV("windows-1257", "WINDOWS-1257"),
	BY_ICONV("windows-1258", "WINDOWS-1258"),
	BY_ICONV("windows-874", "WINDOWS-874"),
	BY_ICONV("cp1250", "WINDOWS-1250"),
	BY_ICONV("cp1251", "WINDOWS-1251"),
	BY_ICONV("tis-620", "WINDOWS-874"),
	BY_ICONV("koi8-r", "KOI8-R"),
	BY_ICONV("koi8-u", "KOI8-U"),
	BY_ICONV("ibm437", "IBM437"),
	BY_ICONV("cp437", "IBM437"),
	BY_ICONV("ibm850", "IBM850"),
	BY_ICONV("cp850", "IBM850"),
	BY_ICONV("ibm852", "IBM852"),
	BY_ICONV("cp852", "IBM852"),
	BY_ICONV("ibm866", "IBM866"),
	BY_ICONV("cp866", "IBM866"),
	BY_ICONV("macintosh", "MACINTOSH"),
	BY_ICONV("shift_jis", "CP932"),
	BY_ICONV("shift-jis", "CP932"),
	BY_ICONV("x-sjis", "CP932"),
	BY_ICONV("windows-31j", "CP932"),
	BY_ICONV("cp932", "CP932"),
	BY_ICONV("euc-jp", "EUC-JP"),
	BY_ICONV("iso-2022-jp", "ISO-2022-JP"),
	BY_ICONV("iso-2022-jp-1", "ISO-2022-JP-1"),
	BY_ICONV("iso-2022-jp-2", "ISO-2022-JP-2"),
	BY_ICONV("iso-2022-kr", "ISO-2022-KR"),
	BY_ICONV("euc-kr", "UHC"),
	BY_ICONV("ks_c_5601-1987", "UHC"),
	BY_ICONV("cp949", "UHC"),
	BY_ICONV("gb2312", "GB18030"),
	BY_ICONV("gbk", "GB18030"),
	BY_ICONV("x-gbk", "GB18030"),
	BY_ICONV("cp936", "GB18030"),
	BY_ICONV("gb18030", "GB18030"),
	BY_ICONV("big5", "BIG5-HKSCS"),
	BY_ICONV("big5-hkscs", "BIG5-HKSCS"),
	BY_ICONV("euc-tw", "EUC-TW"),
	BY_ICONV("viscii", "VISCII"),
	BY_ICONV("utf-7", "UTF-7"),
	BY_ICONV("unicode-1-1-utf-7", "UTF-7"),
	BY_ICONV("utf-16", "UTF-16"),
	BY_ICONV("utf-16be", "UTF-16BE"),
	BY_ICONV("utf-16le", "UTF-16LE"),
};

#define CHARSETS (sizeof(charsets) / sizeof(charsets[0]))

/* Windows-1252 from 0x80 to 0x9f; the five that it leaves out are controls, as in ISO-8859-1. */
static const uint16_t windows_1252[32] = {
	0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
	0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008d, 0x017d, 0x008f,
	0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
	0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
};

static uint64_t uses;

static struct charset *
charset_look(struct span name)
{
	if (name.len == 0)
		return &charsets[1];
	for (size_t i = 0; i < CHARSETS; i++)
		if (charsets[i].name.len == name.len && span_equal_nocase(charsets[i].name, name))
			return &charsets[i];
	return NULL;
}

/* Closes the handle least recently used when as many as may are open. */
static void
handles_limit(void)
{
	struct charset *oldest = NULL;
	size_t open = 0;

	for (size_t i = 0; i < CHARSETS; i++) {
		struct charset *charset = &charsets[i];

		if (!charset->has_handle)
			continue;
		open++;
		if (!charset->lent && (oldest == NULL || charset->used < oldest->used))
			oldest = charset;
	}
	if (open < MOST_ICONV_HANDLES || oldest == NULL)
		return;
	iconv_close(oldest->handle);
	oldest->has_handle = false;
}

/* Makes sure that the charset has its handle. False when the C library cannot do it. */
static bool
handle_open(struct charset *charset)
{
	charset->used = ++uses;
	if (charset->has_handle)
		return true;
	handles_limit();
	charset->handle = iconv_open("UTF-8", charset->iconv_name);
	charset->has_handle = charset->handle != NO_HANDLE;
	return charset->has_handle;
}

struct charset *
charset_find(struct span name)
{
	struct charset *charset = charset_look(name);

	if (charset != NULL && charset->kind == KIND_ICONV && !handle_open(charset))
		return NULL;
	return charset;
}

struct charset *
charset_or_guess(struct span name)
{
	struct charset *charset = charset_find(name);

	return charset != NULL ? charset : charset_look(SPAN_NONE);
}

bool
charset_is_built_in(struct span name)
{
	const struct charset *charset = charset_look(name);

	return charset == NULL || charset->kind != KIND_ICONV;
}

bool
charset_is_utf8(const struct charset *charset)
{
	return charset->kind == KIND_UTF8 || charset->kind == KIND_GUESS;
}

void
charset_close_all(void)
{
	for (size_t i = 0; i < CHARSETS; i++) {
		if (!charsets[i].has_handle)
			continue;
		iconv_close(charsets[i].handle);
		charsets[i].has_handle = false;
	}
}

void
charset_begin(struct charset_stream *stream, struct charset *charset)
{
	*stream = (struct charset_stream){ .charset = charset, .handle = NO_HANDLE };
	if (charset->kind != KIND_ICONV)
		return;
	if (charset->lent || !handle_open(charset)) {
		/* the same charset within itself: this stream needs its own state */
		stream->handle = iconv_open("UTF-8", charset->iconv_name);
		stream->own = true;
	} else {
		stream->handle = charset->handle;
		charset->lent = true;
		iconv(stream->handle, NULL, NULL, NULL, NULL);
	}
}

static void
latin_add(struct text *out, unsigned char c)
{
	utf8_add(out, c >= 0x80 && c < 0xa0 ? windows_1252[c - 0x80] : c);
}

static void
latin_feed(struct span in, struct text *out)
{
	while (in.len > 0) {
		size_t ascii = utf8_ascii_length(in);

		text_add(out, span_part(in, 0, ascii));
		in = span_part(in, ascii, in.len);
		if (in.len == 0)
			return;
		latin_add(out, in.at[0]);
		in = span_part(in, 1, in.len);
	}
}

/* Appends the valid and mends the broken; returns how many bytes are left, the start of a
 * character. */
static size_t
utf8_feed(enum kind kind, struct span in, struct text *out)
{
	while (in.len > 0) {
		enum utf8_result why;
		size_t run = utf8_valid_length(in, &why);

		text_add(out, span_part(in, 0, run));
		in = span_part(in, run, in.len);
		if (in.len == 0 || why == UTF8_UNFINISHED)
			break;
		if (kind == KIND_GUESS)
			latin_add(out, in.at[0]);
		else
			utf8_add(out, REPLACEMENT_CHARACTER);
		in = span_part(in, 1, in.len);
	}
	return in.len;
}

/* As utf8_feed, by iconv. */
static size_t
iconv_feed(struct charset_stream *stream, struct span in, struct text *out)
{
	char piece[CONVERTED_PIECE];
	char *from = (char *)(uintptr_t)in.at;       /* iconv does not write there */
	size_t left = in.len;

	if (stream->handle == NO_HANDLE)
		return utf8_feed(KIND_GUESS, in, out);
	while (left > 0) {
		char *to = piece;
		size_t room = sizeof(piece), result;
		int error;

		result = iconv(stream->handle, &from, &left, &to, &room);
		error = errno;
		text_add(out, span_of(piece, sizeof(piece) - room));
		if (result != (size_t)-1 || error == E2BIG)
			continue;
		if (error == EINVAL || left == 0)
			break;
		utf8_add(out, REPLACEMENT_CHARACTER);
		from++;
		left--;
	}
	return left;
}

static size_t
piece_feed(struct charset_stream *stream, struct span in, struct text *out)
{
	switch (stream->charset->kind) {
	case KIND_LATIN:
		latin_feed(in, out);
		return 0;
	case KIND_ICONV:
		return iconv_feed(stream, in, out);
	case KIND_UTF8:
	case KIND_GUESS:
		break;
	}
	return utf8_feed(stream->charset->kind, in, out);
}

/* Gives the carried bytes with as many new ones as make them whole, byte by byte. */
static void
carry_feed(struct charset_stream *stream, struct span *in, struct text *out)
{
	while (stream->carried > 0 && in->len > 0) {
		size_t left;

		stream->carry[stream->carried++] = in->at[0];
		*in = span_part(*in, 1, in->len);
		left = piece_feed(stream, span_of(stream->carry, stream->carried), out);
		if (left == MOST_CHARSET_CARRY) {        /* no charset has such characters */
			utf8_add(out, REPLACEMENT_CHARACTER);
			left = 0;
		}
		memmove(stream->carry, stream->carry + stream->carried - left, left);
		stream->carried = left;
	}
}

void
charset_feed(struct charset_stream *stream, struct span in, struct text *out)
{
	size_t left;

	carry_feed(stream, &in, out);
	if (in.len == 0)
		return;
	left = piece_feed(stream, in, out);
	in = span_part(in, in.len - left, left);
	if (in.len >= MOST_CHARSET_CARRY) {
		utf8_add(out, REPLACEMENT_CHARACTER);
		return;
	}
	if (in.len > 0)
		memcpy(stream->carry, in.at, in.len);
	stream->carried = in.len;
}

void
charset_end(struct charset_stream *stream, struct text *out)
{
	if (stream->carried > 0 && stream->charset->kind == KIND_GUESS)
		latin_feed(span_of(stream->carry, stream->carried), out);
	else if (stream->carried > 0)
		utf8_add(out, REPLACEMENT_CHARACTER);
	stream->carried = 0;
	if (stream->own && stream->handle != NO_HANDLE)
		iconv_close(stream->handle);
	else if (!stream->own && stream->handle != NO_HANDLE)
		stream->charset->lent = false;
	stream->handle = NO_HANDLE;
}

void
charset_convert(struct charset *charset, struct span in, struct text *out)
{
	struct charset_stream stream;

	charset_begin(&stream, charset);
	charset_feed(&stream, in, out);
	charset_end(&stream, out);
}
