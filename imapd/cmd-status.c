/* cmd-status - STATUS (RFC 3501 6.3.10), with HIGHESTMODSEQ (RFC 7162), SIZE (RFC 8438),
 * APPENDLIMIT (RFC 7889), DELETED (RFC 9051 6.3.11) and DELETED-STORAGE (RFC 9208 4.1.4); see status.h. */
#include "imapd/status.h"

#include "imapd/acl.h"
#include "imapd/condstore.h"
#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/quote.h"

static const char *const names[STATUS_ITEMS] = { "MESSAGES", "RECENT", "UIDNEXT",
	"UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "SIZE", "APPENDLIMIT", "DELETED",
	"DELETED-STORAGE", "MAILBOXID" };

bool
status_take_items(struct span *in, struct status_items *items)
{
	struct span rest = *in, word;

	if (!span_take(&rest, '('))
		return false;
	do {
		size_t i = 0;

		if (!imap_take_atom(&rest, &word))
			return false;
		while (i < STATUS_ITEMS && !span_equal_nocase(word, span_str(names[i])))
			i++;
		if (i == STATUS_ITEMS)
			return false;
		items->wanted[i] = true;
	} while (imap_take_space(&rest));
	if (!span_take(&rest, ')'))
		return false;
	*in = rest;
	return true;
}

int
status_begin(struct status *st, struct session *s, const char *folder,
	const struct status_items *items)
{
	if (items->wanted[STATUS_HIGHESTMODSEQ])
		condstore_enable(s);
	*st = (struct status){ .items = items, .next_uid = 1 };
	st->mailbox = mailbox_open(&s->account->store, folder);
	if (st->mailbox == NULL)
		return -1;
	change_init(&st->learned);
	st->learned.lazy = true;
	return 0;
}

void
status_end(struct status *st)
{
	if (st->mailbox == NULL)
		return;
	change_clear(&st->learned);
	mailbox_release(&st->mailbox);
}

/* RFC 8438 section 3: the sum of RFC822.SIZE. False: the slice is over. */
static bool
add_sizes(struct status *st, struct session *s)
{
	struct mailbox *m = st->mailbox;
	struct index_record r;
	size_t at = index_from(&m->index, st->next_uid);

	for (; at < m->index.count; at = index_from(&m->index, st->next_uid)) {
		bool known = m->index.records[at].vsize != UNKNOWN_SIZE;

		st->next_uid = m->index.records[at].uid + 1;
		/* What cannot be read has no size that FETCH could tell either. */
		if (mail_facts(m, st->next_uid - 1, FACT_SIZE, &st->learned, &r))
			st->size += r.vsize;
		if (!known && session_slice_over(s))
			return false;
	}
	return true;
}

static uint64_t
item_number(const struct status *st, const struct session *s, enum status_item item)
{
	const struct index *ix = &st->mailbox->index;
	uint64_t n = 0;

	switch (item) {
	case STATUS_MESSAGES:
		return ix->count;
	case STATUS_RECENT:
		return ix->count - index_from(ix, ix->recent_from);
	case STATUS_UIDNEXT:
		return ix->uidnext;
	case STATUS_UIDVALIDITY:
		return ix->uidvalidity;
	case STATUS_HIGHESTMODSEQ:
		return ix->modseq;
	case STATUS_SIZE:
		return st->size;
	case STATUS_APPENDLIMIT:
		return s->account->daemon.settings->message_size_bytes;
	case STATUS_DELETED:
		for (size_t i = 0; i < ix->count; i++)
			n += (ix->records[i].flags & FLAG_DELETED) != 0;
		return n;
	case STATUS_DELETED_STORAGE:
		for (size_t i = 0; i < ix->count; i++)
			n += ix->records[i].flags & FLAG_DELETED ?
				mailbox_file_size(st->mailbox, &ix->records[i]) : 0;
		return n;
	case STATUS_UNSEEN:
	case STATUS_MAILBOXID:
	case STATUS_ITEMS:
	default:
		for (size_t i = 0; i < ix->count; i++)
			n += !(ix->records[i].flags & FLAG_SEEN);
		return n;
	}
}

static void
write_status(const struct status *st, struct session *s)
{
	struct text *out = &s->out;
	bool first = true;

	text_add(out, SPAN("* STATUS "));
	session_folder_write(s, st->mailbox->folder, out);
	text_add(out, SPAN(" ("));
	for (size_t i = 0; i < STATUS_ITEMS; i++) {
		if (!st->items->wanted[i])
			continue;
		if (!first)
			text_add_byte(out, ' ');
		first = false;
		text_add_str(out, names[i]);
		text_add_byte(out, ' ');
		if (i == STATUS_MAILBOXID) {         /* RFC 8474 4.3 */
			text_add_byte(out, '(');
			mailbox_id_write(&st->mailbox->index, out);
			text_add_byte(out, ')');
		} else {
			text_add_number(out, item_number(st, s, (enum status_item)i));
		}
	}
	text_add(out, SPAN(")\r\n"));
}

bool
status_step(struct status *st, struct session *s)
{
	bool all = !st->items->wanted[STATUS_SIZE] || st->mailbox->gone || add_sizes(st, s);

	if (st->learned.records.len > 0) {
		(void)mailbox_commit(st->mailbox, &st->learned);
		st->learned.lazy = true;
	}
	if (all && !st->mailbox->gone)
		write_status(st, s);
	return all;
}

/* --- the command --- */

struct asked {
	struct status_items items;
	struct status status;
};

static void
asked_release(struct command *c)
{
	struct asked *asked = c->state;

	status_end(&asked->status);
}

static enum progress
asked_step(struct command *c)
{
	struct asked *asked = c->state;

	if (!status_step(&asked->status, c->session))
		return COMMAND_AGAIN;
	if (asked->status.mailbox->gone)
		return command_no(c, "NONEXISTENT", "The mailbox is no more.");
	return command_ok(c, NULL, "STATUS completed.");
}

enum progress
cmd_status(struct command *c)
{
	struct asked *asked = arena_alloc(&c->arena, sizeof(*asked));
	char folder[MOST_FOLDER_NAME + 1];

	c->state = asked;
	c->release = asked_release;
	if (!command_take_folder(c, folder) || !command_take_space(c))
		return COMMAND_DONE;
	if (!status_take_items(&c->args, &asked->items))
		return command_bad(c, STATUS_EXPECTED);
	if (!command_no_more(c))
		return COMMAND_DONE;
	if (!command_may(c, folder, RIGHT_READ))
		return COMMAND_DONE;
	if (status_begin(&asked->status, c->session, folder, &asked->items) < 0)
		return command_failed(c, "status");
	c->step = asked_step;
	return asked_step(c);
}
