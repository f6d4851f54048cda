/*
 * condstore - modification sequences on the wire (RFC 7162 section 3.1).
 *
 * The index gives each change the next number, durable with the change (index.h). A client is told
 * of them once it has shown that it knows them: by ENABLE, or by any command that names one.
 */
#ifndef VALIJA_IMAPD_CONDSTORE_H
#define VALIJA_IMAPD_CONDSTORE_H

#include "imapd/command.h"

/* From now on FETCH responses that nobody asked for have UID and MODSEQ (RFC 7162 3.2.4). The first
 * time, HIGHESTMODSEQ is told of what is selected. */
void condstore_enable(struct session *s);
/* "* OK [HIGHESTMODSEQ n]": up to there the view has been told. */
void condstore_tell_highest(const struct view *v, struct text *out);
/* [SP "(" CONDSTORE / QRESYNC SP (...) ")"] behind the name of a mailbox in SELECT. False:
 * answered. */
struct qresync;
bool condstore_take_select(struct command *c, bool *wanted, struct qresync *q);
/* "(" "UNCHANGEDSINCE" SP n ")" SP in front of STORE's flags: *given tells whether it was there.
 * False: answered. */
bool condstore_take_unchanged(struct command *c, bool *given, uint64_t *since);

#endif
