/*
 * cmd-esearch - ESEARCH: a search of several mailboxes (MULTISEARCH, RFC 7377), one after the other, without selecting
 * them. One that is selected is searched as the session knows it.
 */
#include "imapd/mailbox-filter.h"
#include "imapd/searching.h"
#include "imapd/share.h"

#include <errno.h>
#include <string.h>

#define MOST_SOURCES 20

struct multi {
	struct searching searching;      /* of the mailbox that is being searched */
	struct result options;           /* what RETURN said */
	struct mailbox_filter sources[MOST_SOURCES];
	size_t source_count;
	bool selected;                   /* among the sources, or there are none */
	struct span keys;
	struct folder_list folders;
	bool read;
	size_t at;
	struct view *view;               /* NULL: none is being searched */
	bool ours;                       /* it is not the selected one */
	struct arena arena;              /* of this mailbox's keys */
	struct text name;
	bool done_selected;
};

static void
end_mailbox(struct multi *m)
{
	if (m->view == NULL)
		return;
	searching_clear(&m->searching);
	if (m->ours)
		view_close(&m->view);
	m->view = NULL;
	arena_clear(&m->arena);
}

static void
multi_release(struct command *c)
{
	struct multi *m = c->state;

	end_mailbox(m);
	text_clear(&m->name);
	if (m->read)
		folder_list_clear(&m->folders);
}

/* --- one mailbox --- */

/* Its name, as the response has it. */
static void
name_it(struct command *c, struct multi *m)
{
	struct text wire = TEXT_UP_TO(MOST_FOLDER_NAME);

	text_reset(&m->name);
	folder_name_write(m->view->mailbox->folder, &wire);
	session_name_write(c->session, text_span(&wire), &m->name);
	text_clear(&wire);
}

/* Takes up a mailbox. False: answered. */
static bool
begin_mailbox(struct command *c, struct multi *m, struct view *view, bool ours)
{
	struct searching *s = &m->searching;
	bool update = m->options.update && !ours;

	memset(s, 0, sizeof(*s));
	searching_init(s, view);
	s->result = m->options;
	s->result.view = m->view = view;
	s->result.uid = true;
	s->arena = &m->arena;
	s->one_of_many = true;
	m->arena.wide = c->session->utf8;
	m->ours = ours;
	name_it(c, m);
	s->result.mailbox = text_span(&m->name);
	if (update && !searching_begin_update(c, s))
		return false;
	c->args = m->keys;
	return searching_take_keys(c, s, false);
}

static bool
on_found(struct command *c, size_t number)
{
	struct multi *m = c->state;
	struct searching *s = &m->searching;

	result_add(&s->result, number, searching_modseq(s, number));
	return !result_is_settled(&s->result);
}

/* Is it the folder that is selected? */
static bool
is_selected(const struct command *c, const char *folder)
{
	const struct view *v = c->session->view;

	return v != NULL && strcmp(v->mailbox->folder, folder) == 0;
}

/* The next mailbox that is meant. False: there is none, or it was answered. */
static bool
next_mailbox(struct command *c, struct multi *m)
{
	struct mailbox *mailbox;
	const char *why;

	if (m->selected && !m->done_selected) {
		m->done_selected = true;
		return begin_mailbox(c, m, c->session->view, false);
	}
	while (m->at < m->folders.count) {
		const struct folder_entry *e = &m->folders.entries[m->at++];
		char folder[MOST_FOLDER_NAME + 1];
		bool meant = false;

		if (!e->exists || !folder_of_name(e->name, folder, &why))
			continue;
		for (size_t i = 0; i < m->source_count && !meant; i++)
			meant = m->sources[i].kind != FILTER_SELECTED && mailbox_filter_fits(&m->sources[i], folder, e->subscribed);
		if (!meant || (m->selected && is_selected(c, folder)))
			continue;
		if (is_selected(c, folder))
			return begin_mailbox(c, m, c->session->view, false);
		mailbox = mailbox_open(&c->session->account->store, folder);
		if (mailbox == NULL)
			continue;        /* it cannot be selected */
		return begin_mailbox(c, m, view_open(mailbox, true), true);
	}
	return false;
}

static enum progress
multi_step(struct command *c)
{
	struct multi *m = c->state;
	struct searching *s = &m->searching;

	for (;;) {
		if (m->view == NULL && !next_mailbox(c, m)) {
			if (c->answer.len > 0)
				return COMMAND_DONE;
			return command_ok(c, NULL, "ESEARCH completed.");
		}
		if (!searching_walk(c, s, on_found))
			return COMMAND_AGAIN;
		/* RFC 7377 2.1: nothing is told of one without any */
		if (s->result.count > 0 && !result_write(c, &s->result, "SEARCH"))
			return COMMAND_AGAIN;
		if (!m->ours)
			searching_end(c, s, NULL);
		end_mailbox(m);
		if (session_full(c->session) || session_slice_over(c->session))
			return COMMAND_AGAIN;
	}
}

/* --- arguments --- */

/* IN SP "(" source *(SP source) ")" SP. False: answered. */
static bool
take_sources(struct command *c, struct multi *m)
{
	if (!span_take_word(&c->args, SPAN("IN ("))) {
		m->selected = true;
		return true;
	}
	do {
		struct mailbox_filter *f = &m->sources[m->source_count];

		if (m->source_count == MOST_SOURCES || !mailbox_filter_take(c, &c->arena, f) ||
			f->kind == FILTER_SELECTED_DELAYED)
			return command_bad(c, FILTER_EXPECTED), false;
		m->source_count++;
		m->selected |= f->kind == FILTER_SELECTED;
	} while (imap_take_space(&c->args));
	if (!span_take(&c->args, ')'))
		return command_bad(c, "a closing parenthesis behind IN (...)"), false;
	return command_take_space(c);
}

/* RFC 7377 2.1, 2.2. False: answered. */
static bool
take_options(struct command *c, struct multi *m)
{
	bool others = m->source_count > (m->selected ? 1 : 0);

	if (!result_take_return(c, &m->options))
		return command_bad(c, RETURN_EXPECTED), false;
	if (!m->options.extended)
		m->options.returns = RETURN_ALL;
	m->options.extended = true;
	if ((m->options.returns & RETURN_SAVE) && (others || !m->selected))
		return command_bad(c, "SAVE with the selected mailbox alone"), false;
	if (others && session_is_guest(c->session))
		return command_no(c, "NOPERM", "Of another user's mailboxes the selected one is searched."), false;
	if (m->selected && c->session->selected != NULL)
		return command_no(c, "CANNOT", "Not together with a mailbox of another user."), false;
	if ((m->options.update || m->selected) && c->session->view == NULL)
		return command_bad(c, "a selected mailbox for this, or IN (...)"), false;
	m->keys = c->args;
	return true;
}

/* Syntax is looked at before any mailbox: there may be none. False: answered. */
static bool
check_keys(struct command *c, struct multi *m)
{
	struct view *v = c->session->view;
	struct mailbox *inbox;
	struct result options = m->options;
	bool good;

	m->options.update = false;
	if (v != NULL) {
		good = begin_mailbox(c, m, v, false);
	} else {
		inbox = mailbox_open(&c->session->account->store, "");
		if (inbox == NULL)
			return command_failed(c, "search"), false;
		good = begin_mailbox(c, m, view_open(inbox, true), true);
	}
	end_mailbox(m);
	m->options = options;
	return good;
}

enum progress
cmd_esearch(struct command *c)
{
	struct multi *m = arena_alloc(&c->arena, sizeof(*m));

	c->state = m;
	c->release = multi_release;
	m->name = TEXT_UP_TO(8 * MOST_FOLDER_NAME);
	if (!command_take_space(c) || !take_sources(c, m) || !take_options(c, m) ||
		!check_keys(c, m))
		return COMMAND_DONE;
	if (m->source_count > (m->selected ? 1 : 0)) {
		if (folder_list_read(&c->session->account->store, true, &m->folders) < 0)
			return command_failed(c, "list");
		m->read = true;
	}
	c->step = multi_step;
	return multi_step(c);
}
