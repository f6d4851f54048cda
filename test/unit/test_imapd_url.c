/* URLs of messages and of parts of them (RFC 5092). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "imapd/imap-url.h"

#include <stdlib.h>
#include <string.h>

#define ROWS(t) (sizeof(t) / sizeof((t)[0]))

/* Parsed in memory of its very size: a byte too many is seen by the sanitizers. */
static bool
parse(struct span text, struct arena *arena, struct imap_url *url, unsigned char **exact)
{
	*exact = malloc(text.len > 0 ? text.len : 1);
	memcpy(*exact, text.at, text.len);
	return imap_url_parse(span_of(*exact, text.len), arena, url);
}

static void
same(struct span s, const char *wanted)
{
	assert_int_equal(s.at == NULL, wanted == NULL);
	if (wanted != NULL)
		assert_true(span_equal(s, span_str(wanted)));
}

static void
test_urls(void **state)
{
	static const struct {
		const char *text, *user, *host, *mailbox;
		uint32_t uidvalidity, uid;
		const char *section;
		bool partial;
		uint32_t from, most;
	} rows[] = {
		{ "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER", NULL, NULL, "Drafts",
			385759045, 20, "HEADER", false, 0, 0 },
		{ "/Drafts/;UID=3002", NULL, NULL, "Drafts", 0, 3002, NULL, false, 0, 0 },
		{ ";UID=4294967295", NULL, NULL, NULL, 0, UINT32_MAX, NULL, false, 0, 0 },
		{ "/a/b%2fc/;UID=1/;SECTION=1.2/;PARTIAL=0.1024", NULL, NULL, "a/b/c", 0, 1, "1.2",
			true, 0, 1024 },
		{ "/a/;UID=1/;PARTIAL=7", NULL, NULL, "a", 0, 1, NULL, true, 7, 0 },
		{ "/a/;UID=1/;SECTION=HEADER.FIELDS%20(A%20B)", NULL, NULL, "a", 0, 1,
			"HEADER.FIELDS (A B)", false, 0, 0 },
		/* RFC 5092 section 10 */
		{ "imap://minbari.example.org/gray-council;UIDVALIDITY=385759045/;UID=20/"
			";PARTIAL=0.1024", NULL, "minbari.example.org", "gray-council", 385759045,
			20, NULL, true, 0, 1024 },
		{ "imap://michael@minbari.example.org/users.*;UIDVALIDITY=7/;UID=1", "michael",
			"minbari.example.org", "users.*", 7, 1, NULL, false, 0, 0 },
		{ "imap://psicorp.example.org/~peter/%E6%97%A5%E6%9C%AC%E8%AA%9E/"
			"%E5%8F%B0%E5%8C%97/;UID=1", NULL, "psicorp.example.org",
			"~peter/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e/\xe5\x8f\xb0\xe5\x8c\x97", 0, 1,
			NULL, false, 0, 0 },
		{ "imap://;AUTH=GSSAPI@minbari.example.org:1143/gray-council/;uid=20/;section=1.2",
			"", "minbari.example.org", "gray-council", 0, 20, "1.2", false, 0, 0 },
		{ "IMAP://a%40b@h/x/;UID=1", "a@b", "h", "x", 0, 1, NULL, false, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct arena arena = { NULL, false };
		struct imap_url url;
		unsigned char *exact;

		assert_true(parse(span_str(rows[i].text), &arena, &url, &exact));
		assert_int_equal(url.absolute, rows[i].host != NULL);
		same(url.user, rows[i].user);
		same(url.host, rows[i].host);
		same(url.mailbox, rows[i].mailbox);
		same(url.section, rows[i].section);
		assert_int_equal(url.uidvalidity, rows[i].uidvalidity);
		assert_int_equal(url.uid, rows[i].uid);
		assert_int_equal(url.partial, rows[i].partial);
		assert_int_equal(url.from, rows[i].from);
		assert_int_equal(url.most, rows[i].most);
		arena_clear(&arena);
		free(exact);
	}
}

static void
test_what_is_no_url_of_a_message(void **state)
{
	static const char *const rows[] = { "", "/", "//", "/a", "/a/", "/a;UID=1", "/;UID=1", "/a/;UID=", "/a/;UID=0",
		"/a/;UID=4294967296", "/a/;UID=1x", "/a/;UID=1/", "/a/;UID=1/;SECTION", "/a/;UID=1/;PARTIAL=",
		"/a/;UID=1/;PARTIAL=1.0", "/a/;UID=1/;PARTIAL=1.", "/a/;UID=1/;PARTIAL=1/;SECTION=1", "/a;UIDVALIDITY=1;UID=1",
		"/a;UIDVALIDITY=0/;UID=1", "/a;UIDVALIDITY=1//;UID=1", "/a%/;UID=1", "/a%2/;UID=1", "/a%2g/;UID=1",
		"/a%00/;UID=1", "/a b/;UID=1", "/a\x7f/;UID=1", "/\xc3\xa9/;UID=1", "imap://", "imap:///a/;UID=1", "imap://h",
		"imap://h/", "imap://h;UID=1", "imap://u;X=1@h/a/;UID=1", "imap://h:/a/;UID=1", "imap://h:99999/a/;UID=1",
		"imap://h:1x/a/;UID=1", "http://h/a/;UID=1", "/a\"/;UID=1", "/a/;UID=1?OLDER%20100" };
	static unsigned char big[MOST_IMAP_URL + 1];
	struct arena arena = { NULL, false };
	struct imap_url url;
	unsigned char *exact;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_false(parse(span_str(rows[i]), &arena, &url, &exact));
		free(exact);
	}
	memset(big, 'a', sizeof(big));
	memcpy(big, "/", 1);
	memcpy(big + sizeof(big) - 8, "/;UID=11", 8);
	assert_false(imap_url_parse(span_of(big, sizeof(big)), &arena, &url));
	memcpy(big + sizeof(big) - 9, "/;UID=11", 8);
	assert_true(imap_url_parse(span_of(big, sizeof(big) - 1), &arena, &url));
	arena_clear(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_what_is_no_url_of_a_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
