/*
 * imap-url - URLs of messages and of parts of them (RFC 5092), as CATENATE has them (RFC 4469; URL-PARTIAL: RFC 5550).
 *
 *   imap://user;AUTH=*@host:143/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2/;PARTIAL=0.1024
 *
 * or, relative to the session that says it, what stands behind the host; or, relative to the selected
 * mailbox, from ";UID=" on. Percent-encoding is undone; what it makes is never looked at as syntax.
 */
#ifndef VALIJA_IMAPD_IMAP_URL_H
#define VALIJA_IMAPD_IMAP_URL_H

#include "common/span.h"
#include "imapd/arena.h"

#define MOST_IMAP_URL 4096       /* bytes */

struct imap_url {
	struct span text;            /* as it was given */
	bool absolute;               /* user and host are from it */
	struct span user, host;      /* decoded; user.at NULL: none */
	struct span mailbox;         /* decoded: UTF-8; .at NULL: the selected one */
	uint32_t uidvalidity;        /* 0: not said */
	uint32_t uid;
	struct span section;         /* decoded; .at NULL: the whole message */
	bool partial;
	uint32_t from, most;         /* of octets; most 0: up to the end */
};

/* Parses all of `text`, which must live as long as the URL; what was decoded lies in `arena`. False: it is
 * no URL of a message or of a part of one. */
bool imap_url_parse(struct span text, struct arena *arena, struct imap_url *url);

#endif
