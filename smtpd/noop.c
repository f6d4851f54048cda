/*
 * noop - NOOP (RFC 5321 4.1.1.9); an argument is ignored.
 */
#include "smtpd/commands.h"
#include "smtpd/reply.h"

void
do_noop(struct session *s, struct span arguments)
{
	(void)arguments;
	answer(s, 250, "2.0.0", "yes");
}
