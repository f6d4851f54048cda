/*
 * hash-pool - the auth-hash workers, and the questions that wait for one.
 *
 * A worker has one question at a time and blocks for as long as a hash takes; concurrency is how
 * many there are. When a worker dies, its question goes to another, once; when a question waits too
 * long, or too many wait, the answer is HASH_LATER.
 */
#ifndef VALIJA_HASH_POOL_H
#define VALIJA_HASH_POOL_H

#include "common/channel.h"

#define HASH_MOST_WAITING 256
#define HASH_WAIT_SECONDS 15
#define HASH_MOST_TRIES	  2

enum hash_result { HASH_RIGHT, HASH_WRONG, HASH_LATER };

struct hash_pool;
struct hash_job;

struct hash_pool *hash_pool_new(struct event_base *base);
void hash_pool_free(struct hash_pool **p);

/* Is `hash` of `password`? Both are copied. `done` is called once, never from inside this call,
 * unless hash_pool_forget comes first. NULL when too many wait. */
struct hash_job *hash_pool_ask(struct hash_pool *p, struct span hash, struct span password,
	void (*done)(void *me, enum hash_result result), void *me);
/* The asker is no more interested; *job becomes NULL. Accepts NULL inside. */
void hash_pool_forget(struct hash_pool *p, struct hash_job **job);

/* A worker came, went, answered; its hour. The pool forgets a channel that is gone. */
void hash_pool_came(struct hash_pool *p, struct channel *worker);
void hash_pool_gone(struct hash_pool *p, struct channel *worker);
uint32_t hash_pool_hour(const struct hash_pool *p, const struct channel *worker, uint64_t id);
void hash_pool_told(struct hash_pool *p, struct channel *worker, bool right);

#endif
