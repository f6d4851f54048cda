/*
 * spawn - from master to another program: the only fork and exec of the suite's life.
 */
#ifndef VALIJA_SPAWN_H
#define VALIJA_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MOST_OWN_GROUPS 15 /* supplementary groups of a program's user */

struct spawn {
	const char *name;	/* "smtpd": argv[0] is valija-smtpd */
	int file;		/* the program, open (O_PATH) */
	int control, log, null; /* become CONTROL_FD, LOG_FD, and 0 to 2 */
	bool keep_stderr;	/* log, when it writes to stderr */
	bool become;		/* take the identity below (master is root) */
	uint32_t uid, gid, groups[MOST_OWN_GROUPS + 1];
	size_t group_count;
	uint64_t capabilities; /* kept across exec */
};

/* Starts it. The pid, or -1 with errno. All descriptors stay the caller's. What goes wrong in
 * the child is logged over `log`, and it ends with status 71 (EX_OSERR). */
pid_t spawn(const struct spawn *s);

#endif
