/* qresync - see qresync.h. */
#include "imapd/qresync.h"

#include "imapd/condstore.h"

void
qresync_enable(struct session *s)
{
	condstore_enable(s);
	s->qresync = true;
	if (s->view != NULL)
		s->view->vanishes = true;
}

/* "(" known-sequence-set SP known-uid-set ")": where numbers and UIDs matched when the client last
 * looked. It can only shorten the list of what vanished; what we remember does not need it, and is
 * exact. Both are checked. */
static bool
take_match_data(struct span *in, struct arena *arena)
{
	struct number_set numbers, uids;

	return span_take(in, '(') && number_set_take(in, arena, &numbers) && imap_take_space(in) &&
		number_set_take(in, arena, &uids) && span_take(in, ')');
}

bool
qresync_take(struct span *in, struct arena *arena, struct qresync *q)
{
	struct span rest = *in;
	bool good, match = false;

	good = span_take(&rest, '(') && imap_take_number(&rest, &q->uidvalidity) &&
		q->uidvalidity > 0 && imap_take_space(&rest) &&
		imap_take_modseq(&rest, &q->modseq) && q->modseq > 0;
	if (good && imap_take_space(&rest)) {
		q->known_given = number_set_take(&rest, arena, &q->known);
		match = !q->known_given || imap_take_space(&rest);
		good = !match || take_match_data(&rest, arena);
		q->match_given = match;
	}
	/* known-uids may not hold "*" (RFC 7162 section 7); one is dropped by resolving with 0. */
	if (q->known_given)
		number_set_resolve(&q->known, 0);
	if (!good || !span_take(&rest, ')'))
		return false;
	q->given = true;
	*in = rest;
	return true;
}

/* The part of ascending `from` that is in `only`, which is ascending and apart. */
static void
intersect(const struct number_ranges *from, const struct number_set *only, struct text *out,
	const char *before)
{
	struct number_ranges one = { NULL, 1, 1 };
	struct number_range both;
	bool first = true;
	size_t j = 0;

	for (size_t i = 0; i < from->count; i++) {
		struct number_range a = from->at[i];

		while (j < only->count && only->at[j].to < a.from)
			j++;
		for (size_t k = j; k < only->count && only->at[k].from <= a.to; k++) {
			both.from = a.from > only->at[k].from ? a.from : only->at[k].from;
			both.to = a.to < only->at[k].to ? a.to : only->at[k].to;
			text_add_str(out, first ? before : ",");
			first = false;
			one.at = &both;
			number_ranges_write(&one, out);
		}
	}
	if (!first)
		text_add(out, SPAN("\r\n"));
}

void
vanished_earlier_write(const struct view *v, uint64_t since, const struct number_set *only,
	struct text *out)
{
	struct number_ranges gone = { NULL, 0, 0 };

	index_vanished(&v->mailbox->index, since, &gone);
	intersect(&gone, only, out, "* VANISHED (EARLIER) ");
	number_ranges_clear(&gone);
}

void
qresync_tell_vanished(struct session *s, struct qresync *q)
{
	const struct view *v = s->view;
	struct number_range every = { 1, UINT32_MAX };
	struct number_set all = { &every, 1 };

	if (!q->given || q->uidvalidity != v->mailbox->index.uidvalidity)
		q->at = v->count;          /* RFC 7162 3.2.5: the parameter is ignored */
	else
		vanished_earlier_write(v, q->modseq, q->known_given ? &q->known : &all, &s->out);
}

bool
qresync_tell_changed(struct session *s, struct qresync *q)
{
	struct view *v = s->view;
	const struct index *ix = &v->mailbox->index;
	struct text *out = &s->out;

	for (; q->at < v->count; q->at++) {
		uint32_t uid = view_uid(v, q->at + 1);
		size_t at = index_find(ix, uid);

		if (session_full(s) || session_slice_over(s))
			return false;
		if (at == NO_RECORD || ix->records[at].modseq <= q->modseq ||
			(q->known_given && !number_set_has(&q->known, uid)))
			continue;
		view_fetch_begin(v, q->at + 1, true, out);
		view_flags_write(v, q->at + 1, &ix->records[at], out);
		text_add_byte(out, ' ');
		view_modseq_write(&ix->records[at], out);
		text_add(out, SPAN(")\r\n"));
	}
	return true;
}
