/*
 * rset - RSET (RFC 5321 4.1.1.5): forgets the transaction, not the greeting.
 */
#include "smtpd/commands.h"
#include "smtpd/reply.h"
#include "smtpd/transaction.h"

void
do_rset(struct session *s, struct span arguments)
{
	if (arguments.len > 0) {
		refuse(s, 501, "5.5.4", "RSET takes no argument");
		return;
	}
	transaction_reset(s);
	answer(s, 250, "2.0.0", "forgotten");
}
