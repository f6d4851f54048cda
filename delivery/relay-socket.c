/*
 * relay-socket - see relay.h. relay has an empty root and makes no UNIX sockets: master connects to those that
 * lmtp_sockets names, and hands the socket over.
 */
#include "relay.h"

#include "common/id.h"

#include <string.h>
#include <unistd.h>

bool
socket_is_wanted(const struct job *j)
{
	return j->way == WAY_LMTP && j->next_hop[0] == '/';
}

void
socket_begin(struct job *j)
{
	j->socket_ask = id_new();
	send_socket_ask(j->relay->daemon.master, j->socket_ask,
		&(struct msg_socket_ask){ .path = span_str(j->next_hop) }, NULL);
}

static struct job *
asking(struct relay *r, uint64_t id)
{
	struct job *j;

	TAILQ_FOREACH(j, &r->jobs, all)
		if (j->socket_ask == id)
			return j;
	return NULL;
}

void
socket_told(struct relay *r, uint64_t id, int fd)
{
	struct job *j = id != 0 ? asking(r, id) : NULL;

	if (j == NULL) {
		close(fd);
		return;
	}
	j->socket_ask = 0;
	dialogue_new(j, fd, NULL);
}

void
socket_fault(struct relay *r, uint64_t id, int error)
{
	struct job *j = id != 0 ? asking(r, id) : NULL;
	struct text reason = TEXT_UP_TO(MOST_REASON);

	if (j == NULL)
		return;
	j->socket_ask = 0;
	text_printf(&reason, "connect to %s: %s", j->next_hop, strerror(error));
	job_next_server(j, (struct verdict){ LATER, 451, SPAN("4.4.1"), text_span(&reason) }, HEALTH_DEAD);
	text_clear(&reason);
}
