/* keeper - see keeper.h; and the small words that the queue's files share. */
#include "keeper.h"

#include "common/beneath.h"
#include "common/dns-ask.h"
#include "common/keyed-hash.h"
#include "relaying.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/users.h"
#include "logins.h"
#include "names.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NETWORK_SECONDS 60             /* in which what waits is tried after a change of addresses */
#define CLOCK_JUMP_SECONDS 3600
#define CLOCK_DOUBT_SECONDS 86400
#define SRS_KEY_FILE "srs-key"
#define NOTE_SECONDS 2                  /* between two looks at what has become of relayed mail */

uint64_t
queue_now_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint32_t
queue_now(void)
{
	return (uint32_t)(queue_now_milliseconds() / 1000);
}

bool
queue_clock_is_doubtful(struct queue *q)
{
	struct timespec since;
	int64_t offset;

	/* Unlike the monotonic clock, it goes on while the machine sleeps. */
	clock_gettime(CLOCK_BOOTTIME, &since);
	offset = (int64_t)time(NULL) - (int64_t)since.tv_sec;
	if (q->clock_offset != 0 && llabs(offset - q->clock_offset) > CLOCK_JUMP_SECONDS) {
		q->clock_doubtful_until = (uint64_t)since.tv_sec + CLOCK_DOUBT_SECONDS;
		log_warning(0, "clock-was-set", KEY_NUM("by", (uint64_t)llabs(offset - q->clock_offset)),
			KEY_STR("direction", offset > q->clock_offset ? "forward" : "back"),
			KEY_STR("effect", "no message is given up, or reported late, for its age for a day"));
	}
	q->clock_offset = offset;
	return (uint64_t)since.tv_sec < q->clock_doubtful_until;
}

uint32_t
queue_sender(struct span login, struct span sender)
{
	return (uint32_t)keyed_hash(login.len > 0 ? login : sender) | 1u;
}

struct verdict
queue_refusal(struct verdict v)
{
	if (v.outcome == NEVER && v.code / 100 == 5 && v.status.len > 0 && v.status.at[0] == '5')
		return v;
	if (v.code / 100 != 4 || v.status.len == 0 || v.status.at[0] != '4')
		return V_LATER;
	v.outcome = LATER;
	return v;
}

void
queue_log_recipient(uint64_t session, uint64_t id, struct span to, struct span given,
	struct span relay, uint64_t delay, struct verdict v)
{
	struct text seconds = TEXT_UP_TO(32);
	bool sent = v.outcome == DONE;

	text_printf(&seconds, "%llu.%02llu", (unsigned long long)delay / 1000,
		(unsigned long long)delay % 1000 / 10);
	if (given.len == 0)
		given = to;
	log_info(session, sent ? "delivered" : "not-delivered", KEY_ID("message", id),
		KEY_SPAN("to", to), KEY_SPAN("orig_to", given), KEY_SPAN("relay", relay),
		KEY_SPAN("delay", text_span(&seconds)), KEY_SPAN("dsn", v.status),
		KEY_STR("status", sent		       ? "sent"
				  : v.outcome == NEVER ? "bounced"
						       : "deferred"),
		KEY_SPAN("reason", v.reason));
	text_clear(&seconds);
}

static void
on_due_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	attempts_run(arg);
}

static void
on_retry_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	attempts_resume(arg);
}

static void
on_unplaced_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	attempts_place(arg);
}

static void
on_note_timer(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd;
	(void)what;
	attempts_note(q);
	relaying_look(q);
	queue_clock_is_doubtful(q);
	if (q->daemon.leaving && q->transactions == 0 && !attempts_are_noting(q))
		daemon_exit(&q->daemon);
}

/* The key of rewritten senders: made once, and kept in the spool. */
static void
read_srs_key(struct queue *q)
{
	int fd = open_in(q->spool, SRS_KEY_FILE, O_RDONLY, 0);
	struct resolver *r = &q->resolver;

	if (fd < 0 && errno == ENOENT) {
		secret_random(r->srs_key, sizeof(r->srs_key));
		fd = open_in(q->spool, SRS_KEY_FILE, O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd >= 0 && (write_all(fd, r->srs_key, sizeof(r->srs_key)) < 0 || fsync(fd) < 0))
			log_error(0, "srs-key", KEY_ERRNO);
	}
	r->srs_known = fd >= 0 &&
		read_at(fd, r->srs_key, sizeof(r->srs_key), 0) == (ssize_t)sizeof(r->srs_key);
	if (fd >= 0)
		close(fd);
	if (!r->srs_known)
		log_error(0, "srs-key", KEY_STR("file", SRS_KEY_FILE), KEY_ERRNO,
			KEY_STR("effect", "no sender is rewritten"));
}

bool
keeper_init(struct queue *q)
{
	static const struct timeval note = { .tv_sec = NOTE_SECONDS };
	static const char *const names[] = { SPOOL_QUEUE, SPOOL_CORRUPT };

	q->spool = q->daemon.directory[DIRECTORY_SPOOL];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mkdirat(q->spool, names[i], 0700) < 0 && errno != EEXIST)
			log_error(0, "spool-unusable", KEY_STR("directory", names[i]), KEY_ERRNO);
	q->queue = open_in(q->spool, SPOOL_QUEUE, O_RDONLY | O_DIRECTORY, 0);
	q->users = table_reader(q->daemon.directory[DIRECTORY_STATE], USERS_TABLE);
	if (q->queue < 0 || q->users == NULL) {
		log_error(0, "not-started",
			KEY_STR("reason", q->queue < 0 ? "the spool cannot be opened"
						       : "the table of users cannot be opened"),
			KEY_ERRNO);
		return false;
	}
	resolver_init(&q->resolver, q->users);
	q->resolver.asks = &names_asks;
	q->resolver.me = q;
	resolver_open(&q->resolver, q->daemon.directory[DIRECTORY_STATE]);
	idmap_init(&q->conversations);
	schedule_init(&q->schedule);
	relaying_init(q);
	read_srs_key(q);
	TAILQ_INIT(&q->relayings);
	q->note_timer = event_new(q->daemon.base, -1, EV_PERSIST, on_note_timer, q);
	if (q->note_timer != NULL)
		evtimer_add(q->note_timer, &note);
	queue_clock_is_doubtful(q);
	workers_init(q);
	for (size_t i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		TAILQ_INIT(&q->front[i].transactions);
	logins_init(q);
	TAILQ_INIT(&q->stranded);
	TAILQ_INIT(&q->unresolved);
	TAILQ_INIT(&q->unplaced);
	TAILQ_INIT(&q->pending);
	TAILQ_INIT(&q->listings);
	q->due_timer = evtimer_new(q->daemon.base, on_due_timer, q);
	q->retry_timer = evtimer_new(q->daemon.base, on_retry_timer, q);
	q->unplaced_timer = evtimer_new(q->daemon.base, on_unplaced_timer, q);
	return recover_begin(q);
}

void
keeper_peer_came(struct queue *q, struct channel *peer)
{
	if (channel_peer(peer) == PROGRAM_LOCAL || channel_peer(peer) == PROGRAM_SPOOL ||
		channel_peer(peer) == PROGRAM_LOCAL_HOME)
		worker_came(q, peer);
	if (channel_peer(peer) == PROGRAM_RELAY)
		relaying_peer_came(q, peer);
	dns_peer_came(&q->daemon, peer);
}

/* What waits for its next try may have waited for the network: all of it soon, not all at once. */
void
keeper_network_changed(struct queue *q)
{
	size_t place = 0;
	struct queued *m;
	uint32_t n = 0, now = queue_now();

	q->network_changes++;
	relaying_revive(q);
	while ((m = idmap_next(&q->schedule.messages, &place)) != NULL)
		if (m->place != 0 && m->tries > 0 && m->due > now + 1 + n % NETWORK_SECONDS) {
			m->turned_away = m->losses = 0;   /* everybody has his turn */
			schedule_at(&q->schedule, m, now + 1 + n++ % NETWORK_SECONDS);
		}
	attempts_run(q);
}

void
keeper_settings_changed(struct queue *q)
{
	size_t place = 0;
	struct queued *m;

	while ((m = idmap_next(&q->schedule.messages, &place)) != NULL)
		if (m->place == 0 && !m->active && !m->held && m->has_envelope)
			schedule_at(&q->schedule, m, queue_now());
	attempts_run(q);
}
