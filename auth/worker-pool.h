/*
 * worker-pool - the workers of one kind (auth-hash, auth-pam), and the questions that wait for one.
 *
 * A worker has one question at a time and blocks for as long as the answer takes; concurrency is
 * how many there are. When a worker dies, its question goes to another, once; when a question waits
 * too long, or too many wait, its asker is told LATER, and nobody else has waited for it. A worker
 * that is still at work then hangs: the pool's owner hears of it and may have it replaced.
 */
#ifndef VALIJA_WORKER_POOL_H
#define VALIJA_WORKER_POOL_H

#include "common/channel.h"
#include "common/password.h"

#define POOL_MOST_WAITING 256
#define POOL_MOST_TRIES	  2

struct pool;
struct job;


/* The answer: the message that the worker sent, of the kind that belongs to the question, valid
 * during the call; or NULL: later. */
typedef void answer_fn(void *me, const void *told);

/* `seconds`: how long a question may take, with its wait for a worker. hangs(me, worker): it did
 * not answer in that time; may be NULL. */
struct pool *pool_new(struct event_base *base, const char *name, unsigned int seconds,
	void (*hangs)(void *me, struct channel *worker), void *me);
void pool_free(struct pool **p);
/* From now on so many seconds, for the questions that come. */
void pool_limit(struct pool *p, unsigned int seconds);

/* Each is NULL when too many wait. `done` is called once, never from inside this call, unless
 * pool_forget comes first. */
struct job *pool_ask_hash(struct pool *p, struct span hash, struct span password, answer_fn *done,
	void *me); /* -> struct msg_hash_told */
struct job *pool_ask_pam(struct pool *p, struct span login, struct span password, struct span ip,
	answer_fn *done, void *me); /* -> struct msg_pam_told */
struct job *pool_ask_name(
	struct pool *p, struct span login, answer_fn *done, void *me); /* -> struct msg_name_told */
struct job *pool_ask_make(struct pool *p, const struct password_strength *strength,
	uint32_t iterations, struct span password, answer_fn *done,
	void *me); /* -> struct msg_hash_made */
struct job *pool_ask_token(
	struct pool *p, struct span token, answer_fn *done, void *me); /* -> struct msg_token_told */
/* The asker is no more interested; *job becomes NULL. Accepts NULL inside. */
void pool_forget(struct job **job);

/* A worker came, went, answered with message `m`; its hour. The pool forgets a channel that is
 * gone. */
void pool_came(struct pool *p, struct channel *worker);
void pool_gone(struct pool *p, struct channel *worker);
uint32_t pool_hour(
	const struct pool *p, const struct channel *worker, enum message m, uint64_t id);
void pool_told(struct pool *p, struct channel *worker, const void *told);

#endif
