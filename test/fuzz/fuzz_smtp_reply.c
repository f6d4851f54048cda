/* Another server's replies, in pieces: bounded, printable, whatever comes. */
#include "delivery/smtp-reply.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct smtp_reply *r)
{
	struct text t = TEXT_UP_TO(400);
	struct span status = smtp_reply_status(r);

	if (r->code < 200 || r->code > 599 || r->text.len > MOST_REPLY_TEXT || status.len > 9)
		abort();
	for (size_t i = 0; i < r->text.len; i++)
		if ((r->text.at[i] < 0x20 && r->text.at[i] != '\n') || r->text.at[i] == 0x7f)
			abort();
	smtp_reply_sentence(r, &t, 300);
	if (t.len > 400 || t.failed || span_has(text_span(&t), '\n'))
		abort();
	text_clear(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_reply r;
	struct span all = span_of(data, size);
	size_t step = size > 0 ? data[0] % 32u + 1 : 1;

	smtp_reply_init(&r);
	while (all.len > 0) {
		struct span piece = span_part(all, 0, step);

		all = span_part(all, piece.len, all.len);
		while (piece.len > 0) {
			enum reply_state state = smtp_reply_feed(&r, &piece);

			if (state == REPLY_BROKEN) {
				smtp_reply_clear(&r);
				return 0;
			}
			if (state == REPLY_WHOLE) {
				check(&r);
				smtp_reply_reset(&r);
			}
		}
	}
	smtp_reply_clear(&r);
	return 0;
}
