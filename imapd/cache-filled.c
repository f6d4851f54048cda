/* cache-filled - what was worked out at delivery, taken into the cache; see cache-file.h, common/filled.h. */
#include "imapd/gist-record.h"

#include "common/beneath.h"
#include "common/filled.h"
#include "imapd/flags.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All of the file, which has no name any more. False: it is none that a delivery made, or there is nothing in it. */
static bool
read_file(int fd, struct text *all)
{
	struct stat st;
	ssize_t got;

	/* Under another name it would be somebody else's; what local appends to it from now on is lost. */
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_nlink != 0 || st.st_size <= 0 ||
		(uint64_t)st.st_size > MOST_FILLED)
		return false;
	all->room = (size_t)st.st_size;
	all->at = must_alloc(all->room);
	got = read_at(fd, all->at, all->room, 0);
	all->len = got < 0 ? 0 : (size_t)got;
	return all->len > 0;
}

/* The record, if it is of a message that we know and have nothing of. */
static bool
adopt(struct mailbox *m, const struct filled *f)
{
	struct cache *c = m->cache;
	struct index_record *r;
	struct mail_name parts;
	struct span payload;
	size_t at;

	mail_name_split(f->name, &parts);
	at = name_table_find(&m->names, &m->index, parts.base);
	if (at == NO_RECORD || m->index.records[at].cache != 0 || !gist_take(f->gist, c, &payload))
		return false;
	r = &m->index.records[at];
	text_reset(&c->work);
	text_add(&c->work, payload);
	memcpy(c->work.at, &r->uid, sizeof(r->uid));       /* as cache_payload_write begins */
	cache_append(c, r, text_span(&c->work));
	return true;
}

/* All of it at once: some ten milliseconds for a file that is full, once. */
bool
cache_take_filled(struct mailbox *m)
{
	struct text all = TEXT_UP_TO(MOST_FILLED);
	bool taken = false;
	struct filled f;
	struct span in;
	int fd;

	if (m->filled_seen || m->cache->broken)
		return false;
	m->filled_seen = true;
	fd = open_in(m->index.directory, FILLED_NAME, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT)
		return false;
	/* Removed before it is read: what is appended meanwhile by somebody who has it open is lost, and nothing is read
	 * twice, not even after a crash. So is whatever else somebody put there under the name. */
	(void)unlinkat(m->index.directory, FILLED_NAME, 0);
	if (fd >= 0 && read_file(fd, &all)) {
		in = text_span(&all);
		while (filled_take(&in, &f))
			taken |= adopt(m, &f);
	}
	if (fd >= 0)
		close(fd);
	text_clear(&all);
	return taken;
}
