/*
 * The real key process and two real workers, with a client: handshakes, signatures that are given
 * or refused, tickets, ends of connections, stalled clients, restarts and reloads.
 */
#include "tlsproxy_rig.h"

#include "tlsproxy/chain.h"

#include <linux/tcp.h>

#define ONLY_12 "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define ONLY_13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define RSA_ONLY ":-SIGN-ALL:+SIGN-RSA-SHA256:+SIGN-RSA-PSS-RSAE-SHA256"

static void
handshakes_and_data(void **state)
{
	static const struct {
		const char *priorities, *version;
	} rows[] = {
		{ ONLY_13, "TLS1.3" },
		{ ONLY_12, "TLS1.2" },
		{ ONLY_13 RSA_ONLY, "TLS1.3" },
		{ ONLY_12 RSA_ONLY, "TLS1.2" },
		{ ONLY_12 ":-SIGN-ALL:+SIGN-RSA-SHA384", "TLS1.2" },
		{ ONLY_12 ":-SIGN-ALL:+SIGN-ECDSA-SHA384", "TLS1.2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wish wish = { .service = SERVICE_IMAPS, .priorities = rows[i].priorities };
		struct client c = client_shake(&wish);

		if (c.error != 0)
			fail_msg("%s: %s (%s)", rows[i].priorities, gnutls_strerror(c.error),
				c.session->reason);
		assert_true(c.session->ready);
		assert_string_equal(c.session->version, rows[i].version);
		assert_false(c.session->resumed);
		client_talk(&c);
		client_close(&c);
	}
}

static void
certificate_verifies_by_our_authority(void **state)
{
	struct wish wish = { .service = SERVICE_IMAPS, .sni = "mail.example.org" };
	struct client c = client_connect(&wish);

	(void)state;
	client_prepare(&c, &wish);
	gnutls_session_set_verify_cert(c.tls, "mail.example.org", 0);
	client_handshake(&c);
	assert_int_equal(c.error, 0);
	assert_string_equal(c.session->sni, "mail.example.org");
	client_close(&c);
}

static void
passport_tells_what_was_seen(void **state)
{
	struct wish wish = {
		.service = SERVICE_SUBMISSIONS, .sni = "mail.example.org", .alpn = "smtp"
	};
	struct client c = client_shake(&wish);
	gnutls_datum_t binding = { NULL, 0 };
	struct passport p;

	(void)state;
	assert_true(c.session->ready);
	assert_true(passport_open(
		rig.passport_key, span_of(c.session->sealed, c.session->sealed_len), &p));
	assert_true(p.session == c.session->id);
	assert_int_equal(p.service, SERVICE_SUBMISSIONS);
	assert_true(span_equal(p.ip, SPAN("127.0.0.1")));
	assert_true(span_equal(p.local_ip, SPAN("127.0.0.1")));
	assert_true(span_equal(p.sni, SPAN("mail.example.org")));
	assert_true(span_equal(p.alpn, SPAN("smtp")));
	assert_false(p.certificate_valid);
	assert_int_equal(
		gnutls_session_channel_binding(c.tls, GNUTLS_CB_TLS_EXPORTER, &binding), 0);
	assert_true(span_equal(p.exporter, span_of(binding.data, binding.size)));
	gnutls_free(binding.data);
	assert_int_equal(
		gnutls_session_channel_binding(c.tls, GNUTLS_CB_TLS_SERVER_END_POINT, &binding), 0);
	assert_true(span_equal(p.end_point, span_of(binding.data, binding.size)));
	gnutls_free(binding.data);
	client_close(&c);
}

static void
bulk_goes_both_ways(void **state)
{
	enum { SIZE = 3 << 20 };
	struct client c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	static unsigned char sent[SIZE], got[SIZE];
	size_t out = 0, in = 0, back = 0, home = 0;

	(void)state;
	assert_true(c.session->ready);
	for (size_t i = 0; i < SIZE; i++)
		sent[i] = (unsigned char)(i * 7 + i / 251);
	/* Slow readers on both sides: nothing may be lost while everything is full. */
	for (long limit = rig_now() + 20000; home < SIZE;) {
		ssize_t n;

		assert_true(rig_now() < limit);
		if (out < SIZE && (n = gnutls_record_send(c.tls, sent + out,
			SIZE - out < 16384 ? SIZE - out : 16384)) > 0)
			out += (size_t)n;
		if ((n = recv(c.session->plain, got + in, SIZE - in < 30011 ? SIZE - in : 30011,
			MSG_DONTWAIT)) > 0)
			in += (size_t)n;
		if (back < in && (n = send(c.session->plain, got + back, in - back,
			MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
			back += (size_t)n;
		if (home < back) {
			static unsigned char piece[16384];

			n = gnutls_record_recv(c.tls, piece, sizeof(piece));
			if (n > 0) {
				assert_memory_equal(piece, sent + home, (size_t)n);
				home += (size_t)n;
			}
		}
		event_base_loop(rig.base, EVLOOP_NONBLOCK);
	}
	client_close(&c);
}

/* A push function whose records come in pieces of every size. */
static ssize_t
push_in_pieces(gnutls_transport_ptr_t fd, const void *at, size_t len)
{
	static size_t piece;

	piece = piece * 5 % 4099 + 1;
	return send((int)(intptr_t)fd, at, len < piece ? len : piece, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* RFC 8446 4.6.3, 5.1, RFC 8449: keys that change under way, records of one byte and of 512 bytes, records that
 * come in pieces, a reader that does not keep up: nothing is lost, doubled or out of order. */
static void
records_of_every_kind(void **state)
{
	enum { SIZE = 1 << 20, UP = 300000 };
	static const char *const versions[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.3", ONLY_12 };
	static unsigned char piece[65536], up[UP];
	unsigned int updates = 0;

	(void)state;
	for (size_t i = 0; i < UP; i++)
		up[i] = (unsigned char)(i * 11 + i / 241);
	for (size_t v = 0; v < 2; v++) {
		struct client c = client_shake(&(struct wish){ .service = SERVICE_IMAPS,
			.priorities = versions[v], .record = 512 });
		size_t said = 0, heard = 0, out = 0, in = 0, next = 0, under_way = 0;

		assert_true(c.session->ready);
		gnutls_transport_set_push_function(c.tls, push_in_pieces);
		for (long limit = rig_now() + 20000; heard < SIZE || in < UP;) {
			size_t most = SIZE - said < sizeof(piece) ? SIZE - said : sizeof(piece);
			ssize_t n;

			assert_true(rig_now() < limit);
			for (size_t i = 0; i < most; i++)
				piece[i] = (unsigned char)((said + i) * 19 + (said + i) / 269);
			if (most > 0 && (n = send(c.session->plain, piece, most,
					MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
				said += (size_t)n;
			/* Not under a record that is still to go out. */
			if (v == 0 && heard >= next && under_way == 0) {
				n = gnutls_session_key_update(c.tls, GNUTLS_KU_PEER);
				assert_true(n == 0 || n == GNUTLS_E_AGAIN);
				updates += n == 0;
				next += n == 0 ? 180000 : 0; /* GnuTLS bears 8 in a second */
				if (n != 0)
					goto read;
			}
			for (int i = 0; i < 20 && out < UP; i++) {
				size_t part = out < 3000 ? 1 : out % 5003 + 1;

				part = under_way != 0 ? under_way : part < UP - out ? part : UP - out;
				if ((n = gnutls_record_send(c.tls, up + out, part)) > 0)
					out += (size_t)n;
				under_way = n < 0 ? part : 0;
				if (n < 0)
					break;
			}
		read:
			if ((n = recv(c.session->plain, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
				assert_true(in + (size_t)n <= UP);
				assert_memory_equal(piece, up + in, (size_t)n);
				in += (size_t)n;
			}
			if ((n = gnutls_record_recv(c.tls, piece, sizeof(piece))) > 0) {
				assert_true(n <= 512);
				for (ssize_t i = 0; i < n; i++)
					assert_true(piece[i] == (unsigned char)((heard + (size_t)i) * 19 +
						(heard + (size_t)i) / 269));
				heard += (size_t)n;
			}
			event_base_loop(rig.base, EVLOOP_NONBLOCK);
		}
		client_close(&c);
	}
	assert_int_equal(updates, 6);
}

/* What a client says, held back. */
static struct {
	size_t len;
	bool holds;
	unsigned char at[8192];
} said;

static ssize_t
push_held(gnutls_transport_ptr_t fd, const void *at, size_t len)
{
	if (!said.holds) {
		said.holds = true;        /* behind the ClientHello */
		return send((int)(intptr_t)fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	assert_true(said.len + len <= sizeof(said.at));
	memcpy(said.at + said.len, at, len);
	said.len += len;
	return (ssize_t)len;
}

/* The end of the handshake, data and the end of TLS come in one segment: a worker that reads ahead loses nothing of
 * it, and what it read ahead of one client reaches no other. */
static void
data_comes_with_the_handshake(void **state)
{
	char got[64];

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct wish wish = { .service = SERVICE_SUBMISSIONS, .priorities = ONLY_13 };
		struct client c = client_connect(&wish), junk;
		long limit = rig_now() + RIG_WAIT_MILLISECONDS;

		said.len = 0;
		said.holds = false;
		client_prepare(&c, &wish);
		gnutls_transport_set_push_function(c.tls, push_held);
		while ((c.error = gnutls_handshake(c.tls)) != 0) {
			assert_int_equal(gnutls_error_is_fatal(c.error), 0);
			assert_true(rig_now() < limit);
			rig_nap();
		}
		assert_false(c.session->ready);
		assert_int_equal(gnutls_record_send(c.tls, "EHLO one\r\n", 10), 10);
		assert_int_equal(gnutls_record_send(c.tls, "QUIT\r\n", 6), 6);
		if (i == 1)
			(void)gnutls_bye(c.tls, GNUTLS_SHUT_WR);
		/* Another client's nonsense is read between. */
		junk = client_connect(&wish);
		assert_int_equal(send(junk.fd, "EHLO junk\r\nQUIT\r\nEHLO junk\r\n", 28, MSG_NOSIGNAL), 28);
		rig_until(junk.session->failed);
		client_close(&junk);
		assert_int_equal(send(c.fd, said.at, said.len, MSG_NOSIGNAL), said.len);
		rig_until(c.session->ready);
		assert_int_equal(plain_receive(c.session, got, sizeof(got)), 16);
		assert_memory_equal(got, "EHLO one\r\nQUIT\r\n", 16);
		if (i == 1)
			assert_int_equal(plain_receive(c.session, got, sizeof(got)), 0);
		assert_int_equal(send(c.session->plain, "250 one", 7, MSG_NOSIGNAL), 7);
		assert_int_equal(client_receive(&c, got, sizeof(got)), 7);
		client_close(&c);
	}
}

/* Who does not read is waited for, in bounded memory, while the other direction goes on; then nothing is
 * missing. */
static void
back_pressure_on_the_front_end(void **state)
{
	enum { PIECE = 65536, MOST = 48 << 20 };
	struct client c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	static unsigned char piece[PIECE];
	size_t sent = 0, got = 0;
	char word[8];

	(void)state;
	assert_true(c.session->ready);
	for (long quiet = rig_now(); rig_now() < quiet + 300;) {
		ssize_t n;

		for (size_t i = 0; i < PIECE; i++)
			piece[i] = (unsigned char)((sent + i) * 13 + (sent + i) / 257);
		if ((n = send(c.session->plain, piece, PIECE, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
			sent += (size_t)n;
			quiet = rig_now();
			assert_true(sent < MOST); /* the sockets' buffers, and a round of the worker's */
		}
		rig_nap();
	}
	client_send(&c, "up", 2);
	rig_until(recv(c.session->plain, word, sizeof(word), MSG_DONTWAIT) == 2);
	for (long limit = rig_now() + 20000; got < sent;) {
		ssize_t n = gnutls_record_recv(c.tls, piece, PIECE);

		assert_true(rig_now() < limit);
		for (ssize_t i = 0; i < n; i++)
			assert_true(piece[i] == (unsigned char)((got + (size_t)i) * 13 + (got + (size_t)i) / 257));
		if (n > 0)
			got += (size_t)n;
		else
			rig_nap();
	}
	client_close(&c);
}

static void
back_pressure_on_the_client(void **state)
{
	enum { PIECE = 16384, MOST = 48 << 20 };
	struct client c = client_shake(&(struct wish){ .service = SERVICE_SUBMISSIONS });
	static unsigned char piece[PIECE];
	size_t sent = 0, got = 0;
	bool under_way = false;
	char word[8];

	(void)state;
	assert_true(c.session->ready);
	for (long quiet = rig_now(); rig_now() < quiet + 300;) {
		ssize_t n;

		for (size_t i = 0; i < PIECE && !under_way; i++)
			piece[i] = (unsigned char)((sent + i) * 17 + (sent + i) / 263);
		n = under_way ? gnutls_record_send(c.tls, NULL, 0) : gnutls_record_send(c.tls, piece, PIECE);
		under_way = n == GNUTLS_E_AGAIN;
		if (n > 0) {
			sent += (size_t)n;
			quiet = rig_now();
			assert_true(sent < MOST);
		} else {
			rig_nap();
		}
	}
	assert_int_equal(send(c.session->plain, "down", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(client_receive(&c, word, sizeof(word)), 4);
	if (under_way)
		sent += PIECE;
	for (long limit = rig_now() + 20000; got < sent;) {
		ssize_t n = recv(c.session->plain, piece, PIECE, MSG_DONTWAIT);

		assert_true(rig_now() < limit);
		for (ssize_t i = 0; i < n; i++)
			assert_true(piece[i] == (unsigned char)((got + (size_t)i) * 17 + (got + (size_t)i) / 263));
		if (n > 0)
			got += (size_t)n;
		else
			rig_nap();
		if (under_way && gnutls_record_send(c.tls, NULL, 0) > 0)
			under_way = false;
	}
	client_close(&c);
}

/* Memory of a worker, in KiB. */
static long
resident(const struct rig_process *p)
{
	char path[40], line[128];
	long size = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)p->pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "VmRSS: %ld", &size);
	fclose(f);
	return size;
}

/* The address sanitizer keeps back what was freed. */
#ifdef __SANITIZE_ADDRESS__
#define MOST_KIB 300000
#else
#define MOST_KIB 24000
#endif

/* Clients that ask for much and read nothing: what waits for all of them has a bound, above which each has
 * little. None of it is lost. */
static void
many_that_do_not_read(void **state)
{
	enum { COUNT = 240, PIECE = 160 * 1024, SMALL = 4096 };
	static struct client c[COUNT];
	static unsigned char piece[PIECE];
	size_t sent[COUNT] = { 0 }, got = 0;
	int small = SMALL;
	long before, grown;

	(void)state;
	setsockopt(rig.listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (size_t i = 0; i < COUNT; i++) {
		c[i] = client_shake(&(struct wish){ .service = SERVICE_IMAPS, .socket = SMALL });
		assert_true(c[i].session->ready);
	}
	before = resident(&rig.worker[0]);
	for (long quiet = rig_now(); rig_now() < quiet + 500;) {
		/* So that a round finds much. */
		kill(rig.worker[0].pid, SIGSTOP);
		for (size_t i = 0; i < COUNT; i++) {
			ssize_t n;

			for (size_t k = 0; k < PIECE; k++)
				piece[k] = (unsigned char)((sent[i] + k) * 23 + (sent[i] + k) / 251);
			if ((n = send(c[i].session->plain, piece, PIECE, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
				sent[i] += (size_t)n;
				quiet = rig_now();
			}
		}
		kill(rig.worker[0].pid, SIGCONT);
		for (int i = 0; i < 20; i++)
			rig_nap();
	}
	grown = resident(&rig.worker[0]) - before;
	print_message("%ld KiB for %d that do not read\n", grown, COUNT);
	assert_true(grown < MOST_KIB);
	for (long limit = rig_now() + 20000; got < sent[COUNT - 1];) {
		ssize_t n = gnutls_record_recv(c[COUNT - 1].tls, piece, PIECE);

		assert_true(rig_now() < limit);
		for (ssize_t k = 0; k < n; k++)
			assert_true(piece[k] == (unsigned char)((got + (size_t)k) * 23 +
				(got + (size_t)k) / 251));
		if (n > 0)
			got += (size_t)n;
		else
			rig_nap();
	}
	for (size_t i = 0; i < COUNT; i++)
		client_close(&c[i]);
	rig_until(rig_connections(&rig.worker[0]) == 0);
}

/* RFC 8446 6.1: each direction ends by itself. The front end ends; the client still says something. And the
 * other way round in t3. */
static void
half_closed_by_the_front_end(void **state)
{
	struct client c = client_shake(&(struct wish){ .service = SERVICE_SUBMISSIONS });
	char got[64];

	(void)state;
	assert_int_equal(send(c.session->plain, "last", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(shutdown(c.session->plain, SHUT_WR), 0);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 4);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 0); /* close_notify */
	client_send(&c, "still here", 10);
	rig_until(recv(c.session->plain, got, sizeof(got), MSG_DONTWAIT) == 10);
	assert_memory_equal(got, "still here", 10);
	assert_int_equal(gnutls_bye(c.tls, GNUTLS_SHUT_WR), 0);
	rig_until(recv(c.session->plain, got, sizeof(got), MSG_DONTWAIT) == 0);
	client_close(&c);
}

static gnutls_datum_t
take_ticket(struct client *c)
{
	gnutls_datum_t data = { NULL, 0 };

	client_talk(c); /* TLS 1.3 tickets come with the first answer */
	assert_int_equal(gnutls_session_get_data2(c->tls, &data), 0);
	return data;
}

static void
t6_tickets(void **state)
{
	static const char *const versions[] = { ONLY_13, ONLY_12 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct wish wish = { .service = SERVICE_IMAPS, .priorities = versions[i] };
		struct client first = client_shake(&wish), again, other;
		gnutls_datum_t ticket = take_ticket(&first);

		client_close(&first);
		wish.resume = &ticket;
		wish.worker = 1;
		again = client_shake(&wish);
		assert_true(again.session->ready);
		assert_true(again.session->resumed);
		client_talk(&again);
		client_close(&again);
		wish.service = SERVICE_SUBMISSIONS;
		other = client_shake(&wish);
		assert_true(other.session->ready);
		assert_false(other.session->resumed);
		client_close(&other);
		gnutls_free(ticket.data);
	}
}

static void
t6_wrong_protocol(void **state)
{
	static const struct {
		enum service service;
		const char *alpn;
		bool good;
	} rows[] = {
		{ SERVICE_IMAPS, NULL, true }, { SERVICE_IMAPS, "imap", true },
		{ SERVICE_IMAPS, "http/1.1", false }, { SERVICE_IMAPS, "smtp", false },
		{ SERVICE_SUBMISSIONS, "smtp", true }, { SERVICE_SUBMISSIONS, "imap", false },
		{ SERVICE_SMTP, "h2", false },
	};
	static const char *const versions[] = { ONLY_13, ONLY_12 };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct wish wish = { .service = rows[i / 2].service, .alpn = rows[i / 2].alpn,
			.priorities = versions[i % 2] };
		struct client c = client_shake(&wish);

		assert_int_equal(c.session->ready, rows[i / 2].good);
		if (!rows[i / 2].good) {
			assert_int_equal(c.error, GNUTLS_E_FATAL_ALERT_RECEIVED);
			assert_int_equal(gnutls_alert_get(c.tls), GNUTLS_A_NO_APPLICATION_PROTOCOL);
			assert_non_null(strstr(c.session->reason, "ALPN"));
		}
		client_close(&c);
	}
}

static void
old_and_weak_is_refused(void **state)
{
	static const char *const offers[] = {
		"NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0:%COMPAT",
		"NONE:+VERS-TLS1.2:+AES-128-CBC:+SHA1:+ECDHE-RSA:+ECDHE-ECDSA:+SIGN-ALL:+GROUP-ALL",
		"NONE:+VERS-TLS1.2:+AES-128-GCM:+AEAD:+RSA:+SIGN-ALL:+GROUP-ALL:+CTYPE-X509",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
		struct client c = client_connect(&(struct wish){ .service = SERVICE_IMAPS });

		client_prepare(
			&c, &(struct wish){ .service = SERVICE_IMAPS, .priorities = offers[i] });
		client_handshake(&c);
		assert_true(c.session->failed);
		assert_false(c.session->ready);
		assert_non_null(
			strstr(c.session->reason, i == 0 ? "version" : "no cipher in common"));
		client_close(&c);
	}
}

/* --- what tls-key signs --- */

static bool
spy_asks(uint64_t session, const unsigned char *key, uint32_t algorithm, bool hashed,
	const void *at, size_t len)
{
	rig.spy_answered = false;
	send_tls_sign(rig.spy, session, &(struct msg_tls_sign){ .key = span_of(key, KEY_ID_SIZE),
		.algorithm = algorithm, .hashed = hashed, .input = span_of(at, len) }, NULL);
	rig_until(rig.spy_answered);
	return !rig.spy_refused;
}

static void
captured_worker_gets_one_signature(void **state)
{
	static const unsigned char hash[64] = { 1, 2, 3 };
	struct text why = TEXT_UP_TO(MOST_WHY);
	uint64_t session = id_new(), other = id_new();
	struct chain p256;
	int fd = rig_file("server.crt");

	(void)state;
	assert_int_equal(chain_read(fd, &p256, &why), 0);
	close(fd);
	/* nobody announced it */
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 32));
	assert_string_equal(rig.spy_reason, "nobody announced the session");
	/* announced, but for another worker */
	send_tls_expect(rig.smtpd_key, other, &(struct msg_tls_expect){ .worker = 0 }, NULL);
	assert_false(spy_asks(other, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 32));
	assert_string_equal(rig.spy_reason, "the session was announced for another worker");
	send_tls_expect(
		rig.smtpd_key, session, &(struct msg_tls_expect){ .worker = RIG_SPY }, NULL);
	/* wrong sizes, algorithms, forms: refused, and they use nothing up */
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 31));
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 64));
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, false, hash, 32));
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA1, true, hash, 20));
	assert_false(
		spy_asks(session, p256.key_id, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, true, hash, 32));
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_RSA_RAW, true, hash, 51));
	assert_false(spy_asks(session, hash, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 32));
	assert_string_equal(rig.spy_reason, "no such key");
	/* once */
	assert_true(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 32));
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 32));
	assert_string_equal(rig.spy_reason, "the session has had its signature");
	send_tls_expect(
		rig.smtpd_key, session, &(struct msg_tls_expect){ .worker = RIG_SPY }, NULL);
	assert_false(spy_asks(session, p256.key_id, GNUTLS_SIGN_ECDSA_SHA256, true, hash, 32));
	assert_non_null(strstr(text_str(&rig.log_text), "signature-refused"));
	chain_clear(&p256);
	text_clear(&why);
}

static void
unannounced_session_fails(void **state)
{
	struct client c = client_shake(
		&(struct wish){ .service = SERVICE_IMAPS, .unannounced = true });

	(void)state;
	assert_true(c.session->failed);
	assert_string_equal(c.session->reason, "no signature: nobody announced the session");
	client_close(&c);
}

/* --- ends --- */

static void
t3_clear_bytes_after_the_end(void **state)
{
	struct client c = client_shake(&(struct wish){ .service = SERVICE_SUBMISSIONS });
	char got[64];

	(void)state;
	client_talk(&c);
	assert_int_equal(gnutls_bye(c.tls, GNUTLS_SHUT_WR), 0);
	assert_int_equal(send(c.fd, "QUIT\r\nNOOP\r\n", 12, MSG_NOSIGNAL), 12);
	assert_int_equal(plain_receive(c.session, got, sizeof(got)), 0);
	/* half-closed: the front end may still answer */
	assert_int_equal(send(c.session->plain, "bye", 3, MSG_NOSIGNAL), 3);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 3);
	assert_int_equal(recv(c.session->plain, got, sizeof(got), MSG_DONTWAIT), 0);
	plain_close(c.session);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 0);
	assert_int_equal(recv(c.fd, got, sizeof(got), MSG_DONTWAIT), 0);
	client_close(&c);
}

static void
broken_record_ends_both_ways(void **state)
{
	struct client c = client_shake(&(struct wish){ .service = SERVICE_SUBMISSIONS });
	char got[64];

	(void)state;
	client_talk(&c);
	assert_int_equal(send(c.fd, "\x17\x03\x03\x00\x20" "0123456789abcdef0123456789abcdef", 37,
		MSG_NOSIGNAL), 37);
	assert_int_equal(plain_receive(c.session, got, sizeof(got)), 0);
	rig_until(send(c.session->plain, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0);
	client_close(&c);
}

static void
front_end_closes_first(void **state)
{
	struct client c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	char got[64];

	(void)state;
	client_send(&c, "logout", 6); /* unread when it closes */
	assert_int_equal(send(c.session->plain, "* BYE", 5, MSG_NOSIGNAL), 5);
	plain_close(c.session);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 5);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 0); /* close_notify, no truncation */
	client_close(&c);
}

static unsigned int
segments_in(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_data_segs_in;
}

/* Last words, close_notify and the end of the connection are one packet. */
static void
last_words_go_with_the_end(void **state)
{
	struct client c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	unsigned int before;
	char got[64];

	(void)state;
	assert_int_equal(send(c.session->plain, "* OK", 4, MSG_NOSIGNAL), 4);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 4);
	before = segments_in(c.fd);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kill(rig.worker[i].pid, SIGSTOP), 0);
		assert_int_equal(waitpid(rig.worker[i].pid, NULL, WUNTRACED), rig.worker[i].pid);
	}
	assert_int_equal(send(c.session->plain, "* BYE", 5, MSG_NOSIGNAL), 5);
	plain_close(c.session);
	for (int i = 0; i < 2; i++)
		assert_int_equal(kill(rig.worker[i].pid, SIGCONT), 0);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 5);
	assert_int_equal(client_receive(&c, got, sizeof(got)), 0);
	assert_int_equal(recv(c.fd, got, sizeof(got), 0), 0);
	assert_int_equal(segments_in(c.fd), before + 1);
	client_close(&c);
}

/* Back ends that die in the middle of an upload do not harm the others, and leave nothing behind.
 */
static void
t4_front_end_dies_in_upload(void **state)
{
	static unsigned char piece[16384];
	struct client idle[4];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		idle[i] = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	for (int round = 0; round < 10; round++) {
		struct client c = client_shake(&(struct wish){ .service = SERVICE_SUBMISSIONS });
		long limit = rig_now() + 5000;
		int sent = 0;

		while (rig_now() < limit) {
			ssize_t n = gnutls_record_send(c.tls, piece, sizeof(piece));

			if (n < 0 && n != GNUTLS_E_AGAIN)
				break;
			if (n > 0 && ++sent == 30 && c.session->plain >= 0)
				plain_close(c.session);
			if (n == GNUTLS_E_AGAIN) {
				if (c.session->plain >= 0)
					plain_close(c.session);
				rig_nap();
			}
		}
		assert_true(rig_now() < limit);
		client_close(&c);
	}
	for (size_t i = 0; i < 4; i++)
		client_talk(&idle[i]);
	rig_until(rig_connections(&rig.worker[0]) == 4);
	for (size_t i = 0; i < 4; i++)
		client_close(&idle[i]);
	rig_until(rig_connections(&rig.worker[0]) == 0);
}

/* --- names --- */

/* A ClientHello of TLS 1.2 with the server name as it is, made by hand: no library would send
 * these. */
static size_t
hello_with_name(unsigned char *to, const char *name, size_t len)
{
	static const unsigned char front[] = { 0x16, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3 };
	static const unsigned char suites[] = { 0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0 };
	static const unsigned char rest[] = { 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0,
		0, 13, 0, 6, 0, 4, 4, 3, 4, 1, 0xff, 1, 0, 1, 0 };
	size_t at = 0, extensions = 9 + len + sizeof(rest);

	memcpy(to, front, sizeof(front));
	at += sizeof(front);
	memset(to + at, 'r', 32);
	at += 32;
	memcpy(to + at, suites, sizeof(suites));
	at += sizeof(suites);
	to[at++] = (unsigned char)(extensions >> 8);
	to[at++] = (unsigned char)extensions;
	to[at++] = 0, to[at++] = 0;
	to[at++] = (unsigned char)((len + 5) >> 8), to[at++] = (unsigned char)(len + 5);
	to[at++] = (unsigned char)((len + 3) >> 8), to[at++] = (unsigned char)(len + 3);
	to[at++] = 0;
	to[at++] = (unsigned char)(len >> 8), to[at++] = (unsigned char)len;
	memcpy(to + at, name, len);
	at += len;
	memcpy(to + at, rest, sizeof(rest));
	at += sizeof(rest);
	to[3] = (unsigned char)((at - 5) >> 8), to[4] = (unsigned char)(at - 5);
	to[7] = (unsigned char)((at - 9) >> 8), to[8] = (unsigned char)(at - 9);
	return at;
}

static void
t5_names_are_input(void **state)
{
	static char long_name[255];
	const struct {
		const char *at;
		size_t len;
	} names[] = {
		{ "localhost", 9 },
		{ "a\\\0", 3 },
		{ "../../x", 7 },
		{ "%s%n", 4 },
		{ "", 0 },
		{ "a..b", 4 },
		{ "\xff\xfe", 2 },
		{ "127.0.0.1", 9 },
		{ long_name, sizeof(long_name) },
	};

	(void)state;
	memset(long_name, 'a', sizeof(long_name));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct client c = client_connect(&(struct wish){ .service = SERVICE_IMAPS });
		unsigned char hello[512], got[16];
		size_t len = hello_with_name(hello, names[i].at, names[i].len);
		ssize_t n;

		assert_int_equal(send(c.fd, hello, len, MSG_NOSIGNAL), len);
		rig_until((n = recv(c.fd, got, sizeof(got), MSG_DONTWAIT)) >= 0);
		/* A ServerHello or an alert; silence or a broken worker would be wrong. */
		assert_true(n > 5 && (got[0] == 0x16 || got[0] == 0x15));
		if (i == 0)
			assert_int_equal(got[0], 0x16);
		client_close(&c);
	}
	/* What is no host name is nowhere repeated. */
	struct client c = client_shake(
		&(struct wish){ .service = SERVICE_IMAPS, .sni = "127.0.0.1" });
	assert_true(!c.session->ready || c.session->sni[0] == '\0');
	client_close(&c);
}

/* --- stalled, restarted, reloaded --- */

static void
t7_unfinished_handshakes(void **state)
{
	struct client stalled[40], good;
	long begun;

	(void)state;
	for (size_t i = 0; i < 40; i++) {
		stalled[i] = client_connect(&(struct wish){ .service = SERVICE_IMAPS });
		assert_int_equal(
			send(stalled[i].fd, "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL), 6);
	}
	begun = rig_now();
	good = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	assert_true(good.session->ready);
	assert_true(rig_now() - begun < 1000);
	client_talk(&good);
	for (size_t i = 0; i < 40; i++) {
		rig_until(stalled[i].session->failed);
		assert_non_null(strstr(stalled[i].session->reason, "timeout"));
		client_close(&stalled[i]);
	}
	assert_true(rig_now() - begun < 4000);
	client_talk(&good);
	client_close(&good);
	rig_until(rig_connections(&rig.worker[0]) == 0);
}

/* Of one address, the oldest unfinished one gives way. */
static void
t7_too_many_of_one_address(void **state)
{
	struct client stalled[70], good;
	unsigned int refused = 0;

	(void)state;
	for (size_t i = 0; i < 70; i++)
		stalled[i] = client_connect(&(struct wish){ .service = SERVICE_IMAPS });
	good = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	assert_true(good.session->ready);
	for (size_t i = 0; i < 70; i++) {
		refused += stalled[i].session->failed;
		client_close(&stalled[i]);
	}
	assert_true(refused >= 6 && refused <= 8);
	assert_true(stalled[0].session->failed);
	client_close(&good);
}

static void
key_process_dies(void **state)
{
	struct client live = client_shake(&(struct wish){ .service = SERVICE_IMAPS }), waits;
	struct wish wish = { .service = SERVICE_IMAPS };
	long begun;

	(void)state;
	client_talk(&live);
	kill(rig.key.pid, SIGKILL);
	waitpid(rig.key.pid, NULL, 0);
	rig_until(rig.key.control == NULL && rig.login_key == NULL);
	channel_free(&rig.key.log);
	begun = rig_now();
	waits = client_connect(&wish); /* the announcement goes nowhere */
	client_prepare(&waits, &wish);
	assert_int_equal(gnutls_handshake(waits.tls), GNUTLS_E_AGAIN);
	client_talk(&live);
	assert_false(waits.session->ready || waits.session->failed);
	rig_start_key(rig_both);
	rig_join_key();
	send_tls_expect(
		rig.login_key, waits.session->id, &(struct msg_tls_expect){ .worker = 0 }, NULL);
	client_handshake(&waits);
	assert_true(waits.session->ready);
	assert_true(rig_now() - begun < 2000);
	client_talk(&waits);
	client_talk(&live);
	client_close(&waits);
	client_close(&live);
}

static void
rig_reload(const char *const *names, bool good)
{
	struct rig_process *all[] = { &rig.key, &rig.worker[0], &rig.worker[1] };
	uint32_t generation = ++rig.settings.generation;

	for (size_t i = 0; i < 3; i++)
		rig_offer(all[i], names);
	for (size_t i = 0; i < 3; i++)
		rig_until(all[i]->ready == generation || all[i]->refused == generation);
	for (size_t i = 0; good && i < 3; i++)
		if (all[i]->ready != generation)
			fail_msg("refused: %s", all[i]->reason);
	for (size_t i = 0; i < 3; i++) {
		all[i]->ready = all[i]->refused = 0;
		if (good) {
			send_settings_swap(all[i]->control, 0,
				&(struct msg_settings_swap){ .generation = generation }, NULL);
		} else {
			send_settings_drop(all[i]->control, 0,
				&(struct msg_settings_drop){ .generation = generation }, NULL);
		}
	}
	if (!good)
		rig.settings.generation--; /* as master: the number is offered again */
}

static bool
shows_host(struct client *c, const char *host)
{
	unsigned int count = 0;
	const gnutls_datum_t *der = gnutls_certificate_get_peers(c->tls, &count);
	gnutls_x509_crt_t crt;
	bool shows;

	assert_true(count > 0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER), 0);
	shows = gnutls_x509_crt_check_hostname(crt, host) != 0;
	gnutls_x509_crt_deinit(crt);
	return shows;
}

static void
reload_changes_new_connections_only(void **state)
{
	static const char *const other[] = { "other", NULL }, *const small[] = { "small", NULL },
		*const mixed[] = { "mixed", NULL };
	struct client live[20], c;
	char path[2][128];

	(void)state;
	rig_make_pair("other", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1),
		"new.example.org");
	rig_make_pair("small", GNUTLS_PK_RSA, 1024, "small.example.org");
	rig_make_pair("mixed", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
		"mixed.example.org");
	snprintf(path[0], sizeof(path[0]), "%s/other.key", rig.directory);
	snprintf(path[1], sizeof(path[1]), "%s/mixed.key", rig.directory);
	unlink(path[1]);
	assert_int_equal(link(path[0], path[1]), 0); /* the key of another certificate */
	for (size_t i = 0; i < 20; i++) {
		live[i] = client_shake(&(struct wish){ .service = SERVICE_IMAPS, .worker = i % 2 });
		assert_true(live[i].session->ready);
	}
	rig_reload(small, false);
	assert_string_equal(rig.key.reason, "the RSA key has 1024 bits, at least 2048 are needed");
	rig_reload(mixed, false);
	assert_string_equal(rig.key.reason, "the key does not belong to the certificate");
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	assert_true(c.session->ready && shows_host(&c, "mail.example.org"));
	client_close(&c);
	rig_reload(other, true);
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	assert_true(c.session->ready);
	assert_true(shows_host(&c, "new.example.org"));
	client_talk(&c);
	client_close(&c);
	for (size_t i = 0; i < 20; i++) {
		client_talk(&live[i]);
		client_close(&live[i]);
	}
}

static void
names_choose_the_certificate(void **state)
{
	struct client c = client_shake(
		&(struct wish){ .service = SERVICE_IMAPS, .sni = "rsa.example.org" });

	(void)state;
	assert_true(c.session->ready);
	assert_true(shows_host(&c, "rsa.example.org"));
	client_close(&c);
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS, .sni = "unknown.example.org" });
	assert_true(c.session->ready);
	client_close(&c);
}

/* Limits and passport go by the address that a proxy told; what is no address is not believed. */
static void
a_proxy_tells_the_address(void **state)
{
	static const struct {
		const char *told, *ip, *via;
	} rows[] = {
		{ "192.0.2.7", "192.0.2.7", "127.0.0.1" },
		{ "2001:db8::7", "2001:db8::7", "127.0.0.1" },
		{ "127.0.0.1", "127.0.0.1", "" },
		{ "", "127.0.0.1", "" },
		{ "local", "127.0.0.1", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct client c = client_shake(
			&(struct wish){ .service = SERVICE_IMAPS, .told_ip = rows[i].told });
		struct passport p;

		assert_true(c.session->ready);
		assert_true(passport_open(rig.passport_key,
			span_of(c.session->sealed, c.session->sealed_len), &p));
		assert_true(span_equal(p.ip, span_str(rows[i].ip)));
		assert_true(span_equal(p.via, span_str(rows[i].via)));
		client_close(&c);
	}
}

/* Several certificates: by name, wildcard, default name, and by what the client can verify. */
static void
certificates_by_name_and_ability(void **state)
{
	static const char *const all[] = { "server", "rsa", "other", "mixed", "small", NULL };
	static const struct {
		enum service service;
		const char *sni, *priorities, *shows;
	} rows[] = {
		{ SERVICE_IMAPS, "rsa.example.org", NULL, "rsa.example.org" },
		{ SERVICE_IMAPS, "RSA.Example.ORG", NULL, "rsa.example.org" },
		{ SERVICE_IMAPS, "both.example.net", NULL, "both.example.net" },
		{ SERVICE_IMAPS, "a.wild.example", NULL, "a.wild.example" },
		{ SERVICE_IMAPS, "a.b.wild.example", NULL, "mail.example.org" },
		{ SERVICE_IMAPS, "wild.example", NULL, "mail.example.org" },
		{ SERVICE_IMAPS, "unknown.example", NULL, "mail.example.org" },
		{ SERVICE_IMAPS, NULL, NULL, "mail.example.org" },
		{ SERVICE_SUBMISSIONS, NULL, NULL, "both.example.net" },
		{ SERVICE_SUBMISSIONS, "unknown.example", NULL, "both.example.net" },
		{ SERVICE_SUBMISSIONS, "mail.example.org", NULL, "mail.example.org" },
		{ SERVICE_IMAPS, NULL, ONLY_12 RSA_ONLY, "rsa.example.org" },
		{ SERVICE_IMAPS, "both.example.net", ONLY_13 ":-SIGN-ALL:+SIGN-EDDSA-ED25519",
			"both.example.net" },
		{ SERVICE_IMAPS, "both.example.net", ONLY_12 ":-SIGN-ALL:+SIGN-ECDSA-SHA256",
			"both.example.net" },
		{ SERVICE_IMAPS, "both.example.net", ONLY_12 ":-SIGN-ALL:+SIGN-EDDSA-ED25519",
			"both.example.net" },
		{ SERVICE_IMAPS, "both.example.net",
			ONLY_12 ":-SIGN-ALL:+SIGN-EDDSA-ED25519:-GROUP-ALL:+GROUP-SECP384R1",
			"both.example.net" },
	};
	static const gnutls_pk_algorithm_t kinds[] = { [0] = GNUTLS_PK_ECDSA,
		[2] = GNUTLS_PK_ECDSA, [12] = GNUTLS_PK_EDDSA_ED25519, [13] = GNUTLS_PK_ECDSA,
		[14] = GNUTLS_PK_EDDSA_ED25519, [15] = GNUTLS_PK_EDDSA_ED25519 };
	struct span defaults[] = { SPAN("submissions=both.example.net") };

	(void)state;
	rig_make_pair("other", GNUTLS_PK_EDDSA_ED25519, 256, "both.example.net");
	rig_make_pair("mixed", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
		"both.example.net");
	rig_make_pair("small", GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1),
		"*.wild.example");
	rig.settings.tls_default = (struct list){ defaults, 1 };
	rig_reload(all, true);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wish wish = { .service = rows[i].service, .sni = rows[i].sni,
			.priorities = rows[i].priorities, .worker = i % 2 };
		struct client c = client_shake(&wish);

		if (!c.session->ready || !shows_host(&c, rows[i].shows))
			fail_msg("row %zu: %s", i, c.session->reason);
		if (i < sizeof(kinds) / sizeof(kinds[0]) && kinds[i] == GNUTLS_PK_EDDSA_ED25519)
			assert_int_equal(gnutls_sign_algorithm_get(c.tls), GNUTLS_SIGN_EDDSA_ED25519);
		client_close(&c);
	}
	rig.settings.tls_default = (struct list){ NULL, 0 };
}

static void
priorities_are_settable_but_not_weak(void **state)
{
	static const struct {
		const char *priorities, *reason;
	} rows[] = {
		{ "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL },
		{ "NORMAL", "TLS1.1" },
		{ "NORMAL:-VERS-ALL:+VERS-TLS1.2", "authenticated" },
		{ "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM", "forward secrecy" },
		{ "NORMAL:-VERS-ALL", "insufficient" },
		{ "NORMAL:+NONSENSE", "NONSENSE" },
		{ "SECURE256:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM:-KX-ALL:+ECDHE-ECDSA:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1",
			NULL },
	};
	struct client c;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig.settings.tls_priorities = span_str(rows[i].priorities);
		if (rows[i].reason == NULL) {
			rig_reload(rig_both, true);
			continue;
		}
		rig_reload(rig_both, false);
		if (strstr(rig.worker[0].reason, rows[i].reason) == NULL)
			fail_msg("%s: %s", rows[i].priorities, rig.worker[0].reason);
	}
	/* The last good one is in force: TLS 1.2 alone. */
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS, .priorities = ONLY_13 });
	assert_true(c.session->failed);
	client_close(&c);
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	assert_true(c.session->ready);
	assert_string_equal(c.session->version, "TLS1.2");
	client_close(&c);
	rig.settings.tls_priorities = SPAN_NONE;
}

/* --- clients with certificates --- */

/* A person's certificate, of the rig's authority or of nobody. */
static void
use_certificate(struct client *c, const char *mail, bool ours, const char *purpose, int days,
	unsigned char serial)
{
	gnutls_x509_privkey_t key, ca_key;
	gnutls_x509_crt_t crt, ca;
	struct text pem = TEXT_UP_TO(65536), why = TEXT_UP_TO(100);
	gnutls_datum_t d;
	int fd;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, 256, 0), 0);
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_serial(crt, &serial, 1);
	gnutls_x509_crt_set_activation_time(crt, time(NULL) - 86400 * 20);
	gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 86400 * days);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_dn(crt, "CN=Ana,O=Example", NULL);
	gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_RFC822NAME, mail,
		(unsigned int)strlen(mail), GNUTLS_FSAN_APPEND);
	gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_RFC822NAME, "a,b@example.org", 15,
		GNUTLS_FSAN_APPEND);
	gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	gnutls_x509_crt_set_key_purpose_oid(crt, purpose, 0);
	gnutls_x509_crt_init(&ca);
	gnutls_x509_privkey_init(&ca_key);
	fd = rig_file("ca.crt");
	assert_int_equal(chain_read_file(fd, "", 65536, &pem, &why), 0);
	close(fd);
	d = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	assert_int_equal(gnutls_x509_crt_import(ca, &d, GNUTLS_X509_FMT_PEM), 0);
	text_clear(&pem);
	fd = rig_file("ca.key");
	assert_int_equal(chain_read_file(fd, "", 65536, &pem, &why), 0);
	close(fd);
	d = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	assert_int_equal(gnutls_x509_privkey_import2(ca_key, &d, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
	text_clear(&pem);
	assert_int_equal(gnutls_x509_crt_sign2(crt, ours ? ca : crt, ours ? ca_key : key,
		GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_certificate_set_x509_key(c->trust, &crt, 1, key), 0);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_privkey_deinit(ca_key);
	text_clear(&why);
}

/* Serial 66 is revoked. */
static void
write_revocation_list(void)
{
	struct text pem = TEXT_UP_TO(65536), why = TEXT_UP_TO(100);
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t ca;
	gnutls_x509_crl_t crl;
	gnutls_datum_t d;
	int fd = rig_file("ca.crt");

	gnutls_x509_crt_init(&ca);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_crl_init(&crl);
	assert_int_equal(chain_read_file(fd, "", 65536, &pem, &why), 0);
	close(fd);
	d = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	assert_int_equal(gnutls_x509_crt_import(ca, &d, GNUTLS_X509_FMT_PEM), 0);
	text_clear(&pem);
	fd = rig_file("ca.key");
	assert_int_equal(chain_read_file(fd, "", 65536, &pem, &why), 0);
	close(fd);
	d = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	assert_int_equal(gnutls_x509_privkey_import2(key, &d, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
	text_clear(&pem);
	gnutls_x509_crl_set_version(crl, 2);
	gnutls_x509_crl_set_this_update(crl, time(NULL) - 100);
	gnutls_x509_crl_set_next_update(crl, time(NULL) + 86400);
	gnutls_x509_crl_set_number(crl, "\1", 1);
	gnutls_x509_crl_set_crt_serial(crl, "\x42", 1, time(NULL) - 100);
	assert_int_equal(gnutls_x509_crl_sign2(crl, ca, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &d), 0);
	rig_write("revoked.crl", &d);
	gnutls_free(d.data);
	gnutls_x509_crl_deinit(crl);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_privkey_deinit(key);
	text_clear(&why);
}

static struct client
shake_as(const char *mail, bool ours, const char *purpose, int days, unsigned char serial,
	enum service service)
{
	struct wish wish = { .service = service };
	struct client c = client_connect(&wish);

	client_prepare(&c, &wish);
	if (mail != NULL)
		use_certificate(&c, mail, ours, purpose, days, serial);
	client_handshake(&c);
	return c;
}

static void
clients_show_certificates(void **state)
{
	static const struct {
		const char *mail;
		bool ours;
		const char *purpose;
		int days;
		unsigned char serial;
		bool valid;
		const char *log;
	} rows[] = {
		{ "Ana@Example.ORG", true, GNUTLS_KP_TLS_WWW_CLIENT, 5, 7, true, "valid=yes" },
		{ "ana@example.org", false, GNUTLS_KP_TLS_WWW_CLIENT, 5, 7, false,
			"no trusted authority issued it" },
		{ "ana@example.org", true, GNUTLS_KP_TLS_WWW_CLIENT, -5, 7, false, "it has expired" },
		{ "ana@example.org", true, GNUTLS_KP_CODE_SIGNING, 5, 7, false, "not for TLS clients" },
		{ "ana@example.org", true, GNUTLS_KP_TLS_WWW_CLIENT, 5, 66, false, "it is revoked" },
	};
	struct span asking[] = { SPAN("imaps") };
	struct client c;
	struct passport p;

	(void)state;
	write_revocation_list();
	rig.client_ca = "ca.crt";
	rig.client_crl = "revoked.crl";
	rig.settings.tls_client_services = (struct list){ asking, 1 };
	rig_reload(rig_both, true);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		text_reset(&rig.log_text);
		c = shake_as(rows[i].mail, rows[i].ours, rows[i].purpose, rows[i].days, rows[i].serial,
			SERVICE_IMAPS);
		assert_true(c.session->ready);
		assert_true(passport_open(rig.passport_key,
			span_of(c.session->sealed, c.session->sealed_len), &p));
		if (p.certificate_valid != rows[i].valid)
			fail_msg("row %zu: %s", i, text_str(&rig.log_text));
		assert_int_equal(p.certificate_hash.len, 32);
		assert_int_equal(p.certificate_key.len, 32);
		assert_true(span_find(p.certificate_subject, SPAN("CN=Ana")) < p.certificate_subject.len);
		/* The address with a comma is left out. */
		assert_true(span_equal_nocase(p.certificate_mail, SPAN("ana@example.org")));
		rig_until(strstr(text_str(&rig.log_text), rows[i].log) != NULL);
		client_close(&c);
	}
	c = shake_as(NULL, false, NULL, 0, 0, SERVICE_IMAPS);
	assert_true(c.session->ready);
	assert_true(passport_open(
		rig.passport_key, span_of(c.session->sealed, c.session->sealed_len), &p));
	assert_false(p.certificate_valid);
	assert_int_equal(p.certificate_hash.len, 0);
	client_close(&c);
	/* A service that does not ask hears of none. */
	c = shake_as("ana@example.org", true, GNUTLS_KP_TLS_WWW_CLIENT, 5, 7, SERVICE_SUBMISSIONS);
	assert_true(c.session->ready);
	assert_true(passport_open(
		rig.passport_key, span_of(c.session->sealed, c.session->sealed_len), &p));
	assert_false(p.certificate_valid);
	client_close(&c);
	/* And where one is required, nobody comes in without. */
	rig.settings.tls_client_required = true;
	rig_reload(rig_both, true);
	c = shake_as(NULL, false, NULL, 0, 0, SERVICE_IMAPS);
	assert_true(c.session->failed);
	assert_string_equal(c.session->reason, "client shows no certificate");
	client_close(&c);
	c = shake_as("ana@example.org", true, GNUTLS_KP_TLS_WWW_CLIENT, 5, 66, SERVICE_IMAPS);
	assert_true(c.session->failed);
	assert_string_equal(c.session->reason, "client's certificate: it is revoked");
	client_close(&c);
	c = shake_as("ana@example.org", true, GNUTLS_KP_TLS_WWW_CLIENT, 5, 7, SERVICE_IMAPS);
	assert_true(c.session->ready);
	client_talk(&c);
	client_close(&c);
	rig.settings.tls_client_required = false;
	rig.settings.tls_client_services = (struct list){ NULL, 0 };
}

/* A ticket does not carry a verdict over: the certificate is judged again. */
static void
a_ticket_outlives_no_revocation(void **state)
{
	struct span asking[] = { SPAN("imaps") };
	struct wish wish = { .service = SERVICE_IMAPS };
	struct client c;
	struct passport p;
	gnutls_datum_t ticket;

	(void)state;
	write_revocation_list();
	rig.client_ca = "ca.crt";
	rig.settings.tls_client_services = (struct list){ asking, 1 };
	rig_reload(rig_both, true);
	c = shake_as("ana@example.org", true, GNUTLS_KP_TLS_WWW_CLIENT, 5, 66, SERVICE_IMAPS);
	ticket = take_ticket(&c);
	client_close(&c);
	rig.client_crl = "revoked.crl";
	rig_reload(rig_both, true);
	wish.resume = &ticket;
	c = client_shake(&wish);
	assert_true(c.session->ready);
	assert_true(passport_open(
		rig.passport_key, span_of(c.session->sealed, c.session->sealed_len), &p));
	assert_false(p.certificate_valid);
	client_close(&c);
	gnutls_free(ticket.data);
	rig.settings.tls_client_services = (struct list){ NULL, 0 };
}

static void
front_end_cannot_claim_another_service(void **state)
{
	struct client c = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	struct rig_session *s = &rig.session[rig.sessions++];
	int server;

	(void)state;
	assert_int_equal(connect(c.fd, (struct sockaddr *)&rig.at, sizeof(rig.at)), 0);
	server = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC);
	*s = (struct rig_session){ .id = id_new(), .plain = -1 };
	send_tls_start(
		rig.smtpd[0], s->id, &(struct msg_tls_start){ .service = SERVICE_IMAPS }, &server);
	rig_until(s->failed);
	assert_string_equal(s->reason, "the service is not one of this front end");
	close(c.fd);
}

/* An smtpd that has much mail signed, or belongs to an enemy, holds up no handshake: not even when tls-key looks at all
 * announcements, for a session that nobody announced. Its mail is signed all the same, up to a bound. */
static void
handshakes_go_before_mail(void **state)
{
	static struct span entries[] = { { (const unsigned char *)"example.org:s", 13 } };
	enum { MAIL = 1200 };
	struct client c;
	long begun;

	(void)state;
	rig_make_pair("mail", GNUTLS_PK_RSA, 3072, "example.org");
	rig.mail_key = "mail.key";
	rig.settings.dkim = (struct list){ entries, 1 };
	rig_reload(rig_both, true);
	rig.mail_signed = rig.mail_refused = 0;
	for (unsigned int i = 0; i < MAIL; i++)
		assert_true(send_dkim_ask(rig.smtpd_key, id_new(), &(struct msg_dkim_ask){
			.domain = SPAN("example.org"), .selector = SPAN("s"),
			.digest = SPAN("01234567890123456789012345678901") }, NULL));
	begun = rig_now();
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS, .unannounced = true });
	assert_non_null(strstr(c.session->reason, "nobody announced"));
	client_close(&c);
	c = client_shake(&(struct wish){ .service = SERVICE_IMAPS });
	assert_true(c.session->ready);
	print_message("%ld ms for two handshakes, after %u of %u signatures\n", rig_now() - begun, rig.mail_signed, MAIL);
	assert_true(rig_now() - begun < 1500);
	client_close(&c);
	for (long limit = rig_now() + 60000; rig.mail_signed + rig.mail_refused < MAIL && rig_now() < limit;)
		rig_nap();
	assert_int_equal(rig.mail_signed, MAIL);
	rig.mail_key = NULL;
	rig.settings.dkim = (struct list){ NULL, 0 };
}

/* 100 requests to renegotiate: refused, and the connection ends. */
static void
renegotiation_is_refused(void **state)
{
	struct client c = client_shake(
		&(struct wish){ .service = SERVICE_IMAPS, .priorities = ONLY_12 });
	int error = 0;

	(void)state;
	assert_true(c.session->ready);
	for (int i = 0; i < 3000 && (error == 0 || gnutls_error_is_fatal(error) == 0); i++) {
		error = gnutls_handshake(c.tls);
		assert_true(error != 0);
		if (error == GNUTLS_E_WARNING_ALERT_RECEIVED)
			assert_int_equal(gnutls_alert_get(c.tls), GNUTLS_A_NO_RENEGOTIATION);
		rig_nap();
	}
	client_close(&c);
}

int
main(void)
{
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		RIG_TEST(handshakes_and_data),
		RIG_TEST(certificate_verifies_by_our_authority),
		RIG_TEST(passport_tells_what_was_seen),
		RIG_TEST(bulk_goes_both_ways),
		RIG_TEST(records_of_every_kind),
		RIG_TEST(data_comes_with_the_handshake),
		RIG_TEST(back_pressure_on_the_front_end),
		RIG_TEST(back_pressure_on_the_client),
		RIG_TEST(many_that_do_not_read),
		RIG_TEST(half_closed_by_the_front_end),
		RIG_TEST(t6_tickets),
		RIG_TEST(t6_wrong_protocol),
		RIG_TEST(old_and_weak_is_refused),
		RIG_TEST(captured_worker_gets_one_signature),
		RIG_TEST(unannounced_session_fails),
		RIG_TEST(t3_clear_bytes_after_the_end),
		RIG_TEST(broken_record_ends_both_ways),
		RIG_TEST(front_end_closes_first),
		RIG_TEST(last_words_go_with_the_end),
		RIG_TEST(t4_front_end_dies_in_upload),
		RIG_TEST(t5_names_are_input),
		RIG_TEST(t7_unfinished_handshakes),
		RIG_TEST(t7_too_many_of_one_address),
		RIG_TEST(key_process_dies),
		RIG_TEST(reload_changes_new_connections_only),
		RIG_TEST(names_choose_the_certificate),
		RIG_TEST(a_proxy_tells_the_address),
		RIG_TEST(certificates_by_name_and_ability),
		RIG_TEST(priorities_are_settable_but_not_weak),
		RIG_TEST(clients_show_certificates),
		RIG_TEST(a_ticket_outlives_no_revocation),
		RIG_TEST(front_end_cannot_claim_another_service),
		RIG_TEST(handshakes_go_before_mail),
		RIG_TEST(renegotiation_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
