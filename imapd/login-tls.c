/* login-tls - the socket goes to a TLS worker and a plaintext one comes back (RFC 3501 6.2.1, RFC
 * 8314). */
#include "imapd/login.h"

#include "common/log.h"
#include "common/tls-ask.h"

void
login_tls_start(struct login *l)
{
	const char *why;

	/* Whatever was read in clear ends here. */
	imap_input_clear(&l->input);
	l->state = LOGIN_TLS;
	l->worker = tls_ask(&l->front->daemon, l->id, l->service, l->ip, login_detach(l), &why);
	if (l->worker == NULL)
		login_drop(l, why);
}

/* A tls-key that was started anew knows of no session. */
void
login_tls_announce(struct front *front, struct channel *tls_key)
{
	struct login *l;

	LIST_FOREACH(l, &front->logins, in_all) {
		if (l->state == LOGIN_TLS && !l->dead)
			tls_announce(tls_key, l->id, l->worker);
	}
}

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	const struct login *l = login_find(me, id);

	(void)m;
	return l != NULL && l->state == LOGIN_TLS && l->worker == from ? HOUR_WAITING : HOUR_NONE;
}

static void
on_tls_ready(void *me, struct channel *from, uint64_t id, const struct msg_tls_ready *m,
	const int *fd)
{
	struct login *l = login_find(me, id);

	(void)from;
	l->worker = NULL;
	l->tls = true;
	l->state = LOGIN_COMMAND;
	text_reset(&l->passport);
	text_add(&l->passport, m->passport);
	log_info(l->id, "tls", KEY_STR("ip", l->ip), KEY_STR("service", service_name(l->service)),
		KEY_SPAN("version", m->version), KEY_SPAN("cipher", m->cipher),
		KEY_NUM("resumed", m->resumed), KEY_STR("records", m->kernel ? "kernel" : "worker"),
		KEY_SPAN("sni", m->sni));
	login_attach(l, fd[0]);
	if (l->front->daemon.leaving)
		login_bye(l, "[UNAVAILABLE] The server is going down.");
	else if (service_is_tls(l->service))
		login_greet(l);
	/* After STARTTLS the client asks anew what is on offer (RFC 3501 6.2.1): no greeting. */
}

static void
on_tls_failed(void *me, struct channel *from, uint64_t id, const struct msg_tls_failed *m,
	const int *fd)
{
	struct login *l = login_find(me, id);

	(void)from;
	(void)fd;
	log_info(l->id, "tls-failed", KEY_STR("ip", l->ip), KEY_STR("service",
		service_name(l->service)),
		KEY_SPAN("reason", m->reason));
	login_drop(l, "TLS failed");
}

static void
gone(void *me, struct channel *from)
{
	struct front *front = me;
	struct login *l;

	LIST_FOREACH(l, &front->logins, in_all) {
		if (l->state == LOGIN_TLS && l->worker == from)
			login_drop(l, "the TLS worker is gone");
	}
}

const struct hearing login_hears_tls = {
	.hour = hour,
	.gone = gone,
	.on_tls_ready = on_tls_ready,
	.on_tls_failed = on_tls_failed,
};

/* It never says anything to us. */
const struct hearing login_hears_tls_key = {
	.hour = NULL,
};
