/*
 * auth - AUTH (RFC 4954): carries the SASL conversation between client and auth.
 */
#ifndef VALIJA_SMTPD_AUTH_H
#define VALIJA_SMTPD_AUTH_H

#include "common/channel.h"

struct session;

/* What auth says; a row of smtpd's table of peers. */
extern const struct hearing hearing_auth;

/* A line of the client inside the conversation. */
void auth_line(struct session *s, struct span line);
/* It was too long, and its end has come. */
void auth_line_too_long(struct session *s);
/* The session ends in the middle. */
void auth_give_up(struct session *s);
/* The session has no login (any more); queue hears so too. */
void auth_forget(struct session *s);
/* auth takes too long. */
void auth_timeout(struct session *s);

#endif
