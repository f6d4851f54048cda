/* guard - see guard.h. */
#include "guard.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/message.h"
#include "common/network.h"
#include "common/shared.h"
#include "common/text.h"
#include "digest.h"

#define PREFIX_BYTES 8 /* of an IPv6 address: a /64 */
#define MOST_NAME    (MOST_IP + 1 + MOST_ADDRESS)
#define VALUE_BYTES  20 /* u64 when, u32 count, u64 until, little-endian */

/* name: "ip", "user", or "ip user": an address has no blank in it. */
struct mark {
	enum guard_kind kind;
	struct digest digest;
	uint64_t when;	/* of the last failure; GOOD: of the last success */
	uint64_t until; /* the penalty, or the block */
	uint32_t count;
	struct span name; /* behind this structure */
	LIST_ENTRY(mark) chain;
	TAILQ_ENTRY(mark) age;
};

struct guard {
	struct digest_key key;
	struct table *store;
	bool changed;
	struct shared_addresses shared;
	size_t count[GUARD_KINDS];
	LIST_HEAD(, mark) bucket[4 * GUARD_MOST];
	TAILQ_HEAD(marks, mark) by_age[GUARD_KINDS]; /* the oldest first */
};

/* --- memory and table --- */

static struct digest
digest_of_mark(const struct guard *g, enum guard_kind kind, struct span name)
{
	unsigned char letter = (unsigned char)('a' + kind);
	const struct span parts[] = {span_of(&letter, 1), name};

	return digest_of(&g->key, parts, 2);
}

static size_t
bucket_of(const struct digest *d)
{
	uint64_t n;

	memcpy(&n, d->at, sizeof(n)); /* keyed: as good as any hash of it */
	return n % (4 * GUARD_MOST);
}

static struct mark *
find(struct guard *g, enum guard_kind kind, struct span name)
{
	struct digest d = digest_of_mark(g, kind, name);
	struct mark *m;

	LIST_FOREACH(m, &g->bucket[bucket_of(&d)], chain)
	if (memcmp(m->digest.at, d.at, DIGEST_SIZE) == 0)
		return m;
	return NULL;
}

static bool
row_key(enum guard_kind kind, struct span name, struct text *key)
{
	text_add_byte(key, (unsigned char)('a' + kind));
	text_add(key, name);
	return !key->failed;
}

static void
forget(struct guard *g, struct mark *m)
{
	struct text key = TEXT_UP_TO(TABLE_MOST_KEY);

	if (g->store != NULL && row_key(m->kind, m->name, &key))
		(void)table_remove(g->store, text_span(&key));
	g->changed = true;
	text_clear(&key);
	LIST_REMOVE(m, chain);
	TAILQ_REMOVE(&g->by_age[m->kind], m, age);
	g->count[m->kind]--;
	free(m);
}

/* Finds or makes it, the youngest of its kind from now on. */
static struct mark *
touch(struct guard *g, enum guard_kind kind, struct span name)
{
	struct mark *m = find(g, kind, name);

	if (m != NULL) {
		TAILQ_REMOVE(&g->by_age[kind], m, age);
		TAILQ_INSERT_TAIL(&g->by_age[kind], m, age);
		return m;
	}
	if (g->count[kind] >= GUARD_MOST)
		forget(g, TAILQ_FIRST(&g->by_age[kind]));
	m = must_alloc(sizeof(*m) + name.len);
	m->kind = kind;
	m->digest = digest_of_mark(g, kind, name);
	memcpy(m + 1, name.at, name.len);
	m->name = span_of(m + 1, name.len);
	LIST_INSERT_HEAD(&g->bucket[bucket_of(&m->digest)], m, chain);
	TAILQ_INSERT_TAIL(&g->by_age[kind], m, age);
	g->count[kind]++;
	return m;
}

static void
put_number(unsigned char *at, uint64_t n, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = (unsigned char)(n >> (8 * i));
}

static uint64_t
get_number(const unsigned char *at, size_t bytes)
{
	uint64_t n = 0;

	for (size_t i = bytes; i-- > 0;)
		n = n << 8 | at[i];
	return n;
}

/* Not synced here: the library keeps it, the system has it a little later. */
static void
keep(struct guard *g, const struct mark *m)
{
	struct text key = TEXT_UP_TO(TABLE_MOST_KEY);
	unsigned char value[VALUE_BYTES];

	put_number(value, m->when, 8);
	put_number(value + 8, m->count, 4);
	put_number(value + 12, m->until, 8);
	if (g->store != NULL && row_key(m->kind, m->name, &key))
		(void)table_put(g->store, text_span(&key), span_of(value, sizeof(value)));
	g->changed = true;
	text_clear(&key);
}

static uint64_t
life_of(enum guard_kind kind)
{
	return kind == GUARD_GOOD ? GUARD_GOOD_SECONDS : GUARD_FORGET_SECONDS;
}

struct load {
	struct guard *g;
	uint64_t now;
	struct text old; /* keys that are to go, each with a NUL behind */
};

/* What is read back is not believed: a row of another form, or of the future, is gone. */
static bool
load_row(void *me, struct span key, struct span value)
{
	struct load *l = me;
	struct mark *m;
	uint64_t when, until;

	if (key.len < 2 || key.len > 1 + MOST_NAME || value.len != VALUE_BYTES ||
		key.at[0] < 'a' || key.at[0] >= 'a' + GUARD_KINDS || span_has(key, '\0'))
		return true;
	when = get_number(value.at, 8);
	until = get_number(value.at + 12, 8);
	if (when > l->now)
		when = l->now;
	if (when + life_of(key.at[0] - 'a') < l->now && until < l->now) {
		text_add(&l->old, key);
		text_add_byte(&l->old, '\0');
		return true;
	}
	m = touch(l->g, key.at[0] - 'a', span_part(key, 1, key.len));
	m->when = when;
	m->count = (uint32_t)get_number(value.at + 8, 4);
	m->until = until;
	return true;
}

struct guard *
guard_new(struct table *store, uint64_t now)
{
	struct guard *g = must_alloc(sizeof(*g));
	struct load l = {g, now, TEXT_UP_TO(16 * 1024 * 1024)};
	struct span rest, key;

	digest_key_new(&g->key);
	for (enum guard_kind i = 0; i < GUARD_KINDS; i++)
		TAILQ_INIT(&g->by_age[i]);
	if (store != NULL)
		(void)table_each(store, load_row, &l);
	g->store = store;
	rest = text_span(&l.old);
	while (span_take_until(&rest, '\0', &key))
		(void)table_remove(store, key);
	text_clear(&l.old);
	return g;
}

void
guard_free(struct guard **guard)
{
	struct guard *g = *guard;

	*guard = NULL;
	if (g == NULL)
		return;
	g->store = NULL; /* what is in it stays */
	for (enum guard_kind i = 0; i < GUARD_KINDS; i++)
		while (!TAILQ_EMPTY(&g->by_age[i]))
			forget(g, TAILQ_FIRST(&g->by_age[i]));
	free(g);
}

void
guard_sync(struct guard *g)
{
	if (g->changed && g->store != NULL && table_sync(g->store) == 0)
		g->changed = false;
}

/* --- names --- */

/* The part of an address that one client cannot change at will. */
static void
address_name(struct span ip, struct text *to)
{
	struct in6_addr six;
	char text[INET6_ADDRSTRLEN], copy[MOST_IP + 1];

	if (!span_copy(ip, copy, sizeof(copy)) || inet_pton(AF_INET6, copy, &six) != 1) {
		text_add(to, ip);
		return;
	}
	if (IN6_IS_ADDR_V4MAPPED(&six)) {
		if (inet_ntop(AF_INET, &six.s6_addr[12], text, sizeof(text)) != NULL)
			text_add_str(to, text);
		return;
	}
	memset(&six.s6_addr[PREFIX_BYTES], 0, sizeof(six.s6_addr) - PREFIX_BYTES);
	if (inet_ntop(AF_INET6, &six, text, sizeof(text)) != NULL)
		text_add_str(to, text);
	text_add_str(to, "/64");
}

struct names {
	struct text ip, pair;
};

static struct names
names_of(struct span ip, struct span user)
{
	struct names n = {TEXT_UP_TO(MOST_IP), TEXT_UP_TO(MOST_NAME)};

	address_name(ip, &n.ip);
	text_add(&n.pair, text_span(&n.ip));
	text_add_byte(&n.pair, ' ');
	text_add(&n.pair, user);
	return n;
}

static void
names_clear(struct names *n)
{
	text_clear(&n->ip);
	text_clear(&n->pair);
}

static bool
is_allowed(const struct settings *s, struct span ip)
{
	char text[MOST_IP + 1];

	return span_copy(ip, text, sizeof(text)) && networks_have(&s->auth_allow, text);
}

/* --- failures --- */

static bool
counts(const struct mark *m, uint64_t now)
{
	return m != NULL && (m->when > now || m->when + GUARD_FORGET_SECONDS >= now);
}

/* One failure more; for how long its answer waits. */
static uint32_t
fail(struct guard *g, const struct settings *s, enum guard_kind kind, struct span name,
	uint64_t now)
{
	struct mark *m = touch(g, kind, name);
	uint64_t wait = s->auth_delay_seconds, most = s->auth_delay_most_seconds;

	if (!counts(m, now))
		m->count = 0;
	m->when = now;
	for (uint32_t i = 0; i < m->count && wait > 0 && wait < most; i++)
		wait *= 2;
	if (m->count < UINT32_MAX)
		m->count++;
	if (kind != GUARD_PAIR)
		keep(g, m);
	return (uint32_t)(wait < most ? wait : most);
}

/* The address of many: the default gateway, or one from which several users log in. What one does there says nothing
 * of the others; the counts of users and pairs remain. */
static bool
is_shared(const struct guard *g, struct span ip, uint64_t now)
{
	char name[MOST_IP + 1];

	return span_copy(ip, name, sizeof(name)) && shared_is(&g->shared, name, now);
}

/* Has it failed so often that each of its tries is slowed? Three accounts make an address a shared one, and a guesser
 * may have them: that buys patience, not a free hand. Behind the default gateway is the whole world: never. */
static bool
is_slow(struct guard *g, const struct settings *s, struct span ip, struct span key, uint64_t now)
{
	const struct mark *m = find(g, GUARD_ADDRESS, key);
	uint64_t most = s->auth_slow_failures;
	char name[MOST_IP + 1];

	if (most == 0 || !counts(m, now) ||
		(span_copy(ip, name, sizeof(name)) && network_is_gateway(name)))
		return false;
	return m->count >= (is_shared(g, ip, now) ? most * GUARD_SHARED_PATIENCE : most);
}

uint32_t
guard_failed(struct guard *g, const struct settings *s, struct span ip, struct span user,
	uint64_t now)
{
	struct names n;
	uint32_t wait, of_user;
	struct mark *pair;

	if (is_allowed(s, ip))
		return 0;
	n = names_of(ip, user);
	wait = fail(g, s, GUARD_ADDRESS, text_span(&n.ip), now);
	if (user.len > 0) {
		of_user = fail(g, s, GUARD_USER, user, now);
		if (wait < of_user ||
			(is_shared(g, ip, now) && !is_slow(g, s, ip, text_span(&n.ip), now)))
			wait = of_user;
		(void)fail(g, s, GUARD_PAIR, text_span(&n.pair), now);
		pair = find(g, GUARD_PAIR, text_span(&n.pair));
		pair->until = now + wait;
		if (s->auth_block_failures > 0 && pair->count >= s->auth_block_failures)
			pair->until = now + s->auth_block_seconds;
		keep(g, pair);
	}
	names_clear(&n);
	return wait;
}

static bool
is_blocked(const struct mark *m, const struct settings *s, uint64_t now)
{
	return m->until > now && s->auth_block_failures > 0 &&
	       m->count >= s->auth_block_failures;
}

static bool
is_good(struct guard *g, struct span pair, uint64_t now)
{
	const struct mark *m = find(g, GUARD_GOOD, pair);

	return m != NULL && m->when + GUARD_GOOD_SECONDS >= now;
}

enum guard_answer
guard_ask(struct guard *g, const struct settings *s, struct span ip, struct span user, uint64_t now,
	uint32_t *seconds)
{
	enum guard_answer answer = GUARD_GO;
	struct mark *pair;
	struct names n;

	*seconds = 0;
	if (is_allowed(s, ip))
		return GUARD_GO;
	n = names_of(ip, user);
	pair = find(g, GUARD_PAIR, text_span(&n.pair));
	if (pair != NULL && pair->until > now) {
		*seconds = (uint32_t)(pair->until - now);
		answer = is_blocked(pair, s, now) ? GUARD_BLOCK : GUARD_HOLD;
		if (answer == GUARD_HOLD)
			pair->until++; /* the one behind this one waits a second longer */
	} else if (is_slow(g, s, ip, text_span(&n.ip), now) &&
		   !is_good(g, text_span(&n.pair), now)) {
		*seconds = (uint32_t)s->auth_delay_most_seconds;
		answer = *seconds > 0 ? GUARD_HOLD : GUARD_GO;
	}
	names_clear(&n);
	return answer;
}

void
guard_right(struct guard *g, struct span ip, struct span user, uint64_t now)
{
	struct names n = names_of(ip, user);
	struct mark *m = find(g, GUARD_USER, user);
	char name[MOST_IP + 1];

	if (span_copy(ip, name, sizeof(name)))
		shared_note(&g->shared, name, user, now);
	if (m != NULL)
		forget(g, m);
	if ((m = find(g, GUARD_PAIR, text_span(&n.pair))) != NULL)
		forget(g, m);
	m = find(g, GUARD_GOOD, text_span(&n.pair));
	/* Once an hour is enough for what lasts a month. */
	if (m == NULL || m->when + 3600 < now) {
		m = touch(g, GUARD_GOOD, text_span(&n.pair));
		m->when = now;
		keep(g, m);
	}
	names_clear(&n);
}

/* --- for the administrator --- */

static void
entry_of(const struct mark *m, const struct settings *s, uint64_t now, struct guard_entry *e)
{
	size_t blank = span_index(m->name, ' ');

	*e = (struct guard_entry){.kind = m->kind,
		.failures = m->count,
		.when = m->when,
		.until = m->kind == GUARD_PAIR && is_blocked(m, s, now) ? m->until : 0};
	if (m->kind == GUARD_USER)
		e->user = m->name;
	else if (m->kind == GUARD_ADDRESS)
		e->ip = m->name;
	else {
		e->ip = span_part(m->name, 0, blank);
		e->user = span_part(m->name, blank + 1, m->name.len);
	}
}

void
guard_each(struct guard *g, const struct settings *s, uint64_t now,
	bool (*row)(void *me, const struct guard_entry *e), void *me)
{
	struct guard_entry e;
	struct mark *m;

	for (enum guard_kind kind = 0; kind < GUARD_GOOD; kind++)
		TAILQ_FOREACH_REVERSE(m, &g->by_age[kind], marks, age)
		{
			if (!counts(m, now) && m->until <= now)
				continue;
			entry_of(m, s, now, &e);
			if (!row(me, &e))
				return;
		}
}

uint32_t
guard_forgive(struct guard *g, struct span what)
{
	static const struct settings none;
	struct text ip = TEXT_UP_TO(MOST_IP);
	bool all = span_equal(what, SPAN("all"));
	uint32_t count = 0;

	address_name(what, &ip);
	for (enum guard_kind kind = 0; kind < GUARD_GOOD; kind++) {
		struct mark *m = TAILQ_FIRST(&g->by_age[kind]), *after;

		for (; m != NULL; m = after) {
			struct guard_entry e;

			after = TAILQ_NEXT(m, age);
			entry_of(m, &none, 0, &e);
			if (!all && !span_equal(e.user, what) &&
				!span_equal(e.ip, text_span(&ip)) && !span_equal(e.ip, what))
				continue;
			forget(g, m);
			count++;
		}
	}
	text_clear(&ip);
	return count;
}
