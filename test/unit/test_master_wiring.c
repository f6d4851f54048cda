/*
 * The wiring table and the table of messages agree: who may say something has a way to say it,
 * and who has a way has something to say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "common/message.h"
#include "master/wiring.h"

static bool
is_daemon(enum program p)
{
	return wiring_row(p) != NULL;
}

/* Started by master, or there without it. One that is not there yet (the relay) needs no way yet. */
static bool
exists(enum program p)
{
	return is_daemon(p) || p == PROGRAM_MASTER || p == PROGRAM_COMMAND;
}

/* Is there any way for a message from `a` to `b`? */
static bool
has_way(enum program a, enum program b)
{
	if (a == PROGRAM_MASTER)
		return is_daemon(b) || b == PROGRAM_COMMAND; /* control; the control socket */
	if (b == PROGRAM_MASTER)
		return is_daemon(a) || a == PROGRAM_COMMAND;
	if (b == PROGRAM_LOG)
		return is_daemon(a); /* log channels */
	if (a == PROGRAM_COMMAND)
		return wiring_command_may(b);
	if (b == PROGRAM_COMMAND)
		return wiring_command_may(a);
	return wiring_joined(a, b);
}

static const struct message_row *const *all_rows(size_t *count)
{
	static const struct message_row *rows[256];
	size_t n = 0;

	for (unsigned int number = 0; number < 65536 && n < 256; number++)
		if (message_row(number))
			rows[n++] = message_row(number);
	*count = n;
	return rows;
}

static void
test_every_message_has_a_way(void **state)
{
	size_t count;
	const struct message_row *const *rows = all_rows(&count);

	(void)state;
	assert_true(count > 50);
	for (size_t i = 0; i < count; i++) {
		for (enum program to = 0; to < PROGRAM_COUNT; to++) {
			bool somebody = false;

			if ((rows[i]->to & 1u << to) == 0 || !exists(to))
				continue;
			for (enum program by = 0; by < PROGRAM_COUNT; by++)
				if ((rows[i]->by & 1u << by) && (has_way(by, to) || !exists(by)))
					somebody = true;
			if (!somebody)
				fprintf(stderr, "%s cannot reach %s\n", rows[i]->name,
					program_name(to));
			assert_true(somebody);
		}
		for (enum program by = 0; by < PROGRAM_COUNT; by++) {
			bool somebody = false;

			if ((rows[i]->by & 1u << by) == 0 || !exists(by))
				continue;
			for (enum program to = 0; to < PROGRAM_COUNT; to++)
				if ((rows[i]->to & 1u << to) && (has_way(by, to) || !exists(to)))
					somebody = true;
			if (!somebody)
				fprintf(stderr, "%s may say %s to nobody\n", program_name(by),
					rows[i]->name);
			assert_true(somebody);
		}
	}
}

static void
test_every_wire_has_messages(void **state)
{
	size_t count;
	const struct message_row *const *rows = all_rows(&count);

	(void)state;
	for (enum program a = 0; a < PROGRAM_COUNT; a++) {
		for (enum program b = 0; b < PROGRAM_COUNT; b++) {
			bool some = false;

			if (!wiring_joined(a, b))
				continue;
			assert_true(wiring_joined(b, a));
			assert_true(is_daemon(a) && is_daemon(b) && a != b);
			for (size_t i = 0; i < count; i++)
				if (((rows[i]->by & 1u << a) && (rows[i]->to & 1u << b)) ||
					((rows[i]->by & 1u << b) && (rows[i]->to & 1u << a)))
					some = true;
			assert_true(some);
		}
	}
}

/* What must never be joined, whatever becomes of the tables. */
static void
test_what_may_not_be_joined(void **state)
{
	static const enum program apart[][2] = {
		{ PROGRAM_SMTPD, PROGRAM_SMTPD },
		{ PROGRAM_SMTPD, PROGRAM_IMAP_LOGIN },
		{ PROGRAM_SMTPD, PROGRAM_LOCAL },
		{ PROGRAM_SMTPD, PROGRAM_SPOOL },
		{ PROGRAM_SMTPD, PROGRAM_AUTH_HASH },
		{ PROGRAM_IMAP_LOGIN, PROGRAM_IMAP },
		{ PROGRAM_IMAP_LOGIN, PROGRAM_QUEUE },
		{ PROGRAM_IMAP, PROGRAM_IMAP },
		{ PROGRAM_TLS, PROGRAM_AUTH },
		{ PROGRAM_TLS_KEY, PROGRAM_AUTH },
		{ PROGRAM_TLS, PROGRAM_TLS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof apart / sizeof apart[0]; i++)
		assert_false(wiring_joined(apart[i][0], apart[i][1]));
	for (enum program p = 0; p < PROGRAM_COUNT; p++)
		assert_false(wiring_joined(PROGRAM_IMAP, p));
}

static void
test_rows(void **state)
{
	const struct program_row *row;
	unsigned int keys = 0, certificates = 0;
	struct settings s = { .smtpd_processes = 3 };

	(void)state;
	for (size_t i = 0; (row = wiring_row_at(i)); i++) {
		assert_ptr_equal(wiring_row(row->program), row);
		assert_true((row->user == NULL) == (row->per_user || row->as_root));
		assert_true(row->as_root || row->capabilities == 0 ||
			row->program == PROGRAM_LOCAL_HOME);
		assert_int_equal(row->chrooted, (row->directories & 1u << DIRECTORY_EMPTY) != 0);
		/* Who holds a key sees no certificate's traffic, and the other way round. */
		assert_false(row->private_key && (row->certificate || row->passport_key));
		assert_true(row->stage < STAGE_COUNT);
		keys += row->private_key;
		certificates += row->certificate;
	}
	assert_int_equal(keys, 1);
	/* The TLS workers, and ocsp, which asks about them. */
	assert_int_equal(certificates, 2);
	assert_null(wiring_row(PROGRAM_MASTER));
	assert_null(wiring_row(PROGRAM_COMMAND));
	assert_int_equal(wiring_count(wiring_row(PROGRAM_SMTPD), &s), 3);
	assert_int_equal(wiring_count(wiring_row(PROGRAM_AUTH), &s), 1);
	assert_int_equal(wiring_count(wiring_row(PROGRAM_IMAP), &s), 0);
	/* Nothing runs as root that nobody asked for. */
	s.pam_processes = 2;
	assert_int_equal(wiring_count(wiring_row(PROGRAM_AUTH_PAM), &s), 0);
	s.system_users = true;
	assert_int_equal(wiring_count(wiring_row(PROGRAM_AUTH_PAM), &s), 2);
	/* Each is more exposed than another, or less. */
	for (size_t i = 0; (row = wiring_row_at(i)); i++)
		for (size_t j = 0; wiring_row_at(j); j++)
			assert_int_equal(wiring_more_exposed(row->program, wiring_row_at(j)->program) +
				wiring_more_exposed(wiring_row_at(j)->program, row->program), i != j);
	assert_true(wiring_more_exposed(PROGRAM_SMTPD, PROGRAM_QUEUE));
	/* The log is stopped last, and started first. */
	assert_int_equal(wiring_row_at(0)->program, PROGRAM_LOG);
	assert_int_equal(wiring_row(PROGRAM_LOG)->stage, STAGE_LOG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message_has_a_way),
		cmocka_unit_test(test_every_wire_has_messages),
		cmocka_unit_test(test_what_may_not_be_joined),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
