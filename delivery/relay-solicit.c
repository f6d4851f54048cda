/* relay-solicit - what a message says that it solicits, for servers that want to know (RFC 3865); see relay.h. */
#include "relay.h"

#include "common/beneath.h"
#include "common/solicitation.h"

#include <stdlib.h>
#include <string.h>

#define LOOKED_AT 65536                 /* bytes of the header that are searched for the field */

/* The next field with its continuations, without its last line end. False: the header is over, or cut off. */
static bool
take_field(struct span *header, struct span *field)
{
	size_t n = 0;

	for (;;) {
		size_t line = span_index(span_part(*header, n, header->len), '\n');

		n += line + 1;
		if (n > header->len)
			return false;
		if (n == header->len || (header->at[n] != ' ' && header->at[n] != '\t'))
			break;
	}
	*field = span_part(*header, 0, n - 1);
	*header = span_part(*header, n, header->len);
	return field->len > 1;          /* one that has nothing but its CR is the blank line */
}

bool
relay_solicitation(const struct job *j, struct text *to)
{
	size_t len = j->size < LOOKED_AT ? (size_t)j->size : LOOKED_AT;
	unsigned char *buffer = must_alloc(len + 1);
	struct span header = span_of(buffer, len), field, name;
	bool found = false;

	if (read_at(j->fd, buffer, len, 0) != (ssize_t)len)
		header = SPAN_NONE;
	while (!found && take_field(&header, &field))
		found = span_take_until(&field, ':', &name) &&
			span_equal_nocase(span_trim(name), SPAN("Solicitation"));
	found = found && solicitation_from_field(field, to);
	free(buffer);
	return found;
}
