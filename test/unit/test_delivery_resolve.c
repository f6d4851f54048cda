/* Where addresses lead: a table of cases over one small domain. */
#include "delivery_rig.h"
#include "expect.h"

#include "common/ourselves.h"
#include "common/alias.h"
#include "delivery/resolve.h"
#include "delivery/rewrite.h"

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
	{ "root@example.org",           false, LEADS_HERE,      250, "2.1.5", "example.org/zoe" },
	{ "rooty@example.org",          false, LEADS_NOWHERE,   550, "5.1.1", NOT_HERE },
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

/* What a resolution leads to, in one line: "home/folder address>next_hop" and so on. */
static void
show(const struct resolution *to, struct text *text)
{
	text_reset(text);
	for (uint32_t i = 0; i < to->count; i++) {
		const struct resolved *p = &to->at[i];

		text_add_str(text, i > 0 ? " " : "");
		if (p->leads == LEADS_HERE)
			text_printf(text, "%s%s%s", p->home, p->folder ? "/" : "",
				p->folder ? p->folder : "");
		else if (p->leads == LEADS_ELSEWHERE)
			text_printf(text, "%s>%s%s", p->address,
				p->transport == TRANSPORT_SMTP		? "smtp:"
					: p->transport == TRANSPORT_LMTP ? "lmtp:"
									 : "",
				p->next_hop);
		else
			text_add_str(text, "discard");
		if (p->sender != NULL)
			text_printf(text, "(%s)", p->sender);
	}
}

static void
check(struct resolver *r, const struct row *row)
{
	struct resolution to;
	enum leads_to leads;

	resolution_init(&to);
	resolve(r, &settings, span_str(row->address), false, row->may_relay, &to);
	leads = to.count == 0 ? LEADS_NOWHERE : to.at[0].leads;
	if (leads != row->leads || to.verdict.code != row->code ||
	    !span_equal(to.verdict.status, span_str(row->status)))
		fprintf(stderr, "of %s: %u %.*s\n", row->address, (unsigned int)to.verdict.code,
			SPAN_ARG(to.verdict.status));
	assert_int_equal(leads, row->leads);
	assert_int_equal(to.verdict.code, row->code);
	assert_true(span_equal(to.verdict.status, span_str(row->status)));
	if (leads == LEADS_HERE) {
		assert_string_equal(to.at[0].home, row->home);
		assert_int_equal(to.at[0].uid, geteuid());
	}
	resolution_clear(&to);
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

/* user@[address] is local where the address is this server's, its own or its router's (RFC 5321 4.1.3); for strangers
 * too, and it makes nobody a relay. */
static void
literals_of_ours_lead_home(void **state)
{
	static const struct row ours[] = {
		{ "ana@[192.168.1.2]", false, LEADS_HERE, 250, "2.1.5", "example.org/ana" },
		{ "ana@[203.0.113.1]", false, LEADS_HERE, 250, "2.1.5", "example.org/ana" },
		{ "ana@[IPv6:2001:db8::2]", true, LEADS_HERE, 250, "2.1.5", "example.org/ana" },
		{ "postmaster@[203.0.113.1]", false, LEADS_HERE, 250, "2.1.5", "example.org/zoe" },
		{ "nobody@[203.0.113.1]", false, LEADS_NOWHERE, 550, "5.1.1", NOT_HERE },
		{ "ana@[203.0.113.2]", false, LEADS_NOWHERE, 550, "5.7.1", NOT_HERE },
		{ "ana@[203.0.113.2]", true, LEADS_ELSEWHERE, 250, "2.1.5", NOT_HERE },
		{ "ana@203.0.113.1", false, LEADS_NOWHERE, 550, "5.7.1", NOT_HERE },
	};
	struct resolver r;

	(void)state;
	ourselves_came(SPAN("192.168.1.2"));
	ourselves_came(SPAN("2001:db8::2"));
	ourselves_public(SPAN("203.0.113.1"));
	resolver_init(&r, users);
	for (size_t i = 0; i < ROWS_OF(ours); i++)
		check(&r, &ours[i]);
	resolver_clear(&r);
	ourselves_gone(SPAN("192.168.1.2"));
	ourselves_gone(SPAN("2001:db8::2"));
	ourselves_public(SPAN_NONE);
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

/* Of a record that is not ours nothing is believed; it is our fault, so nobody's mail is sent back. */
static void
i4_damaged_records_mean_later(void **state)
{
	static const struct row row = { "ana@example.org", false, LEADS_NOWHERE, 451, "4.3.0",
		NOT_HERE },
		detail = { "ana+lists@example.org", false, LEADS_NOWHERE, 451, "4.3.0", NOT_HERE };
	struct table_build *b = table_build_begin(rig.state, USERS_TABLE);
	struct resolver r;

	(void)state;
	assert_int_equal(table_build_put(b, SPAN("ana@example.org"), SPAN("\1\2\3rubbish")), 0);
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	resolver_init(&r, users);
	check(&r, &row);
	check(&r, &detail);
	resolver_clear(&r);
	rig_users(&rig, some);
}

/* --- aliases --- */

static void
aliases_are(const char *const *line, enum table_kind kind)
{
	static const char *const names[] = {
#define T(symbol, name, help) name ".db",
		TABLES(T)
#undef T
	};
	struct table_build *b = table_build_begin(rig.state, names[kind]);
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY), list = TEXT_UP_TO(MOST_ALIAS_BYTES),
		    member = TEXT_UP_TO(MOST_ALIAS_MEMBER);

	for (; *line != NULL; line++) {
		struct span in = span_str(*line), word;
		struct alias_head head = { 1234, 1234, 1 };
		struct alias_member m;
		const char *why = "";

		if (kind != TABLE_ALIASES) {
			assert_true(span_take_until(&in, ' ', &word));
			assert_int_equal(table_build_put(b, word, in), 0);
			continue;
		}
		assert_int_equal(alias_name_take(&in, &key, &why), 1);
		text_reset(&list);
		while (alias_member_take(&in, &member, &m, &why) == 1)
			alias_encode(&m, &list);
		assert_int_equal(alias_store(b, text_span(&key), &head, text_span(&list)), 0);
	}
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	text_clear(&key);
	text_clear(&list);
	text_clear(&member);
}

static const char *const some_aliases[] = {
	"info: ana", "ana: zoe",                    /* the user ana goes before the alias */
	"team: ana, zoe, ana, far@away.example, FAR@Away.example",
	"info@second.example: zoe", "all+one: zoe",
	"loop-a: loop-b", "loop-b: loop-a", "self: self", "deep: ana, loop-a",
	"list: ana, far@away.example", "owner-list: zoe", "list-request: zoe",
	"nest: list, zoe", "gone: nobody", "mixed: nobody, ana", "empty:",
	"bare@virtual.example: ana", "@virtual.example: zoe", "@mapped.example: @example.org",
	"final: \\ana", "tail: other@virtual.example", "prog: \"|/bin/cat -n\", /var/box",
	"@example.org: zoe", "b@backup.example: ana, b@backup.example",
	NULL,
};
static const char *const some_transports[] = {
	"lmtp.example lmtp:unix:/run/x", ".below.example smtp:hub.example:2525",
	"drop@away.example discard:", "gone.example error:5.1.10 moved away",
	"x@away.example smtp:[192.0.2.1]", "bad.example nonsense", NULL,
};
static const char *const some_canonicals[] = {
	"old-ana@example.org ana@example.org", "@renamed.example @example.org", "bad@example.org x y",
	NULL,
};

static const struct {
	const char *address, *leads;
	uint16_t code;
} expansions[] = {
	/* Exact user, then alias, then detail, then catch-all. */
	{ "ana@example.org", "example.org/ana", 250 },
	{ "info@example.org", "example.org/ana", 250 },
	{ "info@second.example", "example.org/zoe", 250 },
	{ "all+one@example.org", "example.org/zoe", 250 },
	{ "ana+Work@example.org", "example.org/ana/Work", 250 },
	{ "ana+a+b@example.org", "example.org/ana/a+b", 250 },
	{ "info+x@example.org", "example.org/ana", 250 },
	{ "whoever@example.org", "example.org/zoe", 250 },
	{ "whoever@second.example", "", 550 },
	{ "old+x@example.org", "", 550 },           /* disabled, whatever catches all */
	{ "postmaster@second.example", "example.org/zoe", 250 },
	/* Lists: everybody once. */
	{ "team@example.org", "example.org/ana example.org/zoe far@away.example>away.example", 250 },
	{ "nest@example.org", "example.org/ana(owner-list@example.org) "
		"far@away.example>away.example(owner-list@example.org) example.org/zoe", 250 },
	{ "list@example.org", "example.org/ana(owner-list@example.org) "
		"far@away.example>away.example(owner-list@example.org)", 250 },
	{ "owner-list@example.org", "example.org/zoe", 250 },
	{ "list-request@example.org", "example.org/zoe", 250 },
	{ "mixed@second.example", "example.org/ana", 250 },  /* one that is nobody harms no other */
	{ "mixed@example.org", "example.org/zoe example.org/ana", 250 },
	{ "gone@second.example", "", 550 },
	{ "empty@example.org", "", 550 },
	{ "final@example.org", "example.org/ana", 250 },
	/* F5 */
	{ "loop-a@example.org", "", 554 },
	{ "deep@example.org", "", 554 },
	{ "self@example.org", "", 550 },
	/* Domains of aliases, of others, and behind us. */
	{ "bare@virtual.example", "example.org/ana", 250 },
	{ "Any@virtual.example", "example.org/zoe", 250 },
	{ "info@mapped.example", "example.org/ana", 250 },
	{ "tail@example.org", "example.org/zoe", 250 },
	{ "a@backup.example", "a@backup.example>backup.example", 250 },
	{ "b@backup.example", "example.org/ana b@backup.example>backup.example", 250 },
	{ "A.B@lmtp.example", "A.B@lmtp.example>lmtp:/run/x", 250 },
	{ "a@host.below.example", "a@host.below.example>smtp:hub.example:2525", 250 },
	{ "drop@away.example", "discard", 250 },
	{ "x@away.example", "x@away.example>smtp:[192.0.2.1]", 250 },
	{ "a@gone.example", "", 550 },
	{ "a@bad.example", "", 451 },
	/* Canonical. */
	{ "old-ana@example.org", "example.org/ana", 250 },
	{ "ana@renamed.example", "example.org/ana", 250 },
	{ "bad@example.org", "example.org/zoe", 250 },
	/* Nothing is run, and nothing but Maildirs is written. */
	{ "prog@example.org", "", 550 },
};

static struct span alias_domains[] = { { (const unsigned char *)"virtual.example", 15 },
	{ (const unsigned char *)"mapped.example", 14 } };
static struct span sockets[] = { { (const unsigned char *)"/run/x", 6 } };
static struct span relay_domains[] = { { (const unsigned char *)"backup.example", 14 },
	{ (const unsigned char *)"lmtp.example", 12 } };

static void
with_aliases(struct resolver *r)
{
	aliases_are(some_aliases, TABLE_ALIASES);
	aliases_are(some_transports, TABLE_TRANSPORT);
	aliases_are(some_canonicals, TABLE_CANONICAL);
	settings.alias_domains = (struct list){ alias_domains, ROWS_OF(alias_domains) };
	settings.relay_domains = (struct list){ relay_domains, ROWS_OF(relay_domains) };
	settings.lmtp_sockets = (struct list){ sockets, ROWS_OF(sockets) };
	settings.subaddress_separators = SPAN("+");
	resolver_init(r, users);
	resolver_open(r, rig.state);
}

static const struct {
	const char *address, *leads;
} of_root[] = {
	{ "root@example.org", "example.org/zoe" },
	{ "root@second.example", "example.org/ana" },
	{ "postmaster@example.org", "example.org/ana" },
	{ "root@virtual.example", "example.org/zoe" },
	{ "root@mapped.example", "example.org/zoe" },
};

static void
the_first_rule_that_fits_decides(void **state)
{
	struct resolver r;
	struct resolution to;
	struct text got = TEXT_UP_TO(4096);

	(void)state;
	with_aliases(&r);
	resolution_init(&to);
	for (size_t i = 0; i < ROWS_OF(expansions); i++) {
		resolve(&r, &settings, span_str(expansions[i].address), false, true, &to);
		show(&to, &got);
		expect_text(expansions[i].address, text_span(&got), expansions[i].leads);
		if (to.verdict.code != expansions[i].code)
			fprintf(stderr, "of %s: %u\n", expansions[i].address, to.verdict.code);
		assert_int_equal(to.verdict.code, expansions[i].code);
		/* What was found once leads to the same place, without aliases. */
		for (uint32_t n = 0; n < to.count; n++) {
			struct resolution again;

			resolution_init(&again);
			resolve_again(&r, &settings, span_str(to.at[n].address), &again);
			assert_int_equal(again.count, 1);
			assert_int_equal(again.at[0].leads, to.at[n].leads);
			if (to.at[n].home != NULL)
				assert_string_equal(again.at[0].home, to.at[n].home);
			resolution_clear(&again);
		}
	}
	/* A stranger reaches nothing more than before. */
	resolve(&r, &settings, SPAN("drop@away.example"), false, false, &to);
	assert_int_equal(to.verdict.code, 550);
	resolve(&r, &settings, SPAN("a@backup.example"), false, false, &to);
	assert_int_equal(to.verdict.code, 250);
	settings.relay_recipients_listed = true;
	resolve(&r, &settings, SPAN("a@backup.example"), false, false, &to);
	assert_int_equal(to.verdict.code, 550);
	settings.relay_recipients_listed = false;
	/* Root has whoever is postmaster only where nothing catches all; postmaster himself goes before that. */
	settings.postmaster = SPAN("ana@example.org");
	for (size_t i = 0; i < ROWS_OF(of_root); i++) {
		resolve(&r, &settings, span_str(of_root[i].address), false, false, &to);
		show(&to, &got);
		expect_text(of_root[i].address, text_span(&got), of_root[i].leads);
	}
	settings.postmaster = SPAN_NONE;
	resolution_clear(&to);
	text_clear(&got);
	resolver_clear(&r);
}

/* F5: a chain of a thousand, a fan of ten thousand, and ten thousand who name each other. */
static void
f5_expansion_is_bounded(void **state)
{
	char *lines[1002] = { NULL };
	struct resolver r;
	struct resolution to;
	struct text fan = TEXT_UP_TO(4 * 1024 * 1024);
	const char *wide[4] = { NULL };

	(void)state;
	for (unsigned int i = 0; i <= 1000; i++)
		assert_true(asprintf(&lines[i], "c%u: c%u", i, i + 1) > 0);
	aliases_are((const char *const *)lines, TABLE_ALIASES);
	settings.subaddress_separators = SPAN("+");
	resolver_init(&r, users);
	resolver_open(&r, rig.state);
	resolution_init(&to);
	resolve(&r, &settings, SPAN("c0@example.org"), false, false, &to);
	assert_int_equal(to.verdict.code, 554);
	assert_true(span_equal(to.verdict.status, SPAN("5.4.6")));
	resolve(&r, &settings, SPAN("c960@example.org"), false, false, &to);
	assert_int_equal(to.verdict.code, 550);
	for (unsigned int i = 0; i <= 1000; i++)
		free(lines[i]);

	text_add_str(&fan, "wide: ");
	for (unsigned int i = 0; i < MOST_EXPANSION; i++)
		text_printf(&fan, "m%u@far.example,", i);
	wide[0] = text_str(&fan);
	wide[1] = "wider: wide, one-more@far.example";
	wide[2] = "widest: wider, wide, wide, wide";
	aliases_are(wide, TABLE_ALIASES);
	resolve(&r, &settings, SPAN("wide@example.org"), false, false, &to);
	assert_int_equal(to.count, MOST_EXPANSION);
	resolve(&r, &settings, SPAN("wider@example.org"), false, false, &to);
	assert_int_equal(to.verdict.code, 554);
	assert_int_equal(to.count, 0);
	resolve(&r, &settings, SPAN("widest@example.org"), false, false, &to);
	assert_int_equal(to.verdict.code, 554);
	resolution_clear(&to);
	text_clear(&fan);
	resolver_clear(&r);
}

static void
senders_are_rewritten(void **state)
{
	static const struct {
		const char *sender, *expected;
	} rows_of_senders[] = {
		{ "", "" }, { "ana@example.org", "ana@example.org" },
		{ "ana@host.example.org", "ana@example.org" },
		{ "ana@a.b.EXAMPLE.org", "ana@example.org" },
		{ "ana@notexample.org", "ana@notexample.org" },
		{ "old-ana@example.org", "ana@example.org" },
		{ "x@renamed.example", "x@example.org" },
	};
	struct text to = TEXT_UP_TO(MOST_ADDRESS);
	struct resolver r;

	(void)state;
	with_aliases(&r);
	settings.masquerade_domains = (struct list){ domains, 1 };
	for (size_t i = 0; i < ROWS_OF(rows_of_senders); i++) {
		rewrite_sender(&r, &settings, span_str(rows_of_senders[i].sender), &to);
		expect_text(rows_of_senders[i].sender, text_span(&to), rows_of_senders[i].expected);
	}
	text_clear(&to);
	resolver_clear(&r);
}

/* The separators are the administrator's, each of them, the first in the address; with none there are no details. */
static void
separators_are_a_choice(void **state)
{
	static const struct {
		const char *separators, *address, *leads;
	} choices[] = {
		{ "+", "abuse+x@second.example", "second.example/a/x" },
		{ "+", "abuse-x@second.example", "" },
		{ "-", "abuse-x@second.example", "second.example/a/x" },
		{ "-", "abuse+x@second.example", "" },
		{ "-+=", "abuse=x-y+z@second.example", "second.example/a/x-y+z" },
		{ "-+=", "abuse-x=y@second.example", "second.example/a/x=y" },
		{ "+", "abuse+@second.example", "second.example/a" },
		{ "+", "+abuse@second.example", "" },
		{ "+", "\"abuse+x\"@second.example", "" },    /* what stands in quotes is a name as a whole */
		{ "", "abuse+x@second.example", "" },
		{ "", "abuse@second.example", "second.example/a" },
		/* Who has one in his name is found by it. */
		{ "+", "all+one@example.org", "example.org/zoe" },
	};
	struct resolver r;
	struct resolution to;
	struct text got = TEXT_UP_TO(4096);

	(void)state;
	with_aliases(&r);
	resolution_init(&to);
	for (size_t i = 0; i < ROWS_OF(choices); i++) {
		settings.subaddress_separators = span_str(choices[i].separators);
		resolve(&r, &settings, span_str(choices[i].address), false, true, &to);
		show(&to, &got);
		expect_text(choices[i].address, text_span(&got), choices[i].leads);
		assert_int_equal(to.verdict.code, choices[i].leads[0] ? 250 : 550);
	}
	settings.subaddress_separators = SPAN("+");
	resolution_clear(&to);
	text_clear(&got);
	resolver_clear(&r);
}

/* The tables of one side go before that of both, and change nothing on the other. */
static void
each_side_is_rewritten_by_its_own(void **state)
{
	static const char *const senders[] = { "old-ana@example.org zoe@example.org", "s@example.org seen@example.org", NULL };
	static const char *const recipients[] = { "old-ana@example.org abuse@second.example", "r@example.org seen@example.org", NULL };
	static const struct {
		const char *address, *as_sender, *as_recipient;
	} both[] = {
		{ "old-ana@example.org", "zoe@example.org", "abuse@second.example" },
		{ "s@example.org", "seen@example.org", "s@example.org" },
		{ "r@example.org", "r@example.org", "seen@example.org" },
		{ "x@renamed.example", "x@example.org", "x@example.org" },
		{ "bad@example.org", "bad@example.org", "bad@example.org" },
		{ "OLD-Ana@EXAMPLE.org", "zoe@example.org", "abuse@second.example" },
	};
	struct text to = TEXT_UP_TO(MOST_ADDRESS);
	struct resolver r;

	(void)state;
	aliases_are(senders, TABLE_SENDER_CANONICAL);
	aliases_are(recipients, TABLE_RECIPIENT_CANONICAL);
	settings.masquerade_domains = (struct list){ NULL, 0 };
	with_aliases(&r);
	for (size_t i = 0; i < ROWS_OF(both); i++) {
		rewrite_sender(&r, &settings, span_str(both[i].address), &to);
		expect_text(both[i].address, text_span(&to), both[i].as_sender);
		rewrite_recipient(&r, span_str(both[i].address), &to);
		expect_text(both[i].address, text_span(&to), both[i].as_recipient);
	}
	text_clear(&to);
	resolver_clear(&r);
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
		cmocka_unit_test(literals_of_ours_lead_home),
		cmocka_unit_test(postmaster_is_who_the_settings_say),
		cmocka_unit_test(the_first_user_may_go),
		cmocka_unit_test(the_first_rule_that_fits_decides),
		cmocka_unit_test(f5_expansion_is_bounded),
		cmocka_unit_test(senders_are_rewritten),
		cmocka_unit_test(separators_are_a_choice),
		cmocka_unit_test(each_side_is_rewritten_by_its_own),
		cmocka_unit_test(i4_damaged_records_mean_later),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
