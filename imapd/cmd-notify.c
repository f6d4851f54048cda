/* cmd-notify - NOTIFY (RFC 5465 3.1). What comes of it: notify.h. */
#include "imapd/notify.h"

#include "imapd/fetch.h"

static const struct {
	const char *word;
	unsigned int event;
} events[] = {
	{ "MessageNew", EVENT_MESSAGE_NEW },
	{ "MessageExpunge", EVENT_MESSAGE_EXPUNGE },
	{ "FlagChange", EVENT_FLAG_CHANGE },
	{ "MailboxName", EVENT_MAILBOX_NAME },
	{ "SubscriptionChange", EVENT_SUBSCRIPTION },
	{ "MailboxMetadataChange", EVENT_METADATA },
	{ "ServerMetadataChange", EVENT_SERVER_METADATA },
};
#define EVENTS (sizeof(events) / sizeof(events[0]))

/* What is known of a group while it is read. */
struct reading {
	struct interest *n;
	struct event_group group;
	struct span items;
	bool unknown;                /* an event that is not supported */
	bool selected_given;
};

static bool
take_event(struct command *c, struct reading *r)
{
	struct span word, rest;

	if (!imap_take_atom(&c->args, &word))
		return false;
	for (size_t i = 0; i < EVENTS; i++) {
		if (!span_equal_nocase(word, span_str(events[i].word)))
			continue;
		r->group.events |= events[i].event;
		rest = c->args;
		if (events[i].event != EVENT_MESSAGE_NEW || !imap_take_space(&rest) ||
			rest.len == 0 || rest.at[0] != '(')
			return true;
		c->args = rest;
		return fetch_take_items(c, &r->items);
	}
	r->unknown = true;
	return true;
}

/* "(" event *(SP event) ")" / "NONE"; the RFC's examples leave out the parentheses. */
static bool
take_events(struct command *c, struct reading *r)
{
	bool listed;

	if (span_starts_nocase(c->args, SPAN("NONE)")))
		return span_take_word(&c->args, SPAN("NONE"));
	listed = span_take(&c->args, '(');
	do {
		if (!take_event(c, r))
			return false;
	} while (imap_take_space(&c->args));
	return !listed || span_take(&c->args, ')');
}

/* RFC 5465 section 5, 6.1. */
static const char *
what_is_wrong(struct reading *r)
{
	unsigned int e = r->group.events;
	bool selected = r->group.filter.kind <= FILTER_SELECTED_DELAYED;

	if (r->unknown)
		return NULL;     /* BADEVENT tells */
	if (!(e & EVENT_MESSAGE_NEW) != !(e & EVENT_MESSAGE_EXPUNGE))
		return "MessageNew and MessageExpunge together";
	if ((e & EVENT_FLAG_CHANGE) && !(e & EVENT_MESSAGE_NEW))
		return "MessageNew and MessageExpunge beside FlagChange";
	if (selected && (e & ~EVENTS_OF_MESSAGES))
		return "events of messages for the selected mailbox";
	if (selected && r->selected_given)
		return "one of selected and selected-delayed, once";
	if (!selected && r->items.at != NULL)
		return "items to fetch for the selected mailbox alone";
	return NULL;
}

/* "(" filter SP events ")". False: answered. */
static bool
take_group(struct command *c, struct reading *r)
{
	struct interest *n = r->n;
	const char *expected;

	r->group = (struct event_group){ .events = 0 };
	r->items = SPAN_NONE;
	if (!span_take(&c->args, '(') || !mailbox_filter_take(c, &n->arena, &r->group.filter) ||
		r->group.filter.kind == FILTER_SUBTREE_ONE)
		return command_bad(c, "groups such as (" FILTER_EXPECTED " (events))"), false;
	if (!command_take_space(c))
		return false;
	if (!take_events(c, r) || !span_take(&c->args, ')'))
		return command_bad(c, "events such as (MessageNew MessageExpunge), or NONE"), false;
	expected = what_is_wrong(r);
	if (expected != NULL)
		return command_bad(c, expected), false;
	if (r->group.filter.kind <= FILTER_SELECTED_DELAYED) {
		r->selected_given = true;
		n->delayed = r->group.filter.kind == FILTER_SELECTED_DELAYED;
		n->selected = r->group.events;
		if (r->items.at != NULL)
			n->items = arena_copy(&n->arena, r->items);
		return true;
	}
	if (n->group_count == MOST_EVENT_GROUPS)
		return command_no(c, "NOTIFICATIONOVERFLOW", "Fewer groups, please."), false;
	n->groups[n->group_count++] = r->group;
	return true;
}

static enum progress
bad_event(struct command *c)
{
	struct text code = TEXT_UP_TO(300);

	text_add(&code, SPAN("BADEVENT ("));
	for (size_t i = 0; i < EVENTS; i++) {
		text_add_str(&code, i > 0 ? " " : "");
		text_add_str(&code, events[i].word);
	}
	text_add_byte(&code, ')');
	(void)command_no(c, text_str(&code), "There are no such events here.");
	text_clear(&code);
	return COMMAND_DONE;
}

/* [SP "STATUS"] SP groups. False: answered, or (reading.unknown) to be. */
static bool
take_set(struct command *c, struct reading *r, bool *status)
{
	*status = span_take_word(&c->args, SPAN(" STATUS"));
	do {
		if (!command_take_space(c) || !take_group(c, r))
			return false;
	} while (c->args.len > 0);
	return !r->unknown;
}

enum progress
cmd_notify(struct command *c)
{
	struct session *s = c->session;
	struct reading r = { .n = NULL };
	bool status;

	if (!command_take_space(c))
		return COMMAND_DONE;
	if (span_equal_nocase(c->args, SPAN("NONE"))) {
		notify_set(s, notify_new());
		return command_ok(c, NULL, "NOTIFY completed.");
	}
	if (!span_take_word(&c->args, SPAN("SET")))
		return command_bad(c, "SET or NONE");
	r.n = notify_new();
	if (!take_set(c, &r, &status)) {
		notify_free(&r.n);
		return r.unknown && c->answer.len == 0 ? bad_event(c) : COMMAND_DONE;
	}
	if (!notify_watch(s, r.n, status ? command_out(c) : NULL)) {
		notify_free(&r.n);
		return command_no(c, "NOTIFICATIONOVERFLOW", "Fewer mailboxes, please.");
	}
	notify_set(s, r.n);
	account_housekeep(s->account);       /* what inotify does not watch is looked at by and by */
	return command_ok(c, NULL, "NOTIFY completed.");
}
