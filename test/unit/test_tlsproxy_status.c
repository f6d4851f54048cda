/* OCSP: what is asked, and whose answer counts, when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <gnutls/ocsp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "status_answers.h"
#include "tlsproxy/status.h"

#define DAY INT64_C(86400)

static struct chain chain;
static struct text good, without_end;

/* The certificates are as old as the responses, whatever the clock says. */
static time_t
then(time_t *t)
{
	if (t != NULL)
		*t = FROM + 60;
	return FROM + 60;
}

static int
set_up(void **state)
{
	struct text why = TEXT_UP_TO(400);
	int fd = memfd_create("chain", MFD_CLOEXEC);

	(void)state;
	gnutls_global_set_time_function(then);
	good = without_end = TEXT_UP_TO(4096);
	if (fd < 0 || write(fd, pem, sizeof pem - 1) != (ssize_t)sizeof pem - 1 || chain_read(fd, &chain, &why) < 0)
		return -1;
	close(fd);
	return text_add_base64_decoded(&good, span_str(response)) &&
		text_add_base64_decoded(&without_end, span_str(endless)) ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	chain_clear(&chain);
	text_clear(&good);
	text_clear(&without_end);
	return 0;
}

/* Says in *why what is wrong with `der` at `now`, "" for nothing. */
static const char *
judged(struct span der, const struct chain *of, int64_t now)
{
	static struct text why = { .most = 400 };
	struct status_facts facts = { .word = STATUS_UNUSABLE };

	text_reset(&why);
	if (status_judge(der, of, now, &facts, &why) == 0) {
		assert_int_equal(why.len, 0);
		assert_int_equal(facts.word, STATUS_GOOD);
		assert_true(facts.from == FROM);
	} else {
		assert_int_equal(facts.word, STATUS_UNUSABLE);
		assert_true(why.len > 0);
	}
	return text_str(&why);
}

static void
test_times(void **state)
{
	struct span der = text_span(&good), open = text_span(&without_end);

	(void)state;
	assert_string_equal(judged(der, &chain, FROM), "");
	assert_string_equal(judged(der, &chain, FROM - STATUS_SLACK_SECONDS), "");
	assert_non_null(strstr(judged(der, &chain, FROM - STATUS_SLACK_SECONDS - 1), "begins in the future"));
	assert_string_equal(judged(der, &chain, FROM + 3 * DAY - 1), "");
	assert_non_null(strstr(judged(der, &chain, FROM + 3 * DAY), "out of date"));
	assert_string_equal(judged(open, &chain, FROM + STATUS_WITHOUT_END_SECONDS - 1), "");
	assert_non_null(strstr(judged(open, &chain, FROM + STATUS_WITHOUT_END_SECONDS), "out of date"));
}

/* A response is of one certificate, and worth nothing where nobody knows who issued that. */
static void
test_of_whom(void **state)
{
	struct chain other = chain, alone = chain;

	(void)state;
	other.at[0] = chain.at[1];
	assert_non_null(strstr(judged(text_span(&good), &other, FROM), "not of this certificate"));
	alone.count = 1;
	assert_non_null(strstr(judged(text_span(&good), &alone, FROM), "no certificate of the issuer"));
	other = chain;
	other.at[1] = chain.at[0];
	assert_non_null(strstr(judged(text_span(&good), &other, FROM), "not signed by the certificate's authority"));
}

/* Cut anywhere, or with any byte changed, it is refused or says the same. */
static void
test_damaged(void **state)
{
	unsigned char *copy = must_alloc(good.len);

	(void)state;
	for (size_t len = 0; len < good.len; len++) {
		memcpy(copy, good.at, len);
		assert_string_not_equal(judged(span_of(copy, len), &chain, FROM), "");
	}
	for (size_t i = 0; i < good.len; i++) {
		memcpy(copy, good.at, good.len);
		copy[i] ^= 0x04;
		(void)judged(span_of(copy, good.len), &chain, FROM);
	}
	free(copy);
	assert_string_not_equal(judged(SPAN(""), &chain, FROM), "");
	assert_string_not_equal(judged(SPAN("\x30\x03\x0a\x01\x03"), &chain, FROM), ""); /* tryLater */
}

static void
test_what_is_asked(void **state)
{
	struct text url = TEXT_UP_TO(MOST_STATUS_URL), der = TEXT_UP_TO(4096), why = TEXT_UP_TO(400);
	struct chain alone = chain, authority = chain;
	gnutls_ocsp_req_t request;
	gnutls_datum_t datum, serial = { NULL, 0 };

	(void)state;
	/* The first is no URL that can be fetched. */
	assert_true(status_url(&chain, &url));
	assert_string_equal(text_str(&url), "http://ocsp.example.org:8080/a?b");
	assert_true(status_is_owed(&chain));
	assert_int_equal(status_request(&chain, &der, &why), 0);
	datum = (gnutls_datum_t){ der.at, (unsigned int)der.len };
	assert_int_equal(gnutls_ocsp_req_init(&request), 0);
	assert_int_equal(gnutls_ocsp_req_import(request, &datum), 0);
	assert_int_equal(gnutls_ocsp_req_get_cert_id(request, 0, NULL, NULL, NULL, &serial), 0);
	assert_int_equal(serial.size, 2);
	assert_memory_equal(serial.data, "\x7a\x31", 2);
	gnutls_free(serial.data);
	gnutls_ocsp_req_deinit(request);
	authority.at[0] = chain.at[1];
	text_reset(&url);
	assert_false(status_url(&authority, &url));
	assert_false(status_is_owed(&authority));
	alone.count = 1;
	assert_int_equal(status_request(&alone, &der, &why), -1);
	assert_non_null(strstr(text_str(&why), "issuer"));
	text_clear(&url);
	text_clear(&der);
	text_clear(&why);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_of_whom),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_what_is_asked),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
