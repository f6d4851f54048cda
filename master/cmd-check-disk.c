/*
 * cmd-check-disk - tables that cannot be read, file systems that cannot be written or are full.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <config.h>

#include "common/table.h"
#include "common/users.h"
#include "master/cmd-check.h"
#include "master/userbase.h"

/* --- tables --- */

/* As `valija user` and `valija map` make them: root's, and readable for one group; without root, for us alone. */
static bool
mode_is_right(const char *path, const struct stat *st, const char *group_name, struct text *complaints)
{
	struct group *group = geteuid() == 0 ? getgrnam(group_name) : NULL;
	size_t before = complaints->len;

	if (geteuid() == 0 && group && (st->st_gid != group->gr_gid || (st->st_mode & 0040) == 0))
		text_printf(complaints, "%s: %s cannot read it: chgrp %s %s && chmod 0640 %s\n", path, group_name,
			group_name, path, path);
	if (geteuid() != 0 && (st->st_uid != geteuid() || (st->st_mode & 0400) == 0))
		text_printf(complaints, "%s: cannot be read: chown %u %s && chmod 0600 %s\n", path,
			(unsigned int)geteuid(), path, path);
	if (st->st_mode & 0027)
		text_printf(complaints, "%s: has mode %04o; others may read or change it: chmod 0640 %s\n", path,
			(unsigned int)(st->st_mode & 07777), path);
	return complaints->len == before;
}

/* `advice`: what makes it anew. */
static void
check_table(const char *directory, int fd, const char *name, const char *group, const char *advice,
	struct text *complaints)
{
	char *path = paths_join(directory, name);
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	struct table *table;
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		/* It went away since the directory was read. */
	} else if (!S_ISREG(st.st_mode)) {
		/* Through a link, chmod would change another file. */
		text_printf(complaints, "%s: is not a regular file: move it away; %s\n", path, advice);
	} else if (mode_is_right(path, &st, group, complaints) && (table = table_reader(fd, name))) {
		if (table_get(table, SPAN("@"), &value) == TABLE_ERROR)
			text_printf(complaints, "%s: is damaged; %s\n", path, advice);
		table_free(&table);
	}
	text_clear(&value);
	free(path);
}

static void
check_tables_in(const char *directory, const char *group, struct text *complaints)
{
	DIR *all = opendir(directory);
	struct dirent *entry;

	/* Of a directory that is not there, or cannot be looked into, layout_check speaks. */
	while (all && (entry = readdir(all))) {
		const char *end = strrchr(entry->d_name, '.');
		bool source = strcmp(entry->d_name, USERS_TABLE) != 0 && strcmp(entry->d_name, PASSWD_TABLE) != 0;

		if (end && strcmp(end, ".db") == 0)
			check_table(directory, dirfd(all), entry->d_name, group,
				source ? "`valija map` makes it anew" : "bring it back from a backup", complaints);
	}
	if (all)
		closedir(all);
}

void
check_tables(const struct paths *p, struct text *complaints)
{
	check_tables_in(p->tables, VALIJA_GROUP, complaints);
	check_tables_in(p->passwords, VALIJA_USER_AUTH, complaints);
}

static bool
note_user(void *me, const struct user *u)
{
	bool *any = me;

	(void)u;
	*any = true;
	return false;
}

void
warn_of_lost_passwords(const struct paths *p, const struct settings *s)
{
	struct text why = TEXT_UP_TO(1024);
	char *path = paths_join(p->passwords, PASSWD_TABLE);
	struct userbase *base = userbase_open(p, &why);
	bool any = false;

	if (base && s->auth_sources.count == 1 && settings_has_source(s, SPAN("users")) && access(path, F_OK) < 0 &&
		errno == ENOENT && userbase_each(base, note_user, &any) && any)
		printf("warning: %s is not there, so that no user can log in: bring it back from a backup, or `valija user passwd`\n",
			path);
	userbase_close(&base);
	free(path);
	text_clear(&why);
}

/* --- file systems --- */

static void
each_written(const struct paths *p, void (*look)(void *me, const char *path, const struct statvfs *v), void *me)
{
	const char *const written[] = { p->state, p->spool, p->mail, p->log, p->run };
	unsigned long seen[sizeof written / sizeof written[0]];
	struct statvfs v;
	size_t count = 0;

	for (size_t i = 0, k; i < sizeof written / sizeof written[0]; i++) {
		if (statvfs(written[i], &v) < 0)
			continue;
		/* Once each, though read-only is a matter of the mount. */
		for (k = 0; k < count && seen[k] != v.f_fsid; k++)
			;
		if (k < count && !(v.f_flag & ST_RDONLY))
			continue;
		seen[count++] = v.f_fsid;
		look(me, written[i], &v);
	}
}

static void
look_for_read_only(void *me, const char *path, const struct statvfs *v)
{
	if (v->f_flag & ST_RDONLY)
		text_printf(me, "%s: is on a file system that is mounted read-only: mount -o remount,rw $(df --output=target %s | tail -1)\n",
			path, path);
}

void
check_file_systems(const struct paths *p, struct text *complaints)
{
	each_written(p, look_for_read_only, complaints);
}

static void
look_for_space(void *me, const char *path, const struct statvfs *v)
{
	const uint64_t *least = me, free_bytes = (uint64_t)v->f_bavail * v->f_frsize;

	/* Some file systems do not count blocks or files. */
	if (v->f_blocks > 0 && free_bytes < *least)
		printf("warning: the file system of %s has room for %llu MiB more: mail is put off when it is full\n",
			path, (unsigned long long)(free_bytes >> 20));
	if (v->f_files > 0 && v->f_favail == 0)
		printf("warning: the file system of %s has no room for another file (df -i): mail is put off\n", path);
}

void
warn_of_space(const struct paths *p, uint64_t least)
{
	each_written(p, look_for_space, &least);
}
