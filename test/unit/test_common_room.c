/*
 * Rooms: each test forks a child that enters a room and tries what the room forbids. The kernel
 * ends the child, or refuses the call; the parent looks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/room-parts.h"
#include "common/room.h"

#define NOBODY 65534

static bool
landlocked(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
}

static const int no_calls[] = {-1};
static const struct room bare = {.name = "bare", .chrooted = true, .syscalls = no_calls};

/* Runs `act` in a child and returns how the child ended (waitpid's status). */
static int
in_child(void (*act)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		alarm(20);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			(void)!write(2, #what "\n", sizeof(#what));                                \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void
assert_fine(int status)
{
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A sanitizer's build lets more calls through; it is never released. */
static void
assert_killed(int status)
{
#ifndef ROOM_SANITIZED
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
#else
	(void)status;
#endif
}

static void
enter_bare(struct room_facts *facts)
{
	room_enter(&bare, -1, NULL, 0, facts);
}

/* --- what goes on working --- */

static void
act_ordinary(void)
{
	struct room_facts facts;
	int ends[2];
	char c;
	void *p;

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
	enter_bare(&facts);
	CHECK(facts.seccomp == 2);
	CHECK(!facts.chrooted);
	CHECK(facts.landlock > 0 || !landlocked());
	CHECK(write(ends[0], "x", 1) == 1 && read(ends[1], &c, 1) == 1);
	p = malloc(10 * 1024 * 1024);
	CHECK(p != NULL);
	memset(p, 1, 10 * 1024 * 1024);
	free(p);
	CHECK(getpid() > 0);
	CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
}

static void
ordinary_work_goes_on(void **state)
{
	(void)state;
	assert_fine(in_child(act_ordinary));
}

/* --- what is refused or deadly --- */

static void
act_refused(void)
{
	struct room_facts facts;

	enter_bare(&facts);
	CHECK(open("/etc/passwd", O_RDONLY) < 0);
	CHECK(open("/", O_RDONLY) < 0);
	CHECK(open("/tmp/x", O_CREAT | O_WRONLY, 0600) < 0);
#ifndef ROOM_SANITIZED
	CHECK(open("/dev/null", O_RDONLY) < 0 && errno == EACCES);
	CHECK(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EACCES);
	CHECK(access("/etc/passwd", F_OK) < 0);
#endif
}

static void
act_fork(void)
{
	struct room_facts facts;
	enter_bare(&facts);
	(void)fork();
}

static void
act_exec(void)
{
	struct room_facts facts;
	enter_bare(&facts);
	execl("/bin/true", "true", (char *)NULL);
}

static void
act_ptrace(void)
{
	struct room_facts facts;
	enter_bare(&facts);
	(void)syscall(SYS_pidfd_open, getppid(), 0);
}

static void
act_kill(void)
{
	struct room_facts facts;
	pid_t parent = getppid();
	enter_bare(&facts);
	kill(parent, 0);
}

static void
act_setuid(void)
{
	struct room_facts facts;
	enter_bare(&facts);
	(void)!setuid(0);
}

static void
act_code(void)
{
	struct room_facts facts;
	enter_bare(&facts);
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void
act_mprotect(void)
{
	struct room_facts facts;
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	enter_bare(&facts);
	(void)mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static void
act_signal_of_a_descriptor(void)
{
	struct room_facts facts;
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	enter_bare(&facts);
	(void)fcntl(ends[0], F_SETSIG, SIGKILL);
}

static void
act_owner_of_a_descriptor(void)
{
	struct room_facts facts;
	pid_t parent = getppid();
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	enter_bare(&facts);
	(void)fcntl(ends[0], F_SETOWN, parent);
}

static const struct room times = {.name = "times", .file_times = true, .syscalls = no_calls};

static void
act_times_of_a_name(void)
{
	struct room_facts facts;

	room_enter(&times, -1, NULL, 0, &facts);
	(void)utimensat(AT_FDCWD, "/tmp", NULL, 0);
}

static void
act_times_of_a_descriptor(void)
{
	struct room_facts facts;
	FILE *file = tmpfile();

	CHECK(file != NULL);
	room_enter(&times, -1, NULL, 0, &facts);
	CHECK(futimens(fileno(file), NULL) == 0);
	CHECK(fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) >= 0);
	CHECK(fcntl(fileno(file), F_SETLEASE, F_UNLCK) <= 0);
}

static const struct room users = {.name = "users", .file_users = true, .syscalls = no_calls};

static void
act_file_user(void)
{
	struct room_facts facts;

	room_enter(&users, -1, NULL, 0, &facts);
	/* The calls are let through; without the capability they change nothing. */
	for (unsigned int bit = 0; bit < 32; bit++) {
		syscall(SYS_setfsuid, (unsigned long)1 << bit);
		syscall(SYS_setfsgid, (unsigned long)1 << bit);
	}
	syscall(SYS_setfsuid, (unsigned long)UINT32_MAX);
}

static void
set_file_user(long call, unsigned long id)
{
	struct room_facts facts;

	room_enter(&users, -1, NULL, 0, &facts);
	syscall(call, id);
}

static void
act_file_user_root(void)
{
	set_file_user(SYS_setfsuid, 0);
}

static void
act_file_group_root(void)
{
	set_file_user(SYS_setfsgid, 0);
}

/* The filter sees 64 bits, the kernel takes 32 of them. */
static void
act_file_user_root_in_disguise(void)
{
	set_file_user(SYS_setfsuid, sizeof(long) > 4 ? ~(unsigned long)UINT32_MAX : 0);
}

static void
act_file_group_root_in_disguise(void)
{
	set_file_user(SYS_setfsgid, sizeof(long) > 4 ? ~(unsigned long)UINT32_MAX : 0);
}

static void
act_abort(void)
{
	struct room_facts facts;
	enter_bare(&facts);
	abort();
}

static void
forbidden_calls_kill(void **state)
{
	static void (*const acts[])(void) = {
		act_fork, act_exec, act_ptrace, act_kill, act_setuid, act_code, act_mprotect,
		act_signal_of_a_descriptor, act_owner_of_a_descriptor, act_times_of_a_name,
		act_file_user_root, act_file_group_root, act_file_user_root_in_disguise,
		act_file_group_root_in_disguise};

	(void)state;
	assert_fine(in_child(act_refused));
	assert_fine(in_child(act_times_of_a_descriptor));
	assert_fine(in_child(act_file_user));
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		assert_killed(in_child(acts[i]));
}

static void
abort_is_abort(void **state)
{
	int status;

	(void)state;
	status = in_child(act_abort);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* --- limits and memory --- */

static void
act_limits(void)
{
	static const struct room room = {.name = "limits",
		.secret_memory = true,
		.syscalls = no_calls,
		.most_descriptors = 77};
	struct room_facts facts;
	struct rlimit limit;

	room_enter(&room, -1, NULL, 0, &facts);
	CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 77);
#ifdef ROOM_SANITIZED
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
}

static void
limits_are_set(void **state)
{
	(void)state;
	assert_fine(in_child(act_limits));
}

/* --- files --- */

static char place[] = "/tmp/valija-room-XXXXXX";

static void
act_files(void)
{
	static const int calls[] = {SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(openat2),
		SCMP_SYS(linkat), SCMP_SYS(renameat2), SCMP_SYS(renameat), SCMP_SYS(rename),
		SCMP_SYS(symlinkat), SCMP_SYS(mkdirat), SCMP_SYS(unlinkat), SCMP_SYS(truncate), -1};
	static const struct room room = {.name = "files", .files = true, .syscalls = calls};
	struct room_facts facts;
	int at = open(place, O_PATH | O_DIRECTORY), fd;
	struct room_path paths[] = {
		{at, "read", ROOM_READ},
		{at, "write", ROOM_READ | ROOM_WRITE | ROOM_MAKE},
		{at, "file", ROOM_READ},
		{at, "missing", ROOM_READ},
	};

	CHECK(at >= 0);
	room_enter(&room, -1, paths, 4, &facts);
	CHECK(facts.landlock > 0);
	CHECK(openat(at, "read/a", O_RDONLY) >= 0);
	CHECK(openat(at, "file", O_RDONLY) >= 0);
	CHECK(openat(at, "read/a", O_WRONLY) < 0 && errno == EACCES);
	CHECK(openat(at, "read/b", O_WRONLY | O_CREAT, 0600) < 0 && errno == EACCES);
	CHECK(openat(at, "secret", O_RDONLY) < 0 && errno == EACCES);
	CHECK((fd = openat(at, "write/b", O_WRONLY | O_CREAT, 0600)) >= 0);
	CHECK(openat(at, "write", O_TMPFILE | O_RDWR, 0600) >= 0 || errno == EOPNOTSUPP);
	CHECK(mkdirat(at, "write/d", 0700) == 0);
	CHECK(linkat(at, "write/b", at, "write/d/b", 0) == 0);
	CHECK(renameat(at, "write/b", at, "write/d/c") == 0);
	CHECK(symlinkat("/etc/passwd", at, "write/l") < 0 && errno == EACCES);
	CHECK(linkat(at, "secret", at, "write/s", 0) < 0);
	CHECK(renameat(at, "write/d/c", at, "read/c") < 0);
	CHECK(unlinkat(at, "read/a", 0) < 0);
	CHECK(unlinkat(at, "write/d/c", 0) == 0);
	CHECK(open("/etc/passwd", O_RDONLY) < 0);
	/* A descriptor that is handed over goes on working. */
	CHECK(write(fd, "x", 1) == 1);
}

static void
only_the_rooms_files(void **state)
{
	int fd, at;

	(void)state;
	if (!landlocked())
		skip();
	assert_non_null(mkdtemp(place));
	at = open(place, O_PATH | O_DIRECTORY);
	assert_int_equal(mkdirat(at, "read", 0700), 0);
	assert_int_equal(mkdirat(at, "write", 0700), 0);
	for (unsigned int i = 0; i < 3; i++) {
		static const char *const names[] = {"read/a", "file", "secret"};
		fd = openat(at, names[i], O_WRONLY | O_CREAT, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_fine(in_child(act_files));
	close(at);
	if (fork() == 0) {
		execlp("rm", "rm", "-rf", place, (char *)NULL);
		_exit(1);
	}
	wait(NULL);
}

/* --- network --- */

static int listener, port;

static void
act_network(void)
{
	static const int calls[] = {
		SCMP_SYS(socket), SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen), -1};
	static const struct room room = {.name = "network", .syscalls = calls};
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_port = (in_port_t)port,
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct room_facts facts;
	int s;

	room_enter(&room, -1, NULL, 0, &facts);
	if (facts.landlock < 4)
		return;
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(s >= 0);
	CHECK(connect(s, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EACCES);
	to.sin_port = 0;
	CHECK(bind(s, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EACCES);
	/* An inherited listener still accepts. */
	CHECK(accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0);
}

static void
no_new_connections_but_accepted_ones(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int s;

	(void)state;
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	port = at.sin_port;
	s = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(s, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_fine(in_child(act_network));
	close(s);
	close(listener);
}

/* --- users and capabilities (as root only) --- */

static void
act_become(void)
{
	static const uint32_t groups[] = {8, 12};
	gid_t now[8];

	CHECK(room_become(NOBODY, NOBODY, groups, 2, 0) == 0);
	CHECK(getuid() == NOBODY && geteuid() == NOBODY && getgid() == NOBODY);
	CHECK(getgroups(8, now) == 2);
	CHECK(setuid(0) < 0 && setgid(0) < 0 && setgroups(0, NULL) < 0);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		CHECK(prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 0);
}

static void
act_become_and_chroot(void)
{
	static const struct room room = {
		.name = "chrooted", .chrooted = true, .syscalls = no_calls};
	struct room_facts facts;
	char empty[] = "/tmp/valija-empty-XXXXXX";
	int fd;

	CHECK(mkdtemp(empty) != NULL && chmod(empty, 0755) == 0);
	fd = open(empty, O_PATH | O_DIRECTORY);
	CHECK(rmdir(empty) == 0);
	CHECK(room_become(NOBODY, NOBODY, NULL, 0, (uint64_t)1 << CAP_SYS_CHROOT) == 0);
	room_enter(&room, fd, NULL, 0, &facts);
	CHECK(facts.chrooted);
	CHECK(facts.seccomp == 2);
	struct stat st;
	CHECK(stat("/etc", &st) < 0 && errno == ENOENT);
}

/* A change of user that fails is a failure. */
static void
act_become_fails(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAGAIN), SCMP_SYS(setresuid), 0);
	seccomp_load(filter);
	CHECK(room_become(NOBODY, NOBODY, NULL, 0, 0) == -1);
}

static void
act_become_pretends(void)
{
	/* A kernel (or a filter) that says yes and does nothing. */
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	seccomp_rule_add(filter, SCMP_ACT_ERRNO(0), SCMP_SYS(setresuid), 0);
	seccomp_load(filter);
	CHECK(room_become(NOBODY, NOBODY, NULL, 0, 0) == -1);
}

static void
act_groups_pretend(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	static const uint32_t more[] = {8, 12};

	CHECK(setgroups(2, more) == 0);
	seccomp_rule_add(filter, SCMP_ACT_ERRNO(0), SCMP_SYS(setgroups), 0);
	seccomp_load(filter);
	CHECK(room_become(NOBODY, NOBODY, NULL, 0, 0) == -1);
}

static void
act_limited(void)
{
	uint64_t keeps = (uint64_t)1 << CAP_SETUID | (uint64_t)1 << CAP_SETPCAP;
	cap_t now;
	cap_flag_value_t v;

	CHECK(room_limit_capabilities(keeps) == 0);
	now = cap_get_proc();
	CHECK(cap_get_flag(now, CAP_SETUID, CAP_PERMITTED, &v) == 0 && v == CAP_SET);
	CHECK(cap_get_flag(now, CAP_CHOWN, CAP_PERMITTED, &v) == 0 && v == CAP_CLEAR);
	CHECK(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0);
	cap_free(now);
}

static void
users_change_for_good(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_fine(in_child(act_become));
	assert_fine(in_child(act_become_and_chroot));
	assert_fine(in_child(act_limited));
}

static void
f4_failed_change_of_user_is_noticed(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_fine(in_child(act_become_fails));
	assert_fine(in_child(act_become_pretends));
	assert_fine(in_child(act_groups_pretend));
}

static void
act_become_self(void)
{
	CHECK(geteuid() != 0 || setresuid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(room_become(geteuid(), getegid(), NULL, 0, (uint64_t)1 << CAP_SYS_CHROOT) == 0);
	CHECK(room_become(0, 0, NULL, 0, 0) == -1);
}

static void
without_root_there_is_one_user(void **state)
{
	(void)state;
	assert_fine(in_child(act_become_self));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_work_goes_on),
		cmocka_unit_test(forbidden_calls_kill),
		cmocka_unit_test(abort_is_abort),
		cmocka_unit_test(limits_are_set),
		cmocka_unit_test(only_the_rooms_files),
		cmocka_unit_test(no_new_connections_but_accepted_ones),
		cmocka_unit_test(users_change_for_good),
		cmocka_unit_test(f4_failed_change_of_user_is_noticed),
		cmocka_unit_test(without_root_there_is_one_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
