/*
 * relay-token - see relay.h. Access tokens that a program of the administrator's prints (relay_token_commands). master
 * runs it; what it prints comes here by a pipe that master does not read.
 */
#include "relay.h"

#include "common/id.h"
#include "common/secret.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_PAUSE_SECONDS 30       /* after a failure, before the program runs again */
#define MOST_TOKEN_FAULT 500         /* octets that it says of its faults, in the log */

#define V_NO_TOKEN VERDICT_IS(LATER, 454, "4.7.0", "the program for the relayhost's access token failed")

/* One end of a pipe, and what came from it. */
struct heard {
	int fd;
	struct event *readable;
	struct text text;
	bool too_much;
};

struct login_token {
	TAILQ_ENTRY(login_token) all;
	char login[MOST_RELAY_LOGIN + 1], secret[MOST_SECRET + 1];
	time_t got, failed;              /* 0: never */
	uint64_t run;                    /* the program runs; 0: it does not */
	bool outdated;                   /* it began before the settings changed: for who waits, and nobody else */
	struct heard token, fault;
};

static time_t
seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + 1;           /* never 0 */
}

/* --- what it prints --- */

static void
hear(struct heard *h)
{
	unsigned char more[1024];
	ssize_t got;

	while (!h->too_much && (got = read(h->fd, more, sizeof(more))) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got < 0)
			break;
		h->too_much = (size_t)got > h->text.most - h->text.len;
		text_add(&h->text, span_part(span_of(more, (size_t)got), 0, h->text.most - h->text.len));
	}
	secret_wipe(more, sizeof(more));
	/* Who says too much waits for a reader, until his time is up. */
	event_del(h->readable);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	hear(arg);
}

/* The other end, or -1. */
static int
hear_begin(struct relay *r, struct heard *h, size_t most)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*h = (struct heard){ .fd = ends[0], .text = TEXT_UP_TO(most) };
	h->readable = event_new(r->daemon.base, h->fd, EV_READ | EV_PERSIST, on_readable, h);
	if (h->readable == NULL)
		abort();
	event_add(h->readable, NULL);
	return ends[1];
}

static void
hear_end(struct heard *h)
{
	if (h->readable == NULL)
		return;
	event_free(h->readable);
	close(h->fd);
	text_wipe(&h->text);
	*h = (struct heard){ .fd = -1 };
}

/* --- tokens --- */

static struct login_token *
token_of(struct relay *r, const char *login)
{
	struct login_token *t;

	TAILQ_FOREACH(t, &r->tokens, all)
		if (strcmp(t->login, login) == 0)
			return t;
	t = must_alloc(sizeof(*t));
	span_copy(span_str(login), t->login, sizeof(t->login));
	TAILQ_INSERT_TAIL(&r->tokens, t, all);
	return t;
}

/* Without the token a login would only fail. The mail waits: it is no reason to give it back. */
static void
give_up(struct job *j)
{
	j->health = HEALTH_DEAD;
	job_note_fault(j, V_NO_TOKEN);
	job_end_all(j, V_NO_TOKEN, "");
}

static void
over(struct relay *r, struct login_token *t, bool good)
{
	struct job *j, *next;

	t->run = 0;
	hear_end(&t->token);
	hear_end(&t->fault);
	if (t->outdated)
		t->got = t->failed = 0;
	else if (good)
		t->got = seconds_now();
	else
		t->failed = seconds_now();
	t->outdated = false;
	for (j = TAILQ_FIRST(&r->jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, all);
		if (j->token != t)
			continue;
		j->token = NULL;
		if (good) {
			memcpy(j->credentials->secret, t->secret, sizeof(t->secret));
			job_go_on(j);
		} else {
			give_up(j);
		}
	}
}

static struct span
without_newlines(struct span text)
{
	while (text.len > 0 && (text.at[text.len - 1] == '\n' || text.at[text.len - 1] == '\r'))
		text.len--;
	return text;
}

static void
failed(struct relay *r, struct login_token *t, struct span reason)
{
	struct span said = t->fault.readable != NULL ? text_span(&t->fault.text) : SPAN_NONE;

	log_error(0, "relay-token-failed", KEY_STR("login", t->login), KEY_SPAN("reason", reason),
		KEY_SPAN("said", without_newlines(said)));
	over(r, t, false);
}

static bool
run(struct relay *r, struct login_token *t)
{
	int fds[2];

	fds[0] = hear_begin(r, &t->token, MOST_SECRET + 2);
	fds[1] = hear_begin(r, &t->fault, MOST_TOKEN_FAULT);
	t->failed = 0;
	if (fds[0] >= 0 && fds[1] >= 0) {
		t->run = id_new();
		return send_login_token_run(r->daemon.master, t->run,
			&(struct msg_login_token_run){ .login = span_str(t->login) }, fds);
	}
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return false;
}

bool
token_have(struct job *j)
{
	struct relay *r = j->relay;
	struct login_token *t = token_of(r, j->credentials->login);
	time_t now = seconds_now();

	if (t->got > 0 && now - t->got < (time_t)r->daemon.settings->relay_token_seconds) {
		memcpy(j->credentials->secret, t->secret, sizeof(t->secret));
		return true;
	}
	if (t->run == 0 && t->failed > 0 && now - t->failed < TOKEN_PAUSE_SECONDS) {
		give_up(j);
		return false;
	}
	j->token = t;
	if (t->run == 0 && !run(r, t))
		failed(r, t, SPAN("no pipe could be made for it"));
	return false;
}

/* One line of visible characters (RFC 6750 2.1), and nothing else. */
static bool
take_token(struct login_token *t)
{
	struct span said = without_newlines(text_span(&t->token.text));

	for (size_t i = 0; i < said.len; i++)
		if (said.at[i] <= ' ' || said.at[i] > '~')
			return false;
	return !t->token.too_much && said.len > 0 && span_copy(said, t->secret, sizeof(t->secret));
}

void
token_told(struct relay *r, uint64_t id, struct span reason)
{
	struct login_token *t;

	TAILQ_FOREACH(t, &r->tokens, all)
		if (id != 0 && t->run == id)
			break;
	if (t == NULL)
		return;
	hear(&t->token);
	hear(&t->fault);
	if (reason.len > 0) {
		failed(r, t, reason);
	} else if (!take_token(t)) {
		failed(r, t, SPAN("it did not print a token: one line, at most 4096 octets"));
	} else {
		log_info(0, "relay-token", KEY_STR("login", t->login));
		over(r, t, true);
	}
}

void
token_refused(struct relay *r, const char *login)
{
	struct login_token *t = token_of(r, login);

	secret_wipe(t->secret, sizeof(t->secret));
	t->got = 0;
	if (t->run == 0)
		t->failed = seconds_now();
}

void
tokens_forget(struct relay *r)
{
	struct login_token *t;

	TAILQ_FOREACH(t, &r->tokens, all) {
		secret_wipe(t->secret, sizeof(t->secret));
		t->got = t->failed = 0;
		t->outdated = t->run != 0;
	}
}
