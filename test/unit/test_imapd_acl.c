/* Rights of mailboxes: letters, the file, Dovecot's, what a damaged one gives, and who gets what. */
#include "imapd_rig.h"

#include "imapd/acl.h"

#include <errno.h>

#define OWNER SPAN("ana@x.example")
#define BOB SPAN("bob@x.example")
#define EVE SPAN("eve@y.example")

static void
put_file(struct place *p, const char *name, const char *content)
{
	int fd = openat(p->maildir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	close(fd);
}

static unsigned int
rights(struct place *p, struct span member)
{
	return acl_folder_rights(&p->store, "", member, OWNER);
}

static void
test_letters(void **state)
{
	struct text out = TEXT_UP_TO(100);
	unsigned int r;

	(void)state;
	assert_true(rights_take(SPAN("lrswipkxtea"), &r));
	assert_int_equal(r, RIGHTS_ALL);
	assert_true(rights_take(SPAN("cd"), &r));          /* RFC 4314 2.1.1 */
	assert_int_equal(r, RIGHT_CREATE | RIGHT_DELETE | RIGHT_TRASH | RIGHT_EXPUNGE);
	assert_true(rights_take(SPAN(""), &r));
	assert_int_equal(r, 0);
	assert_false(rights_take(SPAN("lrz"), &r));
	assert_false(rights_take(SPAN("L"), &r));
	assert_false(rights_take(SPAN("l\0r"), &r));
	rights_write(RIGHT_READ | RIGHT_TRASH, &out);
	assert_string_equal(text_str(&out), "rtd");
	text_clear(&out);
}

static void
test_identifiers(void **state)
{
	static const char *const bad[] = { "", "bob", "@x", "bob@", "a@b@c", "a b@c", "a\"@c", "a/b@c", "a\\@c",
		"a\n@c", "Anyone" };
	struct text key = TEXT_UP_TO(MOST_ACL_IDENTIFIER);
	char longest[MOST_ACL_IDENTIFIER + 3];

	(void)state;
	assert_true(acl_identifier(SPAN("Bob@X.Example"), &key));
	assert_string_equal(text_str(&key), "bob@x.example");
	text_reset(&key);
	assert_true(acl_identifier(SPAN("anyone"), &key));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(acl_identifier(span_str(bad[i]), &key));
	assert_false(acl_identifier(SPAN("a\0b@c"), &key));
	memset(longest, 'a', sizeof(longest));
	longest[1] = '@';
	text_reset(&key);
	assert_true(acl_identifier(span_of(longest, MOST_ACL_IDENTIFIER), &key));
	assert_false(acl_identifier(span_of(longest, MOST_ACL_IDENTIFIER + 1), &key));
	text_clear(&key);
}

static void
test_file(void **state)
{
	struct place *p = *state;
	struct acl *acl = calloc(1, sizeof(*acl));
	struct acl_members members;
	size_t looks = 0;

	assert_int_equal(rights(p, BOB), 0);
	assert_int_equal(acl_read(&p->store, "", acl), 0);
	assert_int_equal(acl->count, 0);
	assert_true(acl_set(acl, false, BOB, RIGHT_LOOKUP | RIGHT_READ | RIGHT_SEEN));
	assert_true(acl_set(acl, false, SPAN("anyone"), RIGHT_LOOKUP));
	assert_true(acl_set(acl, true, BOB, RIGHT_SEEN));
	assert_int_equal(acl_write(&p->store, "", acl), 0);
	acl_clear(acl);
	assert_int_equal(rights(p, BOB), RIGHT_LOOKUP | RIGHT_READ);
	assert_int_equal(rights(p, SPAN("carl@X.EXAMPLE")), RIGHT_LOOKUP);
	assert_int_equal(rights(p, EVE), 0);               /* of another domain */
	assert_int_equal(rights(p, SPAN("bob@x.example.org")), 0);
	assert_int_equal(acl_members_begin(&p->store, &members), 0);
	while (acl_members_next(&p->store, &members) > 0)
		looks++;
	assert_int_equal(looks, members.folders.count);
	assert_string_equal(text_str(&members.members), "bob@x.example\nanyone\n");
	acl_members_clear(&members);
	assert_int_equal(acl_read(&p->store, "", acl), 0);
	assert_true(acl_set(acl, false, BOB, 0));          /* removed */
	assert_null(acl_find(acl, false, BOB));
	assert_non_null(acl_find(acl, true, BOB));
	acl_clear(acl);
	assert_int_equal(acl_read(&p->store, ".Nothere", acl), -1);
	assert_int_equal(errno, ENOENT);
	acl_clear(acl);
	free(acl);
}

/* Of Dovecot's file users and anyone count; while there is one of ours, nothing of it. */
static void
test_dovecot(void **state)
{
	struct place *p = *state;

	put_file(p, ACL_DOVECOT_FILE, "# comment\nowner lrwstipekxa\nuser=bob@x.example lrs\n\"user=eve@y.example\" lr\n"
		"group=staff lrwstipekxa\n-user=bob@x.example s\nauthenticated l\n");
	assert_int_equal(rights(p, BOB), RIGHT_LOOKUP | RIGHT_READ);
	assert_int_equal(rights(p, EVE), RIGHT_LOOKUP | RIGHT_READ);
	assert_int_equal(rights(p, SPAN("carl@x.example")), RIGHT_LOOKUP);
	put_file(p, ACL_FILE, "user=eve@y.example l\n");
	assert_int_equal(rights(p, BOB), 0);
	assert_int_equal(rights(p, EVE), RIGHT_LOOKUP);
}

/* What was taken over stays readable when an entry is added and the file is written as ours. */
static void
test_written_as_it_was_read(void **state)
{
	struct place *p = *state;
	struct acl *acl = calloc(1, sizeof(*acl));

	put_file(p, ACL_DOVECOT_FILE, "\"-user=carl with a space@x.example\" lr\nanyone l\n");
	assert_int_equal(acl_read(&p->store, "", acl), 0);
	assert_true(acl_set(acl, false, BOB, RIGHT_READ));
	assert_int_equal(acl_write(&p->store, "", acl), 0);
	acl_clear(acl);
	assert_int_equal(rights(p, BOB), RIGHT_LOOKUP | RIGHT_READ);
	assert_int_equal(acl_read(&p->store, "", acl), 0);
	assert_non_null(acl_find(acl, true, SPAN("carl with a space@x.example")));
	acl_clear(acl);
	free(acl);
}

static void
test_damaged_gives_nobody_any(void **state)
{
	static const char *const bad[] = { "user=bob@x.example lrs\nuser=eve@y.example lrz\n",
		"user=bob@x.example lrs\nnonsense\n", "user=bob@x.example lrs\nuser= lr\n",
		"user=bob@x.example lr\n-\n", "user=bob@x.example lr\nuser=a\"b@x.example l\n" };
	struct place *p = *state;
	char *large = calloc(1, MOST_ACL_FILE + 2);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_file(p, ACL_FILE, bad[i]);
		assert_int_equal(rights(p, BOB), 0);
	}
	memset(large, '\n', MOST_ACL_FILE + 1);
	memcpy(large, "user=bob@x.example lrs\n", 23);
	put_file(p, ACL_FILE, large);
	assert_int_equal(rights(p, BOB), 0);
	large[MOST_ACL_FILE] = '\0';
	put_file(p, ACL_FILE, large);
	assert_int_equal(rights(p, BOB), RIGHT_LOOKUP | RIGHT_READ | RIGHT_SEEN);
	free(large);
	/* A link is not followed. */
	assert_int_equal(unlinkat(p->maildir, ACL_FILE, 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", p->maildir, ACL_FILE), 0);
	assert_int_equal(rights(p, BOB), 0);
}

int
main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		ROW(test_letters),
		ROW(test_identifiers),
		ROW(test_file),
		ROW(test_dovecot),
		ROW(test_written_as_it_was_read),
		ROW(test_damaged_gives_nobody_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
