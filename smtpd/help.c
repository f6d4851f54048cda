/*
 * help - HELP (RFC 5321 4.1.1.8); an argument is ignored.
 */
#include "smtpd/commands.h"
#include "smtpd/reply.h"

void
do_help(struct session *s, struct span arguments)
{
	(void)arguments;
	answer_lines(s, SPAN("214-2.0.0 This is Valija. Commands:\r\n"
		"214-2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS AUTH\r\n"
		"214 2.0.0 To reach a person, write to postmaster.\r\n"));
}
