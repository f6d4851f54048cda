/* message-id - see message-id.h. */
#include "imapd/message-id.h"

#include "imapd/header.h"
#include "imapd/index.h"

#include <string.h>

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* As nearly all are: nothing to leave out, nothing to undo. */
static bool
is_plain(struct span inside)
{
	for (size_t i = 0; i < inside.len; i++) {
		if (is_blank(inside.at[i]) || inside.at[i] == '"')
			return false;
	}
	return true;
}

/* The inside of "<...>", blanks left out, quotes undone. False: it is not of the form left@right. */
static bool
put_id(struct span inside, struct text *to)
{
	size_t at = 0;

	if (is_plain(inside)) {
		at = 1 + span_index(span_part(inside, 1, inside.len), '@');
		text_add(to, inside);
		return !to->failed && at > 0 && at + 1 < inside.len;
	}
	while (inside.len > 0) {
		struct span quoted;

		if (quoted_take(&inside, &quoted)) {
			quoted_add(to, quoted);
			continue;
		}
		if (inside.at[0] == '@' && at == 0)
			at = to->len;
		if (!is_blank(inside.at[0]))
			text_add_byte(to, inside.at[0]);
		inside = span_part(inside, 1, inside.len);
	}
	return !to->failed && at > 0 && at + 1 < to->len;
}

bool
message_id_take(struct span *in, struct text *to)
{
	while (in->len > 0) {
		struct span rest = span_part(*in, span_index(*in, '<'), in->len), inside;

		if (!span_take(&rest, '<') || !span_take_until(&rest, '>', &inside)) {
			*in = SPAN_NONE;
			return false;
		}
		*in = rest;
		/* "<a <b@c>": the id begins at the last of them */
		if (span_has(inside, '<'))
			inside = span_part(inside, span_rindex(inside, '<') + 1, inside.len);
		text_reset(to);
		if (inside.len <= MOST_MESSAGE_ID && put_id(inside, to))
			return true;
	}
	return false;
}

uint64_t
conversation_of(struct span header)
{
	static const char *const fields[] = { "References", "In-Reply-To", "Message-ID" };
	unsigned char hash[EMAIL_ID_BYTES];
	struct text id = TEXT_UP_TO(MOST_MESSAGE_ID);
	struct span value;
	uint64_t result = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && result == 0; i++) {
		if (!header_find(header, span_str(fields[i]), &value))
			continue;
		value = span_part(value, 0, MOST_FIELD_VALUE);
		if (!message_id_take(&value, &id))
			continue;
		email_id_of_name(text_span(&id), hash);
		memcpy(&result, hash, sizeof(result));
		result |= result == 0;
	}
	text_clear(&id);
	return result;
}
