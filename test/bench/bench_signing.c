/*
 * bench_signing CERTIFICATE KEY SECONDS ROUNDS - full handshakes of a TLS worker's credentials, with the key in the
 * process itself and with the key in another, asked over a channel as tls-key is. In turn; prints the medians of
 * handshakes by the second and of processor time for each (of the server and, with it, of the key's process).
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/channel.h"
#include "tlsproxy/credentials.h"
#include "tlsproxy/keyring.h"
#include "tlsproxy/priorities.h"

#define MOST_ROUNDS 64
#define CLIENTS 2
#define WAIT_MILLISECONDS 2000

static struct {
	struct keyring ring;
	struct channel *keeper;
	bool asked, done;
	gnutls_datum_t signature;
	pid_t keeper_pid;
} me;

static double
now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- the process that keeps the key --- */

static void
on_tls_sign(void *arg, struct channel *from, uint64_t id, const struct msg_tls_sign *m, const int *fd)
{
	struct held_key *held = keyring_find(&me.ring, m->key);
	gnutls_datum_t signature = { NULL, 0 };
	struct signing what;

	(void)arg;
	(void)fd;
	if (held == NULL || signing_check(held->kind, m->algorithm, m->hashed, m->input, &what) != NULL ||
		keyring_sign(held, &what, &signature) < 0)
		abort();
	send_tls_signed(from, id, &(struct msg_tls_signed){
		.signature = span_of(signature.data, signature.size) }, NULL);
	gnutls_free(signature.data);
}

static void
worker_gone(void *arg, struct channel *from)
{
	(void)arg;
	(void)from;
	_exit(0);
}

static void
keep(int fd)
{
	static const struct hearing hearing = { .gone = worker_gone, .on_tls_sign = on_tls_sign };
	struct event_base *base = event_base_new();

	(void)channel_new(base, fd, PROGRAM_TLS_KEY, PROGRAM_TLS, 0, &hearing, NULL);
	event_base_dispatch(base);
	_exit(0);
}

/* --- the process that speaks TLS --- */

static uint32_t
any_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	(void)arg;
	(void)from;
	(void)m;
	(void)id;
	return HOUR_WAITING;
}

static void
keeper_gone(void *arg, struct channel *from)
{
	(void)arg;
	(void)from;
	abort();
}

static void
on_tls_signed(void *arg, struct channel *from, uint64_t id, const struct msg_tls_signed *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)id;
	(void)fd;
	me.done = true;
	me.signature.data = gnutls_malloc(m->signature.len);
	me.signature.size = (unsigned int)m->signature.len;
	memcpy(me.signature.data, m->signature.at, m->signature.len);
}

/* A credentials_sign. */
static int
sign(void *arg, const unsigned char *id, gnutls_sign_algorithm_t algorithm, bool hashed,
	const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	struct msg_tls_sign m = { .key = span_of(id, KEY_ID_SIZE), .algorithm = (uint32_t)algorithm,
		.hashed = hashed, .input = span_of(data->data, data->size) };
	struct signing what;

	(void)arg;
	if (!me.asked) {
		struct held_key *held = keyring_find(&me.ring, m.key);

		if (held == NULL || signing_check(held->kind, m.algorithm, m.hashed, m.input, &what) != NULL)
			abort();
		return keyring_sign(held, &what, signature);
	}
	me.done = false;
	if (!send_tls_sign(me.keeper, 1, &m, NULL) || !channel_wait(me.keeper, &me.done, WAIT_MILLISECONDS))
		abort();
	*signature = me.signature;
	return 0;
}

static void
serve_one(int fd, struct credentials *credentials, gnutls_priority_t priorities)
{
	gnutls_session_t tls;
	int error;

	gnutls_init(&tls, GNUTLS_SERVER | GNUTLS_NO_SIGNAL);
	gnutls_priority_set(tls, priorities);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials_choose(credentials, SPAN_NONE, SPAN_NONE));
	gnutls_transport_set_int(tls, fd);
	do
		error = gnutls_handshake(tls);
	while (error < 0 && gnutls_error_is_fatal(error) == 0);
	if (error >= 0)
		gnutls_record_send(tls, "* OK\r\n", 6);
	gnutls_deinit(tls);
}

/* --- clients --- */

static void
call_again_and_again(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger hard = { 1, 0 };
	gnutls_certificate_credentials_t trust;

	gnutls_certificate_allocate_credentials(&trust);
	for (;;) {
		int error, fd = socket(AF_INET, SOCK_STREAM, 0);
		gnutls_session_t tls;
		char got[16];

		if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
			_exit(0);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		gnutls_init(&tls, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
		gnutls_priority_set_direct(tls, "NORMAL", NULL);
		gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, trust);
		gnutls_transport_set_int(tls, fd);
		do
			error = gnutls_handshake(tls);
		while (error < 0 && gnutls_error_is_fatal(error) == 0);
		if (error >= 0)
			(void)gnutls_record_recv(tls, got, sizeof got);
		gnutls_deinit(tls);
		close(fd);
	}
}

static double
keeper_seconds(void)
{
	clockid_t clock;

	return clock_getcpuclockid(me.keeper_pid, &clock) == 0 ? now(clock) : 0;
}

struct taken {
	double rate[MOST_ROUNDS], cost[MOST_ROUNDS];
};

static void
one_round(int door, struct credentials *credentials, gnutls_priority_t priorities, double seconds, bool asked,
	double *rate, double *cost)
{
	double begun = now(CLOCK_MONOTONIC), own = now(CLOCK_PROCESS_CPUTIME_ID), keepers = keeper_seconds(), took;
	unsigned long count = 0;

	me.asked = asked;
	while (now(CLOCK_MONOTONIC) < begun + seconds) {
		int fd = accept(door, NULL, NULL);

		if (fd < 0)
			continue;
		serve_one(fd, credentials, priorities);
		close(fd);
		count++;
	}
	took = now(CLOCK_MONOTONIC) - begun;
	*rate = (double)count / took;
	*cost = (now(CLOCK_PROCESS_CPUTIME_ID) - own + keeper_seconds() - keepers) / (double)count * 1e6;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double *at, int count)
{
	qsort(at, (size_t)count, sizeof *at, by_size);
	return at[count / 2];
}

int
main(int argc, char **argv)
{
	static const struct hearing hearing = { .hour = any_hour, .gone = keeper_gone, .on_tls_signed = on_tls_signed };
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct text why = TEXT_UP_TO(400);
	struct taken own = { { 0 }, { 0 } }, other = { { 0 }, { 0 } };
	socklen_t len = sizeof at;
	gnutls_priority_t priorities;
	struct credentials *credentials;
	int ends[2], door, rounds = argc == 5 ? atoi(argv[4]) : 0;
	double seconds = argc == 5 ? atof(argv[3]) : 0;
	pid_t client[CLIENTS];

	if (rounds < 1 || rounds > MOST_ROUNDS || seconds <= 0) {
		fprintf(stderr, "usage: bench_signing CERTIFICATE KEY SECONDS ROUNDS\n");
		return 64;
	}
	rsa_signer_prepare();
	int chain_fd = open(argv[1], O_RDONLY), key_fd = open(argv[2], O_RDONLY);
	credentials = credentials_new(1, sign, NULL);
	if (channel_pair(ends) < 0 || keyring_add(&me.ring, chain_fd, key_fd, &why) < 0 ||
		credentials_add(credentials, chain_fd, &why) < 0 || priorities_make(SPAN_NONE, &priorities, &why) < 0) {
		fprintf(stderr, "%s\n", text_str(&why));
		return 66;
	}
	door = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(door, (struct sockaddr *)&at, len) < 0 || listen(door, 64) < 0 ||
		getsockname(door, (struct sockaddr *)&at, &len) < 0)
		return 71;
	if ((me.keeper_pid = fork()) == 0) {
		close(ends[0]);
		keep(ends[1]);
	}
	close(ends[1]);
	me.keeper = channel_new(event_base_new(), ends[0], PROGRAM_TLS, PROGRAM_TLS_KEY, 0, &hearing, NULL);
	for (int i = 0; i < CLIENTS; i++)
		if ((client[i] = fork()) == 0)
			call_again_and_again(ntohs(at.sin_port));
	for (int i = 0; i < rounds; i++) {
		one_round(door, credentials, priorities, seconds, false, &own.rate[i], &own.cost[i]);
		one_round(door, credentials, priorities, seconds, true, &other.rate[i], &other.cost[i]);
	}
	for (int i = 0; i < CLIENTS; i++)
		kill(client[i], SIGTERM);
	kill(me.keeper_pid, SIGTERM);
	while (wait(NULL) > 0)
		;
	double a = median(own.rate, rounds), b = median(other.rate, rounds), c = median(own.cost, rounds),
	       d = median(other.cost, rounds);
	printf("key in the process %.0f/s, %.0f us each; key in another %.0f/s, %.0f us each: %.2fx by rate, %.2fx by"
	       " processor time\n", a, c, b, d, b / a, c / d);
	return 0;
}
