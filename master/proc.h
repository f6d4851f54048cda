/*
 * proc - what the kernel says about a process: so that what valija status shows can be trusted.
 */
#ifndef VALIJA_PROC_H
#define VALIJA_PROC_H

#include "common/text.h"

struct proc_facts {
	uint64_t uid, gid;     /* effective */
	uint64_t capabilities; /* effective set, as bits */
	unsigned int seccomp;  /* 0 none, 1 strict, 2 filter */
	bool no_new_privs;
	bool root_known; /* may we see its root directory? */
	char root[4097]; /* "/" when it has the whole tree */
};

/* Reads /proc/PID. False when there is no such process. */
bool proc_read(uint32_t pid, struct proc_facts *f);
/* "chown,kill", or "none"; in the kernel's numbers where libcap has no name. */
void proc_capability_names(uint64_t capabilities, struct text *to);

#endif
