/* pipe_name - see pipe_name.h. */
#include "pipe_name.h"

#include "common/crc32c.h"

void
pipe_name_make(struct span alias, struct span member, struct text *to)
{
	text_printf(to, "|%08x", (unsigned int)crc32c(member));
	text_add(to, alias);
}

bool
pipe_name_is(struct span name)
{
	return name.len > 0 && name.at[0] == '|';
}

bool
pipe_name_take(struct span name, struct span *alias, uint32_t *member)
{
	uint32_t crc = 0;

	if (!pipe_name_is(name) || name.len <= 1 + PIPE_NAME_DIGITS || name.len > MOST_PIPE_NAME)
		return false;
	for (size_t i = 1; i <= PIPE_NAME_DIGITS; i++) {
		unsigned char c = name.at[i];

		if (c >= '0' && c <= '9')
			crc = crc << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			crc = crc << 4 | (uint32_t)(c - 'a' + 10);
		else
			return false;
	}
	*alias = span_part(name, 1 + PIPE_NAME_DIGITS, name.len);
	*member = crc;
	return true;
}
