/*
 * bench_login PORT SECONDS THREADS full|resumed USERS PASSWORD - logins by IMAP that a server on 127.0.0.1:PORT does, of
 * bench0@example.org and so on: connection, TLS (new, or of the session before), greeting, LOGIN, LOGOUT; prints how
 * many, how many sessions were resumed, and how many failed.
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct {
	uint16_t port;
	double until;
	bool resume;
	gnutls_certificate_credentials_t trust;
	gnutls_priority_t priorities;
	unsigned int users;
	const char *password;
} bench;

struct tally {
	unsigned long done, resumed, failed;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
reach(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(bench.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger hard = { 1, 0 };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* No TIME-WAIT: ports would run out. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	return fd;
}

/* Reads until a line begins with `tag`; true when that is OK. */
static bool
hears(gnutls_session_t tls, const char *tag)
{
	char said[8192], wanted[8];
	size_t len = 0;
	ssize_t got;

	snprintf(wanted, sizeof(wanted), "%s OK", tag);
	while (len < sizeof(said) - 1) {
		got = gnutls_record_recv(tls, said + len, sizeof(said) - 1 - len);
		/* A ticket interrupts the reading of what comes behind it. */
		if (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)
			continue;
		if (got <= 0)
			return false;
		len += (size_t)got;
		said[len] = '\0';
		for (char *line = said; line != NULL && line < said + len; line = strchr(line, '\n')) {
			line += *line == '\n';
			if (strchr(line, '\n') != NULL && strncmp(line, tag, strlen(tag)) == 0 &&
				line[strlen(tag)] == ' ')
				return strncmp(line, wanted, strlen(wanted)) == 0;
		}
	}
	return false;
}

static bool
says(gnutls_session_t tls, const char *line)
{
	return gnutls_record_send(tls, line, strlen(line)) == (ssize_t)strlen(line);
}

static bool
logs_in(gnutls_session_t tls, unsigned int user)
{
	char line[300];

	snprintf(line, sizeof(line), "a LOGIN \"bench%u@example.org\" \"%s\"\r\n", user, bench.password);
	return hears(tls, "*") && says(tls, line) && hears(tls, "a");
}

static void
one(struct tally *t, gnutls_datum_t *ticket, unsigned int user)
{
	gnutls_session_t tls;
	int error, fd = reach();

	if (fd < 0) {
		t->failed++;
		return;
	}
	gnutls_init(&tls, GNUTLS_CLIENT);
	gnutls_priority_set(tls, bench.priorities);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, bench.trust);
	gnutls_transport_set_int(tls, fd);
	if (ticket->data != NULL)
		gnutls_session_set_data(tls, ticket->data, ticket->size);
	do
		error = gnutls_handshake(tls);
	while (error < 0 && gnutls_error_is_fatal(error) == 0);
	if (error < 0 || !logs_in(tls, user)) {
		t->failed++;
	} else {
		t->done++;
		t->resumed += gnutls_session_is_resumed(tls) != 0;
		if (bench.resume) {
			gnutls_free(ticket->data);
			*ticket = (gnutls_datum_t){ NULL, 0 };
			gnutls_session_get_data2(tls, ticket);
		}
		if (says(tls, "b LOGOUT\r\n"))
			(void)hears(tls, "b");
	}
	gnutls_deinit(tls);
	close(fd);
}

static void *
work(void *arg)
{
	struct tally *t = arg;
	gnutls_datum_t ticket = { NULL, 0 };
	unsigned int user = (unsigned int)(uintptr_t)t / sizeof(*t);

	while (now() < bench.until)
		one(t, &ticket, user++ % bench.users);
	gnutls_free(ticket.data);
	return NULL;
}

int
main(int argc, char **argv)
{
	int threads = argc == 7 ? atoi(argv[3]) : 0;
	struct tally tally[64] = { { 0 } }, sum = { 0 };
	pthread_t thread[64];

	if (threads < 1 || threads > 64) {
		fprintf(stderr, "usage: bench_login PORT SECONDS THREADS full|resumed USERS PASSWORD\n");
		return 64;
	}
	bench.port = (uint16_t)atoi(argv[1]);
	bench.resume = strcmp(argv[4], "resumed") == 0;
	bench.users = (unsigned int)atoi(argv[5]);
	bench.password = argv[6];
	if (bench.users == 0)
		return 64;
	gnutls_certificate_allocate_credentials(&bench.trust);
	gnutls_priority_init(&bench.priorities, "NORMAL", NULL);
	bench.until = now() + atof(argv[2]);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, work, &tally[i]);
	for (int i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		sum.done += tally[i].done;
		sum.resumed += tally[i].resumed;
		sum.failed += tally[i].failed;
	}
	printf("%lu %lu %lu\n", sum.done, sum.resumed, sum.failed);
	return 0;
}
