/* room-syscalls - seccomp: which system calls a process may still make. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "room-parts.h"

/* clang-format off */
/* What the C library, libevent and the channels need, and nothing that reaches further than the
 * descriptors and the memory that a process has. Some exist on some architectures only. */
static const int common[] = {
	/* descriptors */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
	SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(dup),
	SCMP_SYS(fstat), SCMP_SYS(fstat64), SCMP_SYS(newfstatat), SCMP_SYS(fstatat64),
	SCMP_SYS(statx),
	/* sockets that are there */
	SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recv),
	SCMP_SYS(send), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
	/* waiting */
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(ppoll_time64),
	SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_settime64), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(sched_yield), SCMP_SYS(restart_syscall),
	SCMP_SYS(futex), SCMP_SYS(futex_time64), SCMP_SYS(membarrier), SCMP_SYS(rseq),
	/* time, chance, who am I */
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_gettime64), SCMP_SYS(clock_getres),
	SCMP_SYS(clock_getres_time64), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(times),
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getuid32),
	SCMP_SYS(geteuid32), SCMP_SYS(getgid32), SCMP_SYS(getegid32), SCMP_SYS(uname),
	SCMP_SYS(sysinfo), SCMP_SYS(getrusage), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
	/* memory; mmap and mprotect follow below, as fcntl does */
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	/* signals and the end */
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(exit), SCMP_SYS(exit_group),
	-1,
};

#ifdef ROOM_SANITIZED
static const int sanitizers[] = {
	SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect), SCMP_SYS(openat), SCMP_SYS(open),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(stat),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(prlimit64),
	SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(clone), SCMP_SYS(clone3),
	SCMP_SYS(set_robust_list), SCMP_SYS(wait4), SCMP_SYS(ptrace), SCMP_SYS(pipe2),
	SCMP_SYS(kill), SCMP_SYS(tgkill), SCMP_SYS(prctl), SCMP_SYS(personality), SCMP_SYS(getppid),
	SCMP_SYS(process_vm_readv), SCMP_SYS(mincore), SCMP_SYS(arch_prctl), SCMP_SYS(ioctl), -1,
};
#endif

/* Refused with an errno instead of death: libraries try these on their own (time zones, NSS, resolver)
 * and go on without; and so a process can prove its room without dying of it. */
static const int refused[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(socket), -1,
};

/* clang-format on */

/* Duplicates, and calls that this architecture does not have, are no failures. */
static void
check(const struct room *room, int result, const char *what)
{
	if (result == 0 || result == -EEXIST || result == -EDOM)
		return;
	errno = -result;
	room_die(room, what);
}

static void
allow(const struct room *room, scmp_filter_ctx filter, const int *calls)
{
	for (; calls != NULL && *calls != -1; calls++)
		check(room, seccomp_rule_add(filter, SCMP_ACT_ALLOW, *calls, 0),
			"system call filter");
}

static bool
lists(const int *calls, int call)
{
	for (; calls != NULL && *calls != -1; calls++)
		if (*calls == call)
			return true;
	return false;
}

/* Allows `call` where argument `number`, masked with `mask`, is `value`. */
static void
allow_if(const struct room *room, scmp_filter_ctx filter, int call, unsigned int number,
	scmp_datum_t mask, scmp_datum_t value)
{
	struct scmp_arg_cmp only = {number, SCMP_CMP_MASKED_EQ, mask, value};

	/* A room that lists such a call has all of it. */
	if (!lists(room->syscalls, call))
		check(room, seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &only),
			"filter of arguments");
}

/* What stays within the own descriptors. Not F_SETOWN, F_SETOWN_EX, F_SETSIG and F_NOTIFY: the
 * kernel would send signals in our name, SIGKILL too, to every process of the same uid, and only
 * newer kernels' Landlock (ABI 6) forbids that. */
static void
allow_fcntl(const struct room *room, scmp_filter_ctx filter)
{
	static const int commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL,
		F_GETLK, F_SETLK, F_SETLKW, F_SETLEASE, F_GETLEASE, F_ADD_SEALS, F_GET_SEALS};
	const scmp_datum_t whole = UINT32_MAX; /* the kernel sees an int */

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		allow_if(room, filter, SCMP_SYS(fcntl), 1, whole, (scmp_datum_t)commands[i]);
		allow_if(room, filter, SCMP_SYS(fcntl64), 1, whole, (scmp_datum_t)commands[i]);
	}
}

/* Sockets of IPv4 and IPv6 and no others: not of this machine's own kinds (UNIX, netlink, packet),
 * which a library that tries them is refused. */
static void
allow_internet(const struct room *room, scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp others[] = { { 0, SCMP_CMP_GT, AF_INET6, 0 },
		{ 0, SCMP_CMP_EQ, AF_UNIX, 0 } };
	static const int calls[] = { SCMP_SYS(bind), SCMP_SYS(connect), -1 };

	allow(room, filter, calls);
	allow_if(room, filter, SCMP_SYS(socket), 0, UINT32_MAX, AF_INET);
	allow_if(room, filter, SCMP_SYS(socket), 0, UINT32_MAX, AF_INET6);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		check(room, seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
			&others[i]), "filter of sockets");
}

/* The filter sees 64 bits of an id, the kernel takes 32: "not 0" alone would let 2^32 through, which is root. So for each
 * of the 32: it is set, and none of the upper ones. */
static void
allow_other_than_root(const struct room *room, scmp_filter_ctx filter, int call)
{
	const scmp_datum_t upper = ~(scmp_datum_t)UINT32_MAX;

	for (unsigned int bit = 0; bit < 32; bit++) {
		scmp_datum_t set = (scmp_datum_t)1 << bit;

		allow_if(room, filter, call, 0, upper | set, set);
	}
}

/* Calls that are harmless with some arguments only. */
static void
allow_some(const struct room *room, scmp_filter_ctx filter)
{
	const scmp_datum_t all = ~(scmp_datum_t)0;

	/* No new code: memory is never made executable. */
	allow_if(room, filter, SCMP_SYS(mmap), 2, PROT_EXEC, 0);
	allow_if(room, filter, SCMP_SYS(mmap2), 2, PROT_EXEC, 0);
	allow_if(room, filter, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
	/* How much is waiting (libevent's buffers)? Is it a terminal (stdio)? */
	allow_if(room, filter, SCMP_SYS(ioctl), 1, all, FIONREAD);
	allow_if(room, filter, SCMP_SYS(ioctl), 1, all, TCGETS);
	/* Limits may be read: no new value is given. */
	allow_if(room, filter, SCMP_SYS(prlimit64), 2, all, 0);
	allow_if(room, filter, SCMP_SYS(prctl), 0, all, PR_GET_SECCOMP);
	/* abort() sends its signal to the own process only. */
	allow_if(room, filter, SCMP_SYS(tgkill), 0, all, (scmp_datum_t)getpid());
	/* As whom files are touched: anybody but root. */
	if (room->file_users) {
		allow_other_than_root(room, filter, SCMP_SYS(setfsuid));
		allow_other_than_root(room, filter, SCMP_SYS(setfsgid));
	}
	/* futimens(): the times of an open file. With a name they would be those of any file of the
	 * same owner, for Landlock does not look at times. */
	if (room->file_times) {
		allow_if(room, filter, SCMP_SYS(utimensat), 1, all, 0);
		allow_if(room, filter, SCMP_SYS(utimensat_time64), 1, all, 0);
	}
	allow_fcntl(room, filter);
	if (room->internet)
		allow_internet(room, filter);
}

static void
refuse(const struct room *room, scmp_filter_ctx filter)
{
	for (const int *call = refused; *call != -1; call++) {
#ifdef ROOM_SANITIZED
		if (lists(sanitizers, *call))
			continue;
#endif
		if (!lists(room->syscalls, *call) &&
			!(room->internet && *call == SCMP_SYS(socket)))
			check(room, seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), *call, 0),
				"system call filter");
	}
}

#ifdef ROOM_EXPLAINS
/* A developer's build (make CPPFLAGS=-DROOM_EXPLAINS): still forbids, but says what, on stderr. */
static void
explain(int signal, siginfo_t *info, void *context)
{
	char line[] = "system call 00000 is forbidden\n";
	int n = info->si_syscall;

	(void)signal;
	(void)context;
	for (size_t at = 16; n > 0 && at >= 12; at--, n /= 10)
		line[at] = (char)('0' + n % 10);
	(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
	_exit(ROOM_EXIT);
}

static uint32_t
otherwise(void)
{
	struct sigaction action = {.sa_sigaction = explain, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &action, NULL);
	return SCMP_ACT_TRAP;
}
#else
static uint32_t
otherwise(void)
{
	return SCMP_ACT_KILL_PROCESS;
}
#endif

static uint8_t
without(const struct room *room, const char *why)
{
	log_warning(0, "no-seccomp", KEY_STR("room", room->name), KEY_STR("reason", why));
	return 0;
}

uint8_t
room_forbid_syscalls(const struct room *room)
{
	scmp_filter_ctx filter;

	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
		return without(room, "the kernel has none");
	filter = seccomp_init(room->forgiving ? SCMP_ACT_ERRNO(EPERM) : otherwise());
	if (filter == NULL)
		return without(room, "libseccomp does not know this architecture");
	check(room, seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS),
		"foreign system calls");
	check(room, seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0), "filter attribute");
	/* A search tree instead of a chain; older libraries have only the chain. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	allow(room, filter, common);
	allow(room, filter, room->syscalls);
#ifdef ROOM_SANITIZED
	allow(room, filter, sanitizers);
#endif
	allow_some(room, filter);
	refuse(room, filter);
	check(room, seccomp_load(filter), "system call filter");
	seccomp_release(filter);

	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != SECCOMP_MODE_FILTER)
		room_die(room, "system call filter is not in force");
#ifndef ROOM_SANITIZED
	if (!room->internet && !lists(room->syscalls, SCMP_SYS(socket)) && socket(AF_INET, SOCK_STREAM, 0) >= 0)
		room_die(room, "a forbidden call succeeds");
#endif
	return SECCOMP_MODE_FILTER;
}
