/*
 * verbs - the commands of SMTP, as one table.
 */
#ifndef VALIJA_SMTPD_VERBS_H
#define VALIJA_SMTPD_VERBS_H

#include "common/span.h"

struct session;

/* RFC 5321 4.5.3.1.4 asks for 512 octets with CR LF; parameters and UTF-8 addresses need more. */
#define COMMAND_LINE_MOST 512
#define ENVELOPE_LINE_MOST 3072
#define AUTH_LINE_MOST 12290          /* RFC 4954 section 4: 12288 octets, and CR LF */

struct verb {
	const char *word;
	void (*does)(struct session *s, struct span arguments);
	unsigned int flags;
	size_t line_most;
};

/* The row that the line starts with; NULL: no such command. */
const struct verb *verb_find(struct span line);
/* The longest line, with its CR LF, that may start so. */
size_t verb_line_most(struct span line);
/* May this line be taken while answers to MAIL and RCPT are awaited? */
bool verb_joins_group(const struct verb *v);
/* Must it wait for what is being looked up about the client and its sender? */
bool verb_waits_for_checks(const struct verb *v);
/* Does queue hear of it? */
bool verb_asks_queue(const struct verb *v);
/* Does the line, whole or not, start as a command that octets follow which are no commands? */
bool verb_counts_octets(struct span line);
/* Does one complete command, without its CR LF. */
void verb_execute(struct session *s, const struct verb *v, struct span line);

#endif
