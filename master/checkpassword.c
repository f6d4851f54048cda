/*
 * checkpassword - see checkpassword.h.
 */
#include "master/checkpassword.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"
#include "master/outside.h"
#include "master/process.h"

/* The protocol has the program execute another one where the password is right. */
#define THEN "/bin/true"

static void
tell(struct supervisor *s, uint64_t id, enum check_result result)
{
	struct process *auth = process_find(s, PROGRAM_AUTH, 0);

	if (auth && auth->control)
		send_check_told(auth->control, id, &(struct msg_check_told){ .result = (uint8_t)result },
			NULL);
}

/* https://cr.yp.to/checkpwd/interface.html: 0 right (by the program that was executed then), 1 wrong, 2 misused,
 * 111 try later. */
static enum check_result
meaning(int status)
{
	if (!WIFEXITED(status))
		return CHECK_LATER;
	return WEXITSTATUS(status) == 0 ? CHECK_RIGHT
	       : WEXITSTATUS(status) == 1 ? CHECK_WRONG
					  : CHECK_LATER;
}

static void
ended(struct supervisor *s, const struct outside_end *e)
{
	if (meaning(e->status) == CHECK_LATER)
		log_error(0, "checkpassword-failed", KEY_NUM("pid", e->pid),
			KEY_NUM(WIFSIGNALED(e->status) ? "signal" : "status",
				WIFSIGNALED(e->status) ? WTERMSIG(e->status) : WEXITSTATUS(e->status)),
			KEY_STR("reason", e->late ? "it took longer than checkpassword_seconds" : ""));
	tell(s, e->run->id, meaning(e->status));
}

void
checkpassword_run(struct supervisor *s, uint64_t id, const struct msg_check_run *m, int fd)
{
	const struct settings *set = s->now.settings;
	char ip[MOST_IP + 1], service[MOST_SERVICE_NAME + 1];
	const char *const environment[] = { "PROTO", service, "TCPREMOTEIP", ip, NULL };
	const struct outside_run run = { .what = { .path = set->checkpassword, .user = set->checkpassword_user,
						 .argument = THEN, .environment = environment, .input = fd,
						 .output = -1, .errors = -1 },
		.event = "checkpassword-not-run", .seconds = (unsigned int)set->checkpassword_seconds, .id = id,
		.ended = ended };

	/* auth runs no more than these; one that is not ours any more may try. */
	if (s->phase != PHASE_RUNNING || !set->checkpassword.len ||
		outside_count(ended) >= set->checkpassword_processes || !span_copy(m->ip, ip, sizeof ip) ||
		!span_copy(m->service, service, sizeof service) || !outside_begin(s, &run))
		tell(s, id, CHECK_LATER);
	close(fd);
}
