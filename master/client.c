/*
 * client - the command's end of a conversation with master.
 */
#include "master/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/* What client_reach waits for. */
struct reach {
	int fd; /* the channel that master made, or -1 */
};

static uint32_t
hour(void *me, struct channel *from, enum message m, uint64_t id)
{
	(void)me;
	(void)from;
	(void)m;
	(void)id;
	return HOUR_WAITING;
}

static void
gone(void *me, struct channel *from)
{
	struct client *c = me;

	(void)from;
	c->channel = NULL;
}

struct hearing
client_hearing(void)
{
	return (struct hearing){ .hour = hour, .gone = gone };
}

bool
client_open(struct client *c, const struct paths *p, const struct hearing *h)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	/* As in control.c: a long name does not fit, a descriptor does. */
	int directory = open(p->run, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, error;

	if (directory < 0)
		return false;
	snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/control", directory);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) < 0) {
		error = errno;
		close(directory);
		if (fd >= 0)
			close(fd);
		errno = error;
		return false;
	}
	close(directory);
	c->over = false;
	c->channel = channel_new(NULL, fd, PROGRAM_COMMAND, PROGRAM_MASTER, 0, h, c);
	return true;
}

bool
client_wait(struct client *c, int milliseconds)
{
	return c->channel && channel_wait(c->channel, &c->over, milliseconds);
}

void
client_close(struct client *c)
{
	channel_free(&c->channel);
}

static void
on_command_connected(void *me, struct channel *from, uint64_t id,
	const struct msg_command_connected *m, const int *fd)
{
	struct client *c = me;
	struct reach *reach = c->me;

	(void)from;
	(void)id;
	(void)m;
	reach->fd = fd[0];
	c->over = true;
}

static void
on_command_told(void *me, struct channel *from, uint64_t id, const struct msg_command_told *m,
	const int *fd)
{
	struct client *c = me;

	(void)from;
	(void)id;
	(void)fd;
	cmd_complain(m->reason);
	c->over = true;
}

int
client_reach(struct client *c, const struct invocation *v, enum program program,
	const struct hearing *h)
{
	struct hearing master = client_hearing();
	struct reach reach = { .fd = -1 };
	struct client asking = { .me = &reach };

	master.on_command_connected = on_command_connected;
	master.on_command_told = on_command_told;
	if (!client_open(&asking, &v->paths, &master))
		return client_absent(v);
	send_command_connect(asking.channel, 0,
		&(struct msg_command_connect){ .program = (uint8_t)program }, NULL);
	client_wait(&asking, ANSWER_MILLISECONDS);
	client_close(&asking);
	if (reach.fd < 0)
		return EX_TEMPFAIL;
	c->over = false;
	c->channel = channel_new(NULL, reach.fd, PROGRAM_COMMAND, program, 0, h, c);
	return EX_OK;
}

int
client_absent(const struct invocation *v)
{
	if (errno == EACCES || errno == EPERM)
		return cmd_fail(EX_NOPERM, "%s: %s", v->paths.control, strerror(errno));
	return cmd_fail(EX_UNAVAILABLE, "not running (%s: %s)", v->paths.control, strerror(errno));
}

bool
client_is_locked(const struct paths *p)
{
	int fd = open(p->lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

bool
client_wait_unlocked(const struct paths *p, int milliseconds)
{
	static const struct timespec pause = { .tv_nsec = 10 * 1000000 };

	for (; client_is_locked(p); milliseconds -= 10) {
		if (milliseconds <= 0)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

long
client_master_pid(const struct paths *p)
{
	char digits[24];
	struct span s = { (const unsigned char *)digits, 0 };
	uint64_t pid = 0;
	int fd = open(p->pid_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, digits, sizeof digits);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	s.len = (size_t)n;
	return span_take_number(&s, INT32_MAX, &pid) ? (long)pid : 0;
}
