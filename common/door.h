/*
 * door - the listeners of a front end (smtpd, imap-login), and who is let in.
 *
 * All processes of a kind share the listening sockets. For a connection all that sleep are woken, and one has it; where
 * connections are brief (door_kind), one is woken. One that serves as many connections as it
 * may, or has no descriptor left, leaves what comes to the others for ACCEPT_PAUSE_MILLISECONDS;
 * who still waits then is turned away with a last word of the protocol and one line in the log, and
 * so is who has too many connections from one address (guest.h); an address that many share
 * (shared.h) may have half of what the process serves.
 *
 * Where a listener asks for it, each connection begins with the header of the PROXY protocol
 * (proxy-header.h), before anything else, TLS too. Only the proxies of the option proxy_from are
 * heard; everybody else's connection, a malformed header, and one that is not whole after
 * PROXY_WAIT_SECONDS are closed with one line in the log. Limits count the address that the header
 * tells.
 */
#ifndef VALIJA_DOOR_H
#define VALIJA_DOOR_H

#include <sys/queue.h>

#include "daemon.h"
#include "guest.h"
#include "proxy-header.h"
#include "run.h"
#include "shared.h"

/* A client that vanished without a word is noticed after some ten minutes. */
#define KEEPALIVE_IDLE_SECONDS 300
#define KEEPALIVE_STEP_SECONDS 60
#define KEEPALIVE_TRIES 5

#define ACCEPT_BURST 16                 /* connections taken at once; the others want some too */
#define ACCEPT_PAUSE_MILLISECONDS 500
#define PROXY_WAIT_SECONDS 5            /* for the header of the PROXY protocol */
#define NO_UID UINT32_MAX

struct event;
struct listener;
struct newcomer;

/* Who comes in, and how. */
struct arrival {
	enum service service;
	char ip[MOST_IP];               /* the client's; "local" through a UNIX socket */
	uint32_t uid;                   /* through a UNIX socket: its owner's user id; else NO_UID */
	char via[MOST_IP];              /* the proxy that told the address, or "" */
	char tls[PROXY_TLS_MOST + 1];   /* what the proxy says of TLS, for the log alone, or "" */
};

struct door_kind {
	uint32_t services;               /* which it serves: 1u << SERVICE_x */
	/* The last word, with its line end, when the process is full; and when the address has too many
	 * connections. Not said where TLS comes first. */
	const char *full, *crowded;
	/* Its connections are soon passed on: one process may have all that come in quick succession (run.h). Of those that
	 * sleep one is woken, and not each; they take turns. */
	bool brief;
	/* Somebody is let in: `me` is daemon->me; `fd` (non-blocking) is taken; `a` is valid until the
	 * return; `guest` goes back by door_left() when the connection ends. */
	void (*welcome)(void *me, const struct arrival *a, int fd, struct guest *guest);
};

/* Inside the program's own state, zero at first; door_open() before daemon_run(). Read
 * `connections`, touch nothing else. */
struct door {
	const struct door_kind *kind;
	struct daemon *daemon;           /* its loop and its settings */
	LIST_HEAD(, listener) listeners;
	LIST_HEAD(, newcomer) newcomers; /* their PROXY header is awaited */
	struct event *accept_again;      /* after a pause: too many connections or descriptors */
	bool paused, refuses;
	struct run run;                  /* of connections that were taken */
	bool woken_alone;                /* brief, and not full: for what comes no other process is woken */
	void *guests;                  /* the tree of guest.h */
	struct shared_addresses shared;
	uint32_t connections;
};

/* `kind` and `daemon` are borrowed for as long as the process lives. */
void door_open(struct door *door, struct daemon *daemon, const struct door_kind *kind);
/* Serves `fd`, which is taken; one that is not of kind->services is logged and `fd` closed. proxy:
 * connections begin with the header of the PROXY protocol. */
void door_listen(
	struct door *door, enum service service, struct span address, bool proxy, int fd);
/* Lets a connection in that came another way than through a listener (sendmail's drop): `fd` is
 * taken, a->ip and a->uid are filled in. False, and `fd` closed (logged), when there is no room. */
bool door_let_in(struct door *door, const struct arrival *a, int fd);
/* Closes that listener, if there is one; all of them. Who is inside stays. */
void door_unlisten(struct door *door, enum service service, struct span address);
void door_close(struct door *door);
/* Is this client's address one that many share (shared.h)? Then no limit for each address applies. */
bool door_is_shared(const struct door *door, const char *ip);
/* Somebody has logged in: from now on the connection *guest counts for the user at that address, not for
 * the address. False when he has connections_per_user already; then nothing changes. A NULL *guest is only noted. */
bool door_logged_in(struct door *door, struct guest **guest, const char *ip, struct span user);
/* A trusted proxy says who the client is: from now on the connection *guest counts for the address `ip`, or for none
 * where that is no address. False when that one has as many as it may; then nothing changes. */
bool door_is_of(struct door *door, struct guest **guest, const char *ip);
/* A connection has ended. Sets *guest to NULL; ends a process that is leaving with its last one. */
void door_left(struct door *door, struct guest **guest);

#endif
