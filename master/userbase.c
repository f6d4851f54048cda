/*
 * userbase - users.db and passwd.db, as the command changes them.
 *
 * A user can log in when he is in both tables and gets mail when he is in users.db. So adding
 * writes passwd.db first, removing users.db first: a crash between the two leaves a password
 * without a user, which means nothing, and never a user without a password of his own.
 */
#include "master/userbase.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <config.h>

#include "common/table.h"

struct userbase {
	int users_directory, passwords_directory;
	struct table *users, *passwords;
};

/* One change to one table: the key is put with `value`, or left out when `value` is empty. */
struct change {
	struct table_build *build;
	struct span key, value;
	bool failed;
};

struct userbase *
userbase_open(const struct paths *p, struct text *why)
{
	struct userbase *b = must_alloc(sizeof *b);
	int error;

	b->users_directory = open(p->tables, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->passwords_directory = open(p->passwords, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->users_directory >= 0 && b->passwords_directory >= 0) {
		b->users = table_reader(b->users_directory, USERS_TABLE);
		b->passwords = table_reader(b->passwords_directory, PASSWD_TABLE);
	}
	if (b->users && b->passwords)
		return b;
	error = errno;
	text_printf(why, "%s: %s", b->users_directory < 0 ? p->tables : p->passwords,
		strerror(error));
	userbase_close(&b);
	errno = error;
	return NULL;
}

void
userbase_close(struct userbase **b)
{
	if (!*b)
		return;
	table_free(&(*b)->users);
	table_free(&(*b)->passwords);
	if ((*b)->users_directory >= 0)
		close((*b)->users_directory);
	if ((*b)->passwords_directory >= 0)
		close((*b)->passwords_directory);
	free(*b);
	*b = NULL;
}

bool
userbase_find(struct userbase *b, struct span key, struct text *value, struct user *u)
{
	text_reset(value);
	return table_get(b->users, key, value) == TABLE_FOUND &&
		user_decode(key, text_span(value), u);
}

bool
userbase_secret(struct userbase *b, struct span key, struct text *value, struct password *p)
{
	text_reset(value);
	return table_get(b->passwords, key, value) == TABLE_FOUND &&
		password_decode(text_span(value), p);
}

/* --- looking through --- */

struct each {
	bool (*row)(void *me, const struct user *u);
	void *me;
};

static bool
each_row(void *me, struct span key, struct span value)
{
	const struct each *e = me;
	struct user u;

	/* A record that we cannot read is not ours to show, and not a reason to stop. */
	return !user_decode(key, value, &u) || e->row(e->me, &u);
}

bool
userbase_each(struct userbase *b, bool (*row)(void *me, const struct user *u), void *me)
{
	struct each e = { row, me };

	return table_each(b->users, each_row, &e) == 0;
}

/* --- changing --- */

static bool
copy_row(void *me, struct span key, struct span value)
{
	struct change *c = me;

	if (span_equal(key, c->key))
		return true;
	if (table_build_put(c->build, key, value) < 0)
		c->failed = true;
	return !c->failed;
}

/* Fills an open build: the old rows, with the change. */
static bool
fill(struct change *c, struct table *old)
{
	if (table_each(old, copy_row, c) < 0 || c->failed)
		return false;
	return c->value.len == 0 || table_build_put(c->build, c->key, c->value) == 0;
}

/* As root the tables belong to root, and are readable by one group each. */
static bool
commit(struct table_build **build, const char *group)
{
	struct group *g;

	if (geteuid() != 0)
		return table_build_commit(build, 0600, -1, -1) == 0;
	if (!(g = getgrnam(group))) {
		errno = ENOENT;
		return false;
	}
	return table_build_commit(build, 0640, 0, (long)g->gr_gid) == 0;
}

static bool
commit_users(struct change *users)
{
	return commit(&users->build, VALIJA_GROUP);
}

static bool
commit_passwords(struct change *passwords)
{
	struct passwd *auth = geteuid() == 0 ? getpwnam(VALIJA_USER_AUTH) : NULL;
	struct group *group = auth ? getgrgid(auth->pw_gid) : NULL;

	return commit(&passwords->build, group ? group->gr_name : VALIJA_USER_AUTH);
}

enum wanted { WANTED_NEW, WANTED_THERE };

/* The lock on users.db comes first, always: it guards both. */
static bool
begin(struct userbase *b, struct change *users, struct change *passwords, struct text *why)
{
	if ((users->build = table_build_begin(b->users_directory, USERS_TABLE)) &&
		(passwords->build = table_build_begin(b->passwords_directory, PASSWD_TABLE)))
		return true;
	text_printf(why, "the user table cannot be changed: %s",
		errno == EWOULDBLOCK || errno == EAGAIN ? "another command is changing it"
							: strerror(errno));
	return false;
}

/* Changes either table or both; an empty key leaves one as it is. */
static bool
change(struct userbase *b, struct change *users, struct change *passwords, enum wanted wanted,
	struct text *why)
{
	struct text value = TEXT_UP_TO(MOST_USER_RECORD);
	bool there, done = false, removing = users->key.len && users->value.len == 0;
	struct span key = passwords->key.len ? passwords->key : users->key;

	if (!begin(b, users, passwords, why))
		goto out;
	there = table_get(b->users, key, &value) == TABLE_FOUND;
	if (there != (wanted == WANTED_THERE)) {
		text_printf(why, "%.*s %s", SPAN_ARG(key),
			there ? "is there already" : "is not a user");
		goto out;
	}
	done = (users->key.len == 0 || fill(users, b->users)) &&
		(passwords->key.len == 0 || fill(passwords, b->passwords)) &&
		(!removing || commit_users(users)) &&
		(passwords->key.len == 0 || commit_passwords(passwords)) &&
		(removing || users->key.len == 0 || commit_users(users));
	if (!done)
		text_printf(why, "the user table was not written: %s", strerror(errno));
out:
	table_build_abort(&passwords->build);
	table_build_abort(&users->build);
	text_clear(&value);
	return done;
}

bool
userbase_add(struct userbase *b, const struct user *u, const struct password *p, struct text *why)
{
	struct text user = TEXT_UP_TO(MOST_USER_RECORD), password = TEXT_UP_TO(MOST_USER_RECORD);
	struct change users = { .key = u->address }, passwords = { .key = u->address };
	bool done;

	user_encode(u, &user);
	if (p)
		password_encode(p, &password);
	users.value = text_span(&user);
	passwords.value = text_span(&password);
	done = change(b, &users, &passwords, WANTED_NEW, why);
	text_clear(&user);
	text_wipe(&password);
	return done;
}

bool
userbase_password(
	struct userbase *b, struct span key, const struct password *p, struct text *why)
{
	struct text password = TEXT_UP_TO(MOST_USER_RECORD);
	struct change users = { .key = SPAN_NONE }, passwords = { .key = key };
	bool done;

	password_encode(p, &password);
	passwords.value = text_span(&password);
	done = change(b, &users, &passwords, WANTED_THERE, why);
	text_wipe(&password);
	return done;
}

bool
userbase_change(struct userbase *b, const struct user *u, struct text *why)
{
	struct text user = TEXT_UP_TO(MOST_USER_RECORD);
	struct change users = { .key = u->address }, passwords = { .key = SPAN_NONE };
	bool done;

	user_encode(u, &user);
	users.value = text_span(&user);
	done = change(b, &users, &passwords, WANTED_THERE, why);
	text_clear(&user);
	return done;
}

bool
userbase_remove(struct userbase *b, struct span key, struct text *why)
{
	struct change users = { .key = key }, passwords = { .key = key };

	return change(b, &users, &passwords, WANTED_THERE, why);
}

/* --- many --- */

static bool
put_one(struct change *users, struct change *passwords, const struct user *u,
	const struct password *p)
{
	struct text user = TEXT_UP_TO(MOST_USER_RECORD), password = TEXT_UP_TO(MOST_USER_RECORD);
	bool done;

	user_encode(u, &user);
	password_encode(p, &password);
	done = !user.failed && !password.failed &&
		(p->hash.len == 0 ||
			table_build_put(passwords->build, u->address, text_span(&password)) == 0) &&
		table_build_put(users->build, u->address, text_span(&user)) == 0;
	text_clear(&user);
	text_wipe(&password);
	return done;
}

bool
userbase_add_many(struct userbase *b, const struct userbase_source *from, struct text *why)
{
	struct change users = { .key = SPAN_NONE }, passwords = { .key = SPAN_NONE };
	struct text value = TEXT_UP_TO(MOST_USER_RECORD);
	struct user u, there;
	struct password *p = must_alloc(sizeof *p);
	bool done = false;

	if (!begin(b, &users, &passwords, why))
		goto out;
	done = fill(&users, b->users) && fill(&passwords, b->passwords);
	while (done && from->next(from->me, &u, p)) {
		if (userbase_find(b, u.address, &value, &there))
			from->skipped(from->me, &u);
		else
			done = put_one(&users, &passwords, &u, p);
	}
	if (*from->failed)
		errno = EINVAL;
	/* The passwords before the users, as when one is added. */
	done = done && !*from->failed && commit_passwords(&passwords) && commit_users(&users);
	if (!done)
		text_printf(why, "the user table was not written: %s", strerror(errno));
out:
	table_build_abort(&passwords.build);
	table_build_abort(&users.build);
	text_clear(&value);
	free(p);
	return done;
}
