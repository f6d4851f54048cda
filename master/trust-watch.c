/*
 * trust-watch - see trust-watch.h.
 */
#include "master/trust-watch.h"

#include <stdlib.h>

#include "common/log.h"
#include "master/net-trust.h"
#include "master/watch.h"

#define MOST_DOUBTS 8192

static bool
has_line(struct span left, struct span line)
{
	struct span one;

	while (span_take_until(&left, '\n', &one))
		if (span_equal(one, line))
			return true;
	return false;
}

void
trust_watch(struct supervisor *s)
{
	struct text now = TEXT_UP_TO(MOST_DOUBTS);
	struct span left, line;

	if (!s->now.settings)
		return;
	net_trust_doubts(s->now.settings, watch_netstate(s), &now);
	for (left = text_span(&now); span_take_until(&left, '\n', &line);)
		if (!s->doubts || !has_line(span_str(s->doubts), line))
			log_warning(0, "trust-too-wide", KEY_SPAN("reason", line));
	free(s->doubts);
	s->doubts = must_copy(text_span(&now));
	text_clear(&now);
}

void
trust_watch_end(struct supervisor *s)
{
	free(s->doubts);
	s->doubts = NULL;
}
