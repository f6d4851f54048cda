/*
 * bench_floor CERTIFICATE KEY SECONDS GnuTLS|OpenSSL - the least that a login with new TLS can cost: one process that
 * accepts, shakes hands with a key of its own, greets, and says yes to LOGIN and LOGOUT, whoever asks; no log, no users, no
 * mail, one connection after the other, blocking. For beside test/bench/login: `bench_login PORT ... full` is the client.
 * Prints its port first; at the end how many there were, and the microseconds of its processor time for each.
 * OpenSSL is loaded when it is asked for: nothing of the suite is linked with it.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char greeting[] = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Ready.\r\n";
static const char bye[] = "* BYE Logging out.\r\nb OK LOGOUT completed.\r\n";

/* One connection's TLS, by either library. */
struct way {
	bool (*prepare)(const char *crt, const char *key);
	void *(*accept)(int fd);
	bool (*say)(void *tls, const char *text);
	int (*hear)(void *tls, char *to, int room);
	void (*end)(void *tls);
};

static void
must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "bench_floor: %s\n", what);
	exit(1);
}

/* --- GnuTLS --- */

static gnutls_certificate_credentials_t credentials;
static gnutls_priority_t priorities;
static gnutls_datum_t ticket_key;

static bool
g_prepare(const char *crt, const char *key)
{
	return gnutls_certificate_allocate_credentials(&credentials) == 0 &&
		gnutls_certificate_set_x509_key_file(credentials, crt, key, GNUTLS_X509_FMT_PEM) >= 0 &&
		gnutls_priority_init(&priorities, "NORMAL", NULL) == 0 &&
		gnutls_session_ticket_key_generate(&ticket_key) == 0;
}

static void *
g_accept(int fd)
{
	gnutls_session_t tls;
	int error;

	must(gnutls_init(&tls, GNUTLS_SERVER | GNUTLS_NO_SIGNAL) == 0, "gnutls_init");
	gnutls_priority_set(tls, priorities);
	gnutls_credentials_set(tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_session_ticket_enable_server(tls, &ticket_key);
	gnutls_transport_set_int(tls, fd);
	do
		error = gnutls_handshake(tls);
	while (error < 0 && gnutls_error_is_fatal(error) == 0);
	if (error == 0)
		return tls;
	gnutls_deinit(tls);
	return NULL;
}

static bool
g_say(void *tls, const char *text)
{
	return gnutls_record_send(tls, text, strlen(text)) > 0;
}

static int
g_hear(void *tls, char *to, int room)
{
	return (int)gnutls_record_recv(tls, to, (size_t)room);
}

static void
g_end(void *tls)
{
	gnutls_bye(tls, GNUTLS_SHUT_WR);
	gnutls_deinit(tls);
}

/* --- OpenSSL --- */

#define SYMBOLS(S) \
	S(void *, TLS_server_method, (void)) \
	S(void *, SSL_CTX_new, (void *)) \
	S(int, SSL_CTX_use_certificate_chain_file, (void *, const char *)) \
	S(int, SSL_CTX_use_PrivateKey_file, (void *, const char *, int)) \
	S(void *, SSL_new, (void *)) \
	S(int, SSL_set_fd, (void *, int)) \
	S(int, SSL_accept, (void *)) \
	S(int, SSL_read, (void *, void *, int)) \
	S(int, SSL_write, (void *, const void *, int)) \
	S(int, SSL_shutdown, (void *)) \
	S(void, SSL_free, (void *))
#define S(returns, name, args) static returns(*name) args;
SYMBOLS(S)
#undef S
static void *context;

static bool
o_prepare(const char *crt, const char *key)
{
	void *library = dlopen("libssl.so.3", RTLD_NOW);

	must(library != NULL, "no libssl.so.3 here");
#define S(returns, name, args) \
	*(void **)&name = dlsym(library, #name); \
	must(name != NULL, #name);
	SYMBOLS(S)
#undef S
	context = SSL_CTX_new(TLS_server_method());
	return context != NULL && SSL_CTX_use_certificate_chain_file(context, crt) == 1 &&
		SSL_CTX_use_PrivateKey_file(context, key, 1) == 1;
}

static void *
o_accept(int fd)
{
	void *tls = SSL_new(context);

	SSL_set_fd(tls, fd);
	if (SSL_accept(tls) == 1)
		return tls;
	SSL_free(tls);
	return NULL;
}

static bool
o_say(void *tls, const char *text)
{
	return SSL_write(tls, text, (int)strlen(text)) > 0;
}

static int
o_hear(void *tls, char *to, int room)
{
	return SSL_read(tls, to, room);
}

static void
o_end(void *tls)
{
	SSL_shutdown(tls);
	SSL_free(tls);
}

static const struct way gnutls = { g_prepare, g_accept, g_say, g_hear, g_end };
static const struct way openssl = { o_prepare, o_accept, o_say, o_hear, o_end };

/* One connection; false when it was no login. */
static bool
serve(const struct way *way, int fd)
{
	char line[512];
	void *tls = way->accept(fd);
	bool good = tls != NULL && way->say(tls, greeting) && way->hear(tls, line, sizeof(line)) > 0 &&
		way->say(tls, "a OK Logged in.\r\n") && way->hear(tls, line, sizeof(line)) > 0 &&
		way->say(tls, bye);

	if (tls != NULL)
		way->end(tls);
	shutdown(fd, SHUT_WR);
	close(fd);
	return good;
}

static double
seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	const struct way *way;
	struct pollfd p = { .events = POLLIN };
	unsigned long done = 0;
	double until, used;
	int on = 1;

	must(argc == 5, "CERTIFICATE KEY SECONDS GnuTLS|OpenSSL");
	signal(SIGPIPE, SIG_IGN);
	way = strcmp(argv[4], "OpenSSL") == 0 ? &openssl : &gnutls;
	must(way->prepare(argv[1], argv[2]), "the certificate cannot be used");
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	must(bind(p.fd, (struct sockaddr *)&address, len) == 0 && listen(p.fd, 128) == 0 &&
		getsockname(p.fd, (struct sockaddr *)&address, &len) == 0, "no socket");
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	until = seconds(CLOCK_MONOTONIC) + strtod(argv[3], NULL);
	used = seconds(CLOCK_PROCESS_CPUTIME_ID);
	while (seconds(CLOCK_MONOTONIC) < until) {
		int fd = poll(&p, 1, 100) > 0 ? accept(p.fd, NULL, NULL) : -1;

		if (fd >= 0)
			done += serve(way, fd);
	}
	used = seconds(CLOCK_PROCESS_CPUTIME_ID) - used;
	printf("%lu %.0f\n", done, done > 0 ? used / (double)done * 1e6 : 0);
	return 0;
}
