/* The envelope of a dropped message: what is written is read, and nothing else is taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smtpd/drop-file.h"
#include "smtpd/drop-notice.h"

static void
written_and_read(void **state)
{
	struct drop d = { .sender = SPAN("a"), .eight_bit = true, .notify = SPAN("NEVER"),
		.ret = SPAN("HDRS"), .envid = SPAN("x y") }, e;
	struct text t = TEXT_UP_TO(DROP_ENVELOPE_MOST + DROP_FOOT);
	const char *why;
	size_t len;

	(void)state;
	drop_add(&d, SPAN("b@c.example"));
	drop_add(&d, SPAN("\"q:,\"@d"));
	assert_true(drop_put(&d, &t));
	assert_true(drop_foot_parse(span_part(text_span(&t), t.len - DROP_FOOT, DROP_FOOT), &len));
	assert_int_equal(len, t.len - DROP_FOOT);
	assert_true(drop_parse(span_part(text_span(&t), 0, len), &e, &why));
	assert_true(span_equal(e.sender, d.sender) && e.eight_bit);
	assert_int_equal(e.count, 2);
	assert_true(span_equal(e.recipient[1], d.recipient[1]));
	assert_true(span_equal(e.notify, d.notify) && span_equal(e.ret, d.ret) &&
		    span_equal(e.envid, d.envid));
	drop_clear(&e);
	/* Cut anywhere, it is none. */
	for (size_t n = 0; n < len; n++)
		if (drop_parse(span_part(text_span(&t), 0, n), &e, &why)) {
			/* Whole fields, with all that must be there. */
			assert_true(t.at[n - 1] == ',' && e.count > 0);
			drop_clear(&e);
		}
	drop_clear(&d);
	text_clear(&t);
}

static void
i1_nothing_crosses_the_envelope(void **state)
{
	static const char *const bad[] = { "", "2:Sa", "2:Sa,", "2:Ra,", "1:S,1:R,", "1:S,1:S,2:Ra,",
		"2:Sa,4:Ra\nb,", "2:Sa,4:Ra\rb,", "2:Sa,2:Ra,2:B9,", "2:Sa,2:Ra,2:Xa,", "02:Sa,2:Ra,",
		"2:Sa,2:Ra,x", "99999999999:Sa,2:Ra,", "2:Sa,2:Ra,6:NNEVER,6:NNEVER,", "2:Sa,2:Ra,1:N,",
		"2:Sa,0:,2:Ra,", "1025:S" };
	struct drop d;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		if (drop_parse(span_str(bad[i]), &d, &why))
			fail_msg("taken: %s", bad[i]);
		assert_non_null(why);
		assert_null(d.recipient);
	}
	/* NUL in an address. */
	assert_false(drop_parse(SPAN("2:Sa,4:Ra\0b,"), &d, &why));
}

static void
the_foot(void **state)
{
	size_t len;

	(void)state;
	assert_true(drop_foot_parse(SPAN("valija-drop-1 0000000000\n"), &len));
	assert_false(drop_foot_parse(SPAN("valija-drop-1 000000000\n"), &len));
	assert_false(drop_foot_parse(SPAN("valija-drop-2 0000000000\n"), &len));
	assert_false(drop_foot_parse(SPAN("valija-drop-1 9999999999\n"), &len));
	assert_false(drop_foot_parse(SPAN("valija-drop-1 -000000001\n"), &len));
	assert_false(drop_foot_parse(SPAN("valija-drop-1 0000000000x"), &len));
}

/* --- files --- */

static char directory_name[64];
static int directory = -1;

static int
make_directory(void **state)
{
	(void)state;
	snprintf(directory_name, sizeof(directory_name), "/tmp/valija-drop-XXXXXX");
	if (!mkdtemp(directory_name))
		return -1;
	directory = open(directory_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return directory < 0 ? -1 : 0;
}

static int
remove_directory(void **state)
{
	static const char *const names[] = { "good", "short", "link", "pipe", "hard", "hard2", "big",
		"cut", "envelope" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(directory, names[i], 0);
	unlinkat(directory, "dir", AT_REMOVEDIR);
	close(directory);
	return rmdir(directory_name);
}

static void
put_file(const char *name, const char *content)
{
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

#define GOOD "Subject: x\r\n\r\nbody\r\n2:Sa,2:Rb,valija-drop-1 0000000010\n"

static const char *
refused(const char *name, uint64_t most)
{
	struct drop_file f;
	const char *why = NULL;

	assert_int_equal(drop_file_open(&f, directory, name, most, &why), DROP_FILE_BAD);
	assert_int_equal(f.fd, -1);
	assert_non_null(why);
	return why;
}

/* What a user can plant: none of it is read, nothing hangs. */
static void
f1_what_is_planted_is_refused(void **state)
{
	struct drop_file f;
	const char *why;
	char body[8];

	(void)state;
	put_file("good", GOOD);
	assert_int_equal(drop_file_open(&f, directory, "good", 1000, &why), DROP_FILE_GOOD);
	assert_int_equal(f.uid, getuid());
	assert_int_equal(f.size, 20);
	assert_true(span_equal(f.envelope.sender, SPAN("a")));
	assert_int_equal(drop_file_read(&f, body, sizeof(body), 14), 6);
	assert_memory_equal(body, "body\r\n", 6);
	assert_int_equal(drop_file_read(&f, body, sizeof(body), 20), 0);
	drop_file_close(&f);

	put_file("short", "valija-drop-1 0000000010\n");
	refused("short", 1000);
	put_file("cut", "\r\n2:Sa,2:Rb,valija-drop-1 0000009999\n");
	refused("cut", 1000);
	put_file("envelope", "\r\n2:Sa,2:R\n,valija-drop-1 0000000010\n");
	refused("envelope", 1000);
	assert_int_equal(symlinkat("good", directory, "link"), 0);
	refused("link", 1000);
	assert_int_equal(mkfifoat(directory, "pipe", 0644), 0);
	refused("pipe", 1000);
	assert_int_equal(mkdirat(directory, "dir", 0700), 0);
	refused("dir", 1000);
	put_file("hard", GOOD);
	assert_int_equal(linkat(directory, "hard", directory, "hard2", 0), 0);
	assert_string_equal(refused("hard", 1000), "has another name elsewhere");
	assert_int_equal(drop_file_open(&f, directory, "gone", 1000, &why), DROP_FILE_GONE);
	if (getuid() == 0) {
		/* Moved here from elsewhere: it has the group of its maker. */
		assert_int_equal(fchownat(directory, "good", (uid_t)-1, 12345, 0), 0);
		assert_string_equal(refused("good", 1000), "was not made here");
	}
}

static void
a_notice_keeps_its_lines(void **state)
{
	struct drop_file f;
	struct drop_notice n;
	struct handin_refusal r = { .recipient = 0, .code = 550, .reason = "550 5.1.1 no" };
	struct handin h = { .refusal = &r, .refusals = 1 };
	const char *why;
	char piece[16];

	(void)state;
	put_file("good", GOOD);
	assert_int_equal(drop_file_open(&f, directory, "good", 1000, &why), DROP_FILE_GOOD);
	assert_true(drop_notice_make(&n, &f, &h, SPAN("mx.example.org"), 0));
	assert_int_equal(n.envelope.sender.len, 0);
	assert_true(span_equal(n.envelope.recipient[0], SPAN("a")));
	assert_true(strstr(text_str(&n.text), "\r\nFinal-Recipient: rfc822; b\r\nAction: failed\r\n"
					      "Status: 5.1.1\r\n"));
	assert_true(strstr(text_str(&n.text), "\r\nSubject: x\r\n"));
	for (size_t i = 0; i < n.text.len; i++)
		if (n.text.at[i] == '\n')
			assert_true(i > 0 && n.text.at[i - 1] == '\r');
	assert_int_equal(drop_notice_read(&n, piece, sizeof(piece), n.text.len), 0);
	assert_int_equal(drop_notice_read(&n, piece, sizeof(piece), 0), sizeof(piece));
	drop_notice_clear(&n);
	/* Nobody to tell. */
	f.envelope.sender = SPAN_NONE;
	assert_false(drop_notice_make(&n, &f, &h, SPAN("mx.example.org"), 0));
	drop_notice_clear(&n);
	drop_file_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_and_read),
		cmocka_unit_test(i1_nothing_crosses_the_envelope),
		cmocka_unit_test(the_foot),
		cmocka_unit_test_setup_teardown(
			f1_what_is_planted_is_refused, make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(
			a_notice_keeps_its_lines, make_directory, remove_directory),
	};

	return cmocka_run_group_tests_name("smtpd_drop", tests, NULL, NULL);
}
