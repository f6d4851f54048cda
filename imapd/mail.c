/* mail - see mail.h. */
#include "imapd/mail.h"

#include "common/beneath.h"
#include "imapd/crlf.h"
#include "imapd/header.h"
#include "imapd/message-id.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int
load(struct mail *mail, int fd, size_t size)
{
	if (size > MAIL_READ_BYTES) {
		mail->map = mapping_new(fd, size);
		if (mail->map == NULL)
			return -1;
		mail->bytes = span_of(mapping_bytes(mail->map), size);
		return 0;
	}
	mail->store = TEXT_UP_TO(size);
	if (size > 0) {
		unsigned char *at = must_alloc(size + 1);
		ssize_t got = read_at(fd, at, size, 0);

		mail->store.at = at;
		mail->store.room = size + 1;
		if (got < 0)
			return -1;
		mail->store.len = (size_t)got;
	}
	mail->bytes = text_span(&mail->store);
	return 0;
}

/* Files of other programs may have LF: what is served has CRLF. */
static void
convert(struct mail *mail, const struct crlf_facts *facts)
{
	struct text converted = TEXT_UP_TO(facts->size);

	crlf_convert(mail->bytes, &converted);
	if (mail_is_damaged(mail)) {
		text_clear(&converted);
		return;
	}
	mapping_free(&mail->map);
	text_clear(&mail->store);
	mail->store = converted;
	mail->bytes = text_span(&mail->store);
}

/* Whoever put the file there wrote it then. */
static void
learn_dates(struct index_record *r, const struct stat *st)
{
	if (r->date == UNKNOWN_DATE)
		r->date = st->st_mtim.tv_sec;
	if (r->saved == UNKNOWN_DATE)
		r->saved = st->st_mtim.tv_sec;
}

static void
learn(struct change *learned, struct index_record *r, const struct stat *st, uint64_t vsize)
{
	struct index_record now = *r;

	now.size = (uint64_t)st->st_size;
	now.vsize = vsize;
	learn_dates(&now, st);
	if (now.size != r->size || now.vsize != r->vsize || now.date != r->date ||
		now.saved != r->saved)
		change_facts(learned, &now);
	*r = now;      /* at once: others in this turn need not look again */
}

int
mail_open(struct mailbox *m, uint32_t uid, struct change *learned, struct mail *mail)
{
	int fd = mailbox_open_file(m, uid), saved;
	struct index_record *r;
	struct crlf_facts facts;
	struct stat st;

	*mail = (struct mail){ .parsed = false };
	if (fd < 0)
		return -1;
	r = &m->index.records[index_find(&m->index, uid)];
	if (fstat(fd, &st) < 0)
		goto fail;
	errno = EFBIG;
	if ((uint64_t)st.st_size > MOST_MAIL_BYTES)
		goto fail;
	if (load(mail, fd, (size_t)st.st_size) < 0)
		goto fail;
	close(fd);
	if (r->size == (uint64_t)st.st_size && r->vsize == r->size && mail->bytes.len == r->size) {
		facts.size = mail->bytes.len;      /* known to have no bare LF: not counted again */
	} else {
		crlf_count(mail->bytes, &facts);
		if (facts.bare > 0)
			convert(mail, &facts);
	}
	mail->header = span_part(mail->bytes, 0, header_length(mail->bytes));
	if (mail_is_damaged(mail)) {
		mail_close(mail);
		errno = EIO;
		return -1;
	}
	learn(learned, r, &st, facts.size);
	mail->date = st.st_mtim.tv_sec;
	return 0;
fail:
	saved = errno;
	close(fd);
	mail_close(mail);
	errno = saved;
	return -1;
}

const struct mime *
mail_mime(struct mail *mail)
{
	if (!mail->parsed)
		mime_parse(mail->bytes, &mail->mime);
	mail->parsed = true;
	return &mail->mime;
}

bool
mail_is_damaged(const struct mail *mail)
{
	if (!mapping_is_damaged(mail->map))
		return false;
	errno = EIO;
	return true;
}

void
mail_close(struct mail *mail)
{
	if (mail->parsed)
		mime_clear(&mail->mime);
	mapping_free(&mail->map);
	text_clear(&mail->store);
	*mail = (struct mail){ .parsed = false };
}

bool
mail_facts(struct mailbox *m, uint32_t uid, unsigned int facts, struct change *learned,
	struct index_record *r)
{
	size_t at = index_find(&m->index, uid);
	char name[MAILDIR_MOST_NAME + 1];
	struct mail mail;
	struct stat st;
	int fd;

	errno = ENOENT;
	if (at == NO_RECORD)
		return false;
	*r = m->index.records[at];
	if ((facts & FACT_THREAD) && r->thread == 0) {
		if (mail_open(m, uid, learned, &mail) < 0)
			return false;
		r->thread = conversation_of(mail.header);
		mail_close(&mail);
		if (r->thread != 0)
			change_facts(learned, r);
	}
	if ((facts & FACT_SIZE) && r->vsize == UNKNOWN_SIZE) {
		if (mail_open(m, uid, learned, &mail) < 0)
			return false;
		r->vsize = mail.bytes.len;
		if (r->date == UNKNOWN_DATE)
			r->date = mail.date;
		if (r->saved == UNKNOWN_DATE)
			r->saved = mail.date;
		mail_close(&mail);
		return true;
	}
	if ((!(facts & FACT_DATE) || r->date != UNKNOWN_DATE) &&
		(!(facts & FACT_SAVED) || r->saved != UNKNOWN_DATE))
		return true;
	if (!mailbox_file_name(m, r, name) || fstatat(m->cur, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		fd = mailbox_open_file(m, uid);     /* looks for it */
		if (fd < 0)
			return false;
		if (fstat(fd, &st) < 0) {
			close(fd);
			return false;
		}
		close(fd);
	}
	learn_dates(r, &st);
	change_facts(learned, r);
	return true;
}

struct mail *
mail_cached(struct mail_cache *cache, struct mailbox *m, uint32_t uid, struct change *learned)
{
	if (cache->open && cache->mailbox == m && cache->uid == uid &&
		index_find(&m->index, uid) != NO_RECORD) {
		if (!mail_is_damaged(&cache->mail))
			return &cache->mail;
		mail_cache_clear(cache);
		errno = EIO;
		return NULL;
	}
	mail_cache_clear(cache);
	if (mail_open(m, uid, learned, &cache->mail) < 0)
		return NULL;
	cache->open = true;
	cache->mailbox = m;
	cache->uid = uid;
	return &cache->mail;
}

void
mail_cache_clear(struct mail_cache *cache)
{
	if (cache->open)
		mail_close(&cache->mail);
	cache->open = false;
}
