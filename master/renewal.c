#include "master/renewal.h"

#include <event2/event.h>

#include "common/log.h"
#include "master/generation.h"
#include "master/offer.h"

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	uint64_t looks;

	(void)fd;
	(void)what;
	if (s->phase != PHASE_RUNNING || s->offered.number != 0)
		return;
	looks = generation_look(s->now.settings);
	if (looks == s->now.looked || looks == s->renewal_tried) {
		s->renewal_seen = 0;
	} else if (looks != s->renewal_seen) {
		s->renewal_seen = looks; /* whoever writes may not be done */
	} else {
		s->renewal_seen = 0;
		s->renewal_tried = looks;
		log_notice(0, "certificate-changed", KEY_STR("effect", "it is checked, and then taken into service"));
		offer_renewal(s);
	}
}

void
renewal_begin(struct supervisor *s)
{
	static const struct timeval often = { .tv_sec = RENEWAL_LOOK_SECONDS };

	if (s->renewal == NULL)
		s->renewal = event_new(s->base, -1, EV_PERSIST, on_look, s);
	if (s->renewal != NULL)
		event_add(s->renewal, &often);
}

void
renewal_end(struct supervisor *s)
{
	if (s->renewal != NULL)
		event_free(s->renewal);
	s->renewal = NULL;
}
