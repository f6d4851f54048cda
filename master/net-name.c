/*
 * net-name - does everything that names this server agree: name, addresses, PTR, HELO, certificate?
 */
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/net-survey.h"
#include "master/paths.h"
#include "tlsproxy/certificate.h"

#define A_OF(v)	   lookup((v)->dns, (v)->hostname, DNS_A)
#define AAAA_OF(v) lookup((v)->dns, (v)->hostname, DNS_AAAA)

void
net_ask_names(struct survey *v)
{
	A_OF(v);
	AAAA_OF(v);
	lookup(v->dns, v->hostname, DNS_CNAME);
}

/* Behind a router whose address nobody told, what the name points to is taken for it, if anybody can reach
 * that. */
void
net_learn_publics(struct survey *v)
{
	const struct lookup *q = A_OF(v);
	uint8_t family, at[16];

	for (size_t i = 0; v->translated && v->s->public_address.count == 0 && i < q->count; i++)
		if (netstate_address_take(span_str(q->answers[i]), &family, at) &&
			netstate_kind_of(family, at) == NETSTATE_GLOBAL)
			net_public_add(v, family, at, "by the DNS");
}

void
net_ask_pointers(struct survey *v)
{
	for (size_t i = 0; i < v->public_count; i++)
		lookup_pointer(v->dns, v->publics[i].family, v->publics[i].at);
}

/* --- the name's addresses --- */

static bool
is_full_name(const char *name)
{
	struct span s = span_str(name);

	return span_has(s, '.') && !span_equal_nocase(s, SPAN("localhost.localdomain")) &&
		!(s.len > 6 && span_equal_nocase(span_part(s, s.len - 6, 6), SPAN(".local")));
}

static void
judge_helo(struct survey *v)
{
	if (is_full_name(v->hostname)) {
		finding_add(&v->f, FINDING_OK, "helo", "this server calls itself %s", v->hostname);
		return;
	}
	finding_add(&v->f, FINDING_PROBLEM, "helo",
		"this server calls itself %s: other servers refuse a name that the world does not know",
		v->hostname);
	finding_advise(&v->f, "Set hostname to a full name of a domain of yours, such as mail.example.org");
}

/* One address that the name has. */
static void
judge_address(struct survey *v, const char *text)
{
	uint8_t family, at[16];
	enum netstate_kind kind;

	if (!netstate_address_take(span_str(text), &family, at))
		return;
	kind = netstate_kind_of(family, at);
	if (kind != NETSTATE_GLOBAL) {
		finding_add(&v->f, FINDING_PROBLEM, "name", "%s has the address %s, which is %s: the world cannot reach it",
			v->hostname, text, netstate_kind_name(kind));
		finding_advise(&v->f, "Publish the public address; behind a router, the router's");
	} else if (net_is_ours(v, family, at)) {
		finding_add(&v->f, FINDING_OK, "name", "%s has the address %s", v->hostname, text);
	} else {
		finding_add(&v->f, FINDING_PROBLEM, "name",
			"%s has the address %s, which is neither of this machine nor in public_address",
			v->hostname, text);
		finding_advise(&v->f, "%s",
			family == 6
				? "Correct the AAAA record, or give this machine the address"
				: "Correct the A record; or, if it is the router's, set public_address to it");
	}
}

static bool
name_has(const struct lookup *q, const struct public_address *p)
{
	return lookup_has(q, p->name);
}

static void
judge_family(struct survey *v, const struct lookup *q, uint8_t family)
{
	const char *type = family == 4 ? "A" : "AAAA";

	for (size_t i = 0; i < q->count; i++)
		judge_address(v, q->answers[i]);
	for (size_t i = 0; i < v->public_count; i++) {
		const struct public_address *p = &v->publics[i];

		if (p->family != family || name_has(q, p) || q->outcome == DNS_LATER)
			continue;
		finding_add(&v->f, family == 4 && q->count == 0 ? FINDING_PROBLEM : FINDING_WARNING, "name",
			"%s has no %s record for %s (%s)", v->hostname, type, p->name, p->source);
		finding_advise(&v->f, "%s",
			family == 4 ? "Add it: `valija net dns` prints it"
				    : "Add it, with a PTR record; or send by IPv4 only (relay_source_ipv6 = \"none\") and leave it out");
	}
}

/* Nobody asks the DNS for a name such as localhost (RFC 6761 6.3): then what is known of the domains tells. */
static bool
dns_is_silent(const struct survey *v)
{
	char domain[MOST_DNS_NAME + 1];
	bool silent = A_OF(v)->outcome == DNS_LATER && AAAA_OF(v)->outcome == DNS_LATER;

	for (size_t i = 0; !silent && !is_full_name(v->hostname) && i < v->s->domains.count; i++)
		if (span_copy(v->s->domains.at[i], domain, sizeof domain) &&
			lookup(v->dns, domain, DNS_MX)->outcome != DNS_LATER)
			return false;
	return silent || (!is_full_name(v->hostname) && v->s->domains.count > 0);
}

static void
judge_name(struct survey *v)
{
	const struct lookup *a = A_OF(v), *aaaa = AAAA_OF(v),
				  *alias = lookup(v->dns, v->hostname, DNS_CNAME);

	if (dns_is_silent(v)) {
		finding_add(&v->f, FINDING_PROBLEM, "resolver", "the DNS does not answer");
		finding_advise(&v->f,
			"Without it no mail can be sent. Look at /etc/resolv.conf and at whether its servers can be reached");
		return;
	}
	finding_add(&v->f, FINDING_OK, "resolver", "the DNS answers");
	if (alias->count) {
		finding_add(&v->f, FINDING_PROBLEM, "name",
			"%s is an alias (CNAME) of %s: a mail server's name must have addresses itself (RFC 2181 10.3)",
			v->hostname, lookup_answers(alias));
		finding_advise(&v->f, "Replace the CNAME record by A and AAAA records");
	}
	if (a->count == 0 && aaaa->count == 0 && v->public_count == 0) {
		finding_add(&v->f, FINDING_PROBLEM, "name", "%s has no address in the DNS", v->hostname);
		finding_advise(&v->f, "Publish the public address as its A record");
	}
	judge_family(v, a, 4);
	judge_family(v, aaaa, 6);
}

/* --- the way back --- */

static void
judge_pointer(struct survey *v, const struct public_address *p)
{
	const struct lookup *q = lookup_pointer(v->dns, p->family, p->at);

	/* Others look at it only when mail comes from there. */
	if (span_equal(p->family == 4 ? v->s->relay_source_ipv4 : v->s->relay_source_ipv6, SPAN("none")))
		return;
	if (q->outcome == DNS_LATER) {
		finding_add(&v->f, FINDING_WARNING, "ptr", "nobody answers for the PTR record of %s", p->name);
		finding_advise(&v->f, "Ask the provider to whom its reverse zone is delegated");
	} else if (lookup_has(q, v->hostname)) {
		finding_add(&v->f, FINDING_OK, "ptr", "%s points back to %s%s", p->name, v->hostname,
			q->count == 1 ? "" : ", and to other names too");
	} else {
		if (q->count)
			finding_add(&v->f, FINDING_WARNING, "ptr", "%s points back to %s, not to %s", p->name,
				lookup_answers(q), v->hostname);
		else
			finding_add(&v->f, FINDING_WARNING, "ptr", "%s has no PTR record", p->name);
		finding_advise(&v->f,
			"Only the provider can set it: ask for a PTR record of %s that says %s. %s", p->name,
			v->hostname,
			p->family == 6
				? "Without it large providers refuse mail by IPv6: set relay_source_ipv6 = \"none\" until it is right"
				: "Without it many servers refuse mail; a relay host is the way out");
	}
}

/* --- the certificate --- */

static int
open_certificate(struct span name)
{
	char *path = must_copy(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	free(path);
	return fd;
}

struct span
net_certificate_file(const struct survey *v)
{
	const struct list *files = &v->s->tls_certificate;

	for (size_t i = 0; i < files->count; i++) {
		struct certificate_facts facts = { .names_host = false };
		struct text why = TEXT_UP_TO(1024);
		int fd = open_certificate(files->at[i]);

		if (fd >= 0 && certificate_check(fd, -1, v->hostname, &facts, &why) < 0)
			facts.names_host = false;
		if (fd >= 0)
			close(fd);
		text_clear(&why);
		if (facts.names_host)
			return files->at[i];
	}
	return files->count ? files->at[0] : SPAN_NONE;
}

static void
judge_certificate(struct survey *v)
{
	struct certificate_facts facts;
	struct text why = TEXT_UP_TO(1024);
	struct span file = net_certificate_file(v);
	int fd = open_certificate(file);

	if (fd < 0 || certificate_check(fd, -1, v->hostname, &facts, &why) < 0) {
		finding_add(&v->f, FINDING_PROBLEM, "certificate", "%.*s cannot be used%s%s",
			SPAN_ARG(file), why.len ? ": " : "", text_str(&why));
		finding_advise(&v->f, "`valija check` tells more");
	} else if (!facts.names_host) {
		finding_add(&v->f, FINDING_PROBLEM, "certificate", "the certificate is not for %s but for %s",
			v->hostname, facts.names);
		finding_advise(&v->f, "Get one for %s; clients refuse this one", v->hostname);
	} else if (facts.days_left < 0 || facts.not_yet) {
		finding_add(&v->f, FINDING_PROBLEM, "certificate", "the certificate %s",
			facts.not_yet ? "is not valid yet" : "has expired");
		finding_advise(&v->f, "Renew it; is the clock right?");
	} else if (facts.days_left < WARN_DAYS) {
		finding_add(&v->f, FINDING_WARNING, "certificate", "the certificate for %s ends in %d days",
			v->hostname, facts.days_left);
		finding_advise(&v->f, "Renew it");
	} else {
		finding_add(&v->f, FINDING_OK, "certificate", "the certificate is for %s and good for %d days",
			v->hostname, facts.days_left);
	}
	if (fd >= 0)
		close(fd);
	text_clear(&why);
}

/* The first certificate of a PEM file, or NULL; `last`: the last. */
static gnutls_x509_crt_t
read_certificate(int fd, bool last)
{
	unsigned char *pem = must_alloc(MOST_CERTIFICATE_FILE);
	ssize_t n = fd < 0 ? -1 : pread(fd, pem, MOST_CERTIFICATE_FILE, 0);
	gnutls_datum_t data = { pem, n > 0 ? (unsigned int)n : 0 };
	gnutls_x509_crt_t *list = NULL, found = NULL;
	unsigned int count = 0;

	if (n > 0 && gnutls_x509_crt_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM, 0) >= 0) {
		for (unsigned int i = 0; i < count; i++)
			if (i == (last ? count - 1 : 0))
				found = list[i];
			else
				gnutls_x509_crt_deinit(list[i]);
		gnutls_free(list);
	}
	free(pem);
	return found;
}

/* An authority that nobody knows signs as well as any, but its word has to be carried to every client. */
static void
judge_authority(struct survey *v)
{
	struct text path = TEXT_UP_TO(4096);
	gnutls_x509_crt_t authority, last;
	int fd, file = open_certificate(net_certificate_file(v));

	text_printf(&path, "%s/ca.crt", v->paths->tls);
	fd = open_certificate(text_span(&path));
	last = read_certificate(file, true);
	authority = read_certificate(fd, false);
	if (authority && last && gnutls_x509_crt_check_issuer(last, authority) == 1) {
		finding_add(&v->f, FINDING_OK, "authority",
			"the certificate is signed by the authority of this server, which nobody else knows");
		finding_advise(&v->f,
			"Mail programs must be told to trust %s; other mail servers do not mind. Or get a certificate from a public authority: valija-certificates(7)",
			text_str(&path));
	}
	if (authority)
		gnutls_x509_crt_deinit(authority);
	if (last)
		gnutls_x509_crt_deinit(last);
	if (fd >= 0)
		close(fd);
	if (file >= 0)
		close(file);
	text_clear(&path);
}

void
net_judge_names(struct survey *v)
{
	judge_helo(v);
	judge_certificate(v);
	judge_authority(v);
	if (!v->dns)
		return;
	judge_name(v);
	for (size_t i = 0; i < v->public_count; i++)
		judge_pointer(v, &v->publics[i]);
}
