/* dns-context - see dns-context.h. */
#include "dns-context.h"

#include "common/log.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unbound-event.h>

#define CLASS_IN 1
#define TYPE_DNSKEY 48
#define SECURE 2
#define FIRST_TRIAL_SECONDS 60        /* until the next trial; doubled up to the longest */
#define LONGEST_TRIAL_SECONDS 3600
#define MOST_ANCHOR_LINE 4096

struct dns_context {
	struct event_base *base;
	void (*changed)(void *me);
	void *me;
	struct ub_ctx *now;            /* serves */
	struct ub_ctx *trial;          /* validates, not proved yet */
	struct event *step, *again;
	struct name_servers servers;
	enum dnssec mode;
	struct text anchors;
	char anchored[MOST_DNS_NAME + 1]; /* the name of the first anchor: what a trial asks for */
	bool proved, failed;           /* what came of the trial */
	bool warned;
	unsigned int wait;
};

/* The keys of the root (https://data.iana.org/root-anchors/), as of 2024. */
static const char *const root_anchors[] = {
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

/* What an administrator may well keep in a zone of his own, and libunbound would answer itself;
 * memory that fits a mail server; a name server of this machine is a name server. */
static const char *const options[][2] = {
	{ "unblock-lan-zones:", "yes" }, { "insecure-lan-zones:", "yes" },
	{ "do-not-query-localhost:", "no" }, { "msg-cache-size:", "8m" },
	{ "rrset-cache-size:", "16m" }, { "key-cache-size:", "2m" }, { "neg-cache-size:", "1m" },
	{ "infra-cache-numhosts:", "5000" }, { "edns-buffer-size:", "1232" },
	{ "num-queries-per-thread:", "2048" }, { "outgoing-range:", "512" },
	{ "prefetch:", "no" }, { "cache-max-negative-ttl:", "600" },
};
static const char *const unblocked[] = { "test.", "home.arpa.", "invalid." };

/* --- trust --- */

/* Adds one anchor; notes the name of the first. False: libunbound does not understand it. */
static bool
add_anchor(struct dns_context *c, struct ub_ctx *u, const char *line)
{
	size_t len = strcspn(line, " \t");

	if (ub_ctx_add_ta(u, line) != 0)
		return false;
	if (c->anchored[0] == '\0' && len > 0 && len < sizeof(c->anchored))
		memcpy(c->anchored, line, len);
	return true;
}

static bool
add_anchors(struct dns_context *c, struct ub_ctx *u)
{
	struct span file = text_span(&c->anchors);
	char text[MOST_ANCHOR_LINE];
	bool any = false;

	memset(c->anchored, 0, sizeof(c->anchored));
	while (file.len > 0) {
		struct span line = file;

		if (!span_take_until(&file, '\n', &line))
			file = SPAN_NONE;
		line.len = span_index(line, ';');
		line = span_trim(line);
		if (line.len > 0 && span_copy(line, text, sizeof(text)))
			any |= add_anchor(c, u, text);
	}
	if (any)
		return true;
	if (c->anchors.len > 0)
		log_warning(0, "trust-anchor-unusable",
			KEY_STR("reason", "no DNSKEY or DS record in it: the root's keys are used"));
	for (size_t i = 0; i < sizeof(root_anchors) / sizeof(root_anchors[0]); i++)
		any |= add_anchor(c, u, root_anchors[i]);
	return any;
}

/* --- contexts --- */

static struct ub_ctx *
make(struct dns_context *c, bool validating)
{
	struct ub_ctx *u = ub_ctx_create_event(c->base);
	int error = 0;

	if (u == NULL)
		return NULL;
	ub_ctx_debugout(u, NULL);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (ub_ctx_set_option(u, options[i][0], options[i][1]) != 0)
			log_debug(0, "dns-option-unknown", KEY_STR("option", options[i][0]));
	for (size_t i = 0; i < c->servers.count && error == 0; i++)
		error = ub_ctx_set_fwd(u, c->servers.at[i]);
	if (error == 0 && (!validating || add_anchors(c, u))) {
		/* Last: this makes the context final. */
		for (size_t i = 0; i < sizeof(unblocked) / sizeof(unblocked[0]); i++)
			(void)ub_ctx_zone_add(u, unblocked[i], "nodefault");
		return u;
	}
	log_error(0, "dns-not-ready", KEY_STR("reason", ub_strerror(error)));
	ub_ctx_delete(u);
	return NULL;
}

static void
drop(struct ub_ctx **u)
{
	if (*u != NULL)
		ub_ctx_delete(*u);
	*u = NULL;
}

/* From now on `u` serves. */
static void
serve(struct dns_context *c, struct ub_ctx *u)
{
	drop(&c->now);
	c->now = u;
	c->changed(c->me);
}

static void
on_trial(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited)
{
	static const struct timeval at_once = { 0, 0 };
	struct dns_context *c = arg;

	(void)packet;
	(void)len;
	(void)limited;
	c->proved = rcode == 0 && sec == SECURE;
	c->failed = !c->proved;
	if (c->failed && !c->warned)
		log_warning(0, "dnssec-unavailable", KEY_STR("anchor", c->anchored),
			KEY_STR("reason", why_bogus != NULL ? why_bogus
							    : "the name servers do not give its key"),
			KEY_STR("effect", c->mode == DNSSEC_AUTO ? "no DNSSEC for now"
								 : "names cannot be found for now"));
	c->warned |= c->failed;
	evtimer_add(c->step, &at_once);
}

static void
begin_trial(struct dns_context *c)
{
	static const struct timeval at_once = { 0, 0 };

	drop(&c->trial);
	c->proved = c->failed = false;
	c->trial = make(c, true);
	if (c->trial == NULL || ub_resolve_event(c->trial, c->anchored, TYPE_DNSKEY, CLASS_IN, c,
				       on_trial, NULL) != 0) {
		c->failed = true;
		evtimer_add(c->step, &at_once);
	}
}

/* What follows from settings or a trial. */
static void
on_step(evutil_socket_t fd, short what, void *arg)
{
	struct dns_context *c = arg;
	struct timeval wait = { .tv_sec = c->wait };
	struct ub_ctx *u = c->trial;

	(void)fd;
	(void)what;
	if (c->proved) {
		c->trial = NULL;
		c->proved = false;
		if (c->warned)
			log_info(0, "dnssec-available", KEY_STR("anchor", c->anchored));
		c->warned = false;
		serve(c, u);
	} else if (c->failed) {
		c->failed = false;
		drop(&c->trial);
		if (c->now == NULL && (u = make(c, c->mode == DNSSEC_REQUIRED)) != NULL)
			serve(c, u);
		evtimer_add(c->again, &wait);
		c->wait = c->wait * 2 > LONGEST_TRIAL_SECONDS ? LONGEST_TRIAL_SECONDS : c->wait * 2;
	} else if (c->mode == DNSSEC_OFF && c->now == NULL) {
		if ((u = make(c, false)) != NULL)
			serve(c, u);
	}
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	begin_trial(arg);
}

struct dns_context *
dns_context_new(struct event_base *base, void (*changed)(void *me), void *me)
{
	struct dns_context *c = must_alloc(sizeof(*c));

	c->base = base;
	c->changed = changed;
	c->me = me;
	c->anchors = TEXT_UP_TO(MOST_DNS_FILE);
	c->step = evtimer_new(base, on_step, c);
	c->again = evtimer_new(base, on_again, c);
	if (c->step == NULL || c->again == NULL)
		abort();
	return c;
}

void
dns_context_set(
	struct dns_context *c, const struct name_servers *servers, const struct dns_trust *trust)
{
	static const struct timeval at_once = { 0, 0 };

	c->servers = *servers;
	c->mode = trust->mode;
	text_reset(&c->anchors);
	text_add(&c->anchors, trust->anchors);
	c->wait = FIRST_TRIAL_SECONDS;
	c->proved = c->failed = c->warned = false;
	evtimer_del(c->again);
	drop(&c->now);
	drop(&c->trial);
	if (c->mode == DNSSEC_OFF)
		evtimer_add(c->step, &at_once);
	else
		begin_trial(c);
}

bool
dns_context_ready(const struct dns_context *c)
{
	return c->now != NULL;
}

bool
dns_context_ask(struct dns_context *c, const char *name, uint16_t type, dns_context_heard *heard,
	void *arg)
{
	return c->now != NULL &&
		ub_resolve_event(c->now, name, type, CLASS_IN, arg, heard, NULL) == 0;
}
