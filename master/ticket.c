/*
 * ticket - the table of auth's words.
 */
#include "master/ticket.h"

#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "common/text.h"

#define SLOTS_AT_A_TIME 64

static bool
is_good(const struct ticket *k, uint64_t now)
{
	return k->used && k->expires > now;
}

static struct ticket *
slot_for_new(struct ticket_table *t, uint64_t now)
{
	size_t more;

	for (size_t i = 0; i < t->count; i++)
		if (!is_good(&t->slots[i], now))
			return &t->slots[i];
	if (t->count >= MOST_TICKETS)
		return NULL;
	more = t->count + SLOTS_AT_A_TIME;
	t->slots = must_realloc(t->slots, more * sizeof *t->slots);
	memset(&t->slots[t->count], 0, SLOTS_AT_A_TIME * sizeof *t->slots);
	t->count = more;
	return &t->slots[more - SLOTS_AT_A_TIME];
}

/* Looks at every slot, so that the time taken tells nothing of where, or whether, it was found.
 * */
static struct ticket *
find(const struct ticket_table *t, struct span bytes, uint64_t now)
{
	struct ticket *found = NULL;

	for (size_t i = 0; i < t->count; i++)
		if (secret_equal(span_of(t->slots[i].bytes, TICKET_SIZE), bytes) &&
			is_good(&t->slots[i], now))
			found = &t->slots[i];
	return found;
}

bool
ticket_keep(struct ticket_table *t, uint64_t session, const struct msg_ticket_made *m, uint64_t now)
{
	struct ticket *k;

	if (m->ticket.len != TICKET_SIZE || m->user.len == 0 || session == 0 ||
		find(t, m->ticket, now))
		return false;
	if (!(k = slot_for_new(t, now)))
		return false;
	memset(k, 0, sizeof *k);
	if (!span_copy(m->user, k->user, sizeof k->user) ||
		!span_copy(m->home, k->home, sizeof k->home))
		return false;
	memcpy(k->bytes, m->ticket.at, TICKET_SIZE);
	k->session = session;
	k->program = m->program;
	k->index = m->index;
	k->uid = m->uid;
	k->gid = m->gid;
	k->quota_bytes = m->quota_bytes;
	k->quota_messages = m->quota_messages;
	k->expires = now + TICKET_SECONDS;
	k->used = true;
	return true;
}

bool
ticket_known(const struct ticket_table *t, struct span bytes, uint64_t now)
{
	return bytes.len == TICKET_SIZE && find(t, bytes, now) != NULL;
}

enum ticket_verdict
ticket_take(struct ticket_table *t, struct span bytes, uint64_t session, enum program program,
	unsigned int index, uint64_t now, struct ticket *found)
{
	struct ticket *k = bytes.len == TICKET_SIZE ? find(t, bytes, now) : NULL;
	enum ticket_verdict verdict = TICKET_MISUSED;

	if (!k)
		return TICKET_UNKNOWN;
	if (k->session == session && k->program == (uint8_t)program && k->index == index) {
		*found = *k;
		secret_wipe(found->bytes, TICKET_SIZE);
		verdict = TICKET_GOOD;
	}
	secret_wipe(k, sizeof *k);
	return verdict;
}

void
ticket_table_clear(struct ticket_table *t)
{
	if (t->slots)
		secret_wipe(t->slots, t->count * sizeof *t->slots);
	free(t->slots);
	t->slots = NULL;
	t->count = 0;
}
