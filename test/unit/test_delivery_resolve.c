/* Where addresses lead: a table of cases over one small domain. */
#include "delivery_rig.h"
#include "expect.h"

#include "delivery/resolve.h"

#define NOT_HERE ""

static struct place_rig rig;
static struct table *users;
static struct span domains[] = { { (const unsigned char *)"example.org", 11 },
	{ (const unsigned char *)"second.example", 14 } };
static struct settings settings = { .domains = { domains, 2 } };

static const struct rig_user some[] = {
	{ "zoe@example.org", "example.org/zoe", 100, false },
	{ "ana@example.org", "example.org/ana", 200, false },
	{ "old@example.org", "example.org/old", 50, true },
	{ "abuse@second.example", "second.example/a", 300, false },
	{ NULL, NULL, 0, false },
};

struct row {
	const char *address;
	bool may_relay;
	enum leads_to leads;
	uint16_t code;
	const char *status, *home;
};

static const struct row rows[] = {
	{ "ana@example.org",            false, LEADS_HERE,      250, "2.1.5", "example.org/ana" },
	{ "ANA@Example.ORG",            false, LEADS_HERE,      250, "2.1.5", "example.org/ana" },
	{ "\"ana\"@example.org",        false, LEADS_HERE,      250, "2.1.5", "example.org/ana" },
	{ "nobody@example.org",         false, LEADS_NOWHERE,   550, "5.1.1", NOT_HERE },
	{ "nobody@example.org",         true,  LEADS_NOWHERE,   550, "5.1.1", NOT_HERE },
	{ "old@example.org",            false, LEADS_NOWHERE,   550, "5.2.1", NOT_HERE },
	/* RFC 5321 4.5.1, RFC 2142: somebody reads these, in any case and without a domain. */
	{ "postmaster",                 false, LEADS_HERE,      250, "2.1.5", "example.org/zoe" },
	{ "PostMaster",                 false, LEADS_HERE,      250, "2.1.5", "example.org/zoe" },
	{ "postmaster@second.example",  false, LEADS_HERE,      250, "2.1.5", "example.org/zoe" },
	{ "Abuse@example.org",          false, LEADS_HERE,      250, "2.1.5", "example.org/zoe" },
	{ "abuse@second.example",       false, LEADS_HERE,      250, "2.1.5", "second.example/a" },
	/* The forms of relaying, from a stranger and from who has logged in. */
	{ "a@elsewhere.example",        false, LEADS_NOWHERE,   550, "5.7.1", NOT_HERE },
	{ "a@elsewhere.example",        true,  LEADS_ELSEWHERE, 250, "2.1.5", NOT_HERE },
	{ "a%elsewhere.example@example.org", false, LEADS_NOWHERE, 550, "5.1.1", NOT_HERE },
	{ "\"a@elsewhere.example\"@example.org", false, LEADS_NOWHERE, 550, "5.1.1", NOT_HERE },
	{ "elsewhere.example!a@example.org", false, LEADS_NOWHERE, 550, "5.1.1", NOT_HERE },
	{ "ana@[127.0.0.1]",            false, LEADS_NOWHERE,   550, "5.7.1", NOT_HERE },
	{ "ana@[127.0.0.1]",            true,  LEADS_NOWHERE,   550, "5.1.2", NOT_HERE },
	{ "ana@[IPv6:::1]",             true,  LEADS_NOWHERE,   550, "5.1.2", NOT_HERE },
	{ "ana@[IPv6:::ffff:127.0.0.1]", true, LEADS_NOWHERE,   550, "5.1.2", NOT_HERE },
	{ "ana@[0.0.0.0]",              true,  LEADS_NOWHERE,   550, "5.1.2", NOT_HERE },
	{ "ana@[192.0.2.7]",            true,  LEADS_ELSEWHERE, 250, "2.1.5", NOT_HERE },
	{ "ana@[IPv6:2001:db8::7]",     true,  LEADS_ELSEWHERE, 250, "2.1.5", NOT_HERE },
	/* smtpd may belong to an enemy. */
	{ "",                           true,  LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
	{ "ana",                        true,  LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
	{ "@example.org",               true,  LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
	{ "ana@example.org\r\nx",       true,  LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
	{ "ana@example.org,b@c",        true,  LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
	{ "../../etc@example.org",      false, LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
	{ "a\xc3\xa9@elsewhere.example", true, LEADS_NOWHERE,   501, "5.1.3", NOT_HERE },
};

static void
check(struct resolver *r, const struct row *row)
{
	struct resolved to;

	resolved_init(&to);
	resolve(r, &settings, span_str(row->address), false, row->may_relay, &to);
	if (to.leads != row->leads || to.verdict.code != row->code ||
	    !span_equal(to.verdict.status, span_str(row->status)))
		fprintf(stderr, "of %s: %u %.*s\n", row->address, (unsigned int)to.verdict.code,
			SPAN_ARG(to.verdict.status));
	assert_int_equal(to.leads, row->leads);
	assert_int_equal(to.verdict.code, row->code);
	assert_true(span_equal(to.verdict.status, span_str(row->status)));
	if (to.leads == LEADS_HERE) {
		assert_true(span_equal(text_span(&to.home), span_str(row->home)));
		assert_int_equal(to.uid, geteuid());
	}
	resolved_clear(&to);
}

static void
every_address_leads_where_it_should(void **state)
{
	struct resolver r;

	(void)state;
	resolver_init(&r, users);
	for (size_t i = 0; i < ROWS_OF(rows); i++)
		check(&r, &rows[i]);
	resolver_clear(&r);
}

static void
postmaster_is_who_the_settings_say(void **state)
{
	static const struct row ana = { "postmaster", false, LEADS_HERE, 250, "2.1.5",
		"example.org/ana" };
	static const struct row zoe = { "postmaster", false, LEADS_HERE, 250, "2.1.5",
		"example.org/zoe" };
	struct resolver r;

	(void)state;
	resolver_init(&r, users);
	settings.postmaster = SPAN("Ana@example.org");
	check(&r, &ana);
	/* Named wrongly: the first user, rather than nobody. */
	settings.postmaster = SPAN("gone@example.org");
	check(&r, &zoe);
	settings.postmaster = SPAN("not an address");
	check(&r, &zoe);
	settings.postmaster = SPAN_NONE;
	resolver_clear(&r);
}

static void
the_first_user_may_go(void **state)
{
	static const struct rig_user later[] = {
		{ "bob@example.org", "example.org/bob", 900, false },
		{ "ana@example.org", "example.org/ana", 200, false }, { NULL, NULL, 0, false },
	};
	static const struct rig_user none[] = { { NULL, NULL, 0, false } };
	static const struct row zoe = { "postmaster", false, LEADS_HERE, 250, "2.1.5",
		"example.org/zoe" };
	static const struct row ana = { "postmaster", false, LEADS_HERE, 250, "2.1.5",
		"example.org/ana" };
	static const struct row nobody = { "postmaster", false, LEADS_NOWHERE, 451, "4.3.5",
		NOT_HERE };
	struct resolver r;

	(void)state;
	resolver_init(&r, users);
	check(&r, &zoe);
	rig_users(&rig, later);
	check(&r, &ana);
	rig_users(&rig, none);
	check(&r, &nobody);
	rig_users(&rig, some);
	check(&r, &zoe);
	resolver_clear(&r);
}

/* A record that is not ours is no user. */
static void
i4_damaged_records_are_nobody(void **state)
{
	static const struct row row = { "ana@example.org", false, LEADS_NOWHERE, 550, "5.1.1",
		NOT_HERE };
	struct table_build *b = table_build_begin(rig.state, USERS_TABLE);
	struct resolver r;

	(void)state;
	assert_int_equal(table_build_put(b, SPAN("ana@example.org"), SPAN("\1\2\3rubbish")), 0);
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	resolver_init(&r, users);
	check(&r, &row);
	resolver_clear(&r);
	rig_users(&rig, some);
}

static int
set_up(void **state)
{
	(void)state;
	rig_make(&rig);
	rig_users(&rig, some);
	users = table_reader(rig.state, USERS_TABLE);
	return users == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	table_free(&users);
	rig_remove(&rig);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_address_leads_where_it_should),
		cmocka_unit_test(postmaster_is_who_the_settings_say),
		cmocka_unit_test(the_first_user_may_go),
		cmocka_unit_test(i4_damaged_records_are_nobody),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
