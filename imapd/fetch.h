/*
 * fetch - FETCH where no client says it: the items that UPDATE (RFC 5267, RFC 5465 section 7) and NOTIFY's MessageNew
 * (RFC 5465 5.2) name. They are checked when they are said, and kept as text.
 */
#ifndef VALIJA_IMAPD_FETCH_H
#define VALIJA_IMAPD_FETCH_H

#include "imapd/command.h"

/* Takes "(" fetch-att *(SP fetch-att) ")"; *items is all of it, within the command. False: malformed. */
bool fetch_take_items(struct command *c, struct span *items);

#endif
