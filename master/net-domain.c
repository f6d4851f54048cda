/*
 * net-domain - the records of a domain: what stands there, and whether it is right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dkim-entry.h"
#include "master/net-records.h"
#include "tlsproxy/dkim-make.h"

#define MOST_OWNER (MOST_DNS_NAME + 1)

/* A question about PREFIX.DOMAIN. */
static const struct lookup *
ask(const struct survey *v, const char *prefix, const char *domain, enum dns_type type)
{
	char name[MOST_OWNER + 64];

	snprintf(name, sizeof name, "%s%s", prefix, domain);
	return lookup(v->dns, name, type);
}

static const struct {
	const char *prefix;
	enum service service; /* SERVICE_COUNT: none of ours */
} srv[] = {
	{ "_submissions._tcp.", SERVICE_SUBMISSIONS },
	{ "_submission._tcp.", SERVICE_SUBMISSION },
	{ "_imaps._tcp.", SERVICE_IMAPS },
	{ "_imap._tcp.", SERVICE_IMAP },
};

#define SRV_COUNT (sizeof srv / sizeof srv[0])

/* The host behind the preference of an MX answer. */
static const char *
mx_host(const char *answer)
{
	const char *blank = strchr(answer, ' ');

	return blank ? blank + 1 : answer;
}

static void
ask_dkim(const struct survey *v, const char *domain)
{
	char name[MOST_DNS_NAME + 1];
	int there = 0;

	for (size_t i = 0; i < MOST_DKIM_KEYS && there >= 0; i++) {
		struct text record = TEXT_UP_TO(MOST_DKIM_PEM);

		there = net_dkim_record(v, domain, i, name, &record);
		if (there >= 0)
			lookup(v->dns, name, DNS_TXT);
		text_clear(&record);
	}
}

void
net_ask_domain(struct survey *v, const char *domain)
{
	const struct lookup *mx = lookup(v->dns, domain, DNS_MX);

	lookup(v->dns, domain, DNS_TXT);
	lookup(v->dns, domain, DNS_A);
	ask_dkim(v, domain);
	ask(v, "_dmarc.", domain, DNS_TXT);
	ask(v, "_mta-sts.", domain, DNS_TXT);
	ask(v, "mta-sts.", domain, DNS_A);
	ask(v, "_smtp._tls.", domain, DNS_TXT);
	ask(v, "_25._tcp.", v->hostname, DNS_TLSA);
	lookup(v->dns, v->hostname, DNS_A);
	lookup(v->dns, v->hostname, DNS_AAAA);
	for (size_t i = 0; i < SRV_COUNT; i++)
		ask(v, srv[i].prefix, domain, DNS_SRV);
	for (size_t i = 0; i < mx->count; i++) {
		lookup(v->dns, mx_host(mx->answers[i]), DNS_A);
		lookup(v->dns, mx_host(mx->answers[i]), DNS_AAAA);
		lookup(v->dns, mx_host(mx->answers[i]), DNS_CNAME);
	}
}

/* --- MX --- */

/* Does this host lead here: by name, or by an address of ours? */
static bool
leads_here(const struct survey *v, const char *host)
{
	const enum dns_type types[] = { DNS_A, DNS_AAAA };
	uint8_t family, at[16];

	if (span_equal_nocase(span_str(host), span_str(v->hostname)))
		return true;
	for (size_t t = 0; t < 2; t++) {
		const struct lookup *q = lookup(v->dns, host, types[t]);

		for (size_t i = 0; i < q->count; i++)
			if (netstate_address_take(span_str(q->answers[i]), &family, at) &&
				net_is_ours(v, family, at))
				return true;
	}
	return false;
}

static void
judge_mx(struct survey *v, const char *domain)
{
	const struct lookup *mx = lookup(v->dns, domain, DNS_MX), *alias;
	size_t here = 0;

	for (size_t i = 0; i < mx->count; i++) {
		const char *host = mx_host(mx->answers[i]);

		here += leads_here(v, host);
		alias = lookup(v->dns, host, DNS_CNAME);
		if (alias->count) {
			finding_add(&v->f, FINDING_PROBLEM, "mx", "%s: MX %s is an alias (CNAME) of %s", domain,
				host, lookup_answers(alias));
			finding_advise(&v->f, "An MX record must name a host that has addresses itself (RFC 5321 5.1)");
		}
	}
	if (mx->count == 0) {
		finding_add(&v->f, FINDING_PROBLEM, "mx", "%s: no MX record", domain);
		finding_advise(&v->f, "%s. MX 10 %s.", domain, v->hostname);
	} else if (!here) {
		finding_add(&v->f, FINDING_PROBLEM, "mx", "%s: MX %s: its mail goes elsewhere", domain,
			lookup_answers(mx));
		finding_advise(&v->f, "%s. MX 10 %s.", domain, v->hostname);
	} else if (here < mx->count) {
		finding_add(&v->f, FINDING_WARNING, "mx", "%s: MX %s: some of its mail goes elsewhere", domain,
			lookup_answers(mx));
		finding_advise(&v->f,
			"Right only where the others are yours and hand over to %s", v->hostname);
	} else {
		finding_add(&v->f, FINDING_OK, "mx", "%s: MX %s", domain, lookup_answers(mx));
	}
}

/* --- text records --- */

/* The one answer that begins with `word`; *count tells how many do. */
static const char *
text_record(const struct lookup *q, struct span word, size_t *count)
{
	const char *found = NULL;

	*count = 0;
	for (size_t i = 0; i < q->count; i++) {
		struct span s = span_str(q->answers[i]);

		if (!span_starts_nocase(s, word) ||
			(s.len > word.len && s.at[word.len] != ' ' && s.at[word.len] != ';'))
			continue;
		found = q->answers[i];
		++*count;
	}
	return found;
}

enum permits { PERMITS_NO, PERMITS_MAYBE, PERMITS_YES };

/* Does "192.0.2.0/24" hold the address? */
static bool
network_holds(struct span network, uint8_t family, const uint8_t *at)
{
	struct span address = span_part(network, 0, span_index(network, '/')),
		    length = span_part(network, address.len + 1, network.len);
	uint64_t bits = family == 4 ? 32 : 128;
	uint8_t net_family, net_at[16];

	if (!netstate_address_take(address, &net_family, net_at) || net_family != family)
		return false;
	if (length.len && (!span_take_number(&length, bits, &bits) || length.len))
		return false;
	for (uint64_t i = 0; i < bits; i++)
		if (((net_at[i / 8] ^ at[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

static bool
host_has(const struct survey *v, const char *host, const struct public_address *p)
{
	return lookup_has(lookup(v->dns, host, p->family == 4 ? DNS_A : DNS_AAAA), p->name);
}

/* The part of SPF that can be told without asking further: enough to know that it is right, not always
 * that it is wrong. */
static enum permits
spf_permits(const struct survey *v, const char *domain, struct span record, const struct public_address *p)
{
	const struct lookup *mx = lookup(v->dns, domain, DNS_MX);
	enum permits result = PERMITS_NO;
	struct span word;
	char host[MOST_OWNER];

	for (bool more = true; more;) {
		more = span_take_until(&record, ' ', &word);
		if (!more)
			word = record;
		span_take(&word, '+');
		if (span_take_word(&word, SPAN("ip4:")) || span_take_word(&word, SPAN("ip6:"))) {
			if (network_holds(word, p->family, p->at))
				return PERMITS_YES;
		} else if (span_equal_nocase(word, SPAN("all"))) {
			return PERMITS_YES;
		} else if (span_equal_nocase(word, SPAN("mx"))) {
			for (size_t i = 0; i < mx->count; i++)
				if (host_has(v, mx_host(mx->answers[i]), p))
					return PERMITS_YES;
		} else if (span_equal_nocase(word, SPAN("a"))) {
			if (host_has(v, domain, p))
				return PERMITS_YES;
		} else if (span_take_word(&word, SPAN("a:"))) {
			if (span_copy(word, host, sizeof host) &&
				span_equal_nocase(word, span_str(v->hostname)) && host_has(v, host, p))
				return PERMITS_YES;
			result = PERMITS_MAYBE;
		} else if (span_starts_nocase(word, SPAN("include:")) ||
			span_starts_nocase(word, SPAN("redirect=")) ||
			span_starts_nocase(word, SPAN("exists:")) ||
			span_starts_nocase(word, SPAN("mx:")) || span_starts_nocase(word, SPAN("a/")) ||
			span_starts_nocase(word, SPAN("mx/")) || span_starts_nocase(word, SPAN("ptr"))) {
			result = PERMITS_MAYBE;
		}
	}
	return result;
}

static void
judge_spf(struct survey *v, const char *domain)
{
	size_t count;
	const char *record = text_record(lookup(v->dns, domain, DNS_TXT), SPAN("v=spf1"), &count);
	enum permits least = PERMITS_YES;
	const char *which = "";

	if (count == 0) {
		finding_add(&v->f, FINDING_PROBLEM, "spf", "%s: no SPF record: large providers refuse its mail", domain);
		finding_advise(&v->f, "%s. TXT \"v=spf1 mx -all\"", domain);
		return;
	}
	if (count > 1) {
		finding_add(&v->f, FINDING_PROBLEM, "spf", "%s: %zu SPF records: none of them counts (RFC 7208 4.5)",
			domain, count);
		finding_advise(&v->f, "Keep one");
		return;
	}
	for (size_t i = 0; i < v->public_count; i++) {
		enum permits one = spf_permits(v, domain, span_str(record), &v->publics[i]);

		if (one < least) {
			least = one;
			which = v->publics[i].name;
		}
	}
	if (v->s->relayhost.len) {
		finding_add(&v->f, FINDING_OK, "spf", "%s: \"%s\"; it must permit the servers of the relay host too", domain,
			record);
		finding_advise(&v->f, "Its provider says how: mostly include:NAME, in this record");
	} else if (least == PERMITS_NO) {
		finding_add(&v->f, FINDING_PROBLEM, "spf", "%s: \"%s\" does not permit %s", domain, record, which);
		finding_advise(&v->f, "%s. TXT \"v=spf1 mx -all\"; or keep it when all mail goes by a relay host", domain);
	} else {
		finding_add(&v->f, FINDING_OK, "spf", "%s: \"%s\"%s", domain, record,
			least == PERMITS_MAYBE ? ", as far as can be told from here" : "");
	}
}

/* One key and its record. */
static void
judge_dkim_key(struct survey *v, const char *name, const char *wanted)
{
	const struct lookup *q = lookup(v->dns, name, DNS_TXT);

	if (wanted[0] == '\0') {
		finding_add(&v->f, FINDING_WARNING, "dkim", "%s: the key cannot be read", name);
		finding_advise(&v->f, "As root this can be compared; `valija check` tells what is wrong with dkim");
	} else if (lookup_has(q, wanted)) {
		finding_add(&v->f, FINDING_OK, "dkim", "%s: the record of the key that signs", name);
	} else {
		finding_add(&v->f, FINDING_PROBLEM, "dkim",
			q->count ? "%s: another key than the one that signs: others take the mail for forged"
				 : "%s: no record, and mail is signed by that key",
			name);
		finding_advise(&v->f, "%s. TXT \"%s\"", name, wanted);
	}
}

static void
judge_dkim(struct survey *v, const char *domain)
{
	char name[MOST_DNS_NAME + 1];
	int there = 0;

	for (size_t i = 0; i < MOST_DKIM_KEYS && there >= 0; i++) {
		struct text record = TEXT_UP_TO(MOST_DKIM_PEM);

		there = net_dkim_record(v, domain, i, name, &record);
		if (there >= 0) {
			judge_dkim_key(v, name, text_str(&record));
		} else if (i == 0) {
			finding_add(&v->f, FINDING_WARNING, "dkim", "%s: its mail is not signed", domain);
			finding_advise(&v->f, "valija cert dkim %s makes a key and tells what to do with it",
				domain);
		}
		text_clear(&record);
	}
}

/* A record that is well-formed when it has `needs`; missing is a warning. */
static void
judge_text(struct survey *v, const char *check, const char *prefix, const char *domain, struct span word,
	struct span needs, const char *wanted)
{
	size_t count;
	const char *record = text_record(ask(v, prefix, domain, DNS_TXT), word, &count);

	if (count == 1 && span_find(span_str(record), needs) < strlen(record)) {
		finding_add(&v->f, FINDING_OK, check, "%s: \"%s\"", domain, record);
		return;
	}
	if (count == 0)
		finding_add(&v->f, FINDING_WARNING, check, "%s: no record at %s%s", domain, prefix, domain);
	else if (count > 1)
		finding_add(&v->f, FINDING_PROBLEM, check, "%s: %zu records at %s%s: none of them counts", domain,
			count, prefix, domain);
	else
		finding_add(&v->f, FINDING_PROBLEM, check, "%s: \"%s\" at %s%s lacks %.*s", domain, record, prefix,
			domain, SPAN_ARG(needs));
	finding_advise(&v->f, "%s%s. TXT \"%s\"", prefix, domain, wanted);
}

static void
judge_texts(struct survey *v, const char *domain)
{
	char wanted[512], id[17];

	snprintf(wanted, sizeof wanted, "v=DMARC1; p=quarantine; rua=mailto:postmaster@%s", domain);
	judge_text(v, "dmarc", "_dmarc.", domain, SPAN("v=DMARC1"), SPAN("p="), wanted);
	net_sts_id(v, id);
	snprintf(wanted, sizeof wanted, "v=STSv1; id=%s", id);
	judge_text(v, "mta-sts", "_mta-sts.", domain, SPAN("v=STSv1"), SPAN("id="), wanted);
	snprintf(wanted, sizeof wanted, "v=TLSRPTv1; rua=mailto:postmaster@%s", domain);
	judge_text(v, "tls-rpt", "_smtp._tls.", domain, SPAN("v=TLSRPTv1"), SPAN("rua="), wanted);
}

/* --- TLSA, SRV --- */

static void
judge_tlsa(struct survey *v)
{
	const struct lookup *q = ask(v, "_25._tcp.", v->hostname, DNS_TLSA);
	char key[65], wanted[80];
	bool others = false;

	if (!net_certificate_key(v, key))
		return;
	snprintf(wanted, sizeof wanted, "3 1 1 %s", key);
	/* Other usages, selectors and matchings may be right too, which is not looked at. */
	for (size_t i = 0; i < q->count; i++)
		others = others || !span_starts_nocase(span_str(q->answers[i]), SPAN("3 1 1 "));
	if (lookup_has(q, wanted)) {
		finding_add(&v->f, FINDING_OK, "tlsa", "_25._tcp.%s: %s%s", v->hostname, wanted,
			q->secure ? "" : "; without DNSSEC, as far as can be told from here, nobody heeds it");
	} else if (q->count && !others) {
		finding_add(&v->f, FINDING_PROBLEM, "tlsa",
			"_25._tcp.%s: %s, and the certificate has another key: servers that check will not deliver",
			v->hostname, lookup_answers(q));
		finding_advise(&v->f, "_25._tcp.%s. TLSA %s", v->hostname, wanted);
	} else if (q->count) {
		finding_add(&v->f, FINDING_OK, "tlsa", "_25._tcp.%s: %s", v->hostname, lookup_answers(q));
	} else {
		finding_add(&v->f, FINDING_OK, "tlsa", "_25._tcp.%s: no record; one is of use only with DNSSEC",
			v->hostname);
		finding_advise(&v->f, "_25._tcp.%s. TLSA %s, once the zone is signed", v->hostname, wanted);
	}
}

static void
srv_wanted(const struct survey *v, size_t i, char wanted[MOST_OWNER + 32])
{
	snprintf(wanted, MOST_OWNER + 32, "0 0 0 .");
	for (size_t j = 0; j < v->forward_count; j++)
		if (v->forwards[j].service == srv[i].service)
			snprintf(wanted, MOST_OWNER + 32, "%d 1 %u %s", i % 2 ? 10 : 0,
				v->translated ? v->forwards[j].outside : v->forwards[j].inside, v->hostname);
}

/* Port and host of an answer "0 1 993 mail.example.org" are what counts. */
static const char *
srv_target(const char *answer)
{
	const char *at = answer;

	for (int i = 0; i < 2 && at; i++)
		at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL;
	return at ? at : "";
}

static void
judge_srv(struct survey *v, const char *domain)
{
	char wanted[MOST_OWNER + 32];
	bool good = true;

	for (size_t i = 0; i < SRV_COUNT; i++) {
		const struct lookup *q = ask(v, srv[i].prefix, domain, DNS_SRV);
		bool found = false;

		srv_wanted(v, i, wanted);
		for (size_t j = 0; j < q->count; j++)
			found = found ||
				span_equal_nocase(span_str(srv_target(q->answers[j])),
					span_str(srv_target(wanted)));
		if (found)
			continue;
		good = false;
		finding_add(&v->f, FINDING_WARNING, "srv", "%s: %s%s: %s", domain, srv[i].prefix, domain,
			q->count ? lookup_answers(q) : "no record");
		finding_advise(&v->f, "%s%s. SRV %s%s", srv[i].prefix, domain, wanted,
			strcmp(wanted, "0 0 0 .") ? "." : "");
	}
	if (good)
		finding_add(&v->f, FINDING_OK, "srv", "%s: mail programs find their way by SRV records", domain);
}

void
net_judge_domain(struct survey *v, const char *domain)
{
	if (lookup(v->dns, domain, DNS_MX)->outcome == DNS_LATER) {
		finding_add(&v->f, FINDING_PROBLEM, "mx", "%s: nobody answers for it in the DNS", domain);
		finding_advise(&v->f, "Are its name servers right, and up?");
		return;
	}
	judge_mx(v, domain);
	judge_spf(v, domain);
	judge_dkim(v, domain);
	judge_texts(v, domain);
	judge_srv(v, domain);
	judge_tlsa(v);
}
