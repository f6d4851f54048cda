/*
 * bench_smtp - a load of SMTP: CONNECTIONS at a time send MESSAGES together, each of SIZE octets to
 * RECIPIENTS (u0@DOMAIN, u1@DOMAIN, ...). Prints one line: messages, seconds, and the milliseconds from the
 * final dot to the 250 (median, 99 of 100, most).
 *
 *   bench_smtp HOST PORT CONNECTIONS MESSAGES SIZE RECIPIENTS DOMAIN [anew] [LOGIN PASSWORD]
 *
 * anew: a connection for each message. With a login: STARTTLS (not verified) and AUTH PLAIN, and the login is
 * the sender. One blocking thread for each connection; a failure ends the program.
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/text.h"

#define MOST_CONNECTIONS 1000
#define MOST_LINE 65536

struct load {
	struct sockaddr_in to;
	unsigned int connections, recipients;
	int messages;
	const char *domain, *login, *password;
	bool anew;
	struct text message;
	atomic_int taken;
	double *took;                  /* of each message */
};

struct client {
	struct load *load;
	int fd;
	gnutls_session_t tls;          /* NULL in clear */
	char buffer[MOST_LINE];
	size_t have;
};

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void
die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
say(struct client *c, const char *at, size_t len)
{
	while (len > 0) {
		ssize_t sent = c->tls ? gnutls_record_send(c->tls, at, len) : send(c->fd, at, len, MSG_NOSIGNAL);

		if (sent <= 0)
			die("the server hung up while we sent");
		at += sent;
		len -= (size_t)sent;
	}
}

/* One whole reply, which must begin with `code`. */
static void
expect(struct client *c, const char *code)
{
	for (;;) {
		char *end = memchr(c->buffer, '\n', c->have);
		ssize_t got;

		if (end) {
			bool last = c->buffer[3] != '-', right = strncmp(c->buffer, code, strlen(code)) == 0;
			size_t len = (size_t)(end - c->buffer) + 1;

			if (last && !right)
				die("expected %s, heard %.*s", code, (int)len - 1, c->buffer);
			memmove(c->buffer, end + 1, c->have - len);
			c->have -= len;
			if (last)
				return;
			continue;
		}
		got = c->tls ? gnutls_record_recv(c->tls, c->buffer + c->have, MOST_LINE - c->have)
			     : recv(c->fd, c->buffer + c->have, MOST_LINE - c->have, 0);
		/* A session ticket came, and nothing else yet. */
		if (c->tls && (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED))
			continue;
		if (got <= 0)
			die("the server hung up, expected %s", code);
		c->have += (size_t)got;
	}
}

static void ask(struct client *c, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void
ask(struct client *c, const char *code, const char *format, ...)
{
	char line[4096];
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	say(c, line, (size_t)len);
	expect(c, code);
}

static void
log_in(struct client *c)
{
	gnutls_certificate_credentials_t credentials;
	struct text plain = TEXT_UP_TO(1000), encoded = TEXT_UP_TO(2000);
	int error;

	ask(c, "220", "STARTTLS\r\n");
	gnutls_certificate_allocate_credentials(&credentials);
	gnutls_init(&c->tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(c->tls);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_int(c->tls, c->fd);
	while ((error = gnutls_handshake(c->tls)) < 0)
		if (gnutls_error_is_fatal(error))
			die("handshake: %s", gnutls_strerror(error));
	ask(c, "250", "EHLO bench.example\r\n");
	text_add_byte(&plain, '\0');
	text_add_str(&plain, c->load->login);
	text_add_byte(&plain, '\0');
	text_add_str(&plain, c->load->password);
	text_add_base64(&encoded, text_span(&plain));
	ask(c, "235", "AUTH PLAIN %s\r\n", text_str(&encoded));
	text_clear(&plain);
	text_clear(&encoded);
}

static void
open_connection(struct client *c)
{
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	c->have = 0;
	c->tls = NULL;
	if (connect(c->fd, (const struct sockaddr *)&c->load->to, sizeof(c->load->to)) < 0)
		die("cannot connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	expect(c, "220");
	ask(c, "250", "EHLO bench.example\r\n");
	if (c->load->login)
		log_in(c);
}

static void
close_connection(struct client *c)
{
	ask(c, "221", "QUIT\r\n");
	if (c->tls)
		gnutls_deinit(c->tls);
	close(c->fd);
	c->fd = -1;
}

static double
send_one(struct client *c)
{
	struct load *l = c->load;
	struct text group = TEXT_UP_TO(MOST_LINE);
	double begun;

	text_printf(&group, "MAIL FROM:<%s>\r\n", l->login ? l->login : "sender@client.example");
	for (unsigned int i = 0; i < l->recipients; i++)
		text_printf(&group, "RCPT TO:<u%u@%s>\r\n", i, l->domain);
	text_add_str(&group, "DATA\r\n");
	say(c, (const char *)group.at, group.len);
	text_clear(&group);
	for (unsigned int i = 0; i <= l->recipients; i++)
		expect(c, "250");
	expect(c, "354");
	say(c, (const char *)l->message.at, l->message.len);
	begun = now();
	ask(c, "250", ".\r\n");
	return (now() - begun) * 1000;
}

static void *
work(void *arg)
{
	struct client *c = arg;
	int n;

	c->fd = -1;
	while ((n = atomic_fetch_add(&c->load->taken, 1)) < c->load->messages) {
		if (c->fd < 0)
			open_connection(c);
		c->load->took[n] = send_one(c);
		if (c->load->anew)
			close_connection(c);
	}
	if (c->fd >= 0)
		close_connection(c);
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int
main(int argc, char **argv)
{
	struct load l = { .to = { .sin_family = AF_INET } };
	pthread_t threads[MOST_CONNECTIONS];
	size_t size;
	double begun, seconds;

	if (argc < 8)
		die("usage: bench_smtp HOST PORT CONNECTIONS MESSAGES SIZE RECIPIENTS DOMAIN [anew] [LOGIN PASSWORD]");
	inet_pton(AF_INET, argv[1], &l.to.sin_addr);
	l.to.sin_port = htons((uint16_t)atoi(argv[2]));
	l.connections = (unsigned int)atoi(argv[3]);
	l.messages = atoi(argv[4]);
	size = (size_t)atol(argv[5]);
	l.recipients = (unsigned int)atoi(argv[6]);
	l.domain = argv[7];
	l.anew = argc > 8 && strcmp(argv[8], "anew") == 0;
	if (argc > 8 + l.anew + 1) {
		l.login = argv[8 + l.anew];
		l.password = argv[9 + l.anew];
	}
	if (l.connections < 1 || l.connections > MOST_CONNECTIONS || l.messages < 1)
		die("too few or too many");
	l.message = (struct text)TEXT_UP_TO(size + 1000);
	text_printf(&l.message, "From: sender@client.example\r\nTo: u0@%s\r\nSubject: bench\r\nDate: Sat, 28 Nov 2026 12:00:00 +0000\r\n"
		"Message-ID: <bench@client.example>\r\n\r\n", l.domain);
	while (l.message.len < size)
		text_add_str(&l.message, "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456\r\n");
	l.took = must_alloc((size_t)l.messages * sizeof(*l.took));
	gnutls_global_init();
	begun = now();
	for (unsigned int i = 0; i < l.connections; i++) {
		struct client *c = must_alloc(sizeof(*c));

		c->load = &l;
		if (pthread_create(&threads[i], NULL, work, c) != 0)
			die("no thread");
	}
	for (unsigned int i = 0; i < l.connections; i++)
		pthread_join(threads[i], NULL);
	seconds = now() - begun;
	qsort(l.took, (size_t)l.messages, sizeof(*l.took), compare);
	printf("%d %.4f %.3f %.3f %.3f\n", l.messages, seconds, l.took[l.messages / 2],
		l.took[l.messages * 99 / 100], l.took[l.messages - 1]);
	return 0;
}
