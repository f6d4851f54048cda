/*
 * watchdog - a process that lives and does not answer serves nobody: it is killed, and started anew.
 */
#ifndef VALIJA_WATCHDOG_H
#define VALIJA_WATCHDOG_H

#include "master/supervisor.h"

/* Those that wait for disks by design may be silent this many times as long. */
#define DISK_PATIENCE 5

/* Begins to ask every serving process by and by for a sign of life (load_ask). One that owes its
 * answer for hang_seconds is logged and killed. Called again when hang_seconds may have changed. */
void watchdog_begin(struct supervisor *s);
void watchdog_end(struct supervisor *s);

#endif
