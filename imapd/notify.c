/* notify - see notify.h. */
#include "imapd/notify.h"

#include "common/log.h"
#include "imapd/flags.h"
#include "imapd/list.h"
#include "imapd/quote.h"
#include "imapd/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
clear_watches(struct interest *n)
{
	while (n->watches != NULL) {
		struct watch *w = n->watches;

		n->watches = w->next;
		mailbox_release(&w->mailbox);
		free(w);
	}
}

struct interest *
notify_new(void)
{
	struct interest *n = must_alloc(sizeof(*n));

	n->pending = TEXT_UP_TO(MOST_PENDING_NEWS);
	return n;
}

void
notify_free(struct interest **np)
{
	if (*np == NULL)
		return;
	clear_watches(*np);
	text_clear(&(*np)->pending);
	arena_clear(&(*np)->arena);
	free(*np);
	*np = NULL;
}

void
notify_mute(const struct session *s)
{
	struct view *v = s->view;

	if (v == NULL || s->notify == NULL)
		return;
	v->mute_messages = !(s->notify->selected & EVENT_MESSAGE_NEW);
	v->mute_flags = !(s->notify->selected & EVENT_FLAG_CHANGE);
	v->notify_from = s->notify->items.at == NULL ? 0 : v->uidnext;
}

void
notify_set(struct session *s, struct interest *n)
{
	notify_free(&s->notify);
	s->notify = n;
	notify_mute(s);
}

/* RFC 5465 5.8. */
static void
overflow(struct session *s)
{
	log_notice(s->id, "notification-overflow", KEY_STR("user", s->account->user));
	notify_set(s, notify_new());
	text_add(&s->out, SPAN("* OK [NOTIFICATIONOVERFLOW] Too much happens: nothing more is told.\r\n"));
}

/* --- messages of other mailboxes --- */

static size_t
unseen(const struct index *ix)
{
	size_t n = 0;

	for (size_t i = 0; i < ix->count; i++)
		n += !(ix->records[i].flags & FLAG_SEEN);
	return n;
}

static void
take_snapshot(struct watch *w)
{
	const struct index *ix = &w->mailbox->index;

	w->uidvalidity = ix->uidvalidity;
	w->uidnext = ix->uidnext;
	w->count = ix->count;
	w->modseq = ix->modseq;
	w->unseen = unseen(ix);
}

static void
write_status(const struct session *s, const struct watch *w, bool messages, bool modseq,
	bool unseen_too, struct text *out)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);

	folder_name_write(w->mailbox->folder, &name);
	text_add(out, SPAN("* STATUS "));
	session_name_write(s, text_span(&name), out);
	text_clear(&name);
	text_printf(out, " (UIDVALIDITY %u", w->uidvalidity);
	if (messages)
		text_printf(out, " UIDNEXT %u MESSAGES %zu", w->uidnext, w->count);
	if (unseen_too)
		text_printf(out, " UNSEEN %zu", w->unseen);
	if (modseq)
		text_printf(out, " HIGHESTMODSEQ %llu", (unsigned long long)w->modseq);
	text_add(out, SPAN(")\r\n"));
}

/* What of its messages is asked for. */
static unsigned int
events_of(const struct interest *n, const char *folder, bool subscribed)
{
	unsigned int events = 0;

	for (size_t i = 0; i < n->group_count; i++) {
		if (mailbox_filter_fits(&n->groups[i].filter, folder, subscribed))
			events |= n->groups[i].events;
	}
	return events;
}

static unsigned int
open_mailboxes(const struct store *store)
{
	unsigned int n = 0;

	for (const struct mailbox *m = store->mailboxes; m != NULL; m = m->next)
		n += m->users > 0;
	return n;
}

/* False: there are too many. */
static bool
watch_one(struct session *s, struct interest *n, const char *folder, unsigned int events,
	struct text *out)
{
	struct store *store = &s->account->store;
	struct mailbox *m;
	struct watch *w;

	if (store_find(store, folder) == NULL && open_mailboxes(store) >= MOST_WATCHED)
		return false;
	m = mailbox_open(store, folder);
	if (m == NULL)
		return true;     /* it cannot be selected */
	w = must_alloc(sizeof(*w));
	w->mailbox = m;
	w->events = events;
	w->next = n->watches;
	n->watches = w;
	take_snapshot(w);
	if (out != NULL && (s->view == NULL || s->view->mailbox != m))
		write_status(s, w, true, events & EVENT_FLAG_CHANGE, false, out);
	return true;
}

static bool
wants_messages(const struct interest *n)
{
	for (size_t i = 0; i < n->group_count; i++) {
		if (n->groups[i].events & EVENTS_OF_MESSAGES)
			return true;
	}
	return false;
}

bool
notify_watch(struct session *s, struct interest *n, struct text *out)
{
	struct folder_list list;
	bool good = true;
	const char *why;

	if (!wants_messages(n))
		return true;
	if (folder_list_read(&s->account->store, true, &list) < 0)
		return false;
	for (size_t i = 0; i < list.count && good; i++) {
		const struct folder_entry *e = &list.entries[i];
		char folder[MOST_FOLDER_NAME + 1];
		unsigned int events;

		if (!e->exists || !folder_of_name(e->name, folder, &why))
			continue;
		events = events_of(n, folder, e->subscribed) & EVENTS_OF_MESSAGES;
		if (events != 0)
			good = watch_one(s, n, folder, events, out);
	}
	folder_list_clear(&list);
	return good;
}

/* Names or subscriptions changed: what is watched may be another set. What was told of those that stay stays. */
static void
watch_anew(struct session *s)
{
	struct interest *n = s->notify;
	struct watch *before = n->watches;
	bool good;

	n->watches = NULL;
	good = notify_watch(s, n, NULL);
	for (struct watch *w = n->watches; w != NULL; w = w->next) {
		for (const struct watch *b = before; b != NULL; b = b->next) {
			if (b->mailbox != w->mailbox)
				continue;
			w->uidvalidity = b->uidvalidity;
			w->uidnext = b->uidnext;
			w->count = b->count;
			w->unseen = b->unseen;
			w->modseq = b->modseq;
		}
	}
	while (before != NULL) {
		struct watch *w = before;

		before = w->next;
		mailbox_release(&w->mailbox);
		free(w);
	}
	if (!good)
		overflow(s);
}

/* RFC 5465 5.1 to 5.3: of one that is not selected. */
static void
tell_watched(struct session *s, struct watch *w)
{
	struct mailbox *m = w->mailbox;
	const struct index *ix = &m->index;
	struct watch was = *w;
	bool messages, flags;

	if ((m->check_cur || m->check_new) && mailbox_refresh(m) < 0)
		return;
	if (w->uidvalidity == ix->uidvalidity && w->modseq == ix->modseq &&
		w->uidnext == ix->uidnext && w->count == ix->count)
		return;
	take_snapshot(w);
	if (s->view != NULL && s->view->mailbox == m)
		return;          /* that is what SELECTED says */
	messages = (w->events & EVENT_MESSAGE_NEW) && (was.uidvalidity != w->uidvalidity ||
		was.uidnext != w->uidnext || was.count != w->count);
	flags = (w->events & EVENT_FLAG_CHANGE) && (s->condstore || was.unseen != w->unseen ||
		was.uidvalidity != w->uidvalidity);
	if (messages || flags)
		write_status(s, w, messages, s->condstore, flags, &s->out);
}

void
notify_tell(struct session *s)
{
	struct interest *n = s->notify;

	if (s->annotated.failed) {
		session_bye(s, "[LIMIT] More was annotated than can wait to be told.");
		return;
	}
	text_add(&s->out, text_span(&s->annotated));
	text_clear(&s->annotated);
	if (n == NULL)
		return;
	if (n->pending.failed) {
		overflow(s);
		return;
	}
	if (n->pending.len > 0) {
		text_add(&s->out, text_span(&n->pending));
		text_clear(&n->pending);
	}
	for (struct watch *w = n->watches; w != NULL && !session_full(s); w = w->next) {
		if (!w->mailbox->gone)
			tell_watched(s, w);
	}
}

/* --- what others do --- */

/* Does it want to hear of this event on this folder? */
static bool
wants(const struct session *s, unsigned int event, const char *folder, bool subscribed)
{
	return s->notify != NULL && !s->dead && !s->closing &&
		(events_of(s->notify, folder, subscribed) & event);
}

/* Has anybody else said NOTIFY? What is told needs the list of all names: not made for nobody. */
static bool
anybody(const struct session *by)
{
	for (const struct session *s = by->account->sessions; s != NULL; s = s->next) {
		if (s != by && s->notify != NULL && s->notify->group_count > 0)
			return true;
	}
	return false;
}

/* The folder above, or false for one at the top. */
static bool
parent_of(const char *folder, char parent[MOST_FOLDER_NAME + 1])
{
	const char *dot = strrchr(folder, '.');

	if (dot == NULL || dot == folder)
		return false;
	memcpy(parent, folder, (size_t)(dot - folder));
	parent[dot - folder] = '\0';
	return true;
}

static void
tell_name(struct session *s, const struct folder_list *list, const char *folder, const char *old)
{
	struct interest *n = s->notify;
	char parent[MOST_FOLDER_NAME + 1];

	/* RFC 5465 5.4: the parent is affected by what is made or removed below it. */
	if (old == NULL && parent_of(folder, parent) &&
		wants(s, EVENT_MAILBOX_NAME, parent, list_is_subscribed(list, parent)))
		list_tell(s, list, parent, NULL, &n->pending);
	if (wants(s, EVENT_MAILBOX_NAME, folder, list_is_subscribed(list, folder)) ||
		(old != NULL && wants(s, EVENT_MAILBOX_NAME, old, false)))
		list_tell(s, list, folder, old, &n->pending);
}

void
notify_name(struct session *by, const char *folder, const char *old)
{
	struct folder_list list;

	if (by->notify != NULL && by->notify->group_count > 0)
		watch_anew(by);
	if (!anybody(by) || folder_list_read(&by->account->store, true, &list) < 0)
		return;
	for (struct session *s = by->account->sessions; s != NULL; s = s->next) {
		if (s == by || s->notify == NULL)
			continue;
		tell_name(s, &list, folder, old);
		watch_anew(s);
	}
	folder_list_clear(&list);
}

void
notify_subscription(struct session *by, const char *folder)
{
	struct folder_list list;

	if (by->notify != NULL && by->notify->group_count > 0)
		watch_anew(by);
	if (!anybody(by) || folder_list_read(&by->account->store, true, &list) < 0)
		return;
	for (struct session *s = by->account->sessions; s != NULL; s = s->next) {
		if (s == by || s->notify == NULL)
			continue;
		/* A filter "subscribed" fits before or after it. */
		if (wants(s, EVENT_SUBSCRIPTION, folder, true))
			list_tell(s, &list, folder, NULL, &s->notify->pending);
		watch_anew(s);
	}
	folder_list_clear(&list);
}

/* What ENABLE METADATA lets a session hear of: an owner of all; a guest of what is shared, of what he has selected. */
static bool
hears_annotation(const struct session *s, const char *folder, struct span entry)
{
	if (!s->annotations || s->dead || s->closing)
		return false;
	return !session_is_guest(s) || (folder != NULL && s->view != NULL &&
		strcmp(s->view->mailbox->folder, folder) == 0 && span_starts_nocase(entry, SPAN("/shared/")));
}

/* NOTIFY, where it was said, tells which annotations are heard of. */
static bool
wants_annotation(const struct session *s, const char *folder, struct span entry)
{
	const struct interest *n = s->notify;

	if (n == NULL)
		return hears_annotation(s, folder, entry);
	if (folder != NULL)
		return wants(s, EVENT_METADATA, folder, true);
	for (size_t i = 0; i < n->group_count; i++) {
		if (n->groups[i].events & EVENT_SERVER_METADATA)
			return true;
	}
	return false;
}

void
notify_metadata(struct session *by, const char *folder, struct span entry)
{
	struct text name = TEXT_UP_TO(MOST_FOLDER_NAME);

	if (folder != NULL)
		folder_name_write(folder, &name);
	for (struct session *s = by->account->sessions; s != NULL; s = s->next) {
		struct text *out = s->notify != NULL ? &s->notify->pending : &s->annotated;

		if (s == by || !wants_annotation(s, folder, entry))
			continue;
		if (out->most == 0)
			*out = TEXT_UP_TO(MOST_PENDING_NEWS);
		text_add(out, SPAN("* METADATA "));       /* RFC 5464 4.4.2 */
		if (folder == NULL)
			text_add(out, SPAN("\"\""));
		else
			session_name_write(s, text_span(&name), out);
		text_add_byte(out, ' ');
		quote_astring(out, entry);
		text_add(out, SPAN("\r\n"));
	}
	text_clear(&name);
}

static struct watch *
watch_of(const struct session *s, const struct mailbox *m)
{
	struct watch *w = s->notify == NULL ? NULL : s->notify->watches;

	while (w != NULL && w->mailbox != m)
		w = w->next;
	return w;
}

int
session_commit_own(struct session *s, struct mailbox *m, struct change *change)
{
	const struct index *ix = &m->index;
	struct watch *w = watch_of(s, m);
	bool told = w != NULL && w->uidvalidity == ix->uidvalidity && w->modseq == ix->modseq &&
		w->uidnext == ix->uidnext && w->count == ix->count;
	int result = mailbox_commit(m, change);

	if (result == 0 && told)
		take_snapshot(w);
	if (result == 0 && s->view != NULL && s->view->mailbox == m) {
		s->view->own_from = change->first_uid;
		s->view->own_to = change->first_uid + change->adds - 1;
	}
	return result;
}
