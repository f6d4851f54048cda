/* quota_warning - a mailbox that fills up: when its owner is told, and what. */
#ifndef VALIJA_QUOTA_WARNING_H
#define VALIJA_QUOTA_WARNING_H

#include "common/channel.h"
#include "common/quota.h"
#include "common/settings.h"

#define MOST_QUOTA_WARNINGS 8

struct quota_warnings {
	uint8_t percent[MOST_QUOTA_WARNINGS];
	size_t count;
};

/* From quota_warnings, which the configuration's check has found to be numbers of 1 to 100. */
void quota_warnings_set(struct quota_warnings *w, const struct list *option);
/* The highest of them that one message of `bytes` crosses, where `before` is in the mailbox; 0: none. The
 * lower ones are not worth words any more. */
unsigned int quota_warning_crossed(const struct quota_warnings *w, const struct quota *q,
	const struct quota_usage *before, uint64_t bytes);
/* Has queue (`to`) tell `address` that his mailbox is so full. */
void quota_warning_say(struct channel *to, struct span address, const struct quota *q, unsigned int percent);

#endif
