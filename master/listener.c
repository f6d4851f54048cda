/* listener - see listener.h. Which sockets there are to be: binding.h; listener_follow keeps that true while addresses come
 * and go. */
#include "master/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "master/binding.h"
#include "master/conf.h"
#include "master/process.h"
#include "master/watch.h"

/* What to do about a failure, told once for all of its kind. */
static void
advise(struct text *errors, bool in_use, bool no_right)
{
	if (in_use)
		text_add_str(errors,
			PORT_IN_USE_ADVICE ". If it is this instance on another address, stop and start it instead of "
			"reloading\n");
	if (no_right)
		text_add_str(errors,
			"Ports below 1024 need root; without it set port_base, for example to 10000\n");
}

/* The same listener, also in what it asks of connections. */
static struct listener *
find(struct supervisor *s, enum service service, const char *name, bool proxy)
{
	struct listener *l;

	TAILQ_FOREACH(l, &s->listeners, next)
		if (l->service == service && l->proxy == proxy && strcmp(l->address, name) == 0)
			return l;
	return NULL;
}

/* What one round of binding is about, and what it came to. */
struct round {
	struct supervisor *s;
	const struct generation *g;
	struct text *errors;
	bool in_use, no_right;
};

static void
add(struct round *r, enum service service, const char *name, bool proxy, int fd)
{
	struct listener *l = must_alloc(sizeof *l);

	l->service = service;
	l->proxy = proxy;
	l->fd = fd;
	l->wanted = r->g->number;
	snprintf(l->address, sizeof l->address, "%s", name);
	TAILQ_INSERT_TAIL(&r->s->listeners, l, next);
}

static void
bind_service(void *me, const struct place *p, enum service service, uint16_t port, bool proxy)
{
	struct round *r = me;
	char name[MOST_IP + 1];
	struct listener *l;
	int fd;

	binding_name(p, port, name);
	if ((l = find(r->s, service, name, proxy))) {
		l->wanted = r->g->number;
		return;
	}
	if ((fd = binding_open(p, port, LISTEN_BACKLOG)) < 0) {
		if (binding_is_no_ipv6(p))
			log_notice(0, "no-ipv6", KEY_STR("service", service_name(service)),
				KEY_STR("address", name));
		else
			text_printf(r->errors, "%s cannot listen on %s: %s\n",
				service_name(service), name, strerror(errno));
		r->in_use = r->in_use || errno == EADDRINUSE;
		r->no_right = r->no_right || errno == EACCES;
		return;
	}
	add(r, service, name, proxy, fd);
}

static void
no_address(void *me, struct span interface, bool there)
{
	(void)me;
	log_notice(0, "interface-without-address", KEY_SPAN("interface", interface),
		KEY_STR("reason", there ? "it has none now" : "it is not there now"));
}

/* A socket RUN/name. Its directory stays open meanwhile: a long --dir does not fit into sun_path, but
 * through the descriptor it does. -1 with errno. */
static int
open_unix(struct supervisor *s, const char *name, mode_t mode)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int directory = open(s->paths.run, O_PATH | O_DIRECTORY | O_CLOEXEC), error;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/%s", directory, name);
	/* We hold the lock: whatever socket is there belongs to nobody. */
	if (directory >= 0)
		unlinkat(directory, name, 0);
	if (directory >= 0 && fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 &&
		fchmodat(directory, name, mode, 0) == 0 && listen(fd, LISTEN_BACKLOG) == 0) {
		close(directory);
		return fd;
	}
	error = errno;
	if (directory >= 0)
		close(directory);
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

/* The listener of `service` at RUN/name. */
static void
bind_unix(struct round *r, enum service service, const char *name, mode_t mode)
{
	struct listener *l = find(r->s, service, name, false);
	int fd;

	if (l)
		l->wanted = r->g->number;
	else if ((fd = open_unix(r->s, name, mode)) >= 0)
		add(r, service, name, false, fd);
	else
		text_printf(r->errors, "%s cannot listen on %s/%s: %s\n", service_name(service),
			r->s->paths.run, name, strerror(errno));
}

static void
bind_unix_all(struct round *r)
{
	const struct settings *set = r->g->settings;
	enum service service;

	/* For programs of the instance's owner. */
	bind_unix(r, SERVICE_LMTP, "lmtp", 0600);
	/* For everybody on this machine; smtpd asks the kernel who it is. */
	for (size_t i = 0; i < set->services.count; i++)
		if (conf_service(set->services.at[i], &service) && service == SERVICE_LOCAL)
			bind_unix(r, service, "local", 0666);
}

static void
forget(struct supervisor *s, struct listener *l)
{
	TAILQ_REMOVE(&s->listeners, l, next);
	close(l->fd);
	free(l);
}

/* Everything that a generation asks for, and that can be there now. */
static void
bind_all(struct round *r)
{
	static const struct bindings wanted = { bind_service, no_address };

	binding_each(r->g->settings, watch_netstate(r->s), &wanted, r);
	bind_unix_all(r);
}

bool
listener_bind(struct supervisor *s, const struct generation *g, struct text *errors)
{
	struct round r = { .s = s, .g = g, .errors = errors };
	size_t before = errors->len;

	bind_all(&r);
	if (errors->len == before)
		return true;
	advise(errors, r.in_use, r.no_right);
	listener_drop(s);
	return false;
}

void
listener_follow(struct supervisor *s)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct round r = { .s = s, .g = &s->now, .errors = &errors };
	struct span left, line;
	struct listener *l;

	/* Sockets of an offer that is still open are not ours to judge; offer.c calls again. */
	s->listeners_stale = s->offered.number != 0;
	if (s->listeners_stale || s->phase == PHASE_STOPPING || !s->now.settings)
		return;
	/* Who is not asked for again belonged to an address that went. */
	TAILQ_FOREACH(l, &s->listeners, next)
		l->wanted = 0;
	bind_all(&r);
	for (left = text_span(&errors); span_take_until(&left, '\n', &line);)
		log_error(0, "cannot-listen", KEY_SPAN("error", line));
	text_clear(&errors);
	listener_swap(s);
}

void
listener_drop(struct supervisor *s)
{
	struct listener *l, *after;

	for (l = TAILQ_FIRST(&s->listeners); l; l = after) {
		after = TAILQ_NEXT(l, next);
		if (!l->told)
			forget(s, l);
		else
			l->wanted = s->now.number;
	}
}

static void
tell(struct process *p, const struct listener *l)
{
	int copy;

	if (p->row->program != service_program(l->service) || !p->control)
		return;
	if ((copy = process_duplicate(l->fd)) >= 0)
		send_listener(p->control, 0,
			&(struct msg_listener){
				.service = (uint8_t)l->service,
				.address = span_str(l->address),
				.proxy = l->proxy },
			&copy);
}

void
listener_tell_all(struct process *p)
{
	struct listener *l;

	TAILQ_FOREACH(l, &p->s->listeners, next)
		if (l->told)
			tell(p, l);
}

static void
tell_gone(struct supervisor *s, const struct listener *l)
{
	struct process *p;

	TAILQ_FOREACH(p, &s->processes, next)
		if (p->control && p->row->program == service_program(l->service))
			send_listener_gone(p->control, 0,
				&(struct msg_listener_gone){ .service = (uint8_t)l->service,
					.address = span_str(l->address) },
				NULL);
}

void
listener_swap(struct supervisor *s)
{
	struct listener *l, *after;
	struct process *p;

	for (l = TAILQ_FIRST(&s->listeners); l; l = after) {
		after = TAILQ_NEXT(l, next);
		if (l->wanted != s->now.number) {
			log_info(0, "listener-closed", KEY_STR("service", service_name(l->service)),
				KEY_STR("address", l->address));
			tell_gone(s, l);
			forget(s, l);
		} else if (!l->told) {
			log_info(0, "listener-opened", KEY_STR("service", service_name(l->service)),
				KEY_STR("address", l->address));
			TAILQ_FOREACH(p, &s->processes, next)
				tell(p, l);
			l->told = true;
		}
	}
}

void
listener_close_all(struct supervisor *s)
{
	while (!TAILQ_EMPTY(&s->listeners))
		forget(s, TAILQ_FIRST(&s->listeners));
}
