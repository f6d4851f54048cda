/* mailboxes - the different mailboxes among recipients: whoever is named twice gets one message. */
#ifndef VALIJA_MAILBOXES_H
#define VALIJA_MAILBOXES_H

#include "common/quota.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is needed to know of a recipient. */
struct destination {
	char *home;              /* NULL: not a mailbox here */
	char *folder;            /* of it; NULL: the inbox */
	uint32_t uid, gid;
	struct quota quota;
	bool system;             /* of a system user: local-home's */
	uint32_t first; /* the recipient that stands for this mailbox: itself, or an earlier one */
};

/* Sets ->first of each that has a home, and returns a new array of those that stand for a mailbox
 * (the caller frees it), their number in *mailboxes. */
uint32_t *mailboxes_of(struct destination *d, uint32_t count, uint32_t *mailboxes);

#endif
