/* crossing-target - where messages of another user, or for one, go: into files and a commit of our own, or over a link
 * into an APPEND. See crossing.h. */
#include "imapd/crossing.h"

#include "imapd/date.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- an own mailbox --- */

/* False: answered. */
static bool
own_begin(struct command *c, struct crossing *x)
{
	struct append *append = &x->append;
	struct arrival *a = arena_alloc(&c->arena, sizeof(*a));

	a->fd = -1;
	a->flags = x->message.flags;
	a->date = x->message.date;
	append_keep_rightful(append, a);
	append->announced += x->message.size;
	if (append_has_room(c, append, append->announced) < 0 || append_begin(append, a) < 0)
		return command_failed(c, "copy"), false;
	return true;
}

static void
copyuid_write(struct crossing *x, uint32_t uidvalidity, struct span uids)
{
	text_printf(&x->code, "COPYUID %" PRIu32 " ", uidvalidity);
	number_ranges_write(&x->uids, &x->code);
	text_add_byte(&x->code, ' ');
	text_add(&x->code, uids);
	if (x->code.failed)
		text_clear(&x->code);
}

/* append.h says that its messages exist now. */
static enum progress
own_committed(struct command *c)
{
	struct crossing *x = c->state;
	uint32_t first = x->append.change.first_uid, count = x->append.count;
	struct text uids = TEXT_UP_TO(40);
	enum progress progress = COMMAND_AGAIN;

	text_add_number(&uids, first);
	if (count > 1)
		text_printf(&uids, ":%" PRIu32, first + count - 1);
	copyuid_write(x, x->append.to->index.uidvalidity, text_span(&uids));
	text_clear(&uids);
	c->step = x->step;
	return crossing_committed(c, x, &progress) ? COMMAND_AGAIN : progress;
}

/* --- another's --- */

/* Says "(flags) date {size}" of a message: "+" is awaited. */
static void
others_begin(struct crossing *x)
{
	const struct crossed *m = &x->message;
	struct text line = TEXT_UP_TO(SIZE_MAX / 2);
	bool any = m->flags.system != 0;

	text_add(&line, SPAN(" ("));
	flags_write(m->flags.system, &line);
	for (size_t i = 0; i < m->flags.keyword_count; i++, any = true) {
		if (any)
			text_add_byte(&line, ' ');
		text_add(&line, m->flags.keywords[i]);
	}
	text_add(&line, SPAN(") "));
	date_add_time(&line, m->date, 0);
	text_printf(&line, " {%" PRIu64 "}\r\n", m->size);
	link_say(x->to, text_span(&line));
	text_clear(&line);
	x->plus = true;
}

/* "OK [APPENDUID validity uids] ...": what is told of it is made of what was understood. */
static void
others_committed(struct crossing *x, struct span line)
{
	struct number_set set;
	struct arena arena = { .blocks = NULL };
	struct span rest;
	uint32_t uidvalidity;

	if (span_take_word(&line, SPAN("OK [APPENDUID ")) && imap_take_number(&line, &uidvalidity) &&
		imap_take_space(&line)) {
		rest = line;
		if (number_set_take(&rest, &arena, &set) && span_take(&rest, ']'))
			copyuid_write(x, uidvalidity, span_part(line, 0, span_index(line, ']')));
	}
	arena_clear(&arena);
}

/* The next thing that the target's process says to us, as far as it is heard in this slice: it may say other things
 * without end. */
static enum link_piece
others_hear(struct command *c, struct crossing *x, struct span *line)
{
	enum link_piece piece;

	for (;;) {
		piece = link_hear(x->to, x->enabling ? SPAN("~") : SPAN("~a"), line);
		if (piece == LINK_TAGGED && x->enabling)
			x->enabling = false;
		else if (piece != LINK_PASS && piece != LINK_LINE && (piece != LINK_PLUS || !x->enabling))
			return piece;
		if (session_slice_over(c->session)) {
			session_take_turn(c->session);
			return LINK_NOTHING;
		}
	}
}

/* --- both --- */

bool
crossing_target_begin(struct command *c, struct crossing *x)
{
	const struct crossing_found *found = (const void *)x->found.at;
	uint64_t most = c->session->account->daemon.settings->message_size_bytes;

	if (x->append.to == NULL)
		return true;
	for (size_t i = 0; i < x->count; i++) {
		if (found[i].size > most)
			return command_no(c, "TOOBIG", "A message is larger than this server takes."),
				false;
	}
	if (store_has_room(x->append.to->store, x->bytes, x->count) < 0)
		return command_failed(c, "copy"), false;
	return true;
}

enum crossing_ready
crossing_target_ready(struct command *c, struct crossing *x)
{
	struct span line;

	if (x->to == NULL)
		return TARGET_READY;
	/* It is listened to whatever is awaited: it may refuse, or be gone. */
	for (;;) {
		switch (others_hear(c, x, &line)) {
		case LINK_PLUS:
			x->plus = false;
			if (!session_slice_over(c->session))
				break;
			session_take_turn(c->session);
			return TARGET_WAITS;
		case LINK_NOTHING:
			if (!x->plus && !x->enabling && !link_is_full(x->to))
				return TARGET_READY;
			link_wait(x->to);
			return TARGET_WAITS;
		case LINK_TAGGED:
			if (span_starts_nocase(line, SPAN("OK")))    /* it cannot have all that was not said */
				(void)crossing_lost_target(c, x, false);
			else
				(void)crossing_pass_answer(c, line);
			return TARGET_REFUSES;
		default:
			(void)crossing_lost_target(c, x, false);
			return TARGET_REFUSES;
		}
	}
}

bool
crossing_message_begin(struct command *c, struct crossing *x)
{
	x->left = x->message.size;
	x->in_message = true;
	if (x->append.to != NULL)
		return own_begin(c, x);
	others_begin(x);
	return true;
}

void
crossing_message_octets(struct crossing *x, struct span octets)
{
	x->left -= octets.len;
	if (x->append.to != NULL)
		append_octets(&x->append, octets);
	else
		link_say(x->to, octets);
}

void
crossing_message_end(struct crossing *x)
{
	x->in_message = false;
	number_ranges_add(&x->uids, x->message.uid);
	if (x->append.to != NULL)
		append_end(&x->append);
}

/* The APPEND is said to its end: how did it go? */
static bool
others_answer(struct command *c, struct crossing *x, enum progress *progress)
{
	struct span line;

	switch (others_hear(c, x, &line)) {
	case LINK_NOTHING:
		link_wait(x->to);
		*progress = COMMAND_WAITS;
		return false;
	case LINK_TAGGED:
		if (!span_starts_nocase(line, SPAN("OK "))) {
			*progress = crossing_pass_answer(c, line);
			return false;
		}
		others_committed(x, line);
		return crossing_committed(c, x, progress);
	default:
		*progress = crossing_lost_target(c, x, true);
		return false;
	}
}

bool
crossing_commit(struct command *c, struct crossing *x, enum progress *progress)
{
	if (x->uids.count == 0)
		return crossing_answer(c, x, progress);
	if (x->append.to != NULL) {
		x->append.finished = own_committed;
		x->step = c->step;
		*progress = append_all(c);
		return false;
	}
	c->must_end = x->moves;      /* it may be done there from now on */
	link_say(x->to, SPAN("\r\n"));
	x->work = others_answer;
	return true;
}
