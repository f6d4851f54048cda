/*
 * process - one daemon: started, joined with its peers, watched, started anew.
 *
 *   AWAY --start--> STARTING --confined--> SERVING --leave--> LEAVING --dies--> (gone)
 *     ^                 |                      |
 *     +----- dies: after a while, start again -+
 */
#ifndef VALIJA_PROCESS_H
#define VALIJA_PROCESS_H

#include "master/supervisor.h"

#define RETRY_FIRST_MILLISECONDS                                                                   \
	100 /* after the second death in a row; the first starts again at once */
#define RETRY_MOST_MILLISECONDS 10000
/* At most, when it was killed from outside: it has not shown to be broken, and others wait for it. */
#define RETRY_KILLED_MILLISECONDS 500
#define LONG_LIFE_SECONDS	10 /* who lived that long did not die in a row */
#define START_SECONDS		30 /* from its start until it serves; then it is killed */
#define MOST_FAILED_STARTS	3  /* while master itself starts: then it gives up */
#define GO_AWAY_SECONDS		2  /* from closing its control channel to SIGKILL */

enum process_state { PROCESS_AWAY, PROCESS_STARTING, PROCESS_SERVING, PROCESS_LEAVING };

struct process {
	TAILQ_ENTRY(process) next;
	struct supervisor *s;
	const struct program_row *row;
	unsigned int index;
	enum process_state state;
	pid_t pid;		 /* 0: none */
	struct channel *control; /* NULL: none */
	int log_end; /* our duplicate of the reading end, for a restarted log; or -1 */
	struct mailbox *mailbox; /* imap: whose; NULL once forgotten */
	bool retired;		 /* not to be started again */
	unsigned int restarts, deaths_in_a_row;
	unsigned int refusals; /* of peers, in this life; dispute.h */
	bool killed_by_us, was_killed; /* was_killed: from outside, when it died last */
	uint64_t since;	  /* seconds since 1970 */
	uint64_t started; /* milliseconds, monotonic */
	uint8_t landlock;
	bool load_asked;
	uint64_t answer_owed; /* milliseconds, monotonic: since when a load_ask waits; 0: not */
	uint32_t connections;
	uint64_t served;
	uint32_t asked_generation; /* settings that it was offered, and ... */
	uint32_t ready_generation; /* ... those that it accepted */
	struct event *timer;	   /* to start it, or to kill it */
};

/* Makes and starts one. It appears in s->processes, and stays there until it is retired and
 * dead. For imap, `mailbox` says for whom. */
struct process *process_new(struct supervisor *s, const struct program_row *row, unsigned int index,
	struct mailbox *mailbox);
/* Has as many of each kind as the settings in force ask for: starts more, lets the surplus
 * leave. */
void process_all(struct supervisor *s);
/* A child ended; `status` as waitpid tells. */
void process_ended(struct supervisor *s, pid_t pid, int status);
/* Asks it to finish within `seconds` and not to be started again. */
void process_leave(struct process *p, unsigned int seconds);
/* It has confined itself. */
void process_serves(struct process *p);
/* Asks it to leave, and starts another in its place. */
void process_replace(struct process *p);
/* SIGKILL, now; its death is handled as any other. */
void process_kill(struct process *p);
/* Its control channel is no more: it goes by itself, or is killed. */
void process_control_gone(struct process *p);
struct process *process_find(struct supervisor *s, enum program program, unsigned int index);
/* Are all that should be there confined and serving? */
bool process_all_serving(const struct supervisor *s);
/* A close-on-exec duplicate, to be given away with a message; -1 (logged) when there is none. */
int process_duplicate(int fd);
/* Tells log where the lines of `p` come from. */
void process_log_sources(struct supervisor *s, struct process *log);

uint64_t process_milliseconds(void); /* monotonic */
uint64_t process_seconds(void);	     /* monotonic */

#endif
