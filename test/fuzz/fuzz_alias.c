/*
 * Members of aliases and .forward files, names, and the values of the transport table: whatever stands
 * in a file that its owner wrote. The first byte chooses: text, or the record of a compiled table.
 */
#include "common/alias.h"
#include "delivery/transport.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
text_of(struct span in)
{
	struct text member = TEXT_UP_TO(MOST_ALIAS_MEMBER), key = TEXT_UP_TO(MOST_ALIAS_KEY),
		    again = TEXT_UP_TO(MOST_ALIAS_KEY), list = TEXT_UP_TO(MOST_ALIAS_BYTES);
	struct span rest = in;
	struct transport_way way;
	struct alias_member m, back;
	const char *why = NULL;

	(void)transport_parse(in, &way, &why);
	if (alias_name_take(&rest, &key, &why) == 1 &&
		(!alias_key(text_span(&key), &again) || !span_equal(text_span(&key), text_span(&again))))
		/* A key of the longest form may grow over the ceiling; else it is its own key. */
		if (key.len < MOST_ALIAS_KEY / 2)
			abort();
	for (rest = in; alias_member_take(&rest, &member, &m, &why) == 1;) {
		struct span encoded;

		text_reset(&list);
		alias_encode(&m, &list);
		encoded = text_span(&list);
		if (m.kind == ALIAS_INCLUDE || m.text.len == 0)
			continue;
		if (list.failed || !alias_decode(&encoded, &back) || back.kind != m.kind ||
		    !span_equal(back.text, m.text))
			abort();
	}
	text_clear(&member);
	text_clear(&key);
	text_clear(&again);
	text_clear(&list);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in;
	struct alias_member m;

	if (size < 1)
		return 0;
	in = span_of(data + 1, size - 1);
	if (data[0] & 1)
		text_of(in);
	else
		while (alias_decode(&in, &m))
			;
	return 0;
}
