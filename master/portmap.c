/*
 * portmap - asks the router to forward the ports that this server needs (PCP, RFC 6887; NAT-PMP, RFC 6886).
 *   started      only with port_mapping, behind a router: an administrator wants it so
 *   inherits     channels to master and log
 *   keeps        nothing: _portmap, an empty root, sockets of IPv4
 *   may be lied to by    the router, and whoever in the LAN plays it. May lie to: master, about what is
 *                forwarded, which is shown and logged, and about the public address, which goes to address_hook
 *   while away   mappings stay at the router for MAPPING_SECONDS at most
 *
 * One request at a time, for each port; all again at half of the life that the router gave. At a stop the mappings are
 * released. A router that does not know PCP is asked by NAT-PMP: first for its public address, which PCP tells with
 * each port. pcp.h makes and reads the packets of the one, libnatpmp those of the other.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <errno.h>
#include <event2/event.h>
#define ENABLE_STRNATPMPERR
#include <natpmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"
#include "master/pcp.h"

/* Asked for. RFC 6886 3.3 recommends 7200, but routers that restart forget all, and one that does not know yet that
 * our address has changed keeps the ports for the old one until then. */
#define MAPPING_SECONDS 600
#define LEAST_SECONDS	60 /* between two rounds, whatever the router says */
#define RETRY_SECONDS	60 /* after a round that failed */
#define SETTLE_SECONDS	1    /* after an address or route changed */
#define REPEATS		4    /* of one request: 250 ms, 500 ms, 1 s, 1 s (RFC 6886 3.1 goes on for a minute) */
#define PCP_REPEATS	2
#define PCP_SECONDS	3 /* RFC 6887 8.1.1 */

struct mapping {
	enum service service;
	uint16_t outside, inside;
	bool wanted;
	bool refused; /* and told so: the same again is no news */
	uint32_t seconds; /* that the router gave; 0: not mapped */
	unsigned char nonce[PCP_NONCE];
};

/* What the router speaks, as far as it has shown. */
enum speech { SPEECH_UNKNOWN, SPEECH_PCP, SPEECH_NAT_PMP };

/* The ports that the world may need, in the order of asking. */
static const enum service services[] = { SERVICE_SMTP, SERVICE_SUBMISSIONS, SERVICE_SUBMISSION,
	SERVICE_IMAPS, SERVICE_IMAP };

#define MAPPINGS (sizeof services / sizeof services[0])

static struct portmap {
	struct daemon daemon;
	char gateway[MOST_IP + 1]; /* "" : none */
	struct mapping mappings[MAPPINGS];
	enum speech speech;
	bool by_pcp;   /* the request that is under way; else by NAT-PMP */
	natpmp_t natpmp;
	bool open;     /* natpmp is */
	int pcp;       /* the socket for PCP, connected to the router; -1: none */
	unsigned char client[4]; /* its address at our end */
	uint32_t epoch;
	struct event *readable, *clock;
	size_t at;      /* which request is under way: 0 the address, then mappings[at - 1] */
	bool asking;    /* an answer is awaited */
	bool giving_up; /* what is under way is a release */
	bool leaving;   /* everything is released, then it is over */
	unsigned int tries;
	char public[MOST_IP + 1];
	bool failed;   /* something in this round */
	bool silent;   /* the router does not answer, and that was told */
} me = { .pcp = -1 };

static void ask(void);
static void begin(void);

/* --- what master hears --- */

static void
tell(const struct mapping *m, const char *fault)
{
	send_portmap_told(me.daemon.master, 0,
		&(struct msg_portmap_told){ .service = (uint8_t)m->service,
			.outside = m->outside,
			.inside = m->inside,
			.seconds = m->seconds,
			.address = span_str(me.public),
			.protocol = span_str(me.by_pcp ? "PCP" : "NAT-PMP"),
			.fault = span_str(fault) },
		NULL);
}

/* --- requests --- */

static void
set_clock(unsigned int seconds, unsigned int microseconds)
{
	struct timeval when = { seconds, (suseconds_t)microseconds };

	event_add(me.clock, &when);
}

static void
shut(void)
{
	if (me.readable)
		event_free(me.readable);
	me.readable = NULL;
	if (me.open)
		closenatpmp(&me.natpmp);
	if (me.pcp >= 0)
		close(me.pcp);
	me.pcp = -1;
	me.open = me.asking = false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg);

/* Connected, so that nobody but the router is heard; and the kernel knows with which address of ours. */
static bool
open_pcp(struct in_addr gateway)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PCP_PORT), .sin_addr = gateway }, own;
	socklen_t len = sizeof own;

	me.pcp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (me.pcp < 0 || connect(me.pcp, (const struct sockaddr *)&to, sizeof to) < 0 ||
		getsockname(me.pcp, (struct sockaddr *)&own, &len) < 0)
		return false;
	memcpy(me.client, &own.sin_addr, sizeof me.client);
	return true;
}

static bool
open_router(void)
{
	struct in_addr gateway;

	shut();
	if (inet_pton(AF_INET, me.gateway, &gateway) != 1)
		return false;
	me.by_pcp = me.speech != SPEECH_NAT_PMP;
	if (me.by_pcp ? !open_pcp(gateway) : initnatpmp(&me.natpmp, 1, gateway.s_addr) < 0) {
		log_error(0, "port-mapping", KEY_STR("router", me.gateway), KEY_ERRNO);
		shut();
		return false;
	}
	me.open = !me.by_pcp;
	me.readable = event_new(me.daemon.base, me.by_pcp ? me.pcp : me.natpmp.s, EV_READ | EV_PERSIST,
		on_readable, NULL);
	if (me.readable)
		event_add(me.readable, NULL);
	return me.readable != NULL;
}

/* The round is over: the next comes at half of the shortest life. */
static void
rest(void)
{
	uint32_t least = MAPPING_SECONDS;

	for (size_t i = 0; i < MAPPINGS; i++)
		if (me.mappings[i].seconds && me.mappings[i].seconds < least)
			least = me.mappings[i].seconds;
	shut();
	if (me.leaving) {
		daemon_exit(&me.daemon);
		return;
	}
	least /= 2;
	set_clock(me.failed ? RETRY_SECONDS : least < LEAST_SECONDS ? LEAST_SECONDS : least, 0);
}

static void
next(void)
{
	me.asking = false;
	me.at++;
	ask();
}

static const char *
name_of(const struct mapping *m)
{
	return m ? service_name(m->service) : "address";
}

static void
fail(const char *why)
{
	struct mapping *m = me.at > 0 ? &me.mappings[me.at - 1] : NULL;
	bool *told = m ? &m->refused : &me.silent;

	if (me.giving_up) {
		/* It ends by itself. */
		m->seconds = 0;
		next();
		return;
	}
	if (!*told)
		log_warning(0, "port-mapping-refused", KEY_STR("router", me.gateway),
			KEY_STR("for", name_of(m)), KEY_STR("reason", why));
	*told = true;
	me.failed = true;
	if (m) {
		m->seconds = 0;
		tell(m, why);
		next();
		return;
	}
	/* Who does not even tell his address, or is silent, maps nothing. */
	for (size_t i = 0; i < MAPPINGS; i++) {
		me.mappings[i].seconds = 0;
		if (me.mappings[i].wanted)
			tell(&me.mappings[i], why);
	}
	rest();
}

/* Nobody is there: the other ports would be asked for in vain. */
static void
unanswered(void)
{
	me.speech = SPEECH_UNKNOWN;
	if (me.giving_up) {
		me.at = MAPPINGS;
		next();
		return;
	}
	me.at = 0;
	fail("no answer");
}

static void
send_pcp(void)
{
	const struct mapping *m = &me.mappings[me.at - 1];
	unsigned char packet[PCP_REQUEST];
	struct pcp_request r = { .inside = m->inside, .outside = m->outside,
		.seconds = me.giving_up ? 0 : MAPPING_SECONDS };
	size_t len;

	memcpy(r.nonce, m->nonce, sizeof r.nonce);
	memcpy(r.client, me.client, sizeof r.client);
	len = pcp_request_put(&r, packet);
	/* What cannot be sent is as if it were lost: nobody listens, or the link is down. */
	if (send(me.pcp, packet, len, 0) < 0)
		log_debug(0, "pcp-unsent", KEY_ERRNO);
	set_clock(PCP_SECONDS, 0);
}

static void
send_request(bool release)
{
	struct mapping *m = me.at > 0 ? &me.mappings[me.at - 1] : NULL;
	int sent;

	me.giving_up = release;
	if (me.by_pcp) {
		me.asking = true;
		me.tries = 0;
		send_pcp();
		return;
	}
	if (!m)
		sent = sendpublicaddressrequest(&me.natpmp);
	else
		sent = sendnewportmappingrequest(&me.natpmp, NATPMP_PROTOCOL_TCP, m->inside,
			release ? 0 : m->outside, release ? 0 : MAPPING_SECONDS);
	if (sent < 0) {
		fail(strnatpmperr(sent));
		return;
	}
	me.asking = true;
	me.tries = 0;
	set_clock(0, 250000);
}

static void
ask(void)
{
	for (; me.at <= MAPPINGS; me.at++) {
		const struct mapping *m = me.at > 0 ? &me.mappings[me.at - 1] : NULL;

		if (!m && me.by_pcp)
			continue;
		if ((!m || m->wanted) && !me.leaving) {
			send_request(false);
			return;
		}
		if (m && m->seconds) {
			send_request(true);
			return;
		}
	}
	rest();
}

static void
begin(void)
{
	me.at = 0;
	me.failed = false;
	if (me.gateway[0] != '\0' && open_router())
		ask();
	else if (me.leaving)
		daemon_exit(&me.daemon);
	else if (me.gateway[0] != '\0')
		set_clock(RETRY_SECONDS, 0);
	/* else the next route begins anew */
}

/* --- answers --- */

static void
note_public(const void *address)
{
	char now[MOST_IP + 1] = "";

	inet_ntop(AF_INET, address, now, sizeof now);
	if (strcmp(now, me.public) != 0)
		log_notice(0, "public-address", KEY_STR("router", me.gateway), KEY_STR("old", me.public),
			KEY_STR("new", now));
	span_copy(span_str(now), me.public, sizeof me.public);
	me.silent = false;
}

static void
on_address(const natpmpresp_t *answer)
{
	note_public(&answer->pnu.publicaddress.addr);
	next();
}

/* The world looks for a service at its own port, and nowhere else: the one that was given is given back. */
static void
refuse_other_port(struct mapping *m)
{
	static const char why[] = "the router gives another port; perhaps another machine, or our former address, has it";

	if (!m->refused)
		log_warning(0, "port-mapping-refused", KEY_STR("router", me.gateway),
			KEY_STR("for", name_of(m)), KEY_STR("reason", why));
	m->refused = me.failed = true;
	m->seconds = 0;
	tell(m, why);
	send_request(true);
}

static void
on_mapping(uint16_t outside, uint32_t seconds)
{
	struct mapping *m = &me.mappings[me.at - 1];
	bool news = m->seconds == 0;

	if (me.giving_up) {
		log_info(0, "port-released", KEY_STR("service", service_name(m->service)),
			KEY_NUM("outside", m->outside));
		m->seconds = 0;
		next();
		return;
	}
	if (outside != m->outside) {
		refuse_other_port(m);
		return;
	}
	m->seconds = seconds;
	m->refused = false;
	if (news)
		log_notice(0, "port-mapped", KEY_STR("service", service_name(m->service)),
			KEY_NUM("outside", m->outside), KEY_NUM("inside", m->inside),
			KEY_NUM("seconds", m->seconds), KEY_STR("router", me.gateway),
			KEY_STR("by", me.by_pcp ? "PCP" : "NAT-PMP"));
	tell(m, "");
	next();
}

/* The answer to what was asked last; not one to an earlier request, which was repeated. */
static bool
is_awaited(const natpmpresp_t *answer)
{
	if (me.at == 0)
		return answer->type == NATPMP_RESPTYPE_PUBLICADDRESS;
	return answer->type == NATPMP_RESPTYPE_TCPPORTMAPPING &&
		answer->pnu.newportmapping.privateport == me.mappings[me.at - 1].inside;
}

static void
take_answer(bool timeout)
{
	natpmpresp_t answer;
	int got = readnatpmpresponseorretry(&me.natpmp, &answer);

	if (got >= 0 && got != NATPMP_TRYAGAIN && !is_awaited(&answer)) {
		/* The library takes any answer for the one that it waits for. */
		me.natpmp.has_pending_request = 1;
		got = NATPMP_TRYAGAIN;
	}

	if (got == NATPMP_TRYAGAIN) {
		if (timeout && ++me.tries >= REPEATS)
			unanswered();
		else if (timeout)
			set_clock(0, 250000u << me.tries > 999999 ? 999999 : 250000u << me.tries);
		return;
	}
	event_del(me.clock);
	if (got < 0)
		fail(strnatpmperr(got));
	else if (me.at == 0 && answer.type == NATPMP_RESPTYPE_PUBLICADDRESS)
		on_address(&answer);
	else if (me.at > 0 && answer.type == NATPMP_RESPTYPE_TCPPORTMAPPING)
		on_mapping(answer.pnu.newportmapping.mappedpublicport, answer.pnu.newportmapping.lifetime);
}

/* It does not know PCP; so it may know NAT-PMP. */
static void
go_on_by_nat_pmp(void)
{
	me.speech = SPEECH_NAT_PMP;
	event_del(me.clock);
	begin();
}

static void
on_pcp_answer(const struct pcp_answer *a)
{
	struct mapping *m = &me.mappings[me.at - 1];
	static const unsigned char none[4];

	/* Of an earlier request, or of somebody who guesses. */
	if (a->inside != m->inside || memcmp(a->nonce, m->nonce, sizeof m->nonce) != 0)
		return;
	event_del(me.clock);
	me.speech = SPEECH_PCP;
	/* It has forgotten what it had mapped, also earlier in this round (RFC 6887 8.5). */
	if (a->epoch < me.epoch) {
		log_notice(0, "router-restarted", KEY_STR("router", me.gateway));
		me.failed = true;
	}
	me.epoch = a->epoch;
	if (a->result) {
		fail(pcp_result_text(a->result));
		return;
	}
	if (!me.giving_up && memcmp(a->address, none, sizeof none) != 0)
		note_public(a->address);
	on_mapping(a->outside, a->seconds);
}

static void
take_pcp(void)
{
	unsigned char packet[PCP_MOST_ANSWER + 1];
	struct pcp_answer answer;
	ssize_t n;

	/* An error here is an ICMP message: nobody listens. The clock decides. */
	while (me.asking && me.pcp >= 0 && (n = recv(me.pcp, packet, sizeof packet, MSG_DONTWAIT)) >= 0) {
		switch (pcp_answer_take(span_of(packet, (size_t)n), &answer)) {
		case PCP_ANSWER:
			on_pcp_answer(&answer);
			break;
		case PCP_OTHER_VERSION:
			/* One that has spoken PCP does not forget it: somebody would like us to. */
			if (me.speech == SPEECH_UNKNOWN)
				go_on_by_nat_pmp();
			break;
		case PCP_NONSENSE:
			break;
		}
	}
}

static void
pcp_late(void)
{
	if (++me.tries < PCP_REPEATS)
		send_pcp();
	else if (me.speech == SPEECH_UNKNOWN)
		go_on_by_nat_pmp();
	else
		unanswered();
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (me.asking && me.by_pcp)
		take_pcp();
	else if (me.asking)
		take_answer(false);
}

static void
on_clock(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (me.asking && me.by_pcp)
		pcp_late();
	else if (me.asking)
		take_answer(true);
	else
		begin();
}

/* --- life --- */

static bool
offers(enum service service)
{
	const struct settings *s = me.daemon.settings;

	for (size_t i = 0; i < s->services.count; i++)
		if (span_equal(s->services.at[i], span_str(service_name(service))))
			return true;
	return false;
}

/* Those that are offered; 143 only where there is no 993. What is mapped and not wanted any more is released in
 * the next round. */
static void
settings_changed(void *arg, const struct settings *old)
{
	(void)arg;
	(void)old;
	for (size_t i = 0; i < MAPPINGS; i++) {
		struct mapping *m = &me.mappings[i];

		m->service = services[i];
		m->outside = service_port(services[i]);
		m->inside = (uint16_t)(m->outside + me.daemon.settings->port_base);
		m->wanted = me.daemon.settings->port_mapping && offers(services[i]) &&
			(services[i] != SERVICE_IMAP || !offers(SERVICE_IMAPS));
	}
	if (!me.asking && !me.leaving)
		set_clock(SETTLE_SECONDS, 0);
}

static void
address_changed(void *arg, const struct msg_address_changed *m)
{
	struct span first = span_part(m->gateways, 0, span_index(m->gateways, ','));

	(void)arg;
	if (m->family != 4)
		return;
	if (m->route && !span_equal(first, span_str(me.gateway)))
		me.speech = SPEECH_UNKNOWN, me.epoch = 0;
	if (m->route && !span_copy(first, me.gateway, sizeof me.gateway))
		me.gateway[0] = '\0';
	/* Another router, or another address of ours: all is asked for anew. */
	for (size_t i = 0; i < MAPPINGS; i++)
		me.mappings[i].seconds = 0;
	if (me.leaving || !me.clock)
		return;
	shut();
	set_clock(SETTLE_SECONDS, 0);
}

static bool
prepare(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < MAPPINGS; i++)
		secret_random(me.mappings[i].nonce, PCP_NONCE);
	me.clock = evtimer_new(me.daemon.base, on_clock, NULL);
	return me.clock != NULL;
}

static void
leave(void *arg, unsigned int seconds)
{
	(void)arg;
	(void)seconds;
	me.leaving = true;
	event_del(me.clock);
	begin();
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	(void)arg;
	*connections = 0;
	*served = 0;
	for (size_t i = 0; i < MAPPINGS; i++)
		*connections += me.mappings[i].seconds > 0;
}

static const int syscalls[] = { -1 };

static const struct room portmap_room = {
	.name = "portmap",
	.chrooted = true,
	.files = false,
	.internet = true,
	.syscalls = syscalls,
	.most_descriptors = 64,
};
static const struct peer_kind peers[] = { { 0, NULL } };
static const struct daemon_kind kind = {
	.program = PROGRAM_PORTMAP, .room = &portmap_room, .peers = peers, .prepare = prepare,
	.settings_changed = settings_changed, .address_changed = address_changed, .leave = leave,
	.load = load,
};

int
main(void)
{
	return daemon_run(&me.daemon, &kind, &me);
}
