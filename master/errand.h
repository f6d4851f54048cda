/*
 * errand - has the command valija do something that master itself has no part in: today the renewal of the
 * managed certificate, and of the revocation list, by the authority that `valija init` made.
 *
 * It is a process of its own, as who master is, with nothing of master's open, a clean environment, a time limit,
 * and what it says in the log. One at a time.
 */
#ifndef VALIJA_ERRAND_H
#define VALIJA_ERRAND_H

#include "master/supervisor.h"

#define ERRAND_SECONDS 60

/* Begins `valija cert renew --if-due` for this instance. False: one is under way, or it cannot be (logged). */
bool errand_renew(struct supervisor *s);
/* A child ended; false when it is none of ours. */
bool errand_ended(struct supervisor *s, pid_t pid, int status);
void errand_close(struct supervisor *s);

#endif
