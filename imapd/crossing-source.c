/* crossing-source - where messages for another user, or of one, come from: the session's view, or FETCH over the link to
 * the process of the selected mailbox's owner. See crossing.h. */
#include "imapd/crossing.h"

#include "imapd/date.h"
#include "imapd/notify.h"
#include "imapd/quote.h"

#include <errno.h>
#include <string.h>

#define PIECE (64u * 1024)

/* --- what was found --- */

static const struct crossing_found *
found(const struct crossing *x, size_t i)
{
	return (const struct crossing_found *)(const void *)x->found.at + i;
}

static bool
add_found(struct crossing *x, uint32_t uid, uint64_t size)
{
	struct crossing_found f = { .uid = uid, .size = size };

	if (uid == 0 || (x->count > 0 && uid <= found(x, x->count - 1)->uid))
		return false;
	text_add(&x->found, span_of(&f, sizeof(f)));
	x->bytes += size < UINT64_MAX - x->bytes ? size : UINT64_MAX - x->bytes;
	x->count++;
	return true;
}

static enum progress
too_many(struct command *c)
{
	return command_no(c, "LIMIT", "Fewer messages at a time, please.");
}

/* All are found. False: answered. */
static bool
all_found(struct command *c, struct crossing *x, enum progress *progress)
{
	*progress = COMMAND_DONE;
	if (!crossing_target_begin(c, x))
		return false;
	x->work = x->moves && x->from != NULL ? crossing_may_remove : crossing_copy;
	return true;
}

/* --- the owner's process --- */

/* "(\Seen work)", without \Recent. */
static bool
take_flags(struct command *c, struct span *in, struct flag_list *flags)
{
	struct text list = TEXT_UP_TO(MOST_CROSSING_FRONT);
	struct span rest, word;
	const char *wrong;
	bool good;

	if (!span_take(in, '(') || !span_take_until(in, ')', &rest))
		return false;
	text_add_byte(&list, '(');
	while (rest.len > 0) {
		if (!span_take_until(&rest, ' ', &word))
			word = rest, rest = SPAN_NONE;
		if (span_equal_nocase(word, SPAN("\\Recent")))
			continue;
		if (list.len > 1)
			text_add_byte(&list, ' ');
		text_add(&list, word);
	}
	text_add_byte(&list, ')');
	rest = arena_copy(&c->arena, text_span(&list));
	text_clear(&list);
	*flags = (struct flag_list){ .system = 0 };
	good = flag_list_take(&rest, &c->arena, false, flags, &wrong);
	return good && rest.len == 0;
}

/* All in front of a message's octets, up to their announcement. */
static bool
take_front(struct command *c, struct span in, struct crossed *m)
{
	struct date date;

	if (!crossing_take_fetch(&in, &m->uid) || !span_take_word(&in, SPAN(" FLAGS ")) ||
		!take_flags(c, &in, &m->flags) || !span_take_word(&in, SPAN(" INTERNALDATE ")) ||
		!date_take_time(&in, &date) || !span_take_word(&in, SPAN(" BODY[] {")) ||
		!span_take_number(&in, INT64_MAX, &m->size))
		return false;
	m->date = date.utc;
	return span_equal(in, SPAN("}\r\n"));
}

/* Was the whole line one of a response to FETCH (UID RFC822.SIZE)? */
static bool
note_found(struct crossing *x, struct span line)
{
	uint64_t size;
	uint32_t uid;

	return crossing_take_fetch(&line, &uid) && span_take_word(&line, SPAN(" RFC822.SIZE ")) &&
		span_take_number(&line, INT64_MAX, &size) && span_equal(line, SPAN(")\r\n")) &&
		(x->count > MOST_CROSSING || add_found(x, uid, size));
}

static bool
lost(struct command *c, struct crossing *x, enum progress *progress)
{
	*progress = crossing_lost_source(c, x);
	return false;
}

/* The answer to FETCH (UID RFC822.SIZE). */
static bool
find_there(struct command *c, struct crossing *x, enum progress *progress)
{
	struct span piece;

	switch (crossing_hear(c, x, SPAN("~f"), &piece)) {
	case HEARD_NOTHING:
		*progress = COMMAND_WAITS;
		return false;
	case HEARD_LINE:
		if (!note_found(x, piece))
			crossing_pass_on(c, piece);
		return true;
	case HEARD_MORE:
		return true;
	case HEARD_TAGGED:
		x->asking = false;
		if (!span_starts_nocase(piece, SPAN("OK ")))
			return *progress = crossing_pass_answer(c, piece), false;
		if (x->count > MOST_CROSSING)
			return *progress = too_many(c), false;
		return all_found(c, x, progress);
	default:
		return lost(c, x, progress);
	}
}

static void
ask_found(struct crossing *x)
{
	struct text line = TEXT_UP_TO(SIZE_MAX / 2);

	text_add_str(&line, x->by_uid ? "~f UID FETCH " : "~f FETCH ");
	text_add(&line, x->set);
	text_add(&line, SPAN(" (UID RFC822.SIZE)\r\n"));
	link_say(x->from, text_span(&line));
	text_clear(&line);
	x->asking = true;
}

/* The next few messages are asked for. */
static void
ask_messages(struct crossing *x)
{
	struct number_ranges uids = { NULL, 0, 0 };
	struct text line = TEXT_UP_TO(SIZE_MAX / 2);
	uint64_t bytes = 0;

	for (unsigned int n = 0; x->asked < x->count && n < CROSSING_MESSAGES && bytes < CROSSING_BYTES; n++) {
		bytes += found(x, x->asked)->size;
		number_ranges_add(&uids, found(x, x->asked++)->uid);
	}
	text_add(&line, SPAN("~c UID FETCH "));
	number_ranges_write(&uids, &line);
	text_add(&line, SPAN(" (UID FLAGS INTERNALDATE BODY.PEEK[])\r\n"));
	link_say(x->from, text_span(&line));
	text_clear(&line);
	number_ranges_clear(&uids);
	x->asking = true;
}

/* One of those between x->at and x->asked comes. Those before it are gone. False: it is none of them. */
static bool
is_awaited(struct crossing *x, bool *some_gone)
{
	*some_gone = false;
	while (x->at < x->asked && found(x, x->at)->uid < x->message.uid) {
		*some_gone = true;
		x->at++;
	}
	return x->at < x->asked && found(x, x->at++)->uid == x->message.uid;
}

static void
say_gone(struct command *c)
{
	(void)command_no(c, "EXPUNGEISSUED", "Some of the messages are no more; none was copied.");
}

/* What there is to say of a message is there. False: this is not what was asked for. */
static bool
front_heard(struct command *c, struct crossing *x)
{
	uint64_t most = c->session->account->daemon.settings->message_size_bytes;
	bool some_gone;

	if (x->refused)
		return true;
	if (!take_front(c, text_span(&x->front), &x->message) || !is_awaited(x, &some_gone))
		return false;
	x->text += x->front.len;
	x->refused = true;
	if (some_gone && !x->by_uid)
		say_gone(c);
	else if (x->message.size > most && x->to == NULL)
		(void)command_no(c, "TOOBIG", "A message is larger than this server takes.");
	else if (x->text > MOST_CROSSING_TEXT)
		(void)too_many(c);
	else
		x->refused = !crossing_message_begin(c, x);
	return true;
}

/* A FETCH is over. */
static bool
fetched(struct command *c, struct crossing *x, struct span line, enum progress *progress)
{
	x->asking = false;
	*progress = COMMAND_DONE;
	if (x->refused)
		return false;
	if (!span_starts_nocase(line, SPAN("OK ")))
		return *progress = crossing_pass_answer(c, line), false;
	if (x->at < x->asked && !x->by_uid)
		return say_gone(c), false;
	x->at = x->asked;
	command_progress(c, x->at, (uint64_t)x->count * (x->moves ? 2 : 1));
	return true;
}

static bool
copy_there(struct command *c, struct crossing *x, enum progress *progress)
{
	struct span piece;

	if (!x->asking && x->at == x->count) {
		x->work = crossing_commit;
		return true;
	}
	if (!x->asking)
		ask_messages(x);
	switch (crossing_hear(c, x, SPAN("~c"), &piece)) {
	case HEARD_NOTHING:
		*progress = COMMAND_WAITS;
		return false;
	case HEARD_LINE:
		crossing_pass_on(c, piece);
		return true;
	case HEARD_MORE:
		return true;
	case HEARD_FRONT:
		return front_heard(c, x) || lost(c, x, progress);
	case HEARD_OCTETS:
		if (!x->refused)
			crossing_message_octets(x, piece);
		return true;
	case HEARD_END:
		if (x->in_message && !x->refused)
			crossing_message_end(x);
		return true;
	case HEARD_TAGGED:
		return fetched(c, x, piece, progress);
	default:
		return lost(c, x, progress);
	}
}

/* --- the own mailbox --- */

static bool
find_here(struct command *c, struct crossing *x, enum progress *progress)
{
	const struct view *v = c->session->view;
	size_t number;

	while ((number = messages_next(&x->messages, v)) != 0) {
		if (x->count == MOST_CROSSING)
			return *progress = too_many(c), false;
		(void)add_found(x, view_uid(v, number), 0);
	}
	return all_found(c, x, progress);
}

/* Flags and date of a message that is opened. */
static void
describe(struct command *c, struct crossing *x, const struct index_record *r, const struct mail *mail)
{
	const struct keywords *k = &c->session->view->mailbox->index.keywords;
	struct flag_list *flags = &x->message.flags;

	x->message.size = mail->bytes.len;
	x->message.date = r->date != UNKNOWN_DATE ? r->date : mail->date;
	flags->system = r->flags & FLAG_SYSTEM;
	flags->keyword_count = 0;
	if (r->keywords == 0)
		return;
	if (flags->keywords == NULL)         /* one for all: they are said at once */
		flags->keywords = arena_alloc(&c->arena, MOST_KEYWORDS * sizeof(struct span));
	for (unsigned int i = 0; i < k->count; i++) {
		if (keywords_has(k, r->keywords, i))
			flags->keywords[flags->keyword_count++] = keywords_name(k, i);
	}
}

/* False: it is gone (and passed over), or the command is answered. */
static bool
begin_here(struct command *c, struct crossing *x, uint32_t uid)
{
	struct session *s = c->session;
	struct mailbox *m = s->view->mailbox;
	const struct mail *mail = mail_cached(&s->mail, m, uid, &x->learned);

	if (mail == NULL && errno == ENOENT && x->by_uid)
		return false;
	x->refused = true;
	if (mail == NULL && errno == ENOENT)
		return say_gone(c), false;
	if (mail == NULL)
		return (void)command_failed(c, "copy"), false;
	x->message.uid = uid;
	describe(c, x, &m->index.records[index_find(&m->index, uid)], mail);
	x->refused = !crossing_message_begin(c, x);
	return !x->refused;
}

/* The octets as FETCH tells them: NUL cannot stand in a literal. */
static bool
send_here(struct command *c, struct crossing *x)
{
	unsigned char piece[PIECE];
	struct session *s = c->session;
	const struct mail *mail = mail_cached(&s->mail, s->view->mailbox, x->message.uid, &x->learned);
	uint64_t done = x->message.size - x->left;
	struct span octets;

	if (mail == NULL || mail->bytes.len != x->message.size)
		return false;
	octets = span_part(mail->bytes, (size_t)done, sizeof(piece));
	memcpy(piece, octets.at, octets.len);
	if (mail_is_damaged(mail))
		return false;
	quote_mend_nul(piece, octets.len);
	crossing_message_octets(x, span_of(piece, octets.len));
	return true;
}

static bool
copy_here(struct command *c, struct crossing *x, enum progress *progress)
{
	*progress = COMMAND_DONE;
	if (x->in_message && x->left == 0) {
		crossing_message_end(x);
		x->at++;
		command_progress(c, x->at, (uint64_t)x->count * (x->moves ? 2 : 1));
	} else if (x->in_message) {
		if (!send_here(c, x))
			return say_gone(c), false;
	} else if (x->at == x->count) {
		x->work = crossing_commit;
	} else if (!begin_here(c, x, found(x, x->at)->uid)) {
		if (x->refused)
			return false;
		x->at++;
	}
	return true;
}

/* --- both --- */

bool
crossing_find(struct command *c, struct crossing *x, enum progress *progress)
{
	if (x->from == NULL)
		return find_here(c, x, progress);
	if (!x->asking)
		ask_found(x);
	return find_there(c, x, progress);
}

bool
crossing_copy(struct command *c, struct crossing *x, enum progress *progress)
{
	*progress = COMMAND_WAITS;
	switch (x->refused ? TARGET_READY : crossing_target_ready(c, x)) {
	case TARGET_WAITS:
		return false;
	case TARGET_REFUSES:
		x->refused = true;
		*progress = COMMAND_DONE;
		return x->asking;    /* what is under way there is heard to its end */
	default:
		return x->from == NULL ? copy_here(c, x, progress) : copy_there(c, x, progress);
	}
}
