/*
 * listen - the listeners, shared with the other smtpd processes, and who is let in.
 */
#ifndef VALIJA_SMTPD_LISTEN_H
#define VALIJA_SMTPD_LISTEN_H

#include "smtpd/server.h"

#define ACCEPT_BURST 16                 /* connections taken at once; the others want some too */
#define ACCEPT_PAUSE_MILLISECONDS 500

/* Serves `fd`, which is taken. */
void listen_add(struct server *server, enum service service, struct span address, int fd);
void listen_remove(struct server *server, enum service service, struct span address);
void listen_remove_all(struct server *server);
/* There is room for one more: goes on if that was lacking; and ends a process that is leaving. */
void listen_session_ended(struct server *server);

#endif
