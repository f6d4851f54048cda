/*
 * qresync - quick resynchronisation (RFC 7162 section 3.2): what vanished and what changed while a
 * client was away.
 */
#ifndef VALIJA_IMAPD_QRESYNC_H
#define VALIJA_IMAPD_QRESYNC_H

#include "imapd/command.h"

/* What SELECT's (QRESYNC (uidvalidity modseq [known-uids [(numbers uids)]])) says. */
struct qresync {
	bool given;
	uint32_t uidvalidity;
	uint64_t modseq;
	bool known_given;
	bool match_given;            /* message numbers were in it (RFC 9586: not with UIDONLY) */
	struct number_set known;     /* resolved; in the command's arena */
	size_t at;                   /* messages of the view that were looked at */
};

/* ENABLE QRESYNC: expunged messages are told by UID, in VANISHED; CONDSTORE is enabled too. */
void qresync_enable(struct session *s);
/* Takes "(" uidvalidity SP modseq [SP known-uids] [SP seq-match-data] ")". False: malformed. */
bool qresync_take(struct span *in, struct arena *arena, struct qresync *q);
/* Tells what vanished, right after SELECT's own lines. Nothing when UIDVALIDITY is another. */
void qresync_tell_vanished(struct session *s, struct qresync *q);
/* Then what changed, message by message. False: `out` is full, to be called again. */
bool qresync_tell_changed(struct session *s, struct qresync *q);

/* Appends "* VANISHED (EARLIER) 41,43:116\r\n" for what vanished after `since` among `only` (ascending,
 * apart); nothing when nothing did. */
void vanished_earlier_write(const struct view *v, uint64_t since, const struct number_set *only,
	struct text *out);

#endif
