/*
 * dns-context - libunbound for program dns: which servers, with which trust, until that changes.
 *
 * A context of libunbound cannot be changed once it has worked: a change makes a new one, and
 * changed() tells the owner to ask again what was not answered. With dnssec "auto" a context that
 * validates is tried first on the trust anchor's own key; where the name servers keep DNSSEC from
 * us, one without validation serves, and the trial is repeated.
 */
#ifndef VALIJA_DNS_CONTEXT_H
#define VALIJA_DNS_CONTEXT_H

#include "dns-files.h"

struct event_base;
struct dns_context;

enum dnssec { DNSSEC_OFF, DNSSEC_AUTO, DNSSEC_REQUIRED };

struct dns_trust {
	enum dnssec mode;
	struct span anchors;        /* the file; empty: the root's keys as Valija knows them */
};

/* sec: 0 unproved, 1 forged or broken, 2 proved. Borrowed until the return. Never called after
 * changed(), which comes first then. */
typedef void dns_context_heard(
	void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited);

/* changed(me) is never called from inside another function of this file. */
struct dns_context *dns_context_new(struct event_base *base, void (*changed)(void *me), void *me);
/* Serves from new servers (none: from the root on) and trust; copied. */
void dns_context_set(
	struct dns_context *c, const struct name_servers *servers, const struct dns_trust *trust);
/* False: not ready yet (changed() will be called), or libunbound refuses; told by dns_context_ready. */
bool dns_context_ask(struct dns_context *c, const char *name, uint16_t type,
	dns_context_heard *heard, void *arg);
bool dns_context_ready(const struct dns_context *c);

#endif
