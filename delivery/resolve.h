/*
 * resolve - where an address leads: mailboxes here, other servers, or nowhere and why.
 *
 * Depends on nothing but the settings and the compiled tables. smtpd has parsed the address before; it
 * is parsed again, because smtpd may belong to an enemy. For an address of ours the first that fits
 * decides:
 *
 *   1  the user of exactly that address
 *   2  the alias of the address; then, in `domains`, of the local part
 *   3  in system_domains, the system's user of that name
 *   4  postmaster and abuse, which always reach somebody (RFC 5321 4.5.1, RFC 2142 section 5)
 *   5  without what stands behind a separator (user+detail): 1, 2 and 3 once more
 *   6  the alias of @domain: whatever else the domain receives
 *   7  root, where there are users: he who is postmaster
 *   8  in relay_domains: the server behind us
 *
 * Members of aliases go the same way. Loops are found, who is named twice gets one message, and depth
 * and number have ceilings.
 */
#ifndef VALIJA_RESOLVE_H
#define VALIJA_RESOLVE_H

#include "common/quota.h"
#include "common/settings.h"
#include "common/table.h"
#include "common/tables.h"
#include "common/text.h"
#include "verdict.h"

#define MOST_ALIAS_DEPTH 50          /* aliases of aliases */
#define MOST_EXPANSION 20000         /* places that one RCPT may lead to */
#define MOST_FORWARD_MEMBERS 100

enum leads_to { LEADS_NOWHERE, LEADS_HERE, LEADS_ELSEWHERE, LEADS_DISCARD, LEADS_PIPE };
/* How mail leaves (LEADS_ELSEWHERE). */
enum transport {
	TRANSPORT_RELAY = 1,         /* next_hop is a domain: by its MX */
	TRANSPORT_SMTP = 2,          /* next_hop is HOST, HOST:PORT or [ADDRESS]:PORT: no MX */
	TRANSPORT_LMTP = 3,          /* HOST:PORT, or the absolute name of a socket */
};

/* One place. Strings are owned by the resolution, NULL when there is none. */
struct resolved {
	enum leads_to leads;
	char *address;               /* what leads here for itself, without any alias */
	char *home;                  /* HERE: the mailbox; PIPE: which member of which alias (pipe_name.h) */
	char *folder;                /* HERE: the detail of user+detail, or NULL */
	char *next_hop;              /* ELSEWHERE */
	char *sender;                /* to be used instead of the message's: owner-LIST */
	uint32_t uid, gid;           /* whose the mailbox is */
	struct quota quota;          /* of the mailbox */
	enum transport transport;
	bool system;                 /* the mailbox is a system user's */
};

struct resolution {
	struct resolved *at;
	uint32_t count, room;
	struct verdict verdict;      /* DONE when it leads anywhere; static memory, or in `said` */
	char *said;
	bool waits;                  /* something was asked for: resolve again when it is known */
	bool aliased;                /* not, or not only, to the address itself */
};

/* A user of the system, as getpwnam() knows him. */
struct system_user {
	uint32_t uid, gid;
	char *home;                  /* borrowed until the next call */
};

/* What must be asked of others. Each returns 1 known, 0 not there, -1 asked for (come again), -2 cannot
 * be known now. */
struct resolver_asks {
	int (*name)(void *me, struct span login, struct system_user *u);
	int (*forward)(void *me, struct span login, const struct system_user *u, struct span *text);
};

/* For `forward`, where nobody's .forward is to have a say: 0. */
int resolver_no_forward(void *me, struct span login, const struct system_user *u, struct span *text);

struct resolver {
	struct table *users;         /* borrowed, as the others; those of `table` may be NULL */
	struct table *table[TABLE_KINDS];
	unsigned char srs_key[32];   /* of rewritten senders (srs.h) */
	bool srs_known;
	struct text first;           /* key of the first user that was added, as last seen */
	const struct resolver_asks *asks; /* NULL: there are no system users */
	/* Each step in words, for `valija check address`; NULL. */
	void (*tell)(void *me, unsigned int depth, const char *step);
	void *me;
};

void resolver_init(struct resolver *r, struct table *users);
/* Opens the tables in `directory` (borrowed) beside the users; a table that is not there is empty. */
void resolver_open(struct resolver *r, int directory);
/* Closes what resolver_open opened. */
void resolver_clear(struct resolver *r);

/* Fills *to (resolution_clear gives its memory back; a filled one may be filled again). may_relay:
 * the client has logged in. */
void resolve(struct resolver *r, const struct settings *settings, struct span address, bool utf8,
	bool may_relay, struct resolution *to);
/* Where an address that resolve() has found leads now: no aliases, at most one place. */
void resolve_again(struct resolver *r, const struct settings *settings, struct span address,
	struct resolution *to);
/* The domain of rewritten senders; empty: there are to be none. */
struct span resolver_srs_domain(const struct settings *s);
void resolution_init(struct resolution *r);
void resolution_clear(struct resolution *r);
/* Frees the strings of a place that was taken out of its resolution. */
void resolved_clear(struct resolved *p);

#endif
