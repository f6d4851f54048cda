/* share - see share.h. Who is a guest of ours, and what he may. */
#include "imapd/share.h"

#include "common/beneath.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
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

void
share_tell(struct account *account)
{
	struct text members = TEXT_UP_TO(MOST_SHARES);

	if (acl_members(&account->store, &members) < 0 || members.failed ||
		store_write_file(&account->store, account->store.private, SHARES_FILE,
		text_span(&members), true) < 0)
		log_warning(0, "shares-not-kept", KEY_STR("user", account->user), KEY_ERRNO);
	if (!members.failed)
		tell(account, text_span(&members));
	text_clear(&members);
}

void
share_tell_kept(struct account *account)
{
	char kept[MOST_SHARES];
	int fd = open_in(account->store.private, SHARES_FILE, O_RDONLY, 0);
	ssize_t got;

	if (fd < 0 && errno == ENOENT)
		share_tell(account);         /* the first time: Dovecot's rights may be there */
	if (fd < 0)
		return;
	got = read_at(fd, kept, sizeof(kept), 0);
	close(fd);
	if (got > 0 && span_index(span_of(kept, (size_t)got), '\0') == (size_t)got)
		tell(account, span_of(kept, (size_t)got));
}
