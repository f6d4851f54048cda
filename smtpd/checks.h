/*
 * checks - what we think of a client before its mail is taken: the administrator's rules, which are for
 * everybody who comes over the network, and the tests for strangers.
 *
 * The names of the client are looked up while it is greeted, those of its sender while queue thinks about
 * MAIL. RCPT waits until all is known, or CHECKS_SECONDS have passed; what is not known then, is not held
 * against anybody. All refusals are said at RCPT, so that the postmaster can be reached, and the log
 * tells the recipient.
 */
#ifndef VALIJA_SMTPD_CHECKS_H
#define VALIJA_SMTPD_CHECKS_H

#include "common/address.h"

#define CHECKS_SECONDS 8         /* for all that a command waits for */
#define CHECKS_MOST_NAMES 3      /* PTR records that are tried */
#define CHECKS_MOST_ZONES 32     /* block and allow lists together */

struct session;
struct checks;
struct told;
struct verdict;
struct envelope_sender;
struct envelope_recipient;

/* Are the tests for strangers for this client? Not for logins, programs of this machine, LMTP, and the
 * networks of policy_exempt. */
bool checks_apply(const struct session *s);
/* Must mail for this recipient always get through (RFC 5321 4.5.1, RFC 2142)? postmaster, and abuse of a
 * local domain. */
bool checks_spare(const struct session *s, const struct address *to);
/* Is the client greylisted where it writes to this recipient? */
bool checks_greylists(const struct session *s, const struct address *to);

/* A client has come, a sender was named: begins to look up what there is to know. `told`: what XCLIENT said of
 * the client, whose name is not looked up then; or NULL. */
void checks_begin(struct session *s, const struct told *told);
void checks_sender(struct session *s, const struct envelope_sender *sender);
/* Is something being looked up that RCPT must wait for? */
bool checks_wait(const struct session *s);
/* The client's confirmed name, or NULL; *looked_up tells whether there was an attempt that is over. */
const char *checks_name(const struct session *s, bool *looked_up);
/* Forgets everything; sets *c to NULL, accepts NULL in it. */
void checks_free(struct checks **c);

/* What is to be done with a recipient. */
enum judgement {
	JUDGED_GOOD,
	JUDGED_REFUSED,      /* *v is the answer */
	JUDGED_DISCARDED,
	JUDGED_REDIRECTED,   /* to->address and to->orcpt are changed; spans lie in the settings */
};

/* Is one of the keywords in `said` of a class that no_soliciting names (RFC 3865)? Then *v is the answer. */
bool checks_refuse_solicitation(const struct session *s, struct span said, struct verdict *v);
/* Applies rules and tests to one recipient of the session's transaction; it may be held from now on. */
enum judgement checks_judge(struct session *s, struct envelope_recipient *to, struct verdict *v);

#endif
