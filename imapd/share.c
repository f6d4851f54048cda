/* share - see share.h. Who is a guest of ours, and what he may. */
#include "imapd/share.h"

#include "common/beneath.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARES_FILE "shares"         /* in Maildir/valija: an address, or "anyone", a line */

unsigned int
session_rights(const struct session *s, const char *folder)
{
	if (!session_is_guest(s))
		return RIGHTS_ALL;
	return acl_folder_rights(&s->account->store, folder, span_str(s->guest),
		span_str(s->account->user));
}

static void
tell(struct account *account, struct span members)
{
	(void)send_shares_set(account->daemon.master, 0, &(struct msg_shares_set){ .members = members },
		NULL);
}

struct share_walk {
	struct acl_members found;
	uint64_t change;             /* all up to this one are seen */
	uint64_t renames;
};

int
share_forget(struct account *account)
{
	if (unlinkat(account->store.private, SHARES_FILE, 0) < 0)
		return errno == ENOENT ? 0 : -1;
	return fsync(account->store.private);
}

uint64_t
share_changed(struct account *account)
{
	return ++account->rights_changed;
}

void
share_clear(struct account *account)
{
	if (account->share_walk == NULL)
		return;
	acl_members_clear(&account->share_walk->found);
	free(account->share_walk);
	account->share_walk = NULL;
}

static int
walk_begin(struct account *account)
{
	struct share_walk *w = account->share_walk = must_alloc(sizeof(*w));

	w->change = account->rights_changed;
	w->renames = account->store.renames;
	return acl_members_begin(&account->store, &w->found);
}

/* It ends: what was found is told, unless a folder may have got away by another name. It is not kept when rights
 * were changed again meanwhile: a file that lacks a change would be believed at the next start, one that is not
 * there is made anew. */
static void
walk_end(struct account *account, bool good)
{
	struct share_walk *w = account->share_walk;
	struct span members = text_span(&w->found.members);
	bool all = good && !w->found.members.failed, last = w->change == account->rights_changed;

	if (!good || w->renames == account->store.renames) {
		if (!all || (last && store_write_file(&account->store, account->store.private, SHARES_FILE, members, true) < 0))
			log_warning(0, "shares-not-kept", KEY_STR("user", account->user), KEY_ERRNO);
		if (all)
			tell(account, members);
		account->rights_told = w->change;
	}
	share_clear(account);
}

bool
share_tell(struct account *account, uint64_t change, bool (*over)(const void *), const void *me)
{
	while (account->rights_told < change) {
		int more = account->share_walk == NULL ? walk_begin(account) : 0;

		if (more == 0)
			more = acl_members_next(&account->store, &account->share_walk->found);
		if (more <= 0)
			walk_end(account, more == 0);
		if (over(me) && account->rights_told < change)
			return false;
	}
	return true;
}

static bool
is_past(const void *moment)
{
	return session_clock() >= *(const int64_t *)moment;
}

bool
share_tell_some(struct account *account)
{
	int64_t end = session_clock() + SLICE_MICROSECONDS;

	return share_tell(account, account->rights_changed, is_past, &end);
}

void
share_tell_kept(struct account *account)
{
	int fd = open_in(account->store.private, SHARES_FILE, O_RDONLY, 0);
	unsigned char *kept;         /* not on the stack, which would keep its pages */
	ssize_t got;

	if (fd < 0 && errno == ENOENT)       /* the first time: Dovecot's rights may be there */
		(void)share_changed(account);
	if (fd < 0)
		return;
	kept = must_alloc(MOST_SHARES);
	got = read_at(fd, kept, MOST_SHARES, 0);
	close(fd);
	if (got > 0 && span_index(span_of(kept, (size_t)got), '\0') == (size_t)got)
		tell(account, span_of(kept, (size_t)got));
	free(kept);
}
