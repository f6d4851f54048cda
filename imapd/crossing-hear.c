/* crossing-hear - what the process of the selected mailbox's owner says while messages cross: our answers, and, between
 * them, the client's news, which are passed on. See crossing.h. */
#include "imapd/crossing.h"

bool
crossing_take_fetch(struct span *in, uint32_t *uid)
{
	uint32_t number;

	return span_take_word(in, SPAN("* ")) && imap_take_number(in, &number) &&
		(span_take_word(in, SPAN(" FETCH (UID ")) || span_take_word(in, SPAN(" UIDFETCH (UID "))) &&
		imap_take_number(in, uid);
}

static bool
begins_fetch(struct span line)
{
	uint32_t uid;

	return crossing_take_fetch(&line, &uid);
}

/* INPROGRESS has our tag, not the client's; what has none of ours is no answer to the client either. */
void
crossing_pass_on(struct command *c, struct span line)
{
	if (span_starts_nocase(line, SPAN("* ")) && !span_starts_nocase(line, SPAN("* OK [INPROGRESS")))
		text_add(command_out(c), line);
}

/* A piece of a response in several: one that begins it, or not. */
static enum heard
hear_part(struct command *c, struct crossing *x, bool begins, struct span piece)
{
	bool ends = !link_is_within(x->from);

	if (x->part == BODY) {       /* behind it */
		x->part = ends ? FRONT : BODY;
		return ends && span_equal(piece, SPAN(")\r\n")) ? HEARD_END : HEARD_OVER;
	}
	if (begins) {
		text_reset(&x->front);
		x->part = begins_fetch(piece) ? FRONT : PASSING;
		if (!span_starts_nocase(piece, SPAN("* ")))
			return HEARD_OVER;
	}
	if (x->part == PASSING) {
		text_add(command_out(c), piece);
		x->part = ends ? FRONT : PASSING;
		return HEARD_MORE;
	}
	text_add(&x->front, piece);
	if (x->front.failed)
		return HEARD_OVER;
	if (ends)
		crossing_pass_on(c, text_span(&x->front));
	else if (piece.at[piece.len - 1] == '\n')
		x->part = BODY;
	return x->part == BODY ? HEARD_FRONT : HEARD_MORE;
}

enum heard
crossing_hear(struct command *c, struct crossing *x, struct span tag, struct span *piece)
{
	bool octets = link_literal(x->from) > 0, begins = !link_is_within(x->from);

	switch (link_hear(x->from, tag, piece)) {
	case LINK_NOTHING:
		link_wait(x->from);
		return HEARD_NOTHING;
	case LINK_LINE:
		return HEARD_LINE;
	case LINK_TAGGED:
		return HEARD_TAGGED;
	case LINK_PASS:
		if (!octets)
			return hear_part(c, x, begins, *piece);
		if (x->part == BODY)
			return HEARD_OCTETS;
		text_add(command_out(c), *piece);
		return HEARD_MORE;
	case LINK_PLUS:
	case LINK_OVER:
	default:
		return HEARD_OVER;
	}
}
