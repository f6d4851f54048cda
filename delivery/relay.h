/*
 * relay - what the files of the SMTP client share.
 *
 *   relay.c            the program: jobs from queue, results to it
 *   relay-job.c        a job's life: where to, which server next, what came of each recipient
 *   relay-route.c      servers of a next hop: MX, addresses, loops, TLSA
 *   relay-connect.c    from addresses to a connected socket
 *   relay-dialogue.c   the conversation with one server: bytes, time limits, replies
 *   relay-hello.c      before the first mail: greeting, EHLO, STARTTLS, AUTH
 *   relay-commands.c   which command comes next, and what its reply means
 *   relay-policy.c     what TLS a next hop must have
 *   relay-sts.c        and what its domain wants (MTA-STS)
 *   relay-socket.c     a socket of this machine, by master
 *   relay-token.c      access tokens for relayhosts, by a program
 *
 * A job has at most one dialogue, a dialogue at most one job. A dialogue without a job waits a while
 * for another one for the same next hop.
 */
#ifndef VALIJA_RELAY_H
#define VALIJA_RELAY_H

#include "common/daemon.h"
#include "common/dns-ask.h"
#include "common/log.h"
#include "outgoing.h"
#include "own-address.h"
#include "relay-auth.h"
#include "relay-policy.h"
#include "seven-bit.h"
#include "smtp-reply.h"
#include "verdict.h"

#include <netinet/in.h>
#include <sys/queue.h>

#define MOST_SERVERS 20              /* of one next hop that are tried (RFC 5321 5.1 asks for two) */
#define MOST_SERVER_ADDRESSES 8      /* of one server */
#define MOST_JOB_RECIPIENTS 1000
#define MOST_TLSA 8000               /* bytes of packed records for the TLS worker */

struct event;
struct relay;
struct job;
struct dialogue;

/* --- servers --- */

struct server {
	char name[MOST_DNS_NAME + 1];       /* lower case; or an address as text */
	char base[MOST_DNS_NAME + 1];       /* after secure CNAMEs: where TLSA records stand */
	uint16_t preference;
	uint32_t chance;                    /* order among equals */
	bool literal;
};

struct server_addresses {
	struct sockaddr_storage at[MOST_SERVER_ADDRESSES];
	socklen_t len[MOST_SERVER_ADDRESSES];
	size_t count;
};

/* --- jobs --- */

enum recipient_state { WAITING, SENT, ACCEPTED, OVER };

struct job_recipient {
	uint32_t number;
	uint8_t notify;
	char *address, *orcpt;
	enum recipient_state state;
	bool again;                         /* "too many recipients": in the next transaction */
};

struct job {
	struct relay *relay;
	TAILQ_ENTRY(job) all;
	struct channel *queue;              /* NULL: it is gone, and nobody wants the results */
	uint64_t id, message, session;
	char *sender, *next_hop, *envid;
	uint8_t body, ret, by_mode, priority;
	bool utf8, by_trace;
	bool tls_optional;                     /* what the domain publishes of TLS does not count */
	bool require_tls, asks_tls;            /* REQUIRETLS: without it, back to the sender; where it can be had */
	uint64_t size, deliver_by;
	unsigned char *top;
	size_t top_len;
	enum relay_way way;
	uint16_t port;
	int fd;                             /* the message */
	struct job_recipient *recipient;
	uint32_t wanted, count, left;       /* left: not OVER */
	struct seven_bit *seven;            /* the message in US-ASCII, once a server wanted it */
	bool seven_known;                   /* it has been looked at to its end */
	char key[512];                      /* of connections that fit */
	struct tls_policy policy;
	enum sts_mode sts;                  /* what the domain wants, where DANE has no say */
	char *sts_mx;                       /* which servers: sts-policy.h */
	struct event *sts_timer;            /* sts is asked */
	bool waits;                         /* for the file of credentials */
	uint64_t socket_ask;                /* master is asked for a socket; 0: it is not */
	struct login_token *token;          /* that is waited for */
	struct credentials *credentials;    /* NULL: none for this next hop */
	/* where we are */
	struct server server[MOST_SERVERS];
	size_t servers, current;            /* current: being tried */
	bool mx_secure;                     /* the list of servers is proved */
	bool implicit_tls;                  /* TLS from the first byte */
	bool plain_again;                   /* this server once more, without TLS */
	struct server_addresses addresses;
	bool addresses_secure;
	bool other_family; /* it has addresses by which mail is not sent */
	unsigned char tlsa[MOST_TLSA];
	size_t tlsa_len;
	bool dane;                          /* the current server must fit tlsa */
	struct dns_question *ask[2];
	struct connecting *connecting;
	struct dialogue *dialogue;
	/* why no server helped so far */
	struct verdict fault;
	char fault_text[MOST_REASON + 1], fault_status[MOST_STATUS + 1], fault_server[400];
	enum health health;
};

/* The domain's policy is known: a connection that fits, or servers. */
void job_policy_known(struct job *j);
/* Takes a complete job: ends with job_free() in any case. */
void job_begin(struct job *j);
void job_free(struct job *j);
/* The current server did not help; the next one, or the end with this verdict. */
void job_next_server(struct job *j, struct verdict why, enum health health);
/* As the outcome of the last resort, when no server helps. Copied. */
void job_note_fault(struct job *j, struct verdict why);
/* Tells queue; once each. */
void job_tell(struct job *j, struct job_recipient *r, struct verdict v, const char *server, bool relayed);
/* All that are not over get this, and the job ends. */
void job_end_all(struct job *j, struct verdict v, const char *server);
/* Nothing is left to do. */
void job_end(struct job *j);
/* Servers are known (j->server), or *why there is none. */
void job_routed(struct job *j);
/* Addresses, and TLSA where they count, are known. */
void job_located(struct job *j);

/* --- routes --- */

/* Looks for the servers of j->next_hop, then job_routed() or job_end_all(). Never from inside. */
void route_begin(struct job *j);
/* Looks for what is needed of the current server, then job_located() or job_next_server(). */
void route_locate(struct job *j);
void route_cancel(struct job *j);
/* May mail that DNS sends there go there? A reason in static memory, or NULL. */
const char *route_address_refused(const struct relay *r, const struct sockaddr_storage *a, uint16_t port);
bool route_is_own_name(const struct relay *r, struct span name);

/* --- policies of domains --- */

bool sts_is_wanted(const struct job *j);
/* Asks sts; then job_policy_known(), or job_end_all(). Never from inside. */
void sts_begin(struct job *j);
void sts_cancel(struct job *j);
void sts_peer_came(struct relay *r, struct channel *peer);
uint32_t sts_hour(struct relay *r, uint64_t id);
void sts_told(struct relay *r, uint64_t id, const struct msg_sts_told *m);
/* For the domain's report (RFC 8460), when tls_reports says so: a session with the current server; result: empty, all
 * was well. `ip`, `own_ip` may be empty. */
void sts_report(const struct job *j, const char *ip, const char *own_ip, struct span result, struct span reason);
/* Is this server one of those that the domain's policy names? */
bool sts_allows(const struct job *j, const struct server *s);

/* --- connecting --- */

/* Tries the addresses of the current server; then dialogue_new() or job_next_server(). */
void connect_begin(struct job *j);
void connect_cancel(struct job *j);

/* --- sockets of this machine (lmtp:unix:) --- */

/* Is the next hop one? */
bool socket_is_wanted(const struct job *j);
/* Asks master; then dialogue_new() or job_next_server(). */
void socket_begin(struct job *j);
/* `fd` is taken. */
void socket_told(struct relay *r, uint64_t id, int fd);
void socket_fault(struct relay *r, uint64_t id, int error);

/* --- access tokens --- */

/* Fills j->credentials->secret. False: the job waits for it, or has ended. */
bool token_have(struct job *j);
/* The server does not take it: the next job asks for another one, a while from now. */
void token_refused(struct relay *r, const char *login);
void token_told(struct relay *r, uint64_t id, struct span reason);
/* None is used again. */
void tokens_forget(struct relay *r);
/* The rest of job_begin(), when the token is there. */
void job_go_on(struct job *j);

/* --- solicitations --- */

/* What its field Solicitation says, for SOLICIT= (RFC 3865 2.7), into `to`. False: there is none, or it is malformed; then `to`
 * means nothing. */
bool relay_solicitation(const struct job *j, struct text *to);

/* --- dialogues --- */

enum capability {
	CAP_PIPELINING = 1 << 0, CAP_8BITMIME = 1 << 1, CAP_SIZE = 1 << 2, CAP_STARTTLS = 1 << 3,
	CAP_SMTPUTF8 = 1 << 4, CAP_CHUNKING = 1 << 5, CAP_BINARYMIME = 1 << 6, CAP_DSN = 1 << 7,
	CAP_REQUIRETLS = 1 << 8, CAP_AUTH = 1 << 9, CAP_ENHANCED = 1 << 10,
	CAP_DELIVERBY = 1 << 11, CAP_PRIORITY = 1 << 12, CAP_SOLICIT = 1 << 13,
};

enum step {
	STEP_TLS_FIRST,         /* implicit TLS: the worker has the socket */
	STEP_GREETING, STEP_EHLO, STEP_HELO, STEP_STARTTLS, STEP_TLS, STEP_AUTH,
	STEP_LOOK,              /* nothing is said; the message is looked at, slice by slice: must it be encoded again? */
	STEP_ENVELOPE,          /* MAIL, RCPT, DATA: some are said, some answered */
	STEP_BODY,              /* after 354, or chunks */
	STEP_VERDICT,           /* everything is said */
	STEP_RESET, STEP_IDLE, STEP_QUIT,
};

enum said { SAID_MAIL, SAID_RCPT, SAID_DATA, SAID_CHUNK, SAID_LAST_CHUNK };

struct expected {
	enum said said;
	uint32_t recipient;
};

struct dialogue {
	struct relay *relay;
	TAILQ_ENTRY(dialogue) all;
	struct job *job;
	uint64_t id;                        /* in the log, and for the TLS worker */
	char key[512];
	char host[MOST_DNS_NAME + 1], ip[MOST_IP + 1], own_ip[MOST_IP + 1], where[400]; /* where: "host[ip]:port" */
	uint16_t port;
	int fd;
	struct event *readable, *writable, *timer;
	struct channel *tls_worker;         /* has our socket */
	enum step step;
	unsigned int caps;
	uint64_t size_limit;
	uint64_t by_least;                  /* DELIVERBY: the shortest time that it takes, in seconds */
	char auth[256];                     /* mechanisms offered */
	bool lmtp, tls, verified, logged_in, greeted, heard;    /* heard: the peer has answered something in this use */
	char tls_version[17], tls_cipher[65];
	uint8_t tls_level;
	struct smtp_reply reply;
	struct text out;
	size_t out_at;
	/* an envelope */
	struct expected *expected;
	size_t expected_from, expected_to, expected_room;
	uint32_t next_recipient;            /* to be said */
	bool mail_said, data_said;
	uint32_t accepted, answered;        /* recipients; LMTP: how many were answered at the end */
	bool chunking, mail_refused, chunk_failed;
	bool seven;                         /* j->seven is what leaves */
	uint8_t body_kind;                  /* enum body, of what leaves */
	struct outgoing body;
	unsigned int uses;
	struct sasl *sasl;
	struct verdict doom;                /* fails with it soon; static memory */
};

/* A connected socket (taken), for the current server of `j`; address: NULL where it has none (a UNIX socket). */
void dialogue_new(struct job *j, int fd, const struct sockaddr_storage *address);
/* An idle one that fits takes the job. False: there is none. */
bool dialogue_reuse(struct job *j);
void dialogue_free(struct dialogue *d);
/* Sends what is in d->out, and the body, as the socket takes it. Never frees `d`. */
void dialogue_flush(struct dialogue *d);
void dialogue_set_timer(struct dialogue *d, uint64_t seconds);
/* The connection is over; the job goes on elsewhere, or its recipients later. */
void dialogue_failed(struct dialogue *d, struct verdict why);
/* Gives the socket to a TLS worker. */
void dialogue_start_tls(struct dialogue *d);
/* Nothing more for this job: says QUIT, or waits for another. */
void dialogue_done(struct dialogue *d);
void dialogue_quit(struct dialogue *d);
void dialogue_tls_connected(struct relay *r, struct channel *from, uint64_t id,
	const struct msg_tls_connected *m, int fd);
void dialogue_tls_failed(
	struct relay *r, struct channel *from, uint64_t id, const struct msg_tls_failed *m);
void dialogue_tls_gone(struct relay *r, struct channel *worker);
struct dialogue *dialogue_find(struct relay *r, uint64_t id);

/* --- commands --- */

/* The socket is there and the peer is to speak first, or we (after TLS). */
void hello_begin(struct dialogue *d);
void hello_say(struct dialogue *d);
/* A reply is whole. False: the dialogue is gone. So the second, of those before the first mail. */
bool commands_reply(struct dialogue *d);
bool hello_reply(struct dialogue *d);
/* Says a line, to be answered in so many seconds. */
void commands_say(struct dialogue *d, const char *command);
uint64_t commands_reply_seconds(const struct dialogue *d);
/* The job goes on at the next server, for `v` or for the reply at hand; this connection is done with. False. */
bool commands_next_server(struct dialogue *d, struct verdict v, enum health health);
bool commands_try_another(struct dialogue *d, const char *command);
/* Begins a transaction for d->job; or STEP_LOOK, after each slice of which it is called again. */
void commands_envelope(struct dialogue *d);
/* The body has left. */
void commands_body_sent(struct dialogue *d);

/* Words for queue: "HOST[IP]:PORT said: 550 5.1.1 no (to RCPT)". */
struct verdict reply_verdict(const struct dialogue *d, const char *command, struct text *reason,
	char status[MOST_STATUS + 1]);

/* --- all --- */

struct relay {
	struct daemon daemon;
	TAILQ_HEAD(, job) jobs;
	TAILQ_HEAD(, dialogue) dialogues;
	TAILQ_HEAD(, login_token) tokens;
	uint32_t job_count, dialogue_count;
	uint64_t served;
	struct text credentials;            /* the file, as it was last read */
	bool credentials_known;             /* it is read, or there is to be none */
	struct event *credentials_timer;
};

#define MOST_JOBS 5000               /* of one relay process */

#endif
