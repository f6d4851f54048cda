/*
 * logins - who has logged in for submission, by auth's own word.
 *
 * auth says mail_login before it tells the front end; the front end says mail_login_end when the session ends, and
 * what a dead front end had is forgotten with it. A front end can so speak in the name of those who logged in through
 * it, while their sessions last, and of nobody else: what it says of a login that auth did not name (forged), of a
 * session that has ended (reused), of another front end's (stolen), or that has sent nothing for
 * LOGIN_REST_SECONDS (expired), is refused.
 *
 * A queue that comes anew knows nobody: smtpd ends such sessions when they next want to send (421).
 */
#ifndef VALIJA_DELIVERY_LOGINS_H
#define VALIJA_DELIVERY_LOGINS_H

#include "queue.h"

/* Since the login, or the last MAIL of that session: longer than smtpd lets the slowest message and the rest after
 * it last together. */
#define LOGIN_REST_SECONDS 21600
/* Of one front end; settings->connections bound them before this, unless it keeps what has ended. */
#define MOST_LOGINS 20000

void logins_init(struct queue *q);
/* Did `session` of front end `front` log in as `login`, for `service`? Hears what auth has said already. Counts as
 * a sign of life at `now` (seconds). */
bool logins_know(struct queue *q, unsigned int front, uint64_t session, uint8_t service,
	struct span login, uint32_t now);
void logins_end(struct queue *q, unsigned int front, uint64_t session);
/* The front end is no more. */
void logins_forget(struct queue *q, unsigned int front);
extern const struct hearing queue_hears_auth;

#endif
