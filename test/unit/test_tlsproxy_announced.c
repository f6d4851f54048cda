/*
 * Announced sessions: one worker, one signature, a while; and never more than MOST_ANNOUNCED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "tlsproxy/announced.h"

static void
one_worker_one_signature(void **state)
{
	struct announced *a = announced_new();

	(void)state;
	assert_int_equal(announced_look(a, 5, 1, 100), ANNOUNCED_UNKNOWN);
	announced_add(a, 5, 1, 100);
	assert_int_equal(announced_look(a, 5, 1, 100), ANNOUNCED_OPEN);
	assert_int_equal(announced_look(a, 5, 2, 100), ANNOUNCED_OTHER);
	assert_int_equal(announced_look(a, 6, 1, 100), ANNOUNCED_UNKNOWN);
	assert_int_equal(announced_look(a, 0, 1, 100), ANNOUNCED_UNKNOWN);
	announced_use(a, 5);
	assert_int_equal(announced_look(a, 5, 1, 100), ANNOUNCED_USED);
	announced_add(a, 5, 1, 100);
	assert_int_equal(announced_look(a, 5, 1, 100), ANNOUNCED_USED);
	announced_free(&a);
	assert_null(a);
}

static void
expires(void **state)
{
	struct announced *a = announced_new();
	uint32_t late = UINT32_MAX - 10; /* the clock wraps in between */

	(void)state;
	announced_add(a, 5, 1, late);
	assert_int_equal(announced_look(a, 5, 1, late + ANNOUNCED_SECONDS - 1), ANNOUNCED_OPEN);
	assert_int_equal(announced_look(a, 5, 1, late + ANNOUNCED_SECONDS), ANNOUNCED_UNKNOWN);
	announced_free(&a);
}

/* Ids that all fall into one bucket, and far more than there is room for. */
static void
oldest_gives_way(void **state)
{
	struct announced *a = announced_new();
	uint64_t last = 3 * MOST_ANNOUNCED;

	(void)state;
	for (uint64_t i = 1; i <= last; i++) {
		announced_add(a, i << 32 | 7, (unsigned int)(i % 60), 100);
		if (i % 2 == 0)
			announced_use(a, i << 32 | 7);
	}
	for (uint64_t i = 1; i <= last; i++)
		assert_int_equal(announced_look(a, i << 32 | 7, (unsigned int)(i % 60), 101),
			i <= last - MOST_ANNOUNCED ? ANNOUNCED_UNKNOWN
			: i % 2 == 0               ? ANNOUNCED_USED
						   : ANNOUNCED_OPEN);
	announced_free(&a);
}

/* No session has id 0, but a captured front end may say it: it must not bend the lists, which would
 * turn every search into a circle, or leave the ring. */
static void
no_session_has_id_zero(void **state)
{
	struct announced *a = announced_new();

	(void)state;
	alarm(20);
	announced_add(a, 0, 1, 100);
	for (uint64_t i = 1; i <= 3 * MOST_ANNOUNCED; i++)
		announced_add(a, i << 32, 1, 100);
	assert_int_equal(announced_look(a, 0, 1, 100), ANNOUNCED_UNKNOWN);
	assert_int_equal(announced_look(a, 1, 1, 100), ANNOUNCED_UNKNOWN);
	for (uint64_t i = 2 * MOST_ANNOUNCED + 1; i <= 3 * MOST_ANNOUNCED; i++)
		assert_int_equal(announced_look(a, i << 32, 1, 100), ANNOUNCED_OPEN);
	alarm(0);
	announced_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_worker_one_signature), cmocka_unit_test(expires),
		cmocka_unit_test(oldest_gives_way), cmocka_unit_test(no_session_has_id_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
