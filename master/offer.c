/*
 * offer - a new configuration comes into force everywhere, or nowhere.
 */
#include "master/offer.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/outcome.h"
#include "master/conf.h"
#include "master/control.h"
#include "master/generation.h"
#include "master/listener.h"
#include "master/log-setting.h"
#include "master/public.h"
#include "master/trust-watch.h"
#include "master/notify.h"
#include "master/watchdog.h"

static void
send_certificates(struct process *p, const struct generation *g)
{
	for (size_t i = 0; i < g->count; i++) {
		uint16_t number = (uint16_t)i;
		int fd = generation_reopen(g->files[i].chain);

		if (fd >= 0)
			send_certificate(p->control, 0, &(struct msg_certificate){
				.generation = g->number, .number = number }, &fd);
		if (g->files[i].status >= 0 && (fd = generation_reopen(g->files[i].status)) >= 0)
			send_certificate_status(p->control, 0, &(struct msg_certificate_status){
				.generation = g->number, .number = number }, &fd);
	}
	for (unsigned int kind = 0; p->row->trust && kind < TRUST_COUNT; kind++) {
		int fd = g->trust[kind] < 0 ? -1 : generation_reopen(g->trust[kind]);

		if (fd >= 0)
			send_tls_trust(p->control, 0, &(struct msg_tls_trust){
				.generation = g->number, .kind = (uint8_t)kind }, &fd);
	}
}

static void
send_keys(struct process *p, const struct generation *g)
{
	for (size_t i = 0; i < g->count; i++) {
		int fds[2] = { generation_reopen(g->files[i].chain), -1 };

		if (fds[0] >= 0 && (fds[1] = generation_reopen(g->files[i].key)) >= 0)
			send_private_key(p->control, 0, &(struct msg_private_key){
				.generation = g->number, .number = (uint16_t)i }, fds);
		else if (fds[0] >= 0)
			close(fds[0]);
	}
	for (size_t i = 0; i < g->settings->dkim.count; i++) {
		int fd = g->dkim[i] < 0 ? -1 : generation_reopen(g->dkim[i]);

		if (fd >= 0)
			send_dkim_key(p->control, 0, &(struct msg_dkim_key){
				.generation = g->number, .number = (uint16_t)i }, &fd);
	}
}

/* Opened anew each time: what the administrator wrote since. That it can be read was checked. */
static void
send_file(struct process *p, const struct generation *g, struct span file)
{
	char *name = must_copy(file);
	int fd = name[0] == '\0' ? -1 : open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0)
		send_auth_file(p->control, 0,
			&(struct msg_auth_file){ .generation = g->number }, &fd);
	else if (name[0] != '\0')
		log_error(0, "file-unreadable", KEY_STR("file", name), KEY_ERRNO);
	free(name);
}

void
offer_generation(struct process *p, const struct generation *g)
{
	int fd;

	if (p->row->certificate)
		send_certificates(p, g);
	if (p->row->private_key)
		send_keys(p, g);
	if (p->row->passwd_file)
		send_file(p, g, g->settings->passwd_file);
	if (p->row->oauth_credentials)
		send_file(p, g, g->settings->oauth_credentials);
	if ((fd = settings_to_file(g->settings)) < 0)
		log_error(0, "settings-not-sent", KEY_STR("program", program_name(p->row->program)),
			KEY_ERRNO);
	else
		send_settings(
			p->control, 0, &(struct msg_settings){ .generation = g->number }, &fd);
	if (g == &p->s->offered)
		p->asked_generation = g->number;
}

/* Those who must agree: all that live and are not about to leave. */
static bool
counts(const struct process *p)
{
	return p->control && (p->state == PROCESS_STARTING || p->state == PROCESS_SERVING);
}

static void
again(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd;
	(void)what;
	s->offer_again = false;
	control_reload_next(s);
	offer_begin(s);
}

/* The end of an offer, told to those who waited; then the next, if somebody asked meanwhile. */
static void
finish(struct supervisor *s, enum outcome outcome, const char *reason)
{
	const struct timeval now = { 0, 0 };

	notify_ready(s);
	if (s->listeners_stale)
		listener_follow(s);
	control_reload_done(s, outcome, reason);
	if (s->offer_again)
		event_base_once(s->base, -1, EV_TIMEOUT, again, s, &now);
}

static void
drop(struct supervisor *s, const char *reason)
{
	struct process *p;
	uint32_t number = s->offered.number;

	event_del(s->offer_deadline);
	TAILQ_FOREACH(p, &s->processes, next)
		if (p->control && p->asked_generation == number)
			send_settings_drop(p->control, 0,
				&(struct msg_settings_drop){ .generation = number }, NULL);
	listener_drop(s);
	generation_clear(&s->offered);
	log_error(0, "reload-refused", KEY_NUM("generation", number), KEY_STR("reason", reason),
		KEY_NUM("stays", s->now.number));
	finish(s, NEVER, reason);
}

/* A log file in another directory, or another kind of target: log gets its directory only at its
 * start. */
static bool
log_moved(const struct settings *a, const struct settings *b)
{
	return !span_equal(a->log, b->log);
}

static void
swap(struct supervisor *s)
{
	struct process *p, *log = process_find(s, PROGRAM_LOG, 0);
	struct generation old = s->now;

	event_del(s->offer_deadline);
	s->now = s->offered;
	s->offered = GENERATION_NONE(0);
	TAILQ_FOREACH(p, &s->processes, next)
		if (p->control && p->asked_generation == s->now.number)
			send_settings_swap(p->control, 0,
				&(struct msg_settings_swap){ .generation = s->now.number }, NULL);
	listener_swap(s);
	public_follow(s);
	trust_watch(s);
	log_threshold((enum log_level)log_setting_level(s->now.settings->log_level));
	if (log && log_moved(old.settings, s->now.settings)) {
		offer_log_directory(s);
		process_replace(log);
	}
	generation_clear(&old);
	process_all(s);
	watchdog_begin(s);
	log_notice(0, "reloaded", KEY_NUM("generation", s->now.number));
	finish(s, DONE, "");
}

void
offer_log_directory(struct supervisor *s)
{
	struct span log = s->now.settings->log;
	char *name;
	int fd;

	if (s->directory[DIRECTORY_LOG] >= 0)
		close(s->directory[DIRECTORY_LOG]);
	s->directory[DIRECTORY_LOG] = -1;
	if (log_setting_target(log) != LOG_TO_FILE)
		return;
	name = must_copy(span_part(log, 0, span_rindex(log, '/') + 1));
	fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		log_error(0, "no-log-directory", KEY_STR("directory", name), KEY_ERRNO);
	free(name);
	s->directory[DIRECTORY_LOG] = fd;
}

void
offer_settle(struct supervisor *s)
{
	struct process *p;

	if (s->offered.number == 0)
		return;
	TAILQ_FOREACH(p, &s->processes, next)
		if (counts(p) && p->ready_generation != s->offered.number)
			return;
	swap(s);
}

void
offer_refused(
	struct supervisor *s, const struct process *p, uint32_t generation, struct span reason)
{
	struct text why = TEXT_UP_TO(MOST_REASON * 2);

	text_printf(&why, "%s refuses: ", program_name(p->row->program));
	text_add(&why, reason);
	if (s->offered.number && generation == s->offered.number)
		drop(s, text_str(&why));
	else if (s->phase == PHASE_STARTING)
		fprintf(stderr, "valija: %s\n", text_str(&why));
	text_clear(&why);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	struct text why = TEXT_UP_TO(MOST_REASON);
	struct process *p;

	(void)fd;
	(void)what;
	if (s->offered.number == 0)
		return;
	text_add_str(&why, "no answer from");
	TAILQ_FOREACH(p, &s->processes, next)
		if (counts(p) && p->ready_generation != s->offered.number)
			text_printf(&why, " %s/%u", program_name(p->row->program), p->index);
	drop(s, text_str(&why));
	text_clear(&why);
}

/* The complaints of a configuration, a log line for each. */
static void
log_complaints(struct span errors)
{
	struct span line;

	while (span_take_until(&errors, '\n', &line))
		log_error(0, "configuration", KEY_SPAN("error", line));
}

/* Offers what generation_load or generation_renew made of it. */
static void
begin(struct supervisor *s, bool renewal)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct timeval wait = { OFFER_SECONDS, 0 };
	struct process *p;
	uint32_t number = ++s->last_number;
	bool loaded;

	notify_reloading();
	loaded = renewal ? generation_renew(&s->now, number, &s->offered, &errors)
			 : generation_load(s, number, &s->offered, &errors);
	if (!loaded || !listener_bind(s, &s->offered, &errors)) {
		generation_clear(&s->offered);
		log_complaints(text_span(&errors));
		log_error(0, "reload-refused", KEY_NUM("generation", number),
			KEY_STR("reason", renewal ? "a file cannot be used" : "the configuration is wrong"),
			KEY_NUM("stays", s->now.number));
		finish(s, NEVER, text_str(&errors));
		text_clear(&errors);
		return;
	}
	text_clear(&errors);
	if (!s->offer_deadline)
		s->offer_deadline = evtimer_new(s->base, on_deadline, s);
	event_add(s->offer_deadline, &wait);
	TAILQ_FOREACH(p, &s->processes, next)
		if (p->control)
			offer_generation(p, &s->offered);
	offer_settle(s);
}

void
offer_begin(struct supervisor *s)
{
	if (s->phase != PHASE_RUNNING) {
		log_notice(0, "reload-too-early");
		control_reload_done(s, LATER, "not running yet");
	} else if (s->offered.number) {
		s->offer_again = true;
	} else {
		begin(s, false);
	}
}

void
offer_renewal(struct supervisor *s)
{
	if (s->phase == PHASE_RUNNING && s->offered.number == 0)
		begin(s, true);
}

void
offer_cancel(struct supervisor *s)
{
	if (s->offer_deadline)
		event_free(s->offer_deadline);
	s->offer_deadline = NULL;
	if (s->offered.number) {
		listener_drop(s);
		generation_clear(&s->offered);
	}
}
