/*
 * instance - what master takes hold of before it starts anything: the lock, the users, the
 * directories, the programs.
 */
#ifndef VALIJA_INSTANCE_H
#define VALIJA_INSTANCE_H

#include "common/text.h"
#include "master/supervisor.h"

/* Makes the run directory where it is missing (it may be on a tmpfs), and locks the instance
 * against a second master. False with a sentence in *why. */
bool instance_lock(struct supervisor *s, struct text *why);
/* Looks up users, opens directories and programs; needs s->now. False with every failure in
 * *why, a line each. */
bool instance_open(struct supervisor *s, struct text *why);
bool instance_write_pid(struct supervisor *s, struct text *why);
/* Removes pid file and lock. */
void instance_close(struct supervisor *s);

#endif
