/*
 * access - rules of the administrator about clients, names and addresses: "PATTERN ACTION [text]".
 *
 * Actions: permit, reject [text], defer [text], discard, hold [text], redirect ADDRESS, warn [text]. Case
 * of ASCII letters does not matter.
 */
#ifndef VALIJA_ACCESS_H
#define VALIJA_ACCESS_H

#include "settings.h"

#define MOST_ACCESS_TEXT 200

enum access_action {
	ACCESS_PERMIT = 1,     /* no further test */
	ACCESS_REJECT,
	ACCESS_DEFER,
	ACCESS_DISCARD,        /* accepted, and thrown away */
	ACCESS_HOLD,           /* accepted, and kept until an administrator releases it */
	ACCESS_REDIRECT,       /* to `text` instead of the recipient */
	ACCESS_WARN,           /* a line in the log */
};

struct access_rule {
	struct span pattern, text;
	enum access_action action;
};

/* What a rule may be about. */
enum access_kind { ACCESS_CLIENT, ACCESS_HOST, ACCESS_ADDRESS };

/* Reads one rule; the spans lie in `row`. False: it is none, and *why says so (static). */
bool access_parse(struct span row, enum access_kind kind, struct access_rule *rule, const char **why);

/* Does the pattern fit? A network or a host for clients (`name`: the confirmed one, or NULL); "host" or
 * ".domain", which is everything below it, for hosts; "local@domain", "@domain", "@.domain" (below it),
 * "local@" (at any domain), or "<>" for addresses. */
bool access_fits_client(struct span pattern, const char *ip, const char *name);
bool access_fits_host(struct span pattern, struct span host);
bool access_fits_address(struct span pattern, struct span address);

const char *access_action_name(enum access_action action);

#endif
