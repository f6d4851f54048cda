/*
 * resolve - where an address leads: a mailbox here, another server, or nowhere and why.
 *
 * Depends on nothing but the settings and the table of users. smtpd has parsed the address
 * before; it is parsed again, because smtpd may belong to an enemy.
 */
#ifndef VALIJA_RESOLVE_H
#define VALIJA_RESOLVE_H

#include "common/settings.h"
#include "common/table.h"
#include "common/text.h"
#include "verdict.h"

struct resolver {
	struct table *users;      /* borrowed */
	struct text first;        /* key of the first user that was added, as last seen */
};

enum leads_to { LEADS_NOWHERE, LEADS_HERE, LEADS_ELSEWHERE };

struct resolved {
	enum leads_to leads;
	struct verdict verdict;   /* static memory */
	struct text home;         /* LEADS_HERE: the mailbox */
	uint32_t uid, gid;
};

void resolver_init(struct resolver *r, struct table *users);
void resolver_clear(struct resolver *r);
/* Fills *to (resolved_clear gives its memory back; a filled one may be filled again). may_relay:
 * the client has logged in. */
void resolve(struct resolver *r, const struct settings *settings, struct span address, bool utf8,
	bool may_relay, struct resolved *to);
void resolved_init(struct resolved *r);
void resolved_clear(struct resolved *r);

#endif
