/* The spool worker: message and envelope together or not at all, records behind a torn tail,
 * removal; and what is left when it is killed before each of its system calls (delivery/states.h).
 */
#include "delivery_rig.h"

#include "delivery/envelope.h"
#include "delivery/spool_name.h"
#include "delivery/spooler.h"

#define MESSAGE "Subject: one\r\n\r\nbody\r\n"
#define MESSAGE_SIZE (sizeof(MESSAGE) - 1)

static struct place_rig rig;

/* The test plays queue. */
struct played {
	struct channel *channel;
	pid_t worker;
	int file;
	int lent, spooled, refused, finished, removed;
	uint8_t outcome;
	uint16_t code;
};

static void
on_lent(void *me, struct channel *from, uint64_t id, const struct msg_lent *m, const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)m;
	p->file = fd[0];
	p->lent++;
}

static void
on_spooled(void *me, struct channel *from, uint64_t id, const struct msg_spooled *m, const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)m;
	(void)fd;
	p->spooled++;
}

static void
on_spool_refused(void *me, struct channel *from, uint64_t id, const struct msg_spool_refused *m,
	const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)fd;
	p->code = m->code;
	p->refused++;
}

static void
on_spool_finished(void *me, struct channel *from, uint64_t id, const struct msg_spool_finished *m,
	const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)fd;
	p->outcome = m->outcome;
	p->finished++;
}

static void
on_spool_removed(void *me, struct channel *from, uint64_t id, const struct msg_spool_removed *m,
	const int *fd)
{
	struct played *p = me;

	(void)from;
	(void)id;
	(void)fd;
	p->outcome = m->outcome;
	p->removed++;
}

static void
on_gone(void *me, struct channel *from)
{
	struct played *p = me;

	(void)from;
	p->channel = NULL;
}

static uint32_t
any_hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)id;
	return message_row(m)->hours;
}

static const struct hearing hears = {
	.hour = any_hour, .gone = on_gone, .on_lent = on_lent, .on_spooled = on_spooled,
	.on_spool_refused = on_spool_refused, .on_spool_finished = on_spool_finished,
	.on_spool_removed = on_spool_removed,
};

static void
worker(int fd)
{
	struct event_base *base = event_base_new();
	static struct spooler spooler;

	if (!spooler_init(&spooler, rig.spool))
		_exit(1);
	channel_new(base, fd, PROGRAM_SPOOL, PROGRAM_QUEUE, 0, &spooler_hears_queue, &spooler);
	while (event_base_loop(base, EVLOOP_ONCE) == 0)
		spooler_work(&spooler);
	_exit(0);
}

static void
play(struct played *p)
{
	int ends[2];

	memset(p, 0, sizeof(*p));
	p->file = -1;
	assert_int_equal(channel_pair(ends), 0);
	fflush(NULL);
	p->worker = fork();
	assert_true(p->worker >= 0);
	if (p->worker == 0) {
		close(ends[0]);
		worker(ends[1]);
	}
	close(ends[1]);
	p->channel = channel_new(NULL, ends[0], PROGRAM_QUEUE, PROGRAM_SPOOL, 0, &hears, p);
}

static void
stop(struct played *p)
{
	channel_free(&p->channel);
	kill(p->worker, SIGKILL);
	waitpid(p->worker, NULL, 0);
	if (p->file >= 0)
		close(p->file);
}

static void
wait_for(struct played *p, const int *count)
{
	bool done = false;

	for (int i = 0; i < 500 && *count == 0 && p->channel != NULL; i++)
		channel_wait(p->channel, &done, 10);
	assert_true(*count > 0);
}

static void
lend_and_write(struct played *p, uint64_t id)
{
	send_lend(p->channel, id, &(struct msg_lend){ .home = SPAN("") }, NULL);
	wait_for(p, &p->lent);
	assert_int_equal(write(p->file, MESSAGE, MESSAGE_SIZE), MESSAGE_SIZE);
	close(p->file);
	p->file = -1;
}

static void
spool(struct played *p, uint64_t id)
{
	for (uint32_t i = 0; i < 3; i++)
		send_spool_recipient(p->channel, id,
			&(struct msg_spool_recipient){.number = i,
				.address = SPAN("x@example.org"),
				.home = i == 0 ? SPAN("d/x") : SPAN("")},
			NULL);
	send_spool(p->channel, id,
		&(struct msg_spool){.size = MESSAGE_SIZE,
			.session = 5,
			.digest = SPAN("0123456789abcdef0123456789abcdef"),
			.sender = SPAN("a@b.example")},
		NULL);
}

static char *
envelope_of(uint64_t id, size_t *len)
{
	char path[64];

	snprintf(path, sizeof(path), "queue/%s", spool_name(id, ".env").str);
	return rig_read(rig.spool, path, len);
}

static bool
is_there(uint64_t id, const char *suffix)
{
	char path[64];

	snprintf(path, sizeof(path), "queue/%s", spool_name(id, suffix).str);
	return faccessat(rig.spool, path, F_OK, 0) == 0;
}

static void
both_appear(void **state)
{
	struct played p;
	struct envelope e;
	size_t len, whole;
	char *file;

	(void)state;
	play(&p);
	lend_and_write(&p, 7);
	spool(&p, 7);
	wait_for(&p, &p.spooled);
	file = envelope_of(7, &len);
	assert_true(envelope_decode(span_of(file, len), &e, &whole));
	assert_true(e.id == 7 && e.session == 5 && e.count == 3 && e.size == MESSAGE_SIZE);
	assert_true(span_equal(e.sender, SPAN("a@b.example")));
	assert_true(e.recipient[0].home.len == 3 && e.recipient[2].home.len == 0);
	envelope_clear(&e);
	free(file);
	assert_true(is_there(7, ".msg"));
	/* The same id again: what is there stays. */
	p.lent = 0;
	lend_and_write(&p, 7);
	spool(&p, 7);
	wait_for(&p, &p.refused);
	assert_int_equal(p.code, 451);
	assert_true(is_there(7, ".msg") && is_there(7, ".env"));
	stop(&p);
}

/* A crash left half a record: the next one is found all the same. */
static void
records_follow_a_torn_tail(void **state)
{
	struct played p;
	struct verdict v = V_DELIVERED;
	struct envelope e;
	size_t len, whole;
	char *file, path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "queue/%s", spool_name(7, ".env").str);
	fd = openat(rig.spool, path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "\x40\0\0\0half", 8), 8);
	close(fd);
	play(&p);
	send_spool_finish(
		p.channel, 7, &(struct msg_spool_finish){.number = 1, VERDICT_FIELDS(v)}, NULL);
	wait_for(&p, &p.finished);
	assert_int_equal(p.outcome, DONE);
	file = envelope_of(7, &len);
	assert_true(envelope_decode(span_of(file, len), &e, &whole));
	assert_int_equal(whole, len);
	assert_true(e.recipient[0].told.outcome == 0 && e.recipient[1].told.outcome == DONE);
	envelope_clear(&e);
	free(file);
	/* About a message that is not there: nothing to lose, but no success. */
	p.finished = 0;
	send_spool_finish(
		p.channel, 8, &(struct msg_spool_finish){.number = 1, VERDICT_FIELDS(v)}, NULL);
	wait_for(&p, &p.finished);
	assert_int_equal(p.outcome, LATER);
	stop(&p);
}

static void
removal_removes_both(void **state)
{
	struct played p;

	(void)state;
	play(&p);
	send_spool_remove(p.channel, 7, &(struct msg_spool_remove){ }, NULL);
	wait_for(&p, &p.removed);
	assert_int_equal(p.outcome, DONE);
	assert_false(is_there(7, ".msg") || is_there(7, ".env"));
	/* Once more, after a crash: fine. */
	p.removed = 0;
	send_spool_remove(p.channel, 7, &(struct msg_spool_remove){ }, NULL);
	wait_for(&p, &p.removed);
	assert_int_equal(p.outcome, DONE);
	stop(&p);
}

static bool
answered(void *me)
{
	struct played *p = me;

	if (p->channel != NULL)
		channel_drain(p->channel);
	return p->spooled + p->removed > 0;
}

static void
killed_while_spooling(void **state)
{
	struct played p;
	bool killed = true;
	int half = 0;
	uint64_t id = 1000;

	(void)state;
	for (int call = 1; killed; call++, id++) {
		play(&p);
		lend_and_write(&p, id);
		if (!rig_watch(p.worker)) {
			stop(&p);
			skip();
		}
		spool(&p, id);
		killed = rig_kill_before(p.worker, call, answered, &p);
		answered(&p);
		/* The envelope never without its message; both once promised; each whole. */
		assert_true(!is_there(id, ".env") || is_there(id, ".msg"));
		assert_true(p.spooled == 0 || is_there(id, ".env"));
		half += is_there(id, ".msg") && !is_there(id, ".env");
		if (is_there(id, ".env")) {
			struct envelope e;
			size_t len, whole;
			char *file = envelope_of(id, &len);

			assert_true(envelope_decode(span_of(file, len), &e, &whole) &&
				    whole == len && e.id == id);
			envelope_clear(&e);
			free(file);
		}
		channel_free(&p.channel);
	}
	assert_true(half > 0);
}

static void
killed_while_removing(void **state)
{
	struct played p;
	bool killed = true;
	int half = 0;
	uint64_t id = 5000;

	(void)state;
	for (int call = 1; killed; call++, id++) {
		play(&p);
		lend_and_write(&p, id);
		spool(&p, id);
		wait_for(&p, &p.spooled);
		p.spooled = 0;
		if (!rig_watch(p.worker)) {
			stop(&p);
			skip();
		}
		send_spool_remove(p.channel, id, &(struct msg_spool_remove){ }, NULL);
		killed = rig_kill_before(p.worker, call, answered, &p);
		answered(&p);
		assert_true(!is_there(id, ".env") || is_there(id, ".msg"));
		assert_true(p.removed == 0 || !is_there(id, ".msg"));
		half += is_there(id, ".msg") && !is_there(id, ".env");
		channel_free(&p.channel);
	}
	assert_true(half > 0);
}

/* requeue: the envelope is the old one or the new one, whole, whenever the worker dies. */
static void
killed_while_renewing(void **state)
{
	struct played p;
	bool killed = true;
	int old = 0, new = 0;

	(void)state;
	play(&p);
	lend_and_write(&p, 9000);
	spool(&p, 9000);
	wait_for(&p, &p.spooled);
	stop(&p);
	for (int call = 1; killed; call++) {
		struct envelope e;
		size_t len, whole;
		uint32_t last = 4 + (uint32_t)new % 2;
		char *file;

		play(&p);
		p.spooled = 0;
		if (!rig_watch(p.worker)) {
			stop(&p);
			skip();
		}
		send_spool_renew(p.channel, 9000, &(struct msg_spool_renew){ }, NULL);
		for (uint32_t i = 0; i < last; i++)
			send_spool_recipient(p.channel, 9000, &(struct msg_spool_recipient){ .number = i,
				.address = SPAN("x@example.org") }, NULL);
		send_spool(p.channel, 9000, &(struct msg_spool){ .size = MESSAGE_SIZE, .arrived = 77,
			.digest = SPAN("0123456789abcdef0123456789abcdef"), .sender = SPAN("a@b.example") },
			NULL);
		killed = rig_kill_before(p.worker, call, answered, &p);
		answered(&p);
		file = envelope_of(9000, &len);
		assert_true(envelope_decode(span_of(file, len), &e, &whole) && whole == len);
		assert_true(is_there(9000, ".msg"));
		if (e.count == last) {
			assert_int_equal(e.arrived, 77);
			new++;
		} else {
			assert_int_equal(p.spooled, 0);
			old++;
		}
		envelope_clear(&e);
		free(file);
		channel_free(&p.channel);
	}
	assert_true(old > 0 && new > 0);
	/* What is not there is not made. */
	play(&p);
	send_spool_renew(p.channel, 9001, &(struct msg_spool_renew){ }, NULL);
	spool(&p, 9001);
	wait_for(&p, &p.refused);
	assert_false(is_there(9001, ".env") || is_there(9001, ".env.new"));
	stop(&p);
}

static int
set_up(void **state)
{
	(void)state;
	rig_make(&rig);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	rig_remove(&rig);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_appear),
		cmocka_unit_test(records_follow_a_torn_tail),
		cmocka_unit_test(removal_removes_both),
		cmocka_unit_test(killed_while_spooling),
		cmocka_unit_test(killed_while_removing),
		cmocka_unit_test(killed_while_renewing),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
