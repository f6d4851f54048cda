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
 * A worker that blocks, by design: one message at a time, filter after filter. smtpd says who sent what to
 * whom (filter_begin, filter_recipient), then hands over the file (filter_ask), which nobody else writes
 * until filter_told. milter-talk.c is the conversation, milter-edit.c what filters do to the message.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <poll.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/daemon.h"
#include "common/id.h"
#include "common/log.h"
#include "common/milter-address.h"
#include "common/outcome.h"
#include "smtpd/milter-talk.h"

#define DOWN_SECONDS 5              /* a filter that cannot be reached is not tried again for so long */
#define MOST_FILTERS 16             /* of one list; settings.h */
#define PIECE 65536

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
	.most_descriptors = 1024,
};

/* A message that is being told of; its filters are asked when it is whole. */
struct job {
	LIST_ENTRY(job) next;
	struct channel *from;
	uint64_t id, session;
	enum service service;
	bool submitted;
	struct text words;           /* all texts, each with NUL behind it */
	size_t at[8];                /* where each begins */
	struct text recipients;      /* each with NUL behind it */
	size_t count;
};

enum { WORD_IP, WORD_NAME, WORD_HELO, WORD_VERSION, WORD_CIPHER, WORD_LOGIN, WORD_SENDER };

static struct milter {
	struct daemon daemon;
	LIST_HEAD(, job) jobs;
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

	LIST_FOREACH(j, &milter.jobs, next)
		if (j->from == from && j->id == id)
			return j;
	return NULL;
}

static void
job_free(struct job *j)
{
	LIST_REMOVE(j, next);
	text_clear(&j->words);
	text_clear(&j->recipients);
	free(j);
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)m;
	return find(from, id) ? HOUR_OPEN : HOUR_NONE;
}

static void
gone(void *me, struct channel *from)
{
	struct job *j, *next;

	(void)me;
	for (j = LIST_FIRST(&milter.jobs); j; j = next) {
		next = LIST_NEXT(j, next);
		if (j->from == from)
			job_free(j);
	}
}

static void
keep(struct job *j, int word, struct span value)
{
	j->at[word] = j->words.len;
	text_add(&j->words, value);
	text_add_byte(&j->words, '\0');
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
	j->service = m->service;
	j->submitted = m->submitted;
	j->words = TEXT_UP_TO(8192);
	j->recipients = TEXT_UP_TO(64 * 1024 * 1024);
	keep(j, WORD_IP, m->ip);
	keep(j, WORD_NAME, m->name);
	keep(j, WORD_HELO, m->helo);
	keep(j, WORD_VERSION, m->tls_version);
	keep(j, WORD_CIPHER, m->tls_cipher);
	keep(j, WORD_LOGIN, m->login);
	keep(j, WORD_SENDER, m->sender);
	LIST_INSERT_HEAD(&milter.jobs, j, next);
}

static void
on_filter_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_filter_recipient *m, const int *fd)
{
	struct job *j = find(from, id);

	(void)me;
	(void)fd;
	text_add(&j->recipients, m->address);
	text_add_byte(&j->recipients, '\0');
	j->count++;
}

/* --- the filters of a service --- */

static const struct list *
filters_of(const struct job *j)
{
	const struct settings *s = milter.daemon.settings;

	if (j->service == SERVICE_LMTP)
		return &s->lmtp_milters;
	return j->submitted ? &s->submission_milters : &s->smtp_milters;
}

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

/* A connected socket, or -1 with errno. */
static int
connect_to(struct span filter)
{
	struct sockaddr_storage to;
	socklen_t len, size = sizeof(int);
	int wait = (int)milter.daemon.settings->milter_connect_seconds * 1000, fd, error = 0;

	if (!milter_address_parse(filter, &to, &len)) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&to, len) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (poll(&p, 1, wait) == 1 &&
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
			return fd;
		errno = error ? error : ETIMEDOUT;
	}
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* What milter_down says of a filter that failed. */
static enum milter_verdict
when_down(struct milter_outcome *o)
{
	struct span policy = milter.daemon.settings->milter_down;

	if (span_equal(policy, SPAN("accept")))
		return MILTER_TAKES;
	o->code = span_equal(policy, SPAN("reject")) ? 550 : 451;
	span_copy(o->code == 550 ? SPAN("5.7.1") : SPAN("4.7.1"), o->status, sizeof(o->status));
	span_copy(o->code == 550 ? SPAN("a filter of this server is not available")
				 : SPAN("a filter of this server is not available, try again later"),
		o->words, sizeof(o->words));
	return MILTER_REFUSES;
}

static enum milter_verdict
ask_one(const struct job *j, struct span filter, const struct milter_facts *facts,
	struct milter_edit *e, struct milter_outcome *o)
{
	const struct settings *s = milter.daemon.settings;
	enum milter_verdict v = MILTER_FAILS;
	int fd = -1;

	o->touched = false;
	o->fault = "it was not reachable a moment ago";
	if (!is_down(filter) && (fd = connect_to(filter)) < 0) {
		o->fault = strerror(errno);
		note_down(filter);
	} else if (fd >= 0) {
		v = milter_talk(fd, facts, e, (unsigned int)s->milter_command_seconds,
			(unsigned int)s->milter_content_seconds, o);
		close(fd);
	}
	if (v != MILTER_FAILS)
		return v;
	log_warning(j->session, "milter-failed", KEY_ID("message", j->id),
		KEY_SPAN("milter", filter), KEY_STR("reason", o->fault),
		KEY_SPAN("then", s->milter_down));
	/* Half of what it wanted is done: the message is neither the one nor the other. */
	if (o->touched) {
		o->code = 451;
		span_copy(SPAN("4.7.1"), o->status, sizeof(o->status));
		span_copy(SPAN("a filter of this server failed, try again later"), o->words,
			sizeof(o->words));
		return MILTER_REFUSES;
	}
	return when_down(o);
}

static void
log_verdict(const struct job *j, struct span filter, enum milter_verdict v,
	const struct milter_outcome *o)
{
	static const char *const verdicts[] = { "accept", "refuse", "discard", "fail" };

	log_info(j->session, "milter", KEY_ID("message", j->id), KEY_SPAN("milter", filter),
		KEY_STR("verdict", verdicts[v]), KEY_NUM("code", v == MILTER_REFUSES ? o->code : 0),
		KEY_STR("quarantine", o->quarantine),
		KEY_STR("reason", v == MILTER_REFUSES ? o->words : ""));
}

/* Every filter, one after the other; each sees what those before have made of the message. */
static enum milter_verdict
ask_all(const struct job *j, struct milter_edit *e, struct milter_outcome *o)
{
	const struct list *filters = filters_of(j);
	struct id_name id = id_name(j->id);
	const char *words = (const char *)j->words.at;
	struct milter_facts facts = {
		.ip = span_str(words + j->at[WORD_IP]),
		.name = span_str(words + j->at[WORD_NAME]),
		.helo = span_str(words + j->at[WORD_HELO]),
		.tls_version = span_str(words + j->at[WORD_VERSION]),
		.tls_cipher = span_str(words + j->at[WORD_CIPHER]),
		.login = span_str(words + j->at[WORD_LOGIN]),
		.sender = span_str(words + j->at[WORD_SENDER]),
		.hostname = milter.daemon.settings->hostname,
		.service = span_str(service_name(j->service)),
		.id = span_str(id.str),
		.count = j->count,
	};
	struct span left = text_span(&j->recipients);
	enum milter_verdict v = MILTER_TAKES;

	facts.recipient = must_alloc((j->count + 1) * sizeof(*facts.recipient));
	for (size_t i = 0; i < j->count; i++)
		(void)span_take_until(&left, '\0', &facts.recipient[i]);
	for (size_t i = 0; v == MILTER_TAKES && i < filters->count; i++) {
		v = ask_one(j, filters->at[i], &facts, e, o);
		log_verdict(j, filters->at[i], v, o);
	}
	free(facts.recipient);
	return v;
}

static bool
digest_of(int fd, uint64_t size, unsigned char digest[SHA256_DIGEST_SIZE])
{
	static unsigned char piece[PIECE];
	struct sha256_ctx hash;
	uint64_t at = 0;

	sha256_init(&hash);
	while (at < size) {
		ssize_t n = read_at(fd, piece, sizeof(piece), (off_t)at);

		if (n <= 0)
			return false;
		sha256_update(&hash, (size_t)n, piece);
		at += (uint64_t)n;
	}
	sha256_digest(&hash, SHA256_DIGEST_SIZE, digest);
	return at == size;
}

static void
cannot(struct milter_outcome *o, const char *words)
{
	o->code = 451;
	span_copy(SPAN("4.3.0"), o->status, sizeof(o->status));
	span_copy(span_str(words), o->words, sizeof(o->words));
}

static void
on_filter_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_filter_ask *m, const int *fd)
{
	struct job *j = find(from, id);
	struct milter_outcome o = { .code = 0 };
	struct milter_edit e;
	unsigned char digest[SHA256_DIGEST_SIZE] = { 0 };
	enum milter_verdict v = MILTER_REFUSES;
	struct msg_filter_told told = { .size = m->size };

	(void)me;
	if (!milter_edit_init(&e, fd[0], m->size, m->trace,
		    milter.daemon.settings->message_size_bytes))
		cannot(&o, "the message cannot be read");
	else
		v = ask_all(j, &e, &o);
	if (v == MILTER_TAKES && milter_edit_changed(&e)) {
		told.changed = true;
		if (milter_edit_write(&e) && digest_of(fd[0], e.size, digest)) {
			told.size = e.size;
			told.digest = span_of(digest, sizeof(digest));
		} else {
			log_error(j->session, "message-not-written", KEY_ID("message", id), KEY_ERRNO);
			cannot(&o, "the message cannot be written, try again later");
			v = MILTER_REFUSES;
		}
	}
	milter_edit_clear(&e);
	/* Before it is told: nobody but smtpd has the file then. */
	close(fd[0]);
	told.outcome = v != MILTER_REFUSES ? DONE : o.code >= 500 ? NEVER : LATER;
	told.code = (uint16_t)(v == MILTER_REFUSES ? o.code : 250);
	told.status = v == MILTER_REFUSES ? span_str(o.status) : SPAN("2.0.0");
	told.reason = v == MILTER_REFUSES ? span_str(o.words) : SPAN("accepted");
	told.discard = v == MILTER_DISCARDS;
	told.quarantine = span_str(o.quarantine);
	send_filter_told(from, id, &told, NULL);
	milter.served++;
	/* It may be gone: a peer that dies meanwhile takes its jobs along only later. */
	job_free(j);
}

static const struct hearing hearing_smtpd = {
	.hour = hour,
	.gone = gone,
	.on_filter_begin = on_filter_begin,
	.on_filter_recipient = on_filter_recipient,
	.on_filter_ask = on_filter_ask,
};

static const struct peer_kind milter_peers[] = {
	{ PROGRAM_SMTPD, &hearing_smtpd },
	{ 0, NULL },
};

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	(void)me;
	*connections = 0;
	*served = milter.served;
}

static bool
prepare(void *me)
{
	(void)me;
	LIST_INIT(&milter.jobs);
	return true;
}

static const struct daemon_kind kind = {
	.program = PROGRAM_MILTER,
	.room = &milter_room,
	.peers = milter_peers,
	.prepare = prepare,
	.load = load,
};

int
main(void)
{
	return daemon_run(&milter.daemon, &kind, &milter);
}
