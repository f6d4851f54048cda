/*
 * sort - messages in the order of SORT's criteria (RFC 5256 section 3; DISPLAYFROM and DISPLAYTO:
 * RFC 5957).
 *
 * Messages are added one by one, with what the criteria need of each; then sort_step puts them in
 * order, a slice at a time. Texts are compared as fold.h folds them; what is equal by all criteria
 * stays in mailbox order. Memory: the criteria's values of each message, MOST_SORT_TEXT bytes at
 * most of a text.
 */
#ifndef VALIJA_IMAPD_SORT_H
#define VALIJA_IMAPD_SORT_H

#include "imapd/mail.h"
#include "imapd/view.h"

#define MOST_SORT_CRITERIA 20
#define MOST_SORT_TEXT 400             /* bytes of a folded text that count */

enum sort_by {
	SORT_ARRIVAL, SORT_CC, SORT_DATE, SORT_DISPLAYFROM, SORT_DISPLAYTO, SORT_FROM, SORT_SIZE,
	SORT_SUBJECT, SORT_TO,
};

struct sort_criteria {
	struct {
		enum sort_by by;
		bool reverse;
	} at[MOST_SORT_CRITERIA];
	size_t count;
	unsigned int headers;          /* how many of them need the message's header */
	unsigned int facts;            /* enum mail_fact */
};

/* Takes "(" [REVERSE SP] criterion ... ")". False, *in unchanged: malformed, or too many. */
bool sort_take_criteria(struct span *in, struct sort_criteria *criteria);

/* The sent date of a message (RFC 5256 section 2.2): its Date field, or `arrival` without one. */
int64_t sort_sent_date(struct span header, int64_t arrival);

struct sorter;

/* `criteria` is borrowed until sorter_free. */
struct sorter *sorter_new(const struct sort_criteria *criteria);
void sorter_free(struct sorter **s);
/* Before the first message: what is kept of the order of this mailbox (order.h) is used, and will be kept. Not with
 * sorter_keep. */
void sorter_use_order(struct sorter *s, struct mailbox *m);
/* Adds message `number` of the view; numbers must ascend. What is learned of it is gathered in
 * `learned`. Messages that are gone or cannot be read are sorted by what is known of them. */
void sorter_add(struct sorter *s, const struct view *view, size_t number, struct change *learned);
/* Sorts until it is done (true), or `over` says that the slice is. */
bool sorter_step(struct sorter *s, bool (*over)(const void *), const void *me);
/* After sorter_step has said true: keeps the order for the next time, if that is worth it. True when that is done; as
 * sorter_step. */
bool sorter_keep_order(struct sorter *s, const struct view *view, bool (*over)(const void *), const void *me);
/* From then on it is kept up to date: messages are known by UID. After sorter_step has said true. */
void sorter_keep(struct sorter *s, const struct view *view);
/* Puts message `number` of the view where it belongs; its place, from 0. */
size_t sorter_insert(struct sorter *s, const struct view *view, size_t number, struct change *learned);
/* Removes what `leaves` says yes to, in order; `removed` hears of each, with the place (from 1) where it stands when
 * those before it are gone. */
void sorter_remove(struct sorter *s, bool (*leaves)(void *me, uint32_t uid),
	void (*removed)(void *me, size_t place, uint32_t uid), void *me);
/* After sorter_step has said true: how many there are, and the number at place `at` (from 0). */
size_t sorter_count(const struct sorter *s);
uint32_t sorter_number(const struct sorter *s, size_t at);

#endif
