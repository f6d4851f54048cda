/*
 * checks - see checks.h.
 */
#include "smtpd/checks.h"

#include "common/network.h"
#include "smtpd/session.h"

bool
checks_apply(const struct session *s)
{
	return s->service == SERVICE_SMTP && !s->login &&
		!networks_have(&s->server->daemon.settings->policy_exempt, s->ip);
}

bool
checks_spare(const struct session *s, const struct address *to)
{
	bool postmaster = span_equal_nocase(to->local, SPAN("postmaster"));

	if (to->domain.len == 0)
		return postmaster;
	return (postmaster || span_equal_nocase(to->local, SPAN("abuse"))) &&
		settings_is_local_domain(s->server->daemon.settings, to->domain);
}

bool
checks_greylists(const struct session *s, const struct address *to)
{
	return s->server->daemon.settings->greylist && checks_apply(s) && !checks_spare(s, to);
}
