/* quota_warning - see quota_warning.h. */
#include "quota_warning.h"

#include "common/message.h"
#include "common/text.h"

void
quota_warnings_set(struct quota_warnings *w, const struct list *option)
{
	w->count = 0;
	for (size_t i = 0; i < option->count && w->count < MOST_QUOTA_WARNINGS; i++) {
		struct span s = option->at[i];
		uint64_t percent;

		if (span_take_number(&s, 100, &percent) && s.len == 0 && percent > 0)
			w->percent[w->count++] = (uint8_t)percent;
	}
}

/* `part` is `percent` of `whole`, or more. No product of foreign numbers: they may be as big as they like. */
static bool
reaches(uint64_t part, uint64_t whole, unsigned int percent)
{
	return whole != 0 && part >= whole / 100 * percent + whole % 100 * percent / 100;
}

unsigned int
quota_warning_crossed(const struct quota_warnings *w, const struct quota *q, const struct quota_usage *before,
	uint64_t bytes)
{
	unsigned int highest = 0;

	for (size_t i = 0; i < w->count; i++) {
		unsigned int p = w->percent[i];
		bool was = reaches(before->bytes, q->bytes, p) || reaches(before->messages, q->messages, p),
		     is = reaches(before->bytes + bytes, q->bytes, p) ||
			reaches(before->messages + 1, q->messages, p);

		if (is && !was && p > highest)
			highest = p;
	}
	return highest;
}

void
quota_warning_say(struct channel *to, struct span address, const struct quota *q, unsigned int percent)
{
	struct text subject = TEXT_UP_TO(200), body = TEXT_UP_TO(2048);

	text_printf(&subject, "Your mailbox is %u %% full", percent);
	text_printf(&body, "More than %u %% of what your mailbox may hold is in use:", percent);
	if (q->bytes != 0)
		text_printf(&body, " it may hold %llu bytes.", (unsigned long long)q->bytes);
	if (q->messages != 0)
		text_printf(&body, " It may hold %llu messages.", (unsigned long long)q->messages);
	text_add_str(&body, "\nWhen it is full, mail for you is refused for the time being. Please delete what you do not "
		"need any more, or ask your administrator for more room.\n");
	send_notice(to, 0, &(struct msg_notice){ .recipient = address, .subject = text_span(&subject),
		.body = text_span(&body) }, NULL);
	text_clear(&subject);
	text_clear(&body);
}
