/* dkim-line - see dkim-line.h. */
#include "dkim-line.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

void
dkim_lines_init(struct dkim_lines *l)
{
	memset(l, 0, sizeof(*l));
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		TAILQ_INIT(&l->of[i].line);
}

static struct span
put(unsigned char **at, struct span what)
{
	struct span copy = span_of(*at, what.len);

	if (what.len > 0)
		memcpy(*at, what.at, what.len);
	*at += what.len;
	return copy;
}

bool
dkim_lines_add(struct dkim_lines *l, struct channel *from, uint64_t id, const struct msg_dkim_ask *m)
{
	unsigned int i = channel_peer_index(from);
	struct dkim_waiting *w;
	unsigned char *at;

	if (i >= MOST_PEERS_OF_A_KIND || l->of[i].count >= MOST_WAITING_MAIL)
		return false;
	w = must_alloc(sizeof(*w) + m->domain.len + m->selector.len + m->digest.len);
	at = w->octets;
	w->from = from;
	w->id = id;
	w->domain = put(&at, m->domain);
	w->selector = put(&at, m->selector);
	w->digest = put(&at, m->digest);
	TAILQ_INSERT_TAIL(&l->of[i].line, w, line);
	l->of[i].count++;
	return true;
}

struct dkim_waiting *
dkim_lines_take(struct dkim_lines *l)
{
	for (unsigned int n = 1; n <= MOST_PEERS_OF_A_KIND; n++) {
		unsigned int i = (l->last + n) % MOST_PEERS_OF_A_KIND;
		struct dkim_waiting *w = TAILQ_FIRST(&l->of[i].line);

		if (w == NULL)
			continue;
		TAILQ_REMOVE(&l->of[i].line, w, line);
		l->of[i].count--;
		l->last = i;
		return w;
	}
	return NULL;
}

void
dkim_lines_forget(struct dkim_lines *l, const struct channel *from)
{
	unsigned int i = channel_peer_index(from);
	struct dkim_waiting *w, *next;

	for (w = i < MOST_PEERS_OF_A_KIND ? TAILQ_FIRST(&l->of[i].line) : NULL; w != NULL; w = next) {
		next = TAILQ_NEXT(w, line);
		if (w->from != from)
			continue;
		TAILQ_REMOVE(&l->of[i].line, w, line);
		l->of[i].count--;
		free(w);
	}
}
