/*
 * crlf - messages whose lines end in LF alone. See crlf.h.
 */
#include "imapd/crlf.h"

#include <string.h>

void
crlf_count(struct span message, struct crlf_facts *facts)
{
	const unsigned char *at = message.at, *end, *lf;

	*facts = (struct crlf_facts){ 0 };
	facts->size = message.len;
	if (message.len == 0)
		return;
	for (end = at + message.len; at < end; at = lf + 1) {
		lf = memchr(at, '\n', (size_t)(end - at));
		if (lf == NULL)
			break;
		facts->lines++;
		if (lf == message.at || lf[-1] != '\r')
			facts->bare++;
	}
	facts->size += facts->bare;
}

void
crlf_convert(struct span message, struct text *out)
{
	struct span rest = message;
	size_t lf;

	while ((lf = span_index(rest, '\n')) < rest.len) {
		text_add(out, span_part(rest, 0, lf));
		if (lf == 0 || rest.at[lf - 1] != '\r')
			text_add_byte(out, '\r');
		text_add_byte(out, '\n');
		rest = span_part(rest, lf + 1, rest.len);
	}
	text_add(out, rest);
}
