/*
 * notify - sd_notify(3) by hand: one datagram to the socket that NOTIFY_SOCKET names. Without
 * it, nothing.
 */
#ifndef VALIJA_NOTIFY_H
#define VALIJA_NOTIFY_H

#include "master/supervisor.h"

/* Reads NOTIFY_SOCKET and takes it out of the environment. Once, at the start. */
void notify_open(void);
void notify_ready(const struct supervisor *s);
void notify_reloading(void);
void notify_stopping(void);

#endif
