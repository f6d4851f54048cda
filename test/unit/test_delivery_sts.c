/* MTA-STS (RFC 8461): records, policies, which servers they name; and what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "delivery/sts-cache.h"
#include "delivery/sts-policy.h"

static void
test_records(void **state)
{
	static const struct {
		const char *txt, *id; /* NULL: no such record, or malformed */
	} cases[] = {
		{ "v=STSv1; id=20160831085700Z;", "20160831085700Z" },
		{ "v=STSv1;id=1", "1" },
		{ "v=STSv1 ; more=x y ; id=a9 ; id=b", "a9" },
		{ "v=STSv1; id=12345678901234567890123456789012", "12345678901234567890123456789012" },
		{ "v=STSv1; id=123456789012345678901234567890123", NULL },
		{ "v=STSv1; id=a-b", NULL }, { "v=STSv1; id=", NULL }, { "v=STSv1", NULL },
		{ "v=STSv1 id=1", NULL }, { "v=STSv10; id=1", NULL }, { "v=STSv2; id=1", NULL },
		{ "id=1; v=STSv1", NULL }, { "V=STSV1; id=1", NULL }, { "v=STSv1; id=1; junk", NULL },
		{ "", NULL }, { "v=spf1 -all", NULL },
	};
	struct span id;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool good = sts_record_read(span_str(cases[i].txt), &id);

		if (good != (cases[i].id != NULL) || (good && !span_equal(id, span_str(cases[i].id))))
			fail_msg("%s", cases[i].txt);
	}
	assert_true(sts_record_claims(SPAN("v=STSv1; junk")));
	assert_false(sts_record_claims(SPAN("v=STSv1x")));
}

static void
test_policies(void **state)
{
	static const struct {
		const char *body;
		enum sts_mode mode;
		uint32_t age;
		const char *mx; /* NULL: refused */
	} cases[] = {
		{ "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n",
			STS_ENFORCE, 604800, "mail.example.com\n*.example.net\n" },
		{ "mode:testing\nmx:a.b\nversion:STSv1\nmax_age:0", STS_TESTING, 0, "a.b\n" },
		{ "version: STSv1\nmode: none\nmax_age: 86400\n", STS_NONE, 86400, "" },
		{ "version: STSv1\nmode: enforce\nmode: none\nmax_age: 5\nmax_age: 6\nmx: a.b\nversion: x\n",
			STS_ENFORCE, 5, "a.b\n" },
		{ "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 99999999999\nfuture: thing\n\n", STS_ENFORCE,
			MOST_STS_AGE, "a.b\n" },
		{ "version: STSv1\nmode: enforce\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 1\n", 0, 0, NULL },
		{ "mode: enforce\nmx: a.b\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv1\nmx: a.b\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a.b\n", 0, 0, NULL },
		{ "version: STSv1\nmode: maybe\nmx: a.b\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: -1\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 99999999999999999999\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: *.com\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a.*.b\nmax_age: 1\n", 0, 0, NULL },
		{ "version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 1\n", 0, 0, NULL },
		{ "<html>404</html>", 0, 0, NULL }, { "", 0, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sts_policy p;
		const char *why = sts_policy_read(span_str(cases[i].body), &p);

		if ((why == NULL) != (cases[i].mx != NULL))
			fail_msg("%zu %s: %s", i, cases[i].body, why != NULL ? why : "taken");
		if (why == NULL) {
			assert_int_equal(p.mode, cases[i].mode);
			assert_int_equal(p.max_age, cases[i].age);
			assert_true(span_equal(text_span(&p.mx), span_str(cases[i].mx)));
		}
		sts_policy_clear(&p);
	}
}

/* As many servers as fit; one more is too many, not a shorter list. */
static void
test_the_most_servers(void **state)
{
	struct text body = TEXT_UP_TO(100000);
	struct sts_policy p;

	(void)state;
	text_add_str(&body, "version: STSv1\nmode: enforce\nmax_age: 1\n");
	for (int i = 0; i < MOST_STS_MX / 16; i++)
		text_printf(&body, "mx: mx%05d.example\n", i); /* with its newline 16 bytes */
	assert_null(sts_policy_read(text_span(&body), &p));
	assert_int_equal(p.mx.len, MOST_STS_MX);
	sts_policy_clear(&p);
	text_add_str(&body, "mx: a.b\n");
	assert_non_null(sts_policy_read(text_span(&body), &p));
	sts_policy_clear(&p);
	text_clear(&body);
}

static void
test_which_servers(void **state)
{
	const struct span patterns = SPAN("mail.example.com\n*.example.net\n");

	(void)state;
	assert_true(sts_mx_matches(patterns, SPAN("mail.example.com")));
	assert_true(sts_mx_matches(patterns, SPAN("MAIL.Example.COM.")));
	assert_true(sts_mx_matches(patterns, SPAN("mx1.example.net")));
	assert_false(sts_mx_matches(patterns, SPAN("a.mail.example.com")));
	assert_false(sts_mx_matches(patterns, SPAN("example.net")));
	assert_false(sts_mx_matches(patterns, SPAN("a.b.example.net")));
	assert_false(sts_mx_matches(patterns, SPAN(".example.net")));
	assert_false(sts_mx_matches(patterns, SPAN("")));
	assert_false(sts_mx_matches(SPAN(""), SPAN("mail.example.com")));
}

static bool
count_row(void *me, struct span domain, const struct sts_remembered *r)
{
	(void)domain;
	(void)r;
	++*(size_t *)me;
	return true;
}

static void
test_what_is_remembered(void **state)
{
	char name[] = "/tmp/valija-sts-XXXXXX", file[64];
	int directory;
	struct table *t;
	struct sts_policy p;
	struct sts_remembered r;
	size_t count = 0, rows = 0;

	(void)state;
	assert_non_null(mkdtemp(name));
	directory = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	t = table_private(directory, "policies.db", 0600);
	assert_non_null(t);
	assert_null(sts_policy_read(SPAN("version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 100\n"), &p));
	assert_true(sts_cache_put(t, &count, SPAN("x.example"), SPAN("id1"), &p, 1000));
	assert_true(sts_cache_put(t, &count, SPAN("x.example"), SPAN("id2"), &p, 1000));
	assert_int_equal(count, 1);
	table_free(&t);
	t = table_private(directory, "policies.db", 0600);
	assert_true(sts_cache_find(t, SPAN("x.example"), 1099, &r));
	assert_int_equal(r.mode, STS_ENFORCE);
	assert_string_equal(r.id, "id2");
	assert_true(span_equal(text_span(&r.mx), SPAN("a.b\n")));
	sts_remembered_clear(&r);
	assert_false(sts_cache_find(t, SPAN("x.example"), 1100, &r));
	sts_remembered_clear(&r);
	assert_false(sts_cache_find(t, SPAN("y.example"), 0, &r));
	sts_remembered_clear(&r);
	/* What is damaged is left out; a full table takes no more, but renews what it has. */
	assert_int_equal(table_put(t, SPAN("bad.example"), SPAN("\1\7nonsense")), 0);
	assert_false(sts_cache_find(t, SPAN("bad.example"), 0, &r));
	sts_remembered_clear(&r);
	sts_cache_each(t, count_row, &rows);
	assert_int_equal(rows, 1);
	count = MOST_STS_POLICIES;
	assert_false(sts_cache_put(t, &count, SPAN("z.example"), SPAN("id1"), &p, 1000));
	assert_true(sts_cache_put(t, &count, SPAN("x.example"), SPAN("id3"), &p, 1000));
	sts_policy_clear(&p);
	table_free(&t);
	snprintf(file, sizeof file, "%s/policies.db", name);
	unlink(file);
	close(directory);
	rmdir(name);
}

/* Fifty domains whose policies cannot be renewed: each sweep goes on behind the one before, and a round meets them all once. */
static void
test_sweeps_go_on_where_the_one_before_ended(void **state)
{
	char name[] = "/tmp/valija-sts-XXXXXX", file[64], domain[MOST_HOST + 1], behind[MOST_HOST + 1] = "";
	int directory;
	struct table *t;
	struct sts_policy p;
	struct sts_old old[20];
	bool seen[60] = { false };
	size_t count = 0, rows, found;

	(void)state;
	assert_non_null(mkdtemp(name));
	directory = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	t = table_private(directory, "policies.db", 0600);
	assert_non_null(t);
	assert_null(sts_policy_read(SPAN("version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 5000\n"), &p));
	for (int i = 0; i < 60; i++) {
		snprintf(domain, sizeof domain, "d%02d.example", i);
		/* Every sixth is new. */
		assert_true(sts_cache_put(t, &count, span_str(domain), SPAN("id"), &p, i % 6 == 0 ? 4000 : i % 6 == 1 ? 0 : 1000));
	}
	for (int round = 0; round < 2; round++) {
		memset(seen, 0, sizeof seen);
		for (int sweep = 0; sweep < 3; sweep++) {
			found = sts_cache_sweep(t, 5000, 2000, behind, old, 20, &rows);
			assert_int_equal(rows, 60);
			assert_int_equal(found, sweep < 2 ? 20 : 10);
			assert_int_equal(behind[0] == '\0', sweep == 2);
			for (size_t i = 0; i < found; i++) {
				int n = atoi(old[i].domain + 1);

				assert_false(seen[n]);
				seen[n] = true;
				assert_int_equal(old[i].expired, n % 6 == 1);
			}
		}
		for (int i = 0; i < 60; i++)
			assert_int_equal(seen[i], i % 6 != 0);
	}
	/* As many as there is room for: the sweep behind them finds none, and ends the round. */
	found = sts_cache_sweep(t, 4999, 2000, behind, old, 20, &rows);
	assert_int_equal(found, 20);
	snprintf(behind, sizeof behind, "d59.example");
	assert_int_equal(sts_cache_sweep(t, 5000, 2000, behind, old, 20, &rows), 0);
	assert_string_equal(behind, "");
	sts_policy_clear(&p);
	table_free(&t);
	snprintf(file, sizeof file, "%s/policies.db", name);
	unlink(file);
	close(directory);
	rmdir(name);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_the_most_servers),
		cmocka_unit_test(test_which_servers),
		cmocka_unit_test(test_what_is_remembered),
		cmocka_unit_test(test_sweeps_go_on_where_the_one_before_ended),
	};

	return cmocka_run_group_tests_name("sts", tests, NULL, NULL);
}
