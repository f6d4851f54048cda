/*
 * turn - one turn of a session: takes what has arrived, does whole lines or takes message text,
 * writes what there is to say, and arranges what to wait for. The only place that reads or writes a
 * client's socket, and the only one that frees a session.
 */
#ifndef VALIJA_SMTPD_TURN_H
#define VALIJA_SMTPD_TURN_H

#include <stdbool.h>

struct session;

/* `readable`: its socket says that something has arrived. The session may be gone afterwards. */
void session_turn(struct session *s, bool readable);

#endif
