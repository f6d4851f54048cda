/*
 * pipe - delivers to the commands and files that are members of aliases(5), once for each that queue asks about.
 *
 * queue names a member, master looks up in the compiled table what it is, and whose the aliases file was. valija-pipe
 * (delivery/pipe.c) does it as that user (outside.h), never as root: for root's own files as alias_user. It reads the
 * message by queue's descriptor, which master hands on unread.
 */
#ifndef VALIJA_MASTER_PIPE_H
#define VALIJA_MASTER_PIPE_H

#include "master/supervisor.h"

/* queue asks for a run. `fd` is taken: the message. queue hears pipe_told, once. */
void pipe_run(struct supervisor *s, uint64_t id, const struct msg_pipe_run *m, int fd);

#endif
