/*
 * search - the keys of SEARCH (RFC 3501 6.4.4; MODSEQ: RFC 7162; OLDER and YOUNGER:
 * RFC 5032; SAVEDBEFORE, SAVEDON, SAVEDSINCE: RFC 8514; EMAILID, THREADID: RFC 8474) as a tree, and whether a message fits it.
 */
#ifndef VALIJA_IMAPD_SEARCH_H
#define VALIJA_IMAPD_SEARCH_H

#include "imapd/arena.h"
#include "imapd/mail.h"
#include "imapd/match.h"
#include "imapd/number-set.h"
#include "imapd/view.h"

enum key_kind {
	KEY_AND, KEY_OR, KEY_NOT,
	KEY_ALL, KEY_FLAGS, KEY_RECENT, KEY_KEYWORD, KEY_UIDS,
	KEY_DAY_BEFORE, KEY_DAY_ON, KEY_DAY_SINCE, KEY_LARGER, KEY_SMALLER,
	KEY_SENT_BEFORE, KEY_SENT_ON, KEY_SENT_SINCE, KEY_FIELD,
	KEY_BODY, KEY_TEXT, KEY_MODSEQ,
	KEY_OLDER, KEY_YOUNGER,
	KEY_SAVED_BEFORE, KEY_SAVED_ON, KEY_SAVED_SINCE, KEY_EMAIL, KEY_THREAD,
};

struct search_key {
	enum key_kind kind;
	/* of the dearest part: children are tried from the cheapest on */
	int cost;
	struct search_key *children, *next;
	uint8_t flags, wanted;       /* KEY_FLAGS: record.flags & flags == wanted */
	bool yes;                    /* KEY_RECENT */
	struct span name;            /* of a field or a keyword */
	uint64_t field;              /* of a key about a field: its bit in the cache, or 0 */
	struct needle needle;
	int32_t day;
	uint64_t size;
	uint64_t modseq;
	int64_t moment;              /* KEY_OLDER, KEY_YOUNGER: seconds, UTC */
	struct number_set set;
};

struct search {
	struct search_key *root;
	struct search_key **needles; /* keys whose needle must be released */
	size_t needle_count, needle_room;
	struct arena *arena;         /* borrowed */
	bool modseq;                 /* MODSEQ is among the keys */
	bool numbers;                /* and so are message numbers */
	uint64_t cache_names;        /* all the keys' fields */
};

enum search_wrong { SEARCH_FINE, SEARCH_SYNTAX, SEARCH_CHARSET };

/* Takes "[CHARSET x] key key ..." to the end of *in. *expected says what was wrong. Release with
 * search_clear in any case. Numbers are those of `view` now: kept as UIDs. */
enum search_wrong search_take(struct search *search, struct span *in, struct arena *arena,
	const struct view *view,
	const char **expected);
/* The same for "charset SP keys", as SORT and THREAD have them (RFC 5256 section 3). */
enum search_wrong search_take_in_charset(struct search *search, struct span *in, struct arena *arena,
	const struct view *view, const char **expected);
void search_clear(struct search *search);
/* Does message `number` of the view fit? What is learned of it is gathered in `learned`. */
bool search_fits(const struct search *search, const struct view *view, size_t number,
	struct change *learned);

#endif
