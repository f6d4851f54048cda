/*
 * policy-ask - the talk with policy, which remembers what must outlast a connection.
 *
 * While policy is away, nobody is greylisted and nobody's allowance is counted: mail goes on.
 */
#ifndef VALIJA_SMTPD_POLICY_ASK_H
#define VALIJA_SMTPD_POLICY_ASK_H

#include "smtpd/server.h"

struct session;
struct envelope_recipient;
struct held_recipient;

/* What policy says; a row of smtpd's table of peers. */
extern const struct hearing hearing_policy;

/* RCPT `number` of the session's transaction, whose answer is awaited (reply.h): passed on to queue once
 * policy has let it in. False: greylisting does not apply, or policy is away; nothing is done then. */
bool policy_greylist(struct session *s, const struct envelope_recipient *to, uint32_t number);
/* The message of a login has its recipients: the file is asked for once policy allows it. False as above. */
bool policy_allowance(struct session *s);
/* Forgets the recipients that wait for policy. */
void held_recipients_clear(struct held_recipient **held);

#endif
