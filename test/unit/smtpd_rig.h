/*
 * smtpd_rig - a real valija-smtpd, alone: the test plays master, queue, auth, tls and tls-key, and
 * is the client too. One process, one loop: whoever waits for the client's next line lets the
 * others work meanwhile.
 *
 * The played queue: sender later@ is told 451, never@ 550; recipients of example.org are known
 * unless they are unknown@ (5.1.1); of elsewhere only for a login (5.7.1). slow@ is not answered
 * until rig_answer_slow(). The played auth knows the password "secret" of ana@example.org. The
 * played TLS is none: the "plaintext" socket is a socketpair, and the client goes on there.
 */
#ifndef VALIJA_TEST_SMTPD_RIG_H
#define VALIJA_TEST_SMTPD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nettle/sha2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/outcome.h"
#include "common/text.h"
#include "master/spawn.h"

#define RIG_WAIT_MILLISECONDS 5000
#define RIG_FILE_MOST (1 << 20)

struct rig_mail {
	uint64_t id;
	bool has_login, refused;
	char sender[400], login[400];
	uint64_t size;
	bool utf8;
	uint8_t body;
	int file;
	unsigned int recipients;
	char envid[101], orcpt[501];
	uint8_t ret, by_mode, priority, notify;
	bool require_tls, by_trace;
	uint64_t hold_until, deliver_by;
};

static struct rig {
	struct event_base *base;
	struct channel *control, *log, *queue, *auth, *tls, *key;
	pid_t pid;
	struct settings settings;
	uint16_t port[SERVICE_COUNT];
	bool confined, last_write, hold_commit, hold_file, auth_silent, full_disk, tls_fails;
	struct rig_mail mail;              /* the latest */
	struct text delivered;             /* the file of the latest commit */
	unsigned int begun, asked, commits, aborts, auth_asked, auth_cancelled, expected, started;
	uint64_t slow_id;
	uint32_t slow_number;
	uint8_t challenges;
	int inside;                        /* the client's end of a "TLS" connection */
	struct text log_text;
	uint64_t waiting_file, waiting_commit;
} rig;

/* --- the played programs --- */

static void
rig_gone(void *me, struct channel *from)
{
	struct channel **all[] = {
		&rig.control, &rig.log, &rig.queue, &rig.auth, &rig.tls, &rig.key};

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
	(void)me, (void)from, (void)id, (void)m, (void)fd;
	rig.confined = true;
}

static void
rig_on_load(
	void *me, struct channel *from, uint64_t id, const struct msg_load_told *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
}

static void
rig_on_lost(
	void *me, struct channel *from, uint64_t id, const struct msg_peer_lost *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
}

static const struct hearing rig_master = {
	.hour = rig_hour,
	.gone = rig_gone,
	.on_confined = rig_on_confined,
	.on_load_told = rig_on_load,
	.on_peer_lost = rig_on_lost,
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

#define RIG_YES .outcome = DONE, .code = 250, .status = SPAN("2.0.0"), .reason = SPAN("yes")
#define RIG_NO(c, s)                                                                               \
	.outcome = NEVER, .code = (c), .status = SPAN(s), .reason = SPAN("no\r\n250 evil")
#define RIG_LATER .outcome = LATER, .code = 451, .status = SPAN("4.3.0"), .reason = SPAN("later")

static void
rig_on_mail_begin(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_begin *m, const int *fd)
{
	struct rig_mail *mail = &rig.mail;

	(void)me, (void)fd;
	rig.begun++;
	*mail = (struct rig_mail){ .id = id, .has_login = m->login.len > 0, .size = m->size,
		.utf8 = m->utf8, .body = m->body, .file = -1, .ret = m->ret, .by_mode = m->by_mode,
		.priority = m->priority, .require_tls = m->require_tls, .by_trace = m->by_trace,
		.hold_until = m->hold_until, .deliver_by = m->deliver_by };
	span_copy(m->envid, mail->envid, sizeof(mail->envid));
	span_copy(m->sender, mail->sender, sizeof(mail->sender));
	span_copy(m->login, mail->login, sizeof(mail->login));
	if (span_starts_nocase(m->sender, SPAN("later@"))) {
		mail->refused = true;
		send_mail_begun(from, id, &(struct msg_mail_begun){ RIG_LATER }, NULL);
	} else if (m->login.len > 0 && m->sender.len > 0 &&
		   !span_equal_nocase(m->sender, m->login)) {
		mail->refused = true;
		send_mail_begun(from, id, &(struct msg_mail_begun){ RIG_NO(553, "5.7.1") }, NULL);
	} else if (span_starts_nocase(m->sender, SPAN("never@"))) {
		mail->refused = true;
		send_mail_begun(from, id, &(struct msg_mail_begun){ RIG_NO(550, "5.7.1") }, NULL);
	} else {
		send_mail_begun(from, id, &(struct msg_mail_begun){ RIG_YES }, NULL);
	}
}

static void
rig_on_mail_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_mail_recipient *m, const int *fd)
{
	struct msg_mail_recipient_told told = { .number = m->number, RIG_YES };
	size_t at = span_rindex(m->address, '@');
	bool local = span_equal_nocase(
			     span_part(m->address, at, m->address.len), SPAN("@example.org")) ||
		     at == m->address.len;

	(void)me, (void)fd;
	if (id != rig.mail.id || rig.mail.refused)
		return;
	rig.mail.notify = m->notify;
	span_copy(m->orcpt, rig.mail.orcpt, sizeof(rig.mail.orcpt));
	if (span_starts_nocase(m->address, SPAN("slow@"))) {
		rig.slow_id = id;
		rig.slow_number = m->number;
		return;
	}
	if (!local && !rig.mail.has_login)
		told = (struct msg_mail_recipient_told){.number = m->number, RIG_NO(550, "5.7.1")};
	else if (span_starts_nocase(m->address, SPAN("unknown@")))
		told = (struct msg_mail_recipient_told){.number = m->number, RIG_NO(550, "5.1.1")};
	else
		rig.mail.recipients++;
	send_mail_recipient_told(from, id, &told, NULL);
}

static inline void
rig_answer_slow(void)
{
	rig.mail.recipients++;
	send_mail_recipient_told(rig.queue, rig.slow_id,
		&(struct msg_mail_recipient_told){ .number = rig.slow_number, RIG_YES }, NULL);
}

static inline void
rig_lend(void)
{
	int file = rig.full_disk ? open("/dev/full", O_RDWR | O_CLOEXEC)
				 : memfd_create("mail", MFD_CLOEXEC);
	int lent = fcntl(file, F_DUPFD_CLOEXEC, 0);

	rig.mail.file = file;
	send_mail_file(rig.queue, rig.mail.id,
		&(struct msg_mail_file){.last_write = rig.last_write}, &lent);
}

static void
rig_on_mail_data(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_data *m, const int *fd)
{
	(void)me, (void)from, (void)m, (void)fd;
	assert_true(id == rig.mail.id);
	rig.asked++;
	if (!rig.hold_file)
		rig_lend();
}

static void
rig_on_mail_commit(void *me, struct channel *from, uint64_t id, const struct msg_mail_commit *m,
	const int *fd)
{
	static unsigned char all[RIG_FILE_MOST];
	unsigned char digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx hash;
	ssize_t len;

	(void)me, (void)fd;
	assert_true(id == rig.mail.id);
	rig.commits++;
	len = pread(rig.mail.file, all, sizeof(all), 0);
	assert_true(len >= 0 && (uint64_t)len == m->size);
	sha256_init(&hash);
	sha256_update(&hash, (size_t)len, all);
	sha256_digest(&hash, sizeof(digest), digest);
	assert_true(span_equal(span_of(digest, sizeof(digest)), m->digest));
	text_reset(&rig.delivered);
	text_add(&rig.delivered, span_of(all, (size_t)len));
	assert_false(rig.delivered.failed);
	close(rig.mail.file);
	rig.mail.file = -1;
	if (!rig.hold_commit)
		send_mail_told(from, id, &(struct msg_mail_told){ RIG_YES }, NULL);
}

static void
rig_on_mail_abort(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_abort *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
	rig.aborts++;
	if (id == rig.mail.id && rig.mail.file >= 0) {
		close(rig.mail.file);
		rig.mail.file = -1;
	}
}

static const struct hearing rig_queue = {
	.hour = rig_hour, .gone = rig_gone, .on_mail_begin = rig_on_mail_begin,
	.on_mail_recipient = rig_on_mail_recipient, .on_mail_data = rig_on_mail_data,
	.on_mail_commit = rig_on_mail_commit, .on_mail_abort = rig_on_mail_abort,
};

static void
rig_tell_auth(struct channel *to, uint64_t id, bool right)
{
	struct msg_auth_told told = { .verdict = right ? AUTH_RIGHT : AUTH_WRONG };

	if (right) {
		told.user = SPAN("ana@example.org");
		told.ticket = SPAN("0123456789abcdef");
	}
	send_auth_told(to, id, &told, NULL);
}

static void
rig_on_auth_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_auth_ask *m, const int *fd)
{
	(void)me, (void)fd;
	rig.auth_asked++;
	rig.challenges = 0;
	assert_true(span_equal(m->passport, SPAN("passport")));
	assert_true(span_equal(m->ip, SPAN("127.0.0.1")));
	if (rig.auth_silent)
		return;
	if (span_equal(m->mechanism, SPAN("LOGIN"))) {
		send_auth_challenge(
			from, id, &(struct msg_auth_challenge){.data = SPAN("User Name")}, NULL);
		return;
	}
	if (!span_equal(m->mechanism, SPAN("PLAIN"))) {
		send_auth_told(
			from, id, &(struct msg_auth_told){.verdict = AUTH_UNKNOWN_MECHANISM}, NULL);
		return;
	}
	if (!m->has_initial) {
		send_auth_challenge(
			from, id, &(struct msg_auth_challenge){.data = SPAN_NONE}, NULL);
		return;
	}
	rig_tell_auth(from, id, span_equal(m->initial, SPAN("\0ana@example.org\0secret")));
}

static void
rig_on_auth_answer(void *me, struct channel *from, uint64_t id, const struct msg_auth_answer *m,
	const int *fd)
{
	(void)me, (void)fd;
	if (span_has(m->data, 0)) {
		rig_tell_auth(from, id, span_equal(m->data, SPAN("\0ana@example.org\0secret")));
	} else if (rig.challenges++ == 0) {
		send_auth_challenge(
			from, id, &(struct msg_auth_challenge){.data = SPAN("Password")}, NULL);
	} else {
		rig_tell_auth(from, id, span_equal(m->data, SPAN("secret")));
	}
}

static void
rig_on_auth_cancel(void *me, struct channel *from, uint64_t id, const struct msg_auth_cancel *m,
	const int *fd)
{
	(void)me, (void)from, (void)id, (void)m, (void)fd;
	rig.auth_cancelled++;
}

static const struct hearing rig_auth = {
	.hour = rig_hour, .gone = rig_gone, .on_auth_ask = rig_on_auth_ask,
	.on_auth_answer = rig_on_auth_answer, .on_auth_cancel = rig_on_auth_cancel,
};

static void
rig_on_tls_expect(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_expect *m, const int *fd)
{
	(void)me, (void)from, (void)id, (void)fd;
	assert_int_equal(m->worker, 0);
	rig.expected++;
}

static const struct hearing rig_key = {
	.hour = rig_hour, .gone = rig_gone, .on_tls_expect = rig_on_tls_expect,
};

static void
rig_on_tls_start(
	void *me, struct channel *from, uint64_t id, const struct msg_tls_start *m, const int *fd)
{
	int ends[2];

	(void)me, (void)m;
	rig.started++;
	close(fd[0]);
	if (rig.tls_fails) {
		send_tls_failed(
			from, id, &(struct msg_tls_failed){.reason = SPAN("no handshake")}, NULL);
		return;
	}
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	rig.inside = ends[0];
	send_tls_ready(from, id, &(struct msg_tls_ready){ .version = SPAN("TLS1.3"),
		.cipher = SPAN("AES-256-GCM"), .passport = SPAN("passport") }, &ends[1]);
}

static const struct hearing rig_tls = {
	.hour = rig_hour, .gone = rig_gone, .on_tls_start = rig_on_tls_start,
};

/* --- its life --- */

static void
rig_work(void)
{
	event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

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
	rig_work();
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

static inline void
rig_give_peer(struct channel **ours, enum program program, const struct hearing *hearing)
{
	int ends[2];

	assert_int_equal(channel_pair(ends), 0);
	*ours = channel_new(rig.base, ends[0], program, PROGRAM_SMTPD, 0, hearing, NULL);
	send_peer(rig.control, 0, &(struct msg_peer){.program = (uint8_t)program, .index = 0},
		&ends[1]);
}

static void
rig_give_listener(enum service service)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	rig.port[service] = ntohs(at.sin_port);
	send_listener(rig.control, 0, &(struct msg_listener){ .service = (uint8_t)service,
		.address = SPAN("127.0.0.1") }, &fd);
}

static struct span rig_all_services[] = {
	{ (const unsigned char *)"smtp", 4 }, { (const unsigned char *)"submission", 10 },
	{ (const unsigned char *)"submissions", 11 },
};

static struct span rig_this_machine[] = { { (const unsigned char *)"127.0.0.0/8", 11 } };

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
	s->owner_services = (struct list){ rig_all_services, 3 };
	s->policy_exempt = (struct list){ rig_this_machine, 1 };
	s->hostname = SPAN("mx.example.org");
	s->log_level = SPAN("debug");
}

/* The program beside this test's build, or the ordinary one. */
static int
rig_open_program(void)
{
	char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 64);
	char *slash;

	assert_true(len > 0);
	path[len] = '\0';
	for (int up = 0; up < 3 && (slash = strrchr(path, '/')); up++)
		*slash = '\0';
	strncat(path, "/libexec/valija-smtpd", 32);
	if (access(path, X_OK) == 0)
		return open(path, O_RDONLY | O_CLOEXEC);
	return open("build/libexec/valija-smtpd", O_RDONLY | O_CLOEXEC);
}

static void
rig_spawn(int control, int log)
{
	struct spawn s = {
		.name = "smtpd", .control = control, .log = log, .file = rig_open_program(),
		.null = open("/dev/null", O_RDWR | O_CLOEXEC), .keep_stderr = true,
		.become = geteuid() == 0, .uid = 65534, .gid = 65534,
		.capabilities = 1ull << 18 /* CAP_SYS_CHROOT */,
	};

	assert_true(s.file >= 0);
	rig.pid = spawn(&s);
	assert_true(rig.pid > 0);
	close(s.file);
	close(s.null);
	close(control);
	close(log);
}

/* Starts with rig.settings; call rig_default_settings() before, and change what should differ. */
static inline void
rig_start(void)
{
	int control[2], log[2], file, empty;
	char dir[] = "/tmp/valija-rig-XXXXXX";

	rig.base = event_base_new();
	rig.inside = -1;
	rig.delivered = (struct text)TEXT_UP_TO(RIG_FILE_MOST + 65536);
	rig.log_text = (struct text)TEXT_UP_TO(1 << 22);
	assert_int_equal(channel_pair(control), 0);
	assert_int_equal(channel_pair(log), 0);
	fcntl(control[0], F_SETFD, FD_CLOEXEC);
	rig_spawn(control[1], log[1]);
	rig.control = channel_new(
		rig.base, control[0], PROGRAM_MASTER, PROGRAM_SMTPD, 0, &rig_master, NULL);
	rig.log = channel_new(rig.base, log[0], PROGRAM_LOG, PROGRAM_SMTPD, 0, &rig_log, NULL);
	file = settings_to_file(&rig.settings);
	assert_true(file >= 0);
	send_settings(rig.control, 0, &(struct msg_settings){ .generation = 1 }, &file);
	assert_non_null(mkdtemp(dir));
	empty = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	chmod(dir, 0555);
	send_directory(rig.control, 0, &(struct msg_directory){ .kind = DIRECTORY_EMPTY }, &empty);
	for (enum service s = 0; s < SERVICE_COUNT; s++)
		if (service_program(s) == PROGRAM_SMTPD && s != SERVICE_LMTP)
			rig_give_listener(s);
	rig_give_peer(&rig.queue, PROGRAM_QUEUE, &rig_queue);
	rig_give_peer(&rig.auth, PROGRAM_AUTH, &rig_auth);
	rig_give_peer(&rig.tls, PROGRAM_TLS, &rig_tls);
	rig_give_peer(&rig.key, PROGRAM_TLS_KEY, &rig_key);
	send_go(rig.control, 0, &(struct msg_go){ .index = 0 }, NULL);
	rig_until(rig.confined);
	rmdir(dir);
}

/* Stops it and returns its wait status. */
static inline int
rig_stop(void)
{
	int status = 0;

	channel_free(&rig.control); /* master gone: it ends */
	waitpid(rig.pid, &status, 0);
	channel_free(&rig.queue);
	channel_free(&rig.auth);
	channel_free(&rig.tls);
	channel_free(&rig.key);
	rig_work();
	channel_free(&rig.log);
	if (rig.inside >= 0)
		close(rig.inside);
	if (rig.mail.file > 0)
		close(rig.mail.file);
	text_clear(&rig.delivered);
	text_clear(&rig.log_text);
	event_base_free(rig.base);
	memset(&rig, 0, sizeof(rig));
	return status;
}

/* --- the client --- */

static int
rig_connect(enum service service)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(rig.port[service]),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	/* What is said goes out now, not when what was said before is acknowledged. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static inline void
rig_send(int fd, const void *at, size_t len)
{
	const char *from = at;
	long limit = rig_now() + RIG_WAIT_MILLISECONDS;

	while (len > 0) {
		ssize_t sent = send(fd, from, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			return; /* the server may hang up on us: the answers tell */
		if (sent > 0) {
			from += sent;
			len -= (size_t)sent;
		}
		if (rig_now() > limit)
			fail_msg("the server does not read");
		if (sent < 0)
			rig_nap();
		rig_work();
	}
}

static inline void
rig_say(int fd, const char *text)
{
	rig_send(fd, text, strlen(text));
}

/* The next line without CR LF, in static memory; NULL at the end of the connection. */
static const char *
rig_line(int fd)
{
	static char line[32768];
	long limit = rig_now() + RIG_WAIT_MILLISECONDS;
	size_t len = 0;

	for (;;) {
		ssize_t got = recv(fd, line + len, 1, MSG_DONTWAIT);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			return NULL;
		if (got < 0) {
			if (rig_now() > limit)
				return "(silence)";
			rig_nap();
			continue;
		}
		if (line[len] == '\n') {
			assert_true(len > 0 && line[len - 1] == '\r');
			line[len - 1] = '\0';
			return line;
		}
		if (++len >= sizeof(line) - 1)
			fail_msg("an endless line");
	}
}

/* Reads one whole reply; its last line must start with `start` (NULL: the connection must end). */
static void
rig_expect_at(int fd, const char *start, const char *file, int line_number)
{
	const char *line = rig_line(fd);

	while (line && strlen(line) > 3 && line[3] == '-')
		line = rig_line(fd);
	if (!start && !line)
		return;
	if (!start || !line || strncmp(line, start, strlen(start)) != 0) {
		print_error("%s:%d: expected \"%s\", got \"%s\"\n", file, line_number,
			start ? start : "the end", line ? line : "the end");
		fail();
	}
}
#define rig_expect(fd, start) rig_expect_at((fd), (start), __FILE__, __LINE__)
#define rig_ask(fd, say, start) \
	do { \
		rig_say((fd), say); \
		rig_expect_at((fd), (start), __FILE__, __LINE__); \
	} while (0)

/* A connection that has been greeted and has said EHLO. */
static inline int
rig_hello(enum service service)
{
	int fd = rig_connect(service);

	rig_expect(fd, "220 mx.example.org ESMTP");
	rig_ask(fd, "EHLO client.example\r\n", "250 ");
	return fd;
}

/* STARTTLS; *fd is then the inside. */
static inline void
rig_starttls(int *fd)
{
	rig_ask(*fd, "STARTTLS\r\n", "220 2.0.0");
	rig_until(rig.inside >= 0);
	close(*fd);
	*fd = rig.inside;
	rig.inside = -1;
}

#endif
