/*
 * cmd-stop - asks master for an orderly stop, and waits for its end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/outcome.h"
#include "master/client.h"

#define STOP_MILLISECONDS      700000 /* stop_seconds may be 600; then the later stages */
#define LOCK_WAIT_MILLISECONDS 5000

static void
on_command_told(void *me, struct channel *from, uint64_t id, const struct msg_command_told *m,
	const int *fd)
{
	/* Accepted. The end of the connection is what we wait for. */
	(void)me;
	(void)from;
	(void)id;
	(void)m;
	(void)fd;
}

static int
run(struct invocation *v)
{
	struct hearing h = client_hearing();
	struct client c = { 0 };
	int error;

	h.on_command_told = on_command_told;
	if (!client_open(&c, &v->paths, &h)) {
		error = errno;
		if (error == EACCES)
			return client_absent(v);
		if (client_is_locked(&v->paths))
			return cmd_fail(EX_TEMPFAIL,
				"it runs (pid %ld), but cannot be asked: %s: %s; `kill -TERM` stops it in order too",
				client_master_pid(&v->paths), v->paths.control, strerror(error));
		puts("not running");
		return EX_OK;
	}
	send_command_stop(c.channel, 0, &(struct msg_command_stop){}, NULL);
	client_wait(&c, STOP_MILLISECONDS);
	if (c.channel) {
		client_close(&c);
		return cmd_fail(EX_TEMPFAIL, "it has not stopped yet");
	}
	client_wait_unlocked(&v->paths, LOCK_WAIT_MILLISECONDS);
	return EX_OK;
}

const struct command cmd_stop = {
	.words = "stop",
	.arguments = "",
	.help = "stop the suite in order: what is in flight is finished, for stop_seconds",
	.run = run,
};
