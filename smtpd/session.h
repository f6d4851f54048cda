/*
 * session - one conversation with one client, from accept to close.
 *
 * Everything happens in turns: a turn takes what has arrived, works on it, and writes what there is
 * to say. Handlers of other events (an answer of queue, a timer) only change the session's state
 * and call session_wake(): no turn ever runs inside another, and only a turn frees a session.
 */
#ifndef VALIJA_SMTPD_SESSION_H
#define VALIJA_SMTPD_SESSION_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/text.h"
#include "smtpd/server.h"

#define COMMAND_READ_MOST 16384       /* taken ahead while commands are spoken */
#define LINE_SKIPPED_MOST 65536       /* of a line that is too long, before the session is closed */
#define OUTPUT_MOST 65536
#define OUTPUT_PAUSE 4096             /* no further command while this much is unread */
#define IDLE_COMMANDS_MOST 100        /* NOOP, RSET, ... without a message; each more is an error */

#define LEAST_GREETING_DELAY 10       /* milliseconds, for those who are no strangers */
#define WITHOUT_MESSAGE_SECONDS 3600  /* however busy the client is with commands */
#define BUSY_IDLE_SECONDS 10          /* instead of smtp_idle_seconds, while three quarters of `connections` are there */
#define TLS_SLACK_SECONDS 5           /* beyond the worker's own limit */
#define QUEUE_WAIT_SECONDS 60         /* for an answer about sender, recipient, file */
#define FILTER_WAIT_SECONDS 540       /* for all filters: below the client's ten minutes */
#define COMMIT_WAIT_SECONDS 300       /* below the client's ten minutes (RFC 5321 4.5.3.2.6) */
#define SIGN_WAIT_SECONDS 60          /* the file is read back and signed */
#define AUTH_WAIT_SECONDS 60          /* beyond auth_delay_most_seconds */
#define FLUSH_WAIT_SECONDS 60         /* for a client that does not read */
#define DATA_PROGRESS_BYTES 1024      /* in smtp_data_seconds; less is a client that dribbles */

enum stage {
	STAGE_PAUSE,             /* before the greeting: nobody may talk yet */
	STAGE_COMMANDS,
	STAGE_TLS_OFFERED,       /* 220 is on its way; then a TLS worker gets the socket */
	STAGE_TLS,               /* it has it */
	STAGE_AUTH_ASKED,        /* auth owes an answer */
	STAGE_AUTH_CHALLENGED,   /* the client does */
	STAGE_AUTH_LAST,         /* the client is right, but owes an empty line */
	STAGE_FILE_ASKED,        /* queue owes a file for the message */
	STAGE_INVITED,           /* it still does, but the client may send by now: the message waits in its socket */
	STAGE_DATA,
	STAGE_CHUNK,             /* octets of BDAT come in */
	STAGE_FILTERED,          /* milter owes the verdict of the filters */
	STAGE_SIGNING,           /* the message is read back, and tls-key signs it */
	STAGE_COMMITTED,         /* queue owes the last word on the message */
	STAGE_CLOSING,           /* what was said goes out, then it is over */
};

struct replies;
struct chunk;
struct told;

/* What the TLS worker saw; its words were checked to be printable. */
struct tls_facts {
	char version[17], cipher[65];
	struct text passport;
};

struct session {
	LIST_ENTRY(session) in_all, in_bucket;
	TAILQ_ENTRY(session) in_held_back;
	struct server *server;
	uint64_t id;
	int fd; /* the client's socket, or the worker's plaintext one; -1: away */
	enum service service;
	enum stage stage;
	char ip[MOST_IP];
	uint32_t uid;                  /* of who speaks through SERVICE_LOCAL; else NO_UID */
	struct guest *guest;
	bool may_xclient, may_xforward; /* by where the connection really comes from */
	struct told *forwarded;        /* of XFORWARD, until the next transaction has ended; or NULL */
	struct event readable, writable, clock, turn;
	struct text input;             /* arrived, not yet worked on */
	struct text output;            /* said, not yet sent */
	size_t ahead;                  /* octets behind the command in hand */
	size_t skipped;                /* octets thrown away of a line that is too long */
	uint32_t progress;             /* of DATA, since the clock was set */
	bool reading, writing;
	bool ended;                    /* the client says no more: what it said is done, and answered */
	bool held_back;                /* its next command waits until queue has read what waits for it */
	bool progressed;               /* a command was taken, since the clock was set */
	enum stage timed;              /* what the clock was set for */
	bool timed_queue;
	bool extended;                 /* EHLO, not HELO */
	char *helo;                    /* NULL before HELO */
	struct tls_facts *tls;         /* NULL in clear */
	struct channel *tls_worker;    /* while STAGE_TLS */
	char *login;                   /* the address key that auth told; NULL: a stranger */
	bool auth_asked;		/* ever: queue may know a login of ours */
	struct replies *replies;       /* NULL while no answer is awaited */
	struct transaction *mail;      /* NULL outside a transaction */
	struct checks *checks;         /* of a stranger; checks.h */
	struct chunk *chunk;           /* of BDAT, until it is answered; bdat.c */
	const char *verb;              /* of the command in hand, for the log */
	time_t since;                  /* accept, or the latest message */
	uint32_t commands, idle_commands, messages;
	uint32_t errors;
};

/* Takes the accepted socket `fd` and the count in `guest`. */
void session_begin(
	struct server *server, const struct arrival *a, int fd, struct guest *guest);
/* Closes everything and frees: only for the end of a turn. */
void session_free(struct session *s);
/* Gives the session the time that belongs to its stage, from now on. */
void session_set_clock(struct session *s);
/* NULL when there is none with this id. */
struct session *session_find(struct server *server, uint64_t id);

/* Something changed: have a turn soon. */
void session_wake(struct session *s);
/* Say `code status words` and close; whatever was awaited is given up. */
void session_close(struct session *s, unsigned int code, const char *status, const char *words);
/* Close without a word. `why` goes to the log. */
void session_drop(struct session *s, const char *why);
/* Counts one error of the client; at smtp_errors the session is closed. */
void session_count_error(struct session *s);
/* The same for errors that were counted already. */
void session_check_errors(struct session *s);
/* Has the client sent anything that it should not have sent yet? */
bool session_talks_early(struct session *s);
/* Ends a session that talked out of turn (RFC 2920 3.1). */
void session_refuse_early(struct session *s);
/* The greeting, after accept or after implicit TLS. */
void session_greet(struct session *s);
/* Reads and writes `fd` from now on. */
void session_attach(struct session *s, int fd);
/* Leaves the socket to somebody else, who must close it. */
int session_detach(struct session *s);
/* No AUTH, no mail of others: is this one of ours who submits? */
bool session_submits(const struct session *s);
/* Counts `more` of a kind for the client's address; the sum of this minute (rate.h). */
uint32_t session_count(struct session *s, enum rate_kind kind, uint32_t more);
/* Which parameters of MAIL and RCPT this client was offered: bits of enum offers. */
unsigned int session_offers(const struct session *s);
/* Is the service of this session one of those that `services` names? */
bool session_is_one_of(const struct session *s, const struct list *services);
/* Is the client's address over one of the limits of a minute? Counts a connection. Then its answer. */
bool session_comes_too_often(struct session *s);
void session_refuse_often(struct session *s);
/* smtpd is leaving: close now if nothing is in flight, else after it. */
void session_leave(struct session *s);

#endif
