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

static bool
add(void *me, struct span bytes)
{
	text_add(me, bytes);
	return true;
}

static void
expect(struct span in, const char *out)
{
	struct text to = TEXT_UP_TO(1 << 20);
	struct seven_bit_out o = { .write = add, .me = &to };

	seven_bit_write(in, &o);
	assert_string_equal(text_str(&to), out);
	text_clear(&to);
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
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--=3D=3Dx yz\r\n--==x y\t\r\nContent-Type: image/png\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n--==x y--\r\npost\r\n");
	/* A message inside, and a part that nothing ends. */
	expect(SPAN("MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n\xe9"),
		"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9");
}

/* What is signed is somebody's word: not a byte of it changes. */
static void
test_what_is_signed(void **state)
{
	static const char message[] = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\n\r\n\xe9\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n";
	struct text to = TEXT_UP_TO(1000);
	struct seven_bit_out o = { .write = add, .me = &to };

	(void)state;
	expect(span_str(message), message);
	seven_bit_write(span_str(message), &o);
	assert_true(o.left);
	text_clear(&to);
}

static void
test_long_lines(void **state)
{
	struct text in = TEXT_UP_TO(100000), to = TEXT_UP_TO(400000);
	struct seven_bit_out o = { .write = add, .me = &to };
	struct span rest, line;

	(void)state;
	text_add_str(&in, "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n");
	for (int i = 0; i < 20000; i++)
		text_add_byte(&in, i % 7 == 0 ? 0xe9 : ' ');
	seven_bit_write(text_span(&in), &o);
	for (rest = text_span(&to); span_take_until(&rest, '\n', &line);)
		assert_true(line.len <= 77);
	assert_true(rest.len <= 76);
	assert_false(seven_bit_needed(text_span(&to)));
	text_clear(&in);
	text_clear(&to);
}

/* Deeper than is looked at: it leaves as it is, and nothing is lost. */
static void
test_depth(void **state)
{
	struct text in = TEXT_UP_TO(1 << 20), to = TEXT_UP_TO(1 << 20);
	struct seven_bit_out o = { .write = add, .me = &to };

	(void)state;
	for (int i = 0; i < 5000; i++)
		text_add_str(&in, "Content-Type: message/rfc822\r\n\r\n");
	text_add_str(&in, "Subject: deep\r\n\r\n\xe9\r\n");
	seven_bit_write(text_span(&in), &o);
	assert_int_equal(in.len, to.len);
	text_clear(&in);
	text_clear(&to);
}

static void
test_files(void **state)
{
	static const char message[] = "Subject: x\r\n\r\n\xe9\r\n";
	char back[512];
	int fd = memfd_create("test", 0), made;
	uint64_t size = sizeof(message) - 1;
	bool needed, left;

	(void)state;
	assert_int_equal(write(fd, message, size), size);
	made = seven_bit_file(fd, &size, &needed, &left);
	assert_true(needed && made >= 0 && !left);
	assert_int_equal(pread(made, back, sizeof(back), 0), size);
	assert_non_null(memmem(back, size, "\r\n=E9\r\n", 7));
	close(made);
	size = 10;
	assert_int_equal(seven_bit_file(fd, &size, &needed, &left), -1);
	assert_false(needed);
	size = 0;
	assert_int_equal(seven_bit_file(fd, &size, &needed, &left), -1);
	assert_false(needed);
	/* A file that is cut short: none is made, and nobody dies (a mapping would, behind its last page). */
	size = 100000;
	assert_int_equal(seven_bit_file(fd, &size, &needed, &left), -1);
	assert_true(needed);
	assert_int_equal(size, 100000);
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
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests_name("seven-bit", tests, NULL, NULL);
}
