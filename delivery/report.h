/*
 * report - delivery status notifications (RFC 3461 to 3464, RFC 6533), as text.
 *
 * Everything that comes from outside goes in printable and on one line: no address, envelope id or
 * remote reply can add a header field or a line (HARDENING I7).
 */
#ifndef VALIJA_REPORT_H
#define VALIJA_REPORT_H

#include "envelope.h"

#define MOST_REPORT (256 * 1024)        /* bytes of one report */
#define MOST_RETURNED 50000             /* bytes of a message that is given back whole */
#define MOST_RETURNED_HEADERS 32768     /* of its header else */
#define MOST_REPORTED 128               /* recipients told of in one report: all fit in MOST_REPORT */

enum report_action { REPORT_FAILED, REPORT_DELAYED, REPORT_DELIVERED, REPORT_RELAYED };

struct reported {
	const struct envelope_recipient *recipient;
	enum report_action action;
	struct verdict verdict;         /* reason: "HOST[IP]:PORT said: ..." where a server said it */
};

struct report {
	struct span hostname;           /* how this server calls itself: a name, or "[192.0.2.1]" */
	const struct envelope *envelope;
	struct span to;                 /* the sender who hears of it */
	const struct reported *at;
	size_t count;
	uint64_t now, until;            /* seconds since 1970; until: tried so long */
	int message;                    /* to read what is given back, or -1 */
};

/* Writes header and body, with CRLF. *eight_bit: there are bytes above 127; *utf8: also where only
 * SMTPUTF8 allows them. False: over MOST_REPORT, or the message cannot be read. */
bool report_write(const struct report *r, struct text *to, bool *eight_bit, bool *utf8);
/* Is whoever sent this to be told of `action` (RFC 3461 4.1)? */
bool report_is_wanted(uint8_t notify, enum report_action action);
/* A date as RFC 5322 3.3 writes it. */
void report_date(struct text *to, uint64_t seconds);
/* `s` in one line, printable; bytes above 127 only where they are UTF-8. */
void report_clean(struct text *to, struct span s, size_t most);

#endif
