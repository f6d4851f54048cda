/* BDAT, by the whole program against a played queue. State after errors is a table that is generated:
 * after each failure, each command that would go on says 503. */
#include "smtpd_rig.h"

#define CHUNKS 40000
#define ONE_CHUNK "BDAT 1\r\nx"
#define ONE_ANSWER "250 2.0.0 1 octets received\r\n"

static int
setup(void **state)
{
	(void)state;
	rig_default_settings();
	rig_start();
	return 0;
}

static int
stop(void **state)
{
	int status;

	(void)state;
	status = rig_stop();
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static bool
delivered_has(const char *what)
{
	return span_find(text_span(&rig.delivered), span_str(what)) < rig.delivered.len;
}

static void
until_rcpt(int fd)
{
	rig_ask(fd, "MAIL FROM:<a@client.example>\r\n", "250 2.1.0");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250 2.1.5");
}

static void
nap(void)
{
	for (int i = 0; i < 20; i++)
		rig_nap();
}

static const char *const followers[] = {
	"DATA\r\n", "RCPT TO:<b@example.org>\r\n", "BDAT 1 LAST\r\nx", "BDAT 0\r\n"};
#define FOLLOWERS (sizeof(followers) / sizeof(followers[0]))

static const struct {
	bool envelope;             /* MAIL and RCPT are said before */
	const char *say, *expect;
} failures[] = {
	{ false, "MAIL FROM:<later@x.example>\r\n", "451 4.3.0" },
	{ false, "MAIL FROM:<never@x.example>\r\n", "550 5.7.1" },
	{ false, "MAIL FROM:<a@x.example> BODY=9BITMIME\r\n", "501 5.5.4" },
	{ false, "MAIL FROM:<;id;>\r\n", "501 5.1.7" },
	{ false, "RCPT TO:<b@example.org>\r\n", "503 5.5.1" },
	{ false, "DATA\r\n", "503 5.5.1" },
	{ false, "BDAT 1\r\nx", "503 5.5.1" },
	{ false, "BDAT 1 LAST\r\nx", "503 5.5.1" },
	{ false, "BDAT 0\r\n", "503 5.5.1" },
	{ false, "VRFY \xc3\xbc\r\n", "553 5.6.7" },
	{ false, "EXPN staff\r\n", "502 5.5.1" },
	{ false, "AUTH PLAIN =\r\n", "538 5.7.11" },
	{ false, "STARTTLS now\r\n", "501 5.5.4" },
	{ false, "WHAT\r\n", "500 5.5.1" },
	{ true, "BDAT 3\r\na\nb", "550 5.6.0" },
	{ true, "BDAT 3\r\na\rb", "550 5.6.0" },
	{ true, "BDAT 3 LAST\r\na\nb", "550 5.6.0" },
	{ true, "BDAT 1 LAST\r\n\r", "550 5.6.0" },
	{ true, "BDAT 1 LAST\r\n\n", "550 5.6.0" },
	{ true, "BDAT 4\r\n x\r\n", "550 5.6.0" },
	{ true, "BDAT 2049\r\n", "552 5.3.4" },
	{ true, "BDAT 2049 LAST\r\n", "552 5.3.4" },
};
#define FAILURES (sizeof(failures) / sizeof(failures[0]))

/* Every failure, then every command that would go on with what the failure left. */
static void
state_after_error(void **state)
{
	static char many[2049];

	(void)state;
	rig_default_settings();
	rig.settings.message_size_bytes = 2048;
	rig_start();
	memset(many, 'x', sizeof(many));
	for (size_t i = 0; i < FAILURES * FOLLOWERS; i++) {
		size_t failure = i / FOLLOWERS, follower = i % FOLLOWERS;
		int fd = rig_hello(SERVICE_SMTP);

		if (failures[failure].envelope)
			until_rcpt(fd);
		rig_say(fd, failures[failure].say);
		if (strstr(failures[failure].say, "2049"))
			rig_send(fd, many, sizeof(many));
		rig_expect(fd, failures[failure].expect);
		rig_ask(fd, followers[follower], "503 5.5.1");
		/* And nothing is in the way of the next message. */
		until_rcpt(fd);
		rig_ask(fd, "BDAT 8 LAST\r\na: b\r\n\r\n", "250 2.0.0 accepted");
		rig_ask(fd, followers[follower], "503 5.5.1");
		close(fd);
	}
	assert_int_equal(rig.commits, FAILURES * FOLLOWERS);
}

/* What fails because of others: the disk, queue before the file, between chunks, after LAST. */
static void
state_after_failures_of_others(void **state)
{
	const struct msg_mail_told full = { .outcome = LATER, .code = 452,
		.status = SPAN("4.2.2"), .reason = SPAN("mailbox full") };

	(void)state;
	for (size_t i = 0; i < FOLLOWERS; i++) {
		int fd = rig_hello(SERVICE_SMTP);

		rig.full_disk = true;
		until_rcpt(fd);
		rig_ask(fd, "BDAT 8\r\na: b\r\n\r\n", "452 4.3.1");
		rig_ask(fd, followers[i], "503 5.5.1");
		rig.full_disk = false;

		rig.hold_file = true;
		until_rcpt(fd);
		rig_say(fd, "BDAT 8\r\na: b\r\n\r\n");
		nap();
		send_mail_told(rig.queue, rig.mail.id, &full, NULL);
		rig_expect(fd, "452 4.2.2 mailbox full");
		rig_ask(fd, followers[i], "503 5.5.1");
		rig.hold_file = false;

		until_rcpt(fd);
		rig_ask(fd, "BDAT 8\r\na: b\r\n\r\n", "250 2.0.0 8 octets");
		send_mail_told(rig.queue, rig.mail.id, &full, NULL);
		nap();
		rig_ask(fd, "BDAT 6\r\nQUIT\r\n", "452 4.2.2 mailbox full");
		rig_ask(fd, followers[i], "503 5.5.1");

		rig.hold_commit = true;
		until_rcpt(fd);
		rig_say(fd, "BDAT 8 LAST\r\na: b\r\n\r\n");
		rig_until(rig.commits == i + 1);
		send_mail_told(rig.queue, rig.mail.id, &full, NULL);
		rig_expect(fd, "452 4.2.2 mailbox full");
		rig_ask(fd, followers[i], "503 5.5.1");
		rig.hold_commit = false;
		close(fd);
	}
}

/* What the memory of smtpd may grow by. The address sanitizer keeps freed memory back, to see it used:
 * only its quarantine (256 MiB) bounds what is resident then. */
#ifdef __SANITIZE_ADDRESS__
#define MOST_GROWTH_KIB (300 * 1024)
#else
#define MOST_GROWTH_KIB 1024
#endif

static long
resident_kib(void)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)rig.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, "VmRSS:", 6) == 0)
			kib = strtol(line + 6, NULL, 10);
	fclose(f);
	return kib;
}

/* A client that sends chunks of one octet and does not read: nothing grows, nothing is lost, and
 * when it reads at last, all goes on. */
static void
s4_forty_thousand_chunks(void **state)
{
	static char all[CHUNKS * (sizeof(ONE_CHUNK) - 1)], heard[65536];
	size_t unit = sizeof(ONE_CHUNK) - 1, sent = 0, got = 0,
	       due = CHUNKS * (sizeof(ONE_ANSWER) - 1);
	int fd = rig_hello(SERVICE_SMTP), silent = 0;
	long before, limit;

	(void)state;
	for (size_t i = 0; i < CHUNKS; i++)
		memcpy(all + i * unit, ONE_CHUNK, unit);
	until_rcpt(fd);
	rig_ask(fd, "BDAT 8\r\na: b\r\n\r\n", "250");
	before = resident_kib();
	/* First it only sends, */
	while (silent < 50 && sent < sizeof(all)) {
		ssize_t n = send(fd, all + sent, sizeof(all) - sent, MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		silent = n > 0 ? 0 : silent + 1;
		rig_nap();
	}
	assert_true(resident_kib() - before < MOST_GROWTH_KIB);
	/* then it reads as well. */
	limit = rig_now() + 30000;
	while (got < due) {
		ssize_t n = send(fd, all + sent, sizeof(all) - sent, MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		n = recv(fd, heard, sizeof(heard), MSG_DONTWAIT);
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(heard[i], ONE_ANSWER[got % (sizeof(ONE_ANSWER) - 1)]);
		assert_true(rig_now() < limit);
		if (n <= 0)
			rig_nap();
	}
	assert_true(resident_kib() - before < MOST_GROWTH_KIB);
	rig_ask(fd, "BDAT 0 LAST\r\n", "250 2.0.0 accepted");
	assert_int_equal(rig.delivered.len - span_find(text_span(&rig.delivered), SPAN("\r\na: b")),
		2 + 8 + CHUNKS + 2);
	close(fd);
}

/* The limit is that of the message, to the octet, across chunks; what is over it is read and
 * thrown away as long as that is bounded. */
static void
s4_size_is_exact(void **state)
{
	static char many[4096];
	int fd;

	(void)state;
	rig_default_settings();
	rig.settings.message_size_bytes = 2048;
	rig_start();
	memset(many, 'x', sizeof(many));
	fd = rig_hello(SERVICE_SMTP);
	until_rcpt(fd);
	rig_ask(fd, "BDAT 8\r\na: b\r\n\r\n", "250");
	rig_say(fd, "BDAT 2040 LAST\r\n");
	rig_send(fd, many, 2040);
	rig_expect(fd, "250 2.0.0 accepted");
	until_rcpt(fd);
	rig_ask(fd, "BDAT 8\r\na: b\r\n\r\n", "250");
	rig_say(fd, "BDAT 2041 LAST\r\n");
	rig_send(fd, many, 2041);
	rig_expect(fd, "552 5.3.4");
	/* The largest chunk that is thrown away, and what follows it is a command again. */
	until_rcpt(fd);
	rig_say(fd, "BDAT 1052672\r\n");
	for (int i = 0; i < 257; i++)
		rig_send(fd, many, 4096);
	rig_expect(fd, "552 5.3.4");
	rig_ask(fd, "NOOP\r\n", "250 2.0.0 yes");
	/* One more: nobody waits for it. */
	until_rcpt(fd);
	rig_ask(fd, "BDAT 1052673\r\n", "552 5.3.4");
	rig_expect(fd, "421 4.7.0");
	rig_expect(fd, NULL);
	assert_int_equal(rig.commits, 1);
	close(fd);
}

/* Chunks that wait for queue, in one packet and octet by octet. */
static void
chunks_come_before_the_file(void **state)
{
	static const char chunks[] = "BDAT 6\r\na: b\r\nBDAT 2\r\n\r\nBDAT 6\r\nQUIT\r\n"
				     "BDAT 0 LAST\r\nRCPT TO:<b@example.org>\r\nNOOP\r\n";

	(void)state;
	for (int piecemeal = 0; piecemeal < 2; piecemeal++) {
		int fd = rig_hello(SERVICE_SMTP);

		rig.hold_file = true;
		until_rcpt(fd);
		for (const char *c = chunks; *c && piecemeal; c++) {
			rig_send(fd, c, 1);
			rig_nap();
		}
		if (!piecemeal)
			rig_say(fd, chunks);
		nap();
		rig_lend();
		rig_expect(fd, "250 2.0.0 6 octets");
		rig_expect(fd, "250 2.0.0 2 octets");
		rig_expect(fd, "250 2.0.0 6 octets");
		rig_expect(fd, "250 2.0.0 accepted");
		rig_expect(fd, "503 5.5.1");
		rig_expect(fd, "250 2.0.0 yes");
		assert_true(delivered_has("\r\na: b\r\n\r\nQUIT\r\n"));
		close(fd);
	}
}

/* A client that goes, between chunks, inside one, or while queue still looks for a file. */
static void
gone_between_and_inside(void **state)
{
	static const char *const last_words[] = {
		"BDAT 8\r\n", "BDAT 8\r\na: b", "BDAT 8\r\na: b\r\n\r\n", "BDAT 8 LAST\r\na", "BDAT"};
	unsigned int gone = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(last_words) / sizeof(last_words[0]); i++)
		for (int hold = 0; hold < 2; hold++) {
			int fd = rig_hello(SERVICE_SMTP);

			rig.hold_file = hold;
			until_rcpt(fd);
			rig_say(fd, last_words[i]);
			nap();
			close(fd);
			nap();
			if (hold && i < 4)
				rig_lend(); /* too late: closed unused */
			rig_until(rig.aborts == gone + 1);
			gone++;
		}
	rig.hold_file = false;
	assert_int_equal(rig.commits, 0);
}

/* The end of TLS inside a chunk is the end. */
static void
end_of_tls_in_bdat(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250");
	until_rcpt(fd);
	rig_ask(fd, "BDAT 8\r\na: b\r\n\r\n", "250");
	rig_say(fd, "BDAT 10 LAST\r\nhalf");
	shutdown(fd, SHUT_WR);
	rig_expect(fd, NULL);
	rig_until(rig.aborts == 1);
	assert_int_equal(rig.commits, 0);
	close(fd);
}

static void
queue_dies(void **state)
{
	int between = rig_hello(SERVICE_SMTP), inside = rig_hello(SERVICE_SMTP),
	    waiting = rig_hello(SERVICE_SMTP);

	(void)state;
	until_rcpt(between);
	rig_ask(between, "BDAT 8\r\na: b\r\n\r\n", "250");
	until_rcpt(inside);
	rig_say(inside, "BDAT 8 LAST\r\na: b");
	until_rcpt(waiting);
	rig.hold_file = true;
	rig_say(waiting, "BDAT 6\r\nQU");
	nap();
	channel_free(&rig.queue);
	nap();
	rig_ask(between, "BDAT 6\r\nQUIT\r\n", "451 4.3.0");
	rig_ask(inside, "\r\n\r\n", "451 4.3.0");
	rig_ask(waiting, "IT\r\n", "451 4.3.0");
	for (size_t i = 0; i < FOLLOWERS; i++) {
		rig_ask(between, followers[i], "503 5.5.1");
		rig_ask(inside, followers[i], "503 5.5.1");
		rig_ask(waiting, followers[i], "503 5.5.1");
	}
	close(between);
	close(inside);
	close(waiting);
}

static void
leaves_after_the_message(void **state)
{
	int busy = rig_hello(SERVICE_SMTP);

	(void)state;
	until_rcpt(busy);
	rig_ask(busy, "BDAT 8\r\na: b\r\n\r\n", "250");
	send_leave(rig.control, 0, &(struct msg_leave){ .seconds = 5 }, NULL);
	nap();
	rig_ask(busy, "BDAT 3 LAST\r\nx\r\n", "250 2.0.0 accepted");
	rig_expect(busy, "421 4.3.2");
	rig_expect(busy, NULL);
	rig_until(rig.control == NULL);
	close(busy);
}

static void
empty_chunks_are_counted(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	until_rcpt(fd);
	for (int i = 0; i < 120; i++)
		rig_ask(fd, "BDAT 0\r\n", "250 2.0.0 0 octets");
	rig_expect(fd, "421 4.7.0");
	rig_expect(fd, NULL);
	close(fd);
}

static void
submits_in_chunks(void **state)
{
	int fd = rig_hello(SERVICE_SUBMISSION);

	(void)state;
	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250 ");
	rig_ask(fd, "AUTH PLAIN AGFuYUBleGFtcGxlLm9yZwBzZWNyZXQ=\r\n", "235 2.7.0");
	rig_ask(fd, "MAIL FROM:<ana@example.org>\r\n", "250");
	rig_ask(fd, "RCPT TO:<x@elsewhere.example>\r\n", "250");
	rig_ask(fd, "BDAT 4\r\nBcc:", "250");
	rig_ask(fd, "BDAT 6\r\n x@y\r\n", "250");
	rig_ask(fd, "BDAT 9\r\nSubject: ", "250");
	rig_ask(fd, "BDAT 1 LAST\r\ns", "250 2.0.0 accepted");
	assert_false(delivered_has("Bcc"));
	assert_true(delivered_has("\r\nSubject: s\r\n"));
	assert_true(delivered_has("\r\nMessage-ID: <"));
	assert_true(delivered_has("\r\nDate: "));
	close(fd);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, stop)
#define ALONE(test) cmocka_unit_test_teardown(test, stop)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ALONE(state_after_error),
		RIGGED(state_after_failures_of_others),
		RIGGED(s4_forty_thousand_chunks),
		ALONE(s4_size_is_exact),
		RIGGED(chunks_come_before_the_file),
		RIGGED(gone_between_and_inside),
		RIGGED(end_of_tls_in_bdat),
		RIGGED(queue_dies),
		RIGGED(leaves_after_the_message),
		RIGGED(empty_chunks_are_counted),
		RIGGED(submits_in_chunks),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("smtpd_bdat", tests, NULL, NULL);
}
