/*
 * tlsproxy_rig - a real valija-tls-key and two real valija-tls workers: the test plays master and
 * the front ends, and is the client too (GnuTLS). One loop: whoever waits for the other side lets
 * all others work meanwhile.
 */
#ifndef VALIJA_TEST_TLSPROXY_RIG_H
#define VALIJA_TEST_TLSPROXY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/id.h"
#include "common/passport.h"
#include "common/text.h"
#include "master/spawn.h"
#include "tlsproxy/ca.h"

/* Each test uses some of these. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define RIG_WAIT_MILLISECONDS 8000
#define RIG_WORKERS 2
#define RIG_SPY 7                     /* the index of a worker that the test plays */
#define RIG_MOST_SESSIONS 256

struct rig_process {
	pid_t pid;
	struct channel *control, *log;
	bool confined;
	uint32_t ready, refused;      /* generations */
	char reason[MOST_REASON + 1];
	uint32_t connections;
	unsigned int loads;
};

struct rig_session {
	uint64_t id;
	bool ready, failed, resumed;
	int plain;
	char reason[MOST_REASON + 1], version[20], sni[256], alpn[40], result[41];
	uint8_t verified;             /* relay's: reason is the fault */
	unsigned char sealed[MOST_PASSPORT];
	size_t sealed_len;
};

static struct rig {
	struct event_base *base;
	struct rig_process key, worker[RIG_WORKERS];
	struct channel *smtpd[RIG_WORKERS], *login[RIG_WORKERS];      /* to the workers */
	struct channel *relay[RIG_WORKERS];
	struct channel *smtpd_key, *login_key, *spy;                  /* to tls-key */
	struct settings settings;
	char directory[64];
	const char *client_ca, *client_crl;   /* files to offer, or NULL */
	const char *mail_key;                 /* likewise, to tls-key: of the first member of `dkim` */
	unsigned int mail_signed, mail_refused;
	int listener;
	struct sockaddr_in at;
	struct rig_session session[RIG_MOST_SESSIONS];
	unsigned int sessions;
	struct text log_text;
	unsigned char passport_key[32];
	bool spy_answered, spy_refused;
	unsigned char spy_signature[MOST_SIGNATURE];
	size_t spy_signature_len;
	char spy_reason[MOST_REASON + 1];
} rig;

/* --- the played programs --- */

static struct rig_process *
rig_process_of(const struct channel *c)
{
	struct rig_process *all[] = { &rig.key, &rig.worker[0], &rig.worker[1] };

	for (size_t i = 0; i < 3; i++)
		if (all[i]->control == c || all[i]->log == c)
			return all[i];
	return NULL;
}

static void
rig_gone(void *me, struct channel *from)
{
	struct channel **all[] = { &rig.key.control, &rig.key.log, &rig.worker[0].control,
		&rig.worker[0].log, &rig.worker[1].control, &rig.worker[1].log, &rig.smtpd[0],
		&rig.smtpd[1], &rig.login[0], &rig.login[1], &rig.smtpd_key, &rig.login_key,
		&rig.spy, &rig.relay[0], &rig.relay[1] };

	(void)me;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (*all[i] == from)
			*all[i] = NULL;
}

static uint32_t
rig_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me, (void)from, (void)id;
	return message_row(m)->hours & ~(uint32_t)OR_GONE; /* the played programs mind no hours */
}

static void
rig_on_confined(
	void *me, struct channel *from, uint64_t id, const struct msg_confined *m, const int *fd)
{
	(void)me, (void)id, (void)m, (void)fd;
	rig_process_of(from)->confined = true;
}

static void
rig_on_ready(void *me, struct channel *from, uint64_t id, const struct msg_settings_ready *m,
	const int *fd)
{
	(void)me, (void)id, (void)fd;
	rig_process_of(from)->ready = m->generation;
}

static void
rig_on_refused(void *me, struct channel *from, uint64_t id, const struct msg_settings_refused *m,
	const int *fd)
{
	(void)me, (void)id, (void)fd;
	rig_process_of(from)->refused = m->generation;
	span_copy(m->reason, rig_process_of(from)->reason, MOST_REASON + 1);
}

static void
rig_on_load(
	void *me, struct channel *from, uint64_t id, const struct msg_load_told *m, const int *fd)
{
	(void)me, (void)id, (void)fd;
	rig_process_of(from)->connections = m->connections;
	rig_process_of(from)->loads++;
}

static void
rig_on_lost(
	void *me, struct channel *from, uint64_t id, const struct msg_peer_lost *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
}

static void
rig_on_certificate(void *me, struct channel *from, uint64_t id, const struct msg_certificate_told *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)m;
	(void)fd;
}

static const struct hearing rig_master = {
	.on_certificate_told = rig_on_certificate,
	.hour = rig_hour,
	.gone = rig_gone,
	.on_confined = rig_on_confined,
	.on_load_told = rig_on_load,
	.on_peer_lost = rig_on_lost,
	.on_settings_ready = rig_on_ready,
	.on_settings_refused = rig_on_refused,
};

static void
rig_on_log_line(
	void *me, struct channel *from, uint64_t id, const struct msg_log_line *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)fd;
	if (getenv("RIG_LOG"))
		fprintf(stderr, "%.*s\n", SPAN_ARG(m->line));
	text_add(&rig.log_text, m->line);
	text_add_byte(&rig.log_text, '\n');
}

static const struct hearing rig_log = {
	.hour = rig_hour, .gone = rig_gone, .on_log_line = rig_on_log_line,
};

static struct rig_session *
rig_session_of(uint64_t id)
{
	for (unsigned int i = 0; i < rig.sessions; i++)
		if (rig.session[i].id == id)
			return &rig.session[i];
	fail_msg("nobody asked for this session");
	return NULL;
}

static void
rig_on_tls_ready(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_ready *m, const int *fd)
{
	struct rig_session *s = rig_session_of(id);

	(void)me, (void)from;
	s->ready = true;
	s->plain = fd[0];
	s->resumed = m->resumed;
	span_copy(m->version, s->version, sizeof(s->version));
	span_copy(m->sni, s->sni, sizeof(s->sni));
	span_copy(m->alpn, s->alpn, sizeof(s->alpn));
	memcpy(s->sealed, m->passport.at, m->passport.len);
	s->sealed_len = m->passport.len;
}

static void
rig_on_tls_failed(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_failed *m, const int *fd)
{
	struct rig_session *s = rig_session_of(id);

	(void)me, (void)from, (void)fd;
	s->failed = true;
	span_copy(m->reason, s->reason, sizeof(s->reason));
	span_copy(m->result, s->result, sizeof(s->result));
}

static void
rig_on_tls_connected(void *me, struct channel *from, uint64_t id, const struct msg_tls_connected *m,
	const int *fd)
{
	struct rig_session *s = rig_session_of(id);

	(void)me, (void)from;
	s->ready = true;
	s->plain = fd[0];
	s->verified = m->verified;
	span_copy(m->version, s->version, sizeof(s->version));
	span_copy(m->fault, s->reason, sizeof(s->reason));
	span_copy(m->result, s->result, sizeof(s->result));
}

static const struct hearing rig_relay = {
	.hour = rig_hour, .gone = rig_gone, .on_tls_connected = rig_on_tls_connected,
	.on_tls_failed = rig_on_tls_failed,
};

static void
rig_on_dkim_signed(
	void *me, struct channel *from, uint64_t id, const struct msg_dkim_signed *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
	rig.mail_signed++;
}

static void
rig_on_dkim_refused(
	void *me, struct channel *from, uint64_t id, const struct msg_dkim_refused *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
	rig.mail_refused++;
}

static const struct hearing rig_front = {
	.hour = rig_hour, .gone = rig_gone, .on_tls_ready = rig_on_tls_ready,
	.on_tls_failed = rig_on_tls_failed, .on_dkim_signed = rig_on_dkim_signed,
	.on_dkim_refused = rig_on_dkim_refused,
};

static void
rig_on_tls_signed(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_signed *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)fd;
	rig.spy_answered = true;
	rig.spy_refused = false;
	memcpy(rig.spy_signature, m->signature.at, m->signature.len);
	rig.spy_signature_len = m->signature.len;
}

static void
rig_on_sign_refused(void *me, struct channel *from, uint64_t id,
	const struct msg_tls_sign_refused *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)fd;
	rig.spy_answered = rig.spy_refused = true;
	span_copy(m->reason, rig.spy_reason, sizeof(rig.spy_reason));
}

static void
rig_on_ticket_key(
	void *me, struct channel *from, uint64_t id, const struct msg_ticket_key *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)fd;
	assert_int_equal(m->key.len, 64);
}

static const struct hearing rig_spy = {
	.hour = rig_hour, .gone = rig_gone, .on_tls_signed = rig_on_tls_signed,
	.on_tls_sign_refused = rig_on_sign_refused, .on_ticket_key = rig_on_ticket_key,
};

/* --- time --- */

static long
rig_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
rig_nap(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
	poll(NULL, 0, 1);
}

#define rig_until(condition) \
	do { \
		long rig_limit = rig_now() + RIG_WAIT_MILLISECONDS; \
		while (!(condition)) { \
			if (rig_now() > rig_limit) \
				fail_msg("%s did not come", #condition); \
			rig_nap(); \
		} \
	} while (0)

/* --- files --- */

static int
rig_file(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig.directory, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void
rig_write(const char *name, const gnutls_datum_t *pem)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", rig.directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(pem->data, 1, pem->size, f), pem->size);
	fclose(f);
}

/* A self-signed certificate of another kind, as NAME.crt and NAME.key. */
static inline void
rig_make_pair(const char *name, gnutls_pk_algorithm_t kind, unsigned int bits, const char *host)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t pem = { NULL, 0 };
	char file[64];
	bool ed = kind == GNUTLS_PK_EDDSA_ED25519;

	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(key, kind, bits, 0), 0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(crt, "\1", 1), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 10), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 86400 * 10), 0);
	assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
	assert_int_equal(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, host,
		(unsigned int)strlen(host)), 0);
	assert_int_equal(gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, host,
		(unsigned int)strlen(host), GNUTLS_FSAN_SET), 0);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key,
		ed ? GNUTLS_DIG_UNKNOWN : GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
	snprintf(file, sizeof(file), "%s.crt", name);
	rig_write(file, &pem);
	gnutls_free(pem.data);
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
		GNUTLS_PKCS_PLAIN, &pem), 0);
	snprintf(file, sizeof(file), "%s.key", name);
	rig_write(file, &pem);
	gnutls_free(pem.data);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

static void
rig_make_files(void)
{
	struct text why = TEXT_UP_TO(MOST_WHY);
	int directory;

	snprintf(rig.directory, sizeof(rig.directory), "/tmp/valija-rig-XXXXXX");
	assert_non_null(mkdtemp(rig.directory));
	chmod(rig.directory, 0755);
	directory = open(rig.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ca_make(directory, "mail.example.org", &why) < 0)
		fail_msg("%s", text_str(&why));
	close(directory);
	text_clear(&why);
	rig_make_pair("rsa", GNUTLS_PK_RSA, 2048, "rsa.example.org");
}

/* --- life --- */

static int
rig_open_program(const char *name)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
	char *slash;

	assert_true(len > 0);
	path[len] = '\0';
	for (int up = 0; up < 3 && (slash = strrchr(path, '/')); up++)
		*slash = '\0';
	len = (ssize_t)strlen(path);
	snprintf(path + len, sizeof(path) - (size_t)len, "/libexec/valija-%s", name);
	if (access(path, X_OK) != 0)
		snprintf(path, sizeof(path), "build/libexec/valija-%s", name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void
rig_spawn(struct rig_process *p, const char *name, enum program program, unsigned int index)
{
	int control[2], log[2];
	struct spawn s;

	assert_int_equal(channel_pair(control), 0);
	assert_int_equal(channel_pair(log), 0);
	s = (struct spawn){
		.name = name, .control = control[1], .log = log[1], .file = rig_open_program(name),
		.null = open("/dev/null", O_RDWR | O_CLOEXEC), .keep_stderr = true,
		.become = geteuid() == 0, .uid = 65534, .gid = 65534,
		.capabilities = 1ull << 18 /* CAP_SYS_CHROOT */,
	};
	assert_true(s.file >= 0);
	memset(p, 0, sizeof(*p));
	p->pid = spawn(&s);
	assert_true(p->pid > 0);
	close(s.file);
	close(s.null);
	close(control[1]);
	close(log[1]);
	p->control = channel_new(
		rig.base, control[0], PROGRAM_MASTER, program, index, &rig_master, NULL);
	p->log = channel_new(rig.base, log[0], PROGRAM_LOG, program, index, &rig_log, NULL);
}

static void
rig_offer(struct rig_process *p, const char *const *names)
{
	uint32_t generation = rig.settings.generation;
	int fd[2], file;

	for (uint16_t i = 0; names[i] != NULL; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s.crt", names[i]);
		fd[0] = rig_file(name);
		if (p != &rig.key) {
			send_certificate(p->control, 0, &(struct msg_certificate){
				.generation = generation, .number = i }, fd);
			continue;
		}
		snprintf(name, sizeof(name), "%s.key", names[i]);
		fd[1] = rig_file(name);
		send_private_key(p->control, 0, &(struct msg_private_key){
			.generation = generation, .number = i }, fd);
	}
	if (p != &rig.key) {
		const char *trust[TRUST_COUNT] = { "ca.crt", rig.client_ca, rig.client_crl };

		for (uint8_t kind = 0; kind < TRUST_COUNT; kind++)
			if (trust[kind] != NULL && (fd[0] = rig_file(trust[kind])) >= 0)
				send_tls_trust(p->control, 0, &(struct msg_tls_trust){
					.generation = generation, .kind = kind }, fd);
	}
	if (p == &rig.key && rig.mail_key != NULL && (fd[0] = rig_file(rig.mail_key)) >= 0)
		send_dkim_key(p->control, 0, &(struct msg_dkim_key){ .generation = generation }, fd);
	file = settings_to_file(&rig.settings);
	assert_true(file >= 0);
	send_settings(p->control, 0, &(struct msg_settings){ .generation = generation }, &file);
}

static void
rig_join(struct channel **ours, enum program program, unsigned int index,
	const struct hearing *hearing, struct rig_process *with, enum program theirs,
	unsigned int their_index)
{
	int ends[2];

	channel_free(ours);
	assert_int_equal(channel_pair(ends), 0);
	*ours = channel_new(rig.base, ends[0], program, theirs, their_index, hearing, NULL);
	send_peer(with->control, 0, &(struct msg_peer){ .program = (uint8_t)program,
		.index = (uint16_t)index }, &ends[1]);
}

static const char *const rig_both[] = { "server", "rsa", NULL };

static void
rig_begin(struct rig_process *p, const char *const *names, unsigned int index)
{
	char dir[] = "/tmp/valija-rig-XXXXXX";
	int empty;

	rig_offer(p, names);
	assert_non_null(mkdtemp(dir));
	empty = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	chmod(dir, 0555);
	send_directory(p->control, 0, &(struct msg_directory){ .kind = DIRECTORY_EMPTY }, &empty);
	if (p != &rig.key)
		send_passport_key(p->control, 0, &(struct msg_passport_key){
			.key = span_of(rig.passport_key, 32) }, NULL);
	send_go(p->control, 0, &(struct msg_go){ .index = (uint16_t)index }, NULL);
	rig_until(p->confined || p->refused != 0);
	rmdir(dir);
}

static void
rig_start_key(const char *const *names)
{
	rig_spawn(&rig.key, "tls-key", PROGRAM_TLS_KEY, 0);
	rig_begin(&rig.key, names, 0);
}

static void
rig_join_key(void)
{
	rig_join(&rig.smtpd_key, PROGRAM_SMTPD, 0, &rig_front, &rig.key, PROGRAM_TLS_KEY, 0);
	rig_join(&rig.login_key, PROGRAM_IMAP_LOGIN, 0, &rig_front, &rig.key, PROGRAM_TLS_KEY, 0);
	rig_join(&rig.spy, PROGRAM_TLS, RIG_SPY, &rig_spy, &rig.key, PROGRAM_TLS_KEY, 0);
	for (unsigned int i = 0; i < RIG_WORKERS; i++) {
		int ends[2];

		assert_int_equal(channel_pair(ends), 0);
		send_peer(rig.key.control, 0, &(struct msg_peer){ .program = PROGRAM_TLS,
			.index = (uint16_t)i }, &ends[0]);
		send_peer(rig.worker[i].control, 0,
			&(struct msg_peer){ .program = PROGRAM_TLS_KEY }, &ends[1]);
	}
}

static void
rig_default_settings(void)
{
	struct settings *s = &rig.settings;

#define RIG_text(name, initial) s->name = span_str(initial)
#define RIG_list(name, initial) s->name = (struct list){ NULL, 0 }
#define RIG_number(name, initial) s->name = (initial)
#define RIG_flag(name, initial) s->name = (initial)
#define O(kind, name, initial, least, most, help) RIG_##kind(name, initial);
	SETTINGS(O)
#undef O
	s->generation = 1;
	s->hostname = SPAN("mail.example.org");
	s->log_level = SPAN("debug");
	s->tls_handshake_seconds = 2;
}

static int
rig_setup(void **state)
{
	socklen_t len = sizeof(rig.at);

	(void)state;
	memset(&rig, 0, sizeof(rig));
	signal(SIGPIPE, SIG_IGN);
	rig.base = event_base_new();
	rig.log_text = (struct text)TEXT_UP_TO(1 << 22);
	memset(rig.passport_key, 7, sizeof(rig.passport_key));
	rig_default_settings();
	rig_make_files();
	rig.at = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	rig.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(rig.listener, (struct sockaddr *)&rig.at, len), 0);
	assert_int_equal(listen(rig.listener, 512), 0);
	assert_int_equal(getsockname(rig.listener, (struct sockaddr *)&rig.at, &len), 0);
	rig_start_key(rig_both);
	for (unsigned int i = 0; i < RIG_WORKERS; i++) {
		struct rig_process *w = &rig.worker[i];

		rig_spawn(w, "tls", PROGRAM_TLS, i);
		rig_begin(w, rig_both, i);
		rig_join(&rig.smtpd[i], PROGRAM_SMTPD, 0, &rig_front, w, PROGRAM_TLS, i);
		rig_join(&rig.login[i], PROGRAM_IMAP_LOGIN, 0, &rig_front, w, PROGRAM_TLS, i);
		rig_join(&rig.relay[i], PROGRAM_RELAY, 0, &rig_relay, w, PROGRAM_TLS, i);
	}
	rig_join_key();
	return 0;
}

static void
rig_end(struct rig_process *p)
{
	int status = 0;

	channel_free(&p->control); /* master is gone: it ends */
	waitpid(p->pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fprintf(stderr, "%s\n", text_str(&rig.log_text));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
	channel_free(&p->log);
}

static int
rig_teardown(void **state)
{
	char command[128];
	static const char *const files[] = { "ca.crt", "ca.key", "server.crt", "server.key",
		"rsa.crt", "rsa.key", "other.crt", "other.key", "small.crt", "small.key",
		"mixed.crt", "mixed.key", "revoked.crl" };
	struct channel **all[] = { &rig.smtpd[0], &rig.smtpd[1], &rig.login[0], &rig.login[1],
		&rig.smtpd_key, &rig.login_key, &rig.spy, &rig.relay[0], &rig.relay[1] };

	(void)state;
	rig_end(&rig.worker[0]);
	rig_end(&rig.worker[1]);
	rig_end(&rig.key);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		channel_free(all[i]);
	close(rig.listener);
	for (unsigned int i = 0; i < rig.sessions; i++)
		if (rig.session[i].plain >= 0)
			close(rig.session[i].plain);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(command, sizeof(command), "%s/%s", rig.directory, files[i]);
		unlink(command);
	}
	rmdir(rig.directory);
	text_clear(&rig.log_text);
	event_base_free(rig.base);
	return 0;
}

/* --- a client --- */

struct client {
	int fd;
	gnutls_session_t tls;
	gnutls_certificate_credentials_t trust;
	struct rig_session *session;
	int error;                    /* of the handshake */
};

struct wish {
	enum service service;
	unsigned int worker;
	const char *priorities, *alpn, *sni, *told_ip;
	const gnutls_datum_t *resume;
	size_t record;                /* the largest that it takes; 0: all */
	int socket;                   /* the bytes that its socket holds; 0: as the kernel likes */
	bool unannounced;
};

/* The front end's part: announce, then hand over. */
static struct rig_session *
rig_start(int client, const struct wish *wish)
{
	bool imap = service_program(wish->service) == PROGRAM_IMAP_LOGIN;
	struct rig_session *s;

	assert_true(rig.sessions < RIG_MOST_SESSIONS);
	s = &rig.session[rig.sessions++];
	*s = (struct rig_session){ .id = id_new(), .plain = -1 };
	if (!wish->unannounced)
		send_tls_expect(imap ? rig.login_key : rig.smtpd_key, s->id,
			&(struct msg_tls_expect){ .worker = (uint16_t)wish->worker }, NULL);
	send_tls_start((imap ? rig.login : rig.smtpd)[wish->worker], s->id,
		&(struct msg_tls_start){ .service = (uint8_t)wish->service,
			.ip = span_str(wish->told_ip) }, &client);
	return s;
}

static struct client
client_connect(const struct wish *wish)
{
	struct client c = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	int server;

	if (wish->socket != 0)
		setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &wish->socket, sizeof(wish->socket));
	assert_int_equal(connect(c.fd, (struct sockaddr *)&rig.at, sizeof(rig.at)), 0);
	server = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(server >= 0);
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	c.session = rig_start(server, wish);
	return c;
}

static void
client_prepare(struct client *c, const struct wish *wish)
{
	char ca[128];

	assert_int_equal(
		gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
			GNUTLS_FORCE_CLIENT_CERT), 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&c->trust), 0);
	snprintf(ca, sizeof(ca), "%s/ca.crt", rig.directory);
	assert_true(gnutls_certificate_set_x509_trust_file(c->trust, ca, GNUTLS_X509_FMT_PEM) > 0);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->trust);
	assert_int_equal(gnutls_priority_set_direct(c->tls,
		wish->priorities != NULL ? wish->priorities : "NORMAL", NULL), 0);
	if (wish->alpn != NULL) {
		gnutls_datum_t name = { (unsigned char *)(uintptr_t)wish->alpn,
			(unsigned int)strlen(wish->alpn) };

		gnutls_alpn_set_protocols(c->tls, &name, 1, 0);
	}
	if (wish->sni != NULL)
		gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, wish->sni, strlen(wish->sni));
	if (wish->resume != NULL)
		gnutls_session_set_data(c->tls, wish->resume->data, wish->resume->size);
	if (wish->record != 0)
		assert_int_equal(gnutls_record_set_max_recv_size(c->tls, wish->record), 0);
	gnutls_transport_set_int(c->tls, c->fd);
}

static void
client_handshake(struct client *c)
{
	long limit = rig_now() + RIG_WAIT_MILLISECONDS;

	do {
		c->error = gnutls_handshake(c->tls);
		rig_nap();
		if (rig_now() > limit)
			fail_msg("the handshake does not end");
	} while (c->error < 0 && gnutls_error_is_fatal(c->error) == 0);
	rig_until(c->session->ready || c->session->failed);
}

static struct client
client_shake(const struct wish *wish)
{
	struct client c = client_connect(wish);

	client_prepare(&c, wish);
	client_handshake(&c);
	return c;
}

static void
client_send(struct client *c, const void *at, size_t len)
{
	ssize_t sent;

	while ((sent = gnutls_record_send(c->tls, at, len)) == GNUTLS_E_AGAIN)
		rig_nap();
	assert_int_equal(sent, len);
}

/* One answer of at most `room` bytes; 0 at the end, negative on error. */
static ssize_t
client_receive(struct client *c, void *to, size_t room)
{
	long limit = rig_now() + RIG_WAIT_MILLISECONDS;
	ssize_t got;

	while ((got = gnutls_record_recv(c->tls, to, room)) == GNUTLS_E_AGAIN ||
	       got == GNUTLS_E_INTERRUPTED) {
		if (rig_now() > limit)
			return GNUTLS_E_TIMEDOUT;
		rig_nap();
	}
	return got;
}

static ssize_t
plain_receive(struct rig_session *s, void *to, size_t room)
{
	long limit = rig_now() + RIG_WAIT_MILLISECONDS;
	ssize_t got;

	while ((got = recv(s->plain, to, room, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
		if (rig_now() > limit)
			return -2;
		rig_nap();
	}
	return got;
}

static void
plain_close(struct rig_session *s)
{
	close(s->plain);
	s->plain = -1;
}

static void
client_close(struct client *c)
{
	if (c->tls != NULL)
		gnutls_deinit(c->tls);
	if (c->trust != NULL)
		gnutls_certificate_free_credentials(c->trust);
	close(c->fd);
	if (c->session->plain >= 0)
		plain_close(c->session);
}

/* Both ways, once. */
static void
client_talk(struct client *c)
{
	char got[16];

	client_send(c, "hello", 5);
	assert_int_equal(plain_receive(c->session, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(send(c->session->plain, "good day", 8, MSG_NOSIGNAL), 8);
	assert_int_equal(client_receive(c, got, sizeof(got)), 8);
	assert_memory_equal(got, "good day", 8);
}

static uint32_t
rig_connections(struct rig_process *p)
{
	unsigned int before = p->loads;

	send_load_ask(p->control, 0, &(struct msg_load_ask){ .no_field = {} }, NULL);
	rig_until(p->loads > before);
	return p->connections;
}

#endif
