/*
 * net-probe - see net-probe.h. Nothing is said to anybody: a connection, and its end.
 */
#include "master/net-probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

bool
probe_begin(struct probe *p, const char *host, const char *address, unsigned int port, bool waits_for_greeting)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	*p = (struct probe){ .fd = -1, .waits_for_greeting = waits_for_greeting };
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return false;
	span_copy(span_str(host), p->host, sizeof p->host);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return false;
	if (connect(p->fd, (const struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		p->over = true;
	return true;
}

void
probe_end(struct probe *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void
on_writable(struct probe *p)
{
	int error = 0;
	socklen_t len = sizeof error;

	p->connected = getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
	p->over = !p->connected || !p->waits_for_greeting;
}

static void
on_readable(struct probe *p)
{
	ssize_t n = recv(p->fd, p->greeting, MOST_GREETING, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	p->over = true;
	/* 554 is an answer too: somebody is there, who does not like us. IMAP begins with a star. */
	if (n < 3 || !strchr("245*", p->greeting[0]))
		n = 0;
	p->greeting[n] = '\0';
	for (char *c = p->greeting; *c; c++)
		if (*c < ' ' || *c > '~') {
			*c = '\0';
			break;
		}
}

static int64_t
milliseconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool
is_good(const struct probe *p)
{
	return p->waits_for_greeting ? p->greeting[0] != '\0' : p->connected;
}

void
probes_run(struct probe *probes, size_t count, int milliseconds, bool one)
{
	int64_t end = milliseconds_now() + milliseconds, left;
	struct pollfd fds[MOST_PROBES];

	while (count <= MOST_PROBES && (left = end - milliseconds_now()) > 0) {
		size_t open = 0;

		for (size_t i = 0; i < count; i++) {
			const struct probe *p = &probes[i];

			if (one && is_good(p))
				return;
			fds[i] = (struct pollfd){ .fd = p->over ? -1 : p->fd,
				.events = p->connected ? POLLIN : POLLOUT };
			open += fds[i].fd >= 0;
		}
		if (open == 0 || (poll(fds, count, (int)left) < 0 && errno != EINTR))
			return;
		for (size_t i = 0; i < count; i++) {
			if (fds[i].fd < 0 || !(fds[i].revents & (POLLIN | POLLOUT | POLLERR | POLLHUP)))
				continue;
			if (probes[i].connected)
				on_readable(&probes[i]);
			else
				on_writable(&probes[i]);
		}
	}
}
