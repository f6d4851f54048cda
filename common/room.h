/*
 * room - what one program may do, as data; and the one function that makes it so.
 */
#ifndef VALIJA_ROOM_H
#define VALIJA_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a rule of Landlock allows below a directory. */
#define ROOM_READ      (1u << 0)   /* read files, list directories */
#define ROOM_WRITE     (1u << 1)   /* write and truncate files that exist or are made */
#define ROOM_MAKE      (1u << 2)   /* make, link, rename and remove files and directories */

struct room_path {
	int directory;        /* an O_PATH descriptor */
	const char *below;    /* relative to it, "." for itself; a missing one is skipped. NULL: itself, also a file or device */
	uint32_t rights;
};

struct room {
	const char *name;
	bool chrooted;               /* into DIRECTORY_EMPTY, when started by root */
	bool files;                  /* false: Landlock forbids every path */
	bool secret_memory;          /* locked memory, not dumpable */
	bool system_files;           /* its paths have /etc in them */
	bool network;                /* may connect to others, where its system calls have connect */
	bool forgiving;              /* other system calls fail instead of killing: modules that are not ours */
	bool internet;               /* may make sockets of IPv4 and IPv6, bind and connect them */
	bool file_users;             /* may touch files as other users, never as root: with CAP_SETUID, CAP_SETGID */
	bool file_times;             /* may set the times of files that it has open */
	const int *syscalls;         /* allowed beside the common set; ends with -1. Others kill the process. */
	uint64_t keeps;              /* capabilities kept, as bits 1 << CAP_x; only when started by root */
	uint32_t most_descriptors;   /* RLIMIT_NOFILE; 0 leaves it */
};

/* What was really put in force. */
struct room_facts {
	uint8_t seccomp;       /* 2: filter */
	uint8_t landlock;      /* ABI version, 0: the kernel has none (logged as a warning) */
	bool chrooted;
};

/* Enforces `room` and proves it: no way back to root, forbidden open and socket calls fail. `empty`
 * is the directory for the chroot or -1, `paths` (`count`) what may be reached when room->files.
 * Ends the process (logged) when something cannot be enforced that the kernel has. */
void room_enter(const struct room *room, int empty, const struct room_path *paths, size_t count,
	struct room_facts *facts);

/* For master's child before exec: become `uid`, `gid` with supplementary `groups`, keep only
 * `capabilities` (as bits; ambient), no_new_privs; verified by reading back. 0 or -1 with errno. */
int room_become(uint32_t uid, uint32_t gid, const uint32_t *groups, size_t group_count,
	uint64_t capabilities);
/* For master itself: limit permitted, effective and bounding sets to `capabilities`. */
int room_limit_capabilities(uint64_t capabilities);

#endif
