/* The queue manager: smtpd and the command are played, the workers are the real ones in the same
 * loop, so that they can be made to die at the wrong moment. */
#include "delivery_rig.h"
#include "expect.h"

#include "delivery/envelope.h"
#include "delivery/keeper.h"
#include "delivery/logins.h"
#include "delivery/placer.h"
#include "delivery/hop.h"
#include "delivery/relaying.h"
#include "delivery/spool_name.h"
#include "delivery/spooler.h"

#include <time.h>

#define MESSAGE "Subject: one\r\n\r\nbody\r\n"
#define MESSAGE_SIZE (sizeof(MESSAGE) - 1)
#define MOST_TOLD 16

#define DAY 86400

/* The clock that everything in this program is told, in place of the C library's; timers have another one. */
static int64_t clock_is_off;

time_t
time(time_t *to)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += (time_t)clock_is_off;
	if (to != NULL)
		*to = now.tv_sec;
	return now.tv_sec;
}

static struct span domains[] = { { (const unsigned char *)"example.org", 11 } };

/* A whole small suite, and what its smtpd and its command heard last. */
struct world {
	struct place_rig rig;
	struct event_base *base;
	struct settings settings;
	struct queue q;
	struct placer placer;
	struct spooler spooler;
	struct channel *local, *spool, *smtpd, *command, *auth;   /* the other ends */
	bool workers_rest;                                 /* they hear, but do not work */
	int begun, told, file_fd, files, entries, recipients, ends, done, gone;
	uint8_t outcome;                                   /* of the last order that was answered */
	bool last_write;
	int recipient_told;
	uint16_t code, begun_code, recipient_code[MOST_TOLD];
	char status[MOST_STATUS + 1], state[17], reason[MOST_REASON + 1];
	uint32_t listed;
	struct channel *last_end;                          /* the queue's, of what was wired last */
	struct channel *relay;
	int jobs;                                          /* that relay was given; the last: */
	uint64_t job, job_message;
	uint64_t deliver_by;                               /* of what begins, to be returned then; 0: no wish */
};

static const struct rig_user users[] = {
	{ "ana@example.org", "example.org/ana", 1, false },
	{ "bob@example.org", "example.org/bob", 2, false },
	{ "bad@example.org", "example.org/bad", 3, false },
	{ NULL, NULL, 0, false },
};

static void
on_mail_begun(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_begun *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->begun++;
	w->begun_code = m->code;
}

static void
on_mail_recipient_told(void *me, struct channel *from, uint64_t id,
	const struct msg_mail_recipient_told *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->recipient_told++;
	if (m->number < MOST_TOLD)
		w->recipient_code[m->number] = m->code;
}

static void
on_mail_file(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_file *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	w->files++;
	w->last_write = m->last_write;
	w->file_fd = fd[0];
}

static void
on_mail_told(
	void *me, struct channel *from, uint64_t id, const struct msg_mail_told *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->told++;
	w->code = m->code;
	span_copy(m->status, w->status, sizeof(w->status));
}

static void
on_queue_entry(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_entry *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->entries++;
	span_copy(m->state, w->state, sizeof(w->state));
}

static void
on_queue_entry_recipient(void *me, struct channel *from, uint64_t id,
	const struct msg_queue_entry_recipient *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->recipients++;
	span_copy(m->reason, w->reason, sizeof(w->reason));
}

static void
on_queue_done(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_done *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->done++;
	w->outcome = m->outcome;
}

static void
on_queue_end(
	void *me, struct channel *from, uint64_t id, const struct msg_queue_end *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	(void)id;
	(void)fd;
	w->ends++;
	w->listed = m->messages;
}

static uint32_t
any_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)id;
	return message_row(m)->hours;
}

static void
on_gone(void *me, struct channel *from)
{
	struct world *w = me;

	w->gone++;
	if (from == w->smtpd)
		w->smtpd = NULL;
}

static const struct hearing smtpd_hears = { .hour = any_hour, .gone = on_gone,
	.on_mail_begun = on_mail_begun, .on_mail_recipient_told = on_mail_recipient_told,
	.on_mail_file = on_mail_file, .on_mail_told = on_mail_told };
static const struct hearing command_hears = { .hour = any_hour, .gone = on_gone,
	.on_queue_entry = on_queue_entry, .on_queue_entry_recipient = on_queue_entry_recipient,
	.on_queue_done = on_queue_done, .on_queue_end = on_queue_end };

static const struct hearing auth_hears = { .hour = any_hour, .gone = on_gone };

/* A channel between the queue and somebody; returns the other's end. */
static struct channel *
wire(struct world *w, enum program program, const struct hearing *queue_hears,
	const struct hearing *hears, void *me)
{
	int ends[2];

	assert_int_equal(channel_pair(ends), 0);
	w->last_end = channel_new(w->base, ends[0], PROGRAM_QUEUE, program, 0, queue_hears, &w->q);
	keeper_peer_came(&w->q, w->last_end);
	return channel_new(w->base, ends[1], program, PROGRAM_QUEUE, 0, hears, me);
}

static void
turn(struct world *w)
{
	event_base_loop(w->base, EVLOOP_NONBLOCK);
	if (!w->workers_rest) {
		placer_work(&w->placer);
		spooler_work(&w->spooler);
	}
}

static void
turns(struct world *w, int milliseconds)
{
	for (int i = 0; i < milliseconds; i++) {
		turn(w);
		usleep(1000);
	}
}

static void
wait_for(struct world *w, const int *count, int least)
{
	for (int i = 0; i < 3000 && *count < least; i++) {
		turn(w);
		usleep(500);
	}
	assert_true(*count >= least);
}

static void
local_comes(struct world *w)
{
	placer_init(&w->placer, w->rig.mail, "host.example");
	w->local = wire(w, PROGRAM_LOCAL, &queue_hears_local, &placer_hears_queue, &w->placer);
}

/* Nobody who is away is expected any more. */
static void
nobody_comes(struct world *w)
{
	w->q.local_seen = w->q.homes_seen = w->q.relay_seen = queue_now() - 2 * WORKER_COMES_SECONDS;
}

static void
local_dies(struct world *w)
{
	channel_free(&w->local);
	placer_clear(&w->placer);
	turns(w, 5);
}

static void
spool_comes(struct world *w)
{
	assert_true(spooler_init(&w->spooler, w->rig.spool));
	w->spool = wire(w, PROGRAM_SPOOL, &queue_hears_spool, &spooler_hears_queue, &w->spooler);
}

static void
spool_dies(struct world *w)
{
	channel_free(&w->spool);
	spooler_clear(&w->spooler);
	turns(w, 5);
}

static void
smtpd_comes(struct world *w)
{
	w->smtpd = wire(w, PROGRAM_SMTPD, &queue_hears_smtpd, &smtpd_hears, w);
}

static void
queue_comes(struct world *w)
{
	memset(&w->q, 0, sizeof(w->q));
	w->q.daemon.base = w->base;
	w->q.daemon.settings = &w->settings;
	w->q.daemon.directory[DIRECTORY_SPOOL] = w->rig.spool;
	w->q.daemon.directory[DIRECTORY_STATE] = w->rig.state;
	assert_true(keeper_init(&w->q));
}

static int
world_make(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	rig_make(&w->rig);
	rig_users(&w->rig, users);
	w->base = event_base_new();
	w->settings = (struct settings){.relay_concurrency = 20, .queue_days = 60, .hostname = SPAN("mail.example.org"), .domains = {domains, 1},
		.recipients = 10,
		.connections = 3,
		.message_size_bytes = 100000};
	w->file_fd = -1;
	queue_comes(w);
	local_comes(w);
	spool_comes(w);
	smtpd_comes(w);
	w->auth = wire(w, PROGRAM_AUTH, &queue_hears_auth, &auth_hears, w);
	w->command = wire(w, PROGRAM_COMMAND, &queue_hears_command, &command_hears, w);
	*state = w;
	return 0;
}

static int
world_remove(void **state)
{
	struct world *w = *state;

	if (w->file_fd >= 0)
		close(w->file_fd);
	placer_clear(&w->placer);
	spooler_clear(&w->spooler);
	rig_remove(&w->rig);
	free(w);
	return 0;
}

/* --- what auth says --- */

static void
log_in(struct world *w, unsigned int front, uint64_t session, const char *login)
{
	size_t before = w->q.logins.count;

	send_mail_login(w->auth, session,
		&(struct msg_mail_login){ .index = (uint16_t)front, .service = SERVICE_SUBMISSION,
			.login = span_str(login) },
		NULL);
	for (int i = 0; i < 10 && w->q.logins.count == before; i++)
		turns(w, 1);
}

/* --- what smtpd says --- */

static void
begin(struct world *w, uint64_t id, const char *login)
{
	int before = w->begun;

	if (login[0] != '\0')
		log_in(w, 0, 99, login);
	send_mail_begin(w->smtpd, id,
		&(struct msg_mail_begin){.session = 99,
			.service = SERVICE_SUBMISSION,
			.sender = SPAN("s@far.example"),
			.login = span_str(login),
			.body = BODY_8BITMIME,
			.deliver_by = w->deliver_by,
			.by_mode = w->deliver_by != 0 ? 'R' : 0},
		NULL);
	wait_for(w, &w->begun, before + 1);
}

static void
recipient(struct world *w, uint64_t id, uint32_t number, const char *address)
{
	int before = w->recipient_told;

	send_mail_recipient(w->smtpd, id, &(struct msg_mail_recipient){ .number = number,
		.address = span_str(address) }, NULL);
	wait_for(w, &w->recipient_told, before + 1);
}

static void
data(struct world *w, uint64_t id)
{
	send_mail_data(w->smtpd, id, &(struct msg_mail_data){ }, NULL);
}

static void
write_and_commit(struct world *w, uint64_t id)
{
	wait_for(w, &w->files, 1);
	assert_int_equal(write(w->file_fd, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
	close(w->file_fd);
	w->file_fd = -1;
	send_mail_commit(w->smtpd, id, &(struct msg_mail_commit){ .size = MESSAGE_SIZE,
		.digest = SPAN("0123456789abcdef0123456789abcdef") }, NULL);
}

static void
expect_told(struct world *w, uint16_t code, const char *status)
{
	wait_for(w, &w->told, 1);
	assert_int_equal(w->code, code);
	assert_string_equal(w->status, status);
	w->told = w->files = 0;
}

static int
inbox(struct world *w, const char *user)
{
	char path[128];

	snprintf(path, sizeof(path), "example.org/%s/Maildir/new", user);
	return rig_count(w->rig.mail, path);
}

static int
in_queue(struct world *w)
{
	return rig_count(w->rig.spool, "queue");
}

/* Until the queue is empty, or has `files` files. */
static void
until_in_queue(struct world *w, int files)
{
	for (int i = 0; i < 3000 && in_queue(w) != files; i++) {
		turn(w);
		usleep(500);
	}
	assert_int_equal(in_queue(w), files);
}

static void
list(struct world *w)
{
	w->entries = w->recipients = w->ends = 0;
	send_queue_list(w->command, 1, &(struct msg_queue_list){ }, NULL);
	wait_for(w, &w->ends, 1);
}

/* --- tests --- */

/* Who is named twice gets one; and still gets it when a filter takes one of the two out, whichever. */
static void
dropping_one_of_two_keeps_the_other(void **state)
{
	struct world *w = *state;
	static const uint32_t drops[][3] = { { 0, 9, 9 }, { 1, 9, 9 }, { 0, 1, 9 }, { 0, 2, 9 }, { 1, 2, 9 }, { 2, 1, 0 } };

	for (uint64_t i = 0; i < sizeof(drops) / sizeof(drops[0]); i++) {
		uint64_t id = 100 + i;

		begin(w, id, "ana");
		recipient(w, id, 0, "x@far.example");
		recipient(w, id, 1, "X@far.example");
		recipient(w, id, 2, "x@FAR.example");
		recipient(w, id, 3, "y@far.example");
		for (int n = 0; n < 3; n++)
			send_mail_recipient_drop(
				w->smtpd, id, &(struct msg_mail_recipient_drop){ .number = drops[i][n] }, NULL);
		data(w, id);
		write_and_commit(w, id);
		expect_told(w, 250, "2.0.0");
		list(w);
		assert_int_equal(w->entries, i + 1);
		/* One for x, unless all three were dropped; one for y. */
		assert_int_equal(w->recipients, 2 * (i + 1) - (i == 5));
		assert_int_equal(w->q.pending_recipients, 0);
	}
}

static void
local_mail_is_written_once(void **state)
{
	struct world *w = *state;
	struct rig_expected e = { .text = MESSAGE };

	begin(w, 1, "");
	recipient(w, 1, 0, "ana@example.org");
	recipient(w, 1, 1, "Bob@example.org");
	recipient(w, 1, 2, "ANA@example.org");      /* twice: answered, delivered once */
	recipient(w, 1, 3, "postmaster");           /* ana again */
	recipient(w, 1, 4, "nobody@example.org");
	recipient(w, 1, 5, "x@far.example");
	assert_true(w->recipient_code[0] == 250 && w->recipient_code[1] == 250 &&
		w->recipient_code[2] == 250 && w->recipient_code[3] == 250);
	assert_true(w->recipient_code[4] == 550 && w->recipient_code[5] == 550);
	data(w, 1);
	write_and_commit(w, 1);
	expect_told(w, 250, "2.0.0");
	assert_true(w->last_write);
	assert_int_equal(inbox(w, "ana"), 1);
	assert_int_equal(inbox(w, "bob"), 1);
	assert_int_equal(rig_each(w->rig.mail, "example.org/ana/Maildir/new", rig_same, &e), 1);
	assert_int_equal(e.links, 2);
	assert_int_equal(in_queue(w), 0);
	assert_int_equal(w->q.transactions, 0);
}

static void
mixed_mail_is_queued_and_delivered(void **state)
{
	struct world *w = *state;
	struct rig_expected e = { .text = "Return-Path: <s@far.example>\r\n"
					  "Delivered-To: bob@example.org\r\n" MESSAGE };

	nobody_comes(w);
	begin(w, 1, "ana@example.org");
	recipient(w, 1, 0, "bob@example.org");
	recipient(w, 1, 1, "x@far.example");
	data(w, 1);
	write_and_commit(w, 1);
	expect_told(w, 250, "2.0.0");
	assert_false(w->last_write);
	turns(w, 50);
	assert_int_equal(rig_each(w->rig.mail, "example.org/bob/Maildir/new", rig_same, &e), 1);
	assert_int_equal(in_queue(w), 2);
	list(w);
	assert_true(w->entries == 1 && w->recipients == 1 && w->listed == 1);
	assert_string_equal(w->state, "deferred");
	assert_string_equal(w->reason, "not tried yet");   /* no relay is there */
	/* Its id is taken, for everybody. */
	begin(w, 1, "");
	assert_int_equal(w->begun_code, 451);
}

static void
no_recipients_no_data(void **state)
{
	struct world *w = *state;

	begin(w, 1, "");
	recipient(w, 1, 0, "nobody@example.org");
	data(w, 1);
	expect_told(w, 554, "5.5.1");
	assert_int_equal(w->q.transactions, 0);
}

/* What the sender asked for, holding, and the lines on top are in the spool; held stays held. */
static void
tls_is_as_the_message_says(void **state)
{
	struct world *w = *state;

	/* RFC 8689 4.1: its field counts, unless MAIL said the contrary. */
	for (int required = 0; required < 2; required++) {
		struct queued_file f;
		uint64_t id = (uint64_t)(7 + required);

		w->begun = w->recipient_told = w->files = w->told = 0;
		send_mail_begin(w->smtpd, id, &(struct msg_mail_begin){ .session = 99, .sender = SPAN("s@far.example"),
			.priority = PRIORITY_NORMAL, .require_tls = required != 0, .hold_for = 40, .hold_until = 1 }, NULL);
		wait_for(w, &w->begun, 1);
		send_mail_recipient(w->smtpd, id,
			&(struct msg_mail_recipient){ .number = 0, .address = SPAN("ana@example.org") }, NULL);
		wait_for(w, &w->recipient_told, 1);
		send_mail_data(w->smtpd, id, &(struct msg_mail_data){ .by_queue = true }, NULL);
		wait_for(w, &w->files, 1);
		assert_int_equal(write(w->file_fd, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
		close(w->file_fd);
		w->file_fd = -1;
		send_mail_commit(w->smtpd, id, &(struct msg_mail_commit){ .size = MESSAGE_SIZE,
			.digest = SPAN("0123456789abcdef0123456789abcdef"), .hold = true, .hold_reason = SPAN("x"),
			.tls_optional = true }, NULL);
		expect_told(w, 250, "2.0.0");
		assert_int_equal(queued_read(&w->q, id, &f), 0);
		assert_int_equal(f.envelope.wishes.tls_optional, !required);
		assert_int_equal(f.envelope.wishes.hold_for, 40);
		queued_file_clear(&f);
	}
}

static void
wishes_reach_the_envelope(void **state)
{
	struct world *w = *state;
	struct queued_file f;

	send_mail_begin(w->smtpd, 7, &(struct msg_mail_begin){ .session = 99,
		.sender = SPAN("s@far.example"), .envid = SPAN("Q1"), .ret = RET_HEADERS,
		.require_tls = true, .deliver_by = 99, .by_mode = 'N', .by_trace = true,
		.priority = 14, .auth_param = SPAN("x@y.example") }, NULL);
	wait_for(w, &w->begun, 1);
	send_mail_recipient(w->smtpd, 7, &(struct msg_mail_recipient){ .number = 0,
		.address = SPAN("ana@example.org"), .notify = NOTIFY_DELAY,
		.orcpt = SPAN("rfc822;\"a\nb\"@x.example") }, NULL);
	wait_for(w, &w->recipient_told, 1);
	send_mail_data(w->smtpd, 7, &(struct msg_mail_data){ .by_queue = true }, NULL);
	wait_for(w, &w->files, 1);
	assert_false(w->last_write);
	assert_int_equal(write(w->file_fd, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
	close(w->file_fd);
	w->file_fd = -1;
	send_mail_commit(w->smtpd, 7, &(struct msg_mail_commit){ .size = MESSAGE_SIZE,
		.digest = SPAN("0123456789abcdef0123456789abcdef"), .hold = true,
		.hold_reason = SPAN("quarantine"), .top = SPAN("X-Seen: yes\r\n") }, NULL);
	expect_told(w, 250, "2.0.0");
	assert_int_equal(queued_read(&w->q, 7, &f), 0);
	assert_true(span_equal(f.envelope.wishes.envid, SPAN("Q1")));
	assert_true(span_equal(f.envelope.wishes.auth_param, SPAN("x@y.example")));
	assert_true(f.envelope.wishes.require_tls && f.envelope.wishes.by_trace);
	assert_true(f.envelope.wishes.deliver_by == 99 && f.envelope.wishes.by_mode == 'N' &&
		    f.envelope.wishes.priority == 14 && f.envelope.wishes.ret == RET_HEADERS);
	assert_true(span_equal(f.envelope.top, SPAN("X-Seen: yes\r\n")));
	assert_int_equal(f.envelope.recipient[0].notify, NOTIFY_DELAY);
	assert_true(span_equal(f.envelope.recipient[0].orcpt, SPAN("rfc822;\"a\nb\"@x.example")));
	queued_file_clear(&f);
	w->told = 0;
	send_queue_list(w->command, 1, &(struct msg_queue_list){}, NULL);
	wait_for(w, &w->ends, 1);
	assert_string_equal(w->state, "held");
	assert_string_equal(w->reason, "held: quarantine");
	assert_int_equal(rig_count(w->rig.mail, "example.org/ana/Maildir/new"), 0);
}

/* A file that lies in a Maildir already cannot be held. */
static void
what_was_written_straight_is_not_held(void **state)
{
	struct world *w = *state;

	begin(w, 1, "");
	recipient(w, 1, 0, "ana@example.org");
	data(w, 1);
	wait_for(w, &w->files, 1);
	assert_true(w->last_write);
	close(w->file_fd);
	w->file_fd = -1;
	send_mail_commit(w->smtpd, 1, &(struct msg_mail_commit){ .size = 0,
		.digest = SPAN("0123456789abcdef0123456789abcdef"), .hold = true }, NULL);
	expect_told(w, 451, "4.3.0");
	assert_int_equal(rig_count(w->rig.mail, "example.org/ana/Maildir/new"), 0);
}

static uint16_t
begins(struct world *w, uint64_t session, uint8_t service, const char *login)
{
	static uint64_t id = 1000;
	int before = w->begun;

	send_mail_begin(w->smtpd, ++id, &(struct msg_mail_begin){ .session = session,
		.service = service, .login = span_str(login) }, NULL);
	wait_for(w, &w->begun, before + 1);
	if (w->begun_code == 250)
		send_mail_abort(w->smtpd, id, &(struct msg_mail_abort){ }, NULL);
	return w->begun_code;
}

/* What a captured smtpd may say of logins that auth did not give to it, or not any more. */
static void
a_login_is_believed_from_auth_alone(void **state)
{
	struct world *w = *state;
	const char *ana = "ana@example.org", *bob = "bob@example.org";
	uint32_t now;

	assert_int_equal(begins(w, 50, SERVICE_SUBMISSION, ana), 421);  /* forged */
	assert_int_equal(begins(w, 0, SERVICE_SUBMISSION, ana), 421);
	log_in(w, 0, 50, ana);
	log_in(w, 1, 51, bob);
	assert_int_equal(begins(w, 50, SERVICE_SUBMISSION, ana), 250);
	assert_int_equal(begins(w, 50, SERVICE_SUBMISSION, bob), 421);  /* of another user */
	assert_int_equal(begins(w, 50, SERVICE_LOCAL, ana), 421);       /* of another service */
	assert_int_equal(begins(w, 51, SERVICE_SUBMISSION, bob), 421);  /* stolen: another front end's */
	log_in(w, 0, 51, ana);                                          /* and it cannot be taken over */
	assert_int_equal(begins(w, 51, SERVICE_SUBMISSION, ana), 421);
	send_mail_login_end(w->smtpd, 51, &(struct msg_mail_login_end){ }, NULL);
	send_mail_login_end(w->smtpd, 50, &(struct msg_mail_login_end){ }, NULL);
	assert_int_equal(begins(w, 50, SERVICE_SUBMISSION, ana), 421);  /* reused */
	assert_int_equal(w->q.logins.count, 1);                         /* another's is not ended */
	log_in(w, 0, 54, ana);                                          /* cancelled too late, and then another */
	log_in(w, 0, 54, bob);
	assert_int_equal(begins(w, 54, SERVICE_SUBMISSION, ana), 421);
	assert_int_equal(begins(w, 54, SERVICE_SUBMISSION, bob), 250);
	send_mail_login_end(w->smtpd, 54, &(struct msg_mail_login_end){ }, NULL);
	assert_int_equal(begins(w, 54, SERVICE_SUBMISSION, bob), 421);
	log_in(w, 0, 52, ana);
	now = queue_now();
	assert_true(logins_know(&w->q, 0, 52, SERVICE_SUBMISSION, span_str(ana), now));  /* seen now, not a second before */
	assert_true(logins_know(&w->q, 0, 52, SERVICE_SUBMISSION, span_str(ana), now + LOGIN_REST_SECONDS - 1));
	assert_true(logins_know(&w->q, 0, 52, SERVICE_SUBMISSION, span_str(ana), now + 2 * LOGIN_REST_SECONDS - 2));
	assert_false(logins_know(&w->q, 0, 52, SERVICE_SUBMISSION, span_str(ana), now + 3 * LOGIN_REST_SECONDS - 2));
	assert_int_equal(w->q.logins.count, 1);                         /* expired, and forgotten */
	log_in(w, 0, 53, ana);
	channel_free(&w->smtpd);
	turns(w, 5);
	assert_int_equal(w->q.logins.count, 1);                         /* with its front end */
	smtpd_comes(w);
	assert_int_equal(begins(w, 53, SERVICE_SUBMISSION, ana), 421);
}

/* One front end's share: the oldest makes room, another's stays. */
static void
logins_are_bounded(void **state)
{
	struct world *w = *state;

	log_in(w, 1, 1, "bob@example.org");
	for (uint64_t i = 2; i < MOST_LOGINS + 12; i++) {
		send_mail_login(w->auth, i, &(struct msg_mail_login){ .service = SERVICE_SUBMISSION,
			.login = SPAN("ana@example.org") }, NULL);
		if (i % 100 == 0)
			event_base_loop(w->base, EVLOOP_NONBLOCK);
	}
	turns(w, 5);
	assert_int_equal(w->q.logins.count, MOST_LOGINS + 1);
	assert_int_equal(begins(w, 2, SERVICE_SUBMISSION, "ana@example.org"), 421);
	assert_int_equal(begins(w, MOST_LOGINS + 11, SERVICE_SUBMISSION, "ana@example.org"), 250);
}

static void
a_sender_belongs_to_its_login(void **state)
{
	static const struct {
		const char *login, *sender;
		bool check;
		uint16_t code;
	} cases[] = {
		{ "ana@example.org", "ana@example.org", true, 250 },
		{ "ana@example.org", "ANA@Example.org", true, 250 },
		{ "ana@example.org", "", true, 250 },
		{ "ana@example.org", "bob@example.org", true, 553 },
		{ "ana@example.org", "bob@example.org", false, 250 },
		{ "", "bob@example.org", true, 250 }, /* a stranger: may relay nowhere */
	};
	struct span service = SPAN("submission");
	struct world *w = *state;

	log_in(w, 0, 99, "ana@example.org");
	for (uint64_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		w->settings.owner_services = (struct list){ &service, cases[i].check ? 1 : 0 };
		send_mail_begin(w->smtpd, i + 1, &(struct msg_mail_begin){ .session = 99,
			.service = SERVICE_SUBMISSION, .sender = span_str(cases[i].sender),
			.login = span_str(cases[i].login) }, NULL);
		wait_for(w, &w->begun, (int)i + 1);
		assert_int_equal(w->begun_code, cases[i].code);
		if (cases[i].code == 250)
			send_mail_abort(w->smtpd, i + 1, &(struct msg_mail_abort){}, NULL);
	}
}

static void
deliver_to_bob(struct world *w, uint64_t id, uint16_t code, const char *status)
{
	w->told = w->files = 0;
	begin(w, id, "");
	recipient(w, id, 0, "bob@example.org");
	data(w, id);
	write_and_commit(w, id);
	expect_told(w, code, status);
}

/* RFC 3463 2.2: while there is room the next message comes in, whatever its size; then none does: at
 * DATA the first time, from then on at RCPT; what is larger than all of it never. */
static void
r2_a_full_mailbox_is_told_in_the_session(void **state)
{
	struct world *w = *state;
	static const struct rig_user more[] = { { "bob@example.org", "example.org/bob", 2, false },
		{ "ana@example.org", "example.org/ana", 1, false }, { NULL, NULL, 0, false } };

	rig_quota_bytes = MESSAGE_SIZE + 10;
	rig_users(&w->rig, more);
	deliver_to_bob(w, 1, 250, "2.0.0");
	deliver_to_bob(w, 2, 250, "2.0.0");
	w->told = w->files = 0;
	begin(w, 3, "");
	recipient(w, 3, 0, "bob@example.org");
	assert_int_equal(w->recipient_code[0], 250);
	data(w, 3);
	expect_told(w, 452, "4.2.2");
	assert_int_equal(w->files, 0);
	begin(w, 4, "");
	recipient(w, 4, 1, "bob@example.org");
	assert_int_equal(w->recipient_code[1], 452);
	/* Others are none the worse for it. */
	recipient(w, 4, 2, "ana@example.org");
	assert_int_equal(w->recipient_code[2], 250);
	send_mail_abort(w->smtpd, 4, &(struct msg_mail_abort){}, NULL);
	assert_int_equal(rig_count(w->rig.mail, "example.org/bob/Maildir/new"), 2);
	rig_quota_bytes = 5;
	rig_users(&w->rig, more);
	w->told = w->files = 0;
	begin(w, 5, "");
	recipient(w, 5, 0, "ana@example.org");
	data(w, 5);
	write_and_commit(w, 5);
	expect_told(w, 552, "5.2.2");
	assert_int_equal(rig_count(w->rig.mail, "example.org/ana/Maildir/new"), 0);
	rig_quota_bytes = 0;
	rig_users(&w->rig, more);
}

static void
ceilings_hold(void **state)
{
	struct world *w = *state;

	for (uint64_t id = 1; id <= 4; id++)
		begin(w, id, "");
	assert_int_equal(w->begun_code, 451);        /* connections = 3 */
	for (uint32_t i = 0; i < 11; i++)
		recipient(w, 1, i, "ana@example.org");
	assert_int_equal(w->recipient_code[9], 250);
	assert_int_equal(w->recipient_code[10], 452); /* RFC 5321 4.5.3.1.10 */
	send_mail_abort(w->smtpd, 1, &(struct msg_mail_abort){ }, NULL);
	send_mail_abort(w->smtpd, 2, &(struct msg_mail_abort){ }, NULL);
	send_mail_begin(
		w->smtpd, 5, &(struct msg_mail_begin){.sender = SPAN("a\r\nBcc: x@y")}, NULL);
	wait_for(w, &w->begun, 5);
	assert_int_equal(w->begun_code, 501);
	send_mail_begin(w->smtpd, 6, &(struct msg_mail_begin){ .size = 100001 }, NULL);
	wait_for(w, &w->begun, 6);
	assert_int_equal(w->begun_code, 552);
	assert_int_equal(w->q.transactions, 1);
	assert_int_equal(w->q.pending_recipients, 0);
}

/* The trace lines are not the client's: a message of exactly the limit is taken. */
static void
size_limit_is_the_clients(void **state)
{
	static const struct {
		uint64_t size;
		uint16_t code;
	} cases[] = {
		{100000, 451}, /* not of that size in truth: the worker found out */
		{100000 + MOST_TRACE, 451},
		{100000 + MOST_TRACE + 1, 552},
		{UINT32_MAX + (uint64_t)1, 552},
		{UINT64_MAX, 552},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(w, i + 1, "");
		recipient(w, i + 1, 0, "ana@example.org");
		data(w, i + 1);
		wait_for(w, &w->files, 1);
		close(w->file_fd);
		w->files = w->told = 0;
		w->file_fd = -1;
		send_mail_commit(w->smtpd, i + 1, &(struct msg_mail_commit){
			.size = cases[i].size, .digest = SPAN("0123456789abcdef0123456789abcdef")
		}, NULL);
		wait_for(w, &w->told, 1);
		assert_int_equal(w->code, cases[i].code);
	}
}

/* S3, L1: words outside their hour end smtpd, and only smtpd. */
static void
words_out_of_hour_end_the_peer(void **state)
{
	struct world *w = *state;

	begin(w, 1, "");
	send_mail_commit(w->smtpd, 1, &(struct msg_mail_commit){ .size = 1 }, NULL);
	wait_for(w, &w->gone, 1);
	assert_int_equal(w->q.transactions, 0);
	smtpd_comes(w);
	begin(w, 2, "");
	assert_int_equal(w->begun_code, 250);
}

static void
abort_at_every_hour(void **state)
{
	struct world *w = *state;

	for (uint64_t id = 1; id <= 3; id++) {
		begin(w, id, "");
		recipient(w, id, 0, "ana@example.org");
		if (id > 1)
			data(w, id);
		if (id > 2) {
			wait_for(w, &w->files, 1);
			close(w->file_fd);
			w->file_fd = -1;
		}
		send_mail_abort(w->smtpd, id, &(struct msg_mail_abort){ }, NULL);
		turns(w, 20);
		if (w->file_fd >= 0)
			close(w->file_fd);
		w->file_fd = -1;
	}
	assert_true(w->q.transactions == 0 && w->gone == 0 && w->told == 0);
	assert_int_equal(w->placer.jobs.count, 0);
	assert_int_equal(w->q.local[0].load, 0);
	assert_int_equal(inbox(w, "ana"), 0);
}

static void
smtpd_dies(void **state)
{
	struct world *w = *state;

	begin(w, 1, "");
	recipient(w, 1, 0, "ana@example.org");
	data(w, 1);
	wait_for(w, &w->files, 1);
	begin(w, 2, "");
	channel_free(&w->smtpd);
	turns(w, 20);
	assert_true(w->q.transactions == 0 && w->placer.jobs.count == 0);
	/* What was committed is finished without it. */
	smtpd_comes(w);
	close(w->file_fd);
	w->file_fd = -1;
	w->files = 0;
	begin(w, 3, "");
	recipient(w, 3, 0, "ana@example.org");
	data(w, 3);
	wait_for(w, &w->files, 1);
	w->workers_rest = true;
	write_and_commit(w, 3);
	turns(w, 5);
	channel_free(&w->smtpd);
	turns(w, 5);
	assert_int_equal(w->q.transactions, 1);
	w->workers_rest = false;
	turns(w, 20);
	assert_int_equal(w->q.transactions, 0);
	assert_int_equal(inbox(w, "ana"), 1);
}

/* Invariant 10: a dead worker means "try later". */
static void
worker_dies_at_every_hour(void **state)
{
	struct world *w = *state;

	for (uint64_t id = 1; id <= 3; id++) {
		w->workers_rest = id == 3;
		begin(w, id, "");
		recipient(w, id, 0, "ana@example.org");
		if (id == 1)
			local_dies(w);
		data(w, id);
		if (id == 2)
			wait_for(w, &w->files, 1);
		if (id == 3)
			write_and_commit(w, id);
		if (id > 1) {
			turns(w, 5);
			local_dies(w);
		}
		expect_told(w, 451, "4.3.0");
		if (w->file_fd >= 0)
			close(w->file_fd);
		w->file_fd = -1;
		local_comes(w);
	}
	w->workers_rest = false;
	begin(w, 4, "");
	recipient(w, 4, 0, "ana@example.org");
	data(w, 4);
	write_and_commit(w, 4);
	expect_told(w, 250, "2.0.0");
	assert_int_equal(inbox(w, "ana"), 1);
	assert_int_equal(w->q.transactions, 0);
}

/* A mailbox that cannot be used defers a message for both once; then it waits alone. */
static void
trouble_of_one_does_not_stop_the_other(void **state)
{
	struct world *w = *state;

	close(rig_directory(w->rig.mail, "example.org"));
	close(openat(w->rig.mail, "example.org/bad", O_CREAT | O_WRONLY, 0600));
	for (uint64_t id = 1; id <= 2; id++) {
		begin(w, id, "");
		recipient(w, id, 0, "ana@example.org");
		recipient(w, id, 1, "bad@example.org");
		data(w, id);
		write_and_commit(w, id);
		expect_told(w, id == 1 ? 451 : 250, id == 1 ? "4.2.0" : "2.0.0");
	}
	turns(w, 50);
	assert_int_equal(inbox(w, "ana"), 1);
	list(w);
	assert_true(w->entries == 1 && w->recipients == 1);
	assert_string_equal(w->state, "deferred");
	assert_string_equal(w->reason, "451 4.2.0 Mailbox cannot be used at this time");
	/* Mended: the next try delivers it, to bad alone, and the queue is empty. */
	assert_int_equal(unlinkat(w->rig.mail, "example.org/bad", 0), 0);
	schedule_at(&w->q.schedule, schedule_find(&w->q.schedule, 2), queue_now());
	attempts_run(&w->q);
	until_in_queue(w, 0);
	assert_int_equal(inbox(w, "ana"), 1);
	assert_int_equal(inbox(w, "bad"), 1);
	turns(w, 5);
	assert_true(w->q.attempts == 0 && w->q.schedule.messages.count == 0);
}

/* Message 2 waits for bad's mailbox; its sender is a stranger, who would get a report. */
static void
queue_for_bad(struct world *w)
{
	close(rig_directory(w->rig.mail, "example.org"));
	close(openat(w->rig.mail, "example.org/bad", O_CREAT | O_WRONLY, 0600));
	for (uint64_t id = 1; id <= 2; id++) {
		begin(w, id, "");
		recipient(w, id, 0, "ana@example.org");
		recipient(w, id, 1, "bad@example.org");
		data(w, id);
		write_and_commit(w, id);
		expect_told(w, id == 1 ? 451 : 250, id == 1 ? "4.2.0" : "2.0.0");
	}
	turns(w, 50);
	list(w);
	assert_int_equal(w->entries, 1);
}

/* A try, as if it were due. */
static void
try_again(struct world *w)
{
	schedule_at(&w->q.schedule, schedule_find(&w->q.schedule, 2), queue_now());
	attempts_run(&w->q);
	turns(w, 50);
	list(w);
}

/* Whichever way the clock jumps, and however far: nothing is given up or returned for its age, and the next try comes in its
 * time, which is no sooner and not much later than without. */
static void
a_clock_that_jumps_costs_no_message(void **state)
{
	static const int64_t jumps[] = { DAY, -DAY, 100 * DAY, -30 * 365 * (int64_t)DAY, 2 * 3600 };
	struct world *w = *state;
	uint32_t due;

	w->deliver_by = (uint64_t)time(NULL) + 3600;
	w->settings.delay_warning_hours = 4;
	queue_for_bad(w);
	due = schedule_find(&w->q.schedule, 2)->due;
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		clock_is_off = jumps[i];
		turns(w, 20);
		assert_int_equal(schedule_find(&w->q.schedule, 2)->due, due);
		try_again(w);
		assert_int_equal(w->entries, 1);   /* no report that it is late, either */
		assert_string_equal(w->state, "deferred");
		assert_string_equal(w->reason, "451 4.2.0 Mailbox cannot be used at this time");
		due = schedule_find(&w->q.schedule, 2)->due;
		assert_true(due >= queue_now() + FIRST_RETRY_SECONDS - 1);
		assert_true(due <= queue_now() + LONGEST_RETRY_SECONDS * 5 / 4);
	}
	assert_int_equal(unlinkat(w->rig.mail, "example.org/bad", 0), 0);
	try_again(w);
	until_in_queue(w, 0);
	assert_int_equal(inbox(w, "bad"), 1);
	clock_is_off = 0;
}

/* What that test looks for is there to be found: when the doubt is over, it is given up. */
static void
doubt_ends(struct world *w, int64_t off)
{
	queue_for_bad(w);
	clock_is_off = off;
	turns(w, 20);
	try_again(w);
	assert_true(w->entries == 1 && schedule_find(&w->q.schedule, 2) != NULL);
	assert_true(w->q.clock_doubtful_until > 0);
	w->q.clock_doubtful_until = 0;
	try_again(w);
	/* The report, to elsewhere, is what waits. */
	assert_null(schedule_find(&w->q.schedule, 2));
	assert_int_equal(w->entries, 1);
	clock_is_off = 0;
}

static void
age_counts_when_the_doubt_is_over(void **state)
{
	doubt_ends(*state, 100 * DAY);
}

static void
deliver_by_counts_when_the_doubt_is_over(void **state)
{
	struct world *w = *state;

	w->deliver_by = (uint64_t)time(NULL) + 3600;
	doubt_ends(w, 2 * 3600);
}

/* A user who was removed since: never, and the sender hears of it. */
static void
a_removed_user_fails_and_the_sender_is_told(void **state)
{
	struct world *w = *state;
	static const struct rig_user left[] = { { "ana@example.org", "example.org/ana", 1, false },
		{ NULL, NULL, 0, false } };

	local_dies(w);
	nobody_comes(w);
	begin(w, 1, "ana@example.org");
	recipient(w, 1, 0, "x@far.example");
	recipient(w, 1, 1, "bob@example.org");
	data(w, 1);
	write_and_commit(w, 1);
	expect_told(w, 250, "2.0.0");
	rig_users(&w->rig, left);
	turns(w, 5);
	local_comes(w);
	schedule_at(&w->q.schedule, schedule_find(&w->q.schedule, 1), queue_now());
	attempts_run(&w->q);
	turns(w, 50);
	assert_int_equal(inbox(w, "bob"), 0);
	list(w);
	/* Beside the message, which waits for the other recipient, a report. */
	assert_int_equal(w->entries, 2);
	assert_int_equal(w->recipients, 3);
}

/* Mail for bob and for somebody elsewhere is in the queue, and its turn has begun. */
static void
queue_for_bob(struct world *w)
{
	begin(w, 1, "ana@example.org");
	recipient(w, 1, 0, "x@far.example");
	recipient(w, 1, 1, "bob@example.org");
	data(w, 1);
	write_and_commit(w, 1);
	expect_told(w, 250, "2.0.0");
	turns(w, 5);
}

static void
queue_remote(struct world *w, uint64_t id)
{
	begin(w, id, "ana@example.org");
	recipient(w, id, 0, "x@far.example");
	data(w, id);
	write_and_commit(w, id);
	expect_told(w, 250, "2.0.0");
}

/* The death of a worker is no failure of anybody: the next has what it left, at once, and not after
 * whatever relay does with the others. */
static void
a_worker_that_died_is_waited_for(void **state)
{
	struct world *w = *state;

	local_dies(w);
	queue_for_bob(w);
	assert_int_equal(inbox(w, "bob"), 0);
	assert_int_equal(w->q.attempts, 1);
	local_comes(w);
	turns(w, 20);
	assert_int_equal(inbox(w, "bob"), 1);
	assert_int_equal(w->q.relaying, 1);
	/* No relay comes in time: the rest is put off. */
	nobody_comes(w);
	relaying_look(&w->q);
	turns(w, 20);
	assert_true(w->q.relaying == 0 && w->q.attempts == 0);
}

/* --- relay is played --- */

static void
on_relay_job(void *me, struct channel *from, uint64_t id, const struct msg_relay_job *m, const int *fd)
{
	struct world *w = me;

	(void)from;
	close(fd[0]);
	w->jobs++;
	w->job = id;
	w->job_message = m->message;
}

static void
on_relay_recipient(
	void *me, struct channel *from, uint64_t id, const struct msg_relay_recipient *m, const int *fd)
{
	(void)me;
	(void)from;
	(void)id;
	(void)m;
	(void)fd;
}

static const struct hearing relay_hears = { .hour = any_hour, .gone = on_gone, .on_relay_job = on_relay_job,
	.on_relay_recipient = on_relay_recipient };

static void
relay_comes(struct world *w)
{
	w->relay = wire(w, PROGRAM_RELAY, &queue_hears_relay, &relay_hears, w);
}

/* What became of the only recipient of the last job. */
static void
relay_says(struct world *w, uint8_t outcome, uint16_t code, const char *status, const char *reason)
{
	send_relay_result(w->relay, w->job,
		&(struct msg_relay_result){ .number = 0, .outcome = outcome, .code = code,
			.status = span_str(status), .reason = span_str(reason), .relay = SPAN("far.example[192.0.2.1]:25") },
		NULL);
	send_relay_done(w->relay, w->job, &(struct msg_relay_done){ .health = HEALTH_GOOD }, NULL);
	turns(w, 20);
}

/* far.example takes nothing for now, and has no room for more of ana's. */
static struct hop *
a_full_hop(struct world *w)
{
	struct hop *h = hop_of(TRANSPORT_RELAY, SPAN("far.example"));

	h->limit = 0;
	for (uint64_t id = 1; id <= HOP_LANE_ROOM; id++)
		queue_remote(w, id);
	turns(w, 20);
	assert_int_equal(h->waits, HOP_LANE_ROOM);
	h->waits += MOST_WAITING_JOBS;
	return h;
}

static struct queued *
queued_of(struct world *w, uint64_t id)
{
	struct queued *m = schedule_find(&w->q.schedule, id);

	assert_non_null(m);
	return m;
}

/* Its time has come. */
static void
due_now(struct world *w, uint64_t id)
{
	schedule_at(&w->q.schedule, queued_of(w, id), queue_now());
	attempts_run(&w->q);
	turns(w, 20);
}

/* Whom a next hop turned away it calls back as others go; who is gone since, or was let in, takes nobody's turn. */
static void
a_next_hop_with_room_again_calls_back(void **state)
{
	struct world *w = *state;
	struct hop *h = a_full_hop(w);
	struct queued *m;

	relay_comes(w);
	for (uint64_t id = 20; id < 30; id++)
		queue_remote(w, id);
	turns(w, 20);
	for (uint64_t id = 20; id < 30; id++) {
		m = queued_of(w, id);
		/* It goes on there: who waits is called, and need not look soon. */
		assert_true(!m->active && m->listed);
		assert_in_range(m->due, queue_now() + 31, queue_now() + 64);
		schedule_at(&w->q.schedule, m, queue_now() + 1000);
	}
	h->waits -= MOST_WAITING_JOBS;
	/* Two come by themselves, and find room; one is gone. All three still stand in the line. */
	due_now(w, 20);
	due_now(w, 21);
	assert_int_equal(h->waits, HOP_LANE_ROOM + 2);
	schedule_forget(&w->q.schedule, queued_of(w, 22));
	/* One job goes: the two that come next are called, are at work in the next turns, and call nobody, since no more
	 * goes. */
	h->limit = 1;
	relaying_peer_came(&w->q, w->last_end);
	turns(w, 20);
	assert_int_equal(w->jobs, 1);
	assert_true(queued_of(w, 23)->active && queued_of(w, 24)->active);
	assert_false(queued_of(w, 25)->active);
	assert_true(queued_of(w, 25)->listed);
	/* Two go where one was: four come. */
	relay_says(w, LATER, 451, "4.7.1", "not now");
	assert_int_equal(w->jobs, 3);
	for (uint64_t id = 25; id < 30; id++)
		assert_true(queued_of(w, id)->active == (id < 29));
}

/* No line is left behind by a hop that is forgotten: who stood in it would stand in no other. */
static void
a_hop_that_is_forgotten_calls_everybody(void **state)
{
	struct world *w = *state;

	relay_comes(w);
	w->q.waiting_jobs += MOST_FIRST_JOBS;
	queue_remote(w, 20);
	turns(w, 20);
	w->q.waiting_jobs -= MOST_FIRST_JOBS;
	assert_true(queued_of(w, 20)->listed && !queued_of(w, 20)->active);
	hop_of(TRANSPORT_RELAY, SPAN("far.example"))->last_used -= FORGET_SECONDS + 1;
	(void)hop_of(TRANSPORT_RELAY, SPAN("other.example"));
	assert_false(queued_of(w, 20)->listed);
	turns(w, 20);
	assert_int_equal(w->jobs, 1);
	assert_int_equal(w->job_message, 20);
}

/* It may be called back before what came of its attempt is recorded. */
static void
a_message_is_called_back_while_its_attempt_lasts(void **state)
{
	struct world *w = *state;
	struct hop *h = a_full_hop(w);
	uint64_t slow;

	begin(w, 20, "ana@example.org");
	recipient(w, 20, 0, "x@far.example");
	recipient(w, 20, 1, "x@slow.example");
	data(w, 20);
	write_and_commit(w, 20);
	expect_told(w, 250, "2.0.0");
	relay_comes(w);
	turns(w, 20);
	/* Slow has it, and far has turned it away: its attempt lasts. */
	assert_int_equal(w->jobs, 1);
	assert_int_equal(w->job_message, 20);
	slow = w->job;
	assert_true(queued_of(w, 20)->active && queued_of(w, 20)->listed);
	h->waits -= MOST_WAITING_JOBS;
	h->limit = 1;
	relaying_peer_came(&w->q, w->last_end);
	assert_true(queued_of(w, 20)->active && queued_of(w, 20)->called);
	w->job = slow;
	relay_says(w, DONE, 250, "2.0.0", "ok");
	/* It did not wait for its time. */
	assert_true(queued_of(w, 20)->active && !queued_of(w, 20)->called);
	assert_int_equal(h->waits, HOP_LANE_ROOM);   /* one more, and one less */
}

/* Who was not tried for want of room comes again soon; not so who was, and is to wait (greylisting). */
static void
a_deferred_recipient_rests_while_another_is_untried(void **state)
{
	struct world *w = *state;
	struct hop *h = a_full_hop(w);

	relay_comes(w);
	begin(w, 20, "ana@example.org");
	recipient(w, 20, 0, "x@far.example");
	recipient(w, 20, 1, "x@grey.example");
	data(w, 20);
	write_and_commit(w, 20);
	expect_told(w, 250, "2.0.0");
	turns(w, 20);
	assert_int_equal(w->jobs, 1);
	relay_says(w, LATER, 451, "4.7.1", "come again in a minute");
	for (int i = 1; i <= 3; i++) {
		assert_true(queued_of(w, 20)->turned_away > 0);
		due_now(w, 20);
		assert_int_equal(w->jobs, 1);
	}
	/* Its minute is over. Nothing new is said, but when: another minute. */
	clock_is_off += FIRST_RETRY_SECONDS;
	due_now(w, 20);
	assert_int_equal(w->jobs, 2);
	relay_says(w, LATER, 451, "4.7.1", "come again in a minute");
	due_now(w, 20);
	assert_int_equal(w->jobs, 2);
	/* An order is for everybody. */
	send_queue_select(w->command, 2, &(struct msg_queue_select){ .action = QUEUE_RETRY, .message = 20 }, NULL);
	turns(w, 20);
	assert_int_equal(w->jobs, 3);
	relay_says(w, DONE, 250, "2.0.0", "ok");
	/* The other is not forgotten. */
	h->waits -= MOST_WAITING_JOBS;
	due_now(w, 20);
	assert_int_equal(h->waits, HOP_LANE_ROOM + 1);
	clock_is_off = 0;
}

/* But who answered before, and is to be tried now, is not told to wait because there was no room for a moment. */
static void
an_order_holds_when_there_is_room_again(void **state)
{
	struct world *w = *state;
	struct hop *h;

	relay_comes(w);
	queue_remote(w, 20);
	turns(w, 20);
	clock_is_off = 10;
	relay_says(w, LATER, 451, "4.7.1", "come again in a minute");
	clock_is_off = 20;
	assert_int_equal(queued_of(w, 20)->tries, 1);
	h = a_full_hop(w);
	send_queue_select(w->command, 2, &(struct msg_queue_select){ .action = QUEUE_RETRY, .message = 20 }, NULL);
	turns(w, 20);
	assert_true(queued_of(w, 20)->turned_away > 0);
	h->waits -= MOST_WAITING_JOBS;
	due_now(w, 20);
	assert_int_equal(h->waits, HOP_LANE_ROOM + 1);
	clock_is_off = 0;
}

/* Gives an order for one message, and waits until the queue has answered. */
static void
order(struct world *w, uint8_t action, uint64_t id)
{
	w->done = 0;
	w->ends = 0;
	send_queue_select(w->command, 2, &(struct msg_queue_select){ .action = action, .message = id }, NULL);
	wait_for(w, &w->ends, 1);
	assert_int_equal(w->done, 1);
}

/* Held, released, deleted while it stands in the line of a next hop: it takes nobody's turn, and has its own again. */
static void
what_was_turned_away_obeys_orders(void **state)
{
	struct world *w = *state;
	struct hop *h = a_full_hop(w);

	relay_comes(w);
	for (uint64_t id = 20; id < 24; id++)
		queue_remote(w, id);
	turns(w, 20);
	for (uint64_t id = 20; id < 24; id++) {
		assert_true(queued_of(w, id)->listed && queued_of(w, id)->turned_away > 0);
		schedule_at(&w->q.schedule, queued_of(w, id), queue_now() + 1000);
	}
	order(w, QUEUE_HOLD, 20);
	order(w, QUEUE_DELETE, 21);
	assert_int_equal(w->outcome, DONE);
	assert_null(schedule_find(&w->q.schedule, 21));
	assert_true(queued_of(w, 20)->held);
	/* One goes, two are called: those behind them. */
	h->waits -= MOST_WAITING_JOBS;
	h->limit = 1;
	relaying_peer_came(&w->q, w->last_end);
	turns(w, 20);
	assert_true(queued_of(w, 22)->active && queued_of(w, 23)->active);
	assert_false(queued_of(w, 20)->active);
	order(w, QUEUE_RETRY, 20);
	assert_int_equal(w->outcome, NEVER);
	order(w, QUEUE_RELEASE, 20);
	assert_int_equal(w->outcome, DONE);
	turns(w, 20);
	assert_true(queued_of(w, 20)->active && !queued_of(w, 20)->held);
	assert_int_equal(queued_of(w, 20)->turned_away, 0);
}

/* What is being tried is tried as ordered; and once more at once, if that comes to nothing: it began before the order. */
static void
an_order_for_what_is_under_way_is_obeyed(void **state)
{
	struct world *w = *state;

	relay_comes(w);
	queue_remote(w, 20);
	turns(w, 20);
	assert_true(queued_of(w, 20)->active);
	order(w, QUEUE_HOLD, 20);
	assert_int_equal(w->outcome, LATER);
	order(w, QUEUE_RETRY, 20);
	assert_int_equal(w->outcome, DONE);
	relay_says(w, LATER, 451, "4.7.1", "come again in a minute");
	assert_in_range(queued_of(w, 20)->due, queue_now(), queue_now() + 1);
	due_now(w, 20);
	assert_int_equal(w->jobs, 2);
	/* Once. */
	relay_says(w, LATER, 451, "4.7.1", "come again in a minute");
	assert_true(queued_of(w, 20)->due > queue_now() + FIRST_RETRY_SECONDS);
}

/* Somebody who shares no lane with ana: there are few, and each start has a key of its own. */
static const char *
another_sender(void)
{
	static const char *const who[] = { "bob@example.org", "1@far.example", "2@far.example", "3@far.example", "4@far.example" };
	uint32_t ana = queue_sender(SPAN_NONE, SPAN("ana@example.org"));

	for (size_t i = 0; i < sizeof(who) / sizeof(who[0]); i++)
		if (queue_sender(SPAN_NONE, span_str(who[i])) / 2 % HOP_LANES != ana / 2 % HOP_LANES)
			return who[i];
	fail();
	return NULL;
}

/* However many of one sender wait, another's first messages find room. */
static void
a_full_hop_has_room_for_another_sender(void **state)
{
	struct world *w = *state;
	struct hop *h = a_full_hop(w);
	uint32_t before = h->waits;
	const char *other = another_sender();

	queue_remote(w, 20);
	turns(w, 20);
	assert_int_equal(h->waits, before);
	begin(w, 21, other);
	recipient(w, 21, 0, "x@far.example");
	data(w, 21);
	write_and_commit(w, 21);
	expect_told(w, 250, "2.0.0");
	turns(w, 20);
	assert_int_equal(h->waits, before + 1);
	/* So at a hop for which slow ones have left no room. */
	w->q.waiting_jobs += MOST_WAITING_JOBS;
	begin(w, 30, other);
	recipient(w, 30, 0, "x@well.example");
	data(w, 30);
	write_and_commit(w, 30);
	expect_told(w, 250, "2.0.0");
	turns(w, 20);
	assert_int_equal(hop_of(TRANSPORT_RELAY, SPAN("well.example"))->waits, 1);
	w->q.waiting_jobs -= MOST_WAITING_JOBS;
	/* There is an end to it: what all next hops may have together. */
	w->q.waiting_jobs += MOST_FIRST_JOBS;
	begin(w, 22, other);
	recipient(w, 22, 0, "x@far.example");
	data(w, 22);
	write_and_commit(w, 22);
	expect_told(w, 250, "2.0.0");
	turns(w, 20);
	assert_int_equal(h->waits, before + 1);
	assert_true(queued_of(w, 22)->listed);
}

/* Where it calls nobody back the message comes again by itself, ever more rarely: of thousands that wait for a slow
 * one each would be read anew all the time. */
static void
a_next_hop_without_room_is_tried_ever_more_rarely(void **state)
{
	struct world *w = *state;
	uint32_t seconds = 2;
	struct queued *m;

	w->q.waiting_jobs += MOST_FIRST_JOBS;
	queue_for_bob(w);
	turns(w, 20);
	for (int i = 0; i < 10; i++) {
		m = schedule_find(&w->q.schedule, 1);
		assert_true(!m->active && w->q.attempts == 0);
		assert_in_range(m->due, queue_now() + seconds - 1, queue_now() + 2 * seconds);
		assert_int_equal(m->tries, 0);
		seconds = seconds < 128 ? 2 * seconds : 128;
		if (i == 9)
			w->q.waiting_jobs -= MOST_FIRST_JOBS;
		due_now(w, 1);
	}
	/* Now it waits for a relay; none comes: an ordinary failure, after which it begins anew. */
	assert_int_equal(w->q.relaying, 1);
	nobody_comes(w);
	relaying_look(&w->q);
	turns(w, 20);
	assert_int_equal(schedule_find(&w->q.schedule, 1)->turned_away, 0);
}

/* Unless it is this message that they die of: then the next try is later, but never much later. */
static void
a_message_that_kills_workers_is_put_off(void **state)
{
	struct world *w = *state;
	struct queued *m;

	local_dies(w);
	w->q.relay_seen = queue_now() - 2 * WORKER_COMES_SECONDS;
	queue_for_bob(w);
	for (unsigned int i = 0; i < 3; i++) {
		w->workers_rest = true;
		local_comes(w);
		turns(w, 3);
		assert_int_equal(w->q.attempts, 1);
		local_dies(w);
	}
	w->workers_rest = false;
	turns(w, 20);
	assert_int_equal(w->q.attempts, 0);
	m = schedule_find(&w->q.schedule, 1);
	assert_true(m->due >= queue_now() && m->due <= queue_now() + 2);
	local_comes(w);
	for (int i = 0; i < 400 && inbox(w, "bob") == 0; i++)
		turns(w, 10);
	assert_int_equal(inbox(w, "bob"), 1);
}

/* What was delivered but could not be recorded is not delivered again. */
static void
recording_waits_for_a_spool_worker(void **state)
{
	struct world *w = *state;

	nobody_comes(w);
	begin(w, 1, "ana@example.org");
	recipient(w, 1, 0, "x@far.example");
	recipient(w, 1, 1, "bob@example.org");
	data(w, 1);
	wait_for(w, &w->files, 1);
	write_and_commit(w, 1);
	while (w->told == 0)
		turn(w);
	spool_dies(w);
	turns(w, 20);
	assert_int_equal(inbox(w, "bob"), 1);
	assert_int_equal(w->q.attempts, 1);
	spool_comes(w);
	turns(w, 30);
	assert_int_equal(w->q.attempts, 0);
	keeper_settings_changed(&w->q);   /* all have another turn */
	turns(w, 30);
	assert_int_equal(inbox(w, "bob"), 1);
}

static void
write_file(struct world *w, const char *name, const char *text, size_t len)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "queue/%s", name);
	fd = openat(w->rig.spool, path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static void
write_envelope(struct world *w, uint64_t id, uint64_t as)
{
	struct envelope_recipient r = { .number = 0, .address = SPAN("ana@example.org"),
		.home = SPAN("example.org/ana") };
	struct envelope e = { .id = id, .sender = SPAN("s@far.example"), .size = MESSAGE_SIZE,
		.digest = SPAN("x"), .count = 1, .recipient = &r };
	struct text t = TEXT_UP_TO(MOST_ENVELOPE);

	envelope_encode(&e, &t);
	write_file(w, spool_name(as, ".env").str, (const char *)t.at, t.len);
	text_clear(&t);
}

/* An order (valija queue retry) for a message of which the scan has seen one name: it has one turn, not two, one of which
 * would never end. */
static void
an_order_during_the_scan(void **state)
{
	struct world *w = *state;
	struct queued *m;

	write_file(w, spool_name(11, ".msg").str, MESSAGE, MESSAGE_SIZE);
	write_envelope(w, 11, 11);
	local_dies(w);
	spool_dies(w);
	queue_comes(w);
	m = schedule_add(&w->q.schedule, 11);
	m->has_envelope = true;
	schedule_at(&w->q.schedule, m, queue_now());
	attempts_run(&w->q);
	assert_true(m->active && w->q.attempts == 1 && w->q.scan != NULL);
	turns(w, 5);
	assert_true(w->q.attempts == 1 && w->q.scan == NULL);
	local_comes(w);
	spool_comes(w);
	until_in_queue(w, 0);
	turns(w, 5);
	assert_int_equal(w->q.attempts + w->q.relaying, 0);
	assert_int_equal(w->q.schedule.messages.count, 0);
	assert_int_equal(inbox(w, "ana"), 1);
}

/* Every state of the table in states.h, found at start. */
static void
start_recovers_every_state(void **state)
{
	struct world *w = *state;
	struct queued *orphan;

	write_file(w, spool_name(11, ".msg").str, MESSAGE, MESSAGE_SIZE);   /* queued */
	write_envelope(w, 11, 11);
	write_file(w, spool_name(12, ".msg").str, MESSAGE, MESSAGE_SIZE); /* half named, or done */
	write_envelope(w, 13, 13);					  /* damaged: no message */
	write_file(w, spool_name(14, ".msg").str, MESSAGE,
		MESSAGE_SIZE); /* damaged: no envelope in it */
	write_file(w, spool_name(14, ".env").str, "rubbish", 7);
	write_file(w, spool_name(15, ".msg").str, MESSAGE, MESSAGE_SIZE);   /* another's envelope */
	write_envelope(w, 99, 15);
	write_file(w, "stranger", "x", 1);
	local_dies(w);
	spool_dies(w);
	queue_comes(w);
	local_comes(w);
	spool_comes(w);
	for (int i = 0; i < 3000 && inbox(w, "ana") == 0; i++)
		turn(w);
	turns(w, 30);
	assert_int_equal(inbox(w, "ana"), 1);
	assert_int_equal(rig_count(w->rig.spool, "corrupt"), 5);
	assert_int_equal(in_queue(w), 2);
	/* The orphan is not removed at once: another spool worker might be about to name its
	 * envelope. */
	orphan = schedule_find(&w->q.schedule, 12);
	assert_true(orphan != NULL && orphan->due > queue_now() + 30);
	schedule_at(&w->q.schedule, orphan, queue_now());
	attempts_run(&w->q);
	assert_int_equal(in_queue(w), 1);
	assert_null(schedule_find(&w->q.schedule, 12));
	/* What a spool worker of the queue before us names when the scan has passed is found a minute later, if it is whole. */
	write_file(w, spool_name(16, ".msg").str, MESSAGE, MESSAGE_SIZE);
	write_envelope(w, 16, 16);
	write_file(w, spool_name(17, ".msg").str, MESSAGE, MESSAGE_SIZE);
	write_envelope(w, 18, 18);
	assert_true(evtimer_pending(w->q.second_event, NULL));
	evtimer_add(w->q.second_event, &(struct timeval){ 0 });
	for (int i = 0; i < 3000 && inbox(w, "ana") == 1; i++)
		turn(w);
	turns(w, 30);
	assert_int_equal(inbox(w, "ana"), 2);
	assert_int_equal(in_queue(w), 3);
	assert_true(schedule_find(&w->q.schedule, 17) == NULL && schedule_find(&w->q.schedule, 18) == NULL);
}

/* A spool worker dies when it has named a message, before it says so: who sent it hears "later", and nothing of it stays to be
 * delivered weeks later, after the next start. */
static void
what_a_spool_worker_named_and_did_not_promise_goes(void **state)
{
	struct world *w = *state;

	begin(w, 1, "ana@example.org");
	recipient(w, 1, 0, "x@far.example");
	data(w, 1);
	wait_for(w, &w->files, 1);
	w->workers_rest = true;
	write_and_commit(w, 1);
	turns(w, 5);
	write_file(w, spool_name(1, ".msg").str, MESSAGE, MESSAGE_SIZE);
	write_envelope(w, 1, 1);
	spool_dies(w);
	expect_told(w, 451, "4.3.0");
	assert_int_equal(in_queue(w), 0);
}

/* While the spool is being read, the id may be one of a message that lies there: smtpd gave it, and is not believed. */
static void
no_id_is_leave_to_remove_before_all_are_known(void **state)
{
	struct world *w = *state;

	write_file(w, spool_name(11, ".msg").str, MESSAGE, MESSAGE_SIZE);
	write_envelope(w, 11, 11);
	local_dies(w);
	spool_dies(w);
	queue_comes(w);
	assert_non_null(w->q.scan);
	recover_unpromised(&w->q, 11);
	assert_int_equal(in_queue(w), 2);
}

/* Who asks while the spool is being read hears of all of it, and of nothing twice; also by its id. */
static void
a_listing_waits_for_the_scan(void **state)
{
	static const uint64_t first = 1000, many = 1700;
	struct world *w = *state;

	for (uint64_t id = first; id < first + many; id++) {
		write_file(w, spool_name(id, ".msg").str, MESSAGE, MESSAGE_SIZE);
		write_envelope(w, id, id);
	}
	local_dies(w);
	spool_dies(w);
	queue_comes(w);
	w->command = wire(w, PROGRAM_COMMAND, &queue_hears_command, &command_hears, w);
	assert_non_null(w->q.scan);
	w->entries = w->recipients = w->ends = 0;
	send_queue_select(w->command, 2, &(struct msg_queue_select){ .action = QUEUE_LIST, .message = first + 7 }, NULL);
	send_queue_list(w->command, 1, &(struct msg_queue_list){ }, NULL);
	wait_for(w, &w->ends, 2);
	assert_null(w->q.scan);
	assert_int_equal(w->entries, many + 1);
	assert_int_equal(w->recipients, many + 1);
}

int
main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, world_make, world_remove)
	const struct CMUnitTest tests[] = {
		ROW(dropping_one_of_two_keeps_the_other),
		ROW(local_mail_is_written_once),
		ROW(mixed_mail_is_queued_and_delivered),
		ROW(no_recipients_no_data),
		ROW(r2_a_full_mailbox_is_told_in_the_session),
		ROW(ceilings_hold),
		ROW(wishes_reach_the_envelope),
		ROW(tls_is_as_the_message_says),
		ROW(what_was_written_straight_is_not_held),
		ROW(a_sender_belongs_to_its_login), ROW(a_login_is_believed_from_auth_alone), ROW(logins_are_bounded),
		ROW(size_limit_is_the_clients),
		ROW(words_out_of_hour_end_the_peer),
		ROW(abort_at_every_hour),
		ROW(smtpd_dies),
		ROW(worker_dies_at_every_hour),
		ROW(trouble_of_one_does_not_stop_the_other),
		ROW(a_clock_that_jumps_costs_no_message),
		ROW(age_counts_when_the_doubt_is_over),
		ROW(deliver_by_counts_when_the_doubt_is_over),
		ROW(a_removed_user_fails_and_the_sender_is_told),
		ROW(a_worker_that_died_is_waited_for),
		ROW(a_next_hop_with_room_again_calls_back),
		ROW(a_message_is_called_back_while_its_attempt_lasts),
		ROW(a_deferred_recipient_rests_while_another_is_untried),
		ROW(an_order_holds_when_there_is_room_again),
		ROW(a_hop_that_is_forgotten_calls_everybody),
		ROW(what_was_turned_away_obeys_orders),
		ROW(an_order_for_what_is_under_way_is_obeyed),
		ROW(a_full_hop_has_room_for_another_sender),
		ROW(a_next_hop_without_room_is_tried_ever_more_rarely),
		ROW(a_message_that_kills_workers_is_put_off),
		ROW(recording_waits_for_a_spool_worker),
		ROW(an_order_during_the_scan),
		ROW(start_recovers_every_state),
		ROW(what_a_spool_worker_named_and_did_not_promise_goes),
		ROW(no_id_is_leave_to_remove_before_all_are_known),
		ROW(a_listing_waits_for_the_scan),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
