/*
 * net-inbound - behind a router: does its public address lead here? As far as that can be told from inside.
 *
 * A connection to the router's own address comes back to a server inside only where the router lets it (hairpin).
 * Where it comes back, the port is forwarded, and who answers says whether to the right machine. Where it does not,
 * nothing follows: many routers forward for the outside alone.
 */
#include <stdio.h>
#include <string.h>

#include "master/net-probe.h"
#include "master/net-survey.h"

#define INBOUND_MILLISECONDS 3000

static bool
greets(enum service service)
{
	return service == SERVICE_SMTP || service == SERVICE_SUBMISSION || service == SERVICE_IMAP;
}

/* Tries all ports of one address. */
static void
try_all(const struct survey *v, const char *address, bool inside, struct probe *probes)
{
	for (size_t i = 0; i < v->forward_count; i++) {
		const struct forward *f = &v->forwards[i];

		probe_begin(&probes[i], address, address, inside ? f->inside : f->outside, greets(f->service));
	}
	probes_run(probes, v->forward_count, INBOUND_MILLISECONDS, false);
	for (size_t i = 0; i < v->forward_count; i++)
		probe_end(&probes[i]);
}

/* Who greets otherwise than the server inside is another one. */
static bool
is_other(const struct probe *seen, const struct probe *own)
{
	return seen->waits_for_greeting && seen->greeting[0] && own->greeting[0] &&
		strcmp(seen->greeting, own->greeting) != 0;
}

static bool
answers(const struct probe *p)
{
	return p->connected && (!p->waits_for_greeting || p->greeting[0]);
}

struct tally {
	struct text good, bad, other;
	size_t good_count, own_count;
};

static void
count(const struct survey *v, const struct probe *own, const struct probe *seen, struct tally *t)
{
	for (size_t i = 0; i < v->forward_count; i++) {
		struct text *to = is_other(&seen[i], &own[i]) ? &t->other : answers(&seen[i]) ? &t->good : &t->bad;

		t->own_count += answers(&own[i]);
		t->good_count += to == &t->good;
		text_printf(to, "%s%u", to->len ? ", " : "", v->forwards[i].outside);
		if (to == &t->other)
			text_printf(to, " (\"%s\")", seen[i].greeting);
	}
}

static void
judge(struct survey *v, const char *public, const char *server, struct tally *t)
{
	if (t->own_count == 0) {
		finding_add(&v->f, FINDING_OK, "inbound",
			"whether %s leads here cannot be told: nobody answers at %s", public, server);
		finding_advise(&v->f, "Start Valija, and look again");
	} else if (t->other.len) {
		finding_add(&v->f, FINDING_PROBLEM, "inbound", "at %s somebody else answers at %s", public,
			text_str(&t->other));
		finding_advise(&v->f, "The router forwards these ports to another machine, or answers itself: forward them to %s",
			server);
	} else if (t->good_count == v->forward_count) {
		finding_add(&v->f, FINDING_OK, "inbound",
			"this server answers at %s, ports %s, also from inside (hairpin)", public, text_str(&t->good));
	} else if (t->good_count) {
		finding_add(&v->f, FINDING_WARNING, "inbound", "at %s this server answers at %s, but not at %s", public,
			text_str(&t->good), text_str(&t->bad));
		finding_advise(&v->f, "Forward these ports too, to %s", server);
	} else {
		finding_add(&v->f, FINDING_OK, "inbound",
			"whether %s leads here cannot be told from inside: the router does not let those inside use it (no hairpin), or forwards nothing",
			public);
		finding_advise(&v->f,
			"Try it from outside (a telephone without the wireless network): openssl s_client -connect %s:993. For mail programs inside, let the router's name server answer for %s with %s",
			v->hostname, v->hostname, server);
	}
}

void
net_judge_inbound(struct survey *v)
{
	struct probe own[MOST_PROBES], seen[MOST_PROBES];
	struct tally t = { .good = TEXT_UP_TO(256), .bad = TEXT_UP_TO(256), .other = TEXT_UP_TO(4096) };
	const char *public = NULL;
	char server[MOST_ADDRESS_TEXT];

	for (size_t i = 0; i < v->public_count && !public; i++)
		if (v->publics[i].family == 4)
			public = v->publics[i].name;
	if (!v->translated || v->shared || !v->server || !public || v->forward_count == 0)
		return;
	netstate_address_name(4, v->server->at, server);
	try_all(v, server, true, own);
	try_all(v, public, false, seen);
	count(v, own, seen, &t);
	judge(v, public, server, &t);
	text_clear(&t.good);
	text_clear(&t.bad);
	text_clear(&t.other);
}
