/*
 * checkpassword - runs the administrator's program that knows passwords, once for each that auth asks about.
 *
 * The password goes from auth to the program in a pipe, which master hands on unread. The program runs as a user of
 * its own (outside.h) and has checkpassword_seconds; what it says is its exit status alone.
 */
#ifndef VALIJA_MASTER_CHECKPASSWORD_H
#define VALIJA_MASTER_CHECKPASSWORD_H

#include "master/supervisor.h"

/* auth asks for a run `id`. `fd` is taken: what the program reads. auth hears check_told, once. */
void checkpassword_run(struct supervisor *s, uint64_t id, const struct msg_check_run *m, int fd);

#endif
