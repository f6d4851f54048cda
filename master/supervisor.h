/*
 * supervisor - what master knows: one structure, made in master.c, borrowed by every other file.
 */
#ifndef VALIJA_SUPERVISOR_H
#define VALIJA_SUPERVISOR_H

#include <sys/queue.h>
#include <sys/types.h>

#include "common/channel.h"
#include "common/passport.h"
#include "common/settings.h"
#include "master/paths.h"
#include "master/spawn.h"
#include "master/ticket.h"
#include "master/wiring.h"

struct event;
struct event_base;
struct process;
struct mailbox;
struct listener;
struct visitor;
struct watch;
struct hook;
struct expiry;
struct errand;
struct public;

/* Of one certificate; copies in sealed memory, or -1. */
struct certificate_files {
	int chain, key; /* PEM */
	int status;	/* an OCSP response (DER) */
};

/* One configuration, whole: the values, and the files that belong to it; see generation.h.
 * number 0: none. */
struct generation {
	uint32_t number;
	struct settings *settings;
	struct certificate_files *files;
	size_t count;
	int *dkim; /* a key for each member of the option; -1: there is none */
	int trust[TRUST_COUNT]; /* -1: there is none */
	uint64_t looked;	/* generation_look when they were copied */
};

#define GENERATION_NONE(n) ((struct generation){ .number = (n), .trust = { -1, -1, -1 } })

/* A system user that a program becomes. */
struct account {
	uint32_t uid, gid;
	uint32_t groups[MOST_OWN_GROUPS]; /* where the row asks for them */
	size_t group_count;
};

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING };

TAILQ_HEAD(process_list, process);
TAILQ_HEAD(listener_list, listener);
TAILQ_HEAD(mailbox_list, mailbox);
TAILQ_HEAD(visitor_list, visitor);

struct supervisor {
	struct event_base *base;
	struct paths paths;
	bool root; /* separate users, chroot; else one uid for all */
	bool foreground;
	enum phase phase;
	uint64_t since; /* seconds since 1970 */

	struct generation now, offered;
	uint32_t last_number; /* of the latest offer: a late answer to an old one must not count */
	struct event *offer_deadline;
	bool offer_again; /* a reload was asked for while one was under way */
	struct event *renewal;
	uint64_t renewal_seen, renewal_tried; /* a look at changed files; the one that was offered */

	struct account accounts[PROGRAM_COUNT];
	uint32_t shared_group; /* VALIJA_GROUP */
	int program_file
		[PROGRAM_COUNT]; /* opened once: an upgrade never mixes versions before a restart */
	int directory[DIRECTORY_COUNT]; /* O_PATH */
	unsigned char passport_key[PASSPORT_KEY_SIZE];
	int null;    /* /dev/null */
	int own_log; /* reading end of master's own log channel */

	struct process_list processes;
	struct listener_list listeners;
	struct mailbox_list mailboxes;
	size_t mailbox_count, waiting_count;
	struct ticket_table tickets;
	struct shares *shares; /* who shares with whom; share.c */
	struct watch *watch; /* addresses; watch.c */
	struct expiry *expiry; /* ends of certificates; expiry.c */
	struct errand *errand; /* the command at work for us; NULL until it is needed */
	struct hook *hook;   /* address_hook; NULL until it is needed */
	char *doubts; /* lines that trust-watch has told; NULL: none yet */
	struct public *public; /* addresses at which the world reaches us; public.c */
	bool listeners_stale; /* addresses changed while a reload was under way */

	int lock, ready;	      /* the lock file; the pipe to `valija start`, or -1 */
	struct visitor_list visitors; /* connections of the valija command */
	unsigned int visitor_count;
	int control; /* the listening control socket */
	struct event *control_event;

	enum stage stopping; /* which stage leaves now */
	struct event *stop_deadline;
	struct event *watchdog;
	struct disputes *disputes; /* whose channels ended; dispute.c; NULL until there was one */
	struct event *signals[4];
	int exit_code;
};

#endif
