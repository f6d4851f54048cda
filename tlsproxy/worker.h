/*
 * worker - the state of one TLS worker, and of each connection that it serves. Only for tls.c,
 * handshake.c, outgoing.c, pump.c, signer.c and connection.c. In the words of this file the *client*
 * is whoever is at the other end of the network, also where we are TLS's client (relay, `wanted`).
 *
 * Life of a connection, its `phase`:
 *
 *   HELD       tls-key is away; nothing is read         tls-key is back: HANDSHAKE
 *   HANDSHAKE  with the client; the front end waits     done: tls_ready, PUMP; failed: tls_failed, LINGER
 *   PUMP       bytes both ways                          both directions ended: LINGER; error: gone
 *   LINGER     only so that the client can still read what was sent; its bytes are thrown away
 *
 * There is no way back, and none into clear text.
 */
#ifndef VALIJA_WORKER_H
#define VALIJA_WORKER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <sys/queue.h>

#include "common/daemon.h"
#include "credentials.h"
#include "trust.h"
#include "verify.h"

#define TICKET_KEY_SIZE 64                /* what GnuTLS asks for */
#define TICKET_SECONDS 21600              /* how long a ticket is good */
#define MOST_HANDSHAKES 1000              /* unfinished, in one worker; the oldest gives way */
#define MOST_HANDSHAKES_AN_ADDRESS 64     /* the same, of one IPv4 address or IPv6 /64 */
#define SIGNATURE_WAIT_MILLISECONDS 2000
#define KEY_PAUSE_MILLISECONDS 200        /* from tls-key's return to the next signature: the front
                                             ends announce anew meanwhile */
#define SPARE_DESCRIPTORS   256 /* kept free of connections: channels, messages under way */
#define RECORD_BYTES 16384                /* RFC 8446 5.1 */
#define ROUND_BYTES (8 * RECORD_BYTES)    /* read in one direction in one turn of the event loop */
#define RECORD_OVERHEAD 261               /* a record's header, and what RFC 8446 5.2 allows it to grow */
#define MOST_WAITING_BYTES 16777216       /* of all connections; then each has a record at most wait */
#define STALL_SECONDS 300                 /* a peer that takes nothing of what waits for it */
#define HALF_CLOSED_SECONDS 60            /* one direction ended, nothing moves in the other */
#define LINGER_SECONDS 3
#define LINGER_BLIND_MILLISECONDS 50      /* before it is watched: most clients have gone by then, all are found at once */
#define LINGER_BYTES 262144
#define MOST_WARNING_ALERTS 5             /* RFC 8446 D.4: peers that only send alerts */
#define BUCKETS 4096                      /* of sessions; a power of two */

enum phase { HELD, HANDSHAKE, PUMP, LINGER };

/* Bytes that could not be written yet; no memory while there are none. */
struct pending {
	unsigned char *at;
	size_t from, len;         /* at[from .. from + len) */
};

struct connection {
	struct worker *worker;
	uint64_t session;
	struct channel *front;            /* NULL once it is gone */
	gnutls_session_t tls;
	struct credentials *credentials;  /* held; NULL where we are the client */
	struct wanted *wanted;            /* of relay, owned: we are the client; kept through the handshake */
	bool outgoing;                    /* as it says */
	int client;                       /* the stranger's socket */
	int plain; /* our end of the pair whose other end the front end has */
	uint8_t service;
	enum phase phase;
	bool client_done;                 /* no more will be read from the client */
	bool client_broken; /* it ended without close_notify: no more will be written either */
	bool plain_done;                  /* no more will be read from the front end */
	bool plain_deaf;                  /* the front end reads no more */
	bool told_plain_end, told_client_end;
	bool ends;          /* nothing follows what now goes to the client */
	bool ticket_due;                  /* a session ticket (RFC 8446 4.6.1), which goes with the front end's
					     first words: sent alone it would cost as much as they */
	bool blind;                       /* LINGER, in worker.lingering, its socket not watched */
	bool past_ccs;                    /* its socket wakes us for more than a ChangeCipherSpec */
	bool exact;                       /* GnuTLS reads the socket itself: nothing is read ahead */
	uint8_t warnings, renegotiations;
	struct in6_addr address;          /* the client's, IPv4 mapped into IPv6 */
	struct in6_addr via;              /* of the proxy that told it; else the same */
	struct pending to_plain, to_client;       /* plain bytes; records */
	uint64_t bytes_in, bytes_out;
	size_t trash;
	struct event client_event, plain_event, timer;
	TAILQ_ENTRY(connection) handshakes;       /* worker.handshakes, later worker.lingering */
	LIST_ENTRY(connection) all, bucket;
};

LIST_HEAD(connection_list, connection);
TAILQ_HEAD(connection_queue, connection);

struct worker {
	struct daemon daemon;
	struct credentials *now, *offered;
	char offered_wrong[MOST_REASON];  /* why the offered ones cannot be used; "" if they can */
	uint32_t checked;                 /* the generation whose settings were said to be fine */
	gnutls_priority_t priorities, offered_priorities;
	struct span otherwise[SERVICE_COUNT];     /* the default name, inside the settings in force */
	gnutls_certificate_request_t asks[SERVICE_COUNT];
	struct trust *trust, *offered_trust;      /* or NULL */
	gnutls_priority_t outgoing_may, outgoing_verified;
	gnutls_certificate_credentials_t outgoing;
	bool kernel_tls;                  /* try it: it is wanted, and has not been found missing */
	bool key_ready;                   /* tls-key is there and hears announcements */
	struct event *key_back;
	unsigned char ticket_key[SERVICE_COUNT][TICKET_KEY_SIZE];
	struct {                          /* the one signature that is awaited */
		uint64_t session;
		bool waiting, done;
		gnutls_datum_t signature;
		char reason[MOST_REASON];
	} ask;
	struct connection_list all, bucket[BUCKETS];
	struct connection_queue handshakes;       /* HELD and HANDSHAKE, oldest first */
	struct connection_queue lingering;        /* LINGER, and blind */
	struct event *linger_end;
	size_t connection_count, handshake_count, most_connections;
	uint64_t served;
	size_t waiting;                           /* bytes that `pending` of all connections hold */
	/* Of one turn, empty between turns: plain bytes (with room for a record that had arrived in
	 * part), what was read from a client, and records for one. */
	unsigned char round[ROUND_BYTES + RECORD_BYTES];
	struct {
		size_t from, len;
		unsigned char at[ROUND_BYTES];
	} arrived;
	struct {
		size_t len;
		unsigned char at[(ROUND_BYTES / RECORD_BYTES + 1) *
			(RECORD_BYTES + RECORD_OVERHEAD)];
	} leaving;
};

/* --- connection.c --- */

/* Takes `client`. Its peer's address is taken from the kernel. NULL when there is none any more;
 * the socket is closed then. */
struct connection *connection_new(struct worker *w, struct channel *front, uint64_t session,
	uint8_t service, int client);
/* For sockets that come from no listener (door.h), which gives them these. */
void connection_set_options(struct connection *c);
/* The end: closes and frees. */
void connection_free(struct connection *c);
struct connection *connection_find(const struct worker *w, uint64_t session);
/* A proxy has told the client's address: limits and passport go by it. What is no address changes
 * nothing. */
void connection_told_address(struct connection *c, struct span ip);
/* Watches for `what` (EV_READ | EV_WRITE, or 0) on one of its sockets. */
void connection_watch_client(struct connection *c, short what);
void connection_watch_plain(struct connection *c, short what);
/* Calls the phase's timer function after so long; 0: no timer. */
void connection_set_timer(struct connection *c, unsigned int seconds);
/* The handshake is done: PUMP, with our end of the pair. */
void connection_to_pump(struct connection *c, int plain);
/* The client's socket now belongs to somebody else: frees the rest. */
void connection_give_away(struct connection *c);
/* Says no more, lets the client read what was sent, then ends. */
void connection_linger(struct connection *c);
/* Makes what lingering connections share. False: no memory. */
bool connection_prepare(struct worker *w);
/* The client is of the same IPv4 address or IPv6 /64. */
bool connection_same_address(const struct connection *a, const struct connection *b);

/* --- handshake.c --- */

/* Begins a handshake (or holds it back). The connection may be gone after the return. */
void handshake_begin(struct connection *c);
/* Goes on with it: its socket is ready, or tls-key is back. */
void handshake_step(struct connection *c);
/* Ends it with a reason that the front end hears. */
void handshake_fail(struct connection *c, const char *reason);
/* The same, with a result of RFC 8460 4.3. */
void handshake_fail_as(struct connection *c, const char *reason, const char *result);
/* tls-key is ready: goes on with all that were held back. */
void handshake_resume_held(struct worker *w);

/* --- kernel.c --- */

enum kernel_outcome {
	KERNEL_NOT,       /* nothing has changed: the pump */
	KERNEL_TOOK,      /* the socket carries plain text for whoever has it */
	KERNEL_BROKE,     /* half of it was done: the connection is lost */
};

/* Settings have come into force. */
void kernel_learn(struct worker *w);
/* The handshake is done: gives the keys to the kernel, if it can be. */
enum kernel_outcome kernel_take(struct connection *c);

/* --- outgoing.c --- */

/* Makes what all outgoing connections share. False: it was logged. */
bool outgoing_prepare(struct worker *w);
/* Makes the session of one connection. 0, or a GnuTLS error. */
int outgoing_begin(struct connection *c);
/* The handshake is done: judges the server; tls_connected or tls_failed. */
void outgoing_done(struct connection *c);

/* --- pump.c --- */

/* GnuTLS reads and writes through the worker's buffers from now on; `exact`: it reads from the socket itself, and
 * no byte more than it needs. */
void pump_prepare(struct connection *c, bool exact);
/* Reads from the client (unless `exact`), once in a turn. */
void pump_read(struct connection *c);
/* Writes to the client what waits; the bytes taken. */
size_t pump_write(struct connection *c);
/* Sends the records of this turn, behind those that wait; what does not fit waits. */
void pump_flush(struct connection *c);
/* Makes a record of the session ticket, when it is due. */
void pump_give_ticket(struct connection *c);
/* The handshake is done, in this turn. */
void pump_begin(struct connection *c);
/* Drops what still waits. */
void pump_end(struct connection *c);
void pump_client_ready(struct connection *c, short what);
void pump_plain_ready(struct connection *c, short what);
void pump_timeout(struct connection *c);

/* --- signer.c --- */

/* A credentials_sign: asks tls-key and waits (SIGNATURE_WAIT_MILLISECONDS). The session is the one
 * named in w->ask.session. */
int signer_ask(void *worker, const unsigned char *id, gnutls_sign_algorithm_t algorithm,
	bool hashed, const gnutls_datum_t *data, gnutls_datum_t *signature);
extern const struct hearing signer_hearing;

#endif
