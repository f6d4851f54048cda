/*
 * layout - the directories of an instance, with owner and mode: made by `valija init`, looked
 * over by `valija check` and each start.
 */
#ifndef VALIJA_LAYOUT_H
#define VALIJA_LAYOUT_H

#include "common/text.h"
#include "master/paths.h"

/* As root: makes the group and the users that are missing, by groupadd(8) and useradd(8). False
 * with a sentence in *why. */
bool layout_make_users(struct text *why);
/* Makes the directories that are missing; those that are there keep owner and mode. False with a
 * sentence. */
bool layout_make(const struct paths *p, struct text *why);
/* Before a start: makes what an instance of an earlier version has not, and what may be empty. Nothing, where the
 * state directory itself is not there, or not mounted. False with a sentence. */
bool layout_complete(const struct paths *p, struct text *why);
/* Every directory that is missing, has another owner, or more or fewer rights than it should: a line
 * each. */
void layout_check(const struct paths *p, struct text *complaints);
/* The user and group of virtual mailboxes: VALIJA_USER_MAIL as root, else our own. False with a
 * sentence. */
bool layout_mail_owner(unsigned int *uid, unsigned int *gid, struct text *why);

#endif
