/* daemon - see daemon.h. One for each process. */
#include "daemon.h"

#include "log-later.h"
#include "log.h"
#include "network.h"
#include "ourselves.h"
#include "secret.h"
#include "text.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long master may take to say go, and we to say goodbye. */
#define GO_WAIT_MILLISECONDS 30000
#define GOODBYE_MILLISECONDS 1000
/* A peer that died has a successor by then, or master knows that it has none. */
#define LOST_SECONDS 2

/* What comes before go and is handed on after confinement. */
struct early {
	STAILQ_ENTRY(early) next;
	bool is_peer;
	enum program program;
	unsigned int index;
	enum service service;
	char address[MOST_IP + 1];
	bool proxy;
	int fd;
};

/* The process's own state; `d` is the program's, the rest only this file's. */
static struct {
	struct daemon *d;
	struct hearing control;
	struct hearing hearing[PROGRAM_COUNT];
	struct channel *peer[PROGRAM_COUNT][MOST_PEERS_OF_A_KIND];
	bool lost[PROGRAM_COUNT][MOST_PEERS_OF_A_KIND]; /* it ended the channel, not we */
	struct event *lost_timer;
	unsigned int turn[PROGRAM_COUNT];
	STAILQ_HEAD(, early) early;
	struct settings *offered;
	bool went, serving, over;
	bool installing; /* a successor's channel: what becomes of the old one nobody needs to know */
} life;

static const struct peer_kind *
peer_kind_of(enum program program)
{
	for (const struct peer_kind *k = life.d->kind->peers; k != NULL && k->hearing != NULL; k++)
		if (k->program == program)
			return k;
	return NULL;
}

static void
say_lost(enum program program, unsigned int index)
{
	if (life.serving)
		send_peer_lost(life.d->master, 0,
			&(struct msg_peer_lost){ .program = (uint8_t)program, .index = (uint16_t)index }, NULL);
}

/* A peer that lives, and will not hear us any more: only a life from the start makes that good. */
static void
on_lost_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	for (unsigned int p = 0; p < PROGRAM_COUNT; p++) {
		for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
			if (life.lost[p][i] && life.peer[p][i] == NULL && !life.d->leaving)
				say_lost(p, i);
			life.lost[p][i] = false;
		}
	}
}

/* Commands come and go as they like. Of a channel that we ended master hears from us at once: otherwise it
 * would be we who ended it without a reason (master/dispute.h). */
static void
note_lost(const struct channel *peer)
{
	static const struct timeval wait = { .tv_sec = LOST_SECONDS };

	if (channel_peer(peer) == PROGRAM_COMMAND || life.d->leaving || life.installing)
		return;
	if (channel_refused(peer)) {
		say_lost(channel_peer(peer), channel_peer_index(peer));
		return;
	}
	life.lost[channel_peer(peer)][channel_peer_index(peer)] = true;
	if (life.lost_timer == NULL)
		life.lost_timer = evtimer_new(life.d->base, on_lost_timer, NULL);
	if (life.lost_timer != NULL)
		evtimer_add(life.lost_timer, &wait);
}

static void
on_peer_gone(void *me, struct channel *from)
{
	enum program program = channel_peer(from);
	unsigned int index = channel_peer_index(from);
	const struct peer_kind *kind = peer_kind_of(program);

	if (index < MOST_PEERS_OF_A_KIND && life.peer[program][index] == from) {
		life.peer[program][index] = NULL;
		note_lost(from);
	}
	if (kind->hearing->gone != NULL)
		kind->hearing->gone(me, from);
}

static void
peer_install(enum program program, unsigned int index, int fd)
{
	struct daemon *d = life.d;
	struct channel **slot = &life.peer[program][index];

	if (*slot != NULL) {
		/* master knows of its death before we do: finish what it had said, then let it go. */
		struct channel *old = *slot;

		life.installing = true;
		if (channel_drain(old) && *slot == old) {
			on_peer_gone(d->me, old);
			channel_free(&old);
		}
		life.installing = false;
	}
	life.lost[program][index] = false; /* what becomes of this channel is another story */
	*slot = channel_new(d->base, fd, d->kind->program, program, index, &life.hearing[program],
		d->me);
	if (d->kind->peer_came != NULL)
		d->kind->peer_came(d->me, *slot);
}

static void
on_peer(void *me, struct channel *from, uint64_t id, const struct msg_peer *m, const int *fd)
{
	struct early *e;

	(void)me;
	(void)from;
	(void)id;
	if (m->program >= PROGRAM_COUNT || m->index >= MOST_PEERS_OF_A_KIND ||
	    peer_kind_of(m->program) == NULL) {
		log_error(0, "unexpected-peer", KEY_NUM("program", m->program),
			KEY_NUM("index", m->index));
		close(fd[0]);
		return;
	}
	if (life.serving) {
		peer_install(m->program, m->index, fd[0]);
		return;
	}
	e = must_alloc(sizeof(*e));
	e->is_peer = true;
	e->program = m->program;
	e->index = m->index;
	e->fd = fd[0];
	STAILQ_INSERT_TAIL(&life.early, e, next);
}

static void
on_listener(void *me, struct channel *from, uint64_t id, const struct msg_listener *m, const int *fd)
{
	struct early *e;

	(void)from;
	(void)id;
	if (m->service >= SERVICE_COUNT || life.d->kind->listener == NULL) {
		close(fd[0]);
		return;
	}
	if (life.serving) {
		life.d->kind->listener(me, m->service, m->address, m->proxy, fd[0]);
		return;
	}
	e = must_alloc(sizeof(*e));
	e->service = m->service;
	e->proxy = m->proxy;
	e->fd = fd[0];
	span_copy(m->address, e->address, sizeof(e->address));
	STAILQ_INSERT_TAIL(&life.early, e, next);
}

static void
on_listener_gone(void *me, struct channel *from, uint64_t id, const struct msg_listener_gone *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	if (m->service < SERVICE_COUNT && life.d->kind->listener_gone != NULL)
		life.d->kind->listener_gone(me, m->service, m->address);
}

static void
on_directory(void *me, struct channel *from, uint64_t id, const struct msg_directory *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	if (m->kind == 0 || m->kind >= DIRECTORY_COUNT || life.d->directory[m->kind] >= 0) {
		close(fd[0]);
		return;
	}
	life.d->directory[m->kind] = fd[0];
}

static void
on_passport_key(void *me, struct channel *from, uint64_t id, const struct msg_passport_key *m,
	const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)fd;
	if (m->key.len == sizeof(life.d->passport_key))
		memcpy(life.d->passport_key, m->key.at, m->key.len);
}

static void
refuse_settings(uint32_t generation, const char *reason)
{
	log_error(0, "settings-refused", KEY_NUM("generation", generation), KEY_STR("reason", reason));
	send_settings_refused(life.d->master, 0,
		&(struct msg_settings_refused){ .generation = generation, .reason = span_str(reason) },
		NULL);
}

static void
on_certificate(void *me, struct channel *from, uint64_t id, const struct msg_certificate *m,
	const int *fd)
{
	(void)from;
	(void)id;
	if (life.d->kind->certificate == NULL)
		close(fd[0]);
	else if (!life.d->kind->certificate(me, m->generation, m->number, fd[0]))
		refuse_settings(m->generation, "the certificate cannot be used; see the log");
}

static void
on_private_key(void *me, struct channel *from, uint64_t id, const struct msg_private_key *m,
	const int *fd)
{
	(void)from;
	(void)id;
	if (life.d->kind->private_key == NULL) {
		close(fd[0]);
		close(fd[1]);
	} else if (!life.d->kind->private_key(me, m->generation, m->number, fd[0], fd[1])) {
		refuse_settings(m->generation, "the private key cannot be used; see the log");
	}
}

static void
on_dkim_key(void *me, struct channel *from, uint64_t id, const struct msg_dkim_key *m, const int *fd)
{
	(void)from;
	(void)id;
	if (life.d->kind->dkim_key == NULL)
		close(fd[0]);
	else if (!life.d->kind->dkim_key(me, m->generation, m->number, fd[0]))
		refuse_settings(m->generation, "a key for DKIM cannot be used; see the log");
}

static void
on_tls_trust(void *me, struct channel *from, uint64_t id, const struct msg_tls_trust *m, const int *fd)
{
	(void)from;
	(void)id;
	if (life.d->kind->trust == NULL)
		close(fd[0]);
	else if (!life.d->kind->trust(me, m->generation, m->kind, fd[0]))
		refuse_settings(m->generation, "the trusted authorities cannot be used; see the log");
}

static void
on_certificate_status(void *me, struct channel *from, uint64_t id,
	const struct msg_certificate_status *m, const int *fd)
{
	(void)from;
	(void)id;
	if (life.d->kind->certificate_status == NULL)
		close(fd[0]);
	else if (!life.d->kind->certificate_status(me, m->generation, m->number, fd[0]))
		refuse_settings(m->generation, "an OCSP response cannot be used; see the log");
}

static void
apply_log_level(const struct settings *s)
{
	static const char *const names[] = { "debug", "info", "notice", "warning", "error" };

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_equal(s->log_level, span_str(names[i])))
			log_threshold((enum log_level)i);
}

static void
on_settings(void *me, struct channel *from, uint64_t id, const struct msg_settings *m, const int *fd)
{
	struct daemon *d = life.d;
	struct settings *s = settings_from_file(fd[0], m->generation);
	const char *reason = NULL;

	(void)from;
	(void)id;
	close(fd[0]);
	if (s == NULL) {
		refuse_settings(m->generation, "the settings did not arrive whole");
		return;
	}
	if (!life.serving) {
		settings_free(&d->settings);
		d->settings = s;
		apply_log_level(s);
		return;
	}
	if (d->kind->settings_check != NULL)
		reason = d->kind->settings_check(me, s);
	if (reason != NULL) {
		refuse_settings(m->generation, reason);
		settings_free(&s);
		return;
	}
	settings_free(&life.offered);
	life.offered = s;
	send_settings_ready(d->master, 0, &(struct msg_settings_ready){ .generation = m->generation },
		NULL);
}

static void
on_settings_swap(void *me, struct channel *from, uint64_t id, const struct msg_settings_swap *m,
	const int *fd)
{
	struct settings *old = life.d->settings;

	(void)from;
	(void)id;
	(void)fd;
	if (life.offered == NULL || life.offered->generation != m->generation)
		return;
	life.d->settings = life.offered;
	life.offered = NULL;
	apply_log_level(life.d->settings);
	if (life.d->kind->settings_changed != NULL)
		life.d->kind->settings_changed(me, old);
	settings_free(&old);
}

static void
on_settings_drop(void *me, struct channel *from, uint64_t id, const struct msg_settings_drop *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	if (life.offered != NULL && life.offered->generation == m->generation)
		settings_free(&life.offered);
	if (life.d->kind->settings_dropped != NULL)
		life.d->kind->settings_dropped(me, m->generation);
}

static void
on_go(void *me, struct channel *from, uint64_t id, const struct msg_go *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)fd;
	life.d->index = m->index;
	life.went = true;
}

static void
on_leave(void *me, struct channel *from, uint64_t id, const struct msg_leave *m, const int *fd)
{
	struct daemon *d = life.d;

	(void)from;
	(void)id;
	(void)fd;
	if (d->leaving)
		return;
	d->leaving = true;
	if (d->kind->leave == NULL || !life.serving || m->seconds == 0) {
		daemon_exit(d);
	} else {
		struct timeval limit = { .tv_sec = (time_t)m->seconds };

		event_base_loopexit(d->base, &limit);
		d->kind->leave(me, m->seconds);
	}
}

static void
on_load_ask(void *me, struct channel *from, uint64_t id, const struct msg_load_ask *m, const int *fd)
{
	struct msg_load_told told = { .connections = 0 };

	(void)m;
	(void)fd;
	if (life.d->kind->load != NULL)
		life.d->kind->load(me, &told.connections, &told.served);
	send_load_told(from, id, &told, NULL);
}

static void
on_address_changed(void *me, struct channel *from, uint64_t id, const struct msg_address_changed *m,
	const int *fd)
{
	(void)from;
	(void)id;
	(void)fd;
	if (m->route)
		network_gateways(m->family, m->gateways);
	ourselves_gone(m->gone);
	ourselves_came(m->came);
	if (life.d->kind->address_changed != NULL)
		life.d->kind->address_changed(me, m);
}

static void
on_public_address(void *me, struct channel *from, uint64_t id, const struct msg_public_address *m,
	const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)fd;
	ourselves_public(m->addresses);
}

static void
on_master_gone(void *me, struct channel *from)
{
	(void)me;
	(void)from;
	life.d->master = NULL;
	daemon_exit(life.d);
}

static uint32_t
control_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct daemon_kind *kind = life.d->kind;

	if ((message_row(m)->hours & ~(uint32_t)ANYTIME) != 0 && kind->control != NULL &&
	    kind->control->hour != NULL)
		return kind->control->hour(me, from, m, id);
	return life.serving ? HOUR_SERVING : HOUR_START;
}

/* The control channel hears master's own messages here, and what the program hears beside them. */
static void
build_hearings(void)
{
	const struct daemon_kind *kind = life.d->kind;
	struct hearing *h = &life.control;

	if (kind->control != NULL)
		*h = *kind->control;
	h->hour = control_hour;
	h->gone = on_master_gone;
	h->on_settings = on_settings;
	h->on_settings_swap = on_settings_swap;
	h->on_settings_drop = on_settings_drop;
	h->on_peer = on_peer;
	h->on_listener = on_listener;
	h->on_listener_gone = on_listener_gone;
	h->on_directory = on_directory;
	h->on_passport_key = on_passport_key;
	h->on_certificate = on_certificate;
	h->on_private_key = on_private_key;
	h->on_dkim_key = on_dkim_key;
	h->on_tls_trust = on_tls_trust;
	h->on_certificate_status = on_certificate_status;
	h->on_go = on_go;
	h->on_leave = on_leave;
	h->on_load_ask = on_load_ask;
	h->on_address_changed = on_address_changed;
	h->on_public_address = on_public_address;
	for (const struct peer_kind *k = kind->peers; k != NULL && k->hearing != NULL; k++) {
		life.hearing[k->program] = *k->hearing;
		life.hearing[k->program].gone = on_peer_gone;
	}
}

/* Hears everything up to go; then checks, prepares and confines. False: give up (logged). */
static bool
inherit_and_confine(void)
{
	struct daemon *d = life.d;
	const char *reason;
	struct room_facts facts = { 0 };

	if (!channel_wait(d->master, &life.went, GO_WAIT_MILLISECONDS) || d->settings == NULL) {
		log_error(0, "not-started", KEY_STR("reason", "master did not say go"));
		return false;
	}
	if (d->kind->settings_check != NULL &&
	    (reason = d->kind->settings_check(d->me, d->settings)) != NULL) {
		refuse_settings(d->settings->generation, reason);
		return false;
	}
	if (d->kind->prepare != NULL && !d->kind->prepare(d->me)) {
		log_error(0, "not-started", KEY_STR("reason", "preparation failed"));
		return false;
	}
	room_enter(d->kind->room, d->directory[DIRECTORY_EMPTY], d->paths, d->path_count, &facts);
	if (d->kind->confined != NULL)
		d->kind->confined(d->me);
	life.serving = true; /* below this line the process may belong to an enemy */
	return send_confined(d->master, 0,
		&(struct msg_confined){ .seccomp = facts.seccomp, .landlock = facts.landlock,
			.chrooted = facts.chrooted }, NULL);
}

static void
hand_on_early(void)
{
	struct early *e;

	while ((e = STAILQ_FIRST(&life.early)) != NULL) {
		STAILQ_REMOVE_HEAD(&life.early, next);
		if (e->is_peer)
			peer_install(e->program, e->index, e->fd);
		else
			life.d->kind->listener(life.d->me, e->service, span_str(e->address),
				e->proxy, e->fd);
		free(e);
	}
}

static void
serve(void)
{
	struct daemon *d = life.d;

	if (d->kind->settings_changed != NULL)
		d->kind->settings_changed(d->me, NULL);
	hand_on_early();
	while (!life.over && !event_base_got_exit(d->base)) {
		if (event_base_loop(d->base, EVLOOP_ONCE) < 0)
			break;
		if (d->kind->work != NULL)
			d->kind->work(d->me);
	}
	if (d->master != NULL)
		channel_flush(d->master, GOODBYE_MILLISECONDS);
	for (int p = 0; p < PROGRAM_COUNT; p++)
		for (int i = 0; i < MOST_PEERS_OF_A_KIND; i++)
			if (life.peer[p][i] != NULL)
				channel_flush(life.peer[p][i], GOODBYE_MILLISECONDS);
}

/* Did master start us? Somebody's shell has no channel there. */
static bool
was_started_by_master(void)
{
	int type = 0;
	socklen_t len = sizeof type;

	return getsockopt(CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
		type == SOCK_SEQPACKET;
}

/* The event loop. libevent does not tell its epoll instance, but that is the lowest descriptor which was free. */
static bool
loop_new(struct daemon *d)
{
	struct event_config *config = event_config_new();

	if (config == NULL)
		return false;
	d->poll_fd = fcntl(LOG_FD, F_DUPFD_CLOEXEC, 0);
	if (d->poll_fd >= 0)
		close(d->poll_fd);
	if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		d->base = event_base_new_with_config(config);
	event_config_free(config);
	return d->base != NULL;
}

int
daemon_run(struct daemon *d, const struct daemon_kind *kind, void *me)
{
	if (!was_started_by_master()) {
		fprintf(stderr, "valija-%s is started by `valija start` alone; see valija(8)\n",
			program_name(kind->program));
		return 64; /* EX_USAGE */
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* of the terminal that master may be in the foreground of */
	log_open(program_name(kind->program), LOG_FD);
	d->kind = kind;
	d->me = me;
	for (int i = 0; i < DIRECTORY_COUNT; i++)
		d->directory[i] = -1;
	life.d = d;
	STAILQ_INIT(&life.early);
	build_hearings();
	if (!loop_new(d)) {
		log_error(0, "not-started", KEY_STR("reason", "no event loop"));
		return 71; /* EX_OSERR */
	}
	log_later_begin(d->base);
	d->master = channel_new(d->base, CONTROL_FD, kind->program, PROGRAM_MASTER, 0, &life.control, me);
	if (!inherit_and_confine())
		return 78; /* EX_CONFIG */
	serve();
	log_later_end();
	return 0;
}

void
daemon_exit(struct daemon *d)
{
	life.over = true;
	event_base_loopbreak(d->base);
}

struct channel *
daemon_peer(struct daemon *d, enum program program, unsigned int index)
{
	(void)d;
	return index < MOST_PEERS_OF_A_KIND ? life.peer[program][index] : NULL;
}

struct channel *
daemon_any_peer(struct daemon *d, enum program program)
{
	(void)d;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		unsigned int index = (life.turn[program] + i) % MOST_PEERS_OF_A_KIND;

		if (life.peer[program][index] != NULL) {
			life.turn[program] = index + 1;
			return life.peer[program][index];
		}
	}
	return NULL;
}
