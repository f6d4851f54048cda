/* remote-subscribed - LIST (SUBSCRIBED) about mailboxes of others: are they still there? See remote.h. */
#include "imapd/remote.h"

#include <string.h>

#define MOST_ASKED_TEXT (16 * 1024)

/* Takes "* LIST (attributes) "/" name". Are there attributes of one that does not exist? */
static bool
take_listed(struct command *c, struct span line, struct span *name, bool *exists)
{
	struct span attributes, separator, one;

	if (!span_take_word(&line, SPAN("* LIST (")) || !span_take_until(&line, ')', &attributes) ||
		!span_take_word(&line, SPAN(" \"")) || !span_take_until(&line, '"', &separator) ||
		!imap_take_space(&line) || !imap_take_astring(&line, &c->arena, name))
		return false;
	*exists = true;
	while (attributes.len > 0) {
		if (!span_take_until(&attributes, ' ', &one))
			one = attributes, attributes = SPAN_NONE;
		if (span_equal_nocase(one, SPAN("\\NonExistent")) || span_equal_nocase(one, SPAN("\\Noselect")))
			*exists = false;
	}
	return true;
}

/* A line of the answer. What was not asked for is not told. */
static void
hear(struct command *c, struct remote_subscribed *r, struct span line)
{
	const struct folder_list *folders = r->folders;
	struct text wire = TEXT_UP_TO(MOST_FOREIGN_NAME);
	struct span name;
	bool exists;

	if (!take_listed(c, line, &name, &exists)) {
		text_add(command_out(c), line);
		return;
	}
	session_foreign_name(c->session, name, &wire);
	for (size_t i = r->from; i < r->to && exists; i++) {
		if (r->said[i - r->from] || !span_equal(folders->foreign[i], text_span(&wire)))
			continue;
		r->said[i - r->from] = true;
		remote_pass_listed(c, folders, line);
		break;
	}
	text_clear(&wire);
}

/* Does foreign[i] belong to the owner whose mailboxes are asked for? `spelled` is its name. */
static bool
is_of(const struct session *s, struct span spelled, char owner[MOST_ADDRESS + 1])
{
	char other[MOST_ADDRESS + 1];

	if (!session_name_owner(s, spelled, other))
		return false;
	if (owner[0] == '\0')
		memcpy(owner, other, sizeof(other));
	return strcmp(owner, other) == 0;
}

bool
remote_subscribed_begin(struct command *c, struct remote_subscribed *r, size_t from,
	bool (*wanted)(struct command *c, struct span foreign))
{
	struct session *s = c->session;
	struct text line = TEXT_UP_TO(SIZE_MAX / 2), spelled = TEXT_UP_TO(4 * MOST_FOREIGN_NAME);
	char owner[MOST_ADDRESS + 1] = "";
	size_t asked = 0;

	r->from = from;
	r->unknown = false;
	text_add(&line, SPAN("~l LIST \"\" ("));
	for (r->to = from; r->to < r->folders->foreign_count && r->to - from < MOST_ASKED &&
		line.len < MOST_ASKED_TEXT; r->to++) {
		struct span foreign = r->folders->foreign[r->to];

		text_reset(&spelled);
		session_foreign_write(s, foreign, &spelled);
		if (!is_of(s, text_span(&spelled), owner) && r->to > from)
			break;
		r->said[r->to - from] = !wanted(c, foreign);
		if (r->said[r->to - from])
			continue;
		if (asked++ > 0)
			text_add_byte(&line, ' ');
		session_quote_name(s, text_span(&spelled), &line);
	}
	text_add_byte(&line, ')');
	text_add(&line, r->returns);
	text_add(&line, SPAN("\r\n"));
	if (asked > 0) {
		s->link = link_new(s, span_str(owner));
		r->enabling = remote_say_enabled(s, s->link);
		link_say(s->link, text_span(&line));
	}
	text_clear(&line);
	text_clear(&spelled);
	return asked > 0;
}

bool
remote_subscribed_step(struct command *c, struct remote_subscribed *r, bool *wait)
{
	struct session *s = c->session;
	struct span piece;

	*wait = false;
	while (!session_full(s) && !session_slice_over(s)) {
		switch (link_hear(s->link, r->enabling ? SPAN("~") : SPAN("~l"), &piece)) {
		case LINK_NOTHING:
			link_wait(s->link);
			*wait = true;
			return false;
		case LINK_LINE:
			if (!r->enabling)
				hear(c, r, piece);
			break;
		case LINK_PASS:      /* no name of ours is a literal */
		case LINK_PLUS:
			break;
		case LINK_TAGGED:
			if (r->enabling) {
				r->enabling = false;
				break;
			}
			r->unknown = !span_starts_nocase(piece, SPAN("OK"));
			link_free(&s->link);
			return true;
		case LINK_OVER:
		default:
			r->unknown = !link_is_unknown(s->link);
			link_free(&s->link);
			return true;
		}
	}
	return false;
}
