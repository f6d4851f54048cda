/*
 * turn - one turn of a session: takes what has arrived, does whole lines or takes message text,
 * writes what there is to say, and arranges what to wait for. The only place that reads or writes a
 * client's socket, and the only one that frees a session.
 */
#ifndef VALIJA_SMTPD_TURN_H
#define VALIJA_SMTPD_TURN_H

#include <stdbool.h>

struct server;
struct session;

/* `readable`: its socket says that something has arrived. The session may be gone afterwards. */
void session_turn(struct session *s, bool readable);
/* Says what there is to say now, as far as the client takes it, and not only in the next turn. */
void turn_say(struct session *s);
/* A session does not wait for queue to read any more; also before it is freed. */
void turn_release(struct session *s);
/* After each round of events: when queue has read most of what waited for it, sessions that were held back go on. */
void turns_after_backlog(struct server *server);

#endif
