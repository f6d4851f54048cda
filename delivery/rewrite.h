/* rewrite - other addresses for those that were given: canonical tables, masquerading. */
#ifndef VALIJA_REWRITE_H
#define VALIJA_REWRITE_H

#include "resolve.h"

/* The address to use instead; *to is filled in any case. */
void rewrite_recipient(struct resolver *r, struct span address, struct text *to);
/* Only for senders that belong to us (a login). masquerade_domains: host.example.org becomes
 * example.org. An empty sender stays empty. */
void rewrite_sender(struct resolver *r, const struct settings *s, struct span address, struct text *to);

#endif
