/*
 * room - see room.h. The life of room_enter: limits, memory, root directory, Landlock,
 * capabilities, a first proof, seccomp, the last proof. Landlock's part is room-files.c, the
 * filter room-syscalls.c.
 */
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "room-parts.h"

#define MOST_CAPABILITIES 64
#define MOST_GROUPS	  256
#define MOST_MAPS_LINE	  4352 /* a path, and what stands before it */

void
room_die(const struct room *room, const char *what)
{
	log_error(0, "not-confined", KEY_STR("room", room->name), KEY_STR("what", what), KEY_ERRNO);
	_exit(ROOM_EXIT);
}

/* --- capabilities --- */

static bool
capability_exists(unsigned int c)
{
	return c < MOST_CAPABILITIES && prctl(PR_CAPBSET_READ, (unsigned long)c, 0, 0, 0) >= 0;
}

static uint64_t
capabilities_of(cap_flag_t set)
{
	cap_t now = cap_get_proc();
	cap_flag_value_t value;
	uint64_t bits = 0;

	if (now == NULL)
		return ~(uint64_t)0; /* unknown counts as all: every check against it fails */
	for (unsigned int c = 0; c < MOST_CAPABILITIES; c++)
		if (cap_get_flag(now, (cap_value_t)c, set, &value) == 0 && value == CAP_SET)
			bits |= (uint64_t)1 << c;
	cap_free(now);
	return bits;
}

/* Permitted and effective become `bits`, inheritable `inherit`. 0 or -1 with errno. */
static int
capabilities_set(uint64_t bits, uint64_t inherit)
{
	cap_t wanted = cap_init();
	int result = -1;

	if (wanted == NULL)
		return -1;
	for (unsigned int c = 0; c < MOST_CAPABILITIES; c++) {
		cap_value_t value = (cap_value_t)c;
		if ((bits >> c & 1) != 0 &&
			(cap_set_flag(wanted, CAP_PERMITTED, 1, &value, CAP_SET) < 0 ||
				cap_set_flag(wanted, CAP_EFFECTIVE, 1, &value, CAP_SET) < 0))
			goto out;
		if ((inherit >> c & 1) != 0 &&
			cap_set_flag(wanted, CAP_INHERITABLE, 1, &value, CAP_SET) < 0)
			goto out;
	}
	result = cap_set_proc(wanted);
out:
	cap_free(wanted);
	return result;
}

static int
bounding_limit(uint64_t bits)
{
	for (unsigned int c = 0; capability_exists(c); c++)
		if ((bits >> c & 1) == 0 &&
			prctl(PR_CAPBSET_READ, (unsigned long)c, 0, 0, 0) == 1 &&
			prctl(PR_CAPBSET_DROP, (unsigned long)c, 0, 0, 0) < 0)
			return -1;
	return 0;
}

static int
ambient_set(uint64_t bits)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -1;
	for (unsigned int c = 0; c < MOST_CAPABILITIES; c++)
		if ((bits >> c & 1) != 0 &&
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, (unsigned long)c, 0, 0) < 0)
			return -1;
	return 0;
}

static uint64_t
ambient_get(void)
{
	uint64_t bits = 0;

	for (unsigned int c = 0; capability_exists(c); c++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, (unsigned long)c, 0, 0) == 1)
			bits |= (uint64_t)1 << c;
	return bits;
}

int
room_limit_capabilities(uint64_t capabilities)
{
	/* Root of a container may have fewer than we ask for: what is missing shows where it is
	 * used. */
	uint64_t keeps = capabilities & capabilities_of(CAP_PERMITTED);

	if ((capabilities_of(CAP_EFFECTIVE) >> CAP_SETPCAP & 1) != 0 && bounding_limit(keeps) < 0)
		return -1;
	if (ambient_set(0) < 0 || capabilities_set(keeps, 0) < 0)
		return -1;
	if (capabilities_of(CAP_PERMITTED) != keeps || capabilities_of(CAP_EFFECTIVE) != keeps) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/* --- becoming a user --- */

static bool
groups_are(const uint32_t *groups, size_t count)
{
	gid_t now[MOST_GROUPS];
	int n = getgroups(MOST_GROUPS, now);

	if (n < 0)
		return false;
	for (int i = 0; i < n; i++) {
		bool wanted = false;
		for (size_t k = 0; k < count; k++)
			wanted |= groups[k] == now[i];
		if (!wanted)
			return false;
	}
	for (size_t k = 0; k < count; k++) {
		bool there = false;
		for (int i = 0; i < n; i++)
			there |= groups[k] == now[i];
		if (!there)
			return false;
	}
	return true;
}

static bool
user_is(uint32_t uid, uint32_t gid)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	return getresuid(&ruid, &euid, &suid) == 0 && getresgid(&rgid, &egid, &sgid) == 0 &&
	       ruid == uid && euid == uid && suid == uid && rgid == gid && egid == gid &&
	       sgid == gid;
}

static int
change_user(uint32_t uid, uint32_t gid, const uint32_t *groups, size_t group_count)
{
	gid_t list[MOST_GROUPS];

	if (group_count > MOST_GROUPS) {
		errno = EINVAL;
		return -1;
	}
	for (size_t i = 0; i < group_count; i++)
		list[i] = groups[i];
	/* Keeps the permitted set over the change; execve ends this again. */
	if (setgroups(group_count, list) < 0 || setresgid(gid, gid, gid) < 0 ||
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	/* What the kernel says now counts, not what the calls returned. */
	if (!user_is(uid, gid) || !groups_are(groups, group_count)) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

static bool
root_can_be_had(uint32_t uid, uint32_t gid, uint64_t capabilities)
{
	if (uid != 0 && (capabilities >> CAP_SETUID & 1) == 0 &&
		(setresuid(0, 0, 0) == 0 || setuid(0) == 0))
		return true;
	return gid != 0 && (capabilities >> CAP_SETGID & 1) == 0 && setresgid(0, 0, 0) == 0;
}

int
room_become(uint32_t uid, uint32_t gid, const uint32_t *groups, size_t group_count,
	uint64_t capabilities)
{
	if (geteuid() == 0) {
		/* Of use where /etc/shadow has mode 0 only: a container's root may lack it. */
		capabilities &= capabilities_of(CAP_PERMITTED) | ~(UINT64_C(1) << CAP_DAC_READ_SEARCH);
		if (bounding_limit(capabilities) < 0 ||
			change_user(uid, gid, groups, group_count) < 0 ||
			capabilities_set(capabilities, capabilities) < 0 ||
			ambient_set(capabilities) < 0)
			return -1;
	} else {
		/* Started without root: there is one user, and nothing to give away. */
		capabilities = 0;
		if (!user_is(uid, gid) || ambient_set(0) < 0 || capabilities_set(0, 0) < 0) {
			errno = EPERM;
			return -1;
		}
	}
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	if (capabilities_of(CAP_PERMITTED) != capabilities ||
		capabilities_of(CAP_EFFECTIVE) != capabilities || ambient_get() != capabilities ||
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || !user_is(uid, gid)) {
		errno = EPERM;
		return -1;
	}
	if (root_can_be_had(uid, gid, capabilities)) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/* --- entering --- */

static void
set_limits(const struct room *room)
{
	struct rlimit limit = {0, 0};

	/* A core would hold what this process was told in confidence. */
	if (setrlimit(RLIMIT_CORE, &limit) < 0)
		room_die(room, "core limit");
	if (room->most_descriptors == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		room_die(room, "descriptor limit");
	if (limit.rlim_max < room->most_descriptors)
		log_warning(0, "few-descriptors", KEY_STR("room", room->name),
			KEY_NUM("wanted", room->most_descriptors),
			KEY_NUM("limit", limit.rlim_max));
	else
		limit.rlim_max = room->most_descriptors;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		room_die(room, "descriptor limit");
}

#ifdef ROOM_SANITIZED
/* A search for leaks at exit needs /proc, which no room has; it would end each daemon with failure.
 */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

#ifndef ROOM_SANITIZED
/* Locks every private writable mapping: data, heap, stack. Needs /proc, so it comes before chroot.
 */
static bool
lock_writable(void)
{
	unsigned long from, to;
	char rights[5];
	char line[MOST_MAPS_LINE];
	FILE *maps = fopen("/proc/self/maps", "re");
	bool all = maps != NULL;

	while (all && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 &&
			strcmp(rights, "rw-p") == 0)
			all = mlock((const void *)from, to - from) == 0;
	if (maps != NULL)
		fclose(maps);
	return all;
}
#endif

static void
guard_memory(const struct room *room)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		room_die(room, "not dumpable");
#ifndef ROOM_SANITIZED
	struct rlimit limit;

	/* Under a limit, the code of all libraries does not fit: then what can hold a secret now.
	 * (And MCL_FUTURE would make a later allocation fail instead of this call.) */
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY &&
		mlockall(MCL_CURRENT | MCL_FUTURE) == 0)
		return;
	if (!lock_writable())
		log_warning(0, "memory-not-locked", KEY_STR("room", room->name), KEY_ERRNO,
			KEY_STR("hint", "raise RLIMIT_MEMLOCK, or do not swap to disk"));
#endif
}

static bool
change_root(const struct room *room, int empty)
{
	struct stat root, wanted;

	if (!room->chrooted || empty < 0)
		return false;
	if ((capabilities_of(CAP_EFFECTIVE) >> CAP_SYS_CHROOT & 1) == 0)
		return false; /* started without root */
	if (fchdir(empty) < 0 || chroot(".") < 0 || chdir("/") < 0)
		room_die(room, "chroot");
	if (stat("/", &root) < 0 || fstat(empty, &wanted) < 0 || root.st_ino != wanted.st_ino ||
		root.st_dev != wanted.st_dev)
		room_die(room, "chroot proof");
	return true;
}

static uint64_t
drop_capabilities(const struct room *room)
{
	uint64_t keeps = room->keeps & capabilities_of(CAP_PERMITTED);

	if ((capabilities_of(CAP_EFFECTIVE) >> CAP_SETPCAP & 1) != 0 && bounding_limit(keeps) < 0)
		room_die(room, "bounding set");
	if (ambient_set(0) < 0 || capabilities_set(keeps, 0) < 0)
		room_die(room, "capabilities");
	return keeps;
}

/* What can be proved without being killed for it. */
static void
prove(const struct room *room, uint64_t keeps, const struct room_facts *facts)
{
	int fd;

	errno = 0;
	if (root_can_be_had(getuid(), getgid(), keeps))
		room_die(room, "root can be had back");
	if (!user_is(getuid(), getgid()))
		room_die(room, "more than one user id");
	if (capabilities_of(CAP_PERMITTED) != keeps || capabilities_of(CAP_EFFECTIVE) != keeps ||
		ambient_get() != 0)
		room_die(room, "capabilities are not those of the room");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		room_die(room, "new privileges can be had");
	if (facts->landlock > 0 || facts->chrooted) {
		fd = open(room->system_files ? "/" : "/etc/passwd", O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			room_die(room, "a forbidden file opens");
	}
}

void
room_enter(const struct room *room, int empty, const struct room_path *paths, size_t count,
	struct room_facts *facts)
{
	uint64_t keeps;

	memset(facts, 0, sizeof(*facts));
	set_limits(room);
	if (room->secret_memory)
		guard_memory(room);
	facts->chrooted = change_root(room, empty);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		room_die(room, "no new privileges");
	facts->landlock = room_forbid_files(room, paths, count);
	keeps = drop_capabilities(room);
	prove(room, keeps, facts);
	facts->seccomp = room_forbid_syscalls(room);
}
