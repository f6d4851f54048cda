/*
 * result - what SEARCH and SORT found, and how it is told: "* SEARCH 2 5", or, after RETURN, as
 * ESEARCH (RFC 4731; SAVE: RFC 5182; for SORT: RFC 5267; PARTIAL: RFC 9394).
 *
 * Messages are added in the order in which they are to be told: ascending for SEARCH, sorted for
 * SORT. Memory: twelve bytes at most for each message found, nothing for those that are not asked
 * for (MIN, MAX, COUNT).
 */
#ifndef VALIJA_IMAPD_RESULT_H
#define VALIJA_IMAPD_RESULT_H

#include "imapd/command.h"

#define RETURN_MIN 1u
#define RETURN_MAX 2u
#define RETURN_COUNT 4u
#define RETURN_ALL 8u
#define RETURN_SAVE 16u
#define RETURN_PARTIAL 32u
#define RETURN_CONTEXT 64u
#define RETURN_UPDATE 128u

struct result {
	struct view *view;               /* what was searched */
	bool uid;                        /* UIDs are told, not numbers */
	bool update;                     /* UPDATE was said (context.h), with these items or none */
	struct span items;
	struct span mailbox;             /* ESEARCH: its name, as the session spells it; .at NULL: not told */
	bool extended;                   /* RETURN was said: the answer is ESEARCH */
	bool modseq;                     /* MODSEQ was among the keys: it is told (RFC 7162 3.1.5) */
	unsigned int returns;
	bool partial_back;               /* counted from the end: -1 is the last */
	uint32_t partial_from, partial_to;    /* PARTIAL, from <= to */
	size_t count;
	uint32_t first, last;            /* numbers of the messages added first and last */
	uint64_t first_modseq, last_modseq, highest;
	struct number_ranges found;      /* as ALL and PARTIAL tell it: numbers, or UIDs */
	struct number_ranges saved;      /* UIDs for "$", while neither MIN nor MAX limits it */
	size_t written;                  /* ranges of ALL or PARTIAL that are out */
	bool begun;
};

/* Takes [SP? "RETURN" SP "(" options ")" SP], in front of everything else (RFC 4466 2.6.1). False:
 * malformed, RETURN_EXPECTED says what was awaited. */
#define RETURN_EXPECTED "MIN, MAX, COUNT, ALL, PARTIAL, SAVE, CONTEXT or UPDATE in parentheses behind RETURN, then more"
bool result_take_return(struct command *c, struct result *r);
/* Is it enough to look at the first that fits? */
bool result_is_settled(const struct result *r);
/* Message `number` of the view was found. `modseq` counts only with r->modseq. */
void result_add(struct result *r, size_t number, uint64_t modseq);
/* Appends the response, of `word` ("SEARCH", "SORT") where RETURN was not said. False: `out` is
 * full, to be called again. */
bool result_write(struct command *c, struct result *r, const char *word);
/* Keeps what SAVE asked for as "$". Also for a NO, with nothing added: it empties "$". */
void result_save(struct result *r);
void result_clear(struct result *r);

/* Takes "1:500" or "-1:-100" (RFC 9394 partial-range). False: nothing changed. */
bool partial_take(struct span *in, bool *back, uint32_t *from, uint32_t *to);
/* Which of `count` things that is: *first and *last from 1; false for none of them. */
bool partial_resolve(bool back, uint32_t from, uint32_t to, size_t count, size_t *first,
	size_t *last);

#endif
