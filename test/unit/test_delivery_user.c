/* File access as somebody else: never root, never by halves. */
#include "delivery_rig.h"

#include "delivery/user.h"

#define OTHER 12345

static struct place_rig rig;

static uint32_t
owner_of_new(const char *name)
{
	struct stat st;
	int fd = openat(rig.mail, name, O_CREAT | O_EXCL | O_WRONLY, 0600);

	if (fd < 0)
		return UINT32_MAX;
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_uid;
}

/* Runs `does` in a child, as `uid` when that is not 0, and expects it to end with 0. */
static void
in_child(uint32_t uid, void (*does)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (uid != 0 && (setgid(uid) < 0 || setuid(uid) < 0))
			_exit(1);
		does();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
expect(bool right)
{
	if (!right)
		_exit(2);
}

/* F4: what the system refuses is noticed, and leaves nothing behind. */
static void
without_rights(void)
{
	expect(user_enter(geteuid(), getegid()));
	expect(!user_enter(OTHER, OTHER) && errno == EPERM);
	expect(owner_of_new("mine") == geteuid());
	expect(!user_enter(0, 0) && errno == EPERM);
	user_leave();
	expect(owner_of_new("mine too") == geteuid());
}

static void
f4_a_refusal_is_noticed(void **state)
{
	(void)state;
	fchmod(rig.mail, 0777);
	chmod(rig.path, 0755);
	in_child(geteuid() == 0 ? 65534 : 0, without_rights);
}

static void
with_rights(void)
{
	expect(user_enter(OTHER, OTHER));
	expect(owner_of_new("his") == OTHER);
	expect(user_enter(OTHER + 1, OTHER + 1));
	expect(owner_of_new("hers") == OTHER + 1);
	/* root's files are out of reach meanwhile. */
	expect(openat(rig.top, "roots", O_RDONLY) < 0 && errno == EACCES);
	expect(!user_enter(OTHER, 0) && errno == EPERM);
	expect(!user_enter(UINT32_MAX, OTHER) && errno == EPERM);
	user_leave();
	expect(owner_of_new("ours") == 0);
	expect(openat(rig.top, "roots", O_RDONLY) >= 0);
}

static void
files_are_whose_they_should_be(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	fchmod(rig.mail, 0777);
	chmod(rig.path, 0755);
	close(openat(rig.top, "roots", O_CREAT | O_WRONLY, 0600));
	in_child(0, with_rights);
}

static int
set_up(void **state)
{
	(void)state;
	rig_make(&rig);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	rig_remove(&rig);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(f4_a_refusal_is_noticed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(files_are_whose_they_should_be, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
