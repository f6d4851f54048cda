/*
 * Conversations with a running auth: the test plays front ends, master and hash workers at the
 * other ends of real channels, honest ones and broken ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auth/auth.h"
#include "auth/mechanism.h"
#include "common/passport.h"
#include "common/password.h"
#include "common/users.h"

#define MOST_TOLD 5000

struct told {
	uint64_t session;
	int verdict;	/* 0: a challenge */
	char text[400]; /* user, or challenge */
	unsigned char ticket[16];
	size_t ticket_len;
	bool ticket_known; /* master knew it already */
};

/* A front end, as seen from its own side. */
struct front {
	struct world *world;
	struct channel *auth_side, *own_side;
	int raw; /* instead of own_side, for those who speak garbage */
	struct told told[MOST_TOLD];
	size_t count, heard;
	bool gone;
};

struct world {
	char place[64];
	int directory;
	struct event_base *base;
	struct auth auth;
	struct settings settings;
	struct span domains[1], sources[1], mechanisms[6];
	struct channel *master_side, *queue_side, *worker_auth_side[2], *worker_side[2];
	struct front *smtpd, *login, *broken;
	uint64_t ticket_session;
	unsigned char ticket[16];
	char ticket_user[400], ticket_home[400];
	unsigned int tickets, ticket_program, ticket_index;
	/* what queue heard */
	uint64_t mail_session;
	char mail_login[400];
	unsigned int mail_logins, mail_index, mail_service;
	/* the workers */
	unsigned int asked[2];
	bool silent[2]; /* does not answer */
	bool dies[2];	/* ends when it is asked */
	char last_hash[512];
};

/* The library forgets some memory when it is shown a damaged file. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libdb";
}

/* --- the played ends --- */

static uint32_t
any_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)m;
	(void)id;
	return HOUR_WAITING;
}

static void
on_told(void *me, struct channel *from, uint64_t id, const struct msg_auth_told *m, const int *fd)
{
	struct front *f = me;
	struct told *t = &f->told[f->count++ % MOST_TOLD];

	(void)from;
	(void)fd;
	memset(t, 0, sizeof(*t));
	t->session = id;
	t->verdict = m->verdict;
	span_copy(m->user, t->text, sizeof(t->text));
	t->ticket_len = m->ticket.len;
	if (m->ticket.len == 16) {
		memcpy(t->ticket, m->ticket.at, 16);
		/* As master does: what auth said to it before lies in its channel. */
		channel_drain(f->world->master_side);
		t->ticket_known = f->world->ticket_session == id &&
				  memcmp(f->world->ticket, t->ticket, 16) == 0;
	} else if (m->verdict == AUTH_RIGHT) {
		channel_drain(f->world->queue_side);
		t->ticket_known = f->world->mail_session == id;
	}
}

static void
on_challenge(void *me, struct channel *from, uint64_t id, const struct msg_auth_challenge *m,
	const int *fd)
{
	struct front *f = me;
	struct told *t = &f->told[f->count++ % MOST_TOLD];

	(void)from;
	(void)fd;
	memset(t, 0, sizeof(*t));
	t->session = id;
	span_copy(m->data, t->text, sizeof(t->text));
}

static void
on_auth_gone(void *me, struct channel *from)
{
	struct front *f = me;

	(void)from;
	f->gone = true;
	f->own_side = NULL;
}

static const struct hearing front_side = {.hour = any_hour,
	.gone = on_auth_gone,
	.on_auth_told = on_told,
	.on_auth_challenge = on_challenge};

static void
on_ticket(
	void *me, struct channel *from, uint64_t id, const struct msg_ticket_made *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)fd;
	w->tickets++;
	w->ticket_session = id;
	memcpy(w->ticket, m->ticket.at, 16);
	span_copy(m->user, w->ticket_user, sizeof(w->ticket_user));
	span_copy(m->home, w->ticket_home, sizeof(w->ticket_home));
	w->ticket_program = m->program;
	w->ticket_index = m->index;
}

static void
on_mail_login(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_login *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)fd;
	w->mail_logins++;
	w->mail_session = id;
	w->mail_index = m->index;
	w->mail_service = m->service;
	span_copy(m->login, w->mail_login, sizeof(w->mail_login));
}

static void
on_queue_end(void *me, struct channel *from)
{
	struct world *w = me;

	(void)from;
	w->queue_side = NULL;
}

static const struct hearing queue_side = {.gone = on_queue_end, .on_mail_login = on_mail_login};
static const struct hearing master_side = {.on_ticket_made = on_ticket};

/* A hash of "X" is "hash of X" here: what crypt(3) makes is tested elsewhere. */
static void
on_hash_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_ask *m, const int *fd)
{
	struct world *w = me;
	unsigned int i = channel_peer_index(from);
	struct text wanted = TEXT_UP_TO(2000);

	(void)fd;
	for (i = 0; i < 2 && w->worker_side[i] != from; i++)
		;
	w->asked[i]++;
	span_copy(m->hash, w->last_hash, sizeof(w->last_hash));
	if (w->dies[i]) {
		channel_free(&w->worker_side[i]);
		return;
	}
	text_add_str(&wanted, "hash of ");
	text_add(&wanted, m->password);
	if (!w->silent[i])
		send_hash_told(from, id,
			&(struct msg_hash_told){.right = span_equal(text_span(&wanted), m->hash)},
			NULL);
	text_clear(&wanted);
}

static const struct hearing worker_side = {.on_hash_ask = on_hash_ask};

/* --- auth's ends --- */

static uint32_t
hash_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	struct auth *a = me;

	return pool_hour(a->hash, from, m, id);
}

static void
hash_gone(void *me, struct channel *from)
{
	struct auth *a = me;

	pool_gone(a->hash, from);
}

static void
on_hash_told(
	void *me, struct channel *from, uint64_t id, const struct msg_hash_told *m, const int *fd)
{
	struct auth *a = me;

	(void)id;
	(void)fd;
	pool_told(a->hash, from, m);
}

static const struct hearing hash_hearing = {
	.hour = hash_hour, .gone = hash_gone, .on_hash_told = on_hash_told};

static const struct hearing no_hearing;

static void
pair(int ends[2])
{
	assert_int_equal(channel_pair(ends), 0);
}

static struct front *
front_new(struct world *w, enum program program, unsigned int index, bool raw)
{
	struct front *f = calloc(1, sizeof(*f));
	int ends[2];

	pair(ends);
	f->world = w;
	f->raw = -1;
	f->auth_side = channel_new(
		w->base, ends[0], PROGRAM_AUTH, program, index, &front_end_hearing, &w->auth);
	if (raw)
		f->raw = ends[1];
	else
		f->own_side =
			channel_new(w->base, ends[1], program, PROGRAM_AUTH, 0, &front_side, f);
	return f;
}

static void
worker_new(struct world *w, unsigned int i)
{
	int ends[2];

	pair(ends);
	w->worker_auth_side[i] = channel_new(
		w->base, ends[0], PROGRAM_AUTH, PROGRAM_AUTH_HASH, i, &hash_hearing, &w->auth);
	w->worker_side[i] =
		channel_new(w->base, ends[1], PROGRAM_AUTH_HASH, PROGRAM_AUTH, 0, &worker_side, w);
	pool_came(w->auth.hash, w->worker_auth_side[i]);
}

static void
write_tables(struct world *w, const char *password)
{
	static const struct {
		const char *key;
		bool disabled, secret;
	} users[] = {
		{"ana@example.org", false, true},
		{"bob@example.org", false, true},
		{"off@example.org", true, true},
		{"mute@example.org", false, false},
	};
	struct table_build *u = table_build_begin(w->directory, USERS_TABLE);
	struct table_build *p = table_build_begin(w->directory, PASSWD_TABLE);

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		struct text record = TEXT_UP_TO(2000), home = TEXT_UP_TO(1000),
			    hash = TEXT_UP_TO(500);
		assert_true(user_home(span_str(users[i].key), &home));
		user_encode(&(struct user){.address = span_str(users[i].key),
				    .home = text_span(&home),
				    .uid = 1234,
				    .gid = 567,
				    .disabled = users[i].disabled},
			&record);
		assert_int_equal(table_build_put(u, span_str(users[i].key), text_span(&record)), 0);
		text_reset(&record);
		text_add_str(&hash, "hash of ");
		text_add_str(&hash, password);
		password_encode(
			&(struct password){.hash = text_span(&hash), .changed = 1}, &record);
		if (users[i].secret)
			assert_int_equal(
				table_build_put(p, span_str(users[i].key), text_span(&record)), 0);
		text_clear(&record);
		text_clear(&home);
		text_clear(&hash);
	}
	assert_int_equal(table_build_commit(&u, 0600, -1, -1), 0);
	assert_int_equal(table_build_commit(&p, 0600, -1, -1), 0);
}

static int
enter(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int ends[2];

	strcpy(w->place, "/tmp/valija-auth-XXXXXX");
	assert_non_null(mkdtemp(w->place));
	w->directory = open(w->place, O_PATH | O_DIRECTORY);
	w->base = event_base_new();
	w->domains[0] = SPAN("example.org");
	w->sources[0] = SPAN("users");
	for (size_t i = 0; i < 6; i++)
		w->mechanisms[i] = span_str((const char *const[]){"PLAIN", "LOGIN", "SCRAM-SHA-1",
			"SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"}[i]);
	w->settings = (struct settings){.domains = {w->domains, 1},
		.auth_sources = {w->sources, 1},
		.smtp_mechanisms = {w->mechanisms, 6},
		.imap_mechanisms = {w->mechanisms, 6},
		.auth_cache_seconds = 600};
	w->auth.daemon.base = w->base;
	w->auth.daemon.settings = &w->settings;
	memset(w->auth.daemon.passport_key, 7, sizeof(w->auth.daemon.passport_key));
	conversations_init(&w->auth.conversations);
	w->auth.sasl = mechanisms_open();
	w->auth.users = table_reader(w->directory, USERS_TABLE);
	w->auth.passwords = table_reader(w->directory, PASSWD_TABLE);
	w->auth.hash = pool_new(w->base, "auth-hash", 15, NULL, NULL);
	w->auth.guard = guard_new(NULL, 0);
	w->auth.remember = remember_new();
	write_tables(w, "secret");
	pair(ends);
	w->auth.daemon.master = channel_new(
		w->base, ends[0], PROGRAM_AUTH, PROGRAM_MASTER, 0, &no_hearing, &w->auth);
	w->master_side =
		channel_new(w->base, ends[1], PROGRAM_MASTER, PROGRAM_AUTH, 0, &master_side, w);
	pair(ends);
	w->auth.queue = channel_new(
		w->base, ends[0], PROGRAM_AUTH, PROGRAM_QUEUE, 0, &no_hearing, &w->auth);
	w->queue_side =
		channel_new(w->base, ends[1], PROGRAM_QUEUE, PROGRAM_AUTH, 0, &queue_side, w);
	worker_new(w, 0);
	w->smtpd = front_new(w, PROGRAM_SMTPD, 3, false);
	w->login = front_new(w, PROGRAM_IMAP_LOGIN, 5, false);
	*state = w;
	return 0;
}

static void
front_free(struct front **f)
{
	if (*f == NULL)
		return;
	channel_free(&(*f)->own_side);
	if ((*f)->raw >= 0)
		close((*f)->raw);
	free(*f);
	*f = NULL;
}

static void
turn(struct world *w)
{
	for (int i = 0; i < 50; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static int
leave_world(void **state)
{
	struct world *w = *state;

	front_free(&w->smtpd);
	front_free(&w->login);
	front_free(&w->broken);
	turn(w); /* auth sees them go */
	assert_int_equal(w->auth.conversations.count, 0);
	for (int i = 0; i < 2; i++)
		channel_free(&w->worker_side[i]);
	channel_free(&w->master_side);
	channel_free(&w->queue_side);
	turn(w);
	pool_free(&w->auth.hash);
	guard_free(&w->auth.guard);
	remember_free(&w->auth.remember);
	table_free(&w->auth.users);
	table_free(&w->auth.passwords);
	gsasl_done(w->auth.sasl);
	event_base_free(w->base);
	close(w->directory);
	if (fork() == 0) {
		execlp("rm", "rm", "-rf", w->place, (char *)NULL);
		_exit(1);
	}
	wait(NULL);
	free(w);
	return 0;
}

/* --- asking --- */

static struct passport
good_passport(uint64_t session, enum service service)
{
	return (struct passport){.session = session,
		.issued = (uint64_t)time(NULL),
		.service = (uint8_t)service,
		.ip = SPAN("192.0.2.7"),
		.local_ip = SPAN("192.0.2.1"),
		.version = SPAN("TLS1.3"),
		.cipher = SPAN("X")};
}

static void
ask_with(struct front *f, uint64_t session, enum service service, const char *mechanism,
	struct span initial, bool has_initial, const struct passport *p)
{
	struct text sealed = TEXT_UP_TO(MOST_PASSPORT);

	if (p != NULL)
		assert_true(passport_seal(f->world->auth.daemon.passport_key, p, &sealed));
	send_auth_ask(f->own_side, session,
		&(struct msg_auth_ask){.service = (uint8_t)service,
			.mechanism = span_str(mechanism),
			.has_initial = has_initial,
			.initial = initial,
			.passport = text_span(&sealed),
			.ip = SPAN("198.51.100.66")},
		NULL);
	text_clear(&sealed);
}

static void
ask(struct front *f, uint64_t session, enum service service, const char *mechanism,
	struct span initial)
{
	struct passport p = good_passport(session, service);

	ask_with(f, session, service, mechanism, initial, initial.at != NULL, &p);
}

static void
answer(struct front *f, uint64_t session, struct span data)
{
	send_auth_answer(f->own_side, session, &(struct msg_auth_answer){.data = data}, NULL);
}

/* The next thing that f hears, within some seconds. */
static struct told *
hear(struct front *f)
{
	time_t limit = time(NULL) + 20;

	while (f->count == f->heard) {
		event_base_loop(f->world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		if (time(NULL) > limit)
			fail_msg("nothing was heard");
	}
	return &f->told[f->heard++ % MOST_TOLD];
}

static int
verdict_of(struct front *f, uint64_t session, enum service service, const char *mechanism,
	struct span initial)
{
	turn(f->world);
	f->heard = f->count;
	ask(f, session, service, mechanism, initial);
	struct told *t = hear(f);
	assert_true(t->session == session);
	return t->verdict;
}

/* --- tests --- */

static void
right_passwords(void **state)
{
	struct world *w = *state;
	struct told *t;

	ask(w->smtpd, 11, SERVICE_SUBMISSION, "PLAIN", SPAN("\0Ana@Example.org\0secret"));
	t = hear(w->smtpd);
	assert_int_equal(t->verdict, AUTH_RIGHT);
	assert_string_equal(t->text, "ana@example.org");
	assert_int_equal(t->ticket_len, 0);
	turn(w);
	assert_int_equal(w->tickets, 0);
	/* Sending needs no ticket: queue knew already, of this session at this front end. */
	assert_true(t->ticket_known);
	assert_int_equal(w->mail_logins, 1);
	assert_string_equal(w->mail_login, "ana@example.org");
	assert_int_equal(w->mail_index, 3);
	assert_int_equal(w->mail_service, SERVICE_SUBMISSION);
	/* Without a domain: the first one. */
	assert_int_equal(
		verdict_of(w->smtpd, 12, SERVICE_SUBMISSION, "PLAIN", SPAN("\0ana\0secret")),
		AUTH_RIGHT);
	assert_string_equal(w->smtpd->told[w->smtpd->count - 1].text, "ana@example.org");
	/* LOGIN, with its challenges. */
	ask(w->smtpd, 13, SERVICE_SUBMISSIONS, "LOGIN", SPAN_NONE);
	t = hear(w->smtpd);
	assert_string_equal(t->text, "Username:");
	answer(w->smtpd, 13, SPAN("bob@example.org"));
	t = hear(w->smtpd);
	assert_string_equal(t->text, "Password:");
	answer(w->smtpd, 13, SPAN("secret"));
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_RIGHT);
	assert_int_equal(w->auth.conversations.count, 0);
	/* While queue is away nobody can be told. */
	channel_free(&w->auth.queue);
	assert_int_equal(verdict_of(w->smtpd, 14, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_LATER);
}

/* Master knows of the ticket before the front end does, for that session and front
 * end. */
static void
l5_ticket_for_master_first(void **state)
{
	struct world *w = *state;
	struct told *t;
	unsigned char before[16];

	ask(w->login, 21, SERVICE_IMAPS, "PLAIN", SPAN("\0ana@example.org\0secret"));
	t = hear(w->login);
	assert_int_equal(t->verdict, AUTH_RIGHT);
	assert_int_equal(t->ticket_len, 16);
	assert_true(t->ticket_known);
	assert_string_equal(w->ticket_user, "ana@example.org");
	assert_string_equal(w->ticket_home, "example.org/ana");
	assert_int_equal(w->ticket_program, PROGRAM_IMAP_LOGIN);
	assert_int_equal(w->ticket_index, 5);
	memcpy(before, t->ticket, 16);
	assert_int_equal(
		verdict_of(w->login, 21, SERVICE_IMAPS, "PLAIN", SPAN("\0ana@example.org\0secret")),
		AUTH_RIGHT);
	assert_memory_not_equal(before, w->ticket, 16);
	/* No master, no ticket, no login. */
	channel_free(&w->master_side);
	turn(w);
	w->auth.daemon.master = NULL;
	assert_int_equal(
		verdict_of(w->login, 22, SERVICE_IMAPS, "PLAIN", SPAN("\0ana@example.org\0secret")),
		AUTH_LATER);
}

static void
wrong_passwords(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *mechanism;
		struct span initial;
		int verdict;
	} cases[] = {
#define S(text) {(const unsigned char *)(text), sizeof(text) - 1}
		{"PLAIN", S("\0ana@example.org\0wrong"), AUTH_WRONG},
		{"PLAIN", S("\0nobody@example.org\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0off@example.org\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0mute@example.org\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0ana@other.example\0secret"), AUTH_WRONG},
		/* Nobody acts as another; oneself is oneself. */
		{"PLAIN", S("bob@example.org\0ana@example.org\0secret"), AUTH_WRONG},
		{"PLAIN", S("ana@example.org\0ana@example.org\0secret"), AUTH_RIGHT},
		{"PLAIN", S("ANA\0ana@example.org\0secret"), AUTH_RIGHT},
		{"PLAIN", S("\0ana@example.org\0"), AUTH_WRONG},
		{"ANONYMOUS", S("x"), AUTH_UNKNOWN_MECHANISM},
		{"EXTERNAL", S(""), AUTH_UNKNOWN_MECHANISM},
		{"PLAIN", S("\0ana@example.org\0secret\0x"), AUTH_WRONG},
		{"PLAIN", S("\0ana@example.org\0secret\tuser=bob"), AUTH_WRONG},
		{"PLAIN", S("\0ana@example.org\n\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0ana@example.org\t\0secret"), AUTH_WRONG},
		{"PLAIN", S("\1\0ana@example.org\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0%{user}%n%s\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0../../ana@example.org\0secret"), AUTH_WRONG},
		{"PLAIN", S("\0\"ana\"@example.org\0secret"), AUTH_RIGHT}, /* the same address */
		{"PLAIN", S("nonsense"), AUTH_MALFORMED},
		{"PLAIN", S(""), AUTH_MALFORMED},
	};
	static unsigned char big[MOST_SASL];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int v = verdict_of(w->smtpd, 100 + i, SERVICE_SUBMISSION, cases[i].mechanism,
			cases[i].initial);
		if (v != cases[i].verdict)
			fail_msg("case %zu: %d", i, v);
	}
	memset(big, 'a', sizeof(big));
	big[0] = big[sizeof(big) - 10] = '\0';
	assert_int_equal(
		verdict_of(w->smtpd, 200, SERVICE_SUBMISSION, "PLAIN", span_of(big, sizeof(big))),
		AUTH_WRONG);
	assert_int_equal(w->auth.conversations.count, 0);
}

/* Who does not exist is hashed too, against a hash of the same cost. */
static void
a7_unknown_users_are_hashed(void **state)
{
	struct world *w = *state;

	assert_int_equal(
		verdict_of(w->smtpd, 1, SERVICE_SUBMISSION, "PLAIN", SPAN("\0no@example.org\0x")),
		AUTH_WRONG);
	assert_int_equal(w->asked[0], 1);
	assert_string_equal(w->last_hash, password_of_nobody);
	assert_int_equal(verdict_of(w->smtpd, 2, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0off@example.org\0secret")),
		AUTH_WRONG);
	assert_int_equal(w->asked[0], 2);
	assert_string_equal(w->last_hash, password_of_nobody);
}

static void
remembered_until_the_password_changes(void **state)
{
	struct world *w = *state;

	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(verdict_of(w->smtpd, 1 + i, SERVICE_SUBMISSION, "PLAIN",
					 SPAN("\0ana@example.org\0secret")),
			AUTH_RIGHT);
	assert_int_equal(w->asked[0], 1);
	/* Another user with the same password is another login. */
	assert_int_equal(
		verdict_of(w->login, 5, SERVICE_IMAP, "PLAIN", SPAN("\0bob@example.org\0secret")),
		AUTH_RIGHT);
	assert_int_equal(w->asked[0], 2);
	assert_string_equal(w->ticket_user, "bob@example.org");
	write_tables(w, "changed");
	assert_int_equal(verdict_of(w->smtpd, 6, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_WRONG);
	assert_int_equal(verdict_of(w->smtpd, 7, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0changed")),
		AUTH_RIGHT);
	assert_int_equal(w->asked[0], 4);
}

static void
passports(void **state)
{
	struct world *w = *state;
	struct span initial = SPAN("\0ana@example.org\0secret");
	struct passport p;
	struct text sealed = TEXT_UP_TO(MOST_PASSPORT);

	ask_with(w->smtpd, 1, SERVICE_SUBMISSION, "PLAIN", initial, true, NULL);
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_NEEDS_TLS);
	p = good_passport(2, SERVICE_SUBMISSION); /* of another session */
	ask_with(w->smtpd, 3, SERVICE_SUBMISSION, "PLAIN", initial, true, &p);
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_NEEDS_TLS);
	p = good_passport(4, SERVICE_SMTP); /* of another service */
	ask_with(w->smtpd, 4, SERVICE_SUBMISSION, "PLAIN", initial, true, &p);
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_NEEDS_TLS);
	p = good_passport(5, SERVICE_SUBMISSION);
	p.issued -= PASSPORT_MOST_SECONDS + 5;
	ask_with(w->smtpd, 5, SERVICE_SUBMISSION, "PLAIN", initial, true, &p);
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_LATER);
	/* Each byte of a good one changed: never accepted. */
	p = good_passport(6, SERVICE_SUBMISSION);
	assert_true(passport_seal(w->auth.daemon.passport_key, &p, &sealed));
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.at[i] ^= 1;
		send_auth_ask(w->smtpd->own_side, 6,
			&(struct msg_auth_ask){.service = SERVICE_SUBMISSION,
				.mechanism = SPAN("PLAIN"),
				.has_initial = true,
				.initial = initial,
				.passport = text_span(&sealed),
				.ip = SPAN("192.0.2.7")},
			NULL);
		assert_int_equal(hear(w->smtpd)->verdict, AUTH_NEEDS_TLS);
		sealed.at[i] ^= 1;
	}
	/* smtpd may not ask for IMAP: there would be a ticket. */
	assert_int_equal(verdict_of(w->smtpd, 7, SERVICE_IMAPS, "PLAIN", initial), AUTH_LATER);
	assert_int_equal(verdict_of(w->login, 8, SERVICE_SUBMISSION, "PLAIN", initial), AUTH_LATER);
	turn(w);
	assert_int_equal(w->tickets, 0);
	assert_int_equal(w->asked[0], 0);
	text_clear(&sealed);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
failures_wait_and_successes_do_not(void **state)
{
	struct world *w = *state;
	struct passport elsewhere = good_passport(2, SERVICE_IMAPS);
	double start = now();

	w->settings.auth_delay_seconds = 1;
	w->settings.auth_delay_most_seconds = 2;
	ask(w->smtpd, 1, SERVICE_SUBMISSION, "PLAIN", SPAN("\0ana@example.org\0wrong"));
	turn(w);
	/* Meanwhile others, and the same user from elsewhere, come in at once; */
	elsewhere.ip = SPAN("192.0.2.99");
	ask_with(w->login, 2, SERVICE_IMAPS, "PLAIN", SPAN("\0ana@example.org\0secret"), true,
		&elsewhere);
	assert_int_equal(hear(w->login)->verdict, AUTH_RIGHT);
	assert_int_equal(
		verdict_of(w->login, 4, SERVICE_IMAPS, "PLAIN", SPAN("\0bob@example.org\0secret")),
		AUTH_RIGHT);
	assert_true(now() - start < 0.9);
	assert_int_equal(w->smtpd->count, 0);
	/* who might have hung up on the penalty waits for its end, even with the right password: before
	 * that nobody hears whether it was right. */
	ask(w->login, 5, SERVICE_IMAPS, "PLAIN", SPAN("\0ana@example.org\0secret"));
	turn(w);
	assert_int_equal(w->login->count, w->login->heard);
	struct told *t = hear(w->smtpd);
	assert_int_equal(t->verdict, AUTH_WRONG);
	assert_true(now() - start > 0.9 && now() - start < 1.9);
	assert_int_equal(hear(w->login)->verdict, AUTH_RIGHT);
	assert_true(now() - start > 0.9 && now() - start < 2.9);
	/* Leaving: nobody waits any longer. */
	ask(w->smtpd, 3, SERVICE_SUBMISSION, "PLAIN", SPAN("\0ana@example.org\0wrong"));
	turn(w);
	assert_int_equal(w->auth.conversations.count, 1);
	conversations_hurry(&w->auth);
	assert_int_equal(w->auth.conversations.count, 0);
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_WRONG);
}

/* Bad ones do not disturb a login that is half done. */
static void
a1_bad_ones_disturb_nobody(void **state)
{
	struct world *w = *state;

	ask(w->smtpd, 1, SERVICE_SUBMISSION, "LOGIN", SPAN_NONE);
	assert_string_equal(hear(w->smtpd)->text, "Username:");
	answer(w->smtpd, 1, SPAN("ana@example.org"));
	assert_string_equal(hear(w->smtpd)->text, "Password:");
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(
			verdict_of(w->smtpd, 100 + i, SERVICE_SUBMISSION, "PLAIN", SPAN("!!!!")),
			AUTH_MALFORMED);
	answer(w->smtpd, 1, SPAN("secret"));
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_RIGHT);
}

/* Aborted in each state, a thousand times. */
static void
a4_aborts_leave_nothing(void **state)
{
	struct world *w = *state;

	w->settings.auth_delay_seconds = 1;
	w->settings.auth_delay_most_seconds = 1;
	w->silent[0] = true;
	for (uint64_t i = 1; i <= 1000; i++) {
		if (i % 3 == 0)
			w->silent[0] = false; /* reaches the delay */
		ask(w->smtpd, i, SERVICE_SUBMISSION, i % 3 == 1 ? "LOGIN" : "PLAIN",
			i % 3 == 1 ? SPAN_NONE : SPAN("\0ana@example.org\0wrong"));
		if (i % 7 == 0)
			turn(w);
		send_auth_cancel(w->smtpd->own_side, i, &(struct msg_auth_cancel){}, NULL);
		/* And anew, under the same id. */
		ask(w->smtpd, i, SERVICE_SUBMISSION, "LOGIN", SPAN_NONE);
		send_auth_cancel(w->smtpd->own_side, i, &(struct msg_auth_cancel){}, NULL);
		if (i % 100 == 0)
			turn(w);
	}
	turn(w);
	assert_int_equal(w->auth.conversations.count, 0);
	assert_false(w->smtpd->gone);
	/* A disconnect with all states open; leave_world looks that none is left. */
	w->settings.auth_delay_most_seconds = 600;
	for (uint64_t i = 1; i <= 30; i++)
		ask(w->login, i, SERVICE_IMAPS, i % 2 ? "LOGIN" : "PLAIN",
			i % 2 ? SPAN_NONE : SPAN("\0ana@example.org\0wrong"));
	turn(w);
	assert_int_equal(w->auth.conversations.count, 30);
}

static void
workers_die(void **state)
{
	struct world *w = *state;

	/* The only one dies: the question waits for the next one. */
	w->dies[0] = true;
	ask(w->smtpd, 1, SERVICE_SUBMISSION, "PLAIN", SPAN("\0ana@example.org\0secret"));
	turn(w);
	assert_int_equal(w->asked[0], 1);
	assert_int_equal(w->smtpd->count, 0);
	w->dies[0] = false;
	worker_new(w, 0);
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_RIGHT);
	/* Two in a row die of it: no third. */
	w->dies[0] = w->dies[1] = true;
	worker_new(w, 1);
	ask(w->smtpd, 2, SERVICE_SUBMISSION, "PLAIN", SPAN("\0bob@example.org\0secret"));
	assert_int_equal(hear(w->smtpd)->verdict, AUTH_LATER);
	/* An answer to a question that was not asked ends that worker, nobody else. */
	w->dies[0] = w->dies[1] = false;
	worker_new(w, 0);
	worker_new(w, 1);
	send_hash_told(w->worker_side[0], 99999, &(struct msg_hash_told){.right = true}, NULL);
	turn(w);
	assert_int_equal(verdict_of(w->smtpd, 3, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0bob@example.org\0secret")),
		AUTH_RIGHT);
}

static void
too_many_wait(void **state)
{
	struct world *w = *state;
	unsigned int later = 0;

	w->silent[0] = true;
	for (uint64_t i = 1; i <= POOL_MOST_WAITING + 5; i++)
		ask(w->smtpd, i, SERVICE_SUBMISSION, "PLAIN", SPAN("\0ana@example.org\0wrong"));
	turn(w);
	/* One is with the worker. */
	for (size_t i = 0; i < w->smtpd->count; i++)
		later += w->smtpd->told[i].verdict == AUTH_LATER;
	assert_int_equal(later, 4);
	assert_int_equal(w->auth.conversations.count, POOL_MOST_WAITING + 1);
}

static void
too_many_conversations(void **state)
{
	struct world *w = *state;

	for (uint64_t i = 1; i <= MOST_CONVERSATIONS; i++) {
		ask(w->smtpd, i, SERVICE_SUBMISSION, "LOGIN", SPAN_NONE);
		if (i % 64 == 0)
			turn(w);
	}
	turn(w);
	assert_int_equal(w->auth.conversations.count, MOST_CONVERSATIONS);
	assert_int_equal(
		verdict_of(w->smtpd, 9999, SERVICE_SUBMISSION, "LOGIN", SPAN_NONE), AUTH_LATER);
	/* Another front end has room of its own. */
	assert_int_equal(
		verdict_of(w->login, 1, SERVICE_IMAPS, "PLAIN", SPAN("\0ana@example.org\0secret")),
		AUTH_RIGHT);
}

/* A front end that belongs to an enemy: whatever it says ends itself at most. */
static void
broken_front_ends_end_themselves(void **state)
{
	struct world *w = *state;
	unsigned char packet[MOST_PACKET];
	struct msg_auth_answer an = {.data = SPAN("secret")};
	struct msg_hash_told told = {.right = true};
	struct msg_ticket_made made = {
		.ticket = SPAN("0123456789abcdef"), .user = SPAN("u"), .home = SPAN("h")};
	size_t len;

	/* Somebody is between LOGIN's two questions all the while. */
	ask(w->login, 77, SERVICE_IMAPS, "LOGIN", SPAN_NONE);
	assert_string_equal(hear(w->login)->text, "Username:");
	srandom(7);
	for (unsigned int i = 0; i < 300; i++) {
		w->broken = front_new(w, i % 2 ? PROGRAM_SMTPD : PROGRAM_IMAP_LOGIN, i % 60, true);
		switch (i % 6) {
		case 0: /* noise */
			len = (size_t)random() % 200;
			for (size_t k = 0; k < len; k++)
				packet[k] = (unsigned char)random();
			break;
		case 1: /* another's session */
			len = message_encode(MSG_auth_answer, 77, &an, packet);
			break;
		case 2: /* not its words */
			len = message_encode(MSG_hash_told, 1, &told, packet);
			break;
		case 3:
			len = message_encode(MSG_ticket_made, 77, &made, packet);
			break;
		case 4: /* cut short */
			len = message_encode(MSG_auth_answer, 77, &an, packet) - 1;
			break;
		default: /* the right word with a length that lies */
			len = message_encode(MSG_auth_answer, 77, &an, packet);
			memset(packet + 10, 0xff, 4);
			break;
		}
		if (len > 0)
			assert_true(send(w->broken->raw, packet, len, MSG_NOSIGNAL) >= 0);
		turn(w);
		front_free(&w->broken);
		turn(w);
	}
	answer(w->login, 77, SPAN("ana@example.org"));
	assert_string_equal(hear(w->login)->text, "Password:");
	answer(w->login, 77, SPAN("secret"));
	assert_int_equal(hear(w->login)->verdict, AUTH_RIGHT);
	assert_int_equal(w->tickets, 1);
	/* An answer that nobody waits for ends the front end; its cancel is only too late. */
	send_auth_cancel(w->login->own_side, 77, &(struct msg_auth_cancel){}, NULL);
	turn(w);
	assert_false(w->login->gone);
	answer(w->login, 77, SPAN("again"));
	turn(w);
	assert_true(w->login->gone);
	assert_int_equal(verdict_of(w->smtpd, 1, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_RIGHT);
}

/* Tables that cannot be read are nobody's fault but ours. */
static void
damaged_tables_mean_later(void **state)
{
	struct world *w = *state;
	int fd = openat(w->directory, PASSWD_TABLE, O_RDWR | O_TRUNC);

	assert_int_equal(write(fd, "rubbish", 7), 7);
	close(fd);
	assert_int_equal(verdict_of(w->smtpd, 1, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_LATER);
	assert_int_equal(unlinkat(w->directory, USERS_TABLE, 0), 0);
	assert_int_equal(unlinkat(w->directory, PASSWD_TABLE, 0), 0);
	assert_int_equal(verdict_of(w->smtpd, 2, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_WRONG);
	write_tables(w, "secret");
	assert_int_equal(verdict_of(w->smtpd, 3, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_RIGHT);
}

static void
put_record(struct world *w, const char *table, const char *of, struct span record)
{
	struct table_build *b = table_build_begin(w->directory, table);

	assert_int_equal(table_build_put(b, span_str(of), record), 0);
	assert_int_equal(table_build_commit(&b, 0600, -1, -1), 0);
}

/* A record that does not decode: later, and it does not count as a failure. */
static void
i4_damaged_records_mean_later(void **state)
{
	static const struct span wrong[] = {SPAN("\1\2\3rubbish"), SPAN("\377"), SPAN("\1")};
	struct world *w = *state;
	uint64_t session = 1;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		put_record(w, PASSWD_TABLE, "ana@example.org", wrong[i]);
		assert_int_equal(verdict_of(w->smtpd, session++, SERVICE_SUBMISSION, "PLAIN",
					 SPAN("\0ana@example.org\0secret")),
			AUTH_LATER);
		write_tables(w, "secret");
		put_record(w, USERS_TABLE, "ana@example.org", wrong[i]);
		assert_int_equal(verdict_of(w->smtpd, session++, SERVICE_SUBMISSION, "PLAIN",
					 SPAN("\0ana@example.org\0secret")),
			AUTH_LATER);
		write_tables(w, "secret");
	}
	assert_int_equal(w->asked[0] + w->asked[1], 0);
	assert_int_equal(verdict_of(w->smtpd, session++, SERVICE_SUBMISSION, "PLAIN",
				 SPAN("\0ana@example.org\0secret")),
		AUTH_RIGHT);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, enter, leave_world)
	const struct CMUnitTest tests[] = {
		T(right_passwords),
		T(l5_ticket_for_master_first),
		T(wrong_passwords),
		T(a7_unknown_users_are_hashed),
		T(remembered_until_the_password_changes),
		T(passports),
		T(failures_wait_and_successes_do_not),
		T(a1_bad_ones_disturb_nobody),
		T(a4_aborts_leave_nothing),
		T(workers_die),
		T(too_many_wait),
		T(too_many_conversations),
		T(broken_front_ends_end_themselves),
		T(damaged_tables_mean_later),
		T(i4_damaged_records_mean_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
