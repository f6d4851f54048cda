/*
 * Where an instance lives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <config.h>

#include "master/paths.h"

static void
test_system(void **state)
{
	struct text why = TEXT_UP_TO(1000);
	struct paths p;

	(void)state;
	assert_true(paths_init(&p, NULL, &why));
	assert_null(p.dir);
	assert_string_equal(p.conf, VALIJA_SYSCONFDIR "/valija.conf");
	assert_string_equal(p.control, VALIJA_RUNDIR "/control");
	assert_string_equal(p.tls, VALIJA_STATEDIR "/tls");
	paths_clear(&p);
	assert_null(p.conf);
}

static void
test_below_a_directory(void **state)
{
	struct text why = TEXT_UP_TO(1000);
	struct paths p;

	(void)state;
	assert_int_equal(chdir("/tmp"), 0);
	assert_true(paths_init(&p, "/tmp", &why));
	assert_string_equal(p.conf, "/tmp/etc/valija.conf");
	assert_string_equal(p.spool, "/tmp/spool");
	assert_string_equal(p.mail, "/tmp/mail");
	paths_clear(&p);
	/* Absolute, whatever the caller's directory is later. */
	assert_true(paths_init(&p, ".", &why));
	assert_string_equal(p.dir, "/tmp");
	paths_clear(&p);
	assert_true(paths_init(&p, "valija-not-there/", &why));
	assert_string_equal(p.dir, "/tmp/valija-not-there");
	paths_clear(&p);
	assert_true(paths_init(&p, "/valija-not-there", &why));
	assert_string_equal(p.dir, "/valija-not-there");
	paths_clear(&p);
}

static void
test_refused(void **state)
{
	static const char *const wrong[] = { "", "/valija-not-there/below", "/etc/passwd/x",
		"/valija-not-there/.." };

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct text why = TEXT_UP_TO(1000);
		struct paths p;

		assert_false(paths_init(&p, wrong[i], &why));
		assert_true(why.len > 0);
		assert_null(p.dir);
		text_clear(&why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_system),
		cmocka_unit_test(test_below_a_directory),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
