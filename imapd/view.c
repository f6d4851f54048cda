/* view - see view.h. */
#include "imapd/view.h"

#include "imapd/acl.h"
#include "imapd/context.h"
#include "imapd/flags.h"

#include <stdlib.h>
#include <string.h>

/* Takes the messages that the index has from v->uidnext on. Each is \Recent in the first session
 * that may change the mailbox and is told of it (RFC 3501 2.3.2); EXAMINE takes that from nobody
 * (6.3.2). */
static void
take_new(struct view *v)
{
	struct index *ix = &v->mailbox->index;
	size_t from = index_from(ix, v->uidnext), more = ix->count - from;
	struct change c;

	if (v->count + more > v->room) {
		v->room = v->count + more + v->count / 8 + 16;
		v->uids = must_realloc(v->uids, v->room * sizeof(*v->uids));
		v->marks = must_realloc(v->marks, v->room * sizeof(*v->marks));
	}
	for (; from < ix->count; from++) {
		bool recent = ix->records[from].uid >= ix->recent_from;

		v->uids[v->count] = ix->records[from].uid;
		v->marks[v->count++] = recent ? VIEW_RECENT : 0;
		v->recent += recent;
	}
	v->uidnext = ix->uidnext;
	if (v->read_only || ix->recent_from >= ix->uidnext)
		return;
	change_init(&c);
	c.lazy = true;       /* to be recent once too often does no harm */
	change_state(&c, ix->uidnext, ix->modseq, ix->uidnext);
	(void)mailbox_commit(v->mailbox, &c);
	change_clear(&c);
}

struct view *
view_open(struct mailbox *mailbox, bool read_only)
{
	struct view *v = must_alloc(sizeof(*v));

	v->mailbox = mailbox;
	v->read_only = read_only;
	v->rights = RIGHTS_ALL;
	v->modseq = mailbox->index.modseq;
	v->expunges = mailbox->index.expunges;
	v->settled = mailbox->index.modseq;
	v->uidnext = 1;
	take_new(v);
	v->fetch_from = v->uidnext;
	return v;
}

void
view_close(struct view **v)
{
	if (*v == NULL)
		return;
	contexts_clear(*v);
	mailbox_release(&(*v)->mailbox);
	number_ranges_clear(&(*v)->saved);
	free((*v)->uids);
	free((*v)->marks);
	free(*v);
	*v = NULL;
}

uint32_t
view_uid(const struct view *v, size_t number)
{
	return v->uids[number - 1];
}

size_t
view_number_from(const struct view *v, uint32_t uid)
{
	size_t low = 0, high = v->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (v->uids[middle] < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low + 1;
}

size_t
view_number(const struct view *v, uint32_t uid)
{
	size_t number = view_number_from(v, uid);

	return number <= v->count && v->uids[number - 1] == uid ? number : 0;
}

bool
view_is_recent(const struct view *v, size_t number)
{
	return v->marks[number - 1] & VIEW_RECENT;
}

bool
view_has_news(const struct view *v, bool expunges)
{
	const struct index *ix = &v->mailbox->index;

	return v->telling != TELL_NOTHING || (!v->mute_messages && (ix->uidnext != v->uidnext ||
		(expunges && ix->expunges != v->expunges))) || ix->modseq != v->modseq ||
		ix->keywords.count != v->keywords || contexts_have_news(v);
}

void
view_fetch_begin(const struct view *v, size_t number, bool uids, struct text *out)
{
	text_add(out, SPAN("* "));
	text_add_number(out, v->uid_only ? v->uids[number - 1] : number);
	text_add_str(out, v->uid_only ? " UIDFETCH (" : " FETCH (");
	if (!uids || v->uid_only)
		return;
	text_add(out, SPAN("UID "));
	text_add_number(out, v->uids[number - 1]);
	text_add_byte(out, ' ');
}

void
view_flags_write(const struct view *v, size_t number, const struct index_record *r,
	struct text *out)
{
	bool recent = view_is_recent(v, number) && !v->silent_recent;

	text_add(out, SPAN("FLAGS ("));
	flags_write(r->flags, out);
	keywords_write(&v->mailbox->index.keywords, r->keywords, r->flags == 0, out);
	if (recent)
		text_add_str(out, r->flags == 0 && r->keywords == 0 ? "\\Recent" : " \\Recent");
	text_add_byte(out, ')');
}

void
view_modseq_write(const struct index_record *r, struct text *out)
{
	text_add(out, SPAN("MODSEQ ("));
	text_add_number(out, r->modseq);
	text_add_byte(out, ')');
}

uint8_t
view_may_change(const struct view *v)
{
	return v->read_only ? 0 : rights_flags(v->rights);
}

void
view_all_flags_write(struct view *v, struct text *out)
{
	const struct keywords *k = &v->mailbox->index.keywords;
	bool writes = !v->read_only && (v->rights & RIGHT_WRITE);

	for (int permanent = 0; permanent < 2; permanent++) {
		text_add_str(out, permanent ? "* OK [PERMANENTFLAGS (" : "* FLAGS (");
		if (!permanent || !v->read_only)
			flags_write(permanent ? view_may_change(v) : FLAG_SYSTEM, out);
		for (unsigned int i = 0; (!permanent || writes) && i < k->count; i++) {
			text_add_byte(out, ' ');
			text_add(out, keywords_name(k, i));
		}
		if (permanent && writes && k->count < MOST_KEYWORDS)
			text_add(out, SPAN(" \\*"));
		text_add_str(out, permanent ? ")] Flags that are kept.\r\n" : ")\r\n");
	}
	v->keywords = k->count;
}

/* Marks those that are gone. Both are in ascending order of UID. */
static void
mark_leaving(struct view *v)
{
	const struct index *ix = &v->mailbox->index;
	size_t record = 0;

	for (size_t i = 0; i < v->count; i++) {
		while (record < ix->count && ix->records[record].uid < v->uids[i])
			record++;
		if (record == ix->count || ix->records[record].uid != v->uids[i])
			v->marks[i] |= VIEW_LEAVING;
	}
}

/* From the last message to the first: so no number that is yet to come changes. */
static bool
tell_expunges(struct view *v, struct text *out, size_t full)
{
	for (; v->at > 0; v->at--) {
		size_t i = v->at - 1;

		if ((v->marks[i] & VIEW_GONE) || !(v->marks[i] & VIEW_LEAVING))
			continue;
		if (out->len >= full)
			return false;
		text_add(out, SPAN("* "));
		text_add_number(out, v->at);
		text_add(out, SPAN(" EXPUNGE\r\n"));
		v->marks[i] |= VIEW_GONE;
		v->any_gone = true;
	}
	return true;
}

/* By UID, in one line (RFC 7162 3.2.10.2). */
static void
tell_vanished(struct view *v, struct text *out)
{
	struct number_ranges gone = { NULL, 0, 0 };

	for (size_t i = 0; i < v->count; i++) {
		if ((v->marks[i] & VIEW_GONE) || !(v->marks[i] & VIEW_LEAVING))
			continue;
		v->marks[i] |= VIEW_GONE;
		v->any_gone = true;
		number_ranges_add(&gone, v->uids[i]);
	}
	if (gone.count > 0) {
		text_add(out, SPAN("* VANISHED "));
		number_ranges_write(&gone, out);
		text_add(out, SPAN("\r\n"));
	}
	number_ranges_clear(&gone);
}

static void
drop_gone(struct view *v)
{
	size_t to = 0;

	for (size_t i = 0; v->any_gone && i < v->count; i++) {
		if (v->marks[i] & VIEW_GONE) {
			v->recent -= v->marks[i] & VIEW_RECENT;
			continue;
		}
		v->uids[to] = v->uids[i];
		v->marks[to++] = v->marks[i];
	}
	if (v->any_gone)
		v->count = to;
	v->any_gone = false;
}

static void
tell_counts(struct view *v, struct text *out)
{
	size_t count = v->count, recent = v->recent;

	take_new(v);
	if (v->count == count)
		return;
	text_add(out, SPAN("* "));
	text_add_number(out, v->count);
	text_add(out, SPAN(" EXISTS\r\n"));
	if (v->recent != recent && !v->silent_recent) {
		text_add(out, SPAN("* "));
		text_add_number(out, v->recent);
		text_add(out, SPAN(" RECENT\r\n"));
	}
}

static bool
tell_flags(struct view *v, bool uids, struct text *out, size_t full)
{
	const struct index *ix = &v->mailbox->index;
	size_t record = 0;

	if (v->at < v->until)
		record = index_from(ix, v->uids[v->at]);
	for (; v->at < v->until; v->at++) {
		const struct index_record *r;

		/* Both are in ascending order of UID: one walk through both. */
		while (record < ix->count && ix->records[record].uid < v->uids[v->at])
			record++;
		if (record == ix->count)
			break;
		r = &ix->records[record];
		if (r->uid != v->uids[v->at] || r->modseq <= v->modseq)
			continue;
		if (out->len >= full)
			return false;
		view_fetch_begin(v, v->at + 1, uids, out);
		view_flags_write(v, v->at + 1, r, out);
		if (v->modseqs) {
			text_add_byte(out, ' ');
			view_modseq_write(r, out);
		}
		text_add(out, SPAN(")\r\n"));
	}
	v->modseq = v->modseq_goal;
	return true;
}

bool
view_tell(struct view *v, bool expunges, bool uids, struct text *out, size_t full)
{
	const struct index *ix = &v->mailbox->index;

	if (v->telling == TELL_NOTHING) {
		if (!view_has_news(v, expunges))
			return true;
		v->modseq_goal = ix->modseq;
		if ((expunges && !v->mute_messages) || ix->expunges == v->expunges)
			v->settled = ix->modseq;
		v->telling = TELL_COUNTS;
		if (expunges && !v->mute_messages && ix->expunges != v->expunges) {
			v->telling = TELL_EXPUNGES;
			v->expunges = ix->expunges;
			v->at = v->count;
			mark_leaving(v);
			contexts_tell_leaving(v, out);
		}
	}
	if (v->telling == TELL_EXPUNGES) {
		if (v->vanishes || v->uid_only)
			tell_vanished(v, out);
		else if (!tell_expunges(v, out, full))
			return false;
		drop_gone(v);
		v->telling = TELL_COUNTS;
	}
	if (v->telling == TELL_COUNTS) {
		/* The flags of new messages were never told otherwise, and are not told now. */
		v->at = 0;
		v->until = v->modseq == v->modseq_goal || v->mute_flags ? 0 : v->count;
		if (!v->mute_messages)
			tell_counts(v, out);
		if (v->keywords != ix->keywords.count)
			view_all_flags_write(v, out);
		v->telling = TELL_FLAGS;
	}
	if (v->telling == TELL_FLAGS) {
		if (!tell_flags(v, uids || v->modseqs, out, full))
			return false;
		v->telling = TELL_CONTEXTS;
		v->at = 0;
	}
	if (!contexts_tell_changed(v, &v->at, v->modseq_goal, out, full))
		return false;
	v->telling = TELL_NOTHING;
	return true;
}

void
view_told_own(struct view *v, uint64_t from)
{
	if (v->telling == TELL_NOTHING && v->modseq == from)
		v->modseq = v->mailbox->index.modseq;
}

void
view_save(struct view *v, struct number_ranges *uids)
{
	struct number_set set = { uids->at, uids->count };

	number_set_resolve(&set, UINT32_MAX);    /* SORT found them in another order */
	uids->count = set.count;
	number_ranges_clear(&v->saved);
	v->saved = *uids;
	*uids = (struct number_ranges){ NULL, 0, 0 };
}

void
view_saved(const struct view *v, struct arena *arena, struct number_set *set)
{
	set->count = v->saved.count;
	set->at = arena_alloc(arena, (set->count + 1) * sizeof(*set->at));
	for (size_t i = 0; i < set->count; i++)
		set->at[i] = v->saved.at[i];
}
