/* smtpd, the whole program, against played peers and every client that we could think of. Tests
 * that begin with a letter and a number are named after the item of the list of holes that they
 * close. */
#include "smtpd_rig.h"

#define SUBMIT_LOGIN                                                                               \
	"AUTH PLAIN AGFuYUBleGFtcGxlLm9yZwBzZWNyZXQ=\r\n" /* \0ana@example.org\0secret */

static void
start(void)
{
	rig_default_settings();
	rig_start();
}

static int
stop(void **state)
{
	int status;

	(void)state;
	status = rig_stop();
	/* Whatever was done to it: it has left by itself, not by a signal. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int
setup(void **state)
{
	(void)state;
	start();
	return 0;
}

static bool
delivered_has(const char *what)
{
	return span_find(text_span(&rig.delivered), span_str(what)) < rig.delivered.len;
}

static bool
log_has(const char *what)
{
	return span_find(text_span(&rig.log_text), span_str(what)) < rig.log_text.len;
}

static int
submission(void)
{
	int fd = rig_hello(SERVICE_SUBMISSION);

	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250 ");
	rig_ask(fd, SUBMIT_LOGIN, "235 2.7.0");
	return fd;
}

static void
until_data(int fd)
{
	rig_ask(fd, "MAIL FROM:<a@client.example>\r\n", "250 2.1.0");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250 2.1.5");
	rig_ask(fd, "DATA\r\n", "354 ");
}

/* Gives smtpd what it says some time to come, and sees that nothing does. */
static void
silence(int fd)
{
	char octet;

	for (int i = 0; i < 20; i++)
		rig_nap();
	assert_true(recv(fd, &octet, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

/* The client is invited while the file is still under way: what it sends waits, and is taken whole. */
static void
invites_before_the_file(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig.hold_file = true;
	until_data(fd);
	rig_say(fd, "Subject: early\r\n\r\nx\r\n.\r\n");
	silence(fd);
	assert_int_equal(rig.commits, 0);
	rig_lend();
	rig_expect(fd, "250 2.0.0 accepted as ");
	assert_int_equal(rig.commits, 1);
	assert_non_null(strstr(text_str(&rig.delivered), "\r\nSubject: early\r\n\r\nx\r\n"));
	/* As a group (RFC 2920), and with a file that comes before the message. */
	rig_ask(fd, "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n", "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "354 ");
	rig_lend();
	silence(fd);
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 accepted as ");
	/* Who announces much hears first whether there is a file for it. */
	rig_ask(fd, "MAIL FROM:<a@client.example> SIZE=1048577\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_say(fd, "DATA\r\n");
	silence(fd);
	rig_lend();
	rig_expect(fd, "354 ");
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 accepted as ");
	rig.hold_file = false;
	close(fd);
}

static void
refuse_file(void)
{
	send_mail_told(rig.queue, rig.mail.id,
		&(struct msg_mail_told){ .outcome = LATER, .code = 452, .status = SPAN("4.2.2"),
			.reason = SPAN("mailbox full") }, NULL);
}

/* There is no file for who is invited: he hears it behind his message, which is no command to anybody. */
static void
invites_in_vain(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig.hold_file = true;
	until_data(fd);
	refuse_file();
	silence(fd);
	rig_ask(fd, "Subject: x\r\n\r\nRSET\r\n..\r\nQUIT\r\n.\r\n", "452 4.2.2 mailbox full");
	until_data(fd);
	rig_say(fd, "Subject: x\r\n\r\nQUIT\r\n.\r\nNOOP\r\n");
	silence(fd);
	refuse_file();
	rig_expect(fd, "452 4.2.2 mailbox full");
	rig_expect(fd, "250");
	rig_until(log_has("code=452"));
	/* It announced much, and need not send it. */
	rig_ask(fd, "MAIL FROM:<a@client.example> SIZE=1048577\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_say(fd, "DATA\r\n");
	silence(fd);
	refuse_file();
	rig_expect(fd, "452 4.2.2 mailbox full");
	/* queue dies, and the client while it is invited. */
	until_data(fd);
	rig_say(fd, "Subject: x\r\n\r\nx\r\n");
	channel_free(&rig.queue);
	rig_ask(fd, ".\r\n", "451 4.3.0");
	rig_give_peer(&rig.queue, PROGRAM_QUEUE, &rig_queue);
	for (int i = 0; i < 20; i++)
		rig_nap();
	until_data(fd);
	close(fd);
	rig_nap();
	rig_lend();
	fd = rig_hello(SERVICE_SMTP);
	rig.hold_file = false;
	until_data(fd);
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250");
	assert_int_equal(rig.commits, 1);
	close(fd);
}

static void
receives(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig.last_write = true;
	until_data(fd);
	rig_ask(fd, "Subject: x\r\n\r\n..dot\r\n.\r\n", "250 2.0.0 accepted as ");
	assert_true(span_starts_nocase(text_span(&rig.delivered),
		SPAN("Return-Path: <a@client.example>\r\n"
		     "Received: from client.example ([127.0.0.1])\r\n\tby mx.example.org with "
		     "ESMTP\r\n\tid ")));
	assert_true(delivered_has("\r\n\tfor <b@example.org>;\r\n\t"));
	assert_true(delivered_has("\r\nSubject: x\r\n\r\n.dot\r\n"));
	assert_false(delivered_has("Date:"));
	rig_ask(fd, "QUIT\r\n", "221 2.0.0");
	rig_expect(fd, NULL);
	rig_until(log_has("disconnect"));
	assert_true(log_has("accepted"));
	assert_int_equal(rig.aborts, 0);
	close(fd);
}

static void
answers_in_order_of_commands(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_say(fd,
		"MAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nRCPT TO:<unknown@example.org>\r\n"
		"RCPT TO:nonsense\r\nRCPT TO:<x@elsewhere.example>\r\nRSET\r\nNOOP\r\n");
	rig_until(rig.slow_id != 0);
	rig_nap();
	rig_answer_slow();
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "550 5.1.1 no??250 evil");
	rig_expect(fd, "501 5.5.4");
	rig_expect(fd, "550 5.7.1");
	rig_expect(fd, "250 2.0.0 forgotten");
	rig_expect(fd, "250 2.0.0 yes");
	rig_until(rig.aborts == 1);
	close(fd);
}

/* A whole group is here: the file is asked for before its answers are known, and they leave together. */
static void
asks_early_for_the_file(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);
	char all[200];
	ssize_t got = -1;

	(void)state;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nRCPT TO:<unknown@example.org>\r\nDATA\r\n");
	rig_until(rig.mail.file > 0);
	for (int i = 0; i < 10; i++)
		rig_nap();
	assert_int_equal(recv(fd, all, sizeof(all), MSG_DONTWAIT), -1);
	rig_answer_slow();
	for (int i = 0; i < 100 && got < 0; i++) {
		rig_nap();
		got = recv(fd, all, sizeof(all) - 1, MSG_DONTWAIT);
	}
	assert_true(got > 0);
	all[got] = '\0';
	assert_true(strncmp(all, "250 2.1.0", 9) == 0);
	assert_non_null(strstr(all, "\r\n250 2.1.5"));
	assert_non_null(strstr(all, "\r\n550 5.1.1"));
	assert_non_null(strstr(all, "\r\n354 "));
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0 accepted");
	assert_int_equal(rig.commits, 1);
	/* Nobody is left: the file goes back, and so it does if the client leaves meanwhile. */
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<unknown@example.org>\r\nDATA\r\n");
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "550 5.1.1");
	rig_expect(fd, "554 5.5.1");
	rig_until(rig.aborts == 1);
	rig.slow_id = 0;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n");
	rig_until(rig.mail.file > 0);
	close(fd);
	rig_answer_slow();       /* not before that is it known that no message comes */
	rig_until(rig.aborts == 2);
}

/* Who says no more has said this: it is done and answered. Half a command is none. */
static void
answers_who_says_no_more(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nBDAT 4 LAST\r\nx\r\n\nVRFY x\r\nMAIL FROM:<>\r\nRCPT TO");
	shutdown(fd, SHUT_WR);
	rig_until(rig.slow_id != 0);
	for (int i = 0; i < 10; i++)
		rig_nap();
	rig_answer_slow();
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "550 5.6.0");
	rig_expect(fd, "252");
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, NULL);
	close(fd);
}

/* What queue says of the file while DATA waits for its turn, and what is not asked early. */
static void
early_file_that_does_not_come(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig.hold_file = true;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n");
	rig_until(rig.asked == 1);
	send_mail_told(rig.queue, rig.mail.id, &(struct msg_mail_told){.outcome = LATER, .code = 452,
		.status = SPAN("4.2.2"), .reason = SPAN("mailbox full")}, NULL);
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "452 4.2.2 mailbox full");
	rig_expect(fd, "554 5.5.1");
	rig_ask(fd, "DATA\r\n", "503");
	/* Lent, and taken back. */
	rig.hold_file = false;
	rig.slow_id = 0;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n");
	rig_until(rig.asked == 2);
	send_mail_told(rig.queue, rig.mail.id, &(struct msg_mail_told){.outcome = LATER, .code = 451,
		.status = SPAN("4.3.0"), .reason = SPAN("lost")}, NULL);
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "451 4.3.0 lost");   /* the recipient that queue will not speak of any more */
	rig_expect(fd, "451 4.3.0 lost");
	/* queue dies meanwhile. */
	rig.slow_id = 0;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n");
	rig_until(rig.asked == 3);
	channel_free(&rig.queue);
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "451 4.3.0");
	rig_expect(fd, "451 4.3.0");
	rig_ask(fd, "DATA\r\n", "503");
	rig_give_peer(&rig.queue, PROGRAM_QUEUE, &rig_queue);
	for (int i = 0; i < 20; i++)
		rig_nap();
	/* More than DATA, something behind it, BINARYMIME: all in their turn. */
	rig.slow_id = 0;
	rig_say(fd, "MAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n");
	rig_until(rig.slow_id != 0);
	for (int i = 0; i < 10; i++)
		rig_nap();
	rig_answer_slow();
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "503 5.5.1 BINARYMIME");
	rig.slow_id = 0;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nDATA now\r\n");
	rig_until(rig.slow_id != 0);
	for (int i = 0; i < 10; i++)
		rig_nap();
	rig_answer_slow();
	rig_expect(fd, "250 2.1.0");
	rig_expect(fd, "250 2.1.5");
	rig_expect(fd, "501 5.5.4");
	assert_int_equal(rig.asked, 3);
	close(fd);
}

static void
many_recipients_in_one_group(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);
	char line[64];

	(void)state;
	rig_say(fd, "MAIL FROM:<>\r\n");
	for (int i = 0; i < 1005; i++) {
		snprintf(line, sizeof(line), "RCPT TO:<user%d@example.org>\r\n", i);
		rig_say(fd, line);
	}
	rig_say(fd, "NOOP\r\n");
	rig_expect(fd, "250 2.1.0");
	for (int i = 0; i < 1000; i++)
		rig_expect(fd, "250 2.1.5");
	for (int i = 0; i < 5; i++)
		rig_expect(fd, "452 4.5.3"); /* r4 */
	rig_expect(fd, "250 2.0.0");
	assert_int_equal(rig.mail.recipients, 1000);
	close(fd);
}

/* S3: whatever failed, nothing of it is left. */
static void
s3_state_after_error(void **state)
{
	static const struct {
		const char *say, *expect;
	} failures[] = {
		{ "MAIL FROM:<later@x.example>\r\n", "451 4.3.0" },
		{ "MAIL FROM:<never@x.example>\r\n", "550 5.7.1" },
		{ "MAIL FROM:<a@x.example> SIZE=99999999999\r\n", "552 5.3.4" },
		{ "MAIL FROM:<a@x.example> SIZE=99999999999999999999\r\n", "552 5.3.4" },
		{ "MAIL FROM:<a@x.example> SIZE=1 SIZE=1\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> SIZE=x\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> SIZE\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> BODY=9BITMIME\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> SMTPUTF8=1\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> ENVID=x+00\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> RET=NONE\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> REQUIRETLS\r\n", "530 5.7.10" },
		{ "MAIL FROM:<a@x.example> BY=1\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> HOLDFOR=1\r\n", "555 5.5.4" },
		{ "MAIL FROM:<a@x.example> MT-PRIORITY=1\r\n", "555 5.5.4" },
		{ "MAIL FROM:<a@x.example> AUTH=x+0AEVIL\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example> XYZZY=1\r\n", "555 5.5.4" },
		{ "MAIL FROM:<a@x.example> =1\r\n", "501 5.5.4" },
		{ "MAIL FROM:<a@x.example>SIZE=1\r\n", "501 5.5.4" },
		{ "MAIL FROM:<;id;>\r\n", "501 5.1.7" },
		{ "MAIL FROM:<postmaster>\r\n", "501 5.1.7" },
		{ "MAIL FROM:a@x.example\r\n", "501 5.5.4" },
		{ "MAIL FROM:<\xc3\xbc@x.example>\r\n", "553 5.6.7" },
		{ "MAIL FROM:<\xff@x.example> SMTPUTF8\r\n", "501 5.1.7" },
		{ "MAIL FROM:<a\x01@x.example>\r\n", "500 5.5.2" },
		{ "MAIL TO:<a@x.example>\r\n", "501 5.5.4" },
		{ "MAIL\r\n", "501 5.5.4" },
		{ "RCPT TO:<b@example.org>\r\n", "503 5.5.1" },
		{ "DATA\r\n", "503 5.5.1" },
		{ "VRFY \xc3\xbc\r\n", "553 5.6.7" },
		{ "VRFY \xff SMTPUTF8\r\n", "501 5.5.2" },
		{ "VRFY\r\n", "501 5.5.4" },
		{ "EXPN staff\r\n", "502 5.5.1" },
		{ "NOOP \xff\r\n", "500 5.5.2" },
		{ "NO\rOP\r\n", "500 5.5.2" },
		{ "AUTH PLAIN =\r\n", "538 5.7.11" },
		{ "EHLO\r\n", "501 5.5.4" },
		{ "EHLO a b\r\n", "501 5.5.4" },
		{ "EHLO (x)\r\n", "501 5.5.4" },
		{ "STARTTLS now\r\n", "501 5.5.4" },
		{ "BDAT 1 LAST\r\nx", "503 5.5.1" },
		{ "WHAT\r\n", "500 5.5.1" },
		{ "\r\n", "500 5.5.1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		int fd = rig_hello(SERVICE_SMTP);

		print_message("%s", failures[i].say);
		rig_ask(fd, failures[i].say, failures[i].expect);
		rig_ask(fd, "BDAT 1 LAST\r\nx", "503 5.5.1");
		rig_ask(fd, "DATA\r\n", "503 5.5.1");
		rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "503 5.5.1");
		rig_ask(fd, "MAIL FROM:<a@x.example>\r\n", "250 2.1.0");
		rig_ask(fd, "RSET\r\n", "250");
		close(fd);
	}
	/* The address counter of closed connections goes down again. */
	assert_false(log_has("turned-away"));
}

static void
s3_state_after_data_error(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_say(fd, "MAIL FROM:<>\r\nRCPT TO:<unknown@example.org>\r\n");
	rig_expect(fd, "250");
	rig_expect(fd, "550 5.1.1");
	rig_ask(fd, "DATA\r\n", "554 5.5.1");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "503");
	until_data(fd);
	rig_ask(fd, "x\ny\r\n.\r\n", "550 5.6.0");
	rig_ask(fd, "DATA\r\n", "503");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "503");
	assert_int_equal(rig.commits, 0);
	/* A refused MAIL, and what was pipelined behind it. */
	rig_say(fd, "MAIL FROM:<never@x.example>\r\nRCPT TO:<b@example.org>\r\nRCPT "
		    "TO:<c@example.org>\r\nDATA\r\n");
	rig_expect(fd, "550 5.7.1");
	rig_expect(fd, "503 5.5.1");
	rig_expect(fd, "503 5.5.1");
	rig_expect(fd, "503 5.5.1");
	close(fd);
}

/* S1: only CR LF . CR LF ends the data. */
static void
s1_smuggling(void **state)
{
	static const char *const marks[] = {"\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r",
		"\r.\r\n", "\n.\r", "\r.\n", "\r\r\n.\n", "\n\n.\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		int fd = rig_hello(SERVICE_SMTP);

		until_data(fd);
		rig_say(fd, "Subject: x\r\n\r\nfirst");
		rig_say(fd, marks[i]);
		rig_say(fd, "MAIL FROM:<evil@x.example>\r\nRCPT "
			    "TO:<b@example.org>\r\nDATA\r\nsecond\r\n.\r\n");
		rig_expect(fd, "550 5.6.0");
		rig_ask(fd, "NOOP\r\n", "250");
		assert_int_equal(rig.commits, 0);
		close(fd);
	}
	assert_int_equal(rig.begun, sizeof(marks) / sizeof(marks[0]));
}

static void
s1_bare_line_feed_in_commands(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_ask(fd, "NOOP\nMAIL FROM:<a@x.example>\r\n", "500 5.5.2");
	rig_expect(fd, "421 4.7.0");
	rig_expect(fd, NULL);
	assert_int_equal(rig.begun, 0);
	close(fd);
}

/* S2: who talks before it is asked. */
static void
s2_before_the_greeting(void **state)
{
	int fd = rig_connect(SERVICE_SMTP);

	(void)state;
	rig_ask(fd, "EHLO x.example\r\n", "554 5.5.0");
	rig_expect(fd, NULL);
	close(fd);
}

static void
s2_past_the_answer(void **state)
{
	int fd = rig_connect(SERVICE_SMTP);

	(void)state;
	rig_expect(fd, "220");
	rig_ask(fd, "EHLO x.example\r\nMAIL FROM:<>\r\n", "554 5.5.0");
	rig_expect(fd, NULL);
	close(fd);
	fd = rig_hello(SERVICE_SMTP);
	rig_ask(fd, "MAIL FROM:<>\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_ask(fd, "DATA\r\nSubject: x\r\n", "554 5.5.0");
	rig_expect(fd, NULL);
	close(fd);
	/* The same when the text comes while queue is still thinking, and nobody has been invited yet. */
	rig.hold_file = true;
	fd = rig_hello(SERVICE_SMTP);
	rig_ask(fd, "MAIL FROM:<> SIZE=2000000\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_say(fd, "DATA\r\n");
	for (int i = 0; i < 20; i++)
		rig_nap();
	rig_say(fd, "Subject: x\r\n");
	for (int i = 0; i < 20; i++)
		rig_nap();
	rig_lend();
	rig_expect(fd, "554 5.5.0");
	close(fd);
	rig.hold_file = false;
	fd = rig_hello(SERVICE_SUBMISSION);
	rig_starttls(&fd);
	rig_ask(fd, "EHLO x.example\r\n", "250");
	rig_ask(fd, SUBMIT_LOGIN "MAIL FROM:<>\r\n", "554 5.5.0");
	rig_expect(fd, NULL);
	close(fd);
	assert_int_equal(rig.commits, 0);
}

/* S5: a line without end. */
static void
s5_endless_line(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);
	static char many[65536];

	(void)state;
	memset(many, 'x', sizeof(many));
	rig_send(fd, many, 3000);
	rig_ask(fd, "\r\n", "500 5.5.2");
	rig_ask(fd, "NOOP\r\n", "250");
	for (int i = 0; i < 128; i++)
		rig_send(fd, many, sizeof(many));
	rig_expect(fd, "500 5.5.2");
	rig_expect(fd, "421 4.7.0");
	close(fd);
}

static void
s5_longest_lines(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);
	char line[600];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "NOOP ", 5);
	rig_send(fd, line, 510);
	rig_ask(fd, "\r\n", "250");
	rig_send(fd, line, 511);
	rig_ask(fd, "\r\n", "500 5.5.2");
	/* CR LF over the edge of two packets, behind a line that is too long. */
	rig_send(fd, line, 600);
	for (int i = 0; i < 5; i++)
		rig_nap();
	rig_say(fd, "\r");
	for (int i = 0; i < 5; i++)
		rig_nap();
	rig_ask(fd, "\n", "500 5.5.2");
	rig_ask(fd, "NOOP\r\n", "250");
	close(fd);
}

/* S7: headers without measure. */
static void
s7_header_blob(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);
	static char many[65536];

	(void)state;
	memset(many, 'x', sizeof(many));
	until_data(fd);
	rig_say(fd, "Subject: ");
	for (int i = 0; i < 160; i++)
		rig_send(fd, many, sizeof(many));
	rig_ask(fd, "\r\n\r\nx\r\n.\r\n", "552 5.3.4");
	until_data(fd);
	for (int i = 0; i < 100000; i++)
		rig_say(fd, "X: y\r\nX:z\r\n");
	rig_ask(fd, ".\r\n", "552 5.3.4");
	until_data(fd);
	rig_ask(fd, " folded first\r\nSubject: x\r\n\r\n.\r\n", "550 5.6.0");
	/* A field of 100 KiB is kept whole. */
	until_data(fd);
	rig_say(fd, "Subject: ");
	rig_send(fd, many, sizeof(many));
	rig_send(fd, many, 102400 - sizeof(many));
	rig_ask(fd, "\r\n\r\nx\r\n.\r\n", "250 2.0.0");
	assert_true(rig.delivered.len > 102400);
	close(fd);
}

/* T1: what was said in clear before the handshake is not heard inside. */
static void
t1_starttls_injection(void **state)
{
	int fd = rig_hello(SERVICE_SUBMISSION);

	(void)state;
	rig_ask(fd, "STARTTLS\r\nNOOP\r\n", "554 5.5.0");
	rig_expect(fd, NULL);
	assert_int_equal(rig.started, 0);
	close(fd);
}

static void
starttls_forgets_everything(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_ask(fd, "MAIL FROM:<>\r\n", "250");
	rig_starttls(&fd);
	rig_until(rig.aborts == 1);
	assert_int_equal(rig.expected, 1);
	rig_ask(fd, "MAIL FROM:<>\r\n", "503 5.5.1 EHLO first");
	rig_ask(fd, "EHLO client.example\r\n", "250");
	rig_ask(fd, "STARTTLS\r\n", "503 5.5.1");
	rig_ask(fd, "MAIL FROM:<>\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_ask(fd, "DATA\r\n", "354");
	rig_ask(fd, "x: y\r\n\r\n.\r\n", "250");
	assert_true(delivered_has("with ESMTPS (TLS1.3 AES-256-GCM)"));
	close(fd);
}

/* T3: the end of TLS is the end of the connection. */
static void
t3_end_of_tls_in_data(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250");
	until_data(fd);
	rig_say(fd, "Subject: half");
	shutdown(fd, SHUT_WR);
	rig_expect(fd, NULL);
	rig_until(rig.aborts == 1);
	assert_int_equal(rig.commits, 0);
	close(fd);
}

static void
tls_that_fails(void **state)
{
	int fd;

	(void)state;
	rig.tls_fails = true;
	fd = rig_hello(SERVICE_SUBMISSION);
	rig_ask(fd, "STARTTLS\r\n", "220");
	rig_expect(fd, NULL);
	close(fd);
	fd = rig_connect(SERVICE_SUBMISSIONS);
	rig_expect(fd, NULL);
	close(fd);
	rig.tls_fails = false;
	/* Without workers: not offered, and refused. */
	channel_free(&rig.tls);
	rig_until(log_has("tls-failed"));
	fd = rig_hello(SERVICE_SUBMISSION);
	rig_ask(fd, "STARTTLS\r\n", "454 4.7.0");
	close(fd);
	fd = rig_connect(SERVICE_SUBMISSIONS);
	rig_expect(fd, NULL);
	close(fd);
	/* A new one serves. */
	rig_give_peer(&rig.tls, PROGRAM_TLS, &rig_tls);
	fd = rig_connect(SERVICE_SUBMISSIONS);
	rig_until(rig.inside >= 0);
	rig_expect(rig.inside, "220 mx.example.org");
	close(fd);
}

static void
submits(void **state)
{
	int fd = submission();

	(void)state;
	rig_ask(fd, "AUTH PLAIN =\r\n", "503 5.5.1");
	rig_ask(fd, "MAIL FROM:<ben@example.org>\r\n", "553 5.7.1");
	rig_ask(fd, "MAIL FROM:<Ana@EXAMPLE.org> BODY=8BITMIME SMTPUTF8 AUTH=<> SIZE=100\r\n",
		"250 2.1.0");
	assert_string_equal(rig.mail.login, "ana@example.org");
	assert_true(rig.mail.utf8 && rig.mail.body == BODY_8BITMIME && rig.mail.size == 100);
	rig_ask(fd, "RCPT TO:<far@away.example>\r\n", "250 2.1.5");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250 2.1.5");
	rig_ask(fd, "DATA\r\n", "354");
	rig_ask(fd,
		"Subject: x\r\nBcc: secret@x.example,\r\n other@x.example\r\nTo: "
		"b@example.org\r\n\r\nhi\r\n.\r\n",
		"250");
	assert_true(delivered_has("with UTF8SMTPSA (TLS1.3 AES-256-GCM)"));
	assert_true(delivered_has("\r\nMessage-ID: <"));
	assert_true(delivered_has("@mx.example.org>\r\nDate: "));
	assert_true(delivered_has("\r\nSubject: x\r\nTo: b@example.org\r\n\r\nhi\r\n"));
	assert_false(delivered_has("Bcc") || delivered_has("other@") || delivered_has("for <"));
	rig_ask(fd, "MAIL FROM:<>\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_ask(fd, "DATA\r\n", "354");
	rig_ask(fd, "date: x\r\nmessage-id : y\r\n\r\n.\r\n", "250");
	assert_false(delivered_has("Date: ") || delivered_has("Message-ID"));
	close(fd);
}

/* What a sender asks for, decoded, is what queue hears. */
static void
wishes_reach_queue(void **state)
{
	int fd = submission();
	uint64_t now = (uint64_t)time(NULL);

	(void)state;
	rig_ask(fd, "MAIL FROM:<ana@example.org> RET=HDRS ENVID=a+20b REQUIRETLS BY=600;RT HOLDFOR=100 MT-PRIORITY=2\r\n",
		"250 2.1.0");
	rig_ask(fd, "RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@z\r\n", "250 2.1.5");
	assert_string_equal(rig.mail.envid, "a b");
	assert_string_equal(rig.mail.orcpt, "rfc822;x+y@z");
	assert_int_equal(rig.mail.ret, RET_HEADERS);
	assert_int_equal(rig.mail.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_true(rig.mail.require_tls && rig.mail.by_trace && rig.mail.by_mode == 'R');
	assert_int_equal(rig.mail.priority, PRIORITY_NORMAL + 2);
	assert_true(rig.mail.hold_until >= now + 100 && rig.mail.hold_until < now + 110);
	assert_true(rig.mail.deliver_by >= now + 600 && rig.mail.deliver_by < now + 610);
	rig_ask(fd, "RSET\r\n", "250");
	/* Nothing of it is left for the next. */
	rig_ask(fd, "MAIL FROM:<ana@example.org>\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	assert_true(!rig.mail.envid[0] && !rig.mail.orcpt[0] && rig.mail.ret == 0 && rig.mail.notify == 0);
	assert_true(!rig.mail.require_tls && rig.mail.by_mode == 0 && rig.mail.priority == PRIORITY_NORMAL);
	assert_true(rig.mail.hold_until == 0 && rig.mail.deliver_by == 0);
	close(fd);
}

static void
submission_needs_login(void **state)
{
	int fd = rig_hello(SERVICE_SUBMISSION);

	(void)state;
	rig_ask(fd, "MAIL FROM:<ana@example.org>\r\n", "530 5.7.0 STARTTLS");
	rig_ask(fd, "AUTH PLAIN =\r\n", "538 5.7.11"); /* a5 */
	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250");
	rig_ask(fd, "MAIL FROM:<ana@example.org>\r\n", "530 5.7.0 auth");
	assert_int_equal(rig.begun, 0);
	close(fd);
}

static void
authenticates_step_by_step(void **state)
{
	int fd = rig_hello(SERVICE_SUBMISSION);

	(void)state;
	rig_starttls(&fd);
	rig_ask(fd, "AUTH PLAIN =\r\n", "503 5.5.1");
	rig_ask(fd, "EHLO client.example\r\n", "250");
	rig_ask(fd, "AUTH\r\n", "501 5.5.4");
	rig_ask(fd, "AUTH PLAIN = x\r\n", "501 5.5.4");
	rig_ask(fd, "AUTH ANONYMOUS\r\n", "504 5.5.4"); /* a5 */
	rig_ask(fd, "AUTH PLAIN !!!!\r\n", "501 5.5.2");
	rig_ask(fd, "AUTH LOGIN\r\n", "334 VXNlciBOYW1l");
	rig_ask(fd, "*\r\n", "501 5.7.0"); /* a4 */
	rig_until(rig.auth_cancelled == 1);
	rig_ask(fd, "AUTH LOGIN\r\n", "334 VXNlciBOYW1l");
	rig_ask(fd, "YQ\r\n", "501 5.5.2");
	rig_ask(fd, "AUTH LOGIN\r\n", "334 VXNlciBOYW1l");
	rig_ask(fd, "YW5hQGV4YW1wbGUub3Jn\r\n", "334 UGFzc3dvcmQ=");
	rig_ask(fd, "d3Jvbmc=\r\n", "535 5.7.8");
	rig_ask(fd, "AUTH PLAIN\r\n", "334 ");
	rig_ask(fd, "AGFuYUBleGFtcGxlLm9yZwBzZWNyZXQ=\r\n", "235 2.7.0");
	close(fd);
	/* Never a secret in the log. */
	rig_until(log_has("disconnect"));
	assert_false(log_has("secret") || log_has("AGFuY") || log_has("d3Jvbmc"));
}

static void
a1_bad_base64_hurts_nobody_else(void **state)
{
	int honest = rig_hello(SERVICE_SUBMISSION), bad;

	(void)state;
	rig_starttls(&honest);
	rig_ask(honest, "EHLO client.example\r\n", "250");
	rig_ask(honest, "AUTH LOGIN\r\n", "334");
	rig_ask(honest, "YW5hQGV4YW1wbGUub3Jn\r\n", "334");
	bad = rig_hello(SERVICE_SUBMISSION);
	rig_starttls(&bad);
	rig_ask(bad, "EHLO client.example\r\n", "250");
	for (int i = 0; i < 20; i++)
		rig_ask(bad, "AUTH PLAIN !!!!\r\n", "501 5.5.2");
	rig_expect(bad, "421 4.7.0");
	rig_ask(honest, "c2VjcmV0\r\n", "235");
	close(honest);
	close(bad);
}

static void
auth_line_limit(void **state)
{
	int fd = rig_hello(SERVICE_SUBMISSION);
	static char many[12400];

	(void)state;
	memset(many, 'A', sizeof(many));
	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250");
	rig_ask(fd, "AUTH PLAIN\r\n", "334");
	rig_send(fd, many, 12288);
	rig_ask(fd, "\r\n", "535");
	rig_ask(fd, "AUTH PLAIN\r\n", "334");
	rig_send(fd, many, 12292);
	rig_ask(fd, "\r\n", "500 5.5.6");
	rig_until(rig.auth_cancelled == 1);
	rig_ask(fd, "NOOP\r\n", "250");
	close(fd);
}

static void
size_is_exact(void **state)
{
	int fd;
	static char many[2048];

	(void)state;
	rig_default_settings();
	rig.settings.message_size_bytes = 2048;
	rig_start();
	memset(many, 'x', sizeof(many));
	fd = rig_hello(SERVICE_SMTP);
	rig_ask(fd, "MAIL FROM:<> SIZE=2049\r\n", "552 5.3.4");
	rig_ask(fd, "MAIL FROM:<> SIZE=2048\r\n", "250");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
	rig_ask(fd, "DATA\r\n", "354");
	rig_say(fd, "a: b\r\n\r\n"); /* 8 */
	rig_send(fd, many, 2038);
	rig_ask(fd, "\r\n.\r\n", "250");
	until_data(fd);
	rig_say(fd, "a: b\r\n\r\n");
	rig_send(fd, many, 2039);
	rig_ask(fd, "\r\n.\r\n", "552 5.3.4");
	rig_ask(fd, "NOOP\r\n", "250");
	assert_int_equal(rig.commits, 1);
	/* Dots of transparency do not count (RFC 1870 section 5). */
	until_data(fd);
	rig_say(fd, "a: b\r\n\r\n");
	rig_say(fd, ".");
	many[0] = '.';
	rig_send(fd, many, 2038);
	rig_ask(fd, "\r\n.\r\n", "250");
	many[0] = 'x';
	/* Without end: cut off. */
	until_data(fd);
	for (int i = 0; i < 1024; i++)
		rig_send(fd, many, sizeof(many));
	rig_expect(fd, "552 5.3.4");
	rig_expect(fd, NULL);
	close(fd);
}

static void
received_loop(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	until_data(fd);
	for (int i = 0; i < 101; i++)
		rig_say(fd, "Received: from x\r\n");
	rig_ask(fd, "\r\n.\r\n", "554 5.4.6");
	until_data(fd);
	for (int i = 0; i < 100; i++)
		rig_say(fd, "Received: from x\r\n");
	rig_ask(fd, "\r\n.\r\n", "250");
	close(fd);
}

static void
disk_full(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	rig.full_disk = true;
	until_data(fd);
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "452 4.3.1");
	rig_until(rig.aborts == 1);
	rig_until(log_has(" from=a@client.example to=b@example.org"));
	rig_until(log_has(" in=spool to=b@example.org"));
	rig.last_write = true;
	until_data(fd);
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "452 4.3.1");
	rig_until(log_has(" in=Maildir to=b@example.org"));
	rig.last_write = false;
	rig.full_disk = false;
	until_data(fd);
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250");
	close(fd);
}

/* --- a queue that does not read --- */

#define FILLERS 80                     /* with what each says: far more than the socket and BACKLOG_OF_QUEUE hold */
#define FILLER_RECIPIENTS 31           /* what one group may have under way */

static struct text began;              /* senders, in the order in which queue heard of them */

static void
patient_mail_begin(void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m, const int *fd)
{
	(void)me, (void)fd;
	text_add(&began, m->sender);
	text_add_byte(&began, ' ');
	send_mail_begun(from, id, &(struct msg_mail_begun){ RIG_YES }, NULL);
}

static void
patient_mail_recipient(void *me, struct channel *from, uint64_t id, const struct msg_mail_recipient *m, const int *fd)
{
	(void)me, (void)fd;
	send_mail_recipient_told(from, id, &(struct msg_mail_recipient_told){ .number = m->number, RIG_YES }, NULL);
}

/* Who finds that queue does not read waits, and goes on in the order in which he came: not the latest first, and nobody who
 * has more to say before who waits longer. */
static void
waits_in_turn_for_queue(void **state)
{
	static const struct hearing patient = { .hour = rig_hour, .gone = rig_gone,
		.on_mail_begin = patient_mail_begin, .on_mail_recipient = patient_mail_recipient };
	struct text say = TEXT_UP_TO(8192), wanted = TEXT_UP_TO(8192);
	int fd[FILLERS + 3], ends[2];

	(void)state;
	began = (struct text)TEXT_UP_TO(8192);
	/* This end is only read when we say so. */
	channel_free(&rig.queue);
	assert_int_equal(channel_pair(ends), 0);
	rig.queue = channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &patient, NULL);
	send_peer(rig.control, 0, &(struct msg_peer){ .program = PROGRAM_QUEUE, .index = 0 }, &ends[1]);
	for (size_t i = 0; i < FILLERS + 3; i++)
		fd[i] = rig_hello(SERVICE_SMTP);
	for (size_t i = 0; i < FILLERS + 3; i++) {
		text_reset(&say);
		text_printf(&say, "MAIL FROM:<s%zu@client.example>\r\n", i);
		text_printf(&wanted, "s%zu@client.example ", i);
		for (int r = 0; i < FILLERS && r < FILLER_RECIPIENTS; r++)
			text_printf(&say, "RCPT TO:<r%d@example.org>\r\n", r);
		rig_send(fd[i], say.at, say.len);
		for (int n = 0; n < 5; n++)
			rig_nap();
	}
	silence(fd[FILLERS + 2]);
	/* What its socket holds is not all of it. */
	assert_true(channel_drain(rig.queue));
	assert_true(began.len < wanted.len);
	rig_until((channel_drain(rig.queue), began.len >= wanted.len));
	assert_string_equal(text_str(&began), text_str(&wanted));
	for (size_t i = 0; i < FILLERS + 3; i++)
		close(fd[i]);
	text_clear(&say);
	text_clear(&wanted);
	text_clear(&began);
}

static void
queue_dies(void **state)
{
	int fd = rig_hello(SERVICE_SMTP), other = rig_hello(SERVICE_SMTP),
	    third = rig_hello(SERVICE_SMTP);

	(void)state;
	until_data(third);
	rig.hold_commit = true;
	rig_say(third, "Subject: x\r\n\r\nx\r\n.\r\n");
	rig_until(rig.commits == 1);
	until_data(fd);
	rig_say(fd, "Subject: x\r\n\r\n");
	rig_ask(other, "MAIL FROM:<>\r\n", "250");
	rig_say(other, "RCPT TO:<slow@example.org>\r\nRSET\r\n");
	rig_until(rig.slow_id != 0);
	channel_free(&rig.queue);
	rig_expect(third, "451 4.3.0");
	rig_expect(other, "451 4.3.0");
	rig_expect(other, "250");
	rig_ask(other, "MAIL FROM:<>\r\n", "451 4.3.0");
	/* In the middle of a message: the answer comes at its end. */
	rig_ask(fd, "x\r\n.\r\n", "451 4.3.0");
	rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "503");
	rig.hold_commit = false;
	rig_give_peer(&rig.queue, PROGRAM_QUEUE, &rig_queue);
	for (int i = 0; i < 20; i++)
		rig_nap();
	until_data(fd);
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "250");
	close(fd);
	close(other);
	close(third);
}

/* Between two commands: whose MAIL was accepted hears "later" up to its end, and never that there was none, for which a
 * client gives up its message. Also from the queue that comes anew, which knows nothing of it. */
static void
queue_dies_between_commands(void **state)
{
	static const char *const ends[] = { "DATA\r\n", "BDAT 3 LAST\r\na\r\n", "RSET\r\n" };
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		unsigned int begun = rig.begun;

		rig_ask(fd, "MAIL FROM:<>\r\n", "250");
		rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "250");
		channel_free(&rig.queue);
		rig_nap();
		rig_ask(fd, "RCPT TO:<c@example.org>\r\n", "451 4.3.0");
		rig_give_peer(&rig.queue, PROGRAM_QUEUE, &rig_queue);
		for (int n = 0; n < 20; n++)
			rig_nap();
		rig_ask(fd, "RCPT TO:<d@example.org>\r\n", "451 4.3.0");
		rig_ask(fd, "MAIL FROM:<>\r\n", "503");
		rig_ask(fd, ends[i], i == 2 ? "250" : "451 4.3.0");
		rig_ask(fd, "RCPT TO:<b@example.org>\r\n", "503");
		assert_int_equal(rig.begun, begun + 1);
	}
	/* Nobody was accepted: nothing to be sorry for. */
	rig_ask(fd, "MAIL FROM:<>\r\n", "250");
	rig_ask(fd, "RCPT TO:<unknown@example.org>\r\n", "550");
	channel_free(&rig.queue);
	rig_nap();
	rig_ask(fd, "DATA\r\n", "554 5.5.1");
	close(fd);
}

static void
queue_takes_the_file_back(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	until_data(fd);
	send_mail_told(rig.queue, rig.mail.id,
		&(struct msg_mail_told){.outcome = LATER,
			.code = 452,
			.status = SPAN("4.2.2"),
			.reason = SPAN("mailbox full")},
		NULL);
	for (int i = 0; i < 10; i++)
		rig_nap();
	rig_ask(fd, "Subject: x\r\n\r\nx\r\n.\r\n", "452 4.2.2 mailbox full");
	rig_ask(fd, "DATA\r\n", "503");
	assert_int_equal(rig.commits, 0);
	close(fd);
}

static void
auth_dies(void **state)
{
	int fd = rig_hello(SERVICE_SUBMISSION);

	(void)state;
	rig_starttls(&fd);
	rig_ask(fd, "EHLO client.example\r\n", "250");
	rig.auth_silent = true;
	rig_say(fd, SUBMIT_LOGIN);
	rig_until(rig.auth_asked == 1);
	channel_free(&rig.auth);
	rig_expect(fd, "454 4.7.0");
	rig_ask(fd, SUBMIT_LOGIN, "454 4.7.0");
	rig.auth_silent = false;
	rig_give_peer(&rig.auth, PROGRAM_AUTH, &rig_auth);
	for (int i = 0; i < 20; i++)
		rig_nap();
	rig_ask(fd, SUBMIT_LOGIN, "235");
	close(fd);
}

static void
a4_gone_in_the_middle_of_auth(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		int fd = rig_hello(SERVICE_SUBMISSION);

		rig_starttls(&fd);
		rig_ask(fd, "EHLO client.example\r\n", "250");
		rig_ask(fd, "AUTH LOGIN\r\n", "334");
		close(fd);
	}
	rig_until(rig.auth_cancelled == 50);
}

static void
limits_of_address_and_errors(void **state)
{
	int fd[4];

	(void)state;
	rig_default_settings();
	rig.settings.connections_per_address = 3;
	rig.settings.smtp_errors = 2;
	rig_start();
	for (int i = 0; i < 3; i++)
		fd[i] = rig_hello(SERVICE_SMTP);
	fd[3] = rig_connect(SERVICE_SMTP);
	rig_expect(fd[3], "421 4.7.0");
	rig_expect(fd[3], NULL);
	rig_ask(fd[0], "X\r\n", "500");
	rig_ask(fd[0], "X\r\n", "500");
	rig_expect(fd[0], "421 4.7.0");
	rig_expect(fd[0], NULL);
	close(fd[3]);
	fd[3] = rig_hello(SERVICE_SMTP);
	/* Errors that come out of pipelined answers count too. */
	rig_say(fd[1], "MAIL FROM:<>\r\nRCPT TO:<unknown@example.org>\r\nRCPT "
		       "TO:<unknown@example.org>\r\n");
	rig_expect(fd[1], "250");
	rig_expect(fd[1], "550");
	rig_expect(fd[1], "550");
	rig_expect(fd[1], "421 4.7.0");
	for (int i = 0; i < 4; i++)
		close(fd[i]);
}

static void
limit_of_connections(void **state)
{
	int fd[3];

	(void)state;
	rig_default_settings();
	rig.settings.connections = 2;
	rig_start();
	fd[0] = rig_hello(SERVICE_SMTP);
	fd[1] = rig_hello(SERVICE_SMTP);
	fd[2] = rig_connect(SERVICE_SMTP);
	rig_expect(fd[2], "421 4.3.2");
	close(fd[2]);
	rig_ask(fd[0], "QUIT\r\n", "221");
	rig_expect(fd[0], NULL);
	close(fd[0]);
	fd[0] = rig_hello(SERVICE_SMTP);
	close(fd[0]);
	close(fd[1]);
}

static void
idle_commands_are_counted(void **state)
{
	int fd = rig_hello(SERVICE_SMTP);

	(void)state;
	for (int i = 0; i < 119; i++)
		rig_ask(fd, "NOOP\r\n", "250");
	rig_ask(fd, "NOOP\r\n", "250");
	rig_expect(fd, "421 4.7.0");
	close(fd);
}

static void
times_out(void **state)
{
	int fd, dribbler;

	(void)state;
	rig_default_settings();
	rig.settings.smtp_idle_seconds = 5;
	rig.settings.smtp_data_seconds = 5;
	rig_start();
	fd = rig_hello(SERVICE_SMTP);
	dribbler = rig_hello(SERVICE_SMTP);
	for (int i = 0; i < 4500; i++) {
		if (i % 500 == 0)
			rig_say(dribbler, "N"); /* a byte now and then is no command */
		rig_nap();
	}
	rig_expect(fd, "421 4.4.2");
	rig_expect(fd, NULL);
	rig_expect(dribbler, "421 4.4.2");
	close(fd);
	close(dribbler);
}

static void
leaves_in_order(void **state)
{
	int idle = rig_hello(SERVICE_SMTP), busy = rig_hello(SERVICE_SMTP);

	(void)state;
	until_data(busy);
	rig_say(busy, "Subject: x\r\n\r\n");
	send_leave(rig.control, 0, &(struct msg_leave){ .seconds = 5 }, NULL);
	rig_expect(idle, "421 4.3.2");
	rig_expect(idle, NULL);
	rig_say(busy, "x\r\n.\r\n");
	rig_expect(busy, "250 2.0.0");
	rig_expect(busy, "421 4.3.2");
	rig_expect(busy, NULL);
	rig_until(rig.control == NULL);
	close(idle);
	close(busy);
}

static void
i7_nothing_of_the_client_in_headers(void **state)
{
	int fd = rig_connect(SERVICE_SMTP);

	(void)state;
	rig_expect(fd, "220");
	rig_ask(fd, "EHLO x\r\tBcc: y\r\n", "500 5.5.2");
	rig_ask(fd, "EHLO x;y\r\n", "501 5.5.4");
	rig_ask(fd, "EHLO [127.0.0.1\r\n", "501 5.5.4");
	rig_ask(fd, "HELO my_pc\r\n", "250 mx.example.org");
	rig_ask(fd, "MAIL FROM:<a@x.example> SIZE=1\r\n", "555 5.5.4");
	rig_ask(fd, "MAIL FROM:<a@x.example>\r\n", "250");
	rig_ask(fd, "RCPT TO:<\"a b\"@example.org>\r\n", "250");
	rig_ask(fd, "DATA\r\n", "354");
	rig_ask(fd, "no header at all\r\n.\r\n", "250");
	assert_true(delivered_has("from my_pc ([127.0.0.1])\r\n\tby mx.example.org with SMTP\r\n"));
	assert_true(delivered_has("\tfor <\"a b\"@example.org>;\r\n"));
	assert_true(delivered_has("\r\n\r\nno header at all\r\n"));
	close(fd);
}

static void
i5_text_is_only_text(void **state)
{
	int fd = rig_connect(SERVICE_SMTP);

	(void)state;
	rig_expect(fd, "220");
	rig_ask(fd, "EHLO client.example\r\n", "250");
	rig_ask(fd, "MAIL FROM:<%n%s${run{x}}$(id)%{user}@x.example>\r\n", "501 5.1.7");
	rig_ask(fd, "MAIL FROM:<%n%s${run{x}}$id%{user}@x.example>\r\n", "250");
	assert_string_equal(rig.mail.sender, "%n%s${run{x}}$id%{user}@x.example");
	close(fd);
}

static void
foreign_protocols(void **state)
{
	int fd = rig_connect(SERVICE_SMTP);

	(void)state;
	rig_expect(fd, "220");
	rig_ask(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "500");
	rig_expect(fd, "421");
	rig_expect(fd, NULL);
	close(fd);
	fd = rig_connect(SERVICE_SMTP);
	rig_expect(fd, "220");
	rig_send(fd, "\x16\x03\x01\x02\x00", 5);
	rig_expect(fd, "500 5.5.2");
	close(fd);
}

static void
byte_by_byte(void **state)
{
	static const char all[] = "EHLO client.example\r\n", mail[] = "MAIL FROM:<>\r\n",
		rcpt[] = "RCPT TO:<b@example.org>\r\n", data[] = "DATA\r\n",
		text[] = "Subject: x\r\n y\r\n\r\n..\r\n.x\r\n\r\n.\r\n";
	static const struct {
		const char *say, *expect;
	} all_of_it[] = {
		{all, "250"}, {mail, "250"}, {rcpt, "250"}, {data, "354"}, {text, "250 2.0.0"}};
	int fd = rig_connect(SERVICE_SMTP);

	(void)state;
	rig_expect(fd, "220");
	for (size_t i = 0; i < 5; i++) {
		for (const char *c = all_of_it[i].say; *c; c++) {
			rig_send(fd, c, 1);
			rig_nap();
		}
		rig_expect(fd, all_of_it[i].expect);
	}
	assert_true(delivered_has("\r\nSubject: x\r\n y\r\n\r\n.\r\nx\r\n\r\n"));
	close(fd);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, stop)
#define ALONE(test) cmocka_unit_test_teardown(test, stop)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIGGED(receives),
		RIGGED(byte_by_byte),
		RIGGED(answers_in_order_of_commands),
		RIGGED(asks_early_for_the_file),
		RIGGED(answers_who_says_no_more),
		RIGGED(early_file_that_does_not_come),
		RIGGED(many_recipients_in_one_group),
		RIGGED(s1_smuggling),
		RIGGED(s1_bare_line_feed_in_commands),
		RIGGED(s2_before_the_greeting),
		RIGGED(s2_past_the_answer),
		RIGGED(s3_state_after_error),
		RIGGED(s3_state_after_data_error),
		RIGGED(s5_endless_line),
		RIGGED(s5_longest_lines),
		RIGGED(s7_header_blob),
		RIGGED(t1_starttls_injection),
		RIGGED(starttls_forgets_everything),
		RIGGED(t3_end_of_tls_in_data),
		RIGGED(tls_that_fails),
		RIGGED(submits),
		RIGGED(wishes_reach_queue),
		RIGGED(submission_needs_login),
		RIGGED(authenticates_step_by_step),
		RIGGED(a1_bad_base64_hurts_nobody_else),
		RIGGED(a4_gone_in_the_middle_of_auth),
		RIGGED(auth_line_limit),
		RIGGED(auth_dies),
		ALONE(size_is_exact),
		RIGGED(received_loop),
		RIGGED(invites_before_the_file),
		RIGGED(invites_in_vain),
		RIGGED(waits_in_turn_for_queue),
		RIGGED(disk_full),
		RIGGED(queue_dies),
		RIGGED(queue_dies_between_commands),
		RIGGED(queue_takes_the_file_back),
		ALONE(limits_of_address_and_errors),
		ALONE(limit_of_connections),
		RIGGED(idle_commands_are_counted),
		ALONE(times_out),
		RIGGED(leaves_in_order),
		RIGGED(i5_text_is_only_text),
		RIGGED(i7_nothing_of_the_client_in_headers),
		RIGGED(foreign_protocols),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("smtpd_session", tests, NULL, NULL);
}
