/*
 * imap - serves one user his mail, over IMAP4rev1 (RFC 3501), in all his sessions at once.
 *   inherits    channels to master and log; whose mail it is (imap_user); the mail root. master
 *               starts it as the owner of the mail, for somebody whom auth named to master itself
 *   keeps       nothing: the owner's uid, the user's Maildir (message files cannot be opened for
 *               writing), the charset tables of the C library, the system calls of imap_room
 *   may be lied to by    the client, whoever wrote the mail, and another user's process about what its
 *               client says (share.h). May lie to: master, about its own sessions and guests, with whom its
 *               user shares, and of a connection that it gives back; another user's process, as any member may
 *   while away  master starts another with the next login; acknowledged changes are durable
 *
 * A session (session.c) cuts its input into commands (command.c), whose verbs are a table
 * (commands.c). A round of events ends in work(): what idle sessions should know is told, all that
 * was changed is made durable, then what the sessions said is sent. It may wait for the disk there:
 * it delays nobody but this user.
 */
#include "imapd/account.h"
#include "imapd/folder.h"
#include "imapd/link.h"
#include "imapd/notify.h"
#include "imapd/remote.h"
#include "imapd/session.h"
#include "imapd/share.h"

#include "common/beneath.h"
#include "common/local-address.h"
#include "common/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <malloc.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOUSEKEEPING_MILLISECONDS 300
#define BUSY_MILLISECONDS 10         /* between two pieces of work that sessions come between */
#define TRIM_SECONDS 2
#define NAMES_AT_A_TIME 200          /* files renamed, removed in one go */
#define GCONV_DIRECTORIES 4

/* Files below the Maildir, made, read, linked, renamed, made durable; executable mappings only for
 * the charset tables, which are shared objects. */
static const int imap_syscalls[] = {
	SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(getdents64), SCMP_SYS(pwrite64),
	SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(syncfs),
	SCMP_SYS(sync_file_range), SCMP_SYS(sync_file_range2),
	SCMP_SYS(linkat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(unlinkat),
	SCMP_SYS(mkdirat), SCMP_SYS(fchdir),
	SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
	SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect), -1,
};

static const struct room imap_room = {
	.name = "imap",
	.chrooted = false,
	.files = true,
	.file_times = true,          /* INTERNALDATE */
	.secret_memory = false,
	.syscalls = imap_syscalls,
	.keeps = 0,
	.most_descriptors = 1024,
};

/* --- housekeeping --- */

static void
housekeep_in(struct account *a, long milliseconds)
{
	const struct timeval wait = { 0, milliseconds * 1000 };

	if (!event_pending(a->housekeeping, EV_TIMEOUT, NULL))
		(void)event_add(a->housekeeping, &wait);
}

void
account_housekeep(struct account *a)
{
	housekeep_in(a, HOUSEKEEPING_MILLISECONDS);
}

/* Is it a folder that inotify does not watch? Then it is looked at by and by. */
static bool
look_at(struct mailbox *m)
{
	if (m->watch_cur >= 0 && m->watch_new >= 0)
		return false;
	m->check_cur = m->check_new = true;
	return true;
}

/* What sessions wait for, in IDLE or by NOTIFY. */
static bool
look_at_unwatched(struct account *a)
{
	bool any = false;

	for (struct session *s = a->sessions; s != NULL; s = s->next) {
		if (s->view != NULL && (session_is_idle(s) || s->notify != NULL))
			any |= look_at(s->view->mailbox);
		for (struct watch *w = s->notify == NULL ? NULL : s->notify->watches; w != NULL; w = w->next)
			any |= look_at(w->mailbox);
	}
	return any;
}

/* Nothing more to do, as a rule: what is free is given back. Not after each of many short sessions, which would only
 * ask for it again. */
static void
on_trim(evutil_socket_t fd, short what, void *me)
{
	(void)fd;
	(void)what;
	(void)me;
	(void)malloc_trim(0);
}

static void
on_housekeeping(evutil_socket_t fd, short what, void *me)
{
	struct account *a = me;
	bool later = look_at_unwatched(a), soon = false;

	(void)fd;
	(void)what;
	for (struct mailbox *m = a->store.mailboxes; m != NULL; m = m->next) {
		if (m->gone)
			continue;
		/* Settled a while after the last change, when the directories' times are firm. */
		if (m->index.names_pending)
			*(mailbox_follow_names(m, NAMES_AT_A_TIME) ? &soon : &later) = true;
		else
			mailbox_tidy(m);
	}
	if (a->removing)
		a->removing = folder_remove_some(&a->store, NAMES_AT_A_TIME);
	soon |= !share_tell_some(a);
	if (soon || a->removing)
		housekeep_in(a, BUSY_MILLISECONDS);
	else if (later)
		account_housekeep(a);
	else if (!event_pending(a->trim, EV_TIMEOUT, NULL))
		(void)event_add(a->trim, &(struct timeval){ TRIM_SECONDS, 0 });
}

static void
on_inotify(evutil_socket_t fd, short what, void *me)
{
	struct account *a = me;

	(void)fd;
	(void)what;
	store_drain(&a->store);      /* work() tells those who wait in IDLE */
}

static void
on_linger(evutil_socket_t fd, short what, void *me)
{
	struct account *a = me;

	(void)fd;
	(void)what;
	if (a->sessions != NULL)
		return;
	store_close_quiet(&a->store, 0);
	a->idle_said = send_imap_idle(a->daemon.master, 0,
		&(struct msg_imap_idle){ .no_field = {} }, NULL);
}

/* --- the round's end --- */

static void
bury_dead(struct account *a)
{
	const struct timeval linger = { (time_t)a->daemon.settings->imap_linger_seconds, 0 };
	struct session **at = &a->sessions;

	while (*at != NULL) {
		struct session *s = *at;

		if (!s->dead || session_must_end(s)) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		if (session_is_guest(s)) {
			a->guest_count--;
			(void)send_guest_ended(a->daemon.master, s->id,
				&(struct msg_guest_ended){ .no_field = {} }, NULL);
		} else {
			a->session_count--;
			(void)send_imap_ended(a->daemon.master, s->id,
				&(struct msg_imap_ended){ .no_field = {} }, NULL);
		}
		session_free(&s);
		account_housekeep(a);
		if (a->sessions == NULL)
			(void)event_add(a->linger, &linger);
	}
	if (a->daemon.leaving && a->sessions == NULL)
		daemon_exit(&a->daemon);
}

/* What was promised cannot be kept: nothing of it is sent. The next process reads what is on the
 * disk. */
static void
give_up(struct account *a)
{
	for (struct session *s = a->sessions; s != NULL; s = s->next) {
		s->out.len = s->sent;
		session_bye(s, "[UNAVAILABLE] The server cannot make changes durable.");
		session_flush(s);
	}
	daemon_exit(&a->daemon);
}

static void
work(void *me)
{
	struct account *a = me;

	for (struct session *s = a->sessions; s != NULL; s = s->next)
		session_push_news(s);
	if (store_durable(&a->store) < 0) {
		give_up(a);
		return;
	}
	for (struct session *s = a->sessions; s != NULL; s = s->next)
		session_flush(s);
	bury_dead(a);
	store_close_quiet(&a->store, MOST_QUIET_MAILBOXES);
}

/* --- what master says --- */

static void
on_user(void *me, struct channel *from, uint64_t id, const struct msg_imap_user *m, const int *fd)
{
	struct account *a = me;

	(void)from;
	(void)id;
	(void)fd;
	a->store.quota = (struct quota){ m->quota_bytes, m->quota_messages };
	if (a->maildir >= 0)
		return;                 /* only the limits are new */
	if (!span_copy(m->user, a->user, sizeof(a->user)) ||
		!span_copy(m->home, a->home, sizeof(a->home)))
		a->home[0] = '\0';       /* prepare() gives up */
}

static void
on_session(void *me, struct channel *from, uint64_t id, const struct msg_imap_session *m,
	const int *fd)
{
	struct account *a = me;
	struct session *s;

	(void)send_imap_taken(from, id, &(struct msg_imap_taken){ .no_field = {} }, NULL);
	(void)event_del(a->linger);
	a->idle_said = false;
	a->served++;
	a->session_count++;
	s = session_new(a, id, fd[0], m->tag, m->input, m->ip, m->verb);
	s->service = m->service;
	if (a->daemon.settings->imap_unauthenticate)
		text_add(&s->passport, m->passport);
	s->next = a->sessions;
	a->sessions = s;
	if (a->session_count > a->daemon.settings->imap_sessions) {
		log_notice(id, "too-many-sessions", KEY_STR("user", a->user),
			KEY_NUM("most", a->daemon.settings->imap_sessions));
		s->out.len = 0;
		text_add(&s->out, m->tag);
		text_add(&s->out, SPAN(" NO [LIMIT] Too many sessions of this user.\r\n"));
		session_bye(s, "[LIMIT] Too many sessions of this user.");
	} else if (a->daemon.leaving) {
		session_bye(s, "[UNAVAILABLE] The server is going down.");
	}
}

/* --- mailboxes of others, and ours for others: share.h --- */

static void
on_guest(void *me, struct channel *from, uint64_t id, const struct msg_guest_session *m,
	const int *fd)
{
	struct account *a = me;
	struct session *s;

	(void)from;
	(void)event_del(a->linger);
	a->idle_said = false;
	a->guest_count++;
	s = session_new_guest(a, id, fd[0], m->member);
	s->next = a->sessions;
	a->sessions = s;
	if (a->daemon.leaving)
		session_end(s, "the server is going down");
	else if (a->guest_count > MOST_GUESTS || s->guest[0] == '\0')
		session_bye(s, "[LIMIT] Too many guests.");
	else
		text_add(&s->out, SPAN("* PREAUTH For a guest.\r\n"));
}

static struct session *
session_of(const struct account *a, uint64_t id)
{
	for (struct session *s = a->sessions; s != NULL; s = s->next) {
		if (s->id == id && !session_is_guest(s) && !s->dead)
			return s;
	}
	return NULL;
}

static void
on_share_opened(void *me, struct channel *from, uint64_t id, const struct msg_share_opened *m,
	const int *fd)
{
	struct session *s = session_of(me, id);

	(void)from;
	(void)m;
	if (s != NULL)
		link_opened(s, fd[0]);
	else
		close(fd[0]);
}

static void
on_share_refused(void *me, struct channel *from, uint64_t id, const struct msg_share_refused *m,
	const int *fd)
{
	struct session *s = session_of(me, id);

	(void)from;
	(void)fd;
	if (s != NULL)
		link_refused(s, m->later);
}

static void
on_shares_told(void *me, struct channel *from, uint64_t id, const struct msg_shares_told *m,
	const int *fd)
{
	struct session *s = session_of(me, id);

	(void)from;
	(void)fd;
	if (s == NULL || s->sharing == NULL)
		return;
	text_add(&s->sharing->owners, m->owners);
	s->sharing = NULL;
	session_take_turn(s);
}

static const struct hearing control = {
	.on_imap_user = on_user,
	.on_imap_session = on_session,
	.on_guest_session = on_guest,
	.on_share_opened = on_share_opened,
	.on_share_refused = on_share_refused,
	.on_shares_told = on_shares_told,
};

/* --- the life --- */

/* Where the C library keeps the charsets that it does not have built in. */
static void
allow_charsets(struct daemon *d)
{
	static const char *const places[GCONV_DIRECTORIES] = {
		"/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/aarch64-linux-gnu/gconv",
			"/usr/lib64/gconv", "/usr/lib/gconv",
	};

	for (size_t i = 0; i < GCONV_DIRECTORIES; i++) {
		int fd = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			continue;
		d->paths[d->path_count++] = (struct room_path){ fd, ".", ROOM_READ };
		return;
	}
}

/* A system user's Maildir lies in his home, wherever that is. We are that user by now: he opens it
 * himself, with his own rights, and nobody else waits where that takes long. */
static int
open_maildir(const struct account *a)
{
	struct text path = TEXT_UP_TO(MOST_PATH_FIELD + 10);
	int home, maildir = -1;

	if (a->home[0] == '/') {
		home = open(a->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (home >= 0) {
			maildir = maildir_open(home, "Maildir", true);
			close(home);
		}
		return maildir;
	}
	text_add_str(&path, a->home);
	text_add(&path, SPAN("/Maildir"));
	maildir = maildir_open(a->daemon.directory[DIRECTORY_MAIL], text_str(&path), true);
	text_clear(&path);
	return maildir;
}

static bool
open_mail(struct account *a)
{
	char host[256] = "";

	if (a->home[0] == '\0' || a->daemon.directory[DIRECTORY_MAIL] < 0) {
		log_error(0, "no-user", KEY_STR("why", "master did not say whose mail this is"));
		return false;
	}
	a->maildir = open_maildir(a);
	if (a->maildir < 0) {
		log_error(0, "maildir-unusable", KEY_STR("home", a->home), KEY_ERRNO);
		return false;
	}
	(void)span_copy(a->daemon.settings->hostname, host, sizeof(host));
	if (maildir_make_standard(a->maildir) < 0)
		log_warning(0, "no-standard-folders", KEY_STR("user", a->user), KEY_ERRNO);
	if (store_init(&a->store, a->maildir, host) < 0) {
		log_error(0, "maildir-unusable", KEY_STR("home", a->home), KEY_ERRNO);
		return false;
	}
	store_recognise(&a->store, !span_equal(a->daemon.settings->mail_journal, SPAN("no")));
	return true;
}

static bool
prepare(void *me)
{
	struct account *a = me;
	struct daemon *d = &a->daemon;
	const struct timeval linger = { (time_t)d->settings->imap_linger_seconds, 0 };

	if (!open_mail(a))
		return false;
	/* Message files are never written again: nothing below cur/ or new/ can be opened for
	 * writing. */
	d->paths[d->path_count++] = (struct room_path){ a->maildir, ".", ROOM_READ | ROOM_MAKE };
	d->paths[d->path_count++] = (struct room_path){ a->maildir, "tmp",
		ROOM_READ | ROOM_MAKE | ROOM_WRITE };
	d->paths[d->path_count++] = (struct room_path){ a->maildir, MAILDIR_PRIVATE,
		ROOM_READ | ROOM_MAKE | ROOM_WRITE };
	allow_charsets(d);
	a->housekeeping = event_new(d->base, -1, 0, on_housekeeping, a);
	a->trim = event_new(d->base, -1, 0, on_trim, a);
	a->linger = event_new(d->base, -1, 0, on_linger, a);
	if (a->housekeeping == NULL || a->trim == NULL || a->linger == NULL)
		return false;
	if (a->store.inotify >= 0) {
		a->on_inotify = event_new(d->base, a->store.inotify, EV_READ | EV_PERSIST,
			on_inotify, a);
		if (a->on_inotify == NULL)
			return false;
		(void)event_add(a->on_inotify, NULL);
	}
	maildir_sweep(a->maildir);
	share_tell_kept(a);
	(void)event_add(a->linger, &linger);     /* the guest for whom it was started may be gone */
	a->removing = true;          /* what a crash may have left of a deleted folder */
	housekeep_in(a, a->rights_told == a->rights_changed ? HOUSEKEEPING_MILLISECONDS : BUSY_MILLISECONDS);
	return true;
}

static void
leave(void *me, unsigned int seconds)
{
	struct account *a = me;

	(void)seconds;
	for (struct session *s = a->sessions; s != NULL; s = s->next)
		session_bye(s, "[UNAVAILABLE] The server is going down.");
	if (a->sessions == NULL)
		daemon_exit(&a->daemon);
}

/* A session whose socket is the client's own, at an address that is gone; the TLS workers end those
 * that they carry. */
static void
address_changed(void *me, const struct msg_address_changed *m)
{
	struct account *a = me;

	for (struct session *s = a->sessions; s != NULL; s = s->next)
		if (local_address_is(s->fd, m->gone))
			session_end(s, "the address that it came to is gone");
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	const struct account *a = me;

	*connections = a->session_count;
	*served = a->served;
}

static const struct peer_kind no_peers[] = { { 0, NULL } };

static const struct daemon_kind imap = {
	.program = PROGRAM_IMAP,
	.room = &imap_room,
	.peers = no_peers,
	.prepare = prepare,
	.leave = leave,
	.address_changed = address_changed,
	.load = load,
	.work = work,
	.control = &control,
};

int
main(void)
{
	static struct account account;
	int code;

	account.maildir = -1;
	code = daemon_run(&account.daemon, &imap, &account);
	while (account.sessions != NULL) {
		struct session *s = account.sessions;

		account.sessions = s->next;
		session_free(&s);
	}
	share_clear(&account);
	if (account.store.maildir > 0)
		store_clear(&account.store);
	return code;
}
