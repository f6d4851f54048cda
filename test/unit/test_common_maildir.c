/* Maildirs: names, the way of a message file, and what a hostile owner may have put in its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/maildir.h"

struct place {
	char name[64];
	int fd;
};

static int
enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->name, "/tmp/valija-maildir-XXXXXX");
	assert_non_null(mkdtemp(p->name));
	p->fd = open(p->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

static int
leave(void **state)
{
	struct place *p = *state;

	close(p->fd);
	if (fork() == 0) {
		execlp("rm", "rm", "-rf", p->name, (char *)NULL);
		_exit(1);
	}
	wait(NULL);
	free(p);
	return 0;
}

static unsigned int
entries(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	struct dirent *e;
	unsigned int n = 0;

	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			n++;
	closedir(d);
	return n;
}

static mode_t
mode_of(int at, const char *name)
{
	struct stat st;

	return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode : 0;
}

static void
names_are_unique_and_safe(void **state)
{
	struct maildir_name a = maildir_name_new("mail.example.org", 1234, 1250);
	struct maildir_name b = maildir_name_new("mail.example.org", 1234, 1250);
	char host[300];

	(void)state;
	assert_string_not_equal(a.str, b.str);
	assert_non_null(strstr(a.str, ".mail.example.org,S=1234,W=1250"));
	a = maildir_name_new("a/b:c,d\n", 0, 0);
	assert_non_null(strstr(a.str, ".a\\057b\\072c\\054d\\012,S=0,W=0"));
	assert_null(strchr(a.str, '/'));
	memset(host, '/', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	a = maildir_name_new(host, UINT64_MAX, UINT64_MAX);
	assert_true(strlen(a.str) <= MAILDIR_MOST_NAME - 40);
	assert_non_null(strstr(a.str, ",S=18446744073709551615,W=18446744073709551615"));
}

static void
a_message_gets_its_name_last(void **state)
{
	struct place *p = *state;
	int maildir = maildir_open(p->fd, "example.org/ana/Maildir", true);
	struct maildir_name tmp, name = maildir_name_new("h", 5, 5);
	char got[8] = "";
	int fd;

	assert_true(maildir >= 0);
	assert_int_equal(mode_of(maildir, "new"), S_IFDIR | 0700);
	fd = maildir_file(maildir, &tmp);
	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, "hello", 5), 0);
	assert_int_equal(entries(maildir, "new"), 0);
	assert_int_equal(entries(maildir, "tmp"), tmp.str[0] != '\0');
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "new", name.str), 0);
	/* The same name again replaces nothing. */
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "new", name.str), -1);
	assert_int_equal(errno, EEXIST);
	/* A second recipient gets a link of the same file. */
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "cur", name.str), 0);
	maildir_drop(maildir, &tmp);
	assert_int_equal(maildir_sync(maildir, "new"), 0);
	assert_int_equal(entries(maildir, "new"), 1);
	assert_int_equal(entries(maildir, "cur"), 1);
	assert_int_equal(entries(maildir, "tmp"), 0);
	assert_int_equal(read_at(fd, got, sizeof(got), 0), 5);
	assert_string_equal(got, "hello");
	close(fd);
	close(maildir);
}

static void
given_up_leaves_nothing(void **state)
{
	struct place *p = *state;
	int maildir = maildir_open(p->fd, "d/u/Maildir", true);
	struct maildir_name tmp;
	int fd = maildir_file(maildir, &tmp);

	assert_int_equal(write_all(fd, "hello", 5), 0);
	maildir_drop(maildir, &tmp);
	close(fd);
	assert_int_equal(entries(maildir, "tmp"), 0);
	close(maildir);
}

static void
bad_names_are_refused(void **state)
{
	struct place *p = *state;
	static const char *const paths[] = {
		"", "/etc", "../x", "a/../../x", "a//b", "a/./b", "a/", ".."};
	int maildir = maildir_open(p->fd, "d/u/Maildir", true), fd;
	struct maildir_name tmp;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_int_equal(maildir_open(p->fd, paths[i], true), -1);
	assert_int_equal(maildir_open(p->fd, "nobody/here", false), -1);
	assert_int_equal(errno, ENOENT);
	fd = maildir_file(maildir, &tmp);
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "new", "../x"), -1);
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "../new", "x"), -1);
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "new", ".x"), -1);
	assert_int_equal(maildir_make(maildir, ".."), -1);
	assert_int_equal(maildir_make(maildir, "a/b"), -1);
	maildir_drop(maildir, &tmp);
	close(fd);
	close(maildir);
}

static void
a_new_user_gets_folders(void **state)
{
	struct place *p = *state;
	int maildir = maildir_open(p->fd, "d/u/Maildir", true);
	char got[128] = "";
	int fd;

	assert_int_equal(maildir_make_standard(maildir), 0);
	assert_int_equal(maildir_make_standard(maildir), 0); /* fine twice */
	assert_int_equal(mode_of(maildir, ".Drafts/cur"), S_IFDIR | 0700);
	assert_int_equal(mode_of(maildir, ".Archive/maildirfolder"), S_IFREG | 0600);
	assert_int_equal(mode_of(maildir, MAILDIR_PRIVATE), S_IFDIR | 0700);
	assert_int_equal(entries(maildir, "tmp"), 0);
	fd = openat(maildir, MAILDIR_SUBSCRIPTIONS, O_RDONLY);
	assert_true(read_at(fd, got, sizeof(got) - 1, 0) > 0);
	assert_string_equal(got, "Drafts\nSent\nTrash\nJunk\nArchive\n");
	close(fd);
	close(maildir);
}

/* The owner plants links and pipes; nothing outside is touched, nothing hangs. */
static void
f1_links_and_pipes_in_the_way(void **state)
{
	static const char *const places[] = {"new", "tmp", "cur"};
	struct place *p = *state;
	int outside, maildir, fd;
	struct maildir_name tmp, name = maildir_name_new("h", 1, 1);

	alarm(20);
	assert_int_equal(mkdirat(p->fd, "outside", 0700), 0);
	outside = openat(p->fd, "outside", O_RDONLY | O_DIRECTORY);
	for (unsigned int kind = 0; kind < 2; kind++)
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			char home[32];
			snprintf(home, sizeof(home), "d/u%u%zu/Maildir", kind, i);
			maildir = maildir_open(p->fd, home, true);
			assert_true(maildir >= 0);
			assert_int_equal(unlinkat(maildir, places[i], AT_REMOVEDIR), 0);
			if (kind == 0)
				assert_int_equal(
					symlinkat("../../../outside", maildir, places[i]), 0);
			else
				assert_int_equal(mkfifoat(maildir, places[i], 0600), 0);
			assert_int_equal(maildir_open(p->fd, home, true), -1);
			fd = maildir_file(maildir, &tmp);
			if (i == 1) {
				assert_int_equal(fd, -1);
				maildir_sweep(maildir);
			} else {
				assert_true(fd >= 0);
				assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, places[i],
							 name.str),
					-1);
				assert_int_equal(maildir_sync(maildir, places[i]), -1);
				maildir_drop(maildir, &tmp);
				close(fd);
			}
			close(maildir);
		}
	/* The Maildir itself, and a directory above it. */
	assert_int_equal(symlinkat("../outside", openat(p->fd, "d", O_PATH), "linked"), 0);
	assert_int_equal(maildir_open(p->fd, "d/linked/Maildir", true), -1);
	assert_int_equal(symlinkat("outside", p->fd, "e"), 0);
	assert_int_equal(maildir_open(p->fd, "e/u/Maildir", true), -1);
	assert_int_equal(entries(outside, "."), 0);
	/* A message's name that is there already, as a link to somewhere. */
	maildir = maildir_open(p->fd, "d/v/Maildir", true);
	assert_int_equal(symlinkat("/etc/passwd", openat(maildir, "new", O_PATH), name.str), 0);
	fd = maildir_file(maildir, &tmp);
	assert_int_equal(maildir_link(fd, maildir, &tmp, maildir, "new", name.str), -1);
	assert_int_equal(errno, EEXIST);
	maildir_drop(maildir, &tmp);
	close(fd);
	close(maildir);
	close(outside);
	alarm(0);
}

static void
open_only_beneath(const struct place *p)
{
	int fd = openat(p->fd, "file", O_WRONLY | O_CREAT, 0600);

	close(fd);
	assert_int_equal(mkdirat(p->fd, "dir", 0700), 0);
	assert_int_equal(symlinkat("file", p->fd, "link"), 0);
	assert_int_equal(symlinkat("/etc", p->fd, "etc"), 0);
	assert_int_equal(mkfifoat(p->fd, "pipe", 0600), 0);
	alarm(5);
	assert_int_equal(open_in(p->fd, "pipe", O_RDONLY, 0), -1);
	assert_int_equal(open_in(p->fd, "pipe", O_WRONLY, 0), -1);
	alarm(0);
	assert_int_equal(open_in(p->fd, "link", O_RDONLY, 0), -1);
	assert_int_equal(open_in(p->fd, "link", O_PATH, 0), -1);
	assert_int_equal(open_in(p->fd, "etc/passwd", O_RDONLY, 0), -1);
	assert_int_equal(open_in(p->fd, "/etc/passwd", O_RDONLY, 0), -1);
	assert_int_equal(open_in(p->fd, "../../etc/passwd", O_RDONLY, 0), -1);
	assert_int_equal(open_in(p->fd, "dir", O_RDONLY, 0), -1);
	assert_int_equal(open_in(p->fd, "", O_RDONLY, 0), -1);
	fd = open_in(p->fd, "file", O_RDONLY, 0);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(fd);
	fd = open_in(p->fd, "dir", O_RDONLY | O_DIRECTORY, 0);
	assert_true(fd >= 0);
	close(fd);
}

static void
beneath_opens_nothing_else(void **state)
{
	open_only_beneath(*state);
}

/* Kernels before 5.6 have no openat2: the same by walking. */
static void
without_openat2_too(void **state)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
		seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
		if (seccomp_load(filter) < 0)
			_exit(2);
		seccomp_release(filter);
		open_only_beneath(*state);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
old_files_in_tmp_are_swept(void **state)
{
	struct place *p = *state;
	int maildir = maildir_open(p->fd, "d/u/Maildir", true);
	int fd = openat(maildir, "tmp/young", O_WRONLY | O_CREAT, 0600);

	close(fd);
	maildir_sweep(maildir);
	assert_int_equal(mode_of(maildir, "tmp/young"), S_IFREG | 0600);
	close(maildir);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_unique_and_safe),
		T(a_message_gets_its_name_last),
		T(given_up_leaves_nothing),
		T(bad_names_are_refused),
		T(a_new_user_gets_folders),
		T(f1_links_and_pipes_in_the_way),
		T(beneath_opens_nothing_else),
		T(without_openat2_too),
		T(old_files_in_tmp_are_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
