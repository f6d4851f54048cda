/*
 * milter-talk-inside - what the files of one talk with a filter share; for them alone. milter-talk.c is its life, its
 * time and its socket, milter-say.c what the filter is told, milter-hear.c what it answers.
 */
#ifndef VALIJA_SMTPD_MILTER_TALK_INSIDE_H
#define VALIJA_SMTPD_MILTER_TALK_INSIDE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "smtpd/milter-talk.h"

enum talk_stage {
	AT_CONNECTING, AT_NEGOTIATION, AT_CONNECT, AT_HELO, AT_MAIL, AT_RCPT, AT_DATA, AT_HEADER, AT_EOH, AT_BODY,
	AT_END, AT_ENDED,
};

struct talk {
	const struct milter_facts *facts;
	struct milter_times times;
	void (*progress)(void *me);
	void *me;
	int fd;
	struct event readable, writable, clock;
	enum talk_stage stage;
	bool awaits;                  /* an answer, to what was said at this stage */
	uint64_t since;               /* when it was said: milliseconds */
	size_t known, judged;         /* recipients */
	bool skip_recipients;
	struct milter_edit *edit;     /* NULL: the message is not there yet */
	size_t field;                 /* the next one to tell */
	uint64_t body;                /* octets told */
	bool skip_body, body_begins;
	unsigned int changes;
	uint32_t steps, actions;
	struct text macros;           /* what it wishes for */
	struct text in, out;
	size_t used;                  /* of `in`: the packet in hand */
	bool over;
	struct milter_outcome o;
};

/* Monotonic milliseconds. */
uint64_t talk_now(void);
/* It is over, with this verdict, or because of this fault (static). The first one counts. */
void talk_end(struct talk *t, enum milter_verdict verdict);
void talk_fail(struct talk *t, const char *fault);
/* The filter has so many seconds from now on; so many as it has for an answer at this stage; more, since it says that
 * it is still working, but not for ever. */
void talk_set_clock(struct talk *t, unsigned int seconds);
unsigned int talk_patience(const struct talk *t);
void talk_prolong(struct talk *t);

/* Says the next thing, or goes on to the next stage. False: nothing can be said now. */
bool talk_say_next(struct talk *t);
/* Takes one answer, whatever it is. */
void talk_hear(struct talk *t, const struct milter_reply *r);

#endif
