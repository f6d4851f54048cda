/* resolve_inside - what the files of the resolver share: one expansion under way. */
#ifndef VALIJA_RESOLVE_INSIDE_H
#define VALIJA_RESOLVE_INSIDE_H

#include "common/address.h"
#include "common/alias.h"
#include "common/message.h"
#include "resolve.h"

struct expansion {
	struct resolver *r;
	const struct settings *settings;
	struct resolution *to;
	void *seen;                  /* tree of names: being expanded, or done */
	void *places;                /* tree of what leads somewhere already */
	unsigned int depth;
	bool may_relay, utf8;
	bool again;                  /* no aliases, no rewriting */
	bool stopped;                /* a loop, or a ceiling: nobody gets anything */
	struct verdict bad;          /* why the first that leads nowhere does */
	const char *sender;          /* owner-LIST of the list that is being expanded, or NULL */
	struct span domain;          /* of the address that is being expanded: completes bare names */
};

/* One step in words. */
void expansion_tell(struct expansion *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* This one leads nowhere; the first reason counts. */
void expansion_refuse(struct expansion *x, struct verdict v);
/* Nobody gets anything: a loop, a ceiling, trouble. */
void expansion_stop(struct expansion *x, struct verdict v);
/* Adds a place, unless it is there already. Copies; `place` borrows. */
void expansion_place(struct expansion *x, const struct resolved *place);

enum found { FOUND, NOT_FOUND, IN_TROUBLE };

/* Expands the mailbox or bare name `name` at this depth. */
void expand_name(struct expansion *x, struct span name);
/* The same without aliases: a mailbox here, or nothing. */
void expand_final(struct expansion *x, struct span name);
/* The members of an alias, if there is one of that key. `address`: what leads to it. */
enum found expand_alias(struct expansion *x, struct span key, struct span address);
/* A system user, and what his .forward says. */
enum found expand_system(struct expansion *x, const struct address *a, struct span detail);
/* The user of exactly that key, or of the system. */
enum found find_account(struct expansion *x, struct span key, struct span address, struct span detail);
/* Mail for an address that is not delivered here. */
void expansion_leave(struct expansion *x, const struct address *a, struct span key);
/* What the transport table says of an exact address. */
enum found find_transport(struct expansion *x, struct span key, struct span address);

bool is_in(const struct list *l, struct span domain);
/* The value of a plain table. False also when the table is not there. */
bool plain_get(struct resolver *r, enum table_kind kind, struct span key, struct text *value);

#endif
