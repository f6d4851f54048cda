/* placer_name - one batch's Maildirs, and the names that messages get in them. */
#include "placer_inside.h"

#include "common/beneath.h"
#include "common/log.h"
#include "common/text.h"
#include "lent.h"
#include "user.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that names can be given to: the lent one, or a copy on another file system. */
struct source {
	int fd;
	int maildir;                     /* where tmp names it, borrowed from its place */
	struct maildir_name tmp;
	dev_t device;
	uint32_t uid, gid;
	bool named;                      /* and was synced before it was */
};

struct sources {
	struct source at[MOST_COPIES];
	size_t count;
	bool first_is_lent;
};

/* The Maildir++ name of the folder that a detail means: a dot before it, '&' as in modified UTF-7
 * (RFC 3501 5.1.3). False for what can be no folder: then the inbox is meant. */
static bool
folder_name(const char *detail, char name[MAILDIR_MOST_NAME + 1])
{
	size_t len = 0;

	if (detail[0] == '\0' || detail[0] == '.')
		return false;
	name[len++] = '.';
	for (; *detail != '\0'; detail++) {
		if ((unsigned char)*detail < 0x20 || (unsigned char)*detail > 0x7e ||
			*detail == '/' || (detail[0] == '.' && (detail[1] == '.' || !detail[1])) ||
			len + 2 > MAILDIR_MOST_NAME)
			return false;
		name[len++] = *detail;
		if (*detail == '&')
			name[len++] = '-';
	}
	name[len] = '\0';
	return true;
}

/* The name as it is there: exactly so, or in another case, as addresses are written. */
static bool
folder_there(int inbox, char name[MAILDIR_MOST_NAME + 1])
{
	int fd = open_in(inbox, ".", O_RDONLY | O_DIRECTORY, 0), looked = 0;
	struct dirent *entry;
	struct stat st;
	bool found = false;
	DIR *dir;

	if (fstatat(inbox, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || fd < 0 ||
		(dir = fdopendir(fd)) == NULL) {
		found = fd >= 0 && fstatat(inbox, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (fd >= 0)
			close(fd);
		return found;
	}
	while (!found && looked++ < MOST_FOLDERS_LOOKED && (entry = readdir(dir)) != NULL)
		if (strcasecmp(entry->d_name, name) == 0 && strlen(entry->d_name) == strlen(name)) {
			memcpy(name, entry->d_name, strlen(name));
			found = true;
		}
	closedir(dir);
	return found;
}

/* Takes the Maildir `inbox`; returns it, or the folder below it that the detail means. */
static int
open_folder(int inbox, const char *detail)
{
	char name[MAILDIR_MOST_NAME + 1];
	int folder;

	if (!folder_name(detail, name) || !folder_there(inbox, name))
		return inbox;
	if (maildir_make(inbox, name) < 0 ||
		(folder = open_in(inbox, name, O_RDONLY | O_DIRECTORY, 0)) < 0) {
		log_warning(0, "folder-unusable", KEY_STR("folder", name), KEY_ERRNO);
		return inbox;
	}
	close(inbox);
	return folder;
}

int
placer_open_folder(struct placer *p, struct span home, const char *detail, uint32_t uid, uint32_t gid)
{
	int maildir = placer_open(p, home, uid, gid);

	if (maildir >= 0 && detail[0] != '\0' && placer_enter(p, uid, gid)) {
		maildir = open_folder(maildir, detail);
		user_leave();
	}
	return maildir;
}

/* The Maildir of a target: mostly the job has it open already. */
static int
open_place(struct placer *p, struct job *job, const struct target *t)
{
	int maildir;

	if (job->maildir >= 0 && job->tmp.str[0] == '\0' && t->folder[0] == '\0' && t->uid == job->uid &&
		t->gid == job->gid && strcmp(t->home, job->home) == 0 && placer_is_there(p, job)) {
		maildir = job->maildir;
		job->maildir = -1;
		return maildir;
	}
	return placer_open_folder(p, span_str(t->home), t->folder, t->uid, t->gid);
}

struct place *
batch_place(struct placer *p, struct batch *b, struct job *job, struct target *t)
{
	struct place *at;
	struct stat s;

	for (size_t i = 0; i < b->places; i++) {
		at = &b->place[i];
		if (strcmp(at->home, t->home) == 0 && strcmp(at->folder, t->folder) == 0) {
			t->place = (int)i;
			return at->maildir >= 0 ? at : (errno = at->error, NULL);
		}
	}
	at = &b->place[b->places];
	t->place = (int)b->places++;
	*at = (struct place){ .home = t->home, .folder = t->folder, .maildir = open_place(p, job, t), .new = -1,
		.uid = t->uid, .gid = t->gid };
	if (at->maildir >= 0 && fstat(at->maildir, &s) == 0) {
		at->device = s.st_dev;
		return at;
	}
	at->error = errno;
	log_error(0, "mailbox-unusable", KEY_ID("message", job->id), KEY_STR("directory", t->home),
		KEY_STR("folder", t->folder), KEY_NUM("uid", t->uid), KEY_ERRNO);
	if (at->maildir >= 0)
		close(at->maildir);
	at->maildir = -1;
	errno = at->error;
	return NULL;
}

static void
source_release(struct placer *p, struct source *s)
{
	if (s->tmp.str[0] != '\0' && placer_enter(p, s->uid, s->gid)) {
		maildir_drop(s->maildir, &s->tmp);
		user_leave();
	}
	close(s->fd);
}

/* It was synced when it had no name. Its directories will be, but where no journal has both, the file on the disk is still
 * one without a name, and e2fsck takes it away: it is written once more. */
static void
source_sync_name(const struct placer *p, struct job *job, const struct source *s)
{
	if (s->named && !placer_keeps_order(p, s->device) && fsync(s->fd) < 0)
		job_sync_failed(job);
}

/* Writes the message anew in the place's own file system, and makes it durable. */
static struct source *
source_copy(struct placer *p, struct job *job, const struct place *at, const struct target *t,
	struct sources *all)
{
	struct span prefix = span_of(job->prefix, job->prefix_len);
	struct source *s;

	/* The last one has its names already: another takes its room. */
	if (all->count == MOST_COPIES) {
		source_sync_name(p, job, &all->at[--all->count]);
		source_release(p, &all->at[all->count]);
		if (!placer_enter(p, t->uid, t->gid))
			return NULL;
	}
	s = &all->at[all->count];
	memset(s, 0, sizeof(*s));
	if ((s->fd = maildir_file(at->maildir, &s->tmp)) < 0)
		return NULL;
	s->maildir = at->maildir;
	s->device = at->device;
	s->uid = t->uid;
	s->gid = t->gid;
	if (lent_copy(prefix, job->fd, job->size, s->fd) < 0 || fdatasync(s->fd) < 0) {
		int error = errno;

		source_release(p, s);
		errno = error;
		return NULL;
	}
	all->count++;
	return s;
}

static int
link_into(struct source *s, struct place *at, struct target *t)
{
	if (at->new < 0 && (at->new = maildir_subdir(at->maildir, "new")) < 0 && errno == ENOENT &&
		maildir_make(at->maildir, ".") == 0)
		at->new = maildir_subdir(at->maildir, "new");
	if (at->new < 0 || maildir_link_into(s->fd, s->maildir, &s->tmp, at->new, t->name.str) < 0)
		return -1;
	s->named = true;
	return 0;
}

/* Links where a file of the same file system is there, else copies. 0 or -1 with errno. */
static int
name_target(struct placer *p, struct job *job, struct place *at, struct target *t, struct sources *all)
{
	struct source *s;

	for (size_t i = 0; i < all->count; i++) {
		s = &all->at[i];
		/* A file of one owner is no other's. */
		if (s->device != at->device || s->uid != t->uid)
			continue;
		if (link_into(s, at, t) == 0) {
			t->is_lent = i == 0 && all->first_is_lent;
			return 0;
		}
		/* Another mount of the same file system, too many links, or a file system that
		 * links across directories not at all. */
		if (errno != EXDEV && errno != EMLINK && errno != EPERM)
			return -1;
	}
	s = source_copy(p, job, at, t, all);
	return s == NULL ? -1 : link_into(s, at, t);
}

static void
sources_begin(const struct job *job, struct sources *all)
{
	struct stat s;

	memset(all, 0, sizeof(*all));
	if (job->copy || fstat(job->fd, &s) < 0)
		return;
	all->at[0] = (struct source){ job->fd, job->maildir, job->tmp, s.st_dev, job->uid, job->gid, false };
	all->count = 1;
	all->first_is_lent = true;
}

/* Names the message for one mailbox if its quota lets it in, and counts it. *why: the verdict when it
 * does not. 0, -1 with errno, or 1: refused. */
static int
name_within_quota(struct placer *p, struct job *job, struct place *at, struct target *t,
	struct sources *all, struct verdict *why)
{
	uint64_t size = job->size + job->prefix_len;
	struct quota_usage before;
	int inbox = -1, named;

	if (quota_is_set(&t->quota))
		inbox = placer_open(p, span_str(t->home), t->uid, t->gid);
	if (!placer_enter(p, t->uid, t->gid)) {
		named = -1;
	} else if (inbox >= 0 && !placer_has_room(p, inbox, &t->quota, size, &before, why)) {
		named = 1;
	} else {
		named = name_target(p, job, at, t, all);
		if (named == 0 && inbox >= 0) {
			quota_add(inbox, &t->quota, (int64_t)size, 1);
			if (before.bytes != UINT64_MAX)
				t->warning = quota_warning_crossed(&p->warnings, &t->quota, &before, size);
		}
	}
	user_leave();
	if (inbox >= 0) {
		int error = errno;

		close(inbox);
		errno = error;
	}
	return named;
}

void
batch_name(struct placer *p, struct batch *b, struct job *job)
{
	struct sources all;
	struct verdict full;
	int named;
	uint64_t size = job->size + job->prefix_len;

	sources_begin(job, &all);
	for (size_t i = 0; i < job->targets && job->why.outcome == 0; i++) {
		struct target *t = &job->target[i];
		struct place *at = batch_place(p, b, job, t);

		if (at == NULL) {
			job_refuse_target(job, t, verdict_of_errno(errno));
			t->place = -1;
			continue;
		}
		if (job->entered == 0)
			t->name = maildir_name_new(p->hostname, size, size);
		named = name_within_quota(p, job, at, t, &all, &full);
		if (named == 1) {
			job_refuse_target(job, t, full);
			t->place = -1;
			continue;
		}
		if (named == 0) {
			at->named = at->named || !job->one_commit || !t->is_lent;
			job->state = FILE_NAMED;
			continue;
		}
		struct verdict v = verdict_of_errno(errno);

		log_error(0, "mailbox-unusable", KEY_ID("message", job->id),
			KEY_STR("directory", t->home), KEY_STR("at", "new"), KEY_ERRNO);
		job_refuse_target(job, t, v);
		t->place = -1;
	}
	if (job->targets == 0 && job->why.outcome == 0)
		job->why = V_IN_DOUBT;
	for (size_t i = 0; i < all.count; i++) {
		bool lent = i == 0 && all.first_is_lent;

		/* What is in the ledger, or is synced behind its name, needs no more. */
		if (!lent || (job->entered == 0 && !job->sync_later))
			source_sync_name(p, job, &all.at[i]);
		if (!lent)
			source_release(p, &all.at[i]);
	}
}

/* What name_within_quota counted, and is not there now. */
static void
uncount(struct placer *p, const struct job *job, const struct target *t)
{
	int inbox = quota_is_set(&t->quota) ? placer_open(p, span_str(t->home), t->uid, t->gid) : -1;

	if (inbox >= 0 && placer_enter(p, t->uid, t->gid)) {
		quota_add(inbox, &t->quota, -(int64_t)(job->size + job->prefix_len), -1);
		user_leave();
	}
	if (inbox >= 0)
		close(inbox);
}

void
batch_unname(struct placer *p, struct batch *b, struct job *job)
{
	bool gone;

	for (size_t i = 0; i < job->targets; i++) {
		struct target *t = &job->target[i];

		if (t->place < 0 || b->place[t->place].new < 0 || t->name.str[0] == '\0')
			continue;
		if (!placer_enter(p, t->uid, t->gid))
			continue;
		gone = unlinkat(b->place[t->place].new, t->name.str, 0) == 0;
		user_leave();
		if (gone)
			uncount(p, job, t);
	}
}
