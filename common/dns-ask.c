/* dns-ask - see dns-ask.h. The questions of one process. */
#include "dns-ask.h"

#include "id.h"
#include "text.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct dns_question {
	LIST_ENTRY(dns_question) all;
	LIST_ENTRY(dns_question) bucket;
	struct daemon *daemon;
	uint64_t id;
	uint16_t type;
	bool hosts_first;
	char name[MOST_DNS_NAME + 1];
	dns_heard *heard;
	void *arg;
	struct event *timer;
};

#define BUCKETS 256                 /* ids are random: the low bits spread them */

LIST_HEAD(question_list, dns_question);
static struct {
	struct question_list all, bucket[BUCKETS];
	unsigned int count;
} asked;

static struct dns_question *
question_find(uint64_t id)
{
	struct dns_question *q;

	LIST_FOREACH(q, &asked.bucket[id % BUCKETS], bucket)
		if (q->id == id)
			return q;
	return NULL;
}

static void
question_free(struct dns_question *q)
{
	LIST_REMOVE(q, all);
	LIST_REMOVE(q, bucket);
	asked.count--;
	event_free(q->timer);
	free(q);
}

static void
answer(struct dns_question *q, const struct dns_answer *a)
{
	dns_heard *heard = q->heard;
	void *arg = q->arg;

	question_free(q);
	heard(arg, a);
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	static const struct dns_answer later = { .outcome = DNS_LATER };

	(void)fd;
	(void)what;
	answer(arg, &later);
}

static void
say(struct dns_question *q)
{
	struct channel *dns = daemon_peer(q->daemon, PROGRAM_DNS, 0);

	if (dns != NULL)
		send_dns_ask(dns, q->id,
			&(struct msg_dns_ask){ .type = q->type,
				.name = span_str(q->name),
				.hosts_first = q->hosts_first },
			NULL);
}

struct dns_question *
dns_ask(struct daemon *d, uint16_t type, struct span name, bool hosts_first, dns_heard *heard,
	void *arg)
{
	struct dns_question *q = must_alloc(sizeof(*q));
	struct timeval wait = { .tv_sec = DNS_SECONDS };
	bool good = asked.count < MOST_DNS_QUESTIONS;

	*q = (struct dns_question){ .daemon = d, .id = id_new(), .type = type,
		.hosts_first = hosts_first, .heard = heard, .arg = arg };
	if (!span_copy(name, q->name, sizeof(q->name)))
		good = false;
	LIST_INSERT_HEAD(&asked.all, q, all);
	LIST_INSERT_HEAD(&asked.bucket[q->id % BUCKETS], q, bucket);
	asked.count++;
	q->timer = evtimer_new(d->base, on_timeout, q);
	if (q->timer == NULL)
		abort();
	if (good)
		say(q);
	else
		wait.tv_sec = 0;
	evtimer_add(q->timer, &wait);
	return q;
}

void
dns_cancel(struct dns_question **q)
{
	if (*q != NULL)
		question_free(*q);
	*q = NULL;
}

void
dns_peer_came(struct daemon *d, struct channel *peer)
{
	struct dns_question *q;

	(void)d;
	if (channel_peer(peer) != PROGRAM_DNS)
		return;
	LIST_FOREACH(q, &asked.all, all)
		say(q);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)m;
	return question_find(id) != NULL ? HOUR_WAITING : HOUR_NONE;
}

static void
on_dns_told(void *me, struct channel *from, uint64_t id, const struct msg_dns_told *m, const int *fd)
{
	struct dns_answer a = { .outcome = DNS_LATER, .secure = m->secure, .ttl = m->ttl,
		.canonical = m->canonical, .answers = m->answers };
	struct span rest = m->answers, record;

	(void)me;
	(void)from;
	(void)fd;
	if (m->outcome >= DNS_FOUND && m->outcome <= DNS_BOGUS)
		a.outcome = (enum dns_outcome)m->outcome;
	/* "Found" without a record would be something else. */
	if (a.outcome == DNS_FOUND && !dns_take_record(&rest, &record))
		a.outcome = DNS_LATER;
	answer(question_find(id), &a);
}

const struct hearing dns_hearing = { .hour = hour, .on_dns_told = on_dns_told };
