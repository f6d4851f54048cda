/* Settings and passports: what is handed on comes back the same, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/passport.h"
#include "common/secret.h"
#include "common/settings.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void
fill(struct settings *s, struct span *domains)
{
	memset(s, 0, sizeof(*s));
#define SET_text(name, initial, least) s->name = span_str(initial);
#define SET_number(name, initial, least) s->name = (uint64_t)(initial);
#define SET_flag(name, initial, least) s->name = (initial);
#define SET_list(name, initial, least) s->name = (struct list){ domains, 2 };
#define O(kind, name, initial, least, most, help) SET_##kind(name, initial, least)
	SETTINGS(O)
#undef O
}

static void
test_settings_round_trip(void **state)
{
	struct span domains[] = { SPAN("example.org"), SPAN("example.net") };
	struct settings s, *back;
	int fd;

	(void)state;
	fill(&s, domains);
	s.hostname = SPAN("mail.example.org");
	fd = settings_to_file(&s);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), -1); /* sealed */
	back = settings_from_file(fd, 3);
	assert_non_null(back);
	assert_int_equal(back->generation, 3);
	assert_true(span_equal(back->hostname, s.hostname));
	assert_int_equal(back->message_size_bytes, s.message_size_bytes);
	assert_true(settings_is_local_domain(back, SPAN("EXAMPLE.net")));
	assert_false(settings_is_local_domain(back, SPAN("example.com")));
	settings_free(&back);
	assert_null(back);
	close(fd);
}

static void
test_settings_out_of_range_are_refused(void **state)
{
	struct span domains[] = { SPAN("a"), SPAN("b") };
	struct settings s;
	int fd;

	(void)state;
	fill(&s, domains);
	s.smtpd_processes = 0;
	fd = settings_to_file(&s);
	assert_null(settings_from_file(fd, 1));
	close(fd);
}

static void
test_unsealed_or_cut_files_are_refused(void **state)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	(void)state;
	assert_null(settings_from_file(fd, 1));
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_null(settings_from_file(fd, 1));
	close(fd);
	assert_null(settings_from_file(-1, 1));
}

static void
test_passport_seal(void **state)
{
	unsigned char key[PASSPORT_KEY_SIZE], other[PASSPORT_KEY_SIZE];
	struct passport p = { .session = 5, .issued = 1, .service = 2, .ip = SPAN("192.0.2.1"),
		.version = SPAN("TLS1.3"), .cipher = SPAN("x"), .exporter = SPAN("01234567890123456789012345678901") };
	struct passport back;
	struct text sealed = TEXT_UP_TO(MOST_PASSPORT);

	(void)state;
	secret_random(key, sizeof(key));
	secret_random(other, sizeof(other));
	assert_true(passport_seal(key, &p, &sealed));
	assert_true(passport_open(key, text_span(&sealed), &back));
	assert_true(back.session == 5 && span_equal(back.ip, p.ip) && span_equal(back.exporter, p.exporter));
	assert_false(passport_open(other, text_span(&sealed), &back));
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.at[i] ^= 1;
		assert_false(passport_open(key, text_span(&sealed), &back));
		sealed.at[i] ^= 1;
		assert_false(passport_open(key, span_part(text_span(&sealed), 0, i), &back));
	}
	text_clear(&sealed);
	p.version = SPAN("a version that is too long");
	assert_false(passport_seal(key, &p, &sealed));
	text_clear(&sealed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings_round_trip),
		cmocka_unit_test(test_settings_out_of_range_are_refused),
		cmocka_unit_test(test_unsealed_or_cut_files_are_refused),
		cmocka_unit_test(test_passport_seal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
