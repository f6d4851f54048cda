/*
 * pickup - hands in what the sendmail command left in the drop directory.
 *   inherits    channels to master, log and each smtpd; the drop directory, which it owns
 *   keeps       nothing: _pickup, no files but those of that directory, the system calls of pickup_room
 *   may be lied to by    every user of this machine, in all of a file but its owner. May lie to:
 *               smtpd, about who submits
 *   while away  smtpd: the files stay where they are
 *
 * One message at a time: a file is opened and judged (drop-file.c), a session with smtpd is begun
 * over a socketpair, the message is handed in (handin.c), and the file goes when it was accepted.
 * "Later" leaves it for the next round. A refusal is told to the sender, by a message in the same
 * way, before the file goes.
 */
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/daemon.h"
#include "common/log.h"
#include "smtpd/drop-file.h"
#include "smtpd/drop-notice.h"
#include "smtpd/handin.h"

#define ROUND_SECONDS 60            /* from one look at all files to the next */
#define SESSION_SECONDS 600         /* for all of one message */
#define NAMES_MOST 10000            /* taken up in one round; the rest in the next */
#define PIECE 65536

static const int pickup_syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(getdents64), SCMP_SYS(unlinkat),
	SCMP_SYS(socketpair), SCMP_SYS(inotify_add_watch), -1,
};

static const struct room pickup_room = {
	.name = "pickup",
	.chrooted = false,
	.files = true,
	.secret_memory = false,
	.syscalls = pickup_syscalls,
	.keeps = 0,
	.most_descriptors = 256,
};

struct name {
	STAILQ_ENTRY(name) next;
	char str[DROP_NAME_MOST + 1];
};

static struct pickup {
	struct daemon daemon;
	int directory, inotify;
	struct event *changed, *round;
	STAILQ_HEAD(, name) names;
	size_t waiting;
	uint64_t served;
	/* The message in hand; file.fd < 0: none. */
	struct drop_file file;
	char name[DROP_NAME_MOST + 1];
	struct handin handin;
	struct drop_notice notice;    /* or the notice of its failure */
	bool is_notice;
	bool is_sent;                /* some have the message: it is never handed in again */
	bool taking;                 /* take_next() is at work further up */
	int fd;
	struct event *readable, *writable, *limit;
	uint64_t sent;
} pickup = { .directory = -1, .inotify = -1, .fd = -1 };

static void take_next(struct pickup *p);

/* --- a session with smtpd --- */

static void
session_end(struct pickup *p)
{
	/* "QUIT", if there is still somebody to hear it. */
	if (p->fd >= 0 && p->handin.out.len > 0)
		(void)!send(p->fd, p->handin.out.at, p->handin.out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (p->readable)
		event_free(p->readable);
	if (p->writable)
		event_free(p->writable);
	p->readable = p->writable = NULL;
	event_del(p->limit);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	handin_clear(&p->handin);
}

static void
forget(struct pickup *p)
{
	drop_notice_clear(&p->notice);
	drop_file_close(&p->file);
	take_next(p);
}

static void
log_refusals(const struct pickup *p, const char *word)
{
	for (size_t i = 0; i < p->handin.refusals; i++) {
		const struct handin_refusal *r = &p->handin.refusal[i];

		log_notice(0, word, KEY_NUM("uid", p->file.uid), KEY_STR("file", p->name),
			KEY_SPAN("from", p->file.envelope.sender),
			KEY_SPAN("to", r->recipient == SIZE_MAX
				? SPAN_NONE : p->file.envelope.recipient[r->recipient]),
			KEY_STR("reason", r->reason));
	}
}

static void session_begin(struct pickup *p, const struct drop *envelope, uint64_t size,
	enum handin_mode mode);

/* Accepted, or refused for good: the file has done its part. */
static void
remove_file(struct pickup *p)
{
	if (unlinkat(p->directory, p->name, 0) < 0 && errno != ENOENT)
		log_error(0, "drop-not-removed", KEY_STR("file", p->name), KEY_ERRNO);
}

/* How the message in hand, or its notice, has ended. */
static void
settle(struct pickup *p)
{
	enum outcome outcome = p->handin.outcome;
	bool tells = !p->is_notice && p->handin.refusals > 0 && outcome != LATER;

	if (outcome == LATER && p->is_notice && p->is_sent) {
		/* Some have the message: it is not handed in again for the sake of a notice. */
		log_refusals(p, "drop-lost");
		outcome = NEVER;
	} else if (outcome == LATER) {
		log_refusals(p, "drop-deferred");
	} else if (tells) {
		log_refusals(p, "drop-refused");
		if (!drop_notice_make(&p->notice, &p->file, &p->handin,
			    p->daemon.settings->hostname, time(NULL)))
			log_notice(0, "drop-lost", KEY_NUM("uid", p->file.uid),
				KEY_STR("file", p->name),
				KEY_STR("reason", "refused, and no sender to tell"));
	} else if (p->is_notice && outcome == NEVER) {
		log_refusals(p, "drop-lost");
	} else {
		log_info(0, "picked-up", KEY_NUM("uid", p->file.uid), KEY_STR("file", p->name),
			KEY_STR("as", p->handin.id), KEY_NUM("size", p->file.size),
			KEY_SPAN("from", p->file.envelope.sender));
	}
	session_end(p);
	if (tells && p->notice.text.len > 0) {
		p->is_notice = true;
		p->is_sent = outcome == DONE;
		session_begin(p, &p->notice.envelope, p->notice.text.len, HANDIN_ALL);
		return;
	}
	if (outcome != LATER) {
		remove_file(p);
		p->served++;
	}
	forget(p);
}

/* Sends what there is to be sent. */
static void
pump(struct pickup *p)
{
	static unsigned char piece[PIECE];
	struct handin *h = &p->handin;

	while (h->out.len > 0 || (h->wants_message && p->sent < h->size)) {
		ssize_t sent;

		if (h->out.len > 0) {
			sent = send(p->fd, h->out.at, h->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (sent > 0)
				text_drop(&h->out, (size_t)sent);
		} else {
			ssize_t got = p->is_notice
				? drop_notice_read(&p->notice, piece, sizeof(piece), p->sent)
				: drop_file_read(&p->file, piece, sizeof(piece), p->sent);

			if (got <= 0) {
				handin_lost(h, "the file has changed");
				return;
			}
			sent = send(p->fd, piece, (size_t)got, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (sent > 0)
				p->sent += (uint64_t)sent;
		}
		if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
			event_add(p->writable, NULL);
			return;
		}
		if (sent < 0) {
			/* It may have answered before it went. */
			h->wants_message = false;
			return;
		}
	}
	if (h->wants_message) {
		p->sent = 0;
		handin_message_sent(h);
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;

	(void)fd;
	(void)what;
	pump(p);
	if (p->handin.over)
		settle(p);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;
	unsigned char piece[4096];
	ssize_t got = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

	(void)what;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		handin_feed(&p->handin, span_of(piece, (size_t)got));
	else
		handin_lost(&p->handin, "smtpd went away");
	if (!p->handin.over)
		pump(p);
	if (p->handin.over)
		settle(p);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;

	(void)fd;
	(void)what;
	handin_lost(&p->handin, "smtpd does not answer");
	settle(p);
}

static void
session_begin(struct pickup *p, const struct drop *envelope, uint64_t size, enum handin_mode mode)
{
	static const struct timeval limit = { .tv_sec = SESSION_SECONDS };
	struct channel *smtpd = daemon_any_peer(&p->daemon, PROGRAM_SMTPD);
	int ends[2];

	handin_init(&p->handin, envelope, size, mode);
	p->sent = 0;
	event_add(p->limit, &limit);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
		handin_lost(&p->handin, strerror(errno));
		settle(p);
		return;
	}
	if (!send_local_open(smtpd, 0,
		    &(struct msg_local_open){
			    .uid = p->is_notice ? (uint32_t)getuid() : p->file.uid },
		    &ends[1])) {
		close(ends[0]);
		handin_lost(&p->handin, "smtpd is away");
		settle(p);
		return;
	}
	p->fd = ends[0];
	p->readable = event_new(p->daemon.base, p->fd, EV_READ | EV_PERSIST, on_readable, p);
	p->writable = event_new(p->daemon.base, p->fd, EV_WRITE, on_writable, p);
	event_add(p->readable, NULL);
}

/* --- files --- */

static void
name_add(struct pickup *p, const char *str)
{
	struct name *n;

	if (p->waiting >= NAMES_MOST || str[0] == '.' || strlen(str) > DROP_NAME_MOST)
		return;
	STAILQ_FOREACH(n, &p->names, next)
		if (p->waiting < 64 && strcmp(n->str, str) == 0)
			return;
	n = must_alloc(sizeof(*n));
	span_copy(span_str(str), n->str, sizeof(n->str));
	STAILQ_INSERT_TAIL(&p->names, n, next);
	p->waiting++;
}

/* What can never be a message goes: it would be looked at for ever. */
static void
refuse_file(struct pickup *p, const char *why)
{
	log_notice(0, "drop-refused", KEY_NUM("uid", p->file.uid), KEY_STR("file", p->name),
		KEY_STR("reason", why));
	if (unlinkat(p->directory, p->name, 0) < 0 && errno == EISDIR)
		(void)unlinkat(p->directory, p->name, AT_REMOVEDIR);
}

static void
take_next(struct pickup *p)
{
	struct name *n;
	const char *why;

	if (p->taking)
		return;          /* the loop further up goes on: no deeper with each file */
	p->taking = true;
	while (p->file.fd < 0 && (n = STAILQ_FIRST(&p->names)) != NULL) {
		STAILQ_REMOVE_HEAD(&p->names, next);
		p->waiting--;
		memcpy(p->name, n->str, sizeof(p->name));
		free(n);
		switch (drop_file_open(&p->file, p->directory, p->name,
			p->daemon.settings->message_size_bytes, &why)) {
		case DROP_FILE_GOOD:
			p->is_notice = false;
			session_begin(p, &p->file.envelope, p->file.size, HANDIN_SOME);
			break;
		case DROP_FILE_BAD:
			refuse_file(p, why);
			break;
		case DROP_FILE_GONE:
			break;
		}
	}
	p->taking = false;
}

static bool
is_offered(const struct pickup *p)
{
	const struct list *services = &p->daemon.settings->services;

	for (size_t i = 0; i < services->count; i++)
		if (span_equal(services->at[i], span_str(service_name(SERVICE_LOCAL))))
			return true;
	return false;
}

/* Everything that lies there. */
static void
look(struct pickup *p)
{
	static const struct timeval next = { .tv_sec = ROUND_SECONDS };
	int fd = open_in(p->directory, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	event_add(p->round, &next);
	if (!listing) {
		log_error(0, "drop-not-listed", KEY_ERRNO);
		if (fd >= 0)
			close(fd);
		return;
	}
	while (is_offered(p) && (e = readdir(listing)) != NULL)
		name_add(p, e->d_name);
	closedir(listing);
	take_next(p);
}

static void
on_round(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;

	(void)fd;
	(void)what;
	/* The last round is not yet over: its files were all seen. */
	if (p->file.fd >= 0 || p->waiting > 0) {
		static const struct timeval next = { .tv_sec = ROUND_SECONDS };

		event_add(p->round, &next);
		return;
	}
	look(p);
}

static void
on_changed(evutil_socket_t fd, short what, void *arg)
{
	struct pickup *p = arg;
	_Alignas(struct inotify_event) char buffer[16384];
	ssize_t got;

	(void)what;
	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + got;) {
			const struct inotify_event *e = (const void *)at;

			if (e->len > 0 && is_offered(p))
				name_add(p, e->name);
			at += sizeof(*e) + e->len;
		}
	}
	take_next(p);
}

/* --- life --- */

static bool
prepare(void *me)
{
	struct pickup *p = me;
	struct daemon *d = &p->daemon;

	p->directory = d->directory[DIRECTORY_DROP];
	p->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	d->paths[d->path_count++] =
		(struct room_path){ p->directory, ".", ROOM_READ | ROOM_MAKE };
	return p->directory >= 0;
}

static void
watch(struct pickup *p)
{
	char name[32];

	/* The directory by its descriptor: nothing else can be named here. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", p->directory);
	if (p->inotify < 0 ||
	    inotify_add_watch(p->inotify, name, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
		log_warning(0, "no-inotify", KEY_ERRNO,
			KEY_STR("hint", "dropped mail is seen once a minute"));
		return;
	}
	p->changed = event_new(p->daemon.base, p->inotify, EV_READ | EV_PERSIST, on_changed, p);
	event_add(p->changed, NULL);
}

static void
settings_changed(void *me, const struct settings *old)
{
	struct pickup *p = me;

	if (old != NULL)
		return;
	p->round = evtimer_new(p->daemon.base, on_round, p);
	p->limit = evtimer_new(p->daemon.base, on_limit, p);
	watch(p);
}

/* The first smtpd that is there: what was dropped meanwhile need not wait. */
static void
peer_came(void *me, struct channel *peer)
{
	struct pickup *p = me;

	(void)peer;
	if (p->file.fd < 0 && p->waiting == 0)
		look(p);
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	const struct pickup *p = me;

	*connections = p->file.fd >= 0;
	*served = p->served;
}

static const struct hearing hearing_smtpd = {
	.hour = NULL,
};

static const struct peer_kind pickup_peers[] = {
	{ PROGRAM_SMTPD, &hearing_smtpd },
	{ 0, NULL },
};

static const struct daemon_kind kind = {
	.program = PROGRAM_PICKUP,
	.room = &pickup_room,
	.peers = pickup_peers,
	.prepare = prepare,
	.peer_came = peer_came,
	.settings_changed = settings_changed,
	.load = load,
};

int
main(void)
{
	STAILQ_INIT(&pickup.names);
	pickup.file.fd = -1;
	return daemon_run(&pickup.daemon, &kind, &pickup);
}
