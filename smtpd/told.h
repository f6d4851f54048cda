/*
 * told - what a trusted client tells of another one: the attributes of XCLIENT and XFORWARD (Postfix's
 * XCLIENT_README and XFORWARD_README). Pure: octets in, facts out.
 */
#ifndef VALIJA_SMTPD_TOLD_H
#define VALIJA_SMTPD_TOLD_H

#include "smtpd/reply.h"

#define MOST_TOLD 255            /* octets of a value, decoded */

/*      attribute  of XCLIENT, XFORWARD */
#define TOLD_ATTRIBUTES(A) \
	A(NAME,     1, 1) \
	A(ADDR,     1, 1) \
	A(PORT,     1, 1) \
	A(PROTO,    1, 1) \
	A(HELO,     1, 1) \
	A(LOGIN,    1, 0) \
	A(DESTADDR, 1, 0) \
	A(DESTPORT, 1, 0) \
	A(IDENT,    0, 1) \
	A(SOURCE,   0, 1)

enum told_attribute {
#define A(name, xclient, xforward) TOLD_##name,
	TOLD_ATTRIBUTES(A)
#undef A
	TOLD_COUNT
};

enum told_how {
	TOLD_NOT,              /* nothing was said of it */
	TOLD_VALUE,
	TOLD_UNAVAILABLE,      /* there is none */
	TOLD_TEMPUNAVAIL,      /* it is not known now */
};

struct told {
	struct {
		enum told_how how;
		char value[MOST_TOLD + 1];   /* "" unless TOLD_VALUE */
	} of[TOLD_COUNT];
};

/* Reads " NAME=value ADDR=value ..." into *t, over what is there; forward: those of XFORWARD. Values are xtext,
 * printable, and each has the form of its attribute; an address comes out as inet_ntop(3) writes it. NULL, or
 * why not; then *t is as it was. */
const struct refusal *told_parse(struct span arguments, bool forward, struct told *t);
/* " NAME ADDR ...": what EHLO offers. */
void told_offer(bool forward, struct text *to);
/* The value, or NULL. */
const char *told_value(const struct told *t, enum told_attribute a);

#endif
