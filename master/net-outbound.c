/*
 * net-outbound - can mail be sent from here: does port 25 of other servers answer?
 *
 * Many providers block it. Connections to some well-known mail servers are tried at once; each is closed after
 * its greeting, nothing is said.
 */
#include <stdio.h>
#include <string.h>

#include "master/net-probe.h"
#include "master/net-survey.h"

#define MOST_TRIED	   4
#define PROBE_MILLISECONDS 5000
#define SMTP_PORT	    25

/* Large providers, all of whom take mail for the world at port 25. */
static const char *const well_known[] = { "gmail.com", "outlook.com", "yahoo.com", "debian.org" };

static size_t
domains(const char *domain, const char *list[MOST_TRIED])
{
	if (domain) {
		list[0] = domain;
		return 1;
	}
	for (size_t i = 0; i < MOST_TRIED; i++)
		list[i] = well_known[i];
	return MOST_TRIED;
}

/* The relay host that takes all mail, if there is one: "HOST", "HOST:PORT", perhaps in brackets. */
static bool
relayhost(const struct survey *v, char host[MOST_DNS_NAME + 1], unsigned int *port)
{
	struct span left = v->s->relayhost, name, digits;
	uint64_t number = SMTP_PORT;
	size_t colon;

	if (span_take(&left, '[')) {
		name = span_part(left, 0, span_index(left, ']'));
		left = span_part(left, name.len + 1, left.len);
		digits = span_part(left, 1, left.len);
	} else {
		colon = span_rindex(left, ':');
		name = span_part(left, 0, colon);
		digits = span_part(left, colon + 1, left.len);
	}
	if (digits.len)
		span_take_number(&digits, UINT16_MAX, &number);
	*port = (unsigned int)number;
	return name.len && span_copy(name, host, MOST_DNS_NAME + 1);
}

/* The host of the first MX record: what stands behind the preference. */
static const char *
first_host(const struct lookup *mx)
{
	const char *blank = mx->count ? strchr(mx->answers[0], ' ') : NULL;

	return blank ? blank + 1 : NULL;
}

void
net_ask_outbound(struct survey *v, const char *domain)
{
	const char *list[MOST_TRIED], *host;
	char relay[MOST_DNS_NAME + 1];
	size_t n = domains(domain, list);
	unsigned int port;

	if (relayhost(v, relay, &port)) {
		lookup(v->dns, relay, DNS_A);
		return;
	}
	/* Called twice: the second time the hosts are known, and their addresses are asked for. */
	for (size_t i = 0; i < n; i++)
		if ((host = first_host(lookup(v->dns, list[i], DNS_MX))))
			lookup(v->dns, host, DNS_A);
}

/* --- trying --- */

static void
judge_direct(struct survey *v, const char *domain)
{
	const char *list[MOST_TRIED], *host;
	struct probe probes[MOST_TRIED];
	size_t n = domains(domain, list), count = 0;
	struct text names = TEXT_UP_TO(2048);
	const struct probe *good = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct lookup *a;

		if (!(host = first_host(lookup(v->dns, list[i], DNS_MX))))
			continue;
		a = lookup(v->dns, host, DNS_A);
		if (a->count && probe_begin(&probes[count], host, a->answers[0], SMTP_PORT, true)) {
			text_printf(&names, "%s%s", count ? ", " : "", host);
			count++;
		}
	}
	probes_run(probes, count, PROBE_MILLISECONDS, true);
	for (size_t i = 0; i < count; i++) {
		if (probes[i].greeting[0])
			good = &probes[i];
		probe_end(&probes[i]);
	}
	if (count == 0) {
		finding_add(&v->f, FINDING_WARNING, "outbound",
			"port 25 of other servers could not be tried: the DNS has none of them");
		finding_advise(&v->f, "Name a domain whose mail server is up: --probe DOMAIN");
	} else if (good) {
		finding_add(&v->f, FINDING_OK, "outbound", "port 25 of other servers answers (%s)", good->host);
	} else {
		finding_add(&v->f, FINDING_PROBLEM, "outbound",
			"port 25 of other servers does not answer (%s): the provider or a firewall blocks it",
			text_str(&names));
		finding_advise(&v->f,
			"Ask the provider to open it; or send all mail by the provider's mail server, at port 587 with a password: relayhost in valija.conf(5)");
	}
	text_clear(&names);
}

/* All mail goes by one server: it alone must answer. At 465 TLS comes first, and no greeting. */
static void
judge_relayhost(struct survey *v, const char *host, unsigned int port)
{
	const struct lookup *a = lookup(v->dns, host, DNS_A);
	const char *address = a->count ? a->answers[0] : host;
	struct probe p = { .fd = -1 };
	bool greets = port != service_port(SERVICE_SUBMISSIONS), good;

	if (probe_begin(&p, host, address, port, greets))
		probes_run(&p, 1, PROBE_MILLISECONDS, true);
	good = greets ? p.greeting[0] != '\0' : p.connected;
	probe_end(&p);
	if (good) {
		finding_add(&v->f, FINDING_OK, "outbound", "all mail goes by %s, whose port %u answers", host, port);
		return;
	}
	finding_add(&v->f, FINDING_PROBLEM, "outbound", "all mail goes by %s, and its port %u does not answer", host,
		port);
	finding_advise(&v->f, "Is relayhost right? Ports 587 and 465 are seldom blocked, 25 often is");
}

void
net_judge_outbound(struct survey *v, const char *domain)
{
	char relay[MOST_DNS_NAME + 1];
	unsigned int port;

	if (relayhost(v, relay, &port))
		judge_relayhost(v, relay, port);
	else
		judge_direct(v, domain);
}
