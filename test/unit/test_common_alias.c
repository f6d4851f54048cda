/* aliases(5): members and names as text; what is stored is loaded; what is damaged is absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/alias.h"
#include "delivery_rig.h"

static const struct member_row {
	const char *in;
	int result;
	enum alias_kind kind;
	const char *text, *rest;
} members[] = {
	{ "ana", 1, ALIAS_ADDRESS, "ana", "" },
	{ " ana , ben", 1, ALIAS_ADDRESS, "ana", " ben" },
	{ "ana\n\tben", 1, ALIAS_ADDRESS, "ana", "\n\tben" },
	{ ",, ana", 1, ALIAS_ADDRESS, "ana", "" },
	{ "# all\nana", 1, ALIAS_ADDRESS, "ana", "" },
	{ "ana@example.org", 1, ALIAS_ADDRESS, "ana@example.org", "" },
	{ "Ana Diaz <ana@example.org>", 1, ALIAS_ADDRESS, "ana@example.org", "" },
	{ "\"a b\"@example.org,c", 1, ALIAS_ADDRESS, "\"a b\"@example.org", "c" },
	{ "\\ana", 1, ALIAS_FINAL, "ana", "" },
	{ "/var/mail/all", 1, ALIAS_FILE, "/var/mail/all", "" },
	{ "\"/var/my mail\"", 1, ALIAS_FILE, "/var/my mail", "" },
	{ "|/bin/vacation ana", 1, ALIAS_COMMAND, "/bin/vacation ana", "" },
	{ "\"|/bin/vacation -a, ana\", b", 1, ALIAS_COMMAND, "/bin/vacation -a, ana", " b" },
	{ "|\"/bin/x a\"", 1, ALIAS_COMMAND, "/bin/x a", "" },
	{ "| /bin/x", 1, ALIAS_COMMAND, "/bin/x", "" },
	{ ":include:/etc/list", 1, ALIAS_INCLUDE, "/etc/list", "" },
	{ "\":include:/etc/my list\"", 1, ALIAS_INCLUDE, "/etc/my list", "" },
	{ "", 0, 0, NULL, "" },
	{ " , \n # nothing", 0, 0, NULL, "" },
	{ "\"ana", -1, 0, NULL, NULL },
	{ "\"a\nb\"", -1, 0, NULL, NULL },
	{ "\"\"", -1, 0, NULL, NULL },
	{ "|id", -1, 0, NULL, NULL },
	{ "|", -1, 0, NULL, NULL },
	{ ":include:list", -1, 0, NULL, NULL },
	{ ":fail: no", -1, 0, NULL, NULL },
	{ "\"a\x01\"", -1, 0, NULL, NULL },
};

static void
members_are_taken(void **state)
{
	struct text text = TEXT_UP_TO(MOST_ALIAS_MEMBER);

	(void)state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const struct member_row *row = &members[i];
		struct span in = span_str(row->in);
		struct alias_member m;
		const char *why = NULL;
		int result = alias_member_take(&in, &text, &m, &why);

		if (result != row->result)
			fprintf(stderr, "of %s: %d %s\n", row->in, result, why ? why : "");
		assert_int_equal(result, row->result);
		if (result < 0)
			assert_non_null(why);
		if (result <= 0)
			continue;
		assert_int_equal(m.kind, row->kind);
		assert_true(span_equal(m.text, span_str(row->text)));
		assert_true(span_equal(in, span_str(row->rest)));
	}
	text_clear(&text);
}

static const struct {
	const char *in, *key;
} names[] = {
	{ "Postmaster:", "postmaster" }, { "owner-list : x", "owner-list" },
	{ "\"Ana Diaz\": x", "\"ana diaz\"" }, { "Info@Example.ORG:", "info@example.org" },
	{ "@Example.org:", "@example.org" }, { "\"a\"@example.org:", "a@example.org" },
	{ "a", NULL }, { ":", NULL }, { "a@:", NULL }, { "@:", NULL }, { "@a b:", NULL },
	{ "a@[192.0.2.1]:", NULL }, { "\"a: b", NULL },
};

static void
names_become_keys(void **state)
{
	struct text key = TEXT_UP_TO(MOST_ALIAS_KEY);

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct span in = span_str(names[i].in);
		const char *why;
		int result = alias_name_take(&in, &key, &why);

		if ((result == 1) != (names[i].key != NULL))
			fprintf(stderr, "of %s: %d\n", names[i].in, result);
		assert_int_equal(result, names[i].key != NULL ? 1 : -1);
		if (names[i].key != NULL && !span_equal(text_span(&key), span_str(names[i].key)))
			fprintf(stderr, "of %s: %.*s\n", names[i].in, SPAN_ARG(text_span(&key)));
		if (names[i].key != NULL)
			assert_true(span_equal(text_span(&key), span_str(names[i].key)));
	}
	text_clear(&key);
}

#define BIG 30000

static void
what_is_stored_is_loaded(void **state)
{
	struct place_rig rig;
	struct table_build *b;
	struct table *t;
	struct text list = TEXT_UP_TO(MOST_ALIAS_BYTES), back = TEXT_UP_TO(MOST_ALIAS_BYTES);
	struct alias_head head = { 7, 8, 9 }, found;
	char name[64];

	(void)state;
	rig_make(&rig);
	for (unsigned int i = 0; i < BIG; i++) {
		snprintf(name, sizeof(name), "member-%u@far.example", i);
		alias_encode(&(struct alias_member){ ALIAS_ADDRESS, span_str(name) }, &list);
	}
	assert_false(list.failed);
	b = table_build_begin(rig.state, ALIASES_TABLE);
	assert_int_equal(alias_store(b, SPAN("big"), &head, text_span(&list)), 0);
	assert_int_equal(alias_store(b, SPAN("none"), &head, SPAN_NONE), 0);
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
	t = table_reader(rig.state, ALIASES_TABLE);
	assert_int_equal(alias_load(t, SPAN("big"), &found, &back), TABLE_FOUND);
	assert_true(found.uid == 7 && found.gid == 8 && found.line == 9);
	assert_true(span_equal(text_span(&back), text_span(&list)));
	assert_int_equal(alias_load(t, SPAN("none"), &found, &back), TABLE_FOUND);
	assert_int_equal(back.len, 0);
	assert_int_equal(alias_load(t, SPAN("other"), &found, &back), TABLE_NONE);
	assert_int_equal(alias_load(t, SPAN("big\0" "1"), &found, &back), TABLE_NONE);
	table_free(&t);
	text_clear(&list);
	text_clear(&back);
	rig_remove(&rig);
}

/* I4: whatever lies in the table is read without harm, and counts as absent. */
static void
i4_damaged_records_are_absent(void **state)
{
	static const char good[] = "\1\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\6\0\0\0\1\1\0\0\0a";
	struct place_rig rig;
	struct text back = TEXT_UP_TO(MOST_ALIAS_BYTES);
	struct alias_head head;
	struct alias_member m;

	(void)state;
	rig_make(&rig);
	for (size_t len = 0; len <= sizeof(good) - 1; len++) {
		struct table_build *b = table_build_begin(rig.state, ALIASES_TABLE);
		struct span list;
		struct table *t;

		assert_int_equal(table_build_put(b, SPAN("a"), span_of(good, len)), 0);
		assert_int_equal(table_build_put(b, SPAN("v"), SPAN("\2\0\0\0\0\0\0\0\0")), 0);
		assert_int_equal(table_build_put(b, SPAN("p"),
			SPAN("\1\0\0\0\0\0\0\0\0\1\0\0\0\xff\xff\xff\xff\0\0\0\0")), 0);
		assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
		t = table_reader(rig.state, ALIASES_TABLE);
		assert_int_equal(alias_load(t, SPAN("a"), &head, &back),
			len == sizeof(good) - 1 ? TABLE_FOUND : TABLE_NONE);
		assert_int_equal(alias_load(t, SPAN("v"), &head, &back), TABLE_NONE);
		assert_int_equal(alias_load(t, SPAN("p"), &head, &back), TABLE_NONE);
		alias_load(t, SPAN("a"), &head, &back);
		list = text_span(&back);
		assert_int_equal(alias_decode(&list, &m), len == sizeof(good) - 1);
		table_free(&t);
	}
	text_clear(&back);
	rig_remove(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_taken),
		cmocka_unit_test(names_become_keys),
		cmocka_unit_test(what_is_stored_is_loaded),
		cmocka_unit_test(i4_damaged_records_are_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
