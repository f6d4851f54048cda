/* Whose turn it is: by when it is due, by priority, and by sender in turn; of messages and of jobs for a hop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/hop.h"
#include "delivery/queue.h"
#include "delivery/relaying.h"

#define CROWD 1000

static void
nobody_is_called(void *me, uint64_t message)
{
	(void)me;
	(void)message;
	fail();
}

static void
add(struct schedule *s, uint64_t id, uint32_t sender, uint8_t priority, uint32_t due)
{
	struct queued *m = schedule_add(s, id);

	m->sender = sender;
	m->priority = priority;
	schedule_at(s, m, due);
}

static void
clear(struct schedule *s)
{
	struct queued *m;
	size_t place;

	while (place = 0, (m = idmap_next(&s->messages, &place)) != NULL)
		schedule_forget(s, m);
	free(s->heap);
	idmap_clear(&s->messages);
}

/* A thousand of one sender before one of another: that one is among the first few. */
static void
senders_take_turns(void **state)
{
	struct schedule s;
	int turn = 0;

	(void)state;
	schedule_init(&s);
	for (uint64_t id = 1; id <= CROWD; id++)
		add(&s, id, 3, PRIORITY_NORMAL, 10);
	add(&s, 5000, 5, PRIORITY_NORMAL, 10);
	assert_null(schedule_take(&s, 9));
	assert_int_equal(schedule_wait(&s, 9), 1);
	/* What is due moves in pieces: as many as the crowd is big. */
	for (struct queued *m; (m = schedule_take(&s, 10)) != NULL && m->id != 5000;)
		turn++;
	assert_true(turn <= 3);
	for (turn = 0; schedule_take(&s, 10) != NULL;)
		turn++;
	assert_true(turn >= CROWD - 3);
	assert_int_equal(schedule_wait(&s, 10), UINT32_MAX);
	clear(&s);
}

static void
priority_goes_first_and_starves_nobody(void **state)
{
	struct schedule s;
	uint32_t low = 0, high = 0;

	(void)state;
	schedule_init(&s);
	for (uint64_t id = 1; id <= CROWD; id++)
		add(&s, id, (uint32_t)id, PRIORITY_NORMAL - 9, 10);
	for (uint64_t id = CROWD + 1; id <= 2 * CROWD; id++)
		add(&s, id, (uint32_t)id, PRIORITY_NORMAL + 3, 10);
	for (int n = 0; n < CROWD / 2; n++) {
		const struct queued *m = schedule_take(&s, 10);

		*(m->priority < PRIORITY_NORMAL ? &low : &high) += 1;
	}
	assert_true(high > low * 5 && low > 0);
	clear(&s);
}

static void
parked_from_everywhere(void **state)
{
	struct schedule s;

	(void)state;
	schedule_init(&s);
	for (uint64_t id = 1; id <= 8; id++)
		add(&s, id, (uint32_t)id, (uint8_t)(id * 37), (uint32_t)id);   /* any priority that a file may have */
	assert_int_equal(schedule_take(&s, 1)->id, 1);
	schedule_park(&s, schedule_find(&s, 5));
	assert_int_equal(s.count, 6);
	assert_non_null(schedule_take(&s, 6));
	schedule_forget(&s, schedule_find(&s, 3));
	schedule_at(&s, schedule_find(&s, 4), 100);
	schedule_at(&s, schedule_find(&s, 5), 100);
	assert_int_equal(s.messages.count, 7);
	while (schedule_take(&s, 200) != NULL)
		;
	assert_int_equal(s.ready + s.count, 0);
	clear(&s);
}

/* --- jobs for one hop --- */

static void
wait_for_hop(struct hop *h, struct hop_job *j, size_t count, uint32_t sender, uint8_t priority)
{
	for (size_t i = 0; i < count; i++) {
		j[i] = (struct hop_job){ .sender = sender, .priority = priority };
		hop_add(h, &j[i]);
	}
}

static void
jobs_of_a_hop_take_turns(void **state)
{
	static struct hop_job crowd[CROWD], list[100], one, urgent;
	struct hop *h;
	int turn[2] = { 0, 0 };
	struct hop_job *j;

	(void)state;
	hops_init(nobody_is_called, NULL);
	h = hop_of(TRANSPORT_RELAY, SPAN("Far.Example"));
	assert_ptr_equal(h, hop_of(TRANSPORT_RELAY, SPAN("far.example")));
	assert_ptr_not_equal(h, hop_of(TRANSPORT_SMTP, SPAN("far.example")));
	wait_for_hop(h, crowd, CROWD, 3, PRIORITY_NORMAL);
	wait_for_hop(h, list, 100, 5, PRIORITY_NORMAL);
	wait_for_hop(h, &one, 1, 7, PRIORITY_NORMAL);
	for (int n = 1; (j = hop_take(h)) != &one; n++)
		turn[0] = n;
	assert_true(turn[0] <= 3);
	wait_for_hop(h, &urgent, 1, 3, PRIORITY_NORMAL + 1);
	for (int n = 1; (j = hop_take(h)) != &urgent; n++)
		turn[1] = n;
	assert_true(turn[1] <= 1);   /* at most the one whose turn it was for its age */
	/* A lost job is before what waited behind it. */
	j = hop_take(h);
	hop_add_again(h, j);
	assert_int_equal(h->waits, CROWD + 100 + 1 + 1 - (uint32_t)turn[0] - (uint32_t)turn[1] - 2);
	while (hop_take(h) != NULL)
		;
	assert_int_equal(h->waits, 0);
}

/* Those that were turned away are called back by the same turns: a crowd keeps nobody, and what is urgent is first. */
static void
turned_away_take_turns(void **state)
{
	struct hop *h;
	uint64_t id;
	int n;

	(void)state;
	hops_init(nobody_is_called, NULL);
	h = hop_of(TRANSPORT_RELAY, SPAN("far.example"));
	assert_int_equal(hop_call_back(h), 0);
	for (id = 1; id <= CROWD; id++)
		hop_turn_away(h, id, 3, PRIORITY_NORMAL);
	hop_turn_away(h, CROWD + 1, 5, PRIORITY_NORMAL);
	for (n = 1; (id = hop_call_back(h)) != CROWD + 1; n++)
		assert_int_equal(id, n);
	assert_true(n <= 3);
	hop_turn_away(h, CROWD + 2, 3, PRIORITY_NORMAL + 1);
	for (n = 1; hop_call_back(h) != CROWD + 2; n++)
		;
	assert_true(n <= 2);
	while (hop_call_back(h) != 0)
		;
}

/* Of a hundred thousand that wait, called back by a hop some day, each takes 200 bytes at most. (Where the allocator does not
 * tell, under sanitizers, that is not seen.) */
static void
what_waits_takes_little_memory(void **state)
{
	struct mallinfo2 before = mallinfo2(), after;
	struct schedule s;
	struct hop *h;

	(void)state;
	hops_init(nobody_is_called, NULL);
	schedule_init(&s);
	h = hop_of(TRANSPORT_RELAY, SPAN("far.example"));
	for (uint64_t id = 1; id <= 100000; id++) {
		struct queued *m = schedule_add(&s, id);

		schedule_at(&s, m, (uint32_t)id);
		hop_turn_away(h, id, (uint32_t)id, PRIORITY_NORMAL);
	}
	after = mallinfo2();
	print_message("%zu bytes a message\n", (after.uordblks - before.uordblks + after.hblkhd - before.hblkhd) / 100000);
	assert_true(after.uordblks - before.uordblks + after.hblkhd - before.hblkhd <= 200 * 100000);
	while (hop_call_back(h) != 0)
		;
	for (uint64_t id = 1; id <= 100000; id++)
		schedule_forget(&s, schedule_find(&s, id));
	clear(&s);
}

static void
nothing_waits_for_ever(void **state)
{
	static struct hop_job low, high[CROWD];
	struct hop *h;
	int n = 0;

	(void)state;
	hops_init(nobody_is_called, NULL);
	h = hop_of(TRANSPORT_RELAY, SPAN("far.example"));
	wait_for_hop(h, &low, 1, 3, 1);
	wait_for_hop(h, high, CROWD, 5, 19);
	while (hop_take(h) != &low)
		n++;
	assert_true(n < 2 * HOP_OLDEST_TURN);
	while (hop_take(h) != NULL)
		;
}

static void
a_dead_hop_lives_again(void **state)
{
	struct hop *h;

	(void)state;
	hops_init(nobody_is_called, NULL);
	h = hop_of(TRANSPORT_RELAY, SPAN("far.example"));
	assert_false(hop_is_dead(h));
	for (int n = 0; n < 3; n++)
		hop_learn(h, HEALTH_DEAD, SPAN("connection refused"), 20);
	assert_true(hop_is_dead(h));
	hops_revive();
	assert_false(hop_is_dead(h));
}

/* More at a time with each job that goes well, up to the option; half when it is too much; none for a while when nobody
 * answers, and twice as long each time, to half an hour. */
static void
a_hop_takes_what_it_can(void **state)
{
	static const uint32_t busy[] = { 10, 5, 2, 1, 1 };
	struct hop *h;
	uint32_t seconds = FIRST_DEAD_SECONDS;

	(void)state;
	hops_init(nobody_is_called, NULL);
	h = hop_of(TRANSPORT_RELAY, SPAN("far.example"));
	assert_int_equal(h->limit, FIRST_HOP_JOBS);
	for (uint32_t n = 1; n < 40; n++) {
		hop_learn(h, HEALTH_GOOD, SPAN_NONE, 20);
		assert_int_equal(h->limit, FIRST_HOP_JOBS + n < 20 ? FIRST_HOP_JOBS + n : 20);
	}
	for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
		hop_learn(h, HEALTH_BUSY, SPAN_NONE, 20);
		assert_int_equal(h->limit, busy[i]);
		assert_false(hop_is_dead(h));
	}
	/* One that fails among several that run is no death. */
	h->limit = 20;
	h->running = 3;
	hop_learn(h, HEALTH_DEAD, SPAN("no route"), 20);
	assert_true(h->limit == 10 && !hop_is_dead(h));
	h->running = 0;
	for (int n = 0; n < 12; n++) {
		h->dead_until = 0;
		hop_learn(h, HEALTH_DEAD, SPAN("no route"), 20);
		assert_true(hop_is_dead(h));
		assert_int_equal(h->dead_seconds, seconds);
		assert_true(h->dead_until >= queue_now() + seconds - 1 && h->dead_until <= queue_now() + seconds);
		assert_string_equal(h->reason, "no route");
		seconds = seconds * 2 < LONGEST_DEAD_SECONDS ? seconds * 2 : LONGEST_DEAD_SECONDS;
	}
	hop_learn(h, HEALTH_GOOD, SPAN_NONE, 20);
	assert_true(!hop_is_dead(h) && h->dead_seconds == 0 && h->limit == 2);
}

/* A minute, then twice as long each time, up to an hour; up to a quarter more, by chance. */
static void
tries_grow_apart(void **state)
{
	uint32_t base = FIRST_RETRY_SECONDS, least, most, delay;

	(void)state;
	for (unsigned int tries = 0; tries < 300; tries++) {
		least = UINT32_MAX;
		most = 0;
		for (int n = 0; n < 200; n++) {
			delay = schedule_delay(tries);
			least = delay < least ? delay : least;
			most = delay > most ? delay : most;
		}
		assert_true(least >= base && most <= base + base / 4 && most > least);
		if (tries > 0)
			base = base * 2 < LONGEST_RETRY_SECONDS ? base * 2 : LONGEST_RETRY_SECONDS;
	}
	assert_int_equal(base, LONGEST_RETRY_SECONDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(senders_take_turns),
		cmocka_unit_test(priority_goes_first_and_starves_nobody),
		cmocka_unit_test(parked_from_everywhere),
		cmocka_unit_test(jobs_of_a_hop_take_turns),
		cmocka_unit_test(turned_away_take_turns),
		cmocka_unit_test(what_waits_takes_little_memory),
		cmocka_unit_test(nothing_waits_for_ever),
		cmocka_unit_test(a_dead_hop_lives_again),
		cmocka_unit_test(a_hop_takes_what_it_can),
		cmocka_unit_test(tries_grow_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
