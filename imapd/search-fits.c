/* search-fits - does a message fit? See search.h. A message is opened only when nothing cheaper has
 * decided. */
#include "imapd/search.h"

#include "common/log.h"
#include "imapd/cache.h"
#include "imapd/date.h"
#include "imapd/flags.h"
#include "imapd/header.h"

#include <errno.h>
#include <string.h>

struct candidate {
	const struct view *view;
	size_t number;
	struct index_record record;
	unsigned int facts;          /* known in `record` */
	struct change *learned;
	struct mail mail;
	uint64_t names;              /* of fields that the search is about */
	struct cached cached;
	bool opened, unreadable, is_cached;
};

static bool
know(struct candidate *m, unsigned int fact)
{
	if (m->unreadable)
		return false;
	if (m->facts & fact)
		return true;
	if (!mail_facts(m->view->mailbox, m->record.uid, fact, m->learned, &m->record))
		m->unreadable = true;
	m->facts |= fact;
	return !m->unreadable;
}

static void
unreadable(struct candidate *m)
{
	m->unreadable = true;
	if (errno != ENOENT)
		log_error(0, "message-unreadable", KEY_STR("folder", m->view->mailbox->folder),
			KEY_NUM("uid", m->record.uid), KEY_ERRNO);
}

static bool
open_candidate(struct candidate *m)
{
	if (m->opened || m->unreadable)
		return m->opened;
	m->opened = mail_open(m->view->mailbox, m->record.uid, m->learned, &m->mail) == 0;
	if (!m->opened)
		unreadable(m);
	return m->opened;
}

/* The header, or as much of it as the cache has, with the field that the key is about. */
static bool
find_header(struct candidate *m, const struct search_key *key, struct span *header)
{
	if (key->field == 0 || m->opened) {
		if (!open_candidate(m))
			return false;
		*header = m->mail.header;
		return true;
	}
	if (!m->is_cached && !m->unreadable) {
		m->is_cached = cache_get(m->view->mailbox, m->record.uid, 0, m->names, m->learned,
			&m->cached);
		if (!m->is_cached)
			unreadable(m);
	}
	*header = m->cached.header;
	return m->is_cached;
}

static bool
fits_day(struct candidate *m, const struct search_key *key)
{
	int32_t day;

	if (!know(m, FACT_DATE))
		return false;
	day = date_day_of(m->record.date, 0);
	return key->kind == KEY_DAY_BEFORE ? day < key->day : key->kind == KEY_DAY_ON ?
		day == key->day : day >= key->day;
}

static bool
fits_saved(struct candidate *m, const struct search_key *key)
{
	int32_t day;

	if (!know(m, FACT_SAVED))
		return false;
	day = date_day_of(m->record.saved, 0);
	return key->kind == KEY_SAVED_BEFORE ? day < key->day : key->kind == KEY_SAVED_ON ?
		day == key->day : day >= key->day;
}

static bool
fits_object_id(struct candidate *m, const struct search_key *key)
{
	struct text id = TEXT_UP_TO(100);
	bool same;

	if (key->kind == KEY_EMAIL)
		email_id_write(&m->record, &id);
	else if (know(m, FACT_THREAD) && m->record.thread != 0)
		thread_id_write(&m->record, &id);
	same = id.len > 0 && span_equal(text_span(&id), key->name);
	text_clear(&id);
	return same;
}

static bool
fits_sent(struct candidate *m, const struct search_key *key)
{
	struct span header, value;
	struct date date;

	if (!find_header(m, key, &header) || !header_find(header, SPAN("Date"), &value) ||
		!date_parse(value, &date))
		return false;
	return key->kind == KEY_SENT_BEFORE ? date.day < key->day :
		key->kind == KEY_SENT_ON ? date.day == key->day : date.day >= key->day;
}

static bool
fits_keyword(const struct candidate *m, const struct search_key *key)
{
	const struct index *ix = &m->view->mailbox->index;
	int number = keywords_find(&ix->keywords, key->name);

	return (number != NO_KEYWORD && keywords_has(&ix->keywords, m->record.keywords,
		(unsigned int)number)) == key->yes;
}

static bool
fits(struct candidate *m, const struct search_key *key)
{
	const struct search_key *child;
	struct span header;
	bool recent;

	switch (key->kind) {
	case KEY_AND:
		for (child = key->children; child != NULL; child = child->next) {
			if (!fits(m, child))
				return false;
		}
		return true;
	case KEY_OR:
		for (child = key->children; child != NULL; child = child->next) {
			if (fits(m, child))
				return true;
		}
		return false;
	case KEY_NOT:
		return !fits(m, key->children) && !m->unreadable;
	case KEY_ALL:
		return true;
	case KEY_FLAGS:
		return (m->record.flags & key->flags) == key->wanted;
	case KEY_RECENT:
		recent = view_is_recent(m->view, m->number);
		return recent == key->yes && !(m->record.flags & key->flags);
	case KEY_KEYWORD:
		return fits_keyword(m, key);
	case KEY_UIDS:
		return number_set_has(&key->set, m->record.uid);
	case KEY_MODSEQ:
		return m->record.modseq >= key->modseq;
	case KEY_DAY_BEFORE:
	case KEY_DAY_ON:
	case KEY_DAY_SINCE:
		return fits_day(m, key);
	case KEY_SAVED_BEFORE:
	case KEY_SAVED_ON:
	case KEY_SAVED_SINCE:
		return fits_saved(m, key);
	case KEY_EMAIL:
	case KEY_THREAD:
		return fits_object_id(m, key);
	case KEY_OLDER:
		return know(m, FACT_DATE) && m->record.date <= key->moment;
	case KEY_YOUNGER:
		return know(m, FACT_DATE) && m->record.date >= key->moment;
	case KEY_LARGER:
		return know(m, FACT_SIZE) && m->record.vsize > key->size;
	case KEY_SMALLER:
		return know(m, FACT_SIZE) && m->record.vsize < key->size;
	case KEY_SENT_BEFORE:
	case KEY_SENT_ON:
	case KEY_SENT_SINCE:
		return fits_sent(m, key);
	case KEY_FIELD:
		return find_header(m, key, &header) && match_field(&key->needle, header, key->name);
	case KEY_BODY:
		return open_candidate(m) && match_body(&key->needle, mail_mime(&m->mail));
	case KEY_TEXT:
	default:
		return open_candidate(m) && match_message(&key->needle, mail_mime(&m->mail));
	}
}

bool
search_fits(const struct search *search, const struct view *view, size_t number,
	struct change *learned)
{
	const struct index *ix = &view->mailbox->index;
	size_t at = index_find(ix, view_uid(view, number));
	struct candidate m;
	bool result;

	if (at == NO_RECORD)
		return false;
	/* Field by field: an opened mail is large, and most keys need none. */
	m.view = view;
	m.number = number;
	m.record = ix->records[at];
	m.facts = 0;
	m.learned = learned;
	m.names = search->cache_names;
	m.opened = m.unreadable = m.is_cached = false;
	result = fits(&m, search->root);
	if (m.opened && mail_is_damaged(&m.mail)) {
		unreadable(&m);
		result = false;
	}
	if (m.opened)
		mail_close(&m.mail);
	return result;
}
