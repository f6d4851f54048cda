/*
 * hook - runs the administrator's program when an address has changed (address_hook).
 *
 * One at a time, as a user of its own, with a clean environment, no descriptor of master's, and a
 * limit of time. What it writes goes into the log, HOOK_OUTPUT bytes at most. Changes meanwhile wait;
 * of each interface and family only the last.
 */
#ifndef VALIJA_HOOK_H
#define VALIJA_HOOK_H

#include "master/supervisor.h"

#define HOOK_OUTPUT	   1024
#define MOST_HOOKS_WAITING 32

/* The hook will hear of a change: `old` and `new` are addresses as text, "" for none. Nothing
 * happens when no hook is configured. */
void hook_address(struct supervisor *s, const char *link, const char *family, const char *old,
	const char *new);
/* Forgets those that wait; one that runs ends with outside_close(). */
void hook_close(struct supervisor *s);

#endif
