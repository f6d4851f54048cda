/*
 * tls-key - keeps the private keys, and gives one handshake signature for each announced session.
 *   inherits    control and log channels; chains and keys as open files (private_key); a channel to
 *               each TLS worker, and one from each front end, which can only announce
 *   keeps       the keys, in locked memory of a process that cannot be dumped; no file, no network,
 *               an empty root, the system calls of tls_key_room
 *   may be lied to by    workers (they parse what strangers send) and front ends. A captured worker
 *               alone gets nothing signed: some front end must have announced that session, for
 *               that worker, and it has not had its signature. What is signed has the exact form of a
 *               handshake signature (signing.c); nothing is ever decrypted. smtpd has hashes signed by
 *               the keys of mail, which are never those of a certificate.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "announced.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/secret.h"
#include "dkim-keys.h"
#include "dkim-line.h"
#include "keyring.h"
#include "signing.h"
#include "token.h"

#define TICKET_KEY_SIZE 64               /* what GnuTLS asks for */
#define TICKET_KEY_SECONDS       86400 /* then a new one is made: for forward secrecy */
#define OLD_KEYS_SECONDS 630             /* handshakes that began before a swap end within this */
#define LOOK_AT_ENDS_SECONDS 3600
#define SECONDS_A_DAY 86400
#define REFUSALS_LOGGED_A_MINUTE 60      /* of one worker; the others are counted */

/* How one worker behaves. */
struct worker_record {
	uint64_t refused;
	uint64_t unlogged;
	unsigned int logged;             /* in this minute */
	uint32_t minute;
};

struct tls_key {
	struct daemon daemon;
	struct keyring now, offered, before;
	struct dkim_keys dkim, dkim_offered;
	struct dkim_lines mail;          /* that waits for a signature */
	struct event *mail_turn;         /* pending while some waits */
	char offered_wrong[MOST_REASON]; /* why the offered ring cannot be used; "" if it can */
	uint32_t checked;                /* the generation whose settings were said to be fine */
	unsigned char ticket_key[TICKET_KEY_SIZE];
	struct event *new_ticket_key, *forget_before, *ends;
	struct worker_record worker[MOST_PEERS_OF_A_KIND];
	uint64_t signatures;
};

static uint32_t
seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)now.tv_sec;
}

/* --- keys come, and come into force --- */

/* One that is out of time does not take the place of one that serves. At the start it is better than
 * nothing, and one that is in service stays until something better comes. */
static bool
judge_dates(struct tls_key *me, struct text *why)
{
	const struct held_key *held = &me->offered.held[me->offered.count - 1];

	if (keyring_is_in_time(held, time(NULL), why))
		return true;
	if (me->now.count != 0 && !keyring_has(&me->now, held))
		return false;
	text_reset(why);
	return true;
}

static bool
on_private_key(void *arg, uint32_t generation, unsigned int number, int chain_fd, int key_fd)
{
	struct tls_key *me = arg;
	struct text why = TEXT_UP_TO(sizeof(me->offered_wrong) - 1);
	bool good;

	if (me->offered.generation != generation) {
		keyring_clear(&me->offered);
		me->offered.generation = generation;
		me->offered_wrong[0] = '\0';
	}
	good = keyring_add(&me->offered, chain_fd, key_fd, &why) == 0 && judge_dates(me, &why);
	close(chain_fd);
	close(key_fd);
	if (!good) {
		log_error(0, "key-refused", KEY_NUM("generation", generation),
			KEY_NUM("number", number), KEY_SPAN("reason", text_span(&why)));
		span_copy(text_span(&why), me->offered_wrong, sizeof(me->offered_wrong));
	}
	text_clear(&why);
	/* Settings that are still to come will be refused with the reason itself. */
	return good || me->checked != generation;
}

static bool
on_dkim_key(void *arg, uint32_t generation, unsigned int number, int fd)
{
	struct tls_key *me = arg;
	struct text why = TEXT_UP_TO(sizeof(me->offered_wrong) - 1);
	bool good;

	if (me->dkim_offered.generation != generation) {
		dkim_keys_clear(&me->dkim_offered);
		me->dkim_offered.generation = generation;
	}
	good = dkim_keys_add(&me->dkim_offered, number, fd, &why) == 0;
	close(fd);
	if (!good)
		log_error(0, "dkim-key-refused", KEY_NUM("generation", generation),
			KEY_NUM("number", number), KEY_SPAN("reason", text_span(&why)));
	text_clear(&why);
	return good || me->checked != generation;
}

/* What asks for signatures of mail chooses hashes freely, which with a certificate's key would be handshakes. */
static bool
mail_has_own_keys(const struct tls_key *me, uint32_t generation)
{
	const struct keyring *ring = me->offered.generation == generation && me->offered.count != 0
		? &me->offered : &me->now;

	for (size_t i = 0; i < MOST_DKIM_KEYS; i++)
		if (me->dkim_offered.key[i] != NULL && keyring_holds(ring, me->dkim_offered.key[i]))
			return false;
	return true;
}

static const char *
settings_check(void *arg, const struct settings *offered)
{
	struct tls_key *me = arg;
	const char *why;

	if (me->offered.generation == offered->generation && me->offered_wrong[0] != '\0')
		return me->offered_wrong;
	if (me->dkim_offered.generation != offered->generation)
		dkim_keys_clear(&me->dkim_offered);      /* of an offer that was dropped */
	if ((why = dkim_keys_fit(&me->dkim_offered, offered)) != NULL)
		return why;
	if (!mail_has_own_keys(me, offered->generation))
		return "dkim: a key is that of a TLS certificate, and such a key signs no mail: have another one made"
			" (valija cert dkim)";
	me->checked = offered->generation;
	return NULL;
}

static void
settings_dropped(void *arg, uint32_t generation)
{
	struct tls_key *me = arg;

	if (me->offered.generation == generation)
		keyring_clear(&me->offered);
	if (me->dkim_offered.generation == generation)
		dkim_keys_clear(&me->dkim_offered);
	me->offered_wrong[0] = '\0';
	me->checked = 0;
}

/* Each day from WARN_DAYS down, and at each start: a line for each certificate that ends. */
static void
warn_of_ends(struct tls_key *me)
{
	for (unsigned int i = 0; i < me->now.count; i++) {
		struct held_key *held = &me->now.held[i];
		struct text why = TEXT_UP_TO(400);
		int64_t left = held->not_after - time(NULL);
		int days = left < 0 ? -1 : left / SECONDS_A_DAY > WARN_DAYS ? INT_MAX
							: (int)(left / SECONDS_A_DAY);

		if (!keyring_is_in_time(held, time(NULL), &why) && held->told_days != -1) {
			log_error(0, "certificate-out-of-time", KEY_SPAN("reason", text_span(&why)));
			held->told_days = -1;
		} else if (days >= 0 && days <= WARN_DAYS && held->told_days != days) {
			log_warning(0, "certificate-ends", KEY_STR("name", held->name),
				KEY_NUM("days", days));
			held->told_days = days;
		}
		text_clear(&why);
	}
}

static void
on_ends(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	warn_of_ends(arg);
}

/* master shows their ends, and tells postmaster. */
static void
tell_certificates(struct tls_key *me)
{
	for (unsigned int i = 0; i < me->now.count; i++) {
		const struct held_key *held = &me->now.held[i];
		struct span name = span_str(held->name);

		send_certificate_told(me->daemon.master, 0, &(struct msg_certificate_told){
			.number = (uint16_t)i, .name = span_part(name, 0, MOST_HOST),
			.fingerprint = span_of(held->fingerprint, sizeof(held->fingerprint)),
			.not_before = (uint64_t)held->not_before,
			.not_after = (uint64_t)held->not_after }, NULL);
	}
}

static void
forget_before(evutil_socket_t fd, short what, void *arg)
{
	struct tls_key *me = arg;

	(void)fd;
	(void)what;
	keyring_clear(&me->before);
}

static void
settings_changed(void *arg, const struct settings *old)
{
	struct tls_key *me = arg;

	(void)old;
	dkim_keys_clear(&me->dkim);
	if (me->dkim_offered.generation == me->daemon.settings->generation)
		me->dkim = me->dkim_offered;
	else
		dkim_keys_clear(&me->dkim_offered);
	memset(&me->dkim_offered, 0, sizeof(me->dkim_offered));
	if (me->offered.count == 0 || me->offered.generation != me->daemon.settings->generation) {
		keyring_clear(&me->offered);     /* of an offer that was dropped */
		return;
	}
	keyring_clear(&me->before);
	me->before = me->now;
	me->now = me->offered;
	memset(&me->offered, 0, sizeof(me->offered));
	if (me->before.count != 0)
		event_add(me->forget_before, &(struct timeval){ .tv_sec = OLD_KEYS_SECONDS });
	log_info(0, "keys-in-force", KEY_NUM("generation", me->now.generation),
		KEY_NUM("keys", me->now.count));
	tell_certificates(me);
	warn_of_ends(me);
}

/* --- announcements and signatures --- */

static void
on_tls_expect(
	void *arg, struct channel *from, uint64_t id, const struct msg_tls_expect *m, const int *fd)
{
	(void)arg;
	(void)fd;
	announced_add(channel_tag(from), id, m->worker, seconds_now());
}

static const enum program front_ends[] = { PROGRAM_SMTPD, PROGRAM_IMAP_LOGIN };

/* Who announced this session, if anybody; the best verdict of all front ends. */
static enum announced_verdict
look_for(struct tls_key *me, uint64_t session, unsigned int worker, struct announced **by)
{
	enum announced_verdict best = ANNOUNCED_UNKNOWN;
	uint32_t now = seconds_now();

	for (size_t p = 0; p < 2; p++) {
		for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
			struct channel *front = daemon_peer(&me->daemon, front_ends[p], i);
			enum announced_verdict verdict;

			if (front == NULL)
				continue;
			verdict = announced_look(channel_tag(front), session, worker, now);
			if (verdict > best) {
				best = verdict;
				*by = channel_tag(front);
			}
		}
	}
	return best;
}

/* The announcement was said before tls_start, but on another channel: it may not have been read. */
static void
hear_announcements(struct tls_key *me)
{
	for (size_t p = 0; p < 2; p++) {
		for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
			struct channel *front = daemon_peer(&me->daemon, front_ends[p], i);

			if (front != NULL)
				(void)channel_drain(front);
		}
	}
}

static const char *
may_sign(struct tls_key *me, uint64_t session, unsigned int worker, struct announced **by)
{
	enum announced_verdict verdict = look_for(me, session, worker, by);

	if (verdict == ANNOUNCED_UNKNOWN || verdict == ANNOUNCED_OTHER) {
		hear_announcements(me);
		verdict = look_for(me, session, worker, by);
	}
	switch (verdict) {
	case ANNOUNCED_OPEN:
		return NULL;
	case ANNOUNCED_USED:
		return "the session has had its signature";
	case ANNOUNCED_OTHER:
		return "the session was announced for another worker";
	case ANNOUNCED_UNKNOWN:
		break;
	}
	return "nobody announced the session";
}

static struct held_key *
find_key(struct tls_key *me, struct span id)
{
	struct keyring *rings[] = { &me->now, &me->offered, &me->before };

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		struct held_key *held = keyring_find(rings[i], id);

		if (held != NULL)
			return held;
	}
	return NULL;
}

/* A refusal is either our bug or a captured worker. */
static void
refuse(struct tls_key *me, struct channel *from, uint64_t id, const struct msg_tls_sign *m,
	const char *reason)
{
	unsigned int worker = channel_peer_index(from);
	struct worker_record *record = &me->worker[worker];
	uint32_t minute = seconds_now() / 60;

	record->refused++;
	if (record->minute != minute) {
		record->minute = minute;
		record->logged = 0;
	}
	if (record->logged++ < REFUSALS_LOGGED_A_MINUTE) {
		log_warning(id, "signature-refused", KEY_NUM("worker", worker),
			KEY_STR("reason", reason), KEY_NUM("algorithm", m->algorithm),
			KEY_NUM("size", m->input.len), KEY_NUM("refused", record->refused),
			KEY_NUM("unlogged", record->unlogged));
		record->unlogged = 0;
	} else {
		record->unlogged++;
	}
	send_tls_sign_refused(
		from, id, &(struct msg_tls_sign_refused){ .reason = span_str(reason) }, NULL);
}

static void
on_tls_sign(
	void *arg, struct channel *from, uint64_t id, const struct msg_tls_sign *m, const int *fd)
{
	struct tls_key *me = arg;
	struct held_key *held = find_key(me, m->key);
	struct announced *by = NULL;
	gnutls_datum_t signature = { NULL, 0 };
	struct signing what;
	const char *reason;
	int error;

	(void)fd;
	if (held == NULL)
		reason = "no such key";
	else if ((reason = signing_check(held->kind, m->algorithm, m->hashed, m->input, &what)) ==
		 NULL)
		reason = may_sign(me, id, channel_peer_index(from), &by);
	if (reason != NULL) {
		refuse(me, from, id, m, reason);
		return;
	}
	announced_use(by, id);
	if ((error = keyring_sign(held, &what, &signature)) < 0) {
		refuse(me, from, id, m, gnutls_strerror(error));
		return;
	}
	held->signatures++;
	me->signatures++;
	send_tls_signed(from, id, &(struct msg_tls_signed){
		.signature = span_of(signature.data, signature.size) }, NULL);
	gnutls_free(signature.data);
}

/* --- mail --- */

static void
refuse_mail(const struct dkim_waiting *w, const char *reason)
{
	log_warning(w->id, "dkim-refused", KEY_SPAN("domain", w->domain), KEY_SPAN("selector", w->selector),
		KEY_STR("reason", reason));
	send_dkim_refused(w->from, w->id, &(struct msg_dkim_refused){ .reason = span_str(reason) }, NULL);
}

/* Keys of mail sign nothing but hashes of DKIM, for who submits mail: a captured smtpd can have mail of
 * these domains signed while it lasts, and no more. */
static void
sign_mail(struct tls_key *me, const struct dkim_waiting *w)
{
	gnutls_datum_t signature = { NULL, 0 };
	const char *why = dkim_keys_sign(&me->dkim, me->daemon.settings, w->domain, w->selector, w->digest,
		&signature);

	if (why != NULL) {
		refuse_mail(w, why);
		return;
	}
	me->signatures++;
	send_dkim_signed(w->from, w->id, &(struct msg_dkim_signed){
		.signature = span_of(signature.data, signature.size) }, NULL);
	gnutls_free(signature.data);
}

/* One signature, then the event loop looks at handshakes. */
static void
on_mail_turn(evutil_socket_t fd, short what, void *arg)
{
	struct tls_key *me = arg;
	struct dkim_waiting *w = dkim_lines_take(&me->mail);

	(void)fd;
	(void)what;
	if (w == NULL)
		return;
	event_add(me->mail_turn, &(struct timeval){ 0, 0 });
	sign_mail(me, w);
	free(w);
}

static void
on_dkim_ask(void *arg, struct channel *from, uint64_t id, const struct msg_dkim_ask *m, const int *fd)
{
	struct tls_key *me = arg;

	(void)fd;
	if (dkim_lines_add(&me->mail, from, id, m))
		event_add(me->mail_turn, &(struct timeval){ 0, 0 });
	else
		refuse_mail(&(struct dkim_waiting){ .from = from, .id = id, .domain = m->domain,
			.selector = m->selector }, "too much mail waits for a signature");
}

/* --- session tickets --- */

static void
tell_ticket_key(struct tls_key *me, struct channel *worker)
{
	struct msg_ticket_key m = { .key = span_of(me->ticket_key, sizeof(me->ticket_key)) };

	send_ticket_key(worker, 0, &m, NULL);
}

static void
make_ticket_key(evutil_socket_t fd, short what, void *arg)
{
	struct tls_key *me = arg;

	(void)fd;
	(void)what;
	secret_random(me->ticket_key, sizeof(me->ticket_key));
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		struct channel *worker = daemon_peer(&me->daemon, PROGRAM_TLS, i);

		if (worker != NULL)
			tell_ticket_key(me, worker);
	}
}

/* --- life --- */

static struct daemon_kind kind;
static const struct room token_room;

/* What modules of tokens may still reach: option tls_token_paths. What is missing is left out. */
static void
open_token_paths(struct tls_key *me)
{
	struct daemon *d = &me->daemon;
	const struct settings *s = d->settings;

	for (size_t i = 0; i < s->tls_token_paths.count &&
		d->path_count < sizeof(d->paths) / sizeof(d->paths[0]); i++) {
		char *path = must_copy(s->tls_token_paths.at[i]);
		int fd = open(path, O_PATH | O_CLOEXEC);

		if (fd >= 0)
			d->paths[d->path_count++] = (struct room_path){ .directory = fd, .below = NULL,
				.rights = ROOM_READ | ROOM_WRITE };
		free(path);
	}
}

static bool
prepare(void *arg)
{
	struct tls_key *me = arg;

	if (keyring_has_tokens(&me->offered)) {
		open_token_paths(me);
		kind.room = &token_room;
		log_notice(0, "keys-in-tokens", KEY_STR("effect", "no chroot; tls_token_paths can be reached"));
	} else {
		token_forbid();
	}
	me->new_ticket_key = event_new(me->daemon.base, -1, EV_PERSIST, make_ticket_key, me);
	me->forget_before = event_new(me->daemon.base, -1, 0, forget_before, me);
	me->ends = event_new(me->daemon.base, -1, EV_PERSIST, on_ends, me);
	me->mail_turn = event_new(me->daemon.base, -1, 0, on_mail_turn, me);
	dkim_lines_init(&me->mail);
	if (me->new_ticket_key == NULL || me->forget_before == NULL || me->ends == NULL || me->mail_turn == NULL)
		return false;
	event_add(me->ends, &(struct timeval){ .tv_sec = LOOK_AT_ENDS_SECONDS });
	event_add(me->new_ticket_key, &(struct timeval){ .tv_sec = TICKET_KEY_SECONDS });
	secret_random(me->ticket_key, sizeof(me->ticket_key));
	return true;
}

static void
peer_came(void *arg, struct channel *peer)
{
	if (channel_peer(peer) == PROGRAM_TLS)
		tell_ticket_key(arg, peer);
	else
		channel_set_tag(peer, announced_new());
}

static void
front_gone(void *arg, struct channel *front)
{
	struct tls_key *me = arg;
	struct announced *announced = channel_tag(front);

	if (channel_peer(front) == PROGRAM_SMTPD)
		dkim_lines_forget(&me->mail, front);
	announced_free(&announced);
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	struct tls_key *me = arg;

	*connections = 0;
	*served = me->signatures;
}

/* Beside the common set: what GnuTLS asks the kernel for when it signs and reads keys. */
static const int syscalls[] = { SYS_pread64, SYS_getrusage, -1 };

static const struct room tls_key_room = {
	.name = "tls-key",
	.chrooted = true,
	.files = false,
	.secret_memory = true,
	.syscalls = syscalls,
};
/* With keys in tokens: modules that are not ours read their tokens' files and devices, as far as Landlock
 * lets them; what else they try fails instead of ending the process. */
static const int token_syscalls[] = { SYS_pread64, SYS_getrusage, SYS_openat, SYS_faccessat,
	SYS_faccessat2, SYS_readlinkat, SYS_getdents64, SYS_ioctl, SYS_ftruncate, SYS_fsync,
#ifdef SYS_open
	SYS_open, SYS_access, SYS_readlink, SYS_stat, SYS_lstat,
#endif
	-1 };

static const struct room token_room = {
	.name = "tls-key",
	.chrooted = false,
	.files = true,
	.secret_memory = true,
	.forgiving = true,
	.syscalls = token_syscalls,
};
static const struct hearing from_worker = { .on_tls_sign = on_tls_sign };
static const struct hearing from_smtpd = { .on_tls_expect = on_tls_expect, .on_dkim_ask = on_dkim_ask,
	.gone = front_gone };
static const struct hearing from_front = { .on_tls_expect = on_tls_expect, .gone = front_gone };
static const struct peer_kind peers[] = {
	/* who                 what it says    while it is dead */
	{ PROGRAM_TLS,        &from_worker },  /* nobody asks */
	{ PROGRAM_SMTPD,      &from_smtpd },   /* what it announced is forgotten */
	{ PROGRAM_IMAP_LOGIN, &from_front },
	{ 0, NULL },
};
static struct daemon_kind kind = {
	.program = PROGRAM_TLS_KEY,
	.room = &tls_key_room,
	.peers = peers,
	.prepare = prepare,
	.peer_came = peer_came,
	.settings_check = settings_check,
	.settings_changed = settings_changed,
	.settings_dropped = settings_dropped,
	.private_key = on_private_key,
	.dkim_key = on_dkim_key,
	.load = load,
};

int
main(void)
{
	static struct tls_key me;

	rsa_signer_prepare();
	return daemon_run(&me.daemon, &kind, &me);
}
