/*
 * checker - asks the administrator's program (checkpassword) about passwords: so many at a time, the others wait.
 *
 * auth writes name and password into a pipe; master starts the program with its other end as descriptor 3, as the
 * user that was configured, and tells how it ended. No password passes through master.
 */
#ifndef VALIJA_CHECKER_H
#define VALIJA_CHECKER_H

#include "common/channel.h"
#include "common/text.h"

#define CHECKER_MOST_WAITING 256
/* "name\0password\0time\0": less than what a pipe takes at once (PIPE_BUF). */
#define CHECKER_MOST_INPUT 2048

struct checker;
struct check;

/* `told`: enum check_result; CHECK_LATER also when it cannot be run. */
typedef void check_fn(void *me, enum check_result told);

struct checker *checker_new(void);
void checker_free(struct checker **c);
/* How many at a time, from now on. */
void checker_limit(struct checker *c, unsigned int most);
/* NULL when too many wait, or the words are too long. `done` is called once, never from inside this call, unless
 * check_forget comes first. */
struct check *checker_ask(struct checker *c, struct channel *master, struct span name, struct span password,
	struct span ip, struct span service, check_fn *done, void *me);
/* The asker is no more interested; *check becomes NULL. Accepts NULL inside. */
void check_forget(struct check **check);

/* What master says of run `id`. */
void checker_told(struct checker *c, struct channel *master, uint64_t id, enum check_result result);

#endif
