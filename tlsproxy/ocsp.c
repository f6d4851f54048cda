/*
 * ocsp - fetches what authorities say of our certificates (OCSP), for the TLS workers to staple.
 *   inherits    channels to master, log, fetch and every TLS worker; the certificate chains, and the
 *               responses that an administrator keeps beside them; the directory state/ocsp
 *   keeps       nothing: _ocsp, that directory; no key, no socket of the network
 *   may be lied to by    fetch, and the servers behind it: what they bring is worth what the authority's
 *               signature makes it. May lie to: TLS workers, which judge again what they get
 *   while away  what was stapled last goes on until it ends
 *
 * For each certificate whose authority names a service (a URL in the certificate), unless FILE.ocsp lies
 * beside it: asked when half of the last answer's time is over. When no answer comes the old one goes on,
 * one warning is logged, and it is tried again and again. The last answer is kept on disk.
 */
#include <errno.h>
#include <event2/event.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/fetch-ask.h"
#include "common/log.h"
#include "ocsp-cache.h"
#include "status.h"

#define MOST_WATCHED 64                 /* certificates, as tls-key has them */
#define ANSWER_MILLISECONDS 15000
#define RETRY_SECONDS 10                /* after a failure; doubled with each more */
#define MOST_RETRY_SECONDS 3600
#define LEAST_PAUSE_SECONDS 30          /* between two questions that were answered */
#define MOST_PAUSE_SECONDS 86400

/* One certificate. The same one in two generations is one of these. */
struct watched {
	unsigned int holders;
	struct chain chain;
	unsigned char fingerprint[KEY_ID_SIZE];
	char name[256];                 /* for people: its first name */
	struct text url;                /* empty: there is nobody to ask */
	bool owed;                      /* it must be shown with a response */
	bool begun;
	struct text response;           /* the last good one, or empty */
	struct status_facts facts;      /* of it */
	struct fetch_question *ask;
	struct event *timer;
	unsigned int failures;
	bool revoked;                   /* and said so */
};

/* The certificates of one generation, by number. */
struct set {
	uint32_t generation;
	unsigned int count;
	struct { struct watched *w; bool by_file; } at[MOST_WATCHED];
};

static struct {
	struct daemon daemon;
	struct set now, offered;
	bool serving;
	uint64_t answers;
} me;

static void ask(struct watched *w);

/* --- what is known goes to the workers --- */

static void
tell(struct channel *worker, const struct watched *w)
{
	if (w->response.len != 0 && w->facts.until > (int64_t)time(NULL))
		send_staple(worker, 0, &(struct msg_staple){
			.fingerprint = span_of(w->fingerprint, sizeof(w->fingerprint)),
			.response = text_span(&w->response) }, NULL);
}

/* What master shows, and writes to postmaster. */
static void
tell_master(const struct watched *w)
{
	bool has = w->response.len != 0 && w->facts.until > (int64_t)time(NULL);
	enum revocation word = !w->begun || w->url.len == 0 ? REVOCATION_UNASKED
		: !has                                      ? REVOCATION_UNKNOWN
		: w->facts.word == STATUS_REVOKED           ? REVOCATION_REVOKED : REVOCATION_GOOD;

	send_revocation_told(me.daemon.master, 0, &(struct msg_revocation_told){
		.fingerprint = span_of(w->fingerprint, sizeof(w->fingerprint)), .word = (uint8_t)word,
		.until = has ? (uint64_t)w->facts.until : 0 }, NULL);
}

static void
tell_all(const struct watched *w)
{
	tell_master(w);
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		struct channel *worker = daemon_peer(&me.daemon, PROGRAM_TLS, i);

		if (worker != NULL)
			tell(worker, w);
	}
}

/* --- asking --- */

static void
wait_for(struct watched *w, int64_t seconds)
{
	event_add(w->timer, &(struct timeval){ .tv_sec = seconds });
}

/* When half of its time is over; where the authority hands out old answers, more often towards the end. */
static int64_t
pause_after(const struct status_facts *facts, int64_t now)
{
	int64_t pause = facts->from + (facts->until - facts->from) / 2 - now;

	if (pause < LEAST_PAUSE_SECONDS)
		pause = (facts->until - now) / 2 < MOST_RETRY_SECONDS ? (facts->until - now) / 2
								       : MOST_RETRY_SECONDS;
	if (pause < LEAST_PAUSE_SECONDS)
		pause = LEAST_PAUSE_SECONDS;
	return pause < MOST_PAUSE_SECONDS ? pause : MOST_PAUSE_SECONDS;
}

static void
failed(struct watched *w, struct span reason)
{
	unsigned int doubled = w->failures < 16 ? w->failures : 16;
	int64_t pause = (int64_t)RETRY_SECONDS << doubled;
	bool has = w->response.len != 0 && w->facts.until > (int64_t)time(NULL);

	/* One line for as long as it lasts. */
	if (w->failures++ == 0)
		log_event(w->owed && !has ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, 0, "ocsp-failed",
			KEY_STR("name", w->name), KEY_SPAN("url", text_span(&w->url)), KEY_SPAN("reason", reason),
			KEY_STR("effect", has ? "the last answer is shown until it ends"
				: w->owed ? "no answer is shown, and clients may refuse the certificate"
					  : "no answer is shown"));
	if (!has)
		tell_master(w);
	wait_for(w, pause < MOST_RETRY_SECONDS ? pause : MOST_RETRY_SECONDS);
}

/* An answer of the authority: kept, and told. */
static void
take(struct watched *w, struct span der, const struct status_facts *facts)
{
	text_reset(&w->response);
	text_add(&w->response, der);
	w->facts = *facts;
	if (facts->word == STATUS_REVOKED && !w->revoked)
		log_error(0, "certificate-revoked", KEY_STR("name", w->name),
			KEY_NUM("days", ((int64_t)time(NULL) - facts->revoked) / 86400));
	w->revoked = facts->word == STATUS_REVOKED;
	tell_all(w);
}

static void
answered(void *arg, const struct fetch_answer *answer)
{
	struct watched *w = arg;
	struct text why = TEXT_UP_TO(MOST_REASON);
	int64_t now = time(NULL);
	struct status_facts facts;

	w->ask = NULL;
	if (answer->status == 0)
		text_add(&why, span_part(answer->fault, 0, MOST_REASON));
	else if (answer->status != 200)
		text_printf(&why, "the server answers with HTTP status %u", answer->status);
	else
		(void)status_judge(answer->body, &w->chain, now, &facts, &why);
	if (why.len != 0) {
		failed(w, text_span(&why));
		text_clear(&why);
		return;
	}
	text_clear(&why);
	me.answers++;
	log_event(w->failures != 0 ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO, 0, "ocsp-answered", KEY_STR("name", w->name),
		KEY_NUM("hours", (facts.until - now) / 3600));
	w->failures = 0;
	take(w, answer->body, &facts);
	if (ocsp_cache_write(me.daemon.directory[DIRECTORY_OCSP], w->fingerprint, answer->body) < 0)
		log_warning(0, "ocsp-not-kept", KEY_STR("name", w->name), KEY_ERRNO);
	wait_for(w, pause_after(&facts, now));
}

static void
ask(struct watched *w)
{
	struct text request = TEXT_UP_TO(4096), why = TEXT_UP_TO(MOST_REASON);

	if (w->ask != NULL)
		return;
	if (status_request(&w->chain, &request, &why) < 0) {
		failed(w, text_span(&why));
	} else {
		w->ask = fetch_ask(&me.daemon, &(struct fetch_wanted){
			.url = text_span(&w->url), .method = FETCH_POST,
			.content_type = SPAN("application/ocsp-request"), .body = text_span(&request),
			.most_bytes = MOST_STATUS_RESPONSE, .milliseconds = ANSWER_MILLISECONDS,
			.plain_allowed = true /* it is signed; RFC 6960 A.1 is about HTTP */ }, answered, w);
	}
	text_clear(&request);
	text_clear(&why);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ask(arg);
}

/* --- certificates come and go --- */

static void
learn_name(struct watched *w)
{
	size_t size = sizeof(w->name) - 1;

	if (gnutls_x509_crt_get_subject_alt_name(w->chain.at[0], 0, w->name, &size, NULL) != GNUTLS_SAN_DNSNAME ||
		!span_is_printable(span_str(w->name))) {
		memset(w->name, 0, sizeof(w->name));
		w->name[0] = '?';
	}
}

/* Takes *chain. NULL: it was logged. */
static struct watched *
watched_new(struct chain *chain, const unsigned char fingerprint[KEY_ID_SIZE])
{
	struct watched *w = must_alloc(sizeof(*w));

	w->holders = 1;
	w->chain = *chain;
	memcpy(w->fingerprint, fingerprint, KEY_ID_SIZE);
	w->url = TEXT_UP_TO(MOST_STATUS_URL);
	w->response = TEXT_UP_TO(MOST_STATUS_RESPONSE);
	learn_name(w);
	(void)status_url(&w->chain, &w->url);
	w->owed = status_is_owed(&w->chain);
	w->timer = evtimer_new(me.daemon.base, on_timer, w);
	if (w->timer == NULL)
		abort();
	return w;
}

static void
watched_drop(struct watched *w)
{
	if (--w->holders > 0)
		return;
	fetch_cancel(&w->ask);
	event_free(w->timer);
	chain_clear(&w->chain);
	text_clear(&w->url);
	text_clear(&w->response);
	free(w);
}

/* What is on disk first; the question when it is due. */
static void
watched_begin(struct watched *w)
{
	struct text der = TEXT_UP_TO(MOST_STATUS_RESPONSE), why = TEXT_UP_TO(MOST_REASON);
	int64_t now = time(NULL);
	struct status_facts facts;

	w->begun = true;
	if (w->url.len == 0) {
		if (w->owed)
			log_error(0, "ocsp-failed", KEY_STR("name", w->name),
				KEY_STR("reason", "the certificate must come with an answer, and names nobody to ask"));
		return;
	}
	if (ocsp_cache_read(me.daemon.directory[DIRECTORY_OCSP], w->fingerprint, &der) == 0 &&
		status_judge(text_span(&der), &w->chain, now, &facts, &why) == 0) {
		take(w, text_span(&der), &facts);
		wait_for(w, facts.from + (facts.until - facts.from) / 2 <= now ? 0 : pause_after(&facts, now));
	} else {
		ask(w);
	}
	text_clear(&der);
	text_clear(&why);
}

static struct watched *
set_find(const struct set *s, const unsigned char fingerprint[KEY_ID_SIZE])
{
	for (unsigned int i = 0; i < s->count; i++)
		if (memcmp(s->at[i].w->fingerprint, fingerprint, KEY_ID_SIZE) == 0)
			return s->at[i].w;
	return NULL;
}

static void
set_clear(struct set *s)
{
	for (unsigned int i = 0; i < s->count; i++)
		watched_drop(s->at[i].w);
	memset(s, 0, sizeof(*s));
}

static void
watched_end(struct watched *w)
{
	w->begun = false;
	fetch_cancel(&w->ask);
	event_del(w->timer);
	text_reset(&w->response);
	tell_master(w);
}

static void
set_begin(struct set *s)
{
	for (unsigned int i = 0; i < s->count; i++)
		if (!s->at[i].w->begun && !s->at[i].by_file)
			watched_begin(s->at[i].w);
}

/* What only the offer has begun may end; what it does not want, not before it is in force. */
static void
set_in_force(struct set *s)
{
	for (unsigned int i = 0; i < s->count; i++)
		if (s->at[i].w->begun && s->at[i].by_file)
			watched_end(s->at[i].w);
	set_begin(s);
	/* Workers have read all certificates anew. */
	for (unsigned int i = 0; i < s->count; i++)
		if (!s->at[i].by_file)
			tell_all(s->at[i].w);
}

static bool
is_wanted(void *arg, struct span name)
{
	const struct set *s = arg;
	bool wanted = false;

	for (unsigned int i = 0; i < s->count && !wanted; i++) {
		char *own = ocsp_cache_name(s->at[i].w->fingerprint);

		wanted = span_equal(name, span_str(own));
		free(own);
	}
	return wanted;
}

static bool
on_certificate(void *arg, uint32_t generation, unsigned int number, int chain_fd)
{
	struct set *s = &me.offered;
	struct text why = TEXT_UP_TO(MOST_REASON);
	unsigned char fingerprint[KEY_ID_SIZE];
	size_t size = sizeof(fingerprint);
	struct watched *w = NULL;
	struct chain chain;

	(void)arg;
	if (s->generation != generation)
		set_clear(s);
	s->generation = generation;
	/* What cannot be read tls-key and the workers refuse, with reasons. */
	if (number == s->count && s->count < MOST_WATCHED && chain_read(chain_fd, &chain, &why) == 0) {
		if (gnutls_x509_crt_get_fingerprint(chain.at[0], GNUTLS_DIG_SHA256, fingerprint, &size) < 0) {
			chain_clear(&chain);
		} else if ((w = set_find(&me.now, fingerprint)) != NULL || (w = set_find(s, fingerprint)) != NULL) {
			w->holders++;
			chain_clear(&chain);
		} else {
			w = watched_new(&chain, fingerprint);
		}
	}
	if (w != NULL) {
		s->at[s->count].w = w;
		s->at[s->count++].by_file = false;
	}
	text_clear(&why);
	close(chain_fd);
	return true;
}

/* Somebody else keeps its answer up to date: that is his matter. */
static bool
on_certificate_status(void *arg, uint32_t generation, unsigned int number, int fd)
{
	(void)arg;
	close(fd);
	if (me.offered.generation == generation && number < me.offered.count)
		me.offered.at[number].by_file = true;
	return true;
}

/* All of an offer is here: its certificates may need an answer as soon as they are in force. */
static const char *
settings_check(void *arg, const struct settings *offers)
{
	(void)arg;
	if (me.serving && me.offered.generation == offers->generation)
		set_begin(&me.offered);
	return NULL;
}

static void
settings_dropped(void *arg, uint32_t generation)
{
	(void)arg;
	if (me.offered.generation == generation)
		set_clear(&me.offered);
}

static void
settings_changed(void *arg, const struct settings *old)
{
	(void)arg;
	(void)old;
	me.serving = true;
	if (me.offered.generation == me.daemon.settings->generation) {
		set_clear(&me.now);
		me.now = me.offered;
		memset(&me.offered, 0, sizeof(me.offered));
	}
	set_in_force(&me.now);
	ocsp_cache_sweep(me.daemon.directory[DIRECTORY_OCSP], is_wanted, &me.now);
}

/* --- life --- */

static void
peer_came(void *arg, struct channel *peer)
{
	(void)arg;
	if (channel_peer(peer) == PROGRAM_FETCH)
		fetch_peer_came(&me.daemon, peer);
	for (unsigned int i = 0; channel_peer(peer) == PROGRAM_TLS && i < me.now.count; i++)
		tell(peer, me.now.at[i].w);
}

static bool
prepare(void *arg)
{
	struct daemon *d = &me.daemon;

	(void)arg;
	if (d->directory[DIRECTORY_OCSP] >= 0)
		d->paths[d->path_count++] = (struct room_path){ d->directory[DIRECTORY_OCSP], ".",
			ROOM_READ | ROOM_WRITE | ROOM_MAKE };
	else
		log_warning(0, "ocsp-not-kept", KEY_STR("reason", "there is no directory state/ocsp: valija init makes it"));
	return true;
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	(void)arg;
	*connections = 0;
	for (unsigned int i = 0; i < me.now.count; i++)
		*connections += me.now.at[i].w->response.len != 0;
	*served = me.answers;
}

static const int syscalls[] = { SYS_openat, SYS_openat2, SYS_getdents64, SYS_unlinkat, SYS_renameat,
#ifdef SYS_renameat2
	SYS_renameat2,
#endif
	-1 };

static const struct room ocsp_room = {
	.name = "ocsp",
	.files = true,
	.syscalls = syscalls,
};
static const struct hearing from_worker = { .gone = NULL };
static const struct peer_kind peers[] = {
	/* who             what it says    while it is dead */
	{ PROGRAM_FETCH, &fetch_hearing }, /* asked again when it is back */
	{ PROGRAM_TLS,   &from_worker },   /* a new one is told all */
	{ 0, NULL },
};
static const struct daemon_kind kind = {
	.program = PROGRAM_OCSP, .room = &ocsp_room, .peers = peers, .prepare = prepare, .peer_came = peer_came,
	.settings_check = settings_check, .settings_changed = settings_changed,
	.settings_dropped = settings_dropped,
	.certificate = on_certificate, .certificate_status = on_certificate_status, .load = load,
};

int
main(void)
{
	return daemon_run(&me.daemon, &kind, &me);
}
