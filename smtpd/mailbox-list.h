/*
 * mailbox-list - finds the addresses in the body of a field such as To (RFC 5322 3.4), as people and
 * programs write it: with names, comments, groups, routes and folds, and without a domain.
 *
 * It judges nothing: what it finds is parsed by whoever takes it for an address (common/address.h).
 */
#ifndef VALIJA_SMTPD_MAILBOX_LIST_H
#define VALIJA_SMTPD_MAILBOX_LIST_H

#include "common/text.h"

#define COMMENT_DEPTH_MOST 100

struct mailbox_found {
	/* From the first octet of the address to its last, in the text that was given; blanks and
	 * comments may lie inside. Empty for <>. */
	struct span spec;
	bool has_domain;
	bool is_one;       /* no blank separates two words: this can be an address */
};

/* Takes the next address and its comma from the front of *in. False: there is none any more. Never
 * reads a group's name, a display name or a comment for an address; what is not closed ends with the
 * text. */
bool mailbox_list_next(struct span *in, struct mailbox_found *found);
/* The address without the blanks and comments that may lie in it. */
void mailbox_found_put(struct text *to, const struct mailbox_found *found);

/* Copies a whole header, with CR LF, to `out`; in the fields that hold addresses (From, Sender,
 * Reply-To, To, Cc, Bcc, and these with Resent-) those without a domain get "@domain". */
void mailbox_list_qualify(struct span header, struct span domain, struct text *out);

#endif
