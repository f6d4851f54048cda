/*
 * The client's part of a TLS worker: relay's connections to other servers, which the test plays, with
 * certificates that are right, wrong, expired, of nobody, and TLSA records for them.
 */
#include "tlsproxy_rig.h"

#include <gnutls/crypto.h>

#include "tlsproxy/chain.h"
#include "tlsproxy/dane.h"

/* --- certificates --- */

struct pair {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

struct kind {
	const char *host;             /* of the subject alternative name; NULL: none */
	const char *common_name;
	bool authority;
	int from_days, to_days;       /* from now */
};

static struct pair authority, root, between, other_authority;

static struct pair
pair_new(const struct kind *k, const struct pair *issuer)
{
	static unsigned char serial;
	struct pair p;

	serial++;
	assert_int_equal(gnutls_x509_privkey_init(&p.key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(p.key, GNUTLS_PK_ECDSA,
		GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
	assert_int_equal(gnutls_x509_crt_init(&p.crt), 0);
	gnutls_x509_crt_set_version(p.crt, 3);
	gnutls_x509_crt_set_serial(p.crt, &serial, 1);
	gnutls_x509_crt_set_activation_time(p.crt, time(NULL) + 86400 * k->from_days);
	gnutls_x509_crt_set_expiration_time(p.crt, time(NULL) + 86400 * k->to_days);
	gnutls_x509_crt_set_key(p.crt, p.key);
	gnutls_x509_crt_set_dn_by_oid(p.crt, GNUTLS_OID_X520_COMMON_NAME, 0, k->common_name,
		(unsigned int)strlen(k->common_name));
	if (k->host != NULL)
		gnutls_x509_crt_set_subject_alt_name(p.crt, GNUTLS_SAN_DNSNAME, k->host,
			(unsigned int)strlen(k->host), GNUTLS_FSAN_SET);
	gnutls_x509_crt_set_basic_constraints(p.crt, k->authority, -1);
	gnutls_x509_crt_set_key_usage(p.crt,
		k->authority ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE);
	assert_int_equal(gnutls_x509_crt_sign2(p.crt, issuer ? issuer->crt : p.crt,
		issuer ? issuer->key : p.key, GNUTLS_DIG_SHA256, 0), 0);
	return p;
}

static void
pair_free(struct pair *p)
{
	gnutls_x509_crt_deinit(p->crt);
	gnutls_x509_privkey_deinit(p->key);
}

static void
pair_load(struct pair *p, const char *name)
{
	struct text pem = TEXT_UP_TO(65536), why = TEXT_UP_TO(200);
	char file[32];
	gnutls_datum_t d;
	int fd;

	snprintf(file, sizeof(file), "%s.crt", name);
	fd = rig_file(file);
	assert_int_equal(chain_read_file(fd, name, 65536, &pem, &why), 0);
	close(fd);
	d = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	assert_int_equal(gnutls_x509_crt_init(&p->crt), 0);
	assert_int_equal(gnutls_x509_crt_import(p->crt, &d, GNUTLS_X509_FMT_PEM), 0);
	text_clear(&pem);
	snprintf(file, sizeof(file), "%s.key", name);
	fd = rig_file(file);
	assert_int_equal(chain_read_file(fd, name, 65536, &pem, &why), 0);
	close(fd);
	d = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
	assert_int_equal(gnutls_x509_privkey_init(&p->key), 0);
	assert_int_equal(gnutls_x509_privkey_import2(p->key, &d, GNUTLS_X509_FMT_PEM, NULL, 0), 0);
	text_clear(&pem);
	text_clear(&why);
}

static void
trust_too(const struct pair *p)
{
	char path[128];
	gnutls_datum_t pem;
	FILE *f;

	snprintf(path, sizeof(path), "%s/ca.crt", rig.directory);
	f = fopen(path, "a");
	assert_non_null(f);
	assert_int_equal(gnutls_x509_crt_export2(p->crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	assert_int_equal(fwrite(pem.data, 1, pem.size, f), pem.size);
	fclose(f);
	gnutls_free(pem.data);
}

static int
setup(void **state)
{
	int result = rig_setup(state);

	/* The authority of the rig may have none below it; this one may, and is trusted too. */
	pair_load(&authority, "ca");
	root = pair_new(&(struct kind){ .common_name = "root", .authority = true,
		.from_days = -1, .to_days = 90 }, NULL);
	trust_too(&root);
	between = pair_new(&(struct kind){ .common_name = "between", .authority = true,
		.from_days = -1, .to_days = 90 }, &root);
	other_authority = pair_new(&(struct kind){ .common_name = "nobody", .authority = true,
		.from_days = -1, .to_days = 90 }, NULL);
	return result;
}

static int
teardown(void **state)
{
	pair_free(&authority);
	pair_free(&root);
	pair_free(&between);
	pair_free(&other_authority);
	return rig_teardown(state);
}

/* --- TLSA records --- */

static void
add_tlsa(struct text *to, uint8_t usage, uint8_t selector, uint8_t matching, gnutls_x509_crt_t crt)
{
	gnutls_datum_t der;
	gnutls_pubkey_t key;
	unsigned char hash[64];
	uint16_t len;

	if (selector == 0) {
		assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der), 0);
	} else {
		assert_int_equal(gnutls_pubkey_init(&key), 0);
		assert_int_equal(gnutls_pubkey_import_x509(key, crt, 0), 0);
		assert_int_equal(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der), 0);
		gnutls_pubkey_deinit(key);
	}
	text_add_byte(to, usage);
	text_add_byte(to, selector);
	text_add_byte(to, matching);
	if (matching == 0) {
		len = (uint16_t)der.size;
		text_add(to, span_of(&len, 2));
		text_add(to, span_of(der.data, der.size));
	} else {
		len = matching == 1 ? 32 : 64;
		gnutls_hash_fast(matching == 1 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512, der.data,
			der.size, hash);
		text_add(to, span_of(&len, 2));
		text_add(to, span_of(hash, len));
	}
	gnutls_free(der.data);
}

/* --- a server --- */

struct server {
	int fd;
	gnutls_session_t tls;
	gnutls_certificate_credentials_t credentials;
	struct rig_session *session;
	const char *priorities;
	int error;
};

static struct rig_session *
ask(int fd, uint8_t level, const char *names, struct span tlsa)
{
	struct rig_session *s = &rig.session[rig.sessions++];
	struct span rest = span_str(names), first = rest;

	*s = (struct rig_session){ .id = id_new(), .plain = -1 };
	(void)span_take_until(&rest, ',', &first);
	assert_true(send_tls_connect(rig.relay[0], s->id, &(struct msg_tls_connect){ .level = level,
		.server_name = first, .names = span_str(names), .tlsa = tlsa }, &fd));
	return s;
}

static struct server
server_begin(uint8_t level, const char *names, struct span tlsa)
{
	int relay = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct server s = { .fd = -1, .priorities = "NORMAL" };

	assert_int_equal(connect(relay, (struct sockaddr *)&rig.at, sizeof(rig.at)), 0);
	s.fd = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(s.fd >= 0);
	s.session = ask(relay, level, names, tlsa);
	return s;
}

/* Serves with a chain: the first is its own. */
static void
server_shake(struct server *s, const struct pair *own, gnutls_x509_crt_t *more, unsigned int count)
{
	gnutls_x509_crt_t chain[4] = { own->crt };
	long limit = rig_now() + RIG_WAIT_MILLISECONDS;
	gnutls_pcert_st shown[4];
	gnutls_privkey_t key;

	for (unsigned int i = 0; i < count; i++)
		chain[i + 1] = more[i];
	assert_int_equal(gnutls_init(&s->tls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL), 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&s->credentials), 0);
	/* gnutls_certificate_set_x509_key would leave out what it finds useless. */
	assert_int_equal(gnutls_privkey_init(&key), 0);
	assert_int_equal(gnutls_privkey_import_x509(key, own->key, 0), 0);
	for (unsigned int i = 0; i <= count; i++)
		assert_int_equal(gnutls_pcert_import_x509(&shown[i], chain[i], 0), 0);
	assert_int_equal(gnutls_certificate_set_key(
		s->credentials, NULL, 0, shown, (int)count + 1, key), 0);
	gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, s->credentials);
	gnutls_priority_set_direct(s->tls, s->priorities, NULL);
	gnutls_transport_set_int(s->tls, s->fd);
	do {
		s->error = gnutls_handshake(s->tls);
		rig_nap();
		assert_true(rig_now() < limit);
	} while (s->error < 0 && gnutls_error_is_fatal(s->error) == 0);
	rig_until(s->session->ready || s->session->failed);
}

static void
server_end(struct server *s)
{
	if (s->tls != NULL)
		gnutls_deinit(s->tls);
	if (s->credentials != NULL)
		gnutls_certificate_free_credentials(s->credentials);
	close(s->fd);
	if (s->session->plain >= 0)
		plain_close(s->session);
}

#define NAMES "mx.example.net,example.net"
#define FAILS 9               /* instead of an enum tls_verified */

/* One handshake at one level with one server; what must come of it. */
static void
expect(uint8_t level, struct span tlsa, const struct pair *own, gnutls_x509_crt_t *more,
	unsigned int count, unsigned int outcome, const char *result)
{
	struct server s = server_begin(level, NAMES, tlsa);

	server_shake(&s, own, more, count);
	if (s.session->failed != (outcome == FAILS) ||
	    (outcome != FAILS && s.session->verified != outcome) ||
	    strcmp(s.session->result, result) != 0)
		fail_msg("%s, %u more: failed %d, verified %u, result \"%s\", reason \"%s\"", result, count, s.session->failed,
			s.session->verified, s.session->result, s.session->reason);
	assert_int_equal(s.session->reason[0] == '\0', result[0] == '\0');
	server_end(&s);
}

static const struct kind good = { "mx.example.net", "x", false, -1, 30 };

/* --- tests --- */

static void
data_goes_both_ways(void **state)
{
	struct pair own = pair_new(&good, &authority);
	struct server s = server_begin(TLS_PKI, NAMES, SPAN_NONE);
	char got[64], name[256];
	size_t len = sizeof(name);
	unsigned int type;
	ssize_t n;

	(void)state;
	server_shake(&s, &own, NULL, 0);
	assert_int_equal(s.error, 0);
	assert_true(s.session->ready);
	assert_int_equal(s.session->verified, TLS_VERIFIED_PKI);
	assert_string_equal(s.session->version, "TLS1.3");
	assert_int_equal(gnutls_server_name_get(s.tls, name, &len, &type, 0), 0);
	assert_string_equal(name, "mx.example.net");
	assert_int_equal(gnutls_record_send(s.tls, "220 hello", 9), 9);
	assert_int_equal(plain_receive(s.session, got, sizeof(got)), 9);
	assert_int_equal(send(s.session->plain, "EHLO", 4, MSG_NOSIGNAL), 4);
	for (long limit = rig_now() + 3000; (n = gnutls_record_recv(s.tls, got, sizeof(got))) ==
		GNUTLS_E_AGAIN && rig_now() < limit;)
		rig_nap();
	assert_int_equal(n, 4);
	/* T3: the end of TLS is the end; what follows in clear is nothing. */
	gnutls_bye(s.tls, GNUTLS_SHUT_WR);
	assert_int_equal(send(s.fd, "250 forged\r\n", 12, MSG_NOSIGNAL), 12);
	assert_int_equal(plain_receive(s.session, got, sizeof(got)), 0);
	server_end(&s);
	pair_free(&own);
	rig_until(rig_connections(&rig.worker[0]) == 0);
}

/* RFC 5246 7.4.1.1: a server that asks for another handshake is told that there will be none, and may go on
 * without; one that asks for ever loses us. */
static void
no_second_handshake(void **state)
{
	struct pair own = pair_new(&good, &authority);
	struct server s = server_begin(TLS_PKI, NAMES, SPAN_NONE);
	char got[64];
	int error = 0, asked = 0;

	(void)state;
	s.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.2";
	server_shake(&s, &own, NULL, 0);
	assert_string_equal(s.session->version, "TLS1.2");
	assert_int_equal(gnutls_rehandshake(s.tls), 0);
	assert_int_equal(gnutls_record_send(s.tls, "220 hello", 9), 9);
	assert_int_equal(plain_receive(s.session, got, sizeof(got)), 9);
	for (long limit = rig_now() + RIG_WAIT_MILLISECONDS; rig_now() < limit;) {
		if ((error = (int)gnutls_record_recv(s.tls, got, sizeof(got))) == GNUTLS_E_WARNING_ALERT_RECEIVED) {
			assert_int_equal(gnutls_alert_get(s.tls), GNUTLS_A_NO_RENEGOTIATION);
			asked++;
			(void)gnutls_rehandshake(s.tls);
		} else if (error != GNUTLS_E_AGAIN) {
			break;
		}
		rig_nap();
	}
	assert_int_equal(asked, 3);
	assert_true(error < 0 && gnutls_error_is_fatal(error));
	assert_int_equal(plain_receive(s.session, got, sizeof(got)), 0);
	server_end(&s);
	pair_free(&own);
}

static void
authorities_and_names(void **state)
{
	static const struct {
		struct kind kind;
		const char *result;
	} rows[] = {
		{ { "mx.example.net", "x", false, -1, 30 }, "" },
		{ { "*.example.net", "x", false, -1, 30 }, "" },
		{ { "example.net", "x", false, -1, 30 }, "" },
		{ { "*.net", "x", false, -1, 30 }, "certificate-host-mismatch" },
		{ { "mx.example.org", "mx.example.net", false, -1, 30 }, "certificate-host-mismatch" },
		{ { NULL, "mx.example.net", false, -1, 30 }, "certificate-host-mismatch" },
		{ { "mx.example.net", "x", false, -30, -1 }, "certificate-expired" },
		{ { "mx.example.net", "x", false, 1, 30 }, "validation-failure" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair own = pair_new(&rows[i].kind, &authority);
		bool right = rows[i].result[0] == '\0';

		expect(TLS_PKI, SPAN_NONE, &own, NULL, 0, right ? TLS_VERIFIED_PKI : FAILS,
			rows[i].result);
		/* At TLS_MAY the mail goes on, and the fault is told. */
		expect(TLS_MAY, SPAN_NONE, &own, NULL, 0,
			right ? TLS_VERIFIED_PKI : TLS_VERIFIED_NO, rows[i].result);
		pair_free(&own);
	}
}

static void
chains_lead_to_an_authority_or_not(void **state)
{
	struct pair below = pair_new(&good, &between), nobody = pair_new(&good, &other_authority),
		    alone = pair_new(&good, NULL);

	(void)state;
	expect(TLS_PKI, SPAN_NONE, &below, &between.crt, 1, TLS_VERIFIED_PKI, "");
	expect(TLS_PKI, SPAN_NONE, &below, NULL, 0, FAILS, "certificate-not-trusted");
	expect(TLS_PKI, SPAN_NONE, &nobody, &other_authority.crt, 1, FAILS,
		"certificate-not-trusted");
	expect(TLS_PKI, SPAN_NONE, &alone, NULL, 0, FAILS, "certificate-not-trusted");
	expect(TLS_MAY, SPAN_NONE, &alone, NULL, 0, TLS_VERIFIED_NO, "certificate-not-trusted");
	pair_free(&below);
	pair_free(&nobody);
	pair_free(&alone);
}

static void
dane_end_entity(void **state)
{
	/* RFC 7672 3.1.1: name and dates of the certificate do not matter. */
	struct pair own = pair_new(&(struct kind){ "else.example", "y", false, -30, -1 }, NULL),
		    other = pair_new(&good, NULL);

	(void)state;
	for (uint8_t selector = 0; selector < 2; selector++) {
		for (uint8_t matching = 0; matching < 3; matching++) {
			struct text list = TEXT_UP_TO(8192);

			add_tlsa(&list, 3, selector, matching, other.crt);
			expect(TLS_DANE, text_span(&list), &own, NULL, 0, FAILS, "validation-failure");
			/* A key that is to come may stand beside it. */
			add_tlsa(&list, 3, selector, matching, own.crt);
			expect(TLS_DANE, text_span(&list), &own, NULL, 0, TLS_VERIFIED_DANE, "");
			text_clear(&list);
		}
	}
	pair_free(&own);
	pair_free(&other);
}

static void
dane_trust_anchor(void **state)
{
	struct pair signer = pair_new(&(struct kind){ NULL, "signer", true, -1, 30 }, &other_authority),
		    own = pair_new(&good, &signer),
		    named = pair_new(&(struct kind){ NULL, "example.net", false, -1, 30 }, &signer),
		    wrong = pair_new(&(struct kind){ "else.example", "y", false, -1, 30 }, &signer),
		    expired = pair_new(&(struct kind){ "mx.example.net", "y", false, -30, -1 }, &signer),
		    forged = pair_new(&good, &authority);
	gnutls_x509_crt_t both[] = { signer.crt, other_authority.crt };
	struct text list = TEXT_UP_TO(8192), whole = TEXT_UP_TO(8192), leaf = TEXT_UP_TO(8192);

	(void)state;
	add_tlsa(&list, 2, 1, 1, signer.crt);
	add_tlsa(&whole, 2, 0, 0, other_authority.crt);
	add_tlsa(&leaf, 2, 1, 1, own.crt);
	expect(TLS_DANE, text_span(&list), &own, both, 2, TLS_VERIFIED_DANE, "");
	expect(TLS_DANE, text_span(&list), &own, both, 1, TLS_VERIFIED_DANE, "");
	expect(TLS_DANE, text_span(&list), &named, both, 1, TLS_VERIFIED_DANE, "");
	expect(TLS_DANE, text_span(&list), &own, NULL, 0, FAILS, "validation-failure");
	expect(TLS_DANE, text_span(&list), &wrong, both, 2, FAILS, "certificate-host-mismatch");
	expect(TLS_DANE, text_span(&list), &expired, both, 2, FAILS, "certificate-expired");
	/* The anchor is shown, but did not sign. */
	expect(TLS_DANE, text_span(&list), &forged, both, 1, FAILS, "certificate-not-trusted");
	/* It stands in the record and is not shown. */
	expect(TLS_DANE, text_span(&whole), &own, both, 1, TLS_VERIFIED_DANE, "");
	expect(TLS_DANE, text_span(&whole), &forged, both, 1, FAILS, "certificate-not-trusted");
	/* A server's own certificate is nobody's authority. */
	expect(TLS_DANE, text_span(&leaf), &own, both, 2, FAILS, "validation-failure");
	text_clear(&list);
	text_clear(&whole);
	text_clear(&leaf);
	pair_free(&signer);
	pair_free(&own);
	pair_free(&named);
	pair_free(&wrong);
	pair_free(&expired);
	pair_free(&forged);
}

static void
dane_unusable_records(void **state)
{
	struct pair own = pair_new(&good, NULL), other = pair_new(&good, NULL);
	struct text list = TEXT_UP_TO(8192);

	(void)state;
	/* RFC 7672 3.1.3 and 2.2: encrypted, but nobody is verified. */
	add_tlsa(&list, 0, 1, 1, own.crt);
	add_tlsa(&list, 1, 1, 1, own.crt);
	text_add(&list, span_of("\3\1\1\4\0abcd", 9));       /* not a hash of SHA-256 */
	text_add(&list, span_of("\3\1\7\4\0abcd", 9));
	text_add(&list, span_of("\3\5\1\0\0", 5));
	text_add(&list, span_of("\3\1\0\0\0", 5));
	expect(TLS_DANE, text_span(&list), &own, NULL, 0, TLS_VERIFIED_NO, "tlsa-invalid");
	expect(TLS_DANE, SPAN_NONE, &own, NULL, 0, TLS_VERIFIED_NO, "tlsa-invalid");
	/* One that is usable decides. */
	add_tlsa(&list, 3, 1, 1, other.crt);
	expect(TLS_DANE, text_span(&list), &own, NULL, 0, FAILS, "validation-failure");
	text_reset(&list);
	/* RFC 7671 section 9: SHA-256 fits, but is not looked at beside SHA-512. */
	add_tlsa(&list, 3, 1, 1, own.crt);
	add_tlsa(&list, 3, 1, 2, other.crt);
	expect(TLS_DANE, text_span(&list), &own, NULL, 0, FAILS, "validation-failure");
	text_clear(&list);
	pair_free(&own);
	pair_free(&other);
}

static void
nonsense_is_refused(void **state)
{
	static const struct {
		uint8_t level;
		const char *names;
		struct span tlsa;
		const char *reason;
	} rows[] = {
		{ 3, NAMES, { NULL, 0 }, "level" },
		{ TLS_DANE, NAMES, { (const unsigned char *)"\3\1\1\x20\0a", 6 }, "cut short" },
		{ TLS_DANE, NAMES, { (const unsigned char *)"\3\1\1", 3 }, "cut short" },
		{ TLS_PKI, "", { NULL, 0 }, "no name" },
		{ TLS_MAY, "a b", { NULL, 0 }, "no host name" },
		{ TLS_PKI, "a.example,,b.example", { NULL, 0 }, "no host name" },
		{ TLS_PKI, "127.0.0.1", { NULL, 0 }, "no host name" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct server s = server_begin(rows[i].level, rows[i].names, rows[i].tlsa);

		rig_until(s.session->failed || s.session->ready);
		assert_true(s.session->failed);
		assert_non_null(strstr(s.session->reason, rows[i].reason));
		server_end(&s);
	}
	rig_until(rig_connections(&rig.worker[0]) == 0);
}

static void
servers_that_do_not_shake_hands(void **state)
{
	struct server s = server_begin(TLS_MAY, NAMES, SPAN_NONE);

	(void)state;
	close(s.fd);
	rig_until(s.session->failed);
	assert_string_equal(s.session->reason, "server closed during handshake");
	s = server_begin(TLS_MAY, NAMES, SPAN_NONE);
	assert_int_equal(send(s.fd, "220 I speak no TLS\r\n", 20, MSG_NOSIGNAL), 20);
	rig_until(s.session->failed);
	assert_string_equal(s.session->reason, "server does not speak TLS, or not correctly");
	assert_string_equal(s.session->result, "validation-failure");
	server_end(&s);
	s = server_begin(TLS_MAY, NAMES, SPAN_NONE);   /* says nothing */
	rig_until(s.session->failed);
	assert_string_equal(s.session->reason, "handshake timeout");
	server_end(&s);
}

static void
it_needs_no_key_process(void **state)
{
	struct pair own = pair_new(&good, &authority);

	(void)state;
	kill(rig.key.pid, SIGKILL);
	waitpid(rig.key.pid, NULL, 0);
	rig_until(rig.key.control == NULL && rig.login_key == NULL);
	channel_free(&rig.key.log);
	expect(TLS_PKI, SPAN_NONE, &own, NULL, 0, TLS_VERIFIED_PKI, "");
	pair_free(&own);
	rig_start_key(rig_both);
	rig_join_key();
}

/* Stalled handshakes of clients at our door make no outgoing one give way, nor the other way round. */
static void
doors_do_not_mind_each_other(void **state)
{
	struct pair own = pair_new(&good, &authority);
	struct server first = server_begin(TLS_PKI, NAMES, SPAN_NONE);
	struct client stalled[70];

	(void)state;
	for (size_t i = 0; i < 70; i++)
		stalled[i] = client_connect(&(struct wish){ .service = SERVICE_IMAPS });
	server_shake(&first, &own, NULL, 0);
	assert_true(first.session->ready);
	server_end(&first);
	for (size_t i = 0; i < 70; i++)
		client_close(&stalled[i]);
	pair_free(&own);
}

/* --- records alone --- */

static void
lists_of_records(void **state)
{
	struct span in = span_of("\3\1\1\2\0ab\2\0\0\0\0", 12);
	struct tlsa r;

	(void)state;
	assert_true(tlsa_is_list(in));
	assert_true(tlsa_take(&in, &r));
	assert_int_equal(r.usage, 3);
	assert_true(span_equal(r.data, SPAN("ab")));
	assert_false(tlsa_is_usable(&r));
	assert_true(tlsa_take(&in, &r));
	assert_int_equal(r.data.len, 0);
	assert_int_equal(in.len, 0);
	assert_false(tlsa_take(&in, &r));
	for (size_t len = 1; len < 12; len++)
		assert_int_equal(tlsa_is_list(span_of("\3\1\1\2\0ab\2\0\0\0\0", len)), len == 7);
}

int
main(void)
{
#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		RIG_TEST(data_goes_both_ways),
		RIG_TEST(no_second_handshake),
		RIG_TEST(authorities_and_names),
		RIG_TEST(chains_lead_to_an_authority_or_not),
		RIG_TEST(dane_end_entity),
		RIG_TEST(dane_trust_anchor),
		RIG_TEST(dane_unusable_records),
		RIG_TEST(nonsense_is_refused),
		RIG_TEST(servers_that_do_not_shake_hands),
		RIG_TEST(it_needs_no_key_process),
		RIG_TEST(doors_do_not_mind_each_other),
		cmocka_unit_test(lists_of_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
