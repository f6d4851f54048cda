/*
 * cmd-reload - asks master to take the configuration anew; tells why when it does not.
 */
#include <sysexits.h>

#include "common/outcome.h"
#include "master/client.h"

static void
on_command_told(void *me, struct channel *from, uint64_t id, const struct msg_command_told *m,
	const int *fd)
{
	struct client *c = me;
	int *status = c->me;

	(void)from;
	(void)id;
	(void)fd;
	*status = m->outcome == DONE ? EX_OK : m->outcome == LATER ? EX_TEMPFAIL : EX_CONFIG;
	cmd_complain(m->reason);
	if (*status != EX_OK)
		cmd_fail(0, "not reloaded; the configuration that was in force stays in force");
	c->over = true;
}

static int
run(struct invocation *v)
{
	struct hearing h = client_hearing();
	int status = EX_TEMPFAIL;
	struct client c = { .me = &status };

	h.on_command_told = on_command_told;
	if (!client_open(&c, &v->paths, &h))
		return client_absent(v);
	send_command_reload(c.channel, 0, &(struct msg_command_reload){}, NULL);
	if (!client_wait(&c, ANSWER_MILLISECONDS))
		cmd_fail(0, "no answer");
	client_close(&c);
	return status;
}

const struct command cmd_reload = {
	.words = "reload",
	.arguments = "",
	.help = "put configuration and certificates in force again; all programs do, or none",
	.run = run,
};
