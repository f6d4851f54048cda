/*
 * net-outbound - can mail be sent from here: does port 25 of other servers answer?
 *
 * Many providers block it. Connections to some well-known mail servers are tried at once; each is closed after
 * its greeting, nothing is said.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "master/net-survey.h"

#define MOST_PROBES	    4
#define PROBE_MILLISECONDS 5000
#define SMTP_PORT	    25
#define MOST_GREETING	    512

/* Large providers, all of whom take mail for the world at port 25. */
static const char *const well_known[] = { "gmail.com", "outlook.com", "yahoo.com", "debian.org" };

static size_t
domains(const char *domain, const char *list[MOST_PROBES])
{
	if (domain) {
		list[0] = domain;
		return 1;
	}
	for (size_t i = 0; i < MOST_PROBES; i++)
		list[i] = well_known[i];
	return MOST_PROBES;
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
	const char *list[MOST_PROBES], *host;
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

struct probe {
	int fd;
	char host[MOST_DNS_NAME + 1];
	bool greeted, closed;
};

static bool
probe_begin(struct probe *p, const char *host, const char *address, unsigned int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return false;
	span_copy(span_str(host), p->host, sizeof p->host);
	p->greeted = p->closed = false;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return false;
	if (connect(p->fd, (const struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		p->closed = true;
	return true;
}

static void
probe_read(struct probe *p)
{
	char greeting[MOST_GREETING];
	ssize_t n = recv(p->fd, greeting, sizeof greeting, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* 554 is an answer too: somebody is there, who does not like us. */
	p->greeted = n >= 3 && (greeting[0] == '2' || greeting[0] == '5' || greeting[0] == '4');
	p->closed = true;
}

static int64_t
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until one has greeted, all are closed, or the time is over. */
static void
probes_run(struct probe *probes, size_t count)
{
	int64_t end = milliseconds() + PROBE_MILLISECONDS, left;
	struct pollfd fds[MOST_PROBES];

	while ((left = end - milliseconds()) > 0) {
		size_t open = 0;

		for (size_t i = 0; i < count; i++) {
			if (probes[i].greeted)
				return;
			fds[i] = (struct pollfd){ .fd = probes[i].closed ? -1 : probes[i].fd,
				.events = POLLIN };
			open += !probes[i].closed;
		}
		if (open == 0)
			return;
		if (poll(fds, count, (int)left) < 0 && errno != EINTR)
			return;
		for (size_t i = 0; i < count; i++)
			if (fds[i].fd >= 0 && (fds[i].revents & (POLLIN | POLLERR | POLLHUP)))
				probe_read(&probes[i]);
	}
}

static void
judge_direct(struct survey *v, const char *domain)
{
	const char *list[MOST_PROBES], *host;
	struct probe probes[MOST_PROBES];
	size_t n = domains(domain, list), count = 0;
	struct text names = TEXT_UP_TO(2048);
	const struct probe *good = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct lookup *a;

		if (!(host = first_host(lookup(v->dns, list[i], DNS_MX))))
			continue;
		a = lookup(v->dns, host, DNS_A);
		if (a->count && probe_begin(&probes[count], host, a->answers[0], SMTP_PORT)) {
			text_printf(&names, "%s%s", count ? ", " : "", host);
			count++;
		}
	}
	probes_run(probes, count);
	for (size_t i = 0; i < count; i++) {
		if (probes[i].greeted)
			good = &probes[i];
		close(probes[i].fd);
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
	struct pollfd fd = { .events = POLLOUT };
	struct probe p = { .fd = -1 };
	bool good = false;

	if (probe_begin(&p, host, address, port)) {
		int error = 0;
		socklen_t len = sizeof error;

		fd.fd = p.fd;
		if (port != service_port(SERVICE_SUBMISSIONS))
			probes_run(&p, 1);
		good = p.greeted ||
			(port == service_port(SERVICE_SUBMISSIONS) &&
				poll(&fd, 1, PROBE_MILLISECONDS) == 1 &&
				getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0);
	}
	if (p.fd >= 0)
		close(p.fd);
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
