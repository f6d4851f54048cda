/*
 * bench_login PORT SECONDS THREADS full|resumed|scram|scram-resumed USERS PASSWORD - logins by IMAP that a server on
 * 127.0.0.1:PORT does, of bench0@example.org and so on: connection, TLS (new, or of the session before), greeting, LOGIN (or
 * AUTHENTICATE SCRAM-SHA-256 with an initial response), LOGOUT. Each user logs in once before the clock runs, so that
 * everybody's salted password is known (a client may keep it, RFC 5802 3: it is servers that are measured). Prints how
 * many logins there were, how many of them before the clock ran, how many sessions were resumed, and how many failed.
 */
#include <arpa/inet.h>
#include <gnutls/crypto.h>
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
	bool resume, scram;
	gnutls_certificate_credentials_t trust;
	gnutls_priority_t priorities;
	unsigned int users;
	const char *password;
	/* What each user's client remembers; made before the threads begin. */
	struct salted {
		char salt[128];
		unsigned int iterations;
		unsigned char client_key[32], server_key[32];
	} *salted;
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

static bool
is_word(const char *line, const char *word)
{
	return strncmp(line, word, strlen(word)) == 0 && line[strlen(word)] == ' ';
}

/* Reads until a line begins with `tag`, or `or_tag` if not NULL, and a blank: that line is *line, within `said`. */
static bool
hears_line(gnutls_session_t tls, const char *tag, const char *or_tag, char said[8192], char **found)
{
	size_t len = 0;
	ssize_t got;

	while (len < 8191) {
		got = gnutls_record_recv(tls, said + len, 8191 - len);
		/* A ticket interrupts the reading of what comes behind it. */
		if (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED)
			continue;
		if (got <= 0)
			return false;
		len += (size_t)got;
		said[len] = '\0';
		for (char *line = said; line != NULL && line < said + len; line = strchr(line, '\n')) {
			line += *line == '\n';
			if (strchr(line, '\n') != NULL &&
				(is_word(line, tag) || (or_tag != NULL && is_word(line, or_tag)))) {
				*found = line;
				return true;
			}
		}
	}
	return false;
}

/* Reads until a line begins with `tag`; true when that is OK. */
static bool
hears(gnutls_session_t tls, const char *tag)
{
	char said[8192], *line;

	return hears_line(tls, tag, NULL, said, &line) && is_word(line + strlen(tag) + 1, "OK");
}

static bool
says(gnutls_session_t tls, const char *line)
{
	return gnutls_record_send(tls, line, strlen(line)) == (ssize_t)strlen(line);
}

/* --- SCRAM-SHA-256 (RFC 5802, RFC 7677) --- */

/* base64 of `in` behind what is in `out`; false: too long. */
static bool
add_base64(char *out, size_t room, const void *in, size_t len)
{
	gnutls_datum_t data = { (void *)(uintptr_t)in, (unsigned int)len }, text;
	size_t at = strlen(out);
	bool fits;

	if (gnutls_base64_encode2(&data, &text) < 0)
		return false;
	fits = text.size < room - at;
	if (fits) {
		memcpy(out + at, text.data, text.size);
		out[at + text.size] = '\0';
	}
	gnutls_free(text.data);
	return fits;
}

static bool
decode(const char *in, char *out, size_t room, size_t *len)
{
	gnutls_datum_t text = { (void *)(uintptr_t)in, (unsigned int)strcspn(in, "\r\n") }, data;

	if (gnutls_base64_decode2(&text, &data) < 0)
		return false;
	*len = data.size < room - 1 ? data.size : room - 1;
	memcpy(out, data.data, *len);
	out[*len] = '\0';
	gnutls_free(data.data);
	return true;
}

static void
hmac(const unsigned char key[32], const char *text, unsigned char out[32])
{
	gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, 32, text, strlen(text), out);
}

/* From "r=NONCE,s=SALT,i=NUMBER"; worked out anew only where the server says something else than before. */
static bool
salted_password(struct salted *s, const char *server_first)
{
	const char *salt = strstr(server_first, ",s="), *number = strstr(server_first, ",i=");
	gnutls_datum_t password = { (void *)(uintptr_t)bench.password, (unsigned int)strlen(bench.password) }, raw;
	unsigned char whole[32];
	char said[sizeof(s->salt)], bytes[sizeof(s->salt)];
	unsigned int iterations;
	size_t len;

	if (salt == NULL || number == NULL || number < salt || (size_t)(number - salt - 3) >= sizeof(said))
		return false;
	memset(said, 0, sizeof(said));
	memcpy(said, salt + 3, (size_t)(number - salt - 3));
	iterations = (unsigned int)atoi(number + 3);
	if (s->iterations == iterations && strcmp(s->salt, said) == 0)
		return true;
	if (!decode(said, bytes, sizeof(bytes), &len))
		return false;
	raw = (gnutls_datum_t){ (void *)bytes, (unsigned int)len };
	if (gnutls_pbkdf2(GNUTLS_MAC_SHA256, &password, &raw, iterations, whole, sizeof(whole)) < 0)
		return false;
	hmac(whole, "Client Key", s->client_key);
	hmac(whole, "Server Key", s->server_key);
	memcpy(s->salt, said, sizeof(said));
	s->iterations = iterations;
	return true;
}

/* The server's words behind "+ ", decoded. */
static bool
challenge(gnutls_session_t tls, char *out, size_t room)
{
	char said[8192], *line;
	size_t len;

	return hears_line(tls, "+", "a", said, &line) && *line == '+' && decode(line + 2, out, room, &len);
}

/* Three lines of the client's, and the server's signature is looked at. */
static bool
logs_in_by_scram(gnutls_session_t tls, unsigned int user)
{
	struct salted mine = bench.salted[user];
	char first[128], server[512], last[512], auth[1200], line[1200] = "a AUTHENTICATE SCRAM-SHA-256 ", hope[64] = "v=";
	unsigned char chance[18], stored[32], proof[32];

	gnutls_rnd(GNUTLS_RND_NONCE, chance, sizeof(chance));
	snprintf(first, sizeof(first), "n=bench%u@example.org,r=", user);
	(void)add_base64(first, sizeof(first), chance, sizeof(chance));
	snprintf(auth, sizeof(auth), "n,,%s", first);
	if (!add_base64(line, sizeof(line) - 2, auth, strlen(auth)) || !hears(tls, "*") || !says(tls, strcat(line, "\r\n")) ||
		!challenge(tls, server, sizeof(server)) || !salted_password(&mine, server))
		return false;
	if (bench.until == 0)
		bench.salted[user] = mine;
	snprintf(last, sizeof(last), "c=biws,%.*s", (int)strcspn(server, ","), server);
	snprintf(auth, sizeof(auth), "%s,%s,%s", first, server, last);
	gnutls_hash_fast(GNUTLS_DIG_SHA256, mine.client_key, 32, stored);
	hmac(stored, auth, proof);
	for (size_t i = 0; i < 32; i++)
		proof[i] ^= mine.client_key[i];
	strcat(last, ",p=");
	(void)add_base64(last, sizeof(last), proof, 32);
	hmac(mine.server_key, auth, proof);
	(void)add_base64(hope, sizeof(hope), proof, 32);
	line[0] = '\0';
	return add_base64(line, sizeof(line) - 2, last, strlen(last)) && says(tls, strcat(line, "\r\n")) &&
		challenge(tls, server, sizeof(server)) && strcmp(server, hope) == 0 && says(tls, "\r\n") && hears(tls, "a");
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
	if (error < 0 || !(bench.scram ? logs_in_by_scram : logs_in)(tls, user)) {
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
	gnutls_datum_t none = { NULL, 0 };
	unsigned long before;
	pthread_t thread[64];

	if (threads < 1 || threads > 64) {
		fprintf(stderr, "usage: bench_login PORT SECONDS THREADS full|resumed|scram|scram-resumed USERS PASSWORD\n");
		return 64;
	}
	bench.port = (uint16_t)atoi(argv[1]);
	bench.resume = strstr(argv[4], "resumed") != NULL;
	bench.scram = strncmp(argv[4], "scram", 5) == 0;
	bench.users = (unsigned int)atoi(argv[5]);
	bench.password = argv[6];
	if (bench.users == 0)
		return 64;
	gnutls_certificate_allocate_credentials(&bench.trust);
	gnutls_priority_init(&bench.priorities, "NORMAL", NULL);
	bench.salted = calloc(bench.users, sizeof(*bench.salted));
	if (bench.salted == NULL)
		return 71;
	for (unsigned int i = 0; i < bench.users; i++) {
		one(&sum, &none, i);
		gnutls_free(none.data);
		none = (gnutls_datum_t){ NULL, 0 };
	}
	before = sum.done;
	bench.until = now() + atof(argv[2]);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, work, &tally[i]);
	for (int i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		sum.done += tally[i].done;
		sum.resumed += tally[i].resumed;
		sum.failed += tally[i].failed;
	}
	free(bench.salted);
	printf("%lu %lu %lu %lu\n", sum.done, before, sum.resumed, sum.failed);
	return 0;
}
