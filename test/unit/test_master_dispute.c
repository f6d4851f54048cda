/* Of two daemons that have no channel any more, who is replaced: the one that said what the other refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "master/dispute.h"
#include "master/wiring.h"

#include <event2/event.h>
#include <string.h>
#include <time.h>

#define MANY 12

static struct rig {
	struct supervisor s;
	struct process queue, smtpd[MANY];
} rig;

static void
add(struct process *p, enum program program, unsigned int index, pid_t pid)
{
	p->s = &rig.s;
	p->row = wiring_row(program);
	p->index = index;
	p->state = PROCESS_SERVING;
	p->pid = pid;
	p->timer = event_new(rig.s.base, -1, 0, NULL, NULL);
	TAILQ_INSERT_TAIL(&rig.s.processes, p, next);
}

static int
begin(void **state)
{
	(void)state;
	memset(&rig, 0, sizeof(rig));
	rig.s.base = event_base_new();
	TAILQ_INIT(&rig.s.processes);
	/* Nobody has these numbers, and nobody is killed here. */
	add(&rig.queue, PROGRAM_QUEUE, 0, 1 << 29);
	for (unsigned int i = 0; i < MANY; i++)
		add(&rig.smtpd[i], PROGRAM_SMTPD, i, (1 << 29) + 1 + (pid_t)i);
	return 0;
}

static int
end(void **state)
{
	struct process *p;

	(void)state;
	dispute_end(&rig.s);
	TAILQ_FOREACH(p, &rig.s.processes, next)
		if (p->timer)
			event_free(p->timer);
	event_base_free(rig.s.base);
	return 0;
}

static bool
replaced(const struct process *p)
{
	return p->state == PROCESS_LEAVING;
}

static void
sleep_milliseconds(long milliseconds)
{
	nanosleep(&(struct timespec){ milliseconds / 1000, milliseconds % 1000 * 1000000 }, NULL);
}

/* Whoever they are: the one that refused says so at once, the other a moment later. */
static void
who_was_refused_is_replaced(void **state)
{
	(void)state;
	dispute_hear(&rig.queue, &rig.smtpd[0]);
	dispute_hear(&rig.smtpd[1], &rig.queue);
	assert_false(replaced(&rig.queue) || replaced(&rig.smtpd[0]) || replaced(&rig.smtpd[1]));
	sleep_milliseconds(1600);
	dispute_hear(&rig.smtpd[0], &rig.queue);
	assert_true(replaced(&rig.smtpd[0]));
	assert_false(replaced(&rig.queue));
	dispute_hear(&rig.queue, &rig.smtpd[1]);
	assert_true(replaced(&rig.queue));
	assert_false(replaced(&rig.smtpd[1]));
}

/* Who says first that it refused the other, and is then refused, gains nothing by it. */
static void
of_two_that_refuse_each_other_the_exposed_one_is_replaced(void **state)
{
	(void)state;
	dispute_hear(&rig.smtpd[0], &rig.queue);
	dispute_hear(&rig.queue, &rig.smtpd[0]);
	assert_true(replaced(&rig.smtpd[0]));
	dispute_hear(&rig.queue, &rig.smtpd[1]);
	dispute_hear(&rig.smtpd[1], &rig.queue);
	assert_true(replaced(&rig.smtpd[1]));
	assert_false(replaced(&rig.queue));
}

static void
said_twice_is_said_once(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++)
		dispute_hear(&rig.queue, &rig.smtpd[1]);
	assert_false(replaced(&rig.queue) || replaced(&rig.smtpd[1]));
	dispute_hear(&rig.smtpd[1], &rig.queue);
	assert_true(replaced(&rig.smtpd[1]));
	/* And what was said of one that died counts against no successor. */
	dispute_hear(&rig.queue, &rig.smtpd[2]);
	rig.smtpd[2].pid = 1 << 28;
	dispute_hear(&rig.smtpd[2], &rig.queue);
	assert_false(replaced(&rig.smtpd[2]) || replaced(&rig.queue));
}

/* A captured queue would have everybody replaced; it is believed a few times. */
static void
who_refuses_everybody_is_replaced(void **state)
{
	int lost = 0;

	(void)state;
	for (unsigned int i = 0; i < MANY && !replaced(&rig.queue); i++) {
		dispute_hear(&rig.queue, &rig.smtpd[i]);
		dispute_hear(&rig.smtpd[i], &rig.queue);
		lost += replaced(&rig.smtpd[i]);
	}
	assert_true(replaced(&rig.queue));
	assert_int_equal(lost, 8);
}

/* Who ended a channel and does not say so ends itself, not the other. */
static void
who_keeps_silent_is_replaced(void **state)
{
	(void)state;
	dispute_hear(&rig.queue, &rig.smtpd[3]);
	dispute_hear(&rig.smtpd[4], &rig.queue);
	rig.smtpd[4].pid = 1 << 28; /* died meanwhile: its word is nobody's any more */
	for (int i = 0; i < 100 && !replaced(&rig.smtpd[3]); i++)
		event_base_loop(rig.s.base, EVLOOP_ONCE);
	assert_true(replaced(&rig.smtpd[3]));
	assert_false(replaced(&rig.queue) || replaced(&rig.smtpd[4]));
}

/* Nor does it gain anything by saying that a channel is gone which is there: nobody else says so then, however sound he is. */
static void
who_finds_every_channel_gone_is_replaced(void **state)
{
	int lost = 0;

	(void)state;
	for (unsigned int i = 0; i < MANY; i++)
		dispute_hear(&rig.queue, &rig.smtpd[i]);
	for (int i = 0; i < 100 && !replaced(&rig.queue); i++)
		event_base_loop(rig.s.base, EVLOOP_ONCE);
	for (unsigned int i = 0; i < MANY; i++)
		lost += replaced(&rig.smtpd[i]);
	assert_true(replaced(&rig.queue));
	assert_int_equal(lost, 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_was_refused_is_replaced, begin, end),
		cmocka_unit_test_setup_teardown(of_two_that_refuse_each_other_the_exposed_one_is_replaced, begin, end),
		cmocka_unit_test_setup_teardown(said_twice_is_said_once, begin, end),
		cmocka_unit_test_setup_teardown(who_refuses_everybody_is_replaced, begin, end),
		cmocka_unit_test_setup_teardown(who_keeps_silent_is_replaced, begin, end),
		cmocka_unit_test_setup_teardown(who_finds_every_channel_gone_is_replaced, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
