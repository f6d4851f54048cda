/*
 * view - what one session has been told of its selected mailbox: which message has which number.
 *
 * The mailbox changes at any time; the view changes only in view_tell, which says EXPUNGE, EXISTS,
 * RECENT and FETCH (FLAGS) at the moments when RFC 3501 5.2, 5.5 and 7.4.1 allow it. Telling may
 * take several turns when much has changed: it stops when the output is full, and goes on where it
 * stopped.
 */
#ifndef VALIJA_IMAPD_VIEW_H
#define VALIJA_IMAPD_VIEW_H

#include "imapd/mailbox.h"

#define VIEW_RECENT 1u       /* this session is the first to be told of the message */
#define VIEW_GONE 2u         /* EXPUNGE was said; the entry goes when telling is through */
#define VIEW_CONTEXT 4u      /* it is in the result of the first context (context.h), 8: of the second ... */
#define MOST_CONTEXTS 4
#define VIEW_LEAVING 64u     /* EXPUNGE is about to be said */

struct context;

struct view {
	struct mailbox *mailbox;     /* a use of it, released by view_close */
	bool read_only;
	unsigned int rights;         /* of the session (acl.h) */
	bool modseqs;                /* FETCH responses say UID and MODSEQ (condstore.h, RFC 7162 3.2.4) */
	bool vanishes;               /* VANISHED is said for EXPUNGE (qresync.h) */
	bool uid_only;               /* UIDFETCH is said for FETCH, and VANISHED (RFC 9586) */
	bool silent_recent;          /* IMAP4rev2 knows no \Recent */
	uint32_t *uids;              /* of the messages 1 to count */
	uint8_t *marks;
	size_t count, room;
	size_t recent;               /* how many marks have VIEW_RECENT */
	uint64_t modseq;             /* flags are told up to here */
	uint64_t expunges;           /* index.expunges when last told */
	uint64_t settled;            /* all is told that has a number up to here, what vanished as well */
	bool behind;                 /* the client knows a HIGHESTMODSEQ that is lower than it could be */
	uint32_t uidnext;            /* messages from here on are not told of */
	unsigned int keywords;       /* how many of the mailbox's are told of */
	/* A telling that is under way. */
	enum { TELL_NOTHING, TELL_EXPUNGES, TELL_COUNTS, TELL_FLAGS, TELL_CONTEXTS } telling;
	size_t at, until;
	uint64_t modseq_goal;
	bool any_gone;
	struct number_ranges saved;  /* UIDs of SEARCH RETURN (SAVE): "$" (RFC 5182) */
	bool mute_messages, mute_flags;      /* NOTIFY does not want them told (notify.h) */
	uint32_t notify_from;        /* messages from here on are fetched as NOTIFY says; 0: none are */
	struct context *contexts[MOST_CONTEXTS];
	uint32_t fetch_from;         /* messages from here on are new to the contexts */
	uint32_t own_from, own_to;   /* UIDs that the session itself put here last */
};

/* Takes over the use of `mailbox`. All present messages are in the view; nothing is told. */
struct view *view_open(struct mailbox *mailbox, bool read_only);
void view_close(struct view **v);

/* The UID of message `number` (1 to count). */
uint32_t view_uid(const struct view *v, size_t number);
/* The number of the message with `uid`, or 0. The first number with at least this UID (count + 1:
 * none). */
size_t view_number(const struct view *v, uint32_t uid);
size_t view_number_from(const struct view *v, uint32_t uid);
bool view_is_recent(const struct view *v, size_t number);

/* Is there anything to tell (expunges counted only when `expunges`)? Cheap. */
bool view_has_news(const struct view *v, bool expunges);
/* Appends what there is to tell, as long as out->len stays below `full`. True when all was told.
 * With `uids`, FETCH responses name the UID too (RFC 3501 6.4.8). */
bool view_tell(struct view *v, bool expunges, bool uids, struct text *out, size_t full);
/* The session itself has just caused and told the change that gave modseq `from` + 1 and up: it is
 * not told again, unless something else has not been told yet. */
void view_told_own(struct view *v, uint64_t from);
/* Takes over the ranges of UIDs, in any order, as the saved result; `uids` is empty afterwards. */
void view_save(struct view *v, struct number_ranges *uids);
/* "$": the saved UIDs, in `arena`. Those that are gone meanwhile are in no view either. */
void view_saved(const struct view *v, struct arena *arena, struct number_set *set);
/* The system flags that the session may change; keywords go with RIGHT_WRITE. */
uint8_t view_may_change(const struct view *v);
/* "* FLAGS (...)" with all keywords, and PERMANENTFLAGS. */
void view_all_flags_write(struct view *v, struct text *out);
/* Appends "FLAGS (\Seen work \Recent)" for a message. */
void view_flags_write(const struct view *v, size_t number, const struct index_record *r,
	struct text *out);
/* Appends "* 3 FETCH (", with "UID 5 " where `uids`; or "* 5 UIDFETCH (". */
void view_fetch_begin(const struct view *v, size_t number, bool uids, struct text *out);
/* Appends "MODSEQ (12)". */
void view_modseq_write(const struct index_record *r, struct text *out);

#endif
