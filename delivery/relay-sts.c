/* relay-sts - see relay.h. What a domain wants of its servers (MTA-STS, RFC 8461), asked of sts before anything else. */
#include "relay.h"

#include "sts-policy.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define POLICY_SECONDS 90            /* sts waits for name servers and a web server */

#define V_NO_POLICY VERDICT_IS(LATER, 451, "4.7.5", "the domain's TLS policy cannot be looked up")

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	job_end_all(arg, V_NO_POLICY, "");
}

static void
say(struct job *j)
{
	struct channel *sts = daemon_peer(&j->relay->daemon, PROGRAM_STS, 0);

	if (sts != NULL)
		send_sts_ask(sts, j->id, &(struct msg_sts_ask){ .domain = span_str(j->next_hop) }, NULL);
}

bool
sts_is_wanted(const struct job *j)
{
	return j->relay->daemon.settings->mta_sts && j->way == WAY_MX && j->policy.wanted == WANT_DANE &&
		j->next_hop[0] != '[';
}

void
sts_begin(struct job *j)
{
	struct timeval wait = { .tv_sec = POLICY_SECONDS };

	j->sts_timer = evtimer_new(j->relay->daemon.base, on_timeout, j);
	if (j->sts_timer == NULL)
		abort();
	evtimer_add(j->sts_timer, &wait);
	say(j);
}

void
sts_cancel(struct job *j)
{
	if (j->sts_timer != NULL)
		event_free(j->sts_timer);
	j->sts_timer = NULL;
}

void
sts_peer_came(struct relay *r, struct channel *peer)
{
	struct job *j;

	if (channel_peer(peer) != PROGRAM_STS)
		return;
	TAILQ_FOREACH(j, &r->jobs, all)
		if (j->sts_timer != NULL)
			say(j);
}

static struct job *
asking(struct relay *r, uint64_t id)
{
	struct job *j;

	TAILQ_FOREACH(j, &r->jobs, all)
		if (j->id == id && j->sts_timer != NULL)
			return j;
	return NULL;
}

uint32_t
sts_hour(struct relay *r, uint64_t id)
{
	return asking(r, id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

void
sts_told(struct relay *r, uint64_t id, const struct msg_sts_told *m)
{
	struct job *j = asking(r, id);

	sts_cancel(j);
	if (m->mode == STS_TESTING || m->mode == STS_ENFORCE) {
		j->sts = (enum sts_mode)m->mode;
		free(j->sts_mx);
		j->sts_mx = must_copy(m->mx);
	}
	job_policy_known(j);
}

bool
sts_allows(const struct job *j, const struct server *s)
{
	return j->sts == STS_NONE || sts_mx_matches(span_str(j->sts_mx), span_str(s->name));
}

void
sts_report(const struct job *j, const char *ip, const char *own_ip, struct span result, struct span reason)
{
	struct channel *sts = daemon_peer(&j->relay->daemon, PROGRAM_STS, 0);
	struct text clean = TEXT_UP_TO(MOST_REASON);

	if (sts == NULL || !j->relay->daemon.settings->tls_reports || j->way != WAY_MX || j->next_hop[0] == '[' ||
		j->policy.wanted != WANT_DANE)
		return;
	for (size_t i = 0; i < reason.len && i < MOST_REASON; i++)
		text_add_byte(&clean, reason.at[i] >= 0x20 && reason.at[i] < 0x7f ? reason.at[i] : '?');
	send_tls_seen(sts, 0,
		&(struct msg_tls_seen){ .domain = span_str(j->next_hop),
			.policy = j->dane ? TLS_POLICY_TLSA : j->sts != STS_NONE ? TLS_POLICY_STS : TLS_POLICY_NONE,
			.mx = span_str(j->server[j->current].name), .ip = span_str(ip),
			.own_ip = span_str(own_ip), .result = result, .reason = text_span(&clean) },
		NULL);
	text_clear(&clean);
}
