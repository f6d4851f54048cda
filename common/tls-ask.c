/*
 * tls-ask - see tls-ask.h.
 */
#include "tls-ask.h"

#include <unistd.h>

#include "run.h"

/* Not daemon_any_peer(): asking must not use up a worker's turn. */
bool
tls_is_offered(struct daemon *d)
{
	if (!daemon_peer(d, PROGRAM_TLS_KEY, 0))
		return false;
	for (unsigned int i = 0; i < MOST_PEERS_OF_A_KIND; i++)
		if (daemon_peer(d, PROGRAM_TLS, i))
			return true;
	return false;
}

static bool
announce(struct channel *tls_key, uint64_t id, struct channel *worker)
{
	return send_tls_expect(tls_key, id,
		&(struct msg_tls_expect){ .worker = (uint16_t)channel_peer_index(worker) }, NULL);
}

/* The next worker for each; while they come in quick succession, the same. */
static struct channel *
worker_next(struct daemon *d)
{
	static struct run run;
	static unsigned int index;
	struct channel *worker = run_goes_on(&run) ? daemon_peer(d, PROGRAM_TLS, index) : NULL;

	if (worker == NULL && (worker = daemon_any_peer(d, PROGRAM_TLS)) != NULL)
		index = channel_peer_index(worker);
	return worker;
}

struct channel *
tls_ask(struct daemon *d, uint64_t id, enum service service, const char *ip, int fd, const char **why)
{
	struct channel *worker = worker_next(d);
	struct channel *key = daemon_peer(d, PROGRAM_TLS_KEY, 0);

	if (!worker || !key) {
		close(fd);
		*why = "TLS is not available";
	} else if (!announce(key, id, worker)) {
		close(fd);
		*why = "tls-key cannot be reached";
	} else if (!send_tls_start(worker, id,
			   &(struct msg_tls_start){
				   .service = (uint8_t)service, .ip = span_str(ip) }, &fd)) {
		*why = "the TLS worker cannot be reached";
	} else {
		return worker;
	}
	return NULL;
}

void
tls_announce(struct channel *tls_key, uint64_t id, struct channel *worker)
{
	(void)announce(tls_key, id, worker);
}
