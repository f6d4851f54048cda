/* Dropped envelopes and the answers to who hands them in: any octets. */
#include <stdlib.h>

#include "smtpd/handin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span whole = span_of(data, size), fields, answers;
	struct text again = TEXT_UP_TO(DROP_ENVELOPE_MOST + DROP_FOOT);
	struct drop d, e;
	struct handin h;
	const char *why = NULL;
	size_t len, cut = span_index(whole, '\n');

	(void)drop_foot_parse(span_part(whole, 0, DROP_FOOT), &len);
	fields = span_part(whole, 0, cut);
	answers = span_part(whole, cut + 1, size);
	if (!drop_parse(fields, &d, &why)) {
		if (!why)
			abort();
		return 0;
	}
	/* What was read is written, and read again as the same. */
	if (!drop_put(&d, &again) ||
	    !drop_parse(span_part(text_span(&again), 0, again.len - DROP_FOOT), &e, &why) ||
	    e.count != d.count || !span_equal(e.sender, d.sender))
		abort();
	drop_clear(&e);
	handin_init(&h, &d, 10, (enum handin_mode)(size % 3));
	while (answers.len > 0 && !h.over) {
		handin_feed(&h, span_part(answers, 0, 7));
		answers = span_part(answers, 7, answers.len);
		if (h.wants_message)
			handin_message_sent(&h);
	}
	handin_lost(&h, "end");
	if (!h.over || (h.outcome != DONE && h.refusals == 0))
		abort();
	handin_clear(&h);
	drop_clear(&d);
	text_clear(&again);
	return 0;
}
