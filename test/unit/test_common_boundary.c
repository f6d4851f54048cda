/*
 * The boundary, for every row of the table of messages, from everybody who may say it to everybody who
 * hears it: whatever is wrong with a packet ends its sender before a handler sees it, and no descriptor
 * that came along stays open. A row that is added to the table is in these tests by that alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/channel.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A packet is made by hand, of what message.h says of a row and not of the encoder: the fields as data. */
enum kind { KIND_u8, KIND_u16, KIND_u32, KIND_u64, KIND_flag, KIND_text, KIND_octets, KIND_secret, KIND_end };
struct field {
	enum kind kind;
	size_t most;
};

#define FIELD(kind, field, most) { KIND_##kind, (most) },
#define M(name, number, by, to, hours, fds) \
	static const struct field name##_list[] = { name##_fields(FIELD) { KIND_end, 0 } };
MESSAGES(M)
#undef M

static const struct row {
	const struct field *fields;
	unsigned int number;
} rows[] = {
#define M(name, number, by, to, hours, fds) { name##_list, number },
	MESSAGES(M)
#undef M
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct {
	uint32_t hour;
	int handled, gone;
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
handled(const int *fd, int fds)
{
	heard.handled++;
	for (int i = 0; i < fds; i++)
		close(fd[i]);
}

#define M(name, number, by, to, hours, fds) \
	static void on_##name(void *me, struct channel *from, uint64_t id, const struct msg_##name *m, const int *fd) \
	{ \
		(void)me, (void)from, (void)id, (void)m; \
		handled(fd, fds); \
	}
MESSAGES(M)
#undef M

static const struct hearing hearing = {
	.hour = hour,
	.gone = gone,
#define M(name, number, by, to, hours, fds) .on_##name = on_##name,
	MESSAGES(M)
#undef M
};

static size_t
open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

static size_t
width(enum kind kind)
{
	static const size_t bytes[] = { 1, 2, 4, 8, 1, 4, 4, 4 };

	return bytes[kind];
}

/* How field `at` of a packet is spoilt; the others are right, with `fill` octets in each text (no more
 * than its ceiling). */
enum spoilt { RIGHT, OVER_ITS_CEILING, LENGTH_OF_4_GIB, NUL_INSIDE, NEITHER_0_NOR_1 };

static bool
can_be(enum spoilt how, enum kind kind)
{
	switch (how) {
	case RIGHT:
		return true;
	case OVER_ITS_CEILING:
	case LENGTH_OF_4_GIB:
		return kind == KIND_text || kind == KIND_octets || kind == KIND_secret;
	case NUL_INSIDE:
		return kind == KIND_text;
	case NEITHER_0_NOR_1:
		return kind == KIND_flag;
	}
	return false;
}

static size_t
packet_make(const struct row *row, size_t fill, size_t at, enum spoilt how, unsigned char *out)
{
	uint16_t number = (uint16_t)row->number;
	uint64_t id = 42;
	size_t len = sizeof(number) + sizeof(id);

	memcpy(out, &number, sizeof(number));
	memcpy(out + sizeof(number), &id, sizeof(id));
	for (size_t i = 0; row->fields[i].kind != KIND_end; i++) {
		const struct field *f = &row->fields[i];
		enum spoilt this = i == at ? how : RIGHT;
		uint32_t octets = (uint32_t)(fill < f->most ? fill : f->most);

		memset(out + len, 0, width(f->kind));
		if (this == NEITHER_0_NOR_1)
			out[len] = 2;
		if (f->kind < KIND_text) {
			len += width(f->kind);
			continue;
		}
		if (this == OVER_ITS_CEILING)
			octets = (uint32_t)f->most + 1;
		else if (this == NUL_INSIDE)
			octets = 1;
		memcpy(out + len, &octets, sizeof(octets));
		if (this == LENGTH_OF_4_GIB)
			memset(out + len, 0xff, sizeof(octets));
		len += sizeof(octets);
		memset(out + len, this == NUL_INSIDE ? 0 : 'x', octets);
		len += octets;
	}
	return len;
}

static bool
say(int raw, const unsigned char *packet, size_t len, int fds)
{
	char control[CMSG_SPACE(sizeof(int) * 20)] = { 0 };
	struct iovec part = { (void *)(uintptr_t)packet, len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fds > 0) {
		struct cmsghdr *head;

		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fds);
		head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fds);
		for (int i = 0; i < fds; i++)
			memcpy(CMSG_DATA(head) + (size_t)i * sizeof(int), &raw, sizeof(int));
	}
	return sendmsg(raw, &message, 0) == (ssize_t)len;
}

enum outcome { HEARD, DROPPED, REFUSED };

/* What becomes of a packet from `by` at `to` in this hour; nothing of it is left afterwards. */
static enum outcome
outcome_of(const unsigned char *packet, size_t len, int fds, enum program by, enum program to, uint32_t at)
{
	int ends[2], much = 1 << 20;
	struct channel *c;
	bool lives;

	memset(&heard, 0, sizeof(heard));
	heard.hour = at;
	assert_int_equal(channel_pair(ends), 0);
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &much, sizeof(much));
	c = channel_new(NULL, ends[0], to, by, 0, &hearing, NULL);
	assert_true(say(ends[1], packet, len, fds));
	lives = channel_drain(c);
	assert_int_equal(heard.gone, !lives);
	if (lives)
		channel_free(&c);
	close(ends[1]);
	assert_true(lives || heard.handled == 0);
	return !lives ? REFUSED : heard.handled ? HEARD : DROPPED;
}

/* An hour that the row lets it come in. */
static uint32_t
right_hour(const struct message_row *row)
{
	uint32_t hours = row->hours & ~OR_GONE;

	return hours & ~(hours - 1);
}

static enum program
first_of(uint32_t set)
{
	for (enum program p = 0; p < PROGRAM_COUNT; p++)
		if (set & 1u << p)
			return p;
	return PROGRAM_COUNT;
}

static unsigned char packet[2 * MOST_PACKET];

/* Without this the others would prove nothing: what is right is heard, from each by each. */
static void
l1_what_is_right_is_heard(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		const struct message_row *row = message_row(rows[i].number);

		for (size_t fill = 0; fill <= 1; fill++) {
			size_t len = packet_make(&rows[i], fill * MOST_PACKET, SIZE_MAX, RIGHT, packet);

			assert_true(len <= MOST_PACKET);
			for (enum program by = 0; by < PROGRAM_COUNT; by++)
				for (enum program to = 0; to < PROGRAM_COUNT; to++)
					if ((row->by & 1u << by) && (row->to & 1u << to))
						assert_int_equal(outcome_of(packet, len, row->fds, by, to, right_hour(row)), HEARD);
		}
	}
}

static void
l1_who_may_not_say_it_and_who_may_not_hear_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		const struct message_row *row = message_row(rows[i].number);
		size_t len = packet_make(&rows[i], 3, SIZE_MAX, RIGHT, packet);
		enum program by = first_of(row->by), to = first_of(row->to);

		for (enum program p = 0; p < PROGRAM_COUNT; p++) {
			if ((row->by & 1u << p) == 0)
				assert_int_equal(outcome_of(packet, len, row->fds, p, to, right_hour(row)), REFUSED);
			if ((row->to & 1u << p) == 0)
				assert_int_equal(outcome_of(packet, len, row->fds, by, p, right_hour(row)), REFUSED);
		}
	}
}

/* Too early, too late: dropped where the row says that it may come too late, and never handled. */
static void
l1_not_at_this_hour(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		const struct message_row *row = message_row(rows[i].number);
		size_t len = packet_make(&rows[i], 3, SIZE_MAX, RIGHT, packet);
		enum program by = first_of(row->by), to = first_of(row->to);

		for (uint32_t at = HOUR_NONE; at <= HOUR_CHALLENGED; at <<= 1)
			if ((row->hours & at) == 0)
				assert_int_equal(outcome_of(packet, len, row->fds, by, to, at),
					at == HOUR_NONE && (row->hours & OR_GONE) ? DROPPED : REFUSED);
	}
}

static void
l1_truncated_and_over_long(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		const struct message_row *row = message_row(rows[i].number);
		size_t len = packet_make(&rows[i], 3, SIZE_MAX, RIGHT, packet);
		enum program by = first_of(row->by), to = first_of(row->to);
		uint32_t at = right_hour(row);

		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(outcome_of(packet, cut, row->fds, by, to, at), REFUSED);
		memset(packet + len, 0, MOST_PACKET);
		assert_int_equal(outcome_of(packet, len + 1, row->fds, by, to, at), REFUSED);
		assert_int_equal(outcome_of(packet, MOST_PACKET, row->fds, by, to, at), REFUSED);
		assert_int_equal(outcome_of(packet, MOST_PACKET + 1, row->fds, by, to, at), REFUSED);
	}
}

static void
l1_each_field_over_what_it_may_hold(void **state)
{
	size_t spoilt = 0;

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		const struct message_row *row = message_row(rows[i].number);
		enum program by = first_of(row->by), to = first_of(row->to);

		for (size_t f = 0; rows[i].fields[f].kind != KIND_end; f++) {
			for (enum spoilt how = OVER_ITS_CEILING; how <= NEITHER_0_NOR_1; how++) {
				if (!can_be(how, rows[i].fields[f].kind))
					continue;
				assert_int_equal(outcome_of(packet, packet_make(&rows[i], 3, f, how, packet), row->fds, by, to,
					right_hour(row)), REFUSED);
				spoilt++;
			}
		}
	}
	assert_true(spoilt > 500);
}

static void
l1_descriptors_that_the_row_does_not_name(void **state)
{
	size_t before;

	(void)state;
	before = open_descriptors();
	for (size_t i = 0; i < ROWS; i++) {
		const struct message_row *row = message_row(rows[i].number);
		size_t len = packet_make(&rows[i], 3, SIZE_MAX, RIGHT, packet);
		enum program by = first_of(row->by), to = first_of(row->to);

		for (int fds = 0; fds <= 20; fds += fds < 4 ? 1 : 8)
			if (fds != row->fds)
				assert_int_equal(outcome_of(packet, len, fds, by, to, right_hour(row)), REFUSED);
		/* Dropped, or refused for another reason: they are closed all the same. */
		outcome_of(packet, len, row->fds, by, to, HOUR_NONE);
		outcome_of(packet, len - 1, row->fds, by, to, right_hour(row));
	}
	assert_int_equal(open_descriptors(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(l1_what_is_right_is_heard),
		cmocka_unit_test(l1_who_may_not_say_it_and_who_may_not_hear_it),
		cmocka_unit_test(l1_not_at_this_hour),
		cmocka_unit_test(l1_truncated_and_over_long),
		cmocka_unit_test(l1_each_field_over_what_it_may_hold),
		cmocka_unit_test(l1_descriptors_that_the_row_does_not_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
