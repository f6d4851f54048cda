/* relay-route - see relay.h. */
#include "relay.h"

#include "common/ourselves.h"
#include "common/secret.h"
#include "common/server-address.h"
#include "own-address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_MX 1000                 /* looked at */
#define LMTP_PORT 24

#define V_NO_DOMAIN VERDICT_IS(NEVER, 550, "5.1.2", "the domain does not exist")
#define V_NULL_MX VERDICT_IS(NEVER, 556, "5.1.10", "the domain does not accept mail (null MX)")
#define V_NO_ADDRESS VERDICT_IS(NEVER, 550, "5.4.4", "the domain has no mail server and no address")
#define V_LOOP VERDICT_IS(NEVER, 554, "5.4.6", "mail for this domain leads back to this server")
#define V_DNS_LATER VERDICT_IS(LATER, 451, "4.4.3", "name servers do not answer")
#define V_DNS_BOGUS                                                                                \
	VERDICT_IS(LATER, 451, "4.7.5", "the answer of the name servers is forged or broken (DNSSEC)")
#define V_TLSA_LATER VERDICT_IS(LATER, 451, "4.7.5", "TLSA records of the server cannot be looked up")
#define V_NOT_IN_POLICY                                                                            \
	VERDICT_IS(LATER, 451, "4.7.5", "the domain's policy (MTA-STS) does not name this server")
#define V_FAMILY_OFF                                                                               \
	VERDICT_IS(LATER, 451, "4.4.1", "the server has only addresses of a family that mail is not sent by (relay_source_ipv4, _ipv6)")
#define V_NO_TLSA VERDICT_IS(LATER, 451, "4.7.5", "the server has no TLSA records that DNSSEC proves")

static struct verdict
of_dns(enum dns_outcome outcome)
{
	return outcome == DNS_BOGUS ? V_DNS_BOGUS : V_DNS_LATER;
}

/* --- names and addresses --- */

bool
route_is_own_name(const struct relay *r, struct span name)
{
	return span_equal_nocase(name, r->daemon.settings->hostname) ||
		span_equal_nocase(name, SPAN("localhost")) ||
		span_equal_nocase(name, SPAN("localhost.localdomain"));
}

/* Also where the world reaches us by a router, whose address this machine does not have. */
static bool
is_ourselves(const struct sockaddr_storage *a)
{
	char text[INET6_ADDRSTRLEN];

	address_text(a, text, sizeof(text));
	return address_is_loopback(a) || address_is_ours(a) || ourselves_have(span_str(text));
}

const char *
route_address_refused(const struct relay *r, const struct sockaddr_storage *a, uint16_t port)
{
	const struct settings *s = r->daemon.settings;

	if (address_is_nobodys(a))
		return "is nobody's";
	if (s->relay_loopback && port != service_port(SERVICE_SMTP) + s->port_base &&
		(address_is_loopback(a) || address_is_ours(a)))
		return NULL;
	if (is_ourselves(a))
		return "is this server's own";
	return NULL;
}

/* --- which servers --- */

static struct server *
add_server(struct job *j, struct span name, uint16_t preference)
{
	struct server *s = &j->server[j->servers++];

	memset(s, 0, sizeof(*s));
	span_copy(name, s->name, sizeof(s->name));
	s->preference = preference;
	return s;
}

static int
by_preference(const void *one, const void *other)
{
	const struct server *a = one, *b = other;

	if (a->preference != b->preference)
		return a->preference < b->preference ? -1 : 1;
	return a->chance < b->chance ? -1 : a->chance > b->chance;
}

/* RFC 5321 5.1: in order of preference, equals in random order; none that is as far as we are, or
 * farther, where we are one of them. */
static void
use_mx(struct job *j, struct span answers)
{
	struct server *all = must_alloc(MOST_MX * sizeof(*all));
	uint32_t ours = UINT32_MAX;
	size_t count = 0, null = 0;
	uint16_t preference;
	struct span name;

	while (count < MOST_MX && dns_take_mx(&answers, &preference, &name)) {
		if (name.len == 0) {
			null++;
			continue;
		}
		if (route_is_own_name(j->relay, name)) {
			ours = preference < ours ? preference : ours;
			continue;
		}
		span_copy(name, all[count].name, sizeof(all[count].name));
		all[count].preference = preference;
		secret_random(&all[count].chance, sizeof(all[count].chance));
		count++;
	}
	qsort(all, count, sizeof(*all), by_preference);
	j->servers = 0;
	for (size_t i = 0; i < count && j->servers < MOST_SERVERS && all[i].preference < ours; i++)
		j->server[j->servers++] = all[i];
	free(all);
	if (j->servers > 0)
		job_routed(j);
	else if (ours != UINT32_MAX)
		job_end_all(j, V_LOOP, "");
	else if (null > 0 && count == 0)
		job_end_all(j, V_NULL_MX, "");
	else
		job_end_all(j, V_DNS_LATER, "");
}

static void
on_mx(void *arg, const struct dns_answer *a)
{
	struct job *j = arg;

	j->ask[0] = NULL;
	j->mx_secure = a->secure;
	switch (a->outcome) {
	case DNS_FOUND:
		use_mx(j, a->answers);
		break;
	case DNS_NODATA:
		/* The domain itself, if it has an address. */
		if (route_is_own_name(j->relay, a->canonical)) {
			job_end_all(j, V_LOOP, "");
			break;
		}
		add_server(j, a->canonical, 0);
		job_note_fault(j, V_NO_ADDRESS);
		job_routed(j);
		break;
	case DNS_NXDOMAIN:
		job_end_all(j, V_NO_DOMAIN, "");
		break;
	default:
		job_end_all(j, of_dns(a->outcome), "");
	}
}

/* "192.0.2.1", or "IPv6:2001:db8::1" as SMTP writes it. */
static bool
literal_address(struct span text, struct sockaddr_storage *to)
{
	char ip[INET6_ADDRSTRLEN];

	memset(to, 0, sizeof(*to));
	span_take_word(&text, SPAN("IPv6:"));
	if (!span_copy(text, ip, sizeof(ip)))
		return false;
	if (inet_pton(AF_INET, ip, &((struct sockaddr_in *)(void *)to)->sin_addr) == 1)
		to->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, ip, &((struct sockaddr_in6 *)(void *)to)->sin6_addr) == 1)
		to->ss_family = AF_INET6;
	return to->ss_family != 0;
}

/* A configured server: its address, or a name whose address is asked for. */
static void
use_host(struct job *j)
{
	uint16_t port = j->way == WAY_LMTP ? LMTP_PORT : (uint16_t)j->relay->daemon.settings->relay_port;
	struct server_address a;
	struct span host;

	if (!server_address_read(span_str(j->next_hop), port, &a)) {
		job_end_all(j, V_MISCONFIGURED, "");
		return;
	}
	j->port = a.port;
	j->mx_secure = true;
	host = a.host;
	if (a.literal && span_has(host, '%'))
		host.len = span_index(host, '%');
	add_server(j, host, 0)->literal = a.literal;
	job_routed(j);
}

void
route_begin(struct job *j)
{
	struct span hop = span_str(j->next_hop), inside;

	j->port = (uint16_t)j->relay->daemon.settings->relay_port;
	j->servers = j->current = 0;
	if (socket_is_wanted(j)) {
		j->mx_secure = true;
		add_server(j, hop, 0)->literal = true;
		job_routed(j);
		return;
	}
	if (j->way != WAY_MX) {
		use_host(j);
		return;
	}
	if (span_take(&hop, '[')) {
		struct sockaddr_storage a;
		char ip[INET6_ADDRSTRLEN];

		inside = span_part(hop, 0, span_index(hop, ']'));
		if (!literal_address(inside, &a)) {
			job_end_all(j, V_BAD_LITERAL, "");
			return;
		}
		address_text(&a, ip, sizeof(ip));
		add_server(j, span_str(ip), 0)->literal = true;
		job_routed(j);
		return;
	}
	if (route_is_own_name(j->relay, hop)) {
		job_end_all(j, V_LOOP, "");
		return;
	}
	j->ask[0] = dns_ask(&j->relay->daemon, DNS_MX, hop, false, on_mx, j);
}

/* --- where one server is --- */

static void ask_tlsa(struct job *j, bool of_base);

static void
located(struct job *j)
{
	struct server_addresses *all = &j->addresses;
	size_t good = 0;
	const char *why = NULL;

	for (size_t i = 0; i < all->count; i++) {
		const char *refused = j->way == WAY_MX
			? route_address_refused(j->relay, &all->at[i], j->port) : NULL;

		if (refused != NULL) {
			why = refused;
			continue;
		}
		all->len[good] = all->len[i];
		all->at[good++] = all->at[i];
	}
	all->count = good;
	/* RFC 8461 2: where DANE has its say, that is all; 4.1: else the policy names the servers. */
	if (good > 0 && !j->dane && !sts_allows(j, &j->server[j->current])) {
		log_notice(j->session, "sts-server-not-named", KEY_ID("message", j->message),
			KEY_STR("domain", j->next_hop), KEY_STR("host", j->server[j->current].name),
			KEY_STR("mode", j->sts == STS_ENFORCE ? "enforce" : "testing"));
		sts_report(j, "", "", SPAN("validation-failure"), SPAN("the policy does not name this server"));
		if (j->sts == STS_ENFORCE) {
			job_next_server(j, V_NOT_IN_POLICY, HEALTH_GOOD);
			return;
		}
	}
	if (good > 0) {
		job_located(j);
	} else if (why != NULL) {
		/* Whoever is as far as this server, or farther, is behind us. */
		log_notice(j->session, "server-refused", KEY_ID("message", j->message),
			KEY_STR("host", j->server[j->current].name),
			KEY_STR("reason", why));
		j->servers = j->current + 1;
		job_next_server(j, V_LOOP, HEALTH_GOOD);
	} else {
		job_next_server(j, V_NO_ADDRESS, HEALTH_GOOD);
	}
}

static void
add_tlsa(struct job *j, struct span answers)
{
	struct text packed = TEXT_UP_TO(sizeof(j->tlsa));
	uint8_t usage, selector, matching;
	struct span data;

	while (dns_take_tlsa(&answers, &usage, &selector, &matching, &data)) {
		uint16_t len = (uint16_t)data.len;

		if (packed.len + 5 + data.len > packed.most)
			break;
		text_add_byte(&packed, usage);
		text_add_byte(&packed, selector);
		text_add_byte(&packed, matching);
		text_add(&packed, span_of(&len, sizeof(len)));
		text_add(&packed, data);
	}
	memcpy(j->tlsa, packed.at, packed.len);
	j->tlsa_len = packed.len;
	j->dane = packed.len > 0;
	text_clear(&packed);
}

static void
on_tlsa(void *arg, const struct dns_answer *a)
{
	struct job *j = arg;
	struct server *s = &j->server[j->current];

	j->ask[0] = NULL;
	if (a->outcome == DNS_FOUND && a->secure) {
		add_tlsa(j, a->answers);
	} else if (a->outcome == DNS_LATER || a->outcome == DNS_BOGUS) {
		/* RFC 7672 2.2: not to be used then, or whoever can suppress an answer suppresses DANE. */
		job_next_server(j, V_TLSA_LATER, HEALTH_GOOD);
		return;
	} else if (s->base[0] != '\0' && strcmp(s->base, s->name) != 0) {
		s->base[0] = '\0';       /* RFC 7672 2.2.2: then by the name before the aliases */
		ask_tlsa(j, false);
		return;
	}
	if (j->policy.wanted == WANT_DANE_ONLY && !j->dane)
		job_next_server(j, V_NO_TLSA, HEALTH_GOOD);
	else
		located(j);
}

static void
ask_tlsa(struct job *j, bool of_base)
{
	struct server *s = &j->server[j->current];
	struct text name = TEXT_UP_TO(MOST_DNS_NAME);

	text_printf(&name, "_%u._tcp.%s", j->port, of_base && s->base[0] != '\0' ? s->base : s->name);
	j->ask[0] = dns_ask(&j->relay->daemon, DNS_TLSA, text_span(&name), false, on_tlsa, j);
	text_clear(&name);
}

static bool
dane_is_wanted(const struct job *j)
{
	return j->policy.wanted == WANT_DANE || j->policy.wanted == WANT_DANE_ONLY;
}

/* What is behind us is reached as it can be reached. */
static bool
family_is_used(const struct job *j, sa_family_t family)
{
	const struct settings *s = j->relay->daemon.settings;

	return j->way == WAY_LMTP ||
		!span_equal(family == AF_INET ? s->relay_source_ipv4 : s->relay_source_ipv6, SPAN("none"));
}

/* IPv6 and IPv4 by turns (RFC 8305 4), each in the order of the answer. */
static void
interleave(struct server_addresses *all, size_t six)
{
	struct server_addresses old = *all;
	size_t a = 0, b = six, n = 0;

	while (a < six || b < old.count) {
		if (a < six) {
			all->len[n] = old.len[a];
			all->at[n++] = old.at[a++];
		}
		if (b < old.count) {
			all->len[n] = old.len[b];
			all->at[n++] = old.at[b++];
		}
	}
}

/* The addresses of both families are here, or will not come. */
static void
addresses_known(struct job *j, size_t six)
{
	interleave(&j->addresses, six);
	if (j->addresses.count == 0)
		job_next_server(j, j->other_family ? V_FAMILY_OFF : j->fault.outcome != 0 ? j->fault : V_NO_ADDRESS,
			HEALTH_GOOD);
	else if (dane_is_wanted(j) && j->mx_secure && j->addresses_secure)
		ask_tlsa(j, true);
	else if (j->policy.wanted == WANT_DANE_ONLY)
		job_next_server(j, V_NO_TLSA, HEALTH_GOOD);
	else
		located(j);
}

static void
take_addresses(struct job *j, const struct dns_answer *a, size_t most)
{
	struct server *s = &j->server[j->current];
	struct span answers = a->answers;
	struct server_addresses *all = &j->addresses;

	if (a->outcome == DNS_FOUND) {
		j->addresses_secure &= a->secure;
		span_copy(a->canonical, s->base, sizeof(s->base));
		while (all->count < most &&
			dns_take_address(&answers, &all->at[all->count], &all->len[all->count])) {
			bool used = family_is_used(j, all->at[all->count].ss_family);

			all->count += used;
			j->other_family |= !used;
		}
	} else if (a->outcome == DNS_LATER || a->outcome == DNS_BOGUS) {
		j->addresses_secure = false;
		job_note_fault(j, of_dns(a->outcome));
	}
}

static void
on_ipv4(void *arg, const struct dns_answer *a)
{
	struct job *j = arg;
	size_t six = j->addresses.count;

	j->ask[1] = NULL;
	take_addresses(j, a, MOST_SERVER_ADDRESSES);
	addresses_known(j, six);
}

static void
on_ipv6(void *arg, const struct dns_answer *a)
{
	struct job *j = arg;

	j->ask[0] = NULL;
	take_addresses(j, a, MOST_SERVER_ADDRESSES / 2);
	j->ask[1] = dns_ask(&j->relay->daemon, DNS_A, span_str(j->server[j->current].name),
		j->way != WAY_MX, on_ipv4, j);
}

void
route_locate(struct job *j)
{
	struct server *s = &j->server[j->current];

	j->addresses.count = 0;
	j->addresses_secure = true;
	j->other_family = false;
	j->dane = false;
	j->tlsa_len = 0;
	if (socket_is_wanted(j)) {
		job_located(j);
		return;
	}
	if (!s->literal) {
		j->ask[0] = dns_ask(&j->relay->daemon, DNS_AAAA, span_str(s->name),
			j->way != WAY_MX, on_ipv6, j);
		return;
	}
	if (!literal_address(span_str(s->name), &j->addresses.at[0])) {
		job_next_server(j, V_BAD_LITERAL, HEALTH_GOOD);
		return;
	}
	if (!family_is_used(j, j->addresses.at[0].ss_family)) {
		job_next_server(j, V_FAMILY_OFF, HEALTH_GOOD);
		return;
	}
	j->addresses.len[0] = j->addresses.at[0].ss_family == AF_INET ? sizeof(struct sockaddr_in)
								       : sizeof(struct sockaddr_in6);
	j->addresses.count = 1;
	if (j->policy.wanted == WANT_DANE_ONLY)
		job_next_server(j, V_NO_TLSA, HEALTH_GOOD);
	else
		located(j);
}

void
route_cancel(struct job *j)
{
	dns_cancel(&j->ask[0]);
	dns_cancel(&j->ask[1]);
}
