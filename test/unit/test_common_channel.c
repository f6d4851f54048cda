/* Channels: every packet that a hostile peer can send ends that peer, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/channel.h"
#include "common/wire.h"

#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct heard {
	int begins, files, gone, commits;
	uint64_t id;
	char sender[400];
	int fd;
	uint32_t hour;
} heard;

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me, (void)from, (void)m, (void)id;
	return heard.hour;
}

static void
gone(void *me, struct channel *from)
{
	(void)me, (void)from;
	heard.gone++;
}

static void
on_mail_begin(void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m, const int *fd)
{
	(void)me, (void)from, (void)fd;
	heard.begins++;
	heard.id = id;
	assert_true(span_copy(m->sender, heard.sender, sizeof(heard.sender)));
}

static void
on_mail_commit(void *me, struct channel *from, uint64_t id, const struct msg_mail_commit *m, const int *fd)
{
	(void)me, (void)from, (void)fd, (void)id, (void)m;
	heard.commits++;
}

static void
on_mail_file(void *me, struct channel *from, uint64_t id, const struct msg_mail_file *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m;
	heard.files++;
	heard.fd = fd[0];
}

static const struct hearing hearing = { .hour = hour, .gone = gone, .on_mail_begin = on_mail_begin,
	.on_mail_commit = on_mail_commit, .on_mail_file = on_mail_file };

static const struct msg_mail_begin begin = { .session = 7, .service = 1, .body = 1 };

static struct channel *
queue_side(int *raw)
{
	int ends[2];

	memset(&heard, 0, sizeof(heard));
	heard.hour = HOUR_NONE;
	heard.fd = -1;
	assert_int_equal(channel_pair(ends), 0);
	*raw = ends[1];
	return channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &hearing, NULL);
}

static size_t
encode_begin(unsigned char *packet)
{
	struct msg_mail_begin m = begin;

	m.sender = SPAN("ana@example.org");
	return message_encode(MSG_mail_begin, 42, &m, packet);
}

static void
test_round_trip(void **state)
{
	int raw;
	struct channel *c = queue_side(&raw);
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)state;
	assert_int_equal(send(raw, packet, len, 0), len);
	assert_true(channel_drain(c));
	assert_int_equal(heard.begins, 1);
	assert_int_equal(heard.id, 42);
	assert_string_equal(heard.sender, "ana@example.org");
	channel_free(&c);
	close(raw);
}

static int raw_of_together;

static void
on_begin_together(void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m, const int *fd)
{
	char octet;

	(void)me, (void)m, (void)fd;
	heard.begins++;
	assert_true(send_mail_begun(from, id, &(struct msg_mail_begun){ .outcome = 1, .code = 250 }, NULL));
	/* Nothing of it is out yet, nor of the answers before it. */
	assert_true(recv(raw_of_together, &octet, 1, MSG_DONTWAIT) < 0);
}

/* Answers to what came together leave together, in their order; what is said at another time leaves at once. */
static void
test_answers_together(void **state)
{
	static const struct hearing together = { .hour = hour, .answers_together = true, .gone = gone,
		.on_mail_begin = on_begin_together };
	struct event_base *base = event_base_new();
	unsigned char packet[MOST_PACKET];
	struct channel *c;
	int ends[2];

	(void)state;
	memset(&heard, 0, sizeof(heard));
	heard.hour = HOUR_NONE;
	assert_int_equal(channel_pair(ends), 0);
	raw_of_together = ends[1];
	c = channel_new(base, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &together, NULL);
	for (uint64_t id = 1; id <= 3; id++) {
		size_t len = message_encode(MSG_mail_begin, id, &begin, packet);

		assert_int_equal(send(ends[1], packet, len, 0), len);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(heard.begins, 3);
	for (uint64_t id = 1; id <= 3; id++) {
		uint64_t said;

		assert_true(recv(ends[1], packet, sizeof(packet), MSG_DONTWAIT) > 10);
		memcpy(&said, packet + 2, sizeof(said));
		assert_int_equal(said, id);
	}
	assert_true(send_mail_begun(c, 4, &(struct msg_mail_begun){ .outcome = 1, .code = 250 }, NULL));
	assert_true(recv(ends[1], packet, sizeof(packet), MSG_DONTWAIT) > 10);
	/* A peer that hangs up before its answers: they are dropped, and it is gone. */
	assert_true(send(ends[1], packet, message_encode(MSG_mail_begin, 5, &begin, packet), 0) > 0);
	raw_of_together = -1;
	close(ends[1]);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(heard.gone, 1);   /* and freed */
	event_base_free(base);
}

static struct timespec said_at;

static void
on_begin_when(void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m, const int *fd)
{
	(void)me, (void)id, (void)m, (void)fd;
	said_at = channel_said_at(from);
}

static int64_t
nanoseconds(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* When a message was sent, not when it is read. */
static void
test_time_of_sending(void **state)
{
	static const struct hearing when = { .hour = hour, .on_mail_begin = on_begin_when };
	struct timespec before, after;
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);
	struct channel *c;
	int ends[2];

	(void)state;
	heard.hour = HOUR_NONE;
	assert_int_equal(channel_pair(ends), 0);
	c = channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &when, NULL);
	channel_ask_times(c);
	clock_gettime(CLOCK_REALTIME, &before);
	assert_int_equal(send(ends[1], packet, len, 0), len);
	clock_gettime(CLOCK_REALTIME, &after);
	nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
	assert_true(channel_drain(c));
	/* The kernel's stamp may be of its coarser clock. */
	assert_in_range(nanoseconds(said_at), nanoseconds(before) - 10000000, nanoseconds(after) + 1000000);
	channel_free(&c);
	close(ends[1]);
}

static void
test_every_truncation_ends_the_peer(void **state)
{
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)state;
	for (size_t cut = 1; cut < len; cut++) {
		int raw;
		struct channel *c = queue_side(&raw);

		assert_int_equal(send(raw, packet, cut, 0), cut);
		assert_false(channel_drain(c));
		assert_int_equal(heard.begins, 0);
		assert_int_equal(heard.gone, 1);
		close(raw);
	}
}

static void
test_refused(const unsigned char *packet, size_t len, uint32_t at_hour)
{
	int raw;
	struct channel *c = queue_side(&raw);

	heard.hour = at_hour;
	assert_int_equal(send(raw, packet, len, 0), len);
	assert_false(channel_drain(c));
	assert_int_equal(heard.begins + heard.commits + heard.files, 0);
	assert_int_equal(heard.gone, 1);
	close(raw);
}

static void
test_left_over_byte(void **state)
{
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)state;
	packet[len] = 0;
	test_refused(packet, len + 1, HOUR_NONE);
}

static void
test_wrong_hour(void **state)
{
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)state;
	test_refused(packet, len, HOUR_OPEN);
}

static void
test_too_late_is_dropped(void **state)
{
	int raw;
	struct channel *c = queue_side(&raw);
	unsigned char packet[MOST_PACKET];
	struct msg_mail_commit m = { .size = 1 };
	size_t len = message_encode(MSG_mail_commit, 9, &m, packet);

	(void)state;
	assert_int_equal(send(raw, packet, len, 0), len);
	assert_true(channel_drain(c));
	assert_int_equal(heard.commits, 0);
	channel_free(&c);
	close(raw);
}

static void
test_not_its_to_say(void **state)
{
	unsigned char packet[MOST_PACKET];
	struct msg_mail_told m = { .outcome = 1 };
	size_t len = message_encode(MSG_mail_told, 42, &m, packet);

	(void)state;
	test_refused(packet, len, HOUR_WAITING);
	packet[0] = packet[1] = 0xff;
	test_refused(packet, len, HOUR_SERVING);
}

static void
test_huge_length_field(void **state)
{
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)state;
	memset(packet + 2 + 8 + 8 + 1, 0xff, 4); /* the length of `sender` */
	test_refused(packet, len, HOUR_NONE);
}

static void
send_with_descriptors(int raw, const unsigned char *packet, size_t len, int count)
{
	char control[CMSG_SPACE(sizeof(int) * 40)] = { 0 };
	struct iovec part = { (void *)(uintptr_t)packet, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
	for (int i = 0; i < count; i++)
		memcpy(CMSG_DATA(head) + (size_t)i * sizeof(int), &raw, sizeof(int));
	assert_int_equal(sendmsg(raw, &message, 0), len);
}

static int
open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 200; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void
test_unasked_descriptors_are_closed(void **state)
{
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)state;
	for (int count = 1; count <= 40; count += 13) {
		int before = open_descriptors(), raw;
		struct channel *c = queue_side(&raw);

		send_with_descriptors(raw, packet, len, count);
		assert_false(channel_drain(c));
		assert_int_equal(heard.gone, 1);
		close(raw);
		assert_int_equal(open_descriptors(), before);
	}
}

/* An empty packet looks like the end of the peer, yet descriptors may have come with it. */
static void
test_descriptors_of_an_empty_packet_are_closed(void **state)
{
	(void)state;
	for (int count = 1; count <= 40; count += 13) {
		int before = open_descriptors(), raw;
		struct channel *c = queue_side(&raw);

		send_with_descriptors(raw, (const unsigned char *)"", 0, count);
		assert_false(channel_drain(c));
		assert_int_equal(heard.gone, 1);
		close(raw);
		assert_int_equal(open_descriptors(), before);
	}
}

/* Says the next packet whenever one is handled: a peer that is faster than we are. */
static void
on_mail_begin_again(void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m,
	const int *fd)
{
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);

	(void)from, (void)id, (void)m, (void)fd;
	if (++heard.begins < 100000)
		assert_int_equal(write(*(int *)me, packet, len), len);
}

static void
test_draining_ends_though_the_peer_does_not(void **state)
{
	static const struct hearing endless = { .hour = hour, .gone = gone,
		.on_mail_begin = on_mail_begin_again };
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);
	struct channel *c;
	int ends[2];

	(void)state;
	memset(&heard, 0, sizeof(heard));
	heard.hour = HOUR_NONE;
	assert_int_equal(channel_pair(ends), 0);
	c = channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &endless, &ends[1]);
	assert_int_equal(write(ends[1], packet, len), len);
	assert_true(channel_drain(c));
	assert_true(heard.begins < 100000);
	channel_free(&c);
	close(ends[1]);
}

static void
test_descriptor_arrives(void **state)
{
	int ends[2], pipe_ends[2];
	struct channel *queue, *smtpd;

	(void)state;
	memset(&heard, 0, sizeof(heard));
	heard.hour = HOUR_WAITING;
	assert_int_equal(channel_pair(ends), 0);
	assert_int_equal(pipe(pipe_ends), 0);
	queue = channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &hearing, NULL);
	smtpd = channel_new(NULL, ends[1], PROGRAM_SMTPD, PROGRAM_QUEUE, 0, &hearing, NULL);
	assert_true(send_mail_file(queue, 5, &(struct msg_mail_file){ .last_write = true }, &pipe_ends[1]));
	assert_int_equal(fcntl(pipe_ends[1], F_GETFD), -1); /* taken */
	assert_true(channel_drain(smtpd));
	assert_int_equal(heard.files, 1);
	assert_int_not_equal(fcntl(heard.fd, F_GETFD) & FD_CLOEXEC, 0);
	assert_int_equal(write(heard.fd, "x", 1), 1);
	close(heard.fd);
	close(pipe_ends[0]);
	channel_free(&queue);
	channel_free(&smtpd);
}

static void
test_sender_checks_too(void **state)
{
	int ends[2];
	struct channel *c;
	char long_name[400];
	struct msg_mail_begin m = begin;

	(void)state;
	assert_int_equal(channel_pair(ends), 0);
	c = channel_new(NULL, ends[0], PROGRAM_SMTPD, PROGRAM_QUEUE, 0, &hearing, NULL);
	memset(long_name, 'a', sizeof(long_name));
	m.sender = span_of(long_name, MOST_ADDRESS + 1);
	assert_false(send_mail_begin(c, 1, &m, NULL));
	m.sender = span_of("a\0b", 3);
	assert_false(send_mail_begin(c, 1, &m, NULL));
	m.sender = span_of(long_name, MOST_ADDRESS);
	assert_true(send_mail_begin(c, 1, &m, NULL));
	assert_false(send_mail_told(c, 1, &(struct msg_mail_told){ .outcome = 1 }, NULL));
	assert_false(send_mail_begin(NULL, 1, &m, NULL));
	channel_free(&c);
	close(ends[1]);
}

static void
test_waits_when_the_peer_does_not_read(void **state)
{
	int ends[2];
	struct channel *smtpd, *queue;
	struct msg_mail_begin m = begin;
	int sent = 0;

	(void)state;
	memset(&heard, 0, sizeof(heard));
	heard.hour = HOUR_NONE;
	assert_int_equal(channel_pair(ends), 0);
	smtpd = channel_new(NULL, ends[0], PROGRAM_SMTPD, PROGRAM_QUEUE, 0, &hearing, NULL);
	queue = channel_new(NULL, ends[1], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &hearing, NULL);
	m.sender = SPAN("ana@example.org");
	while (send_mail_begin(smtpd, 1, &m, NULL) && sent < 100000)
		sent++;
	assert_true(sent >= MOST_WAITING_PACKETS);
	assert_true(sent < 100000);
	channel_drain(queue);
	assert_true(heard.begins > 0);
	assert_int_equal(heard.begins + MOST_WAITING_PACKETS, sent);
	channel_free(&smtpd);
}

static struct channel *
side_in(struct event_base *base, int *raw)
{
	int ends[2];

	memset(&heard, 0, sizeof(heard));
	heard.hour = HOUR_NONE;
	assert_int_equal(channel_pair(ends), 0);
	*raw = ends[1];
	return channel_new(base, ends[0], PROGRAM_QUEUE, PROGRAM_SMTPD, 0, &hearing, NULL);
}

/* So often in a moment that it is worth it. */
static void
let_rest(struct channel *c)
{
	for (int i = 0; i < 9; i++)
		channel_rest(c);
}

/* Who is let rest is heard a moment later, or when it is drained; seldom asked for nothing rests. */
static void
test_rest(void **state)
{
	struct event_base *base = event_base_new();
	unsigned char packet[MOST_PACKET];
	size_t len = encode_begin(packet);
	int raw;
	struct channel *c = side_in(base, &raw);

	(void)state;
	usleep(30000);
	channel_rest(c);
	assert_int_equal(send(raw, packet, len, 0), len);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(heard.begins, 1);

	let_rest(c);
	assert_int_equal(send(raw, packet, len, 0), len);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(heard.begins, 1);
	assert_true(channel_drain(c));
	assert_int_equal(heard.begins, 2);

	assert_int_equal(send(raw, packet, len, 0), len);
	event_base_loop(base, EVLOOP_ONCE);     /* the end of the rest */
	assert_int_equal(heard.begins, 3);
	assert_int_equal(send(raw, packet, len, 0), len);
	event_base_loop(base, EVLOOP_ONCE);     /* watched again */
	assert_int_equal(heard.begins, 4);

	let_rest(c);
	close(raw);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(heard.gone, 1);
	event_base_free(base);
}

/* One that is freed while it rests is not heard of again, and leaves no timer behind; nor do two. */
static void
test_rest_is_left_by_the_dead(void **state)
{
	struct event_base *base = event_base_new();
	int raw, other;
	struct channel *c = side_in(base, &raw), *d = side_in(base, &other);

	(void)state;
	let_rest(c);
	let_rest(d);
	channel_free(&c);
	assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);      /* d's */
	channel_free(&d);
	assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 1);      /* nothing is waited for */
	close(raw);
	close(other);
	event_base_free(base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_answers_together),
		cmocka_unit_test(test_time_of_sending),
		cmocka_unit_test(test_every_truncation_ends_the_peer),
		cmocka_unit_test(test_left_over_byte),
		cmocka_unit_test(test_wrong_hour),
		cmocka_unit_test(test_too_late_is_dropped),
		cmocka_unit_test(test_not_its_to_say),
		cmocka_unit_test(test_huge_length_field),
		cmocka_unit_test(test_unasked_descriptors_are_closed),
		cmocka_unit_test(test_descriptors_of_an_empty_packet_are_closed),
		cmocka_unit_test(test_draining_ends_though_the_peer_does_not),
		cmocka_unit_test(test_descriptor_arrives),
		cmocka_unit_test(test_sender_checks_too),
		cmocka_unit_test(test_waits_when_the_peer_does_not_read),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_rest_is_left_by_the_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
