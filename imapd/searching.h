/*
 * searching - what SEARCH, SORT, THREAD and ESEARCH have in common: "RETURN (...)", the keys, and the walk over the
 * messages, a slice at a time.
 */
#ifndef VALIJA_IMAPD_SEARCHING_H
#define VALIJA_IMAPD_SEARCHING_H

#include "imapd/context.h"
#include "imapd/result.h"

struct searching {
	struct search *search;           /* `own`, or that of a context */
	struct search own;
	struct view *view;               /* what is searched: borrowed */
	struct arena *arena;             /* of the keys; NULL: the command's */
	struct context *context;         /* UPDATE: what becomes of it afterwards; NULL */
	bool one_of_many;                /* of mailboxes: how much there is in all is not known */
	bool refused;                    /* UPDATE was wanted, and there is no room for it */
	size_t number;                   /* the next to be looked at */
	struct change learned;
	struct result result;
};

/* Before anything else; to be released with searching_clear in any case. */
void searching_init(struct searching *s, struct view *view);
void searching_clear(struct searching *s);
/* Takes RETURN (...) SP, if it is there. False: answered. */
bool searching_take_return(struct command *c, struct searching *s);
/* What UPDATE asks for, taken by searching_take_return itself. False: answered. */
bool searching_begin_update(struct command *c, struct searching *s);
/* Takes the keys, to the end of the command; `in_charset`: behind the name of a charset, as SORT and THREAD have it.
 * False: answered. */
bool searching_take_keys(struct command *c, struct searching *s, bool in_charset);
/* Looks at messages from where it stands; `found` hears the number of each that fits, and says false when that was
 * enough. False: the slice is over, to be called again. */
bool searching_walk(struct command *c, struct searching *s,
	bool (*found)(struct command *c, size_t number));
/* The answer is out: keeps what SAVE asked for, and begins to tell what changes in the context (which takes over
 * `sorter`, if there is one). */
void searching_end(struct command *c, struct searching *s, struct sorter **sorter);
/* The modification sequence of a message, where MODSEQ is told; else 0. */
uint64_t searching_modseq(const struct searching *s, size_t number);

#endif
