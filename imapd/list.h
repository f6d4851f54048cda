/*
 * list - LIST responses where no client asks for one: NOTIFY (RFC 5465 5.4, 5.5). In cmd-list.c.
 */
#ifndef VALIJA_IMAPD_LIST_H
#define VALIJA_IMAPD_LIST_H

#include "imapd/folder.h"
#include "imapd/session.h"

/* Appends the response of `folder` (its name on disk) as the list has it, \NonExistent where it has not; with `old`, the
 * name that it had before. */
void list_tell(const struct session *s, const struct folder_list *list, const char *folder, const char *old,
	struct text *out);
bool list_is_subscribed(const struct folder_list *list, const char *folder);

#endif
