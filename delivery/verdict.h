/*
 * verdict - how something asked for ended, as SMTP says it: outcome, reply code, enhanced status
 * (RFC 3463), and a reason for people. Every answer that this room can give stands here.
 */
#ifndef VALIJA_VERDICT_H
#define VALIJA_VERDICT_H

#include "common/outcome.h"
#include "common/span.h"

#include <errno.h>

struct verdict {
	uint8_t outcome;             /* enum outcome */
	uint16_t code;
	struct span status, reason;  /* borrowed */
};

#define VERDICT_IS(outcome, code, status, reason) \
	((struct verdict){ (outcome), (code), SPAN(status), SPAN(reason) })
/* Out of a message that carries one, and into one. */
#define VERDICT_OF(m) ((struct verdict){ (m)->outcome, (m)->code, (m)->status, (m)->reason })
#define VERDICT_FIELDS(v) \
	.outcome = (v).outcome, .code = (v).code, .status = (v).status, .reason = (v).reason

#define V_BEGUN VERDICT_IS(DONE, 250, "2.1.0", "Sender accepted")
#define V_RECIPIENT VERDICT_IS(DONE, 250, "2.1.5", "Recipient accepted")
#define V_DELIVERED VERDICT_IS(DONE, 250, "2.0.0", "Message delivered")
#define V_QUEUED VERDICT_IS(DONE, 250, "2.0.0", "Message accepted for delivery")

#define V_LATER VERDICT_IS(LATER, 451, "4.3.0", "Mail system not ready, try again later")
#define V_LEAVING VERDICT_IS(LATER, 451, "4.3.2", "Mail system is going down, try again later")
/* Of a session that auth did not name, or not to this queue. */
#define V_LOG_IN_AGAIN VERDICT_IS(LATER, 421, "4.7.0", "The login has to be repeated, connect again")
#define V_BUSY VERDICT_IS(LATER, 451, "4.3.2", "Too many transactions, try again later")
#define V_MISCONFIGURED                                                                            \
	VERDICT_IS(LATER, 451, "4.3.5", "Mail system is not configured for this address")
#define V_STORAGE VERDICT_IS(LATER, 452, "4.3.1", "Insufficient system storage")
#define V_MAILBOX_FULL VERDICT_IS(LATER, 452, "4.2.2", "Mailbox is full")
#define V_OVER_QUOTA VERDICT_IS(NEVER, 552, "5.2.2", "Message is larger than the mailbox may ever be")
#define V_MAILBOX_UNUSABLE VERDICT_IS(LATER, 451, "4.2.0", "Mailbox cannot be used at this time")
/* RFC 5321 4.5.3.1.10: too many recipients is 452, never 552. */
#define V_MOST_RECIPIENTS VERDICT_IS(LATER, 452, "4.5.3", "Too many recipients")
#define V_IN_DOUBT VERDICT_IS(BROKEN, 451, "4.3.0", "Message was not written as announced")

#define V_BAD_SENDER VERDICT_IS(NEVER, 501, "5.1.7", "Bad sender address syntax")
#define V_NOT_OWNER                                                                                \
	VERDICT_IS(NEVER, 553, "5.7.1", "This sender address does not belong to the login")
#define V_BAD_RECIPIENT VERDICT_IS(NEVER, 501, "5.1.3", "Bad recipient address syntax")
#define V_UNKNOWN_USER VERDICT_IS(NEVER, 550, "5.1.1", "No such user here")
#define V_DISABLED_USER VERDICT_IS(NEVER, 550, "5.2.1", "Mailbox disabled")
#define V_NO_RELAY VERDICT_IS(NEVER, 550, "5.7.1", "Relaying denied")
#define V_BAD_LITERAL VERDICT_IS(NEVER, 550, "5.1.2", "Address literal is not accepted")
#define V_ALIAS_LOOP VERDICT_IS(NEVER, 554, "5.4.6", "Address loops: an alias leads back to itself")
#define V_FORWARD_LOOP VERDICT_IS(NEVER, 554, "5.4.6", "Mail goes in circles: it has been sent on from here before")
#define V_ALIAS_DEEP VERDICT_IS(NEVER, 554, "5.4.6", "Address loops: too many aliases of aliases")
#define V_ALIAS_LARGE VERDICT_IS(NEVER, 554, "5.4.6", "Alias leads to too many addresses")
#define V_NOT_ALLOWED VERDICT_IS(NEVER, 550, "5.7.1", "Delivery to programs and files is not allowed")
#define V_RETURNED VERDICT_IS(NEVER, 550, "5.0.0", "Returned by the administrator")
#define V_NO_RECIPIENTS VERDICT_IS(NEVER, 554, "5.5.1", "No valid recipients")
#define V_TOO_BIG VERDICT_IS(NEVER, 552, "5.3.4", "Message too big")

/* The answer to a file operation that failed with `error`. */
static inline struct verdict
verdict_of_errno(int error)
{
	switch (error) {
	case ENOSPC:
		return V_STORAGE;
	case EDQUOT:
		return V_MAILBOX_FULL;
	default:
		return V_MAILBOX_UNUSABLE;
	}
}

#endif
