/* What filters may hold in memory for all messages together, with a ceiling that a test can reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smtpd/milter-edit.h"

#undef MILTER_HELD_MOST
#define MILTER_HELD_MOST 10000
#include "smtpd/milter-edit.c"

#include <sys/mman.h>

#define MESSAGE "A: b\r\n\r\nbody\r\n"

static void
begin(struct milter_edit *e, int *file)
{
	*file = memfd_create("message", MFD_CLOEXEC);
	assert_int_equal(write_all(*file, MESSAGE, strlen(MESSAGE)), 0);
	assert_true(milter_edit_init(e, *file, strlen(MESSAGE), 0, 100000));
}

static void
end(struct milter_edit *e, int file)
{
	milter_edit_clear(e);
	close(file);
}

static void
all_messages_share_one_ceiling(void **state)
{
	static char piece[2000];
	struct milter_edit one, two, three;
	int file_one, file_two, file_three;

	(void)state;
	memset(piece, 'x', sizeof(piece));
	begin(&one, &file_one);
	begin(&two, &file_two);
	for (int i = 0; i < 3; i++)
		assert_true(milter_edit_body(&one, span_of(piece, sizeof(piece)), i == 0));
	/* 6000 of one; each octet could become two. */
	assert_false(milter_edit_body(&two, span_of(piece, sizeof(piece)), true));
	assert_true(milter_edit_body(&two, span_of(piece, 1000), true));
	/* The header of a third one counts too. */
	assert_int_equal(held, 7000 + 2 * (6 + FIELD_COSTS));
	piece[0] = 'X', piece[1] = ':';
	for (int i = 0; i < 30; i++)
		milter_edit_add(&two, SPAN("X"), span_of(piece + 2, 60), false);
	assert_true(held <= MILTER_HELD_MOST);
	file_three = memfd_create("message", MFD_CLOEXEC);
	assert_int_equal(write_all(file_three, MESSAGE, strlen(MESSAGE)), 0);
	assert_true(held > MILTER_HELD_MOST - 200);
	held += MILTER_HELD_MOST - held;
	assert_false(milter_edit_init(&three, file_three, strlen(MESSAGE), 0, 1000));
	end(&three, file_three);
	held = one.held + two.held;
	/* Another body instead of the first gives back what that held; so does the end of each. */
	assert_true(milter_edit_body(&one, span_of(piece, 10), true));
	assert_int_equal(one.held, 10 + 6 + FIELD_COSTS);
	end(&one, file_one);
	end(&two, file_two);
	assert_int_equal(held, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_messages_share_one_ceiling),
	};

	return cmocka_run_group_tests_name("smtpd_milter_held", tests, NULL, NULL);
}
