/*
 * encoded-word - RFC 2047 encoded words as UTF-8. See encoded-word.h.
 */
#include "imapd/encoded-word.h"

#include "imapd/charset.h"
#include "imapd/transfer.h"

#define MOST_WORD 1000      /* RFC 2047 section 2 allows 75; senders write longer ones */

struct word {
	struct span charset;     /* without the language tag */
	bool base64;
	struct span text;
};

/* Takes "=?charset*language?B?text?=" from the front. */
static bool
word_take(struct span *in, struct word *word)
{
	struct span rest = span_part(*in, 0, MOST_WORD), coding;
	size_t end;

	if (rest.len < 2 || rest.at[0] != '=' || rest.at[1] != '?')
		return false;
	rest = span_part(rest, 2, rest.len);
	if (!span_take_until(&rest, '?', &word->charset) || !span_take_until(&rest, '?', &coding))
		return false;
	if (word->charset.len == 0 || coding.len != 1 || span_has(word->charset, ' '))
		return false;
	word->base64 = coding.at[0] == 'B' || coding.at[0] == 'b';
	if (!word->base64 && coding.at[0] != 'Q' && coding.at[0] != 'q')
		return false;
	end = span_find(rest, SPAN("?="));
	word->text = span_part(rest, 0, end);
	/* blanks are not legal, but senders leave them in Q; a line end never belongs there */
	if (end == rest.len || span_has(word->text, '\n') ||
		(word->base64 && span_has(word->text, ' ')))
		return false;
	word->charset = span_part(word->charset, 0, span_index(word->charset, '*'));
	*in = span_part(*in, (size_t)(rest.at - in->at) + end + 2, in->len);
	return true;
}

/* The Q encoding (RFC 2047 4.2). */
static void
q_add(struct text *out, struct span in)
{
	for (size_t i = 0; i < in.len; i++) {
		int high = -1, low = -1;

		if (in.at[i] == '=' && in.len - i > 2) {
			high = span_hex_value(in.at[i + 1]);
			low = span_hex_value(in.at[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			text_add_byte(out, (unsigned char)(high << 4 | low));
			i += 2;
		} else {
			text_add_byte(out, in.at[i] == '_' ? ' ' : in.at[i]);
		}
	}
}

/* Where decoding stands: the charset of the words before, whose last character may be unfinished.
 */
struct decoder {
	struct text *out;
	struct text bytes;                /* of one word */
	struct charset_stream stream;
	bool streaming;
};

static void
stream_end(struct decoder *decoder)
{
	if (decoder->streaming)
		charset_end(&decoder->stream, decoder->out);
	decoder->streaming = false;
}

static void
word_add(struct decoder *decoder, const struct word *word)
{
	struct charset *charset = charset_or_guess(word->charset);

	if (decoder->streaming && decoder->stream.charset != charset)
		stream_end(decoder);
	if (!decoder->streaming)
		charset_begin(&decoder->stream, charset);
	decoder->streaming = true;
	text_reset(&decoder->bytes);
	if (word->base64) {
		struct transfer_stream base64;

		transfer_begin(&base64, TRANSFER_BASE64);
		transfer_feed(&base64, word->text, &decoder->bytes);
		transfer_end(&base64, &decoder->bytes);
	} else {
		q_add(&decoder->bytes, word->text);
	}
	charset_feed(&decoder->stream, text_span(&decoder->bytes), decoder->out);
}

/* Text that is not encoded: folds undone, bytes that are no UTF-8 guessed. */
static void
plain_add(struct decoder *decoder, struct span plain)
{
	struct charset *guess = charset_or_guess(SPAN_NONE);
	size_t i, start = 0;

	stream_end(decoder);
	for (i = 0; i < plain.len; i++) {
		if (plain.at[i] != '\r' && plain.at[i] != '\n')
			continue;
		charset_convert(guess, span_part(plain, start, i - start), decoder->out);
		start = i + 1;
	}
	charset_convert(guess, span_part(plain, start, plain.len), decoder->out);
}

static bool
only_blanks(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] != ' ' && s.at[i] != '\t' && s.at[i] != '\r' && s.at[i] != '\n')
			return false;
	return true;
}

void
encoded_word_decode(struct span value, struct text *out)
{
	struct decoder decoder = { .out = out, .bytes = TEXT_UP_TO(MOST_WORD) };
	size_t plain = 0, at = 0; /* where the text that is not encoded starts; where we look */

	while (at < value.len) {
		struct span rest = span_part(value, at, value.len);
		struct span before = span_part(value, plain, at - plain);
		struct word word;

		if (!word_take(&rest, &word)) {
			at += 1 + span_index(span_part(rest, 1, rest.len), '=');
			continue;
		}
		/* RFC 2047 6.2: blanks between two encoded words are not shown */
		if (!decoder.streaming || !only_blanks(before))
			plain_add(&decoder, before);
		word_add(&decoder, &word);
		at = plain = value.len - rest.len;
	}
	if (plain < value.len &&
		!(decoder.streaming && only_blanks(span_part(value, plain, value.len))))
		plain_add(&decoder, span_part(value, plain, value.len));
	stream_end(&decoder);
	text_clear(&decoder.bytes);
}
