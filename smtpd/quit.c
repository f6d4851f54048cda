/*
 * quit - QUIT (RFC 5321 4.1.1.10).
 */
#include "smtpd/commands.h"
#include "smtpd/reply.h"
#include "smtpd/session.h"

void
do_quit(struct session *s, struct span arguments)
{
	if (arguments.len > 0)
		refuse(s, 501, "5.5.4", "QUIT takes no argument");
	else
		session_close(s, 221, "2.0.0", "goodbye");
}
