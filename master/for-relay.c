/* for-relay - see for-relay.h. */
#include "master/for-relay.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "master/outside.h"

#define MOST_GROUPS 256 /* supplementary groups of master itself */

/* --- sockets --- */

/* Not as root: whoever owns the directory of a socket could put a link to another one there. With the effective user
 * change groups and capabilities (capabilities(7)); who listens is told the effective user as well. */
static bool
become_relay(const struct supervisor *s)
{
	const struct account *a = &s->accounts[PROGRAM_RELAY];
	gid_t groups[MOST_OWN_GROUPS];

	for (size_t i = 0; i < a->group_count; i++)
		groups[i] = a->groups[i];
	return setgroups(a->group_count, groups) == 0 && setegid(a->gid) == 0 && seteuid(a->uid) == 0;
}

static void
become_root(const gid_t *groups, size_t count)
{
	/* With half of its rights master would fail later, at something worse. */
	if (seteuid(0) < 0 || setegid(0) < 0 || setgroups(count, groups) < 0)
		abort();
}

static int
connect_to(struct span path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd, error;

	if (!span_copy(path, to.sun_path, sizeof to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int
for_relay_connect(const struct supervisor *s, struct span path)
{
	gid_t before[MOST_GROUPS];
	int count, fd = -1, error;

	if (!settings_has_socket(s->now.settings, path)) {
		errno = EPERM;
		return -1;
	}
	if (!s->root)
		return connect_to(path);
	if ((count = getgroups(MOST_GROUPS, before)) < 0)
		return -1;
	if (become_relay(s))
		fd = connect_to(path);
	error = errno;
	become_root(before, (size_t)count);
	errno = error;
	return fd;
}

/* --- tokens --- */

static void
tell(const struct process *p, uint64_t id, const char *reason)
{
	if (p && p->control)
		send_login_token_told(p->control, id, &(struct msg_login_token_told){ .reason = span_str(reason) },
			NULL);
}

static void
ended(struct supervisor *s, const struct outside_end *e)
{
	struct text reason = TEXT_UP_TO(MOST_REASON);

	if (e->late)
		text_printf(&reason, "it took longer than %d seconds", RELAY_TOKEN_SECONDS);
	else if (WIFSIGNALED(e->status))
		text_printf(&reason, "it was killed by signal %d", WTERMSIG(e->status));
	else if (WEXITSTATUS(e->status) != 0)
		text_printf(&reason, "it ended with status %d", WEXITSTATUS(e->status));
	tell(process_find(s, PROGRAM_RELAY, e->run->index), e->run->id, text_str(&reason));
	text_clear(&reason);
}

/* The program for `login`, and the login as the configuration has it. */
static bool
find_command(const struct settings *set, struct span login, struct span *own, struct span *program)
{
	for (size_t i = 0; i < set->relay_token_commands.count; i++) {
		struct span rule = set->relay_token_commands.at[i];
		size_t space = span_index(rule, ' ');

		*own = span_part(rule, 0, space);
		*program = span_trim(span_part(rule, space, rule.len));
		if (span_equal(*own, login) && program->len > 0)
			return true;
	}
	return false;
}

void
for_relay_token(struct supervisor *s, const struct process *p, uint64_t id, struct span login, const int *fds)
{
	const struct settings *set = s->now.settings;
	struct span own, program;

	/* What is in the queue has its turn before the last program serves. */
	if (s->phase == PHASE_STOPPING) {
		tell(p, id, "Valija is stopping");
	} else if (!find_command(set, login, &own, &program)) {
		tell(p, id, "relay_token_commands has no program for this login");
	} else if (outside_count(ended) >= MOST_TOKEN_RUNS) {
		tell(p, id, "too many such programs run");
	} else {
		char *argument = must_copy(own);
		const char *const environment[] = { "VALIJA_LOGIN", argument, NULL };
		const struct outside_run run = { .what = { .path = program, .user = set->relay_token_user,
							 .argument = argument, .environment = environment,
							 .input = -1, .output = fds[0], .errors = fds[1] },
			.event = "relay-token-not-run", .seconds = RELAY_TOKEN_SECONDS, .id = id,
			.index = p->index, .ended = ended };

		if (!outside_begin(s, &run))
			tell(p, id, "it could not be started");
		free(argument);
	}
	close(fds[0]);
	close(fds[1]);
}
