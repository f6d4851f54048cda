/*
 * checks - see checks.h.
 */
#include "smtpd/checks.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/access.h"
#include "common/block-list.h"
#include "common/dns-ask.h"
#include "common/log.h"
#include "common/network.h"
#include "common/ourselves.h"
#include "common/solicitation.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"
#include "smtpd/told.h"
#include "smtpd/transaction.h"

#define MOST_ZONE_NAME (DNS_REVERSE_ROOM + MOST_HOST)

/* One DNS list that is asked about the client. */
struct zone {
	struct checks *checks;
	struct dns_question *question;
	struct span name;          /* a copy: settings may change */
	bool allows;
};

/* Is there such a domain, and may it send? */
enum standing { STANDING_UNKNOWN, STANDING_GOOD, STANDING_NONE, STANDING_NULL_MX };

/* A domain whose MX, A and AAAA are asked for, one after the other. */
struct domain {
	struct checks *checks;
	struct dns_question *question;
	char *name;
	bool asked_ipv6;
	enum standing standing;
};

struct checks {
	struct session *session;
	struct event late;
	unsigned int pending;
	bool out_of_time;
	/* The client's name. */
	struct dns_question *reverse, *forward;
	char *candidates[CHECKS_MOST_NAMES];
	size_t candidate, candidate_count;
	bool named, name_is_known;
	struct zone zone[CHECKS_MOST_ZONES];
	size_t zones;
	char *listed;              /* the zone that lists the client */
	bool allowed;
	struct domain sender, helo;
};

bool
checks_apply(const struct session *s)
{
	return s->service == SERVICE_SMTP && !s->login &&
		!networks_trust(&s->server->daemon.settings->policy_exempt, s->ip);
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
	return s->server->daemon.settings->greylist && checks_apply(s) && !checks_spare(s, to) &&
		!(s->mail && s->mail->permitted) && !(s->checks && s->checks->allowed);
}

/* --- waiting --- */

bool
checks_wait(const struct session *s)
{
	return s->checks && s->checks->pending > 0 && !s->checks->out_of_time && !s->login;
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct checks *c = arg;

	(void)fd;
	(void)what;
	c->out_of_time = true;
	log_info(c->session->id, "names-unknown", KEY_STR("ip", c->session->ip),
		KEY_NUM("pending", c->pending), KEY_STR("reason", "no answer in time"));
	session_wake(c->session);
}

/* One more answer is awaited. */
static void
await(struct checks *c)
{
	struct timeval wait = { .tv_sec = CHECKS_SECONDS };

	if (c->pending++ > 0)
		return;
	c->out_of_time = false;
	event_add(&c->late, &wait);
}

static void
arrived(struct checks *c)
{
	if (--c->pending > 0)
		return;
	event_del(&c->late);
	session_wake(c->session);
}

static struct dns_question *
ask(struct checks *c, enum dns_type type, struct span name, dns_heard *heard, void *arg)
{
	await(c);
	return dns_ask(&c->session->server->daemon, (uint16_t)type, name, false, heard, arg);
}

/* --- the name of the client: what its address is said to be called, when that has this address --- */

static bool
address_of(const char *ip, unsigned char at[16], size_t *len)
{
	*len = 4;
	if (inet_pton(AF_INET, ip, at) == 1)
		return true;
	*len = 16;
	return inet_pton(AF_INET6, ip, at) == 1;
}

static void ask_forward(struct checks *c);

static void
on_forward(void *arg, const struct dns_answer *answer)
{
	struct checks *c = arg;
	struct span left = answer->answers, found;
	unsigned char at[16];
	size_t len;

	c->forward = NULL;
	address_of(c->session->ip, at, &len);
	while (answer->outcome == DNS_FOUND && dns_take_record(&left, &found))
		if (span_equal(found, span_of(at, len)))
			c->named = true;
	if (!c->named && ++c->candidate < c->candidate_count)
		ask_forward(c);
	else
		c->name_is_known = true;
	arrived(c);
}

static void
ask_forward(struct checks *c)
{
	enum dns_type type = strchr(c->session->ip, ':') ? DNS_AAAA : DNS_A;

	c->forward = ask(c, type, span_str(c->candidates[c->candidate]), on_forward, c);
}

/* A name that may stand in a Received field. */
static bool
is_host(struct span name)
{
	struct span domain;
	bool literal;

	return address_take_domain(&name, false, &domain, &literal) && name.len == 0 && !literal;
}

static void
on_reverse(void *arg, const struct dns_answer *answer)
{
	struct checks *c = arg;
	struct span left = answer->answers, name;

	c->reverse = NULL;
	while (answer->outcome == DNS_FOUND && c->candidate_count < CHECKS_MOST_NAMES &&
		dns_take_name(&left, &name))
		if (is_host(name))
			c->candidates[c->candidate_count++] = must_copy(name);
	if (c->candidate_count > 0)
		ask_forward(c);
	else
		c->name_is_known = answer->outcome != DNS_LATER;
	arrived(c);
}

static void
ask_name(struct checks *c)
{
	unsigned char at[16];
	char name[DNS_REVERSE_ROOM];
	size_t len;

	if (address_of(c->session->ip, at, &len) &&
		dns_reverse(span_of(at, len), NULL, name, sizeof(name)))
		c->reverse = ask(c, DNS_PTR, span_str(name), on_reverse, c);
}

const char *
checks_name(const struct session *s, bool *looked_up)
{
	const struct checks *c = s->checks;

	*looked_up = c && c->name_is_known;
	return c && c->named ? c->candidates[c->candidate] : NULL;
}

/* --- lists of addresses in DNS --- */

/* Every entry of the option that names this zone has a say in what its answers mean. */
static bool
counts(const struct list *entries, struct span zone, const unsigned char answer[4])
{
	struct block_list entry;

	for (size_t i = 0; i < entries->count; i++)
		if (block_list_parse(entries->at[i], &entry) && span_equal_nocase(entry.zone, zone) &&
			block_list_counts(&entry, answer))
			return true;
	return false;
}

static void
on_zone(void *arg, const struct dns_answer *answer)
{
	struct zone *z = arg;
	struct checks *c = z->checks;
	const struct settings *settings = c->session->server->daemon.settings;
	const struct list *entries = z->allows ? &settings->dns_allow_lists : &settings->dns_block_lists;
	struct span left = answer->answers, found;
	bool listed = false;

	z->question = NULL;
	while (answer->outcome == DNS_FOUND && dns_take_record(&left, &found))
		if (found.len == 4 && counts(entries, z->name, found.at))
			listed = true;
	if (listed)
		log_info(c->session->id, z->allows ? "allow-listed" : "block-listed",
			KEY_STR("ip", c->session->ip), KEY_SPAN("zone", z->name));
	if (listed && z->allows)
		c->allowed = true;
	else if (listed && !c->listed)
		c->listed = must_copy(z->name);
	arrived(c);
}

static bool
is_asked(const struct checks *c, struct span zone, bool allows)
{
	for (size_t i = 0; i < c->zones; i++)
		if (c->zone[i].allows == allows && span_equal_nocase(c->zone[i].name, zone))
			return true;
	return false;
}

static void
ask_zones(struct checks *c, const struct list *entries, bool allows)
{
	struct block_list entry;
	unsigned char at[16];
	char name[MOST_ZONE_NAME], *zone;
	size_t len;

	if (!address_of(c->session->ip, at, &len))
		return;
	for (size_t i = 0; i < entries->count && c->zones < CHECKS_MOST_ZONES; i++) {
		struct zone *z = &c->zone[c->zones];

		if (!block_list_parse(entries->at[i], &entry) || is_asked(c, entry.zone, allows))
			continue;
		zone = must_copy(entry.zone);
		if (dns_reverse(span_of(at, len), zone, name, sizeof(name)) && strlen(name) <= MOST_HOST) {
			*z = (struct zone){ .checks = c, .name = span_str(zone), .allows = allows };
			c->zones++;
			z->question = ask(c, DNS_A, span_str(name), on_zone, z);
		} else {
			free(zone);
		}
	}
}

/* --- does a domain exist? (RFC 5321 5.1, RFC 7505) --- */

static void
on_domain_address(void *arg, const struct dns_answer *answer)
{
	struct domain *d = arg;
	struct checks *c = d->checks;

	d->question = NULL;
	if (answer->outcome == DNS_FOUND)
		d->standing = STANDING_GOOD;
	else if (answer->outcome == DNS_NXDOMAIN)
		d->standing = STANDING_NONE;
	else if (answer->outcome != DNS_NODATA)
		d->standing = STANDING_UNKNOWN;
	else if (!d->asked_ipv6) {
		d->asked_ipv6 = true;
		d->question = ask(c, DNS_AAAA, span_str(d->name), on_domain_address, d);
	} else {
		d->standing = STANDING_NONE;
	}
	arrived(c);
}

static void
on_domain_mx(void *arg, const struct dns_answer *answer)
{
	struct domain *d = arg;
	struct checks *c = d->checks;
	struct span left = answer->answers, name;
	uint16_t preference;

	d->question = NULL;
	if (answer->outcome == DNS_FOUND && dns_take_mx(&left, &preference, &name))
		d->standing = name.len > 0 ? STANDING_GOOD : STANDING_NULL_MX;
	else if (answer->outcome == DNS_NXDOMAIN)
		d->standing = STANDING_NONE;
	else if (answer->outcome == DNS_NODATA) {
		d->question = ask(c, DNS_A, span_str(d->name), on_domain_address, d);
	}
	arrived(c);
}

static void
ask_domain(struct checks *c, struct domain *d, struct span name)
{
	/* The same again: the answer is known, or on its way. */
	if (d->name && span_equal_nocase(span_str(d->name), name))
		return;
	if (d->question) {
		dns_cancel(&d->question);
		arrived(c);
	}
	free(d->name);
	*d = (struct domain){ .checks = c, .name = must_copy(name) };
	d->question = ask(c, DNS_MX, name, on_domain_mx, d);
}

static bool
wants(const struct session *s, const char *helo_check)
{
	const struct list *l = &s->server->daemon.settings->helo_checks;

	for (size_t i = 0; i < l->count; i++)
		if (span_equal(l->at[i], span_str(helo_check)))
			return true;
	return false;
}

/* --- begin and end --- */

/* A trusted proxy knows better than DNS. */
static void
take_told_name(struct checks *c, const struct told *told)
{
	const char *name = told_value(told, TOLD_NAME);

	c->name_is_known = told->of[TOLD_NAME].how != TOLD_TEMPUNAVAIL;
	c->named = name != NULL;
	if (name)
		c->candidates[c->candidate_count++] = must_copy(span_str(name));
}

void
checks_begin(struct session *s, const struct told *told)
{
	const struct settings *settings = s->server->daemon.settings;
	bool named = told && told->of[TOLD_NAME].how != TOLD_NOT;
	struct checks *c;

	if (!named && !checks_apply(s))
		return;
	c = must_alloc(sizeof(*c));
	c->session = s;
	s->checks = c;
	event_assign(&c->late, s->server->daemon.base, -1, 0, on_late, c);
	if (named)
		take_told_name(c, told);
	else if (settings->reverse_dns)
		ask_name(c);
	if (!checks_apply(s))
		return;
	ask_zones(c, &settings->dns_block_lists, false);
	ask_zones(c, &settings->dns_allow_lists, true);
}

void
checks_sender(struct session *s, const struct envelope_sender *sender)
{
	const struct settings *settings = s->server->daemon.settings;
	struct checks *c = s->checks;
	struct span helo = span_str(s->helo);

	if (!c || !checks_apply(s))
		return;
	if (settings->sender_domain_check && !sender->null && !sender->address.literal &&
		!settings_is_local_domain(settings, sender->address.domain))
		ask_domain(c, &c->sender, sender->address.domain);
	if (wants(s, "known") && is_host(helo))
		ask_domain(c, &c->helo, helo);
}

void
checks_free(struct checks **checks)
{
	struct checks *c = *checks;

	*checks = NULL;
	if (!c)
		return;
	event_del(&c->late);
	dns_cancel(&c->reverse);
	dns_cancel(&c->forward);
	dns_cancel(&c->sender.question);
	dns_cancel(&c->helo.question);
	for (size_t i = 0; i < c->zones; i++) {
		dns_cancel(&c->zone[i].question);
		free((void *)(uintptr_t)c->zone[i].name.at);
	}
	for (size_t i = 0; i < c->candidate_count; i++)
		free(c->candidates[i]);
	free(c->sender.name);
	free(c->helo.name);
	free(c->listed);
	free(c);
}

/* --- the tests for strangers --- */

static bool
is_literal_of(struct span helo, const char *ip)
{
	if (!span_take(&helo, '[') || helo.len == 0 || helo.at[helo.len - 1] != ']')
		return false;
	helo.len--;
	span_take_word(&helo, SPAN("IPv6:"));
	return span_equal_nocase(helo, span_str(ip));
}

/* The client says that it is we. */
static bool
claims_to_be_us(const struct session *s, struct span helo)
{
	const struct settings *settings = s->server->daemon.settings;

	return span_equal_nocase(helo, settings->hostname) || settings_is_local_domain(settings, helo) ||
		(ourselves_have_literal(helo) && !ourselves_have(span_str(s->ip)));
}

static const struct refusal *
judge_helo(const struct session *s)
{
	static const struct refusal ours = { 550, "5.7.1", "you say EHLO with our name" };
	static const struct refusal literal = {
		550, "5.7.1", "the address that you say EHLO with is not yours"
	};
	static const struct refusal short_name = { 550, "5.5.2", "EHLO needs your full name" };
	static const struct refusal unknown = { 550, "5.7.1", "the name that you say EHLO with does not exist" };
	struct span helo = span_str(s->helo);

	if (wants(s, "own") && claims_to_be_us(s, helo))
		return &ours;
	if (wants(s, "literal") && helo.at[0] == '[' && !is_literal_of(helo, s->ip))
		return &literal;
	if (wants(s, "full") && helo.at[0] != '[' && !span_has(helo, '.'))
		return &short_name;
	if (wants(s, "known") && s->checks && s->checks->helo.standing == STANDING_NONE)
		return &unknown;
	return NULL;
}

static const struct refusal *
judge_sender(const struct session *s)
{
	static const struct refusal none = { 550, "5.1.8", "the domain of the sender does not exist" };
	static const struct refusal null_mx = { 550, "5.7.27", "the domain of the sender has no mail" };
	static const struct refusal many = { 452, "4.5.3", "a message without sender is for one recipient" };
	uint64_t most = s->server->daemon.settings->null_sender_recipients;

	if (!s->mail->sender[0])
		return most > 0 && s->mail->asked >= most ? &many : NULL;
	if (!s->checks || s->checks->sender.standing == STANDING_UNKNOWN ||
		s->checks->sender.standing == STANDING_GOOD)
		return NULL;
	return s->checks->sender.standing == STANDING_NONE ? &none : &null_mx;
}

static bool
judge_stranger(const struct session *s, struct verdict *v)
{
	const struct refusal *no = judge_helo(s);
	char words[MOST_REASON];

	if (!no)
		no = judge_sender(s);
	if (no) {
		verdict_set(v, no->code, no->status, no->reason);
		return false;
	}
	if (s->checks && s->checks->listed && !s->checks->allowed) {
		snprintf(words, sizeof(words), "your address %s is listed by %s", s->ip, s->checks->listed);
		verdict_set(v, 550, "5.7.1", words);
		return false;
	}
	return true;
}

/* --- the administrator's rules --- */

enum about { ABOUT_CLIENT, ABOUT_HELO, ABOUT_SENDER, ABOUT_RECIPIENT };

static bool
fits(const struct session *s, enum about about, struct span pattern, struct span recipient)
{
	bool looked_up;

	switch (about) {
	case ABOUT_CLIENT:
		return access_fits_client(pattern, s->ip, checks_name(s, &looked_up));
	case ABOUT_HELO:
		return access_fits_host(pattern, span_str(s->helo));
	case ABOUT_SENDER:
		return access_fits_address(pattern, span_str(s->mail->sender));
	case ABOUT_RECIPIENT:
		break;
	}
	return access_fits_address(pattern, recipient);
}

/* The first rule that fits counts. */
static bool
find_rule(const struct session *s, enum about about, struct span recipient, struct access_rule *rule)
{
	const struct settings *settings = s->server->daemon.settings;
	const struct list *lists[] = { &settings->access_client, &settings->access_helo,
		&settings->access_sender, &settings->access_recipient };
	static const enum access_kind kinds[] = { ACCESS_CLIENT, ACCESS_HOST, ACCESS_ADDRESS, ACCESS_ADDRESS };
	const char *why;

	for (size_t i = 0; i < lists[about]->count; i++)
		if (access_parse(lists[about]->at[i], kinds[about], rule, &why) &&
			fits(s, about, rule->pattern, recipient))
			return true;
	return false;
}

static void
log_rule(const struct session *s, enum about about, const struct access_rule *rule, struct span recipient)
{
	static const char *const names[] = { "client", "helo", "sender", "recipient" };

	log_info(s->id, "access", KEY_STR("ip", s->ip), KEY_STR("about", names[about]),
		KEY_STR("action", access_action_name(rule->action)), KEY_SPAN("pattern", rule->pattern),
		KEY_SPAN("text", rule->text), KEY_STR("helo", s->helo), KEY_STR("from", s->mail->sender),
		KEY_SPAN("to", recipient));
}

static void
say(struct verdict *v, unsigned int code, const char *status, struct span text, const char *otherwise)
{
	char words[MOST_ACCESS_TEXT + 1];

	if (text.len == 0 || !span_copy(text, words, sizeof(words)))
		verdict_set(v, code, status, otherwise);
	else
		verdict_set(v, code, status, words);
}

static void
redirect(struct envelope_recipient *to, struct span address, struct span original)
{
	struct text orcpt = TEXT_UP_TO(MOST_ORCPT);
	struct span in = address;

	/* RFC 3461 5.2.1: who was meant first. */
	text_add_str(&orcpt, "rfc822;");
	text_add(&orcpt, original);
	if (!to->orcpt[0] && span_is_printable(original))
		span_copy(text_span(&orcpt), to->orcpt, sizeof(to->orcpt));
	text_clear(&orcpt);
	address_take_mailbox(&in, false, &to->address);
}

/* Applies one rule. False: it decides alone, *result is what it says. */
static bool
apply_rule(struct session *s, const struct access_rule *rule, struct envelope_recipient *to,
	struct span recipient, struct verdict *v, enum judgement *result)
{
	switch (rule->action) {
	case ACCESS_PERMIT:
		s->mail->permitted = true;
		return false;
	case ACCESS_REJECT:
		say(v, 550, "5.7.1", rule->text, "refused by the rules of this server");
		*result = JUDGED_REFUSED;
		return false;
	case ACCESS_DEFER:
		say(v, 450, "4.7.1", rule->text, "put off by the rules of this server, try again later");
		*result = JUDGED_REFUSED;
		return false;
	case ACCESS_DISCARD:
		*result = JUDGED_DISCARDED;
		return false;
	case ACCESS_HOLD:
		if (!s->mail->hold)
			s->mail->hold = must_copy(rule->text.len > 0 ? rule->text : SPAN("access rule"));
		return true;
	case ACCESS_REDIRECT:
		redirect(to, rule->text, recipient);
		*result = JUDGED_REDIRECTED;
		return true;
	case ACCESS_WARN:
	default:
		return true;
	}
}

/* False: the rules have decided. */
static bool
judge_by_rules(struct session *s, struct envelope_recipient *to, struct verdict *v, enum judgement *result)
{
	struct text recipient = TEXT_UP_TO(MOST_ADDRESS);
	struct access_rule rule;
	bool goes_on = true;

	envelope_address_put(&recipient, &to->address);
	for (enum about about = ABOUT_CLIENT; goes_on && about <= ABOUT_RECIPIENT; about++) {
		if (!find_rule(s, about, text_span(&recipient), &rule))
			continue;
		log_rule(s, about, &rule, text_span(&recipient));
		goes_on = apply_rule(s, &rule, to, text_span(&recipient), v, result);
	}
	text_clear(&recipient);
	return goes_on;
}

bool
checks_refuse_solicitation(const struct session *s, struct span said, struct verdict *v)
{
	struct span class = solicitation_find(said, &s->server->daemon.settings->no_soliciting);
	char words[MOST_REASON + 1];

	if (class.len == 0)
		return false;
	/* RFC 3865 2.4: the class that matched, as we call it. */
	snprintf(words, sizeof(words), "no solicitations of this class, please: SOLICIT=%.*s", SPAN_ARG(class));
	verdict_set(v, 550, "5.7.1", words);
	return true;
}

enum judgement
checks_judge(struct session *s, struct envelope_recipient *to, struct verdict *v)
{
	enum judgement result = JUDGED_GOOD;

	s->mail->permitted = false;
	if (s->service == SERVICE_LMTP || s->service == SERVICE_LOCAL || checks_spare(s, &to->address))
		return JUDGED_GOOD;
	if (!judge_by_rules(s, to, v, &result))
		return result;
	if (checks_apply(s) && !judge_stranger(s, v))
		return JUDGED_REFUSED;
	if (checks_refuse_solicitation(s, span_str(s->mail->solicit), v))
		return JUDGED_REFUSED;
	s->mail->unsolicited = true;
	return result;
}
