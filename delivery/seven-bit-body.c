/* seven-bit-body - see seven-bit-inside.h. */
#include "seven-bit-inside.h"

#include <string.h>

#define QP_LINE 76                       /* RFC 2045 6.7 */
#define BASE64_IN 57                     /* octets that make 76 */

/* Does a line end at `at`? 1 or 2 octets of it; 0: no. */
static size_t
line_end_at(struct span in, size_t at)
{
	if (at < in.len && in.at[at] == '\n')
		return 1;
	return at + 1 < in.len && in.at[at] == '\r' && in.at[at + 1] == '\n' ? 2 : 0;
}

size_t
quoted_printable_put(struct span in, bool last, unsigned int *column, struct text *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i = 0;

	/* Whether a blank ends a line is seen two octets on. */
	while (i < in.len && (last || i + 2 < in.len)) {
		unsigned char c = in.at[i];
		size_t end = line_end_at(in, i);
		bool blank_last = i + 1 == in.len || line_end_at(in, i + 1) > 0;

		if (end > 0) {
			text_add(out, SPAN("\r\n"));
			*column = 0;
			i += end;
			continue;
		}
		/* A soft break (6.7 rule 5), so that "=XX" and the break itself fit. */
		if (*column > QP_LINE - 4) {
			text_add(out, SPAN("=\r\n"));
			*column = 0;
		}
		/* A hyphen that begins a line, by a soft break perhaps, must not begin a delimiter. */
		if ((c > ' ' && c < 0x7f && c != '=' && !(c == '-' && *column == 0)) ||
			((c == ' ' || c == '\t') && !blank_last)) {
			text_add_byte(out, c);
			*column += 1;
		} else {
			text_add(out, span_of((char[]){ '=', hex[c >> 4], hex[c & 15] }, 3));
			*column += 3;
		}
		i++;
	}
	return i;
}

size_t
base64_put(struct span in, bool last, struct text *out)
{
	size_t done = 0;

	while (done < in.len && (last || in.len - done > BASE64_IN)) {
		struct span line = span_part(in, done, BASE64_IN);

		text_add_base64(out, line);
		done += line.len;
		if (done < in.len)
			text_add(out, SPAN("\r\n"));
	}
	return done;
}
