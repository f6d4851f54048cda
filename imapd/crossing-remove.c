/* crossing-remove - how MOVE takes away, where they were, the messages that are copied. See crossing.h. */
#include "imapd/crossing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define MOST_RANGES (MOST_CROSSING_SET / sizeof("4294967295:4294967295"))

/* --- another's mailbox --- */

/* A piece of the answer to XREMOVE, news of the mailbox before it. COMMAND_AGAIN: it is OK, in *line. */
static enum progress
hear_removed(struct command *c, struct crossing *x, struct span *line)
{
	switch (crossing_hear(c, x, SPAN("~x"), line)) {
	case HEARD_NOTHING:
		return COMMAND_WAITS;
	case HEARD_LINE:
		crossing_pass_on(c, *line);
		return COMMAND_AGAIN;
	case HEARD_MORE:
		return COMMAND_AGAIN;
	case HEARD_TAGGED:
		x->asking = false;
		return span_starts_nocase(*line, SPAN("OK ")) ? COMMAND_AGAIN : crossing_pass_answer(c, *line);
	default:
		return crossing_lost_source(c, x);
	}
}

/* Not before the messages are found: with the answer EXPUNGE may be told, and numbers then mean others. */
bool
crossing_may_remove(struct command *c, struct crossing *x, enum progress *progress)
{
	struct span line;

	if (!x->asking)
		link_say(x->from, SPAN("~x XREMOVE\r\n"));
	x->asking = true;
	*progress = hear_removed(c, x, &line);
	if (*progress == COMMAND_AGAIN && !x->asking)
		x->work = crossing_copy;
	return *progress == COMMAND_AGAIN;
}

/* As many of the ranges as one line holds. */
static void
ask_removed(struct crossing *x)
{
	struct text line = TEXT_UP_TO(SIZE_MAX / 2);
	struct number_ranges some = { NULL, 0, 0 };

	some.at = x->uids.at + x->removing;
	some.count = x->uids.count - x->removing;
	if (some.count > MOST_RANGES)
		some.count = MOST_RANGES;
	x->removing += some.count;
	text_add(&line, SPAN("~x XREMOVE "));
	number_ranges_write(&some, &line);
	text_add(&line, SPAN("\r\n"));
	link_say(x->from, text_span(&line));
	text_clear(&line);
	x->asking = true;
}

/* "OK [HIGHESTMODSEQ n] ...": the client hears the last. */
static void
note_highest(struct crossing *x, struct span line)
{
	uint64_t modseq;

	if (!span_take_word(&line, SPAN("OK [HIGHESTMODSEQ ")) || !span_take_number(&line, INT64_MAX, &modseq) ||
		!span_take(&line, ']'))
		return;
	(void)snprintf(x->highest, sizeof(x->highest), "HIGHESTMODSEQ %" PRIu64, modseq);
}

static bool
remove_there(struct command *c, struct crossing *x, enum progress *progress)
{
	struct span line = SPAN_NONE;

	if (!x->asking && x->removing == x->uids.count)
		return crossing_answer(c, x, progress);
	if (!x->asking)
		ask_removed(x);
	*progress = hear_removed(c, x, &line);
	if (*progress == COMMAND_AGAIN && !x->asking)
		note_highest(x, line);
	return *progress == COMMAND_AGAIN;
}

/* --- the own mailbox --- */

static bool
remove_here(struct command *c, struct crossing *x, enum progress *progress)
{
	const struct view *v = c->session->view;

	if (!mailbox_expunge_some(v->mailbox, &x->uids, &x->next, EXPUNGED_AT_A_TIME, &x->error)) {
		command_progress_below(c, &x->uids, x->next, x->count);
		return true;
	}
	errno = x->error;
	if (x->error != 0)
		return *progress = command_failed(c, "move"), false;
	c->tells_highest = v->vanishes;
	return crossing_answer(c, x, progress);
}

bool
crossing_remove(struct command *c, struct crossing *x, enum progress *progress)
{
	return x->from == NULL ? remove_here(c, x, progress) : remove_there(c, x, progress);
}
