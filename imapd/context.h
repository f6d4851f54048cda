/*
 * context - searches whose results are kept up to date (RFC 5267: UPDATE): "* ESEARCH (TAG "B01") UID ADDTO (0 5)".
 *
 * A context belongs to the view that it searched, and ends with it. Which messages are in its result stands in
 * the view's marks, one bit for each context; one that is sorted has their order too. What changed is looked at
 * when the view tells its news (view_tell): removals before EXPUNGE, everything else behind EXISTS and FETCH, a
 * slice at a time. Ages (OLDER, YOUNGER) and message numbers are those of the command.
 */
#ifndef VALIJA_IMAPD_CONTEXT_H
#define VALIJA_IMAPD_CONTEXT_H

#include "imapd/search.h"
#include "imapd/sort.h"

#define MOST_SORTED_CONTEXT 200000       /* messages in one that is sorted */
#define MOST_CONTEXT_TAG 100
#define LOOKED_AT_A_TIME 500             /* messages, between two looks at the clock */

struct context {
	struct span tag;             /* in the arena */
	struct span correlators;     /* ESEARCH: the mailbox, as the response names it; empty: none */
	bool uid;
	bool active;                 /* the search is through: changes are told from now on */
	uint8_t mark;                /* its bit in view.marks */
	struct arena arena;
	struct search search;
	uint64_t modseq;             /* changes up to here were looked at */
	struct sort_criteria criteria;
	struct sorter *sorter;       /* NULL: in mailbox order */
	struct number_ranges fetch;  /* UIDs that came and whose items are not told yet */
	struct span items;           /* UPDATE (items): FETCH of what is new (RFC 5465 section 7); .at NULL */
};

/* Room for one more; NULL: there are MOST_CONTEXTS, or the tag is too long. It is the view's, and not active. */
struct context *context_new(struct view *v, struct span tag, bool uid);
/* The one of this tag, or NULL. */
struct context *context_find(const struct view *v, struct span tag);
/* Takes it away. */
void context_end(struct view *v, struct context *x);
void contexts_clear(struct view *v);

/* Has anything changed that none has looked at? */
bool contexts_have_news(const struct view *v);
/* Tells the removal of messages that the view is about to say EXPUNGE of (VIEW_LEAVING). */
void contexts_tell_leaving(struct view *v, struct text *out);
/* Looks at messages from number *at + 1 on that changed, and tells. False: to be called again. Up to `modseq` all
 * was looked at then. */
bool contexts_tell_changed(struct view *v, size_t *at, uint64_t modseq, struct text *out, size_t full);
/* UIDs of new messages that came into a result whose UPDATE had items: of one context, to be called again. The caller
 * fetches and clears them. */
bool contexts_take_fetch(struct view *v, struct span *items, struct number_ranges *uids);

#endif
