/*
 * daemon - what every daemon inherits, and its life until it leaves.
 *
 * master starts each program with two descriptors beside 0, 1 and 2 (/dev/null): CONTROL_FD, the
 * control channel, and LOG_FD, the log channel. Over the control channel come, in this order,
 * settings, directories, keys and certificates, listeners, peers (more of these may come later),
 * and go. Then the daemon confines itself (room.h), says confined, and serves.
 */
#ifndef VALIJA_DAEMON_H
#define VALIJA_DAEMON_H

#include "channel.h"
#include "room.h"
#include "settings.h"

#define CONTROL_FD 3
#define LOG_FD 4
#define MOST_PEERS_OF_A_KIND 64

struct event_base;

/* One row for each kind of peer that the program talks with. */
struct peer_kind {
	enum program program;
	const struct hearing *hearing;
};

/* What a program says of itself, in its main file. */
struct daemon_kind {
	enum program program;
	const struct room *room;
	const struct peer_kind *peers;     /* ends with { 0, NULL } */
	/* Each may be NULL; `me` is daemon->me. */
	/* After go, before confinement: the last moment to open files. Returns false to give up. */
	bool (*prepare)(void *me);
	/* Confined, and nobody has been told yet that we serve; settings_changed() has not been called. */
	void (*confined)(void *me);
	/* A new channel to a peer is there (also after the peer's restart). */
	void (*peer_came)(void *me, struct channel *peer);
	/* A listener to serve, taken by the callee (proxy: each connection begins with the header of
	 * the PROXY protocol); and one to close. Only smtpd and imap-login. */
	void (*listener)(void *me, enum service service, struct span address, bool proxy, int fd);
	void (*listener_gone)(void *me, enum service service, struct span address);
	/* Are new settings acceptable? A reason in static memory refuses them. Also asked once before
	 * prepare(), when a refusal ends the process. */
	const char *(*settings_check)(void *me, const struct settings *offered);
	/* New settings are in force (daemon->settings); the old ones are freed after the return. Also called
	 * once when serving begins, with old NULL. */
	void (*settings_changed)(void *me, const struct settings *old);
	/* The offer of `generation` is off, whoever refused it: forget what came with it. The number
	 * may be offered again, with other content. */
	void (*settings_dropped)(void *me, uint32_t generation);
	/* Certificates and keys (tls, tls-key): taken by the callee; in force at the swap of `generation`.
	 * The first ones come before prepare(), and are in force at the first settings_changed(). False
	 * refuses the settings of that generation. */
	bool (*certificate)(void *me, uint32_t generation, unsigned int number, int chain_fd);
	bool (*private_key)(void *me, uint32_t generation, unsigned int number, int chain_fd, int key_fd);
	/* A key that signs mail (tls-key), for a member of the option `dkim`: as private_key. */
	bool (*dkim_key)(void *me, uint32_t generation, unsigned int number, int fd);
	/* The same for authorities that are trusted (tls; enum tls_trust_kind), and OCSP responses for
	 * certificates that came before. */
	bool (*trust)(void *me, uint32_t generation, unsigned int kind, int fd);
	bool (*certificate_status)(void *me, uint32_t generation, unsigned int number, int fd);
	/* Finish what is in flight, then daemon_exit(); after `seconds` the loop ends anyway. NULL: leave at once. */
	void (*leave)(void *me, unsigned int seconds);
	/* An address of this machine went or came, or a default route (message.h); also before prepare(), for
	 * each address that is there. */
	void (*address_changed)(void *me, const struct msg_address_changed *m);
	/* For valija status: connections now, conversations ever. */
	void (*load)(void *me, uint32_t *connections, uint64_t *served);
	/* Runs after each round of events: blocking workers do their batch here. */
	void (*work)(void *me);
	/* Further handlers (their first argument is `me`), and the hour of their conversations, on the
	 * control channel (imap: imap_user, imap_session; imap-login: imap_opened…). */
	const struct hearing *control;
};

struct daemon {
	const struct daemon_kind *kind;
	struct event_base *base;
	struct settings *settings;         /* in force; borrowed by everybody until settings_changed */
	struct channel *master;
	unsigned int index;                /* which of its kind this process is */
	int poll_fd;                       /* base's own epoll instance, or some other descriptor (door.c) */
	int directory[DIRECTORY_COUNT];    /* O_PATH, or -1 */
	unsigned char passport_key[32];    /* tls and auth only */
	struct room_path paths[16];        /* what Landlock lets through; prepare() fills it */
	size_t path_count;
	bool leaving;
	void *me;
};

/* The whole life: inherit, prepare, confine, serve. Returns the exit code. `me` is the program's own
 * state; `d` is filled before prepare() is called and lives as long as the process. */
int daemon_run(struct daemon *d, const struct daemon_kind *kind, void *me);
/* Ends the loop after this event. */
void daemon_exit(struct daemon *d);
/* The channel to peer `index` of a kind, or NULL while it is away. */
struct channel *daemon_peer(struct daemon *d, enum program program, unsigned int index);
/* Any living peer of a kind, the next in turn at each call, or NULL. */
struct channel *daemon_any_peer(struct daemon *d, enum program program);

#endif
