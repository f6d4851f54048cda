/* Tables: what was put is found, replaced files are noticed, damaged ones are errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/table.h"

/* The library forgets some memory when it is shown a damaged file. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb";
}

struct place {
	char name[64];
	int fd;
};

static int
enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->name, "/tmp/valija-table-XXXXXX");
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
	char command[128];

	close(p->fd);
	if (fork() == 0) {
		snprintf(command, sizeof(command), "%s", p->name);
		execlp("rm", "rm", "-rf", command, (char *)NULL);
		_exit(1);
	}
	wait(NULL);
	free(p);
	return 0;
}

static void
build(int fd, const char *const *pairs)
{
	struct table_build *b = table_build_begin(fd, "t.db");

	assert_non_null(b);
	for (; pairs[0] != NULL; pairs += 2)
		assert_int_equal(table_build_put(b, span_str(pairs[0]), span_str(pairs[1])), 0);
	assert_int_equal(table_build_commit(&b, 0640, -1, -1), 0);
	assert_null(b);
}

static enum table_result
look(struct table *t, const char *key, char *to, size_t room)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	enum table_result found = table_get(t, span_str(key), &value);

	if (found == TABLE_FOUND)
		assert_true(span_copy(text_span(&value), to, room));
	text_clear(&value);
	return found;
}

static void
built_is_found_and_replaced(void **state)
{
	struct place *p = *state;
	struct table *t = table_reader(p->fd, "t.db");
	struct stat st;
	char got[32];

	assert_int_equal(look(t, "a", got, sizeof(got)), TABLE_NONE); /* no file yet */
	build(p->fd, (const char *[]){"a", "1", "b", "2", NULL});
	assert_int_equal(look(t, "a", got, sizeof(got)), TABLE_FOUND);
	assert_string_equal(got, "1");
	assert_int_equal(look(t, "c", got, sizeof(got)), TABLE_NONE);
	assert_int_equal(look(t, "", got, sizeof(got)), TABLE_NONE);
	build(p->fd, (const char *[]){"a", "one", NULL});
	assert_int_equal(look(t, "a", got, sizeof(got)), TABLE_FOUND);
	assert_string_equal(got, "one");
	assert_int_equal(look(t, "b", got, sizeof(got)), TABLE_NONE);
	assert_int_equal(fstatat(p->fd, "t.db", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(fstatat(p->fd, "t.db.new", &st, 0), -1);
	assert_int_equal(unlinkat(p->fd, "t.db", 0), 0);
	assert_int_equal(look(t, "a", got, sizeof(got)), TABLE_NONE);
	table_free(&t);
	assert_null(t);
}

static void
aborted_build_leaves_nothing(void **state)
{
	struct place *p = *state;
	struct table_build *b;
	struct table *t = table_reader(p->fd, "t.db");
	struct stat st;
	char got[32];

	build(p->fd, (const char *[]){"a", "1", NULL});
	b = table_build_begin(p->fd, "t.db");
	assert_int_equal(table_build_put(b, SPAN("a"), SPAN("2")), 0);
	table_build_abort(&b);
	assert_int_equal(look(t, "a", got, sizeof(got)), TABLE_FOUND);
	assert_string_equal(got, "1");
	assert_int_equal(fstatat(p->fd, "t.db.new", &st, 0), -1);
	table_free(&t);
}

struct seen {
	unsigned int rows;
	char keys[64];
};

static bool
see(void *me, struct span key, struct span value)
{
	struct seen *s = me;

	(void)value;
	s->rows++;
	strncat(s->keys, (const char *)key.at, key.len);
	return s->rows < 3;
}

static void
rows_come_in_order(void **state)
{
	struct place *p = *state;
	struct table *t = table_reader(p->fd, "t.db");
	struct seen s = {0, ""};

	assert_int_equal(table_each(t, see, &s), 0);
	assert_int_equal(s.rows, 0);
	build(p->fd, (const char *[]){"c", "3", "a", "1", "d", "4", "b", "2", NULL});
	assert_int_equal(table_each(t, see, &s), 0);
	assert_int_equal(s.rows, 3);
	assert_string_equal(s.keys, "abc");
	table_free(&t);
}

static void
private_table_remembers(void **state)
{
	struct place *p = *state;
	struct table *t = table_private(p->fd, "mine.db", 0600);
	char got[32];

	assert_non_null(t);
	assert_int_equal(table_put(t, SPAN("k"), SPAN("v")), 0);
	assert_int_equal(table_put(t, SPAN("k2"), SPAN("")), 0);
	assert_int_equal(table_remove(t, SPAN("k2")), 0);
	assert_int_equal(table_remove(t, SPAN("k2")), 0);
	assert_int_equal(table_sync(t), 0);
	assert_int_equal(look(t, "k", got, sizeof(got)), TABLE_FOUND);
	table_free(&t);
	t = table_private(p->fd, "mine.db", 0600);
	assert_non_null(t);
	assert_int_equal(look(t, "k", got, sizeof(got)), TABLE_FOUND);
	assert_string_equal(got, "v");
	assert_int_equal(look(t, "k2", got, sizeof(got)), TABLE_NONE);
	table_free(&t);
}

static void
spoil(int directory, const char *name, off_t at, unsigned char with, off_t cut)
{
	int fd = openat(directory, name, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &with, 1, at), 1);
	if (cut >= 0)
		assert_int_equal(ftruncate(fd, cut), 0);
	close(fd);
}

/* Whatever is in the file, an error or the row, never a crash. */
static void
damaged_files_are_errors(void **state)
{
	struct place *p = *state;
	struct stat st;
	unsigned int errors = 0;
	char key[16], got[64];

	for (unsigned int i = 0; i < 120; i++) {
		struct table_build *b = table_build_begin(p->fd, "t.db");
		for (unsigned int k = 0; k < 300; k++) {
			snprintf(key, sizeof(key), "key%u", k);
			assert_int_equal(
				table_build_put(b, span_str(key), SPAN("some value that is long")),
				0);
		}
		assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
		assert_int_equal(fstatat(p->fd, "t.db", &st, 0), 0);
		spoil(p->fd, "t.db", (off_t)(i * 7919 % (unsigned int)st.st_size),
			(unsigned char)(i * 31 + 1),
			i % 4 == 0 ? (off_t)(i * 104729 % (unsigned int)st.st_size) : -1);
		struct table *t = table_reader(p->fd, "t.db");
		enum table_result r = look(t, "key7", got, sizeof(got));
		if (r == TABLE_ERROR)
			errors++;
		if (r == TABLE_FOUND)
			assert_string_equal(got, "some value that is long");
		struct seen s = {0, ""};
		(void)table_each(t, see, &s);
		/* A good file makes it well again. */
		build(p->fd, (const char *[]){"key7", "new", NULL});
		assert_int_equal(look(t, "key7", got, sizeof(got)), TABLE_FOUND);
		table_free(&t);
	}
	assert_true(errors > 60);
}

static void
damaged_private_table_is_remade(void **state)
{
	struct place *p = *state;
	struct table *t = table_private(p->fd, "mine.db", 0600);
	char got[32];

	assert_int_equal(table_put(t, SPAN("k"), SPAN("v")), 0);
	table_free(&t);
	spoil(p->fd, "mine.db", 100, 0xff, 700);
	t = table_private(p->fd, "mine.db", 0600);
	assert_non_null(t);
	assert_int_equal(look(t, "k", got, sizeof(got)), TABLE_NONE);
	assert_int_equal(table_put(t, SPAN("k"), SPAN("w")), 0);
	table_free(&t);
	spoil(p->fd, "mine.db", 0, 0, 0);
	t = table_private(p->fd, "mine.db", 0600);
	assert_non_null(t);
	table_free(&t);
}

static void
links_and_pipes_are_refused(void **state)
{
	struct place *p = *state;
	struct table *t;
	char got[32];

	assert_int_equal(symlinkat("/etc/passwd", p->fd, "t.db"), 0);
	t = table_reader(p->fd, "t.db");
	assert_int_equal(look(t, "root", got, sizeof(got)), TABLE_ERROR);
	table_free(&t);
	assert_int_equal(unlinkat(p->fd, "t.db", 0), 0);
	assert_int_equal(mkfifoat(p->fd, "t.db", 0600), 0);
	t = table_reader(p->fd, "t.db");
	assert_int_equal(look(t, "root", got, sizeof(got)), TABLE_ERROR);
	table_free(&t);
	errno = 0;
	assert_null(table_reader(p->fd, "../t.db"));
	assert_null(table_reader(p->fd, "a/b"));
}

/* A DB_CONFIG in the working directory or beside the table moves nothing. */
static void
f6_db_config_is_not_read(void **state)
{
	struct place *p = *state;
	static const char config[] =
		"set_data_dir /nowhere\nset_lg_dir /nowhere\nset_tmp_dir /nowhere\n";
	char got[32], back[1024];
	int fd = openat(p->fd, "DB_CONFIG", O_WRONLY | O_CREAT, 0644);
	struct stat st;

	assert_int_equal(write(fd, config, sizeof(config) - 1), sizeof(config) - 1);
	close(fd);
	assert_non_null(getcwd(back, sizeof(back)));
	assert_int_equal(chdir(p->name), 0);
	build(p->fd, (const char *[]){"a", "1", NULL});
	struct table *t = table_reader(p->fd, "t.db");
	assert_int_equal(look(t, "a", got, sizeof(got)), TABLE_FOUND);
	table_free(&t);
	assert_int_equal(fstatat(p->fd, "t.db", &st, 0), 0);
	assert_int_equal(chdir(back), 0);
}

static void
one_builder_at_a_time(void **state)
{
	struct place *p = *state;
	struct table_build *b = table_build_begin(p->fd, "t.db");
	int status;

	assert_non_null(b);
	/* A second one waits, and goes on when the first is done. */
	pid_t child = fork();
	if (child == 0) {
		close_range(3, ~0U, 0); /* the first builder's lock is not ours */
		int fd = open(p->name, O_PATH | O_DIRECTORY);
		struct table_build *second = table_build_begin(fd, "t.db");
		if (second == NULL || table_build_put(second, SPAN("x"), SPAN("y")) < 0 ||
			table_build_commit(&second, 0600, -1, -1) < 0)
			_exit(1);
		_exit(0);
	}
	usleep(100000);
	assert_int_equal(waitpid(child, &status, WNOHANG), 0);
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
ceilings(void **state)
{
	struct place *p = *state;
	static unsigned char big[TABLE_MOST_VALUE + 1];
	struct table_build *b = table_build_begin(p->fd, "t.db");
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE), small = TEXT_UP_TO(3);

	memset(big, 'x', sizeof(big));
	assert_int_equal(table_build_put(b, SPAN(""), SPAN("v")), -1);
	assert_int_equal(table_build_put(b, span_of(big, TABLE_MOST_KEY + 1), SPAN("v")), -1);
	assert_int_equal(table_build_put(b, span_of(big, TABLE_MOST_KEY), SPAN("v")), 0);
	assert_int_equal(table_build_put(b, SPAN("k"), span_of(big, TABLE_MOST_VALUE + 1)), -1);
	assert_int_equal(table_build_put(b, SPAN("k"), span_of(big, TABLE_MOST_VALUE)), 0);
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	struct table *t = table_reader(p->fd, "t.db");
	assert_int_equal(table_get(t, span_of(big, TABLE_MOST_KEY + 1), &value), TABLE_NONE);
	assert_int_equal(table_get(t, span_of(big, TABLE_MOST_KEY), &value), TABLE_FOUND);
	assert_int_equal(table_get(t, SPAN("k"), &value), TABLE_FOUND);
	assert_int_equal(value.len, TABLE_MOST_VALUE);
	assert_int_equal(table_get(t, SPAN("k"), &small), TABLE_ERROR);
	text_clear(&value);
	text_clear(&small);
	table_free(&t);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, enter, leave)
	const struct CMUnitTest tests[] = {
		T(built_is_found_and_replaced),
		T(aborted_build_leaves_nothing),
		T(rows_come_in_order),
		T(private_table_remembers),
		T(damaged_files_are_errors),
		T(damaged_private_table_is_remade),
		T(links_and_pipes_are_refused),
		T(f6_db_config_is_not_read),
		T(one_builder_at_a_time),
		T(ceilings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
