/* imap-input - see imap-input.h. */
#include "imapd/imap-input.h"

#include <string.h>

#define INPUT_SLACK 4096    /* of a next, pipelined command */

void
imap_input_init(struct imap_input *in, size_t most_line, size_t most_literals)
{
	*in = (struct imap_input){
		.buffer = TEXT_UP_TO(most_line + most_literals + INPUT_SLACK),
		.most_line = most_line,
		.most_literals = most_literals,
	};
}

void
imap_input_clear(struct imap_input *in)
{
	text_wipe(&in->buffer);    /* it held passwords */
	imap_input_init(in, in->most_line, in->most_literals);
}

size_t
imap_input_room(const struct imap_input *in)
{
	return in->buffer.most - (in->buffer.len - in->start);
}

/* Moves what is left to the front, at most once for each read. */
static void
input_compact(struct imap_input *in)
{
	if (in->start == 0)
		return;
	text_drop(&in->buffer, in->start);
	in->start = 0;
}

void
imap_input_add(struct imap_input *in, struct span bytes)
{
	input_compact(in);
	text_add(&in->buffer, bytes);
}

struct span
imap_input_rest(const struct imap_input *in)
{
	return span_part(text_span(&in->buffer), in->start + in->scanned, SIZE_MAX);
}

void
imap_input_drop(struct imap_input *in, size_t len)
{
	in->start += len;
	in->looked = 0;
	if (in->start >= in->buffer.len) {
		text_wipe(&in->buffer);    /* an idle session keeps no buffer */
		in->start = 0;
	}
}

/* Does the line end in "{n}" or "{n+}"? Any row of digits counts: one that is beyond counting is
 * a literal that is too large, not text. */
static bool
literal_at_end(struct span line, uint64_t *size, bool *synchronizing)
{
	struct span digits;
	size_t open;
	bool plus;

	if (line.len < 3 || line.at[line.len - 1] != '}')
		return false;
	line.len--;
	plus = line.at[line.len - 1] == '+';
	if (plus)
		line.len--;
	open = span_rindex(line, '{');
	if (open == line.len)
		return false;
	digits = span_part(line, open + 1, SIZE_MAX);
	if (digits.len == 0)
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.at[i] < '0' || digits.at[i] > '9')
			return false;
	}
	if (!span_take_number(&digits, INT64_MAX, size))
		*size = UINT64_MAX;
	*synchronizing = !plus;
	return true;
}

enum input_result
imap_input_look(struct imap_input *in)
{
	struct span all = span_part(text_span(&in->buffer), in->start, SIZE_MAX);
	struct span rest, line;
	const unsigned char *end;

	if (in->scanned > all.len)
		return INPUT_MORE;     /* a literal that was accepted is still coming */
	if (in->looked < in->scanned)
		in->looked = in->scanned;
	rest = span_part(all, in->looked, SIZE_MAX);
	end = rest.len > 0 ? memchr(rest.at, '\n', rest.len) : NULL;
	if (end == NULL) {
		in->looked = all.len;
		return all.len - in->scanned + in->line_bytes > in->most_line ?
			INPUT_TOO_LONG : INPUT_MORE;
	}
	line = span_part(all, in->scanned, (size_t)(end - all.at) - in->scanned);
	if (in->line_bytes + line.len > in->most_line)
		return INPUT_TOO_LONG;
	in->line_bytes += line.len + 1;
	in->scanned += line.len + 1;
	if (line.len == 0 || line.at[line.len - 1] != '\r')
		return INPUT_BARE_LF;
	line.len--;
	return literal_at_end(line, &in->literal, &in->synchronizing) ?
		INPUT_LITERAL : INPUT_COMMAND;
}

struct span
imap_input_command(const struct imap_input *in)
{
	struct span s = span_part(text_span(&in->buffer), in->start, in->scanned);

	if (s.len > 0)
		s.len--;
	if (s.len > 0 && s.at[s.len - 1] == '\r')
		s.len--;
	return s;
}

bool
imap_input_literal_fits(const struct imap_input *in)
{
	return in->literal <= in->most_literals &&
		in->literal_bytes <= in->most_literals - in->literal &&
		in->literals < MOST_LITERALS_IN_COMMAND;
}

void
imap_input_accept(struct imap_input *in)
{
	in->scanned += (size_t)in->literal;
	in->literal_bytes += (size_t)in->literal;
	in->literals++;
}

void
imap_input_next(struct imap_input *in)
{
	size_t scanned = in->scanned;

	in->scanned = in->line_bytes = in->literal_bytes = in->literals = 0;
	imap_input_drop(in, scanned);
}
