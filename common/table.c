#include "table.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "beneath.h"
#include "log.h"

#define MOST_TABLE_NAME	       128
#define LOCK_WAIT_MILLISECONDS 10000
#define LOCK_TRY_MILLISECONDS  50

/* What tells one file from another that replaced it. */
struct stamp {
	dev_t device;
	ino_t inode;
	struct timespec changed;
	off_t size;
};

struct table {
	int directory; /* borrowed */
	char name[MOST_TABLE_NAME + 1];
	bool writable;
	unsigned int mode;
	DB *db; /* NULL while there is no file, or a damaged one */
	bool damaged;
	struct stamp stamp; /* of the file that `db` or `damaged` speaks of */
};

struct table_build {
	int directory; /* borrowed */
	int lock;
	char name[MOST_TABLE_NAME + 1];
	char aside[MOST_TABLE_NAME + 8];
	DB *db;
};

/* --- Berkeley DB --- */

/*
 * The library is given a path through /proc/self/fd: daemons cannot reach the directory by its
 * name, and nobody can swap the file between our look at it and its opening. There is no
 * environment, so no DB_CONFIG is read. Pages carry checksums, and files are read through the
 * cache, never mapped: damage becomes an error, not a signal.
 */
struct fd_path {
	char str[sizeof("/proc/self/fd/") + 3 * sizeof(int) + 1 + MOST_TABLE_NAME + 8];
};

static struct fd_path
path_of(int fd, const char *name)
{
	struct fd_path path;

	if (name == NULL)
		snprintf(path.str, sizeof(path.str), "/proc/self/fd/%d", fd);
	else
		snprintf(path.str, sizeof(path.str), "/proc/self/fd/%d/%s", fd, name);
	return path;
}

/* The library's own words go nowhere: each failure is logged once, by us, with the table's name. */
static void
swallow(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env;
	(void)prefix;
	(void)message;
}

static DB *
db_new(int *error)
{
	DB *db;

	*error = db_create(&db, NULL, 0);
	if (*error != 0)
		return NULL;
	db->set_errcall(db, swallow);
	return db;
}

static int db_open(const char *path, uint32_t flags, DB **opened);

/* Reads every row, so that the checksum of every page on the way is tried. 0 or an error. */
static int
db_scan(const char *path)
{
	DB *db;
	DBC *cursor = NULL;
	DBT key = {0}, value = {0};
	int error = db_open(path, DB_RDONLY | DB_NOMMAP, &db);

	if (error != 0)
		return error;
	error = db->cursor(db, NULL, &cursor, 0);
	while (error == 0)
		error = cursor->get(cursor, &key, &value, DB_NEXT);
	if (cursor != NULL)
		cursor->close(cursor);
	db->close(db, DB_NOSYNC);
	return error == DB_NOTFOUND ? 0 : error;
}

/* Looks at every page: no table that passes can lead the library astray. 0 or an error of it. The scan
 * goes first because verify() of 5.3, when it finds a page whose checksum is wrong, counts a reference
 * of zero down through four thousand million before it returns: half a minute. */
static int
db_verify(const char *path)
{
	int error = db_scan(path);
	DB *db;

	if (error != 0)
		return error;
	db = db_new(&error);
	if (db == NULL)
		return error;
	/* verify() ends the handle, whatever it finds. */
	return db->verify(db, path, NULL, NULL, 0);
}

static int
db_open(const char *path, uint32_t flags, DB **opened)
{
	int error;
	DB *db = db_new(&error);

	if (db == NULL)
		return error;
	if ((flags & DB_CREATE) != 0)
		error = db->set_flags(db, DB_CHKSUM);
	if (error == 0)
		error = db->open(db, NULL, path, NULL, DB_BTREE, flags, 0600);
	if (error != 0) {
		db->close(db, DB_NOSYNC);
		return error;
	}
	*opened = db;
	return 0;
}

/* Errors of the library are negative; as errno they would mean nothing. */
static int
as_errno(int error)
{
	return error > 0 ? error : EIO;
}

static void
log_table(const char *word, const char *name, int error)
{
	log_error(0, word, KEY_STR("table", name), KEY_STR("error", db_strerror(error)));
}

/* --- readers --- */

static bool
name_copy(const char *name, char to[MOST_TABLE_NAME + 1])
{
	size_t len = strlen(name);

	if (len == 0 || len > MOST_TABLE_NAME || strchr(name, '/') != NULL || name[0] == '.') {
		errno = EINVAL;
		return false;
	}
	memcpy(to, name, len + 1);
	return true;
}

static struct stamp
stamp_of(const struct stat *st)
{
	return (struct stamp){st->st_dev, st->st_ino, st->st_mtim, st->st_size};
}

static bool
stamp_equal(const struct stamp *a, const struct stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void
table_close(struct table *t)
{
	if (t->db != NULL)
		t->db->close(t->db, t->writable ? 0 : DB_NOSYNC);
	t->db = NULL;
	t->damaged = false;
}

/* Opens what stands under the name now. */
static enum table_result
reader_open(struct table *t)
{
	struct stat st;
	struct fd_path path;
	int fd, error;

	fd = open_in(t->directory, t->name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return TABLE_NONE;
	if (fd < 0 || fstat(fd, &st) < 0) {
		log_error(0, "table-unreadable", KEY_STR("table", t->name), KEY_ERRNO);
		if (fd >= 0)
			close(fd);
		return TABLE_ERROR;
	}
	path = path_of(fd, NULL);
	t->stamp = stamp_of(&st);
	error = db_verify(path.str);
	if (error == 0)
		error = db_open(path.str, DB_RDONLY | DB_NOMMAP, &t->db);
	close(fd);
	if (error == 0)
		return TABLE_FOUND;
	log_table("table-damaged", t->name, error);
	t->damaged = true;
	return TABLE_ERROR;
}

/* Sees to it that t->db is the file that stands under the name now. */
static enum table_result
reader_refresh(struct table *t)
{
	struct stat st;
	struct stamp now;

	if (fstatat(t->directory, t->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return TABLE_ERROR;
		table_close(t);
		return TABLE_NONE;
	}
	now = stamp_of(&st);
	if ((t->db != NULL || t->damaged) && stamp_equal(&now, &t->stamp))
		return t->damaged ? TABLE_ERROR : TABLE_FOUND;
	table_close(t);
	return reader_open(t);
}

struct table *
table_reader(int directory, const char *name)
{
	struct table *t = must_alloc(sizeof(*t));

	t->directory = directory;
	if (!name_copy(name, t->name))
		table_free(&t);
	return t;
}

/* --- private tables --- */

static int
private_open(struct table *t)
{
	struct fd_path path;
	struct stat st;
	int fd, error;

	fd = open_in(t->directory, t->name, O_RDWR, 0);
	if (fd < 0 && errno != ENOENT)
		return errno;
	if (fd < 0) {
		path = path_of(t->directory, t->name);
		error = db_open(path.str, DB_CREATE | DB_EXCL | DB_NOMMAP, &t->db);
		if (error == 0 && fchmodat(t->directory, t->name, t->mode, 0) < 0)
			error = errno;
		return error;
	}
	path = path_of(fd, NULL);
	error = fstat(fd, &st) < 0 ? errno : 0;
	if (error == 0 && st.st_size == 0) /* a crash between making and the first sync */
		error = EINVAL;
	if (error == 0)
		error = db_verify(path.str);
	if (error == 0)
		error = db_open(path.str, DB_NOMMAP, &t->db);
	close(fd);
	return error;
}

struct table *
table_private(int directory, const char *name, unsigned int mode)
{
	struct table *t = table_reader(directory, name);
	int error;

	if (t == NULL)
		return NULL;
	t->writable = true;
	t->mode = mode;
	error = private_open(t);
	/* Refused by the system is not damaged: only what the library cannot read is made anew. */
	if (error != 0 && (error < 0 || error == EINVAL)) {
		log_table("table-damaged", t->name, error);
		table_close(t);
		if (unlinkat(directory, name, 0) < 0)
			error = errno;
		else
			error = private_open(t);
	}
	if (error != 0) {
		log_table("table-unusable", t->name, error);
		table_free(&t);
		errno = as_errno(error);
	}
	return t;
}

void
table_free(struct table **t)
{
	if (*t == NULL)
		return;
	table_close(*t);
	free(*t);
	*t = NULL;
}

/* --- rows --- */

/* The library's structures hold pointers without const; it does not write through those of keys
 * and values that are handed in. */
static DBT
dbt_of(struct span s)
{
	DBT dbt;

	memset(&dbt, 0, sizeof(dbt));
	memcpy(&dbt.data, &s.at, sizeof(dbt.data));
	dbt.size = (uint32_t)s.len;
	return dbt;
}

static enum table_result
refresh(struct table *t)
{
	if (t->writable)
		return t->db != NULL ? TABLE_FOUND : TABLE_ERROR;
	return reader_refresh(t);
}

/* The library failed below us: the handle is of no use until the file is replaced. */
static enum table_result
give_up(struct table *t, int error)
{
	struct stamp stamp = t->stamp;

	log_table("table-damaged", t->name, error);
	table_close(t);
	t->damaged = true;
	t->stamp = stamp;
	return TABLE_ERROR;
}

enum table_result
table_get(struct table *t, struct span key, struct text *value)
{
	enum table_result ready;
	DBT k = dbt_of(key), v = dbt_of(SPAN_NONE);
	int error;

	text_reset(value);
	if (key.len == 0 || key.len > TABLE_MOST_KEY)
		return TABLE_NONE;
	ready = refresh(t);
	if (ready != TABLE_FOUND)
		return ready;
	error = t->db->get(t->db, NULL, &k, &v, 0);
	if (error == DB_NOTFOUND)
		return TABLE_NONE;
	if (error != 0)
		return give_up(t, error);
	if (v.size > TABLE_MOST_VALUE)
		return TABLE_ERROR;
	text_add(value, span_of(v.data, v.size));
	return value->failed ? TABLE_ERROR : TABLE_FOUND;
}

static int
put(DB *db, struct span key, struct span value)
{
	DBT k = dbt_of(key), v = dbt_of(value);
	int error;

	if (key.len == 0 || key.len > TABLE_MOST_KEY || value.len > TABLE_MOST_VALUE) {
		errno = EINVAL;
		return -1;
	}
	error = db->put(db, NULL, &k, &v, 0);
	if (error == 0)
		return 0;
	errno = as_errno(error);
	return -1;
}

int
table_put(struct table *t, struct span key, struct span value)
{
	if (!t->writable || t->db == NULL) {
		errno = EBADF;
		return -1;
	}
	return put(t->db, key, value);
}

int
table_remove(struct table *t, struct span key)
{
	DBT k = dbt_of(key);
	int error;

	if (!t->writable || t->db == NULL || key.len == 0 || key.len > TABLE_MOST_KEY) {
		errno = EINVAL;
		return -1;
	}
	error = t->db->del(t->db, NULL, &k, 0);
	if (error == 0 || error == DB_NOTFOUND)
		return 0;
	errno = as_errno(error);
	return -1;
}

int
table_sync(struct table *t)
{
	int error = t->writable && t->db != NULL ? t->db->sync(t->db, 0) : 0;

	if (error == 0)
		return 0;
	errno = as_errno(error);
	return -1;
}

int
table_each(struct table *t, bool (*row)(void *me, struct span key, struct span value), void *me)
{
	enum table_result ready = refresh(t);
	DBT k = dbt_of(SPAN_NONE), v = dbt_of(SPAN_NONE);
	DBC *cursor;
	int error;

	if (ready == TABLE_NONE)
		return 0;
	if (ready == TABLE_ERROR)
		return -1;
	error = t->db->cursor(t->db, NULL, &cursor, 0);
	if (error != 0) {
		give_up(t, error);
		return -1;
	}
	while ((error = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
		if (k.size <= TABLE_MOST_KEY && v.size <= TABLE_MOST_VALUE &&
			!row(me, span_of(k.data, k.size), span_of(v.data, v.size)))
			break;
	cursor->close(cursor);
	if (error == 0 || error == DB_NOTFOUND)
		return 0;
	give_up(t, error);
	return -1;
}

/* --- building aside --- */

/* The lock file stays: a lock that is unlinked can be held by two. */
static int
take_lock(int directory, const char *name)
{
	char lock[MOST_TABLE_NAME + 8];
	struct timespec nap = {0, LOCK_TRY_MILLISECONDS * 1000000L};
	int fd, waited = 0;

	snprintf(lock, sizeof(lock), "%s.lock", name);
	fd = open_in(directory, lock, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return -1;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int error = errno;
		if ((error != EWOULDBLOCK && error != EINTR) || waited >= LOCK_WAIT_MILLISECONDS) {
			close(fd);
			errno = error == EWOULDBLOCK ? EBUSY : error;
			return -1;
		}
		nanosleep(&nap, NULL);
		waited += LOCK_TRY_MILLISECONDS;
	}
	return fd;
}

struct table_build *
table_build_begin(int directory, const char *name)
{
	struct table_build *b = must_alloc(sizeof(*b));
	struct fd_path path;
	int error;

	b->directory = directory;
	b->lock = -1;
	if (!name_copy(name, b->name) || (b->lock = take_lock(directory, name)) < 0) {
		error = errno;
		goto fail;
	}
	snprintf(b->aside, sizeof(b->aside), "%s.new", name);
	/* Left by a builder that died: we hold the lock, so nobody is at work on it. */
	if (unlinkat(directory, b->aside, 0) < 0 && errno != ENOENT) {
		error = errno;
		goto fail;
	}
	path = path_of(directory, b->aside);
	error = db_open(path.str, DB_CREATE | DB_EXCL | DB_NOMMAP, &b->db);
	if (error == 0)
		return b;
fail:
	table_build_abort(&b);
	errno = as_errno(error);
	return NULL;
}

int
table_build_put(struct table_build *b, struct span key, struct span value)
{
	return put(b->db, key, value);
}

static int
make_durable(struct table_build *b, unsigned int mode, long uid, long gid)
{
	int fd, result = -1, saved;

	fd = open_in(b->directory, b->aside, O_RDWR, 0);
	if (fd < 0)
		return -1;
	if ((uid < 0 && gid < 0) || fchown(fd, (uid_t)uid, (gid_t)gid) == 0)
		if (fchmod(fd, mode) == 0 && fsync(fd) == 0)
			result = 0;
	saved = errno;
	close(fd);
	errno = saved;
	return result;
}

int
table_build_commit(struct table_build **build, unsigned int mode, long uid, long gid)
{
	struct table_build *b = *build;
	int error, fd, result = -1, saved;

	error = b->db->close(b->db, 0);
	b->db = NULL;
	if (error != 0) {
		errno = as_errno(error);
		goto out;
	}
	if (make_durable(b, mode, uid, gid) < 0 ||
		renameat(b->directory, b->aside, b->directory, b->name) < 0)
		goto out;
	b->aside[0] = '\0';
	fd = open_in(b->directory, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		goto out;
	result = fsync(fd);
	saved = errno;
	close(fd);
	errno = saved;
out:
	table_build_abort(build);
	return result;
}

void
table_build_abort(struct table_build **build)
{
	struct table_build *b = *build;
	int saved = errno;

	if (b == NULL)
		return;
	if (b->db != NULL)
		b->db->close(b->db, DB_NOSYNC);
	if (b->aside[0] != '\0')
		unlinkat(b->directory, b->aside, 0);
	if (b->lock >= 0)
		close(b->lock);
	free(b);
	*build = NULL;
	errno = saved;
}
