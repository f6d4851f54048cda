/* What policy remembers: greylisting and the allowances of logins, with a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smtpd/allowance.h"
#include "smtpd/greylist.h"

#define NOW 1800000000u

const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb";
}

static struct place {
	char name[64];
	int fd;
	struct greylist greylist;
	struct settings s;
} p;

static int
enter(void **state)
{
	(void)state;
	strcpy(p.name, "/tmp/valija-policy-XXXXXX");
	assert_non_null(mkdtemp(p.name));
	p.fd = open(p.name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	p.greylist = (struct greylist){ .table = table_private(p.fd, "t.db", 0600) };
	assert_non_null(p.greylist.table);
	p.s = (struct settings){ .greylist_delay_seconds = 300, .greylist_retry_seconds = 7200,
		.greylist_keep_seconds = 86400, .greylist_allow_after = 2,
		.submission_messages_per_hour = 10, .submission_recipients_per_hour = 100 };
	return 0;
}

static int
leave(void **state)
{
	(void)state;
	table_free(&p.greylist.table);
	close(p.fd);
	if (fork() == 0) {
		execlp("rm", "rm", "-rf", p.name, (char *)NULL);
		_exit(1);
	}
	wait(NULL);
	return 0;
}

static uint32_t
judge(const char *ip, const char *sender, const char *recipient, uint64_t now)
{
	return greylist_judge(&p.greylist, &p.s, &(struct greylist_attempt){ .ip = span_str(ip),
		.sender = span_str(sender), .recipient = span_str(recipient), .now = now });
}

static void
waits_once(void **state)
{
	(void)state;
	assert_int_equal(judge("192.0.2.1", "a@x.example", "b@example.org", NOW), 300);
	assert_int_equal(judge("192.0.2.1", "a@x.example", "b@example.org", NOW + 1), 299);
	assert_int_equal(judge("192.0.2.1", "a@x.example", "b@example.org", NOW + 299), 1);
	/* A neighbour counts as the same client; another sender or recipient does not. */
	assert_int_equal(judge("192.0.2.77", "a@x.example", "b@example.org", NOW + 300), 0);
	assert_int_equal(judge("192.0.3.1", "a@x.example", "b@example.org", NOW + 300), 300);
	assert_int_equal(judge("192.0.2.1", "b@x.example", "b@example.org", NOW + 300), 300);
	assert_int_equal(judge("192.0.2.1", "a@x.example", "c@example.org", NOW + 300), 300);
	assert_int_equal(judge("192.0.2.1", "a@x.example", "b@example.org", NOW + 86700), 0);
	assert_int_equal(judge("192.0.2.1", "a@x.example", "b@example.org", NOW + 86700 + 86401), 300);
}

/* Fields cannot run into each other, whatever is in them. */
static void
i1_fields_stay_apart(void **state)
{
	(void)state;
	assert_int_equal(judge("192.0.2.1", "a", "bc", NOW), 300);
	assert_int_equal(judge("192.0.2.1", "ab", "c", NOW + 300), 300);
	assert_int_equal(judge("192.0.2.1", "", "abc", NOW + 300), 300);
	assert_int_equal(judge("192.0.2.1", "a", "bc", NOW + 300), 0);
}

static void
too_late_is_a_stranger(void **state)
{
	(void)state;
	assert_int_equal(judge("2001:db8::1", "", "b@example.org", NOW), 300);
	assert_int_equal(judge("2001:db8::1", "", "b@example.org", NOW + 7201), 300);
	assert_int_equal(judge("2001:db8::ffff", "", "b@example.org", NOW + 7501), 0);
}

static void
knows_a_network_after_a_while(void **state)
{
	(void)state;
	judge("192.0.2.1", "a", "b", NOW);
	judge("192.0.2.1", "c", "d", NOW);
	assert_int_equal(judge("192.0.2.1", "a", "b", NOW + 300), 0);
	assert_int_equal(judge("192.0.2.1", "x", "y", NOW + 300), 300);
	assert_int_equal(judge("192.0.2.1", "c", "d", NOW + 301), 0);
	assert_int_equal(judge("192.0.2.9", "new", "new", NOW + 302), 0);
	assert_int_equal(judge("192.0.9.1", "new", "new", NOW + 302), 300);
	/* Not for ever. */
	assert_int_equal(judge("192.0.2.9", "new", "new", NOW + 302 + 86401), 300);
}

static void
a_clock_that_was_set_back(void **state)
{
	(void)state;
	judge("192.0.2.1", "a", "b", NOW);
	assert_int_equal(judge("192.0.2.1", "a", "b", NOW - 100000), 300);
	assert_int_equal(judge("192.0.2.1", "a", "b", NOW + 300), 0);
}

/* HARDENING I4: what is read back is no more trusted than what came over the network. */
static void
i4_damaged_records_are_absent(void **state)
{
	static const char *const values[] = { "", "\1", "\2xxxxxxxxxxxxxxxxxxxxxxxx", "\1xxxxxxxxxxxxxxxxxxxxxxxxxxx" };
	uint32_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		table_put(p.greylist.table, SPAN("ana@example.org"), span_str(values[i]));
		assert_int_equal(allowance_take(p.greylist.table, &p.s, SPAN("ana@example.org"), 1,
			NOW * 1000ull, &seconds), ALLOWED);
	}
}

static void
purges(void **state)
{
	uint64_t before;

	(void)state;
	for (int i = 0; i < 50; i++) {
		char sender[16];

		snprintf(sender, sizeof(sender), "s%d", i);
		judge("192.0.2.1", sender, "b", NOW + (i < 25 ? 0 : 5000));
	}
	assert_int_equal(p.greylist.records, 50);
	assert_false(greylist_purge(&p.greylist, &p.s, NOW + 7201));
	before = p.greylist.records;
	assert_int_equal(before, 25);
	assert_int_equal(judge("192.0.2.1", "s49", "b", NOW + 7201), 0);
}

static enum allowance
take(const char *login, uint32_t recipients, uint64_t after_seconds, uint32_t *seconds)
{
	return allowance_take(p.greylist.table, &p.s, span_str(login), recipients,
		(NOW + after_seconds) * 1000, seconds);
}

static void
counts_messages(void **state)
{
	uint32_t seconds = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(take("ana@example.org", 1, 0, &seconds), ALLOWED);
	assert_int_equal(take("ana@example.org", 1, 0, &seconds), TOO_MANY_MESSAGES);
	assert_int_equal(seconds, 361);
	assert_int_equal(take("ben@example.org", 1, 0, &seconds), ALLOWED);
	assert_int_equal(take("ana@example.org", 1, 359, &seconds), TOO_MANY_MESSAGES);
	assert_int_equal(take("ana@example.org", 1, 360, &seconds), ALLOWED);
	assert_int_equal(take("ana@example.org", 1, 361, &seconds), TOO_MANY_MESSAGES);
	for (int i = 0; i < 10; i++)
		assert_int_equal(take("ana@example.org", 1, 8000, &seconds), ALLOWED);
	assert_int_equal(take("ana@example.org", 1, 8000, &seconds), TOO_MANY_MESSAGES);
}

static void
counts_recipients_across_a_restart(void **state)
{
	uint32_t seconds = 0;

	(void)state;
	assert_int_equal(take("ana@example.org", 60, 0, &seconds), ALLOWED);
	assert_int_equal(take("ana@example.org", 60, 0, &seconds), TOO_MANY_RECIPIENTS);
	assert_int_equal(take("ana@example.org", 40, 0, &seconds), ALLOWED);
	assert_int_equal(table_sync(p.greylist.table), 0);
	table_free(&p.greylist.table);
	p.greylist.table = table_private(p.fd, "t.db", 0600);
	assert_non_null(p.greylist.table);
	assert_int_equal(take("ana@example.org", 1, 1, &seconds), TOO_MANY_RECIPIENTS);
	/* One that is above the limit by itself is taken after a quiet hour. */
	assert_int_equal(take("ana@example.org", 500, 3602, &seconds), ALLOWED);
	assert_int_equal(take("ana@example.org", 1, 3602 + 3599, &seconds), TOO_MANY_RECIPIENTS);
	assert_int_equal(take("ana@example.org", 1, 3602 + 3601, &seconds), ALLOWED);
}

static void
forgets_quiet_logins(void **state)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	uint32_t seconds;

	(void)state;
	take("ana@example.org", 1, 0, &seconds);
	take("ben@example.org", 1, 3000, &seconds);
	assert_false(allowance_purge(p.greylist.table, (NOW + 3600) * 1000ull));
	assert_int_equal(table_get(p.greylist.table, SPAN("ana@example.org"), &value), TABLE_NONE);
	assert_int_equal(table_get(p.greylist.table, SPAN("ben@example.org"), &value), TABLE_FOUND);
	text_clear(&value);
}

static void
no_limits(void **state)
{
	uint32_t seconds;

	(void)state;
	p.s.submission_messages_per_hour = p.s.submission_recipients_per_hour = 0;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(take("ana@example.org", 1000, 0, &seconds), ALLOWED);
}

#define PLACED(t) cmocka_unit_test_setup_teardown(t, enter, leave)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(waits_once), PLACED(i1_fields_stay_apart), PLACED(too_late_is_a_stranger),
		PLACED(knows_a_network_after_a_while), PLACED(a_clock_that_was_set_back),
		PLACED(i4_damaged_records_are_absent), PLACED(purges), PLACED(counts_messages),
		PLACED(counts_recipients_across_a_restart), PLACED(forgets_quiet_logins), PLACED(no_limits),
	};

	return cmocka_run_group_tests_name("smtpd_policy", tests, NULL, NULL);
}
