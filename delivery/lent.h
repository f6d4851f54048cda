/*
 * lent - a message file that another process may write, until it is sealed.
 */
#ifndef VALIJA_LENT_H
#define VALIJA_LENT_H

#include "common/span.h"
#include "verdict.h"

/* Proves that the lent file behind `fd`, a descriptor for reading (lent_reopen), is finished: regular,
 * of `size` bytes, under `names` names, and open for writing nowhere on this machine, nor can it be
 * opened so again by whom we lent it to. Otherwise *why says what to answer (the reason was logged). */
bool lent_seal(int fd, uint64_t id, uint64_t size, unsigned int names, struct verdict *why);
/* How many files a worker of this process's descriptor limit can lend at a time. */
size_t lent_most(void);
/* The file behind a descriptor that we hold, opened anew for reading. -1 with errno. Of a new file it is what we
 * keep, while the descriptor that can write goes to whom we lend it, and nowhere else. */
int lent_reopen(int fd);
/* Copies `size` bytes of `from`, from its start, behind `prefix` into `to`. 0, or -1 with errno
 * (EIO when `from` is shorter). */
int lent_copy(struct span prefix, int from, uint64_t size, int to);

#endif
