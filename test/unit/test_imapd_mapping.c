/* imapd/mapping: a file that is cut while it is read hurts who reads it, and nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/mapping.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int
make_file(size_t pages, unsigned char fill)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char path[] = "/tmp/valija-mapping-XXXXXX";
	unsigned char *bytes = malloc(page);
	int fd = mkstemp(path);

	assert_true(fd >= 0 && bytes != NULL);
	unlink(path);
	memset(bytes, fill, page);
	for (size_t i = 0; i < pages; i++)
		assert_int_equal(write(fd, bytes, page), page);
	free(bytes);
	return fd;
}

static void
test_a_file_that_is_cut(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int cut = make_file(4, 'c'), whole = make_file(4, 'w');
	struct mapping *a, *b, *c;
	const unsigned char *at;

	(void)state;
	a = mapping_new(whole, 4 * page);
	b = mapping_new(cut, 4 * page);
	c = mapping_new(whole, 4 * page);
	assert_true(a != NULL && b != NULL && c != NULL);
	assert_int_equal(ftruncate(cut, (off_t)page), 0);
	at = mapping_bytes(b);
	assert_int_equal(at[page - 1], 'c');
	assert_false(mapping_is_damaged(b));
	assert_int_equal(at[2 * page + 17], 0);
	assert_true(mapping_is_damaged(b));
	assert_int_equal(at[4 * page - 1], 0);
	assert_int_equal(at[0], 'c');
	assert_int_equal(((const unsigned char *)mapping_bytes(a))[4 * page - 1], 'w');
	mapping_free(&b);
	assert_null(b);
	assert_int_equal(((const unsigned char *)mapping_bytes(c))[0], 'w');
	assert_false(mapping_is_damaged(a) || mapping_is_damaged(c) || mapping_is_damaged(NULL));
	mapping_free(&c);
	mapping_free(&a);
	mapping_free(&a);
	close(cut);
	close(whole);
}

/* What is mapped elsewhere is as ever. */
static void
test_memory_of_others(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int cut = make_file(2, 'c'), status;
	pid_t child;

	(void)state;
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct mapping *m = mapping_new(cut, page);
		volatile unsigned char *at = mmap(NULL, 2 * page, PROT_READ, MAP_PRIVATE, cut, 0);

		if (m == NULL || at == MAP_FAILED || ftruncate(cut, 0) < 0)
			_exit(1);
		_exit(at[page] == 0 ? 2 : 3);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	close(cut);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		/* This one first: the handler is set once for a process, and cmocka sets one for each test. */
		cmocka_unit_test(test_memory_of_others),
		cmocka_unit_test(test_a_file_that_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
