/* expiry - see expiry.h. */
#include "master/expiry.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "master/errand.h"
#include "master/expiry-told.h"
#include "master/process.h"

#define MOST_ENTRIES 64            /* as many certificates as tls-key keeps */
#define MOST_MAIL 4096
#define SECONDS_A_DAY 86400
#define RENEW_SECONDS 82800        /* between two attempts to renew: the hourly look makes it once a day */

struct expiry {
	struct supervisor *s;
	struct event *timer;
	struct expiry_entry entry[MOST_ENTRIES];
	size_t count;
	struct expiry_word word[MOST_ENTRIES];
	size_t words;
	struct expiry_told told;
	bool first;                /* no file yet: what is there now is nothing new */
	bool unsaved;
	int64_t renewed;           /* when a renewal was last begun */
};

/* --- on disk --- */

static void
read_told(struct expiry *e)
{
	char *path = paths_join(e->s->paths.tls, EXPIRY_FILE), *at = must_alloc(MOST_TOLD_FILE);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t got = fd < 0 ? -1 : read(fd, at, MOST_TOLD_FILE);

	e->first = got <= 0;
	if (got > 0)
		expiry_told_read(&e->told, span_of(at, (size_t)got));
	else if (errno != ENOENT && got < 0)
		log_warning(0, "expiry-unread", KEY_STR("file", path), KEY_ERRNO);
	if (fd >= 0)
		close(fd);
	free(at);
	free(path);
}

/* Not made durable: what a power failure loses is said once more. */
static void
write_told(struct expiry *e)
{
	struct text file = TEXT_UP_TO(MOST_TOLD_FILE);
	char *path = paths_join(e->s->paths.tls, EXPIRY_FILE), *aside = paths_join(e->s->paths.tls, EXPIRY_FILE ".new");
	int fd;

	e->unsaved = e->first = false;
	expiry_told_write(&e->told, &file);
	(void)unlink(aside);
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, file.at, file.len) != (ssize_t)file.len || rename(aside, path) < 0)
		log_warning(0, "expiry-unsaved", KEY_STR("file", path), KEY_ERRNO);
	if (fd >= 0)
		close(fd);
	free(aside);
	free(path);
	text_clear(&file);
}

/* --- mails --- */

static void
date(int64_t seconds, char to[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(to, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		snprintf(to, 32, "?");
}

/* False while queue is not there. */
static bool
post(struct supervisor *s, struct text *subject, struct text *body)
{
	struct process *queue = process_find(s, PROGRAM_QUEUE, 0);
	bool sent = queue && queue->control && queue->state == PROCESS_SERVING &&
		send_notice(queue->control, 0,
			&(struct msg_notice){ .subject = span_part(text_span(subject), 0, 200),
				.body = text_span(body) },
			NULL);

	text_clear(subject);
	text_clear(body);
	return sent;
}

static struct span
file_of(const struct expiry *e, const struct expiry_entry *c)
{
	const struct settings *settings = e->s->now.settings;

	return c->number < settings->tls_certificate.count ? settings->tls_certificate.at[c->number] : SPAN("?");
}

static void
add_what_to_do(const struct expiry *e, const struct expiry_entry *c, struct text *body)
{
	char from[32], to[32];

	date(c->not_before, from);
	date(c->not_after, to);
	text_printf(body, "    names of the server   %s\n    file                  %.*s\n"
		"    valid                 %s to %s\n\n", c->name, SPAN_ARG(file_of(e, c)), from, to);
}

static bool
post_end(struct expiry *e, const struct expiry_entry *c, enum expiry_stage stage, int64_t now)
{
	struct text subject = TEXT_UP_TO(600), body = TEXT_UP_TO(MOST_MAIL);
	long long days = (long long)((c->not_after - now) / SECONDS_A_DAY);

	if (stage == EXPIRY_OVER)
		text_printf(&subject, "The certificate of %s has expired", c->name);
	else if (days < 1)
		text_printf(&subject, "The certificate of %s ends within a day", c->name);
	else
		text_printf(&subject, "The certificate of %s ends in %lld day%s", c->name, days, days == 1 ? "" : "s");
	text_printf(&body, "%s.\n\n", text_str(&subject));
	add_what_to_do(e, c, &body);
	text_add_str(&body, stage == EXPIRY_OVER
		? "Mail clients and other servers refuse it. "
		: "From then on mail clients and other servers will refuse it. ");
	text_add_str(&body, "One of the authority that valija init made is\nrenewed by `valija cert renew`; any other "
		"by whoever issued it (valija-cert(8)). A new\nfile in its place is checked and taken into service by "
		"itself.\n\n`valija cert show` shows all certificates.\n");
	return post(e->s, &subject, &body);
}

static bool
post_revoked(struct expiry *e, const struct expiry_entry *c)
{
	struct text subject = TEXT_UP_TO(600), body = TEXT_UP_TO(MOST_MAIL);

	text_printf(&subject, "The certificate of %s is revoked", c->name);
	text_printf(&body, "%s: the authority that issued it says so.\n\n", text_str(&subject));
	add_what_to_do(e, c, &body);
	text_add_str(&body, "It is used on, for there is no other, but mail clients and other servers may refuse it.\n"
		"Whoever issued it can say why. Have another one issued, for another key where this one\n"
		"was stolen: `valija cert csr --next`, `valija cert install` (valija-cert(8)).\n");
	return post(e->s, &subject, &body);
}

static bool
post_new(struct expiry *e, const struct expiry_entry *c)
{
	struct text subject = TEXT_UP_TO(600), body = TEXT_UP_TO(MOST_MAIL), hex = TEXT_UP_TO(65);

	text_printf(&subject, "A new certificate of %s is in service", c->name);
	text_printf(&body, "%s: it was renewed, or another one\nwas put into its place.\n\n", text_str(&subject));
	add_what_to_do(e, c, &body);
	text_add_hex(&hex, span_of(c->fingerprint, sizeof c->fingerprint));
	text_printf(&body, "Its fingerprint (SHA-256) is\n%s.\n\n"
		"If nobody was meant to do that: `valija cert rollback` leads back (valija-cert(8)).\n", text_str(&hex));
	text_clear(&hex);
	return post(e->s, &subject, &body);
}

/* --- looking --- */

static struct expiry_word *
word_find(struct expiry *e, const unsigned char *fingerprint)
{
	for (size_t i = 0; i < e->words; i++)
		if (memcmp(e->word[i].fingerprint, fingerprint, FINGERPRINT_SIZE) == 0)
			return &e->word[i];
	return NULL;
}

struct expiry_word
expiry_word(const struct supervisor *s, const struct expiry_entry *c)
{
	struct expiry_word *found = s->expiry && s->now.settings->tls_ocsp ? word_find(s->expiry, c->fingerprint) : NULL;
	struct expiry_word word = { .word = REVOCATION_UNASKED };

	if (found)
		word = *found;
	/* A revocation has no end. */
	if (word.word == REVOCATION_GOOD && word.until <= (int64_t)time(NULL))
		word.word = REVOCATION_UNKNOWN;
	return word;
}

/* Says what there is to say of one. False: it must be said later. */
static bool
look_at(struct expiry *e, const struct expiry_entry *c, int64_t now)
{
	struct expiry_told_row *row = expiry_told_find(&e->told, c->fingerprint);
	enum expiry_stage stage = expiry_stage(c->not_after, now);
	char until[32];

	if (!row) {
		if (!e->first && !post_new(e, c))
			return false;
		date(c->not_after, until);
		log_notice(0, "certificate-in-service", KEY_STR("name", c->name), KEY_SPAN("file", file_of(e, c)),
			KEY_STR("until", until));
		row = expiry_told_add(&e->told, c->fingerprint);
		e->unsaved = true;
	}
	/* Once, whatever ocsp says later: it speaks for strangers. */
	if (!row->revoked && expiry_word(e->s, c).word == REVOCATION_REVOKED) {
		if (!post_revoked(e, c))
			return false;
		row->revoked = e->unsaved = true;
	}
	if (stage <= row->stage)
		return true;
	if (!post_end(e, c, stage, now))
		return false;
	log_notice(0, "postmaster-told", KEY_STR("name", c->name),
		KEY_NUM("days", (c->not_after - now) / SECONDS_A_DAY));
	row->stage = stage;
	e->unsaved = true;
	return true;
}

/* Are people's certificates judged by the list that our own authority makes? It is good for a month. */
static bool
list_is_ours(const struct expiry *e)
{
	char *list = paths_join(e->s->paths.tls, "ca.crl");
	bool ours = span_equal(e->s->now.settings->tls_client_crl, span_str(list));

	free(list);
	return ours;
}

/* The managed one renews itself, and so does the list: the command decides whether they are of our authority and
 * due, and does it; what it wrote is noticed like any change (renewal.c). Once in a while, whatever comes of it. */
static void
renew_when_due(struct expiry *e, int64_t now)
{
	char *managed = paths_join(e->s->paths.tls, "server.crt");
	const struct expiry_entry *c = e->count != 0 ? &e->entry[0] : NULL;
	bool due = c && span_equal(file_of(e, c), span_str(managed)) &&
		expiry_is_due(c->not_before, c->not_after, now);

	if (now >= e->renewed + RENEW_SECONDS && (due || list_is_ours(e)) && errand_renew(e->s))
		e->renewed = now;
	free(managed);
}

static void
look(struct expiry *e)
{
	struct timeval again = { .tv_sec = EXPIRY_LOOK_SECONDS };
	struct process *queue = process_find(e->s, PROGRAM_QUEUE, 0);

	if (!queue || queue->state != PROCESS_SERVING || e->s->phase != PHASE_RUNNING) {
		again.tv_sec = EXPIRY_RETRY_SECONDS;
	} else {
		for (size_t i = 0; i < e->count; i++)
			if (!look_at(e, &e->entry[i], time(NULL)))
				again.tv_sec = EXPIRY_RETRY_SECONDS;
		if (e->unsaved)
			write_told(e);
		renew_when_due(e, time(NULL));
	}
	event_add(e->timer, &again);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look(arg);
}

void
expiry_hear(struct supervisor *s, const struct msg_certificate_told *m)
{
	static const struct timeval soon = { .tv_usec = 200000 };
	struct expiry *e = s->expiry;
	struct expiry_entry *c;

	if (!e || m->fingerprint.len != FINGERPRINT_SIZE)
		return;
	if (m->number == 0)
		e->count = 0;           /* they come in their order */
	if (e->count >= MOST_ENTRIES)
		return;
	c = &e->entry[e->count++];
	c->number = m->number;
	memcpy(c->fingerprint, m->fingerprint.at, FINGERPRINT_SIZE);
	if (!span_is_printable(m->name) || !span_copy(m->name, c->name, sizeof c->name))
		snprintf(c->name, sizeof c->name, "?");
	c->not_before = (int64_t)m->not_before;
	c->not_after = (int64_t)m->not_after;
	event_add(e->timer, &soon);
}

void
expiry_hear_revocation(struct supervisor *s, const struct msg_revocation_told *m)
{
	static const struct timeval soon = { .tv_usec = 200000 };
	struct expiry *e = s->expiry;
	struct expiry_word *word;

	if (!e || m->fingerprint.len != FINGERPRINT_SIZE || m->word >= REVOCATION_COUNT)
		return;
	if ((word = word_find(e, m->fingerprint.at)) == NULL) {
		/* The oldest gives way. */
		if (e->words == MOST_ENTRIES)
			memmove(&e->word[0], &e->word[1], --e->words * sizeof e->word[0]);
		word = &e->word[e->words++];
		memcpy(word->fingerprint, m->fingerprint.at, FINGERPRINT_SIZE);
	}
	word->word = (enum revocation)m->word;
	word->until = (int64_t)m->until;
	event_add(e->timer, &soon);
}

const struct expiry_entry *
expiry_entry(const struct supervisor *s, size_t i)
{
	return s->expiry && i < s->expiry->count ? &s->expiry->entry[i] : NULL;
}

void
expiry_begin(struct supervisor *s)
{
	struct expiry *e = must_alloc(sizeof *e);

	e->s = s;
	e->timer = evtimer_new(s->base, on_timer, e);
	if (!e->timer) {
		free(e);
		return;
	}
	read_told(e);
	s->expiry = e;
}

void
expiry_end(struct supervisor *s)
{
	if (!s->expiry)
		return;
	if (s->expiry->unsaved)
		write_told(s->expiry);
	event_free(s->expiry->timer);
	free(s->expiry);
	s->expiry = NULL;
}
