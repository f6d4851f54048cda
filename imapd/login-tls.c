/* login-tls - the socket goes to a TLS worker and a plaintext one comes back (RFC 3501 6.2.1, RFC
 * 8314). */
#include "imapd/login.h"

#include "common/log.h"

#include <unistd.h>

bool
login_tls_available(struct front *front)
{
	if (daemon_peer(&front->daemon, PROGRAM_TLS_KEY, 0) == NULL)
		return false;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++) {
		if (daemon_peer(&front->daemon, PROGRAM_TLS, i) != NULL)
			return true;
	}
	return false;
}

void
login_tls_start(struct login *l)
{
	struct daemon *d = &l->front->daemon;
	struct channel *worker = daemon_any_peer(d, PROGRAM_TLS);
	struct channel *key = daemon_peer(d, PROGRAM_TLS_KEY, 0);
	int fd;

	if (worker == NULL || key == NULL) {
		login_drop(l, "TLS is not available");
		return;
	}
	/* Whatever was read in clear ends here (HARDENING T1). */
	imap_input_clear(&l->input);
	l->state = LOGIN_TLS;
	l->worker = worker;
	fd = login_detach(l);
	if (!send_tls_expect(key, l->id, &(struct msg_tls_expect){
		.worker = (uint16_t)channel_peer_index(worker) }, NULL)) {
		close(fd);
		login_drop(l, "tls-key cannot be reached");
	} else if (!send_tls_start(worker, l->id,
		&(struct msg_tls_start){ .service = (uint8_t)l->service }, &fd)) {
		login_drop(l, "the TLS worker cannot be reached");
	}
}

/* A tls-key that was started anew knows of no session. */
void
login_tls_announce(struct front *front, struct channel *tls_key)
{
	struct login *l;

	LIST_FOREACH(l, &front->logins, in_all) {
		if (l->state == LOGIN_TLS && !l->dead)
			(void)send_tls_expect(tls_key, l->id,
				&(struct msg_tls_expect){
				.worker = (uint16_t)channel_peer_index(l->worker) }, NULL);
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
		KEY_NUM("resumed", m->resumed),
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
