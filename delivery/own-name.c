/*
 * own-name - see own-name.h.
 */
#include "own-name.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/daemon.h"
#include "common/dns-answer.h"
#include "common/text.h"
#include "dns-context.h"
#include "dns-packet.h"

#define LOOK_LEAST_SECONDS 60   /* between two looks, whatever the TTL says */
#define LOOK_MOST_SECONDS 3600
#define FAMILIES 2

struct part {
	struct own_name *own;
	enum dns_type type;
	bool asking;
	struct text found;      /* addresses, commas between */
};

struct own_name {
	struct daemon *daemon;
	struct dns_context *context;
	struct event *timer;
	char name[MOST_DNS_NAME + 1];
	struct part part[FAMILIES];
	struct dns_packet packet;
	uint32_t next;          /* seconds until the next look */
	struct text told;
	bool ever;
};

static void
sooner(struct own_name *o, uint32_t seconds)
{
	if (seconds < LOOK_LEAST_SECONDS)
		seconds = LOOK_LEAST_SECONDS;
	if (seconds < o->next)
		o->next = seconds;
}

static void
tell(struct own_name *o)
{
	struct text all = TEXT_UP_TO(MOST_PUBLIC_TEXT);

	for (size_t i = 0; i < FAMILIES; i++) {
		if (all.len > 0 && o->part[i].found.len > 0)
			text_add_byte(&all, ',');
		text_add(&all, text_span(&o->part[i].found));
	}
	if (!all.failed && (!o->ever || !span_equal(text_span(&all), text_span(&o->told)))) {
		o->ever = true;
		text_reset(&o->told);
		text_add(&o->told, text_span(&all));
		send_public_told(o->daemon->master, 0,
			&(struct msg_public_told){ .addresses = text_span(&all) }, NULL);
	}
	text_clear(&all);
}

static void
settle(struct own_name *o)
{
	struct timeval next = { .tv_sec = o->next };

	for (size_t i = 0; i < FAMILIES; i++)
		if (o->part[i].asking)
			return;
	tell(o);
	evtimer_add(o->timer, &next);
}

/* As many as fit: a name has few. */
static void
take(struct part *p, struct span answers)
{
	struct sockaddr_storage at;
	socklen_t len;
	char text[INET6_ADDRSTRLEN];

	text_reset(&p->found);
	while (dns_take_address(&answers, &at, &len)) {
		const void *bytes = at.ss_family == AF_INET
			? (const void *)&((struct sockaddr_in *)(void *)&at)->sin_addr
			: (const void *)&((struct sockaddr_in6 *)(void *)&at)->sin6_addr;

		if (inet_ntop(at.ss_family, bytes, text, sizeof(text)) == NULL ||
		    p->found.len + strlen(text) + 1 > MOST_PUBLIC_TEXT / FAMILIES)
			continue;
		text_add_str(&p->found, p->found.len > 0 ? "," : "");
		text_add_str(&p->found, text);
	}
}

/* What was known stays, when nobody answers, or somebody forges. */
static void
on_heard(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited)
{
	struct part *p = arg;
	struct own_name *o = p->own;
	const char *why = NULL;

	(void)why_bogus;
	(void)limited;
	p->asking = false;
	if (sec == 1 || (rcode != 0 && rcode != 3) || packet == NULL || len <= 0) {
		sooner(o, LOOK_LEAST_SECONDS);
	} else {
		dns_packet_read(span_of(packet, (size_t)len), span_str(o->name), (uint16_t)p->type, &o->packet, &why);
		if (why == NULL && o->packet.outcome == DNS_FOUND)
			take(p, text_span(&o->packet.answers));
		else if (why == NULL)
			text_reset(&p->found);
		sooner(o, why == NULL && o->packet.outcome == DNS_FOUND ? o->packet.ttl : LOOK_LEAST_SECONDS);
	}
	settle(o);
}

void
own_name_look(struct own_name *o)
{
	struct span name = o->daemon->settings->hostname;

	evtimer_del(o->timer);
	for (size_t i = 0; i < FAMILIES; i++)
		o->part[i].asking = false;
	if (!span_equal_nocase(name, span_str(o->name)))
		for (size_t i = 0; i < FAMILIES; i++)
			text_reset(&o->part[i].found);
	if (!span_has(name, '.') || !span_copy(name, o->name, sizeof(o->name))) {
		/* No name that the DNS could know: what it had for another says nothing any more. */
		o->name[0] = '\0';
		if (o->ever)
			tell(o);
		return;
	}
	if (!dns_context_ready(o->context))
		return;
	/* As dns_packet_read wants it. */
	for (char *c = o->name; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
	o->next = LOOK_MOST_SECONDS;
	for (size_t i = 0; i < FAMILIES; i++)
		o->part[i].asking = true;
	/* An answer may come before this returns. */
	for (size_t i = 0; i < FAMILIES; i++)
		if (!dns_context_ask(o->context, o->name, (uint16_t)o->part[i].type, on_heard, &o->part[i])) {
			o->part[i].asking = false;
			sooner(o, LOOK_LEAST_SECONDS);
			settle(o);
		}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	own_name_look(arg);
}

struct own_name *
own_name_new(struct daemon *d, struct dns_context *c)
{
	struct own_name *o = must_alloc(sizeof(*o));

	o->daemon = d;
	o->context = c;
	o->part[0] = (struct part){ .own = o, .type = DNS_A, .found = TEXT_UP_TO(MOST_PUBLIC_TEXT) };
	o->part[1] = (struct part){ .own = o, .type = DNS_AAAA, .found = TEXT_UP_TO(MOST_PUBLIC_TEXT) };
	o->told = TEXT_UP_TO(MOST_PUBLIC_TEXT);
	dns_packet_init(&o->packet);
	o->timer = evtimer_new(d->base, on_timer, o);
	if (o->timer != NULL)
		return o;
	free(o);
	return NULL;
}
