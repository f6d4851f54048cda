/*
 * crossing - COPY and MOVE between mailboxes of two users (RFC 9051 6.4.7, RFC 6851), of which the session's user
 * may be one. See share.h for whose process opens what.
 *
 *   found       the source says which messages they are, and of what size: are there too many, is there room?
 *   copied      one after the other: out of the own files, or out of FETCH in the process of the selected mailbox's
 *               owner; into files as those of APPEND (append.h), or into one XAPPEND of them all that the process
 *               of the target's owner does. Neither reads on while the other cannot take more.
 *   committed   all of them, by APPEND's one commit, or none: who dies before leaves nothing
 *   removed     (MOVE) only then those messages, and no others, go at the source, also when the client has gone
 *               meanwhile: a death doubles, never loses
 *
 * What a process says of another user's mailbox is believed no more than what a client says: flags, dates and sizes
 * are parsed as those of APPEND are, and bounded like them.
 */
#ifndef VALIJA_IMAPD_CROSSING_H
#define VALIJA_IMAPD_CROSSING_H

#include "imapd/append.h"
#include "imapd/link.h"

#define MOST_CROSSING MOST_APPENDED              /* messages of one command */
#define MOST_CROSSING_TEXT (4u * 1024 * 1024)    /* bytes of what is said about them */
#define MOST_CROSSING_FRONT (256u * 1024)        /* of what is said about one */
/* What one FETCH asks for. As much comes, and is dropped, of messages that are not wanted any more. */
#define CROSSING_MESSAGES 100u
#define CROSSING_BYTES (1024u * 1024)
#define MOST_CROSSING_SET (32u * 1024)           /* bytes of the UIDs in one command */

/* A message on its way. */
struct crossed {
	uint32_t uid;
	uint64_t size;
	int64_t date;
	struct flag_list flags;
};

/* One that was found. */
struct crossing_found {
	uint32_t uid;
	uint64_t size;
};

struct crossing {
	struct append append;        /* (own target) c->state is this as well; append.to is NULL for another's */
	bool moves;
	bool by_uid;                 /* or "$": those that are no more are passed over */
	bool committed;
	enum progress (*step)(struct command *c);    /* ours, while APPEND's steps are the command's */
	bool (*work)(struct command *c, struct crossing *x, enum progress *progress);
	/* The source. */
	struct link *from;           /* the session's selected one; NULL: its view */
	struct span set;             /* as the client said it, for the first FETCH */
	struct message_set messages; /* of the view */
	struct text found;           /* struct crossing_found, ascending */
	size_t count, at;            /* of them; which comes next */
	size_t asked;                /* the first that was not asked for */
	uint64_t bytes;
	bool asking;                 /* a command is under way there */
	enum { FRONT, PASSING, BODY } part;      /* of a response */
	struct text front;
	struct crossed message;
	uint64_t left;               /* (unless refused) octets of it that are yet to come */
	bool in_message;
	struct change learned;
	size_t text;                 /* bytes of what was said about all */
	/* The target. */
	struct link *to;             /* the session's other one; NULL: append.to */
	bool enabling, plus;         /* what we said first is being answered; "+" is awaited */
	bool refused;                /* answered; the source speaks on until its command is through */
	/* Afterwards. */
	struct number_ranges uids;   /* what was copied */
	struct text code;            /* COPYUID */
	uint32_t next;               /* (own source) where removing goes on */
	size_t removing;             /* ranges of `uids` that were asked to go */
	int error;
	char highest[40];            /* HIGHESTMODSEQ n, as the source's owner's process says it */
};

/* Does the command copy or move between users? Then it is begun: true. */
bool crossing_takes(struct command *c, bool moves, enum progress *progress);

/* --- crossing-source.c, crossing-remove.c: steps of the command (work). True: on with x->work; false: *progress. --- */

/* Which messages? */
bool crossing_find(struct command *c, struct crossing *x, enum progress *progress);
bool crossing_copy(struct command *c, struct crossing *x, enum progress *progress);
/* They are to be taken away where they were: may they? */
bool crossing_may_remove(struct command *c, struct crossing *x, enum progress *progress);
bool crossing_remove(struct command *c, struct crossing *x, enum progress *progress);

/* --- crossing-hear.c --- */

enum heard {
	HEARD_NOTHING,
	HEARD_OVER,          /* the way is gone, or this is no answer to what we said */
	HEARD_LINE,          /* a response in one line */
	HEARD_MORE,          /* a piece of another, dealt with */
	HEARD_FRONT,         /* x->front: that of a FETCH up to its literal */
	HEARD_OCTETS,        /* of that literal */
	HEARD_END,           /* of that FETCH */
	HEARD_TAGGED,        /* the end of the answer to `tag` */
};

enum heard crossing_hear(struct command *c, struct crossing *x, struct span tag, struct span *piece);
/* Takes "* 3 FETCH (UID 7" or, with UIDONLY, "* 7 UIDFETCH (UID 7". */
bool crossing_take_fetch(struct span *in, uint32_t *uid);
/* A response that is none of ours: the client's news. */
void crossing_pass_on(struct command *c, struct span line);

/* --- crossing-target.c --- */

/* How far the target is: it can take something; it cannot yet; the command is answered. */
enum crossing_ready { TARGET_READY, TARGET_WAITS, TARGET_REFUSES };
/* All is found: is there room, and the target there? False: answered. */
bool crossing_target_begin(struct command *c, struct crossing *x);
enum crossing_ready crossing_target_ready(struct command *c, struct crossing *x);
/* A message comes, if the target is ready: x->message. False: answered. */
bool crossing_message_begin(struct command *c, struct crossing *x);
void crossing_message_octets(struct crossing *x, struct span octets);
void crossing_message_end(struct crossing *x);
/* All are there: committed, with x->code. */
bool crossing_commit(struct command *c, struct crossing *x, enum progress *progress);

/* --- crossing.c --- */

/* They are copied, durable: on with MOVE, or the answer. */
bool crossing_committed(struct command *c, struct crossing *x, enum progress *progress);
bool crossing_answer(struct command *c, struct crossing *x, enum progress *progress);
/* Answers as another's process did: `line` without its tag. */
enum progress crossing_pass_answer(struct command *c, struct span line);
/* The way to the source, or to the target, is gone. */
enum progress crossing_lost_source(struct command *c, struct crossing *x);
enum progress crossing_lost_target(struct command *c, struct crossing *x, bool maybe_done);

#endif
