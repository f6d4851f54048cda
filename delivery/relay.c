/*
 * relay - sends mail to other servers: the SMTP (and LMTP) client.
 *   inherits    channels to master, log, queue, dns, sts and every TLS worker
 *   keeps       nothing: _relay, an empty root, sockets of IPv4 and IPv6; of each message an open
 *               descriptor, to read, as long as its job lasts
 *   may be lied to by    every server, dns and TLS workers. May lie to: queue, about what became of
 *               a recipient: lose mail that it was given, or send it anywhere
 *   while away  queue: jobs end, unsaid. dns, sts: asked again. tls: the next worker, or later
 *
 * Several processes, each one event loop. Read relay.h next; relay-job.c is the way of one message.
 */
#include "relay.h"

#include "common/beneath.h"
#include "common/local-address.h"
#include "common/secret.h"

#include <event2/event.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDENTIALS_SECONDS 10         /* between two looks at the file */

static struct relay me;

static struct job *
job_find(const struct channel *from, uint64_t id)
{
	struct job *j;

	TAILQ_FOREACH(j, &me.jobs, all)
		if (j->id == id && j->queue == from)
			return j;
	return NULL;
}

/* --- queue --- */

static uint32_t
queue_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	struct job *j = job_find(from, id);

	(void)arg;
	(void)m;
	if (j == NULL)
		return HOUR_NONE;
	return j->count < j->wanted ? HOUR_OPEN : HOUR_SERVING;
}

/* A queue that came anew begins anew with what these jobs had; whatever has not been said to a
 * server to its last byte is not said. */
static void
queue_gone(void *arg, struct channel *from)
{
	struct job *j, *next;

	(void)arg;
	for (j = TAILQ_FIRST(&me.jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, all);
		if (j->queue != from)
			continue;
		j->queue = NULL;
		/* The server has it all: its answer is read, so that it does not take us for lost. */
		if (j->dialogue == NULL || j->dialogue->step != STEP_VERDICT)
			job_free(j);
	}
}

static void
refuse(struct channel *from, uint64_t id, const char *reason)
{
	send_relay_done(from, id,
		&(struct msg_relay_done){ .health = HEALTH_BUSY, .reason = span_str(reason) }, NULL);
}

static void
on_relay_job(
	void *arg, struct channel *from, uint64_t id, const struct msg_relay_job *m, const int *fd)
{
	struct job *j;

	(void)arg;
	if (me.job_count >= MOST_JOBS || m->recipients == 0 || m->recipients > MOST_JOB_RECIPIENTS ||
	    m->way < WAY_MX || m->way > WAY_LMTP || me.daemon.leaving) {
		close(fd[0]);
		refuse(from, id, "too many jobs");
		return;
	}
	j = must_alloc(sizeof(*j));
	j->relay = &me;
	j->queue = from;
	j->id = id;
	j->message = m->message;
	j->session = m->session;
	j->sender = must_copy(m->sender);
	j->next_hop = must_copy(m->next_hop);
	j->envid = must_copy(m->envid);
	j->body = m->body;
	j->utf8 = m->utf8;
	j->size = m->size;
	j->ret = m->ret;
	j->asks_tls = m->require_tls;
	j->tls_optional = m->tls_optional;
	/* RFC 8689 5: a report is not thrown away for it. */
	j->require_tls = m->require_tls && m->sender.len > 0;
	j->by_mode = m->by_mode;
	j->by_trace = m->by_trace;
	j->deliver_by = m->deliver_by;
	j->priority = m->priority;
	j->top = must_alloc(m->top.len + 1);
	memcpy(j->top, m->top.at, m->top.len);
	j->top_len = m->top.len;
	j->way = (enum relay_way)m->way;
	j->wanted = m->recipients;
	j->recipient = must_alloc(j->wanted * sizeof(*j->recipient));
	j->fd = fd[0];
	TAILQ_INSERT_TAIL(&me.jobs, j, all);
	me.job_count++;
}

static void
on_relay_recipient(void *arg, struct channel *from, uint64_t id, const struct msg_relay_recipient *m,
	const int *fd)
{
	struct job *j = job_find(from, id);

	(void)arg;
	(void)fd;
	j->recipient[j->count++] = (struct job_recipient){ .number = m->number, .notify = m->notify,
		.address = must_copy(m->address), .orcpt = must_copy(m->orcpt) };
	j->left++;
	if (j->count == j->wanted)
		job_begin(j);
}

/* --- TLS workers --- */

static uint32_t
tls_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	struct dialogue *d = dialogue_find(&me, id);

	(void)arg;
	(void)m;
	return d != NULL && d->tls_worker == from ? HOUR_WAITING : HOUR_NONE;
}

static void
tls_gone(void *arg, struct channel *from)
{
	(void)arg;
	dialogue_tls_gone(&me, from);
}

static void
on_tls_connected(void *arg, struct channel *from, uint64_t id, const struct msg_tls_connected *m,
	const int *fd)
{
	(void)arg;
	dialogue_tls_connected(&me, from, id, m, fd[0]);
}

static void
on_tls_failed(
	void *arg, struct channel *from, uint64_t id, const struct msg_tls_failed *m, const int *fd)
{
	(void)arg;
	(void)fd;
	dialogue_tls_failed(&me, from, id, m);
}

/* --- policies of domains --- */

static uint32_t
policy_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	(void)arg;
	(void)from;
	(void)m;
	return sts_hour(&me, id);
}

static void
on_sts_told(void *arg, struct channel *from, uint64_t id, const struct msg_sts_told *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)fd;
	sts_told(&me, id, m);
}

/* --- logins at relayhosts --- */

/* Jobs that wait for it begin; or end, when it cannot be read. */
static void
credentials_known(bool known)
{
	struct job *j, *next;

	me.credentials_known = known;
	for (j = TAILQ_FIRST(&me.jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, all);
		if (!j->waits)
			continue;
		j->waits = false;
		if (known)
			job_begin(j);
		else
			job_end_all(j, V_MISCONFIGURED, "");
	}
}

static void
credentials_ask(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval wait = { .tv_sec = CREDENTIALS_SECONDS };

	(void)fd;
	(void)what;
	(void)arg;
	if (me.daemon.settings->relay_credentials.len == 0) {
		text_wipe(&me.credentials);
		credentials_known(true);
		return;
	}
	send_resolver_ask(me.daemon.master, 0,
		&(struct msg_resolver_ask){ .kind = RESOLVER_CREDENTIALS }, NULL);
	evtimer_add(me.credentials_timer, &wait);
}

static void
on_resolver_file(void *arg, struct channel *from, uint64_t id, const struct msg_resolver_file *m,
	const int *fd)
{
	unsigned char *content = must_alloc(MOST_CREDENTIALS);
	ssize_t len = read_at(fd[0], content, MOST_CREDENTIALS, 0);

	(void)arg;
	(void)from;
	(void)id;
	(void)m;
	close(fd[0]);
	if (len < 0 || len == MOST_CREDENTIALS)
		log_error(0, "credentials-unread", KEY_NUM("bytes", len));
	text_wipe(&me.credentials);
	if (len > 0 && len < MOST_CREDENTIALS)
		text_add(&me.credentials, span_of(content, (size_t)len));
	secret_wipe(content, MOST_CREDENTIALS);
	free(content);
	credentials_known(len >= 0 && len < MOST_CREDENTIALS);
}

static void
on_resolver_no_file(void *arg, struct channel *from, uint64_t id,
	const struct msg_resolver_no_file *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)id;
	(void)fd;
	log_error(0, "credentials-unread", KEY_STR("error", strerror((int)m->error)));
	text_wipe(&me.credentials);
	credentials_known(false);
}

/* --- what master does for us --- */

static void
on_socket_told(void *arg, struct channel *from, uint64_t id, const struct msg_socket_told *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)m;
	socket_told(&me, id, fd[0]);
}

static void
on_socket_fault(void *arg, struct channel *from, uint64_t id, const struct msg_socket_fault *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)fd;
	socket_fault(&me, id, (int)m->error);
}

static void
on_login_token_told(
	void *arg, struct channel *from, uint64_t id, const struct msg_login_token_told *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)fd;
	token_told(&me, id, m->reason);
}

static void
settings_changed(void *arg, const struct settings *old)
{
	(void)arg;
	(void)old;
	tokens_forget(&me);
	credentials_ask(-1, 0, NULL);
}

/* --- life --- */

static bool
prepare(void *arg)
{
	(void)arg;
	TAILQ_INIT(&me.jobs);
	TAILQ_INIT(&me.dialogues);
	TAILQ_INIT(&me.tokens);
	me.credentials = TEXT_UP_TO(MOST_CREDENTIALS);
	me.credentials_timer = evtimer_new(me.daemon.base, credentials_ask, NULL);
	return me.credentials_timer != NULL;
}

static void
peer_came(void *arg, struct channel *peer)
{
	(void)arg;
	dns_peer_came(&me.daemon, peer);
	sts_peer_came(&me, peer);
}

/* Connections from an address that is gone can neither speak nor be heard: time limits would find out
 * late. */
static void
address_changed(void *arg, const struct msg_address_changed *m)
{
	struct dialogue *d, *next;

	(void)arg;
	for (d = TAILQ_FIRST(&me.dialogues); m->gone.len > 0 && d != NULL; d = next) {
		next = TAILQ_NEXT(d, all);
		if (local_address_is(d->fd, m->gone))
			dialogue_failed(d, VERDICT_IS(LATER, 451, "4.4.2",
				"our address has changed"));
	}
}

/* What is being said is said to its end. */
static void
leave(void *arg, unsigned int seconds)
{
	struct dialogue *d, *next;
	struct job *j, *next_job;

	(void)arg;
	(void)seconds;
	for (d = TAILQ_FIRST(&me.dialogues); d != NULL; d = next) {
		next = TAILQ_NEXT(d, all);
		if (d->step == STEP_IDLE)
			dialogue_quit(d);
	}
	for (j = TAILQ_FIRST(&me.jobs); j != NULL; j = next_job) {
		next_job = TAILQ_NEXT(j, all);
		if (j->dialogue == NULL || j->dialogue->step < STEP_ENVELOPE)
			job_end_all(j, V_LEAVING, "");
	}
	if (TAILQ_EMPTY(&me.jobs))
		daemon_exit(&me.daemon);
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	(void)arg;
	*connections = me.dialogue_count;
	*served = me.served;
}

/* The last job of a relay that leaves has ended. */
static void
work(void *arg)
{
	(void)arg;
	if (me.daemon.leaving && TAILQ_EMPTY(&me.jobs))
		daemon_exit(&me.daemon);
}

/* What a program prints. */
static const int syscalls[] = { SCMP_SYS(pipe2), -1 };

static const struct room relay_room = {
	.name = "relay",
	.chrooted = true,
	.files = false,
	.internet = true,
	.syscalls = syscalls,
	.most_descriptors = 16384,
};
static const struct hearing from_queue = {
	.hour = queue_hour, .gone = queue_gone,
	.on_relay_job = on_relay_job, .on_relay_recipient = on_relay_recipient,
};
static const struct hearing from_tls = {
	.hour = tls_hour, .gone = tls_gone,
	.on_tls_connected = on_tls_connected, .on_tls_failed = on_tls_failed,
};
static const struct hearing from_sts = { .hour = policy_hour, .on_sts_told = on_sts_told };
static const struct hearing from_master = {
	.on_resolver_file = on_resolver_file, .on_resolver_no_file = on_resolver_no_file,
	.on_socket_told = on_socket_told, .on_socket_fault = on_socket_fault,
	.on_login_token_told = on_login_token_told,
};
static const struct peer_kind peers[] = {
	{ PROGRAM_QUEUE, &from_queue },
	{ PROGRAM_DNS, &dns_hearing },
	{ PROGRAM_TLS, &from_tls },
	{ PROGRAM_STS, &from_sts },
	{ 0, NULL },
};
static const struct daemon_kind kind = {
	.program = PROGRAM_RELAY, .room = &relay_room, .peers = peers, .prepare = prepare,
	.peer_came = peer_came, .leave = leave, .load = load, .work = work,
	.address_changed = address_changed, .settings_changed = settings_changed,
	.control = &from_master,
};

int
main(void)
{
	return daemon_run(&me.daemon, &kind, &me);
}
