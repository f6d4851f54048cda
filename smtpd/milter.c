/*
 * milter - lets filters (Sendmail's milter protocol) look at a message, and change it, before it is
 * committed.
 *   inherits    channels to master, log and each smtpd
 *   keeps       nothing: _milter, with the groups that the system gives that user (so that it may open
 *               filters' sockets); no files; sockets to the filters; the system calls of milter_room
 *   may be lied to by    every filter. May lie to: smtpd, about messages that it was shown, which it may
 *               also change; it sees no other
 *   while away  (to smtpd) the option milter_down says what then
 *
 * smtpd says who sends (filter_begin), then each recipient that queue has accepted (filter_recipient), and hears what the
 * filters think of it (filter_recipient_told). When the message is whole it hands over the file (filter_ask), which
 * nobody else writes until filter_told. A recipient goes from filter to filter, and so does the message: each sees what
 * those before have made of it. Every message has connections of its own, and none waits for another.
 * milter-talk.c is the conversation with one filter, milter-edit.c what filters do to the message.
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <nettle/sha2.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/daemon.h"
#include "common/id.h"
#include "common/log.h"
#include "common/outcome.h"
#include "smtpd/milter-talk.h"

#define DOWN_SECONDS 5              /* a filter that cannot be reached is not tried again for so long */
#define ALL_SECONDS 480             /* for all filters of one message: below smtpd's patience */
#define MOST_FILTERS 16             /* of one list; settings.h */
#define MOST_ENVELOPE_CHANGES (1024 * 1024)   /* octets, of all filters */
#define PIECE 65536
#define HASHED_A_TURN (8 * PIECE)   /* octets, before others have their turn */
#define JOB_BUCKETS 1024

static const int milter_syscalls[] = {
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), -1,
};

static const struct room milter_room = {
	.name = "milter",
	.chrooted = false,
	.files = false,
	.network = true,
	.secret_memory = false,
	.syscalls = milter_syscalls,
	.keeps = 0,
	.most_descriptors = 16384,
};

/* A filter of a job. */
struct filter {
	char *name;
	struct talk *talk;
	size_t judged;               /* recipients, in their order, that it is done with */
	bool logged;
};

/* A message that is being told of. */
struct job {
	LIST_ENTRY(job) next;
	struct channel *from;
	uint64_t id, session;
	struct text words;           /* all texts, each with NUL behind it */
	size_t at[8];                /* where each begins */
	struct id_name name;
	struct milter_facts facts;
	size_t count, room;          /* recipients */
	size_t answered;             /* of those */
	struct filter filter[MOST_FILTERS];
	size_t filters, current;     /* current: the one that has the message */
	struct event turn, late;
	int file;                    /* -1: the message is not there yet */
	uint64_t size;
	struct milter_edit edit;
	char quarantine[MILTER_WORDS_MOST + 1];
	struct text envelope;        /* changes, as in struct milter_outcome */
	bool concluded;              /* the verdict is known; what was changed is being written */
	enum milter_verdict verdict;
	struct milter_refusal refusal;
	bool written;
	struct sha256_ctx hash;      /* of what was written, */
	uint64_t hashed;             /* so far */
};

enum { WORD_IP, WORD_NAME, WORD_HELO, WORD_VERSION, WORD_CIPHER, WORD_LOGIN, WORD_SENDER, WORD_HOSTNAME };

static struct milter {
	struct daemon daemon;
	LIST_HEAD(job_list, job) jobs[JOB_BUCKETS];
	uint32_t count;
	uint32_t count_of[MOST_PEERS_OF_A_KIND];  /* by smtpd process */
	/* What a sound smtpd has at most: an open message for each connection, and recipients for it; the most that was
	 * ever set, since sessions outlive a reload. */
	uint64_t most_jobs, most_recipients;
	uint64_t served;
	struct {
		char *name;
		time_t until;
	} down[MOST_FILTERS];
} milter;

static struct job *
find(struct channel *from, uint64_t id)
{
	struct job *j;

	LIST_FOREACH(j, &milter.jobs[id % JOB_BUCKETS], next)
		if (j->from == from && j->id == id)
			return j;
	return NULL;
}

static void
job_free(struct job *j)
{
	LIST_REMOVE(j, next);
	milter.count--;
	milter.count_of[channel_peer_index(j->from)]--;
	event_del(&j->turn);
	event_del(&j->late);
	for (size_t i = 0; i < j->filters; i++) {
		talk_free(&j->filter[i].talk);
		free(j->filter[i].name);
	}
	if (j->file >= 0) {
		milter_edit_clear(&j->edit);
		close(j->file);
	}
	for (size_t i = 0; i < j->count; i++)
		free((void *)(uintptr_t)j->facts.recipient[i].address.at);
	free(j->facts.recipient);
	text_clear(&j->words);
	text_clear(&j->envelope);
	free(j);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct job *j = find(from, id);

	(void)me;
	/* More than a sound one has: it is at no hour that it may say so. */
	if (m == MSG_filter_begin && milter.count_of[channel_peer_index(from)] >= milter.most_jobs)
		return HOUR_SERVING;
	if (m == MSG_filter_recipient && j && j->count >= milter.most_recipients)
		return HOUR_SERVING;
	return !j ? HOUR_NONE : j->file >= 0 ? HOUR_LENT : HOUR_OPEN;
}

static void
gone(void *me, struct channel *from)
{
	struct job *j, *next;

	(void)me;
	for (size_t i = 0; i < JOB_BUCKETS; i++)
		for (j = LIST_FIRST(&milter.jobs[i]); j; j = next) {
			next = LIST_NEXT(j, next);
			if (j->from == from)
				job_free(j);
		}
}

/* --- a filter that is down --- */

static bool
is_down(struct span filter)
{
	for (size_t i = 0; i < MOST_FILTERS; i++)
		if (milter.down[i].name && milter.down[i].until > time(NULL) &&
			span_equal(span_str(milter.down[i].name), filter))
			return true;
	return false;
}

static void
note_down(struct span filter)
{
	static size_t next;

	free(milter.down[next].name);
	milter.down[next].name = must_copy(filter);
	milter.down[next].until = time(NULL) + DOWN_SECONDS;
	next = (next + 1) % MOST_FILTERS;
}

static void
say_refusal(struct milter_refusal *r, unsigned int code, const char *status, const char *words)
{
	r->code = code;
	span_copy(span_str(status), r->status, sizeof(r->status));
	span_copy(span_str(words), r->words, sizeof(r->words));
}

/* What becomes of the message when this filter has failed. False: it goes on without it. */
static bool
failure_refuses(const struct milter_outcome *o, struct milter_refusal *r)
{
	struct span policy = milter.daemon.settings->milter_down;

	/* Half of what it wanted is done: the message is neither the one nor the other. */
	if (o->touched)
		say_refusal(r, 451, "4.7.1", "a filter of this server failed, try again later");
	else if (span_equal(policy, SPAN("accept")))
		return false;
	else if (span_equal(policy, SPAN("reject")))
		say_refusal(r, 550, "5.7.1", "a filter of this server is not available");
	else
		say_refusal(r, 451, "4.7.1", "a filter of this server is not available, try again later");
	return true;
}

/* The verdict of a filter whose talk is over: it takes the message, refuses it (*r), or has it thrown away. */
static enum milter_verdict
judge(struct job *j, struct filter *f, const struct milter_outcome *o, struct milter_refusal *r)
{
	static const char *const verdicts[] = { "accept", "refuse", "discard", "fail" };
	enum milter_verdict v = o->verdict;

	if (v == MILTER_REFUSES)
		*r = o->refusal;
	else if (v == MILTER_FAILS)
		v = failure_refuses(o, r) ? MILTER_REFUSES : MILTER_TAKES;
	if (f->logged)
		return v;
	f->logged = true;
	if (o->unreachable)
		note_down(span_str(f->name));
	if (o->verdict == MILTER_FAILS)
		log_warning(j->session, "milter-failed", KEY_ID("message", j->id), KEY_STR("milter", f->name),
			KEY_STR("reason", o->fault), KEY_SPAN("then", milter.daemon.settings->milter_down));
	log_info(j->session, "milter", KEY_ID("message", j->id), KEY_STR("milter", f->name),
		KEY_STR("verdict", verdicts[v]), KEY_NUM("code", v == MILTER_REFUSES ? r->code : 0),
		KEY_STR("quarantine", o->quarantine),
		KEY_STR("reason", v == MILTER_REFUSES ? r->words : ""));
	return v;
}

/* --- recipients --- */

/* What this filter has to say of the recipients that those before let through, `known` of them. */
static void
filter_recipients(struct job *j, struct filter *f, size_t known)
{
	const struct milter_outcome *o;
	struct milter_refusal r;
	size_t judged = talk_recipients(f->talk, known);

	if (judged > f->judged)
		f->judged = judged;
	if ((o = talk_outcome(f->talk)) == NULL)
		return;
	if (judge(j, f, o, &r) == MILTER_REFUSES)
		for (size_t i = f->judged; i < known; i++)
			if (!j->facts.recipient[i].refused.code)
				j->facts.recipient[i].refused = r;
	f->judged = known;
}

static void
tell_recipient(const struct job *j, const struct milter_recipient *to)
{
	const struct milter_refusal *r = &to->refused;

	send_filter_recipient_told(j->from, j->id,
		&(struct msg_filter_recipient_told){ .number = to->number,
			.outcome = r->code == 0 ? DONE : r->code >= 500 ? NEVER : LATER,
			.code = (uint16_t)(r->code == 0 ? 250 : r->code),
			.status = r->code == 0 ? SPAN("2.1.5") : span_str(r->status),
			.reason = r->code == 0 ? SPAN("accepted") : span_str(r->words) },
		NULL);
}

static void
work_on_recipients(struct job *j)
{
	size_t known = j->count;

	for (size_t i = 0; i < j->filters; i++) {
		filter_recipients(j, &j->filter[i], known);
		known = j->filter[i].judged;
	}
	while (j->answered < known)
		tell_recipient(j, &j->facts.recipient[j->answered++]);
}

/* --- the message --- */

/* A piece of what was written. 1: there is more; 0: all of it; -1: it cannot be read. */
static int
hash_some(struct job *j)
{
	static unsigned char piece[PIECE];
	uint64_t until = j->hashed + HASHED_A_TURN;

	while (j->hashed < j->edit.size && j->hashed < until) {
		ssize_t n = read_at(j->file, piece, sizeof(piece), (off_t)j->hashed);

		if (n <= 0)
			return -1;
		sha256_update(&j->hash, (size_t)n, piece);
		j->hashed += (uint64_t)n;
	}
	return j->hashed < j->edit.size;
}

/* The changed message to the file, and its digest, a piece at a time. As above. */
static int
write_some(struct job *j)
{
	int more;

	if (j->written)
		return hash_some(j);
	more = milter_edit_write(&j->edit);
	if (more == 0) {
		j->written = true;
		sha256_init(&j->hash);
	}
	return more < 0 ? -1 : 1;
}

static struct milter_recipient *
recipient_of(const struct job *j, struct span address)
{
	for (size_t i = 0; i < j->count; i++)
		if (!j->facts.recipient[i].refused.code && span_equal_nocase(j->facts.recipient[i].address, address))
			return &j->facts.recipient[i];
	return NULL;
}

/* One change of the envelope, as a message to smtpd. A recipient that is not there is deleted already. */
static void
tell_change(const struct job *j, enum milter_change change, struct span address, struct span parameters)
{
	const struct milter_recipient *r;

	if (change == CHANGE_SENDER) {
		send_filter_sender(j->from, j->id, &(struct msg_filter_sender){ .address = address }, NULL);
	} else if (change == CHANGE_ADD && !recipient_of(j, address)) {
		send_filter_add(j->from, j->id,
			&(struct msg_filter_add){ .address = address,
				.parameters = span_part(parameters, 0, MOST_FILTER_PARAMETERS) },
			NULL);
	} else if (change == CHANGE_REMOVE && (r = recipient_of(j, address)) != NULL) {
		send_filter_remove(j->from, j->id, &(struct msg_filter_remove){ .number = r->number }, NULL);
	}
}

/* Takes one change from the front. */
static bool
take_change(struct span *left, enum milter_change *change, struct span *address, struct span *parameters)
{
	if (left->len == 0)
		return false;
	*change = (enum milter_change)left->at[0];
	*left = span_part(*left, 1, left->len);
	return span_take_until(left, '\0', address) && span_take_until(left, '\0', parameters);
}

/* Does a later change take this recipient away again? */
static bool
is_removed(struct span left, struct span recipient)
{
	struct span address, parameters;
	enum milter_change change;

	while (take_change(&left, &change, &address, &parameters))
		if (change == CHANGE_REMOVE && span_equal_nocase(address, recipient))
			return true;
	return false;
}

static void
tell_envelope(const struct job *j)
{
	struct span left = text_span(&j->envelope), address, parameters;
	enum milter_change change;

	while (take_change(&left, &change, &address, &parameters))
		if (change != CHANGE_ADD || !is_removed(left, address))
			tell_change(j, change, address, parameters);
}

/* The last word; the job is gone. */
static void
tell(struct job *j)
{
	enum milter_verdict v = j->verdict;
	const struct milter_refusal *r = &j->refusal;
	unsigned char digest[SHA256_DIGEST_SIZE];
	struct msg_filter_told told = { .size = j->size };

	if (v == MILTER_TAKES && j->written) {
		sha256_digest(&j->hash, sizeof(digest), digest);
		told.changed = true;
		told.size = j->edit.size;
		told.digest = span_of(digest, sizeof(digest));
	}
	milter_edit_clear(&j->edit);
	/* Before it is told: nobody but smtpd has the file then. */
	close(j->file);
	j->file = -1;
	if (v == MILTER_TAKES)
		tell_envelope(j);
	told.outcome = v != MILTER_REFUSES ? DONE : r->code >= 500 ? NEVER : LATER;
	told.code = (uint16_t)(v == MILTER_REFUSES ? r->code : 250);
	told.status = v == MILTER_REFUSES ? span_str(r->status) : SPAN("2.0.0");
	told.reason = v == MILTER_REFUSES ? span_str(r->words) : SPAN("accepted");
	told.discard = v == MILTER_DISCARDS;
	told.quarantine = span_str(j->quarantine);
	send_filter_told(j->from, j->id, &told, NULL);
	milter.served++;
	job_free(j);
}

/* What filters have made of the message is written first, a piece in each round of events. */
static void
work_on_end(struct job *j)
{
	static const struct timeval at_once;
	int more = j->verdict == MILTER_TAKES && milter_edit_changed(&j->edit) ? write_some(j) : 0;

	if (more > 0) {
		event_add(&j->turn, &at_once);
		return;
	}
	if (more < 0) {
		log_error(j->session, "message-not-written", KEY_ID("message", j->id), KEY_ERRNO);
		say_refusal(&j->refusal, 451, "4.3.0", "the message cannot be written, try again later");
		j->verdict = MILTER_REFUSES;
	}
	tell(j);
}

/* The verdict is known: it is told as soon as the file is what it should be. The job may be gone. */
static void
conclude(struct job *j, enum milter_verdict v, const struct milter_refusal *r)
{
	j->concluded = true;
	j->verdict = v;
	j->refusal = *r;
	event_del(&j->late);
	work_on_end(j);
}

/* Takes over what a filter did beside the file. */
static void
keep_outcome(struct job *j, const struct milter_outcome *o)
{
	if (o->quarantine[0])
		memcpy(j->quarantine, o->quarantine, sizeof(j->quarantine));
	text_add(&j->envelope, text_span(&o->envelope));
}

/* The message, filter after filter, as far as it goes. */
static void
work_on_message(struct job *j)
{
	struct milter_refusal r = { .code = 0 };

	for (; j->current < j->filters; j->current++) {
		struct filter *f = &j->filter[j->current];
		const struct milter_outcome *o;
		enum milter_verdict v;

		talk_message(f->talk, &j->edit);
		if ((o = talk_outcome(f->talk)) == NULL)
			return;
		v = judge(j, f, o, &r);
		if (v != MILTER_TAKES) {
			conclude(j, v, &r);
			return;
		}
		if (o->verdict == MILTER_TAKES)
			keep_outcome(j, o);
	}
	if (j->envelope.failed) {
		say_refusal(&r, 451, "4.3.0", "the filters of this server change too much");
		conclude(j, MILTER_REFUSES, &r);
		return;
	}
	conclude(j, MILTER_TAKES, &r);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	if (j->concluded) {
		work_on_end(j);
		return;
	}
	work_on_recipients(j);
	if (j->file >= 0)
		work_on_message(j);
}

/* Something has happened to one of its talks. */
static void
on_progress(void *me)
{
	struct job *j = me;

	event_active(&j->turn, EV_TIMEOUT, 0);
}

/* All filters together have had their time: those that are not through are given up. */
static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;

	(void)fd;
	(void)what;
	for (size_t i = j->current; i < j->filters; i++)
		talk_give_up(j->filter[i].talk, "all filters together take too long");
	on_progress(j);
}

/* --- what smtpd says --- */

static const struct list *
filters_of(const struct msg_filter_begin *m)
{
	const struct settings *s = milter.daemon.settings;

	if (m->service == SERVICE_LMTP)
		return &s->lmtp_milters;
	return m->submitted ? &s->submission_milters : &s->smtp_milters;
}

static void
keep(struct job *j, int word, struct span value)
{
	j->at[word] = j->words.len;
	text_add(&j->words, value);
	text_add_byte(&j->words, '\0');
}

static struct span
word(const struct job *j, int which)
{
	return span_str((const char *)j->words.at + j->at[which]);
}

/* Connects to each filter. One that was down a moment ago is not tried: what its talk comes to is that it fails. */
static void
filters_begin(struct job *j, const struct list *filters)
{
	const struct settings *s = milter.daemon.settings;
	struct milter_times times = { (unsigned int)s->milter_connect_seconds,
		(unsigned int)s->milter_command_seconds, (unsigned int)s->milter_content_seconds };

	for (size_t i = 0; i < filters->count && i < MOST_FILTERS; i++) {
		struct filter *f = &j->filter[j->filters++];

		f->name = must_copy(filters->at[i]);
		f->talk = talk_new(milter.daemon.base, is_down(filters->at[i]) ? SPAN_NONE : filters->at[i], &j->facts,
			times, on_progress, j);
	}
}

static void
on_filter_begin(void *me, struct channel *from, uint64_t id, const struct msg_filter_begin *m,
	const int *fd)
{
	struct job *j = must_alloc(sizeof(*j));

	(void)me;
	(void)fd;
	j->from = from;
	j->id = id;
	j->session = m->session;
	j->file = -1;
	j->words = TEXT_UP_TO(8192);
	j->envelope = TEXT_UP_TO(MOST_ENVELOPE_CHANGES);
	keep(j, WORD_IP, m->ip);
	keep(j, WORD_NAME, m->name);
	keep(j, WORD_HELO, m->helo);
	keep(j, WORD_VERSION, m->tls_version);
	keep(j, WORD_CIPHER, m->tls_cipher);
	keep(j, WORD_LOGIN, m->login);
	keep(j, WORD_SENDER, m->sender);
	keep(j, WORD_HOSTNAME, milter.daemon.settings->hostname);
	j->name = id_name(id);
	j->facts = (struct milter_facts){ .ip = word(j, WORD_IP), .name = word(j, WORD_NAME),
		.helo = word(j, WORD_HELO), .tls_version = word(j, WORD_VERSION),
		.tls_cipher = word(j, WORD_CIPHER), .login = word(j, WORD_LOGIN),
		.sender = word(j, WORD_SENDER), .hostname = word(j, WORD_HOSTNAME),
		.service = span_str(service_name(m->service < SERVICE_COUNT ? (enum service)m->service : SERVICE_SMTP)),
		.id = span_str(j->name.str) };
	event_assign(&j->turn, milter.daemon.base, -1, 0, on_turn, j);
	event_assign(&j->late, milter.daemon.base, -1, 0, on_late, j);
	LIST_INSERT_HEAD(&milter.jobs[id % JOB_BUCKETS], j, next);
	milter.count++;
	milter.count_of[channel_peer_index(from)]++;
	filters_begin(j, filters_of(m));
}

static void
on_filter_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_filter_recipient *m, const int *fd)
{
	struct job *j = find(from, id);

	(void)me;
	(void)fd;
	if (j->count == j->room) {
		j->room = j->room == 0 ? 4 : j->room * 2;
		j->facts.recipient = must_realloc(j->facts.recipient, j->room * sizeof(*j->facts.recipient));
	}
	j->facts.recipient[j->count++] = (struct milter_recipient){
		.number = m->number, .address = span_of(must_copy(m->address), m->address.len) };
	on_progress(j);
}

static void
on_filter_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_filter_ask *m, const int *fd)
{
	struct job *j = find(from, id);
	struct timeval all = { .tv_sec = ALL_SECONDS };
	struct milter_refusal r;

	(void)me;
	j->file = fd[0];
	j->size = m->size;
	if (!milter_edit_init(&j->edit, fd[0], m->size, m->trace,
		    milter.daemon.settings->message_size_bytes)) {
		say_refusal(&r, 451, "4.3.0", "the message cannot be read");
		conclude(j, MILTER_REFUSES, &r);
		return;
	}
	event_add(&j->late, &all);
	on_progress(j);
}

/* The session is over, or the client thought better of it. */
static void
on_filter_cancel(void *me, struct channel *from, uint64_t id, const struct msg_filter_cancel *m,
	const int *fd)
{
	(void)me;
	(void)m;
	(void)fd;
	job_free(find(from, id));
}

static const struct hearing hearing_smtpd = {
	.hour = hour,
	.gone = gone,
	.on_filter_begin = on_filter_begin,
	.on_filter_recipient = on_filter_recipient,
	.on_filter_ask = on_filter_ask,
	.on_filter_cancel = on_filter_cancel,
};

static const struct peer_kind milter_peers[] = {
	{ PROGRAM_SMTPD, &hearing_smtpd },
	{ 0, NULL },
};

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	(void)me;
	*connections = milter.count;
	*served = milter.served;
}

static void
settings_changed(void *me, const struct settings *old)
{
	const struct settings *s = milter.daemon.settings;

	(void)me;
	(void)old;
	if (s->connections > milter.most_jobs)
		milter.most_jobs = s->connections;
	if (s->recipients > milter.most_recipients)
		milter.most_recipients = s->recipients;
}

static bool
prepare(void *me)
{
	(void)me;
	for (size_t i = 0; i < JOB_BUCKETS; i++)
		LIST_INIT(&milter.jobs[i]);
	return true;
}

static const struct daemon_kind kind = {
	.program = PROGRAM_MILTER,
	.room = &milter_room,
	.peers = milter_peers,
	.prepare = prepare,
	.settings_changed = settings_changed,
	.load = load,
};

int
main(void)
{
	return daemon_run(&milter.daemon, &kind, &milter);
}
