/*
 * control - the valija command's way to master.
 */
#include "master/control.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/log.h"
#include "master/expiry.h"
#include "master/mailbox.h"
#include "master/offer.h"
#include "master/process.h"
#include "master/public.h"
#include "master/stop.h"
#include "master/watch.h"

struct visitor {
	TAILQ_ENTRY(visitor) next;
	struct supervisor *s;
	struct channel *channel;
	struct event *timer; /* VISITOR_SECONDS of silence, or the wait for loads */
	bool wants_status, wants_reload, wants_next_reload;
};

static void
visitor_free(struct visitor *v)
{
	TAILQ_REMOVE(&v->s->visitors, v, next);
	v->s->visitor_count--;
	channel_free(&v->channel);
	event_free(v->timer);
	free(v);
}

static void
set_timer(struct visitor *v, unsigned int milliseconds)
{
	struct timeval when = { milliseconds / 1000, (suseconds_t)(milliseconds % 1000) * 1000 };

	event_add(v->timer, &when);
}

static void
tell(struct visitor *v, enum outcome outcome, const char *reason)
{
	send_command_told(v->channel, 0,
		&(struct msg_command_told){ .outcome = (uint8_t)outcome,
			.reason = span_part(span_str(reason), 0, 4096) },
		NULL);
}

/* --- status --- */

static void
tell_process(struct visitor *v, const struct process *p)
{
	send_command_process(v->channel, 0,
		&(struct msg_command_process){ .program = (uint8_t)p->row->program,
			.index = (uint16_t)p->index,
			.pid = (uint32_t)p->pid,
			.restarts = p->restarts,
			.connections = p->connections,
			.served = p->served,
			.landlock = p->landlock,
			.since = p->since,
			.user = p->mailbox ? span_str(mailbox_user(p->mailbox)) : SPAN_NONE },
		NULL);
}

static void
tell_address(struct visitor *v, const struct netstate_address *a)
{
	const struct netstate *n = watch_netstate(v->s);
	const struct netstate_link *l = netstate_link(n, a->link);
	uint32_t age = watch_age(v->s), left = a->valid;
	char name[MOST_ADDRESS_TEXT];

	netstate_address_name(a->family, a->at, name);
	if (left != NETSTATE_FOREVER)
		left = left > age ? left - age : 0;
	send_command_address(v->channel, 0,
		&(struct msg_command_address){ .link = span_str(l ? l->name : "?"),
			.address = span_str(name),
			.prefix = a->prefix,
			.kind = span_str(netstate_kind_name(a->kind)),
			.life = span_str(netstate_life_name(a->life)),
			.seconds = left,
			.up = l && l->up,
			.usable = netstate_is_usable(a) },
		NULL);
}

static bool
maps_ports(const struct supervisor *s)
{
	return s->now.settings && s->now.settings->port_mapping;
}

static void
tell_mapping(struct visitor *v, const struct watch_mapping *m)
{
	send_command_mapping(v->channel, 0,
		&(struct msg_command_mapping){ .service = span_str(service_name(m->service)),
			.outside = m->outside,
			.inside = m->inside,
			.seconds = m->seconds,
			.address = span_str(m->address),
			.protocol = span_str(m->protocol),
			.fault = span_str(m->fault) },
		NULL);
}

/* As many as a visitor's channel takes at once; `valija net` has them all. */
static void
tell_addresses(struct visitor *v)
{
	const struct netstate *n = watch_netstate(v->s);
	const char *old, *new, *address, *source;
	uint64_t when = watch_last_change(v->s, &old, &new);

	for (size_t i = 0; i < n->address_count && i < MOST_ADDRESSES_TOLD; i++)
		tell_address(v, &n->addresses[i]);
	for (size_t i = 0; public_at(v->s, i, &address, &source); i++)
		send_command_public(v->channel, 0,
			&(struct msg_command_public){ .address = span_str(address), .source = span_str(source) },
			NULL);
	for (size_t i = 0; maps_ports(v->s) && watch_mapping(v->s, i); i++)
		tell_mapping(v, watch_mapping(v->s, i));
	if (when)
		send_command_address_change(v->channel, 0,
			&(struct msg_command_address_change){ .when = when,
				.gone = span_str(old),
				.came = span_str(new) },
			NULL);
}

static void
tell_certificates(struct visitor *v)
{
	const struct settings *settings = v->s->now.settings;
	const struct expiry_entry *c;

	for (size_t i = 0; (c = expiry_entry(v->s, i)) != NULL; i++) {
		struct expiry_word word = expiry_word(v->s, c);

		send_command_certificate(v->channel, 0,
			&(struct msg_command_certificate){ .number = c->number,
				.name = span_str(c->name),
				.file = c->number < settings->tls_certificate.count
					? span_part(settings->tls_certificate.at[c->number], 0, MOST_PATH_FIELD)
					: SPAN_NONE,
				.not_before = (uint64_t)c->not_before,
				.not_after = (uint64_t)c->not_after,
				.word = (uint8_t)word.word,
				.until = (uint64_t)word.until },
			NULL);
	}
}

static void
tell_status(struct visitor *v)
{
	struct supervisor *s = v->s;
	const struct process *p;

	v->wants_status = false;
	send_command_process(v->channel, 0,
		&(struct msg_command_process){
			.program = PROGRAM_MASTER, .pid = (uint32_t)getpid(), .since = s->since },
		NULL);
	TAILQ_FOREACH(p, &s->processes, next)
		tell_process(v, p);
	tell_addresses(v);
	tell_certificates(v);
	send_command_end(v->channel, 0,
		&(struct msg_command_end){ .generation = s->now.number, .since = s->since }, NULL);
	set_timer(v, VISITOR_SECONDS * 1000);
}

void
control_load_settle(struct supervisor *s)
{
	const struct process *p;
	struct visitor *v;

	TAILQ_FOREACH(p, &s->processes, next)
		if (p->load_asked && p->control)
			return;
	TAILQ_FOREACH(v, &s->visitors, next)
		if (v->wants_status)
			tell_status(v);
}

static void
on_command_status(void *me, struct channel *from, uint64_t id, const struct msg_command_status *m,
	const int *fd)
{
	struct visitor *v = me;
	struct process *p;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	TAILQ_FOREACH(p, &v->s->processes, next)
		p->load_asked = p->control && p->state == PROCESS_SERVING &&
			send_load_ask(p->control, 0, &(struct msg_load_ask){}, NULL);
	v->wants_status = true;
	set_timer(v, LOAD_WAIT_MILLISECONDS);
	control_load_settle(v->s);
}

/* --- reload, stop, connect --- */

static void
on_command_reload(void *me, struct channel *from, uint64_t id, const struct msg_command_reload *m,
	const int *fd)
{
	struct visitor *v = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	set_timer(v, VISITOR_SECONDS * 1000);
	/* The one that is under way may have read the configuration before this was asked. */
	if (v->s->offered.number)
		v->wants_next_reload = true;
	else
		v->wants_reload = true;
	offer_begin(v->s);
}

void
control_reload_done(struct supervisor *s, enum outcome outcome, const char *reason)
{
	struct visitor *v;

	TAILQ_FOREACH(v, &s->visitors, next) {
		if (!v->wants_reload)
			continue;
		v->wants_reload = false;
		tell(v, outcome, reason);
	}
}

void
control_reload_next(struct supervisor *s)
{
	struct visitor *v;

	TAILQ_FOREACH(v, &s->visitors, next) {
		v->wants_reload = v->wants_reload || v->wants_next_reload;
		v->wants_next_reload = false;
	}
}

static void
on_user_changed(void *me, struct channel *from, uint64_t id, const struct msg_user_changed *m,
	const int *fd)
{
	struct visitor *v = me;
	struct process *p;

	(void)from;
	(void)id;
	(void)fd;
	set_timer(v, VISITOR_SECONDS * 1000);
	mailbox_end(v->s, m->user);
	TAILQ_FOREACH(p, &v->s->processes, next)
		if (p->row->program == PROGRAM_SMTPD && p->control &&
			p->state == PROCESS_SERVING)
			send_user_changed(p->control, 0, m, NULL);
	tell(v, DONE, "");
}

static void
on_user_quota(void *me, struct channel *from, uint64_t id, const struct msg_user_quota *m,
	const int *fd)
{
	struct visitor *v = me;

	(void)from;
	(void)id;
	(void)fd;
	set_timer(v, VISITOR_SECONDS * 1000);
	mailbox_limit(v->s, m->user, m->quota_bytes, m->quota_messages);
	tell(v, DONE, "");
}

static void
on_command_stop(void *me, struct channel *from, uint64_t id, const struct msg_command_stop *m,
	const int *fd)
{
	struct visitor *v = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	/* The command waits for the end of this connection, which is the end of master. */
	event_del(v->timer);
	tell(v, DONE, "");
	stop_begin(v->s, EX_OK);
}

static void
on_command_connect(void *me, struct channel *from, uint64_t id, const struct msg_command_connect *m,
	const int *fd)
{
	static unsigned int index;
	struct visitor *v = me;
	struct process *p = NULL;
	int ends[2];

	(void)from;
	(void)id;
	(void)fd;
	set_timer(v, VISITOR_SECONDS * 1000);
	if (m->program >= PROGRAM_COUNT || !wiring_command_may(m->program)) {
		tell(v, NEVER, "no channel to that program");
		return;
	}
	p = process_find(v->s, m->program, 0);
	if (!p || !p->control || p->state != PROCESS_SERVING || channel_pair(ends) < 0) {
		tell(v, LATER, "that program is not there now");
		return;
	}
	send_peer(p->control, 0,
		&(struct msg_peer){ .program = PROGRAM_COMMAND,
			.index = (uint16_t)(index++ % MOST_PEERS_OF_A_KIND) },
		&ends[0]);
	send_command_connected(v->channel, 0, &(struct msg_command_connected){}, &ends[1]);
}

/* --- coming and going --- */

static void
gone(void *me, struct channel *from)
{
	struct visitor *v = me;

	(void)from;
	v->channel = NULL; /* freed by its owner after this */
	visitor_free(v);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct visitor *v = arg;

	(void)fd;
	(void)what;
	if (v->wants_status)
		tell_status(v);
	else
		visitor_free(v);
}

/* The owner of the instance or root; but no daemon of ours, whatever its uid: it may be captured. */
static bool
may_visit(const struct supervisor *s, int fd)
{
	const struct process *p;
	struct ucred who;
	socklen_t len = sizeof who;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
		return false;
	TAILQ_FOREACH(p, &s->processes, next)
		if (p->pid == who.pid)
			return false;
	return who.uid == 0 || who.uid == geteuid();
}

static void
on_visitor(evutil_socket_t listening, short what, void *arg)
{
	static const struct hearing hearing = {
		.gone = gone,
		.on_command_status = on_command_status,
		.on_command_reload = on_command_reload,
		.on_user_changed = on_user_changed,
		.on_user_quota = on_user_quota,
		.on_command_stop = on_command_stop,
		.on_command_connect = on_command_connect,
	};
	struct supervisor *s = arg;
	struct visitor *v;
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	if (!may_visit(s, fd) || s->visitor_count >= MOST_VISITORS) {
		log_notice(0, "command-refused",
			KEY_STR("reason",
				s->visitor_count >= MOST_VISITORS ? "too many connections"
								  : "not from who may"));
		close(fd);
		return;
	}
	v = must_alloc(sizeof *v);
	v->s = s;
	v->timer = evtimer_new(s->base, on_timer, v);
	v->channel = channel_new(s->base, fd, PROGRAM_MASTER, PROGRAM_COMMAND, 0, &hearing, v);
	TAILQ_INSERT_TAIL(&s->visitors, v, next);
	s->visitor_count++;
	set_timer(v, VISITOR_SECONDS * 1000);
}

bool
control_open(struct supervisor *s, struct text *why)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	/* A long --dir does not fit into sun_path; through the descriptor of the directory it
	 * does. */
	int directory = open(s->paths.run, O_PATH | O_DIRECTORY | O_CLOEXEC);

	snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/control", directory);
	s->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* We hold the lock: whatever socket is there belongs to nobody. */
	unlink(s->paths.control);
	if (directory < 0 || s->control < 0 || fchmod(s->control, 0600) < 0 ||
		bind(s->control, (const struct sockaddr *)&at, sizeof at) < 0 ||
		chmod(s->paths.control, 0600) < 0 || listen(s->control, MOST_VISITORS) < 0) {
		text_printf(why, "%s: %s", s->paths.control, strerror(errno));
		if (directory >= 0)
			close(directory);
		return false;
	}
	close(directory);
	s->control_event = event_new(s->base, s->control, EV_READ | EV_PERSIST, on_visitor, s);
	return s->control_event && event_add(s->control_event, NULL) == 0;
}

void
control_close(struct supervisor *s)
{
	while (!TAILQ_EMPTY(&s->visitors))
		visitor_free(TAILQ_FIRST(&s->visitors));
	if (s->control_event)
		event_free(s->control_event);
	s->control_event = NULL;
	if (s->control >= 0) {
		close(s->control);
		unlink(s->paths.control);
	}
	s->control = -1;
}
