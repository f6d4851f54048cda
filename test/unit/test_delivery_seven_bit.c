/* Messages encoded again for servers that take only US-ASCII: what changes, and what must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/text.h"
#include "delivery/seven-bit.h"

/* A file of these bytes. */
static int
file_of(struct span in)
{
	int fd = memfd_create("test", 0);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, in.at, in.len), in.len);
	return fd;
}

/* What leaves, read in pieces of `room`; looks: how many were needed. */
static struct text
encoded(struct span in, size_t room, bool *left, unsigned int *looks)
{
	struct text to = TEXT_UP_TO(4 * in.len + 10000000);
	int fd = file_of(in);
	struct seven_bit *s = seven_bit_new(fd, in.len);
	unsigned char piece[4096];
	size_t len;

	for (*looks = 1; !seven_bit_look(s);)
		++*looks;
	*left = seven_bit_left(s);
	assert_true(seven_bit_possible(s));
	if (!seven_bit_needed(s))
		assert_int_equal(seven_bit_size(s), in.len);
	/* Twice, as for two servers. */
	for (int n = 0; n < 2; n++) {
		text_reset(&to);
		seven_bit_rewind(s);
		while ((len = seven_bit_read(s, piece, room)) > 0)
			text_add(&to, span_of(piece, len));
		assert_int_equal(to.len, seven_bit_size(s));
	}
	seven_bit_free(&s);
	assert_null(s);
	close(fd);
	return to;
}

static void
expect(struct span in, const char *out)
{
	for (size_t room = 1; room <= 4096; room += room < 3 ? 1 : 1000) {
		unsigned int looks;
		bool left;
		struct text to = encoded(in, room, &left, &looks);

		assert_string_equal(text_str(&to), out);
		text_clear(&to);
	}
}

/* Is there anything to encode? */
static bool
needed(struct span in)
{
	int fd = file_of(in);
	struct seven_bit *s = seven_bit_new(fd, in.len);
	bool is;

	while (!seven_bit_look(s))
		continue;
	is = seven_bit_needed(s);
	seven_bit_free(&s);
	close(fd);
	return is;
}

static void
test_a_plain_message(void **state)
{
	(void)state;
	expect(SPAN("Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f" "e =\r\nend \r\n"),
		"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe =3D\r\nend=20\r\n");
	/* What needs nothing is not touched. */
	expect(SPAN("Content-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"), "Content-Transfer-Encoding: 8bit\r\n\r\nplain\r\n");
	expect(SPAN("Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain\r\n\r\n\xff\r\n"),
		"Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain\r\n\r\n\xff\r\n");
	expect(SPAN(""), "");
	expect(SPAN("\xff"), "\xff"); /* a field of a broken header */
}

static void
test_encodings(void **state)
{
	(void)state;
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: application/x; a=\"b;c\"\r\ncontent-transfer-encoding:\r\n binary\r\n\r\n\0\xff\n"),
		"MIME-Version: 1.0\r\nContent-Type: application/x; a=\"b;c\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAP8K");
	expect(SPAN("Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\na\rb\tc\t\r\n\xe9\n"),
		"Content-Type: text/html\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=0Db\tc=09\r\n=E9\r\n");
}

static void
test_parts(void **state)
{
	(void)state;
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"==x y\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"pre\r\n--==x y\r\n\r\nascii\r\n--==x y\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"\xc3\xbc\r\n--==x yz\r\n--==x y\t\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--==x y--\r\npost\r\n"),
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"==x y\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
		"pre\r\n--==x y\r\n\r\nascii\r\n--==x y\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n=2D-=3D=3Dx yz\r\n--==x y\t\r\nContent-Type: image/png\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n--==x y--\r\npost\r\n");
	/* A message inside, and a part that nothing ends. */
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\xe9"),
		"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9");
}

/* RFC 2046 5.1.5: a part of a digest that names no type is a message, not text. */
static void
test_a_digest(void **state)
{
	(void)state;
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\n\xe9\r\n"
		"--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: two\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\xe8\r\n"
		"--b\r\nContent-Type: text/plain\r\n\r\n\xe7\r\n--b--\r\n"),
		"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n"
		"Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n"
		"--b\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: two\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E8\r\n"
		"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E7\r\n--b--\r\n");
}

/* RFC 6532 3.7, RFC 6533: what is internationalised may have any encoding; what a report says of US-ASCII may not. */
static void
test_messages_inside(void **state)
{
	(void)state;
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: message/global\r\n\r\nSubject: \xc3\xa9\r\n\r\nx\r\n"),
		"MIME-Version: 1.0\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		"Subject: =C3=A9\r\n\r\nx\r\n");
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"Final-Recipient: utf-8; \xc3\xa9@x\r\n"),
		"MIME-Version: 1.0\r\nContent-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		"Final-Recipient: utf-8; =C3=A9@x\r\n");
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\nX: \xe9\r\n"),
		"MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\nX: \xe9\r\n");
}

/* A soft break, or the beginning of a line, makes no delimiter of what was none. */
static void
test_no_new_delimiter(void **state)
{
	struct text in = TEXT_UP_TO(2000), to;
	struct span rest, line;
	unsigned int looks;
	bool left;

	(void)state;
	text_add_str(&in, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\xe9");
	for (int i = 0; i < 300; i++) {
		for (int k = 0; k < i % 80; k++)
			text_add_byte(&in, 'x');
		text_add_str(&in, "--b\r\n");
		if (i % 80 == 79)
			break;
	}
	/* All but the first line ("xN--b") would be delimiters, were they broken before the hyphens. */
	to = encoded(text_span(&in), 4096, &left, &looks);
	unsigned int delimiters = 0;
	for (rest = text_span(&to); span_take_until(&rest, '\n', &line);)
		delimiters += span_equal(line, SPAN("--b\r"));
	assert_int_equal(delimiters, 1);
	text_clear(&in);
	text_clear(&to);
}

/* What is signed is somebody's word: not a byte of it changes. */
static void
test_what_is_signed(void **state)
{
	static const char message[] = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\n\xe9\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n";
	struct text to;
	unsigned int looks;
	bool left;

	(void)state;
	expect(span_str(message), message);
	to = encoded(span_str(message), 100, &left, &looks);
	assert_true(left);
	text_clear(&to);
}

static void
test_long_lines(void **state)
{
	struct text in = TEXT_UP_TO(100000), to;
	struct span rest, line;
	unsigned int looks;
	bool left;

	(void)state;
	text_add_str(&in, "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n");
	for (int i = 0; i < 40000; i++)
		text_add_byte(&in, i % 7 == 0 ? 0xe9 : ' ');
	to = encoded(text_span(&in), 4096, &left, &looks);
	for (rest = text_span(&to); span_take_until(&rest, '\n', &line);)
		assert_true(line.len <= 77);
	assert_true(rest.len <= 76);
	assert_false(needed(text_span(&to)));
	text_clear(&in);
	text_clear(&to);
	/* A line of 998 octets may be, one of 999 may not (RFC 5321 4.5.3.1.6). */
	for (size_t len = 998; len <= 999; len++) {
		text_add_str(&in, "Subject: x\r\n\r\n");
		for (size_t i = 0; i < len; i++)
			text_add_byte(&in, 'x');
		text_add_str(&in, "\r\n");
		assert_int_equal(needed(text_span(&in)), len == 999);
		text_reset(&in);
	}
	text_clear(&in);
}

static void
test_lines(void **state)
{
	static const struct {
		struct span in;
		bool needed;
	} cases[] = {
		{ SPAN("A: b\r\n\r\nx\r\ny"), false }, { SPAN("A: b\r\n\r\nx\ny\r\n"), true }, { SPAN("A: b\r\n\r\nx\ry\r\n"), true },
		{ SPAN("A: b\r\n\r\nx\r\r\n"), true }, { SPAN("A: b\r\n\r\nx\r"), true }, { SPAN("A: b\r\n\r\nx\0"), true },
		{ SPAN("A: b\r\n\r\nx\n"), true }, { SPAN("A: b\n\nx\r\n"), false }, { SPAN("A: \xe9\r\n\r\nx\r\n"), false },
		{ SPAN(""), false }, { SPAN("\r\n"), false }, { SPAN("\r\n\x80"), true }, { SPAN("A: b"), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (needed(cases[i].in) != cases[i].needed)
			fail_msg("case %zu", i);
}

/* Deeper than is looked at: it leaves as it is, and nothing is lost. */
static void
test_depth(void **state)
{
	struct text in = TEXT_UP_TO(1 << 20), to;
	unsigned int looks;
	bool left;

	(void)state;
	for (int i = 0; i < 5000; i++)
		text_add_str(&in, "Content-Type: message/rfc822\r\n\r\n");
	text_add_str(&in, "Subject: deep\r\n\r\n\xe9\r\n");
	to = encoded(text_span(&in), 4096, &left, &looks);
	assert_true(left && span_equal(text_span(&in), text_span(&to)));
	text_clear(&in);
	text_clear(&to);
}

/* MOST_SEVEN_BIT_PARTS and MOST_SEVEN_BIT_HEADER, and one more. */
static void
test_limits(void **state)
{
	struct text in = TEXT_UP_TO(4 << 20), to;
	unsigned int looks;
	bool left;

	(void)state;
	for (size_t parts = MOST_SEVEN_BIT_PARTS - 1; parts <= MOST_SEVEN_BIT_PARTS; parts++) {
		text_add_str(&in, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
		for (size_t i = 0; i < parts; i++)
			text_add_str(&in, "--b\r\n\r\nnothing\r\n--b\r\n\r\n\xe9\r\n");
		to = encoded(text_span(&in), 4096, &left, &looks);
		assert_int_equal(left, parts == MOST_SEVEN_BIT_PARTS);
		assert_int_equal(needed(text_span(&to)), left);
		text_clear(&to);
		text_reset(&in);
	}
	for (size_t header = MOST_SEVEN_BIT_HEADER; header <= MOST_SEVEN_BIT_HEADER + 1; header++) {
		text_add_str(&in, "X: ");
		while (in.len < header - 4)
			text_add_byte(&in, 'x');
		text_add_str(&in, "\r\n\r\n\xe9\r\n");
		to = encoded(text_span(&in), 4096, &left, &looks);
		assert_int_equal(left, header > MOST_SEVEN_BIT_HEADER);
		text_clear(&to);
		text_reset(&in);
	}
	text_clear(&in);
}

/* No look reads more than a slice, so that 50 MiB hold up nobody else's mail; and nothing of it is kept. */
static void
test_a_large_message_is_looked_at_in_slices(void **state)
{
	static const size_t size = 50 << 20;
	static const char line[] = "fifty mebibytes of lines that have \xc3\xa9 in them\r\n";
	int fd = memfd_create("large", 0), copy;
	unsigned char *at;
	struct seven_bit *s;
	unsigned int looks = 0;
	uint64_t out = 0;
	unsigned char piece[4096];
	size_t len;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(at != MAP_FAILED);
	memcpy(at, "Subject: x\r\n\r\n", 14);
	/* The first look needs no more of the file than a slice. */
	for (size_t i = 14; i < size; i++)
		at[i] = (unsigned char)line[(i - 14) % (sizeof(line) - 1)];
	copy = file_of(span_of(at, SEVEN_BIT_SLICE));
	s = seven_bit_new(copy, size);
	assert_false(seven_bit_look(s));
	assert_true(seven_bit_possible(s));
	assert_true(seven_bit_look(s));
	assert_false(seven_bit_possible(s));
	seven_bit_free(&s);
	close(copy);
	s = seven_bit_new(fd, size);
	while (!seven_bit_look(s))
		looks++;
	/* Once for what it is, once for how long it becomes. */
	assert_in_range(looks, 2 * (size / SEVEN_BIT_SLICE) - 20, 2 * (size / SEVEN_BIT_SLICE) + 2);
	while ((len = seven_bit_read(s, piece, sizeof(piece))) > 0)
		out += len;
	assert_int_equal(out, seven_bit_size(s));
	seven_bit_free(&s);
	munmap(at, size);
	close(fd);
}

/* A file that is cut short, before and after it was looked at. */
static void
test_files(void **state)
{
	struct span message = SPAN("Subject: x\r\n\r\n\xe9\r\n");
	int fd = file_of(message);
	struct seven_bit *s = seven_bit_new(fd, 100000);
	unsigned char piece[100];

	(void)state;
	assert_true(seven_bit_look(s));
	assert_true(seven_bit_needed(s) && !seven_bit_possible(s));
	assert_int_equal(seven_bit_read(s, piece, sizeof(piece)), 0);
	seven_bit_free(&s);
	s = seven_bit_new(fd, message.len);
	while (!seven_bit_look(s))
		continue;
	assert_true(seven_bit_possible(s));
	assert_int_equal(ftruncate(fd, (off_t)message.len - 1), 0);
	uint64_t out = 0;
	for (size_t len; (len = seven_bit_read(s, piece, sizeof(piece))) > 0;)
		out += len;
	assert_true(out < seven_bit_size(s));
	seven_bit_free(&s);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_plain_message),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_what_is_signed),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_a_digest),
		cmocka_unit_test(test_messages_inside),
		cmocka_unit_test(test_no_new_delimiter),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_a_large_message_is_looked_at_in_slices),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests_name("seven-bit", tests, NULL, NULL);
}
