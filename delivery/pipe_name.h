/*
 * pipe_name - how queue's records name a command or a file that is a member of an alias: '|', CRC-32C of its text in
 * eight hexadecimal digits, the alias's key. What the alias says there, master alone looks up, when it is to be run.
 * It stands where the home of a mailbox does, which never begins so.
 */
#ifndef VALIJA_PIPE_NAME_H
#define VALIJA_PIPE_NAME_H

#include "common/alias.h"
#include "common/text.h"

#define PIPE_NAME_DIGITS 8
#define MOST_PIPE_NAME (1 + PIPE_NAME_DIGITS + MOST_ALIAS_KEY)

void pipe_name_make(struct span alias, struct span member, struct text *to);
bool pipe_name_is(struct span name);
/* alias lies in `name`. False when it is none. */
bool pipe_name_take(struct span name, struct span *alias, uint32_t *member);

#endif
