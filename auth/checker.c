/* checker - see checker.h. */
#include "checker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "common/id.h"

struct check {
	TAILQ_ENTRY(check) next;
	struct checker *checker;
	uint64_t id;
	bool runs;
	struct text input; /* wiped when it has gone */
	struct text ip, service;
	check_fn *done; /* NULL: nobody wants to know */
	void *me;
};

TAILQ_HEAD(checks, check);

struct checker {
	struct checks waiting, running;
	unsigned int most, waiting_count, running_count;
};

struct checker *
checker_new(void)
{
	struct checker *c = must_alloc(sizeof(*c));

	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->running);
	c->most = 1;
	return c;
}

void
checker_limit(struct checker *c, unsigned int most)
{
	c->most = most;
}

/* Out of its list. */
static void
check_free(struct check *check)
{
	struct checker *c = check->checker;

	if (check->runs) {
		TAILQ_REMOVE(&c->running, check, next);
		c->running_count--;
	} else {
		TAILQ_REMOVE(&c->waiting, check, next);
		c->waiting_count--;
	}
	text_wipe(&check->input);
	text_clear(&check->ip);
	text_clear(&check->service);
	free(check);
}

void
checker_free(struct checker **c)
{
	struct check *check;

	if (*c == NULL)
		return;
	while ((check = TAILQ_FIRST(&(*c)->waiting)) != NULL)
		check_free(check);
	while ((check = TAILQ_FIRST(&(*c)->running)) != NULL)
		check_free(check);
	free(*c);
	*c = NULL;
}

/* A pipe with all that the program may read, and its end behind it; or -1. */
static int
pipe_with(struct span input)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	if (write(ends[1], input.at, input.len) != (ssize_t)input.len) {
		close(ends[0]);
		ends[0] = -1;
	}
	close(ends[1]);
	/* A program waits for what it reads. */
	if (ends[0] >= 0)
		(void)fcntl(ends[0], F_SETFL, 0);
	return ends[0];
}

static void
finish(struct check *check, enum check_result result)
{
	check_fn *done = check->done;
	void *me = check->me;

	check_free(check);
	if (done != NULL)
		done(me, result);
}

/* False: it could not be begun. */
static bool
begin(struct check *check, struct channel *master)
{
	struct checker *c = check->checker;
	int fd = pipe_with(text_span(&check->input));

	text_wipe(&check->input);
	TAILQ_REMOVE(&c->waiting, check, next);
	c->waiting_count--;
	TAILQ_INSERT_TAIL(&c->running, check, next);
	c->running_count++;
	check->runs = true;
	return fd >= 0 && send_check_run(master, check->id,
				  &(struct msg_check_run){.ip = text_span(&check->ip),
					  .service = text_span(&check->service)},
				  &fd);
}

static void
go_on(struct checker *c, struct channel *master)
{
	struct check *check;

	while (c->running_count < c->most && (check = TAILQ_FIRST(&c->waiting)) != NULL)
		if (!begin(check, master))
			finish(check, CHECK_LATER);
}

struct check *
checker_ask(struct checker *c, struct channel *master, struct span name, struct span password,
	struct span ip, struct span service, check_fn *done, void *me)
{
	struct check *check = must_alloc(sizeof(*check));

	check->checker = c;
	/* Not counted: what master says of a run of an auth that died must mean none of ours. */
	check->id = id_new();
	check->done = done;
	check->me = me;
	check->input = TEXT_UP_TO(CHECKER_MOST_INPUT);
	check->ip = TEXT_UP_TO(MOST_IP);
	check->service = TEXT_UP_TO(MOST_SERVICE_NAME);
	text_add(&check->input, name);
	text_add_byte(&check->input, '\0');
	text_add(&check->input, password);
	text_add_byte(&check->input, '\0');
	text_add_number(&check->input, (uint64_t)time(NULL));
	text_add_byte(&check->input, '\0');
	text_add(&check->ip, ip);
	text_add(&check->service, service);
	TAILQ_INSERT_TAIL(&c->waiting, check, next);
	c->waiting_count++;
	/* A NUL inside would shift what the program reads. */
	if (c->waiting_count > CHECKER_MOST_WAITING || span_has(name, '\0') ||
		span_has(password, '\0') || check->input.failed ||
		(c->running_count < c->most && !begin(check, master))) {
		check_free(check);
		return NULL;
	}
	return check;
}

void
check_forget(struct check **check)
{
	struct check *c = *check;

	*check = NULL;
	if (c == NULL)
		return;
	c->done = NULL;
	if (!c->runs)
		check_free(c);
}

void
checker_told(struct checker *c, struct channel *master, uint64_t id, enum check_result result)
{
	struct check *check;

	TAILQ_FOREACH(check, &c->running, next)
		if (check->id == id)
			break;
	if (check != NULL)
		finish(check, result);
	go_on(c, master);
}
