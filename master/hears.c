/*
 * hears - the one place where a daemon's word reaches master.
 *
 * Any daemon may belong to an enemy. What each may say is in the table of messages; that it says
 * it about itself only follows from the channel: the process is the tag of the channel, never a
 * field.
 */
#include "master/hears.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "master/checkpassword.h"
#include "master/control.h"
#include "master/dispute.h"
#include "master/for-relay.h"
#include "master/expiry.h"
#include "master/mailbox.h"
#include "master/offer.h"
#include "master/pipe.h"
#include "master/process.h"
#include "master/public.h"
#include "master/resolver-file.h"
#include "master/share.h"
#include "master/stop.h"
#include "master/watch.h"

#define SECCOMP_FILTER 2 /* SECCOMP_MODE_FILTER of <linux/seccomp.h> */

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct process *p = channel_tag(from);

	(void)me;
	(void)m;
	(void)id;
	return p->state == PROCESS_STARTING ? HOUR_START : HOUR_SERVING;
}

static void
gone(void *me, struct channel *from)
{
	(void)me;
	process_control_gone(channel_tag(from));
}

static void
on_confined(
	void *me, struct channel *from, uint64_t id, const struct msg_confined *m, const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)id;
	(void)fd;
	process_serves(p);
	p->landlock = m->landlock;
	if (p->s->root && p->row->chrooted && !m->chrooted)
		log_error(0, "not-chrooted", KEY_STR("program", program_name(p->row->program)),
			KEY_NUM("pid", p->pid));
	if (m->seccomp != SECCOMP_FILTER)
		log_error(0, "not-filtered", KEY_STR("program", program_name(p->row->program)),
			KEY_NUM("pid", p->pid), KEY_NUM("seccomp", m->seccomp));
	log_info(0, "process-serves", KEY_STR("program", program_name(p->row->program)),
		KEY_NUM("index", p->index), KEY_NUM("pid", p->pid), KEY_NUM("seccomp", m->seccomp),
		KEY_NUM("landlock", m->landlock), KEY_NUM("chroot", m->chrooted),
		KEY_NUM("after_ms", process_milliseconds() - p->started));
	if (p->mailbox)
		mailbox_process_serves(p->mailbox);
	stop_started(p->s);
}

static void
on_settings_ready(void *me, struct channel *from, uint64_t id, const struct msg_settings_ready *m,
	const int *fd)
{
	struct process *p = channel_tag(from);

	(void)id;
	(void)fd;
	p->ready_generation = m->generation;
	offer_settle(me);
}

static void
on_settings_refused(void *me, struct channel *from, uint64_t id,
	const struct msg_settings_refused *m, const int *fd)
{
	(void)id;
	(void)fd;
	offer_refused(me, channel_tag(from), m->generation, m->reason);
}

static void
on_load_told(
	void *me, struct channel *from, uint64_t id, const struct msg_load_told *m, const int *fd)
{
	struct process *p = channel_tag(from);

	(void)id;
	(void)fd;
	p->connections = m->connections;
	p->served = m->served;
	p->load_asked = false;
	p->answer_owed = 0;
	control_load_settle(me);
}

/* It refused what a peer said, or found that a living peer had ended their channel: one of the two has a bug, or
 * belongs to an enemy, and a new one takes its place. */
static void
on_peer_lost(
	void *me, struct channel *from, uint64_t id, const struct msg_peer_lost *m, const int *fd)
{
	struct process *p = channel_tag(from), *other;

	(void)id;
	(void)fd;
	other = m->program < PROGRAM_COUNT ? process_find(me, m->program, m->index) : NULL;
	if (!other || other->state != PROCESS_SERVING || p->state != PROCESS_SERVING ||
		!wiring_joined(p->row->program, other->row->program))
		return;
	dispute_hear(p, other);
}

/* A worker of its own hangs in somebody else's code (PAM). A lie costs auth the worker. */
static void
on_worker_hangs(
	void *me, struct channel *from, uint64_t id, const struct msg_worker_hangs *m, const int *fd)
{
	struct process *other = NULL;

	(void)from;
	(void)id;
	(void)fd;
	if (m->program == PROGRAM_AUTH_PAM || m->program == PROGRAM_AUTH_HASH ||
		m->program == PROGRAM_AUTH_TOKEN)
		other = process_find(me, m->program, m->index);
	if (!other || other->state != PROCESS_SERVING)
		return;
	log_error(0, "process-hangs", KEY_STR("program", program_name(other->row->program)),
		KEY_NUM("index", other->index), KEY_NUM("pid", other->pid));
	process_kill(other);
}

/* dns or relay wants to read one of its files again; it looks itself whether that has changed. */
static void
on_resolver_ask(void *me, struct channel *from, uint64_t id, const struct msg_resolver_ask *m,
	const int *fd)
{
	struct supervisor *s = me;
	const struct process *p = channel_tag(from);
	bool may = (m->kind == RESOLVER_CREDENTIALS) == (p->row->program == PROGRAM_RELAY);
	int file = may ? resolver_file_open(s->now.settings, m->kind) : -1, error = may ? errno : EPERM;

	(void)fd;
	if (file >= 0)
		send_resolver_file(from, id, &(struct msg_resolver_file){ .kind = m->kind }, &file);
	else
		send_resolver_no_file(from, id,
			&(struct msg_resolver_no_file){
				.kind = m->kind, .error = (uint32_t)error },
			NULL);
}

static void
on_ticket_made(
	void *me, struct channel *from, uint64_t id, const struct msg_ticket_made *m, const int *fd)
{
	struct supervisor *s = me;

	(void)fd;
	/* When a front end comes with a ticket that we have not heard of, auth is heard (take_ticket). */
	channel_rest(from);
	if (!ticket_keep(&s->tickets, id, m, process_seconds()))
		log_warning(id, "ticket-not-kept", KEY_SPAN("user", m->user));
}

static void
on_check_run(
	void *me, struct channel *from, uint64_t id, const struct msg_check_run *m, const int *fd)
{
	(void)from;
	checkpassword_run(me, id, m, fd[0]);
}

static void
on_socket_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_socket_ask *m, const int *fd)
{
	int connected = for_relay_connect(me, m->path);

	(void)fd;
	if (connected >= 0)
		send_socket_told(from, id, &(struct msg_socket_told){}, &connected);
	else
		send_socket_fault(from, id, &(struct msg_socket_fault){ .error = (uint32_t)errno }, NULL);
}

static void
on_login_token_run(
	void *me, struct channel *from, uint64_t id, const struct msg_login_token_run *m, const int *fd)
{
	for_relay_token(me, channel_tag(from), id, m->login, fd);
}

static void
on_pipe_run(
	void *me, struct channel *from, uint64_t id, const struct msg_pipe_run *m, const int *fd)
{
	(void)from;
	pipe_run(me, id, m, fd[0]);
}

static void
on_imap_open(
	void *me, struct channel *from, uint64_t id, const struct msg_imap_open *m, const int *fd)
{
	mailbox_open(me, channel_tag(from), id, m, fd[0]);
}

static void
on_imap_taken(void *me, struct channel *from, uint64_t id, const struct msg_imap_taken *m,
	const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)m;
	(void)fd;
	channel_rest(from);
	if (p->mailbox)
		mailbox_session_taken(p->mailbox, id);
}

static void
on_imap_ended(
	void *me, struct channel *from, uint64_t id, const struct msg_imap_ended *m, const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)m;
	(void)fd;
	if (p->mailbox)
		mailbox_session_ended(p->mailbox, id);
}

static void
on_imap_back(
	void *me, struct channel *from, uint64_t id, const struct msg_imap_back *m, const int *fd)
{
	mailbox_session_back(me, channel_tag(from), id, m, fd[0]);
}

static void
on_imap_idle(
	void *me, struct channel *from, uint64_t id, const struct msg_imap_idle *m, const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)id;
	(void)m;
	(void)fd;
	if (p->mailbox)
		mailbox_idle(p->mailbox);
}

static void
on_shares_set(void *me, struct channel *from, uint64_t id, const struct msg_shares_set *m,
	const int *fd)
{
	struct process *p = channel_tag(from);

	(void)id;
	(void)fd;
	if (p->mailbox)
		share_set(me, mailbox_user(p->mailbox), m->members);
}

static void
on_shares_ask(void *me, struct channel *from, uint64_t id, const struct msg_shares_ask *m,
	const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)m;
	(void)fd;
	if (p->mailbox)
		share_ask(p, id);
}

static void
on_share_open(void *me, struct channel *from, uint64_t id, const struct msg_share_open *m,
	const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)fd;
	if (p->mailbox)
		share_open(p, id, m->owner);
}

static void
on_guest_ended(void *me, struct channel *from, uint64_t id, const struct msg_guest_ended *m,
	const int *fd)
{
	struct process *p = channel_tag(from);

	(void)me;
	(void)id;
	(void)m;
	(void)fd;
	if (p->mailbox)
		mailbox_guest_ended(p->mailbox);
}

static void
on_owner_told(void *me, struct channel *from, uint64_t id, const struct msg_owner_told *m,
	const int *fd)
{
	(void)from;
	(void)fd;
	share_owner_told(me, id, m);
}

static void
on_portmap_told(void *me, struct channel *from, uint64_t id, const struct msg_portmap_told *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	watch_mapped(me, m);
}

static void
on_certificate_told(void *me, struct channel *from, uint64_t id, const struct msg_certificate_told *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	expiry_hear(me, m);
}

static void
on_revocation_told(void *me, struct channel *from, uint64_t id, const struct msg_revocation_told *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	expiry_hear_revocation(me, m);
}

static void
on_public_told(void *me, struct channel *from, uint64_t id, const struct msg_public_told *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	public_told(me, m->addresses);
}

const struct hearing *
hears_daemons(void)
{
	static const struct hearing hearing = {
		.hour = hour,
		.gone = gone,
		.on_confined = on_confined,
		.on_settings_ready = on_settings_ready,
		.on_settings_refused = on_settings_refused,
		.on_load_told = on_load_told,
		.on_peer_lost = on_peer_lost,
		.on_worker_hangs = on_worker_hangs,
		.on_resolver_ask = on_resolver_ask,
		.on_ticket_made = on_ticket_made,
		.on_check_run = on_check_run,
		.on_socket_ask = on_socket_ask,
		.on_login_token_run = on_login_token_run,
		.on_pipe_run = on_pipe_run,
		.on_imap_open = on_imap_open,
		.on_imap_taken = on_imap_taken,
		.on_imap_ended = on_imap_ended,
		.on_imap_idle = on_imap_idle,
	.on_shares_set = on_shares_set,
	.on_shares_ask = on_shares_ask,
	.on_share_open = on_share_open,
	.on_guest_ended = on_guest_ended,
	.on_owner_told = on_owner_told,
		.on_imap_back = on_imap_back,
		.on_portmap_told = on_portmap_told,
		.on_certificate_told = on_certificate_told,
		.on_revocation_told = on_revocation_told,
		.on_public_told = on_public_told,
	};

	return &hearing;
}
