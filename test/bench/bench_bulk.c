/*
 * bench_bulk CERTIFICATE KEY MEGABYTES - what one process spends that speaks TLS itself: it sends so much
 * from memory, in records of 16 KiB, to a client of its own; prints microseconds of processor time a MiB,
 * the sender's and the receiver's, user and system. What a TLS worker spends for the same is compared with
 * them (test/bench/tls).
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORD 16384
#define CIPHER "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM"

static void
shake(gnutls_session_t tls, int fd, gnutls_certificate_credentials_t credentials)
{
	int error;

	gnutls_priority_set_direct(tls, CIPHER, NULL);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(tls, fd);
	do
		error = gnutls_handshake(tls);
	while (error < 0 && gnutls_error_is_fatal(error) == 0);
	if (error < 0)
		abort();
}

/* Over TCP: a UNIX socket would be cheaper. */
static void
tcp_pair(int ends[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int door = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(door, (struct sockaddr *)&at, len) < 0 || listen(door, 1) < 0 ||
		getsockname(door, (struct sockaddr *)&at, &len) < 0)
		abort();
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(ends[0], (struct sockaddr *)&at, len) < 0)
		abort();
	ends[1] = accept(door, NULL, NULL);
	close(door);
}

static void
receive_all(int fd)
{
	static char piece[RECORD];
	gnutls_certificate_credentials_t trust;
	gnutls_session_t tls;
	ssize_t got;

	gnutls_certificate_allocate_credentials(&trust);
	gnutls_init(&tls, GNUTLS_CLIENT);
	shake(tls, fd, trust);
	while ((got = gnutls_record_recv(tls, piece, sizeof(piece))) > 0 || got == GNUTLS_E_AGAIN)
		;
	_exit(got == 0 ? 0 : 1);
}

static double
microseconds(const struct rusage *r)
{
	return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) * 1e6 +
		(double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec);
}

int
main(int argc, char **argv)
{
	static char piece[RECORD];
	gnutls_certificate_credentials_t own;
	struct rusage before, after, receiver;
	gnutls_session_t tls;
	int ends[2], megabytes = argc == 4 ? atoi(argv[3]) : 0;

	if (megabytes <= 0)
		return 64;
	tcp_pair(ends);
	if (fork() == 0) {
		close(ends[1]);
		receive_all(ends[0]);
	}
	close(ends[0]);
	gnutls_certificate_allocate_credentials(&own);
	if (gnutls_certificate_set_x509_key_file(own, argv[1], argv[2], GNUTLS_X509_FMT_PEM) < 0)
		return 66;
	gnutls_init(&tls, GNUTLS_SERVER);
	shake(tls, ends[1], own);
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < megabytes * (1 << 20) / RECORD; i++)
		if (gnutls_record_send(tls, piece, sizeof(piece)) != sizeof(piece))
			abort();
	getrusage(RUSAGE_SELF, &after);
	gnutls_bye(tls, GNUTLS_SHUT_WR);
	close(ends[1]);
	wait(NULL);
	getrusage(RUSAGE_CHILDREN, &receiver);
	printf("%.0f %.0f\n", (microseconds(&after) - microseconds(&before)) / megabytes,
		microseconds(&receiver) / megabytes);
	return 0;
}
