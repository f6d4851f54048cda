/*
 * notify - sd_notify(3) by hand.
 */
#include "master/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"

static struct {
	int fd;
	struct sockaddr_un to;
	socklen_t len;
} service_manager = { .fd = -1 };

void
notify_open(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len = name ? strlen(name) : 0;

	if (len < 2 || len >= sizeof service_manager.to.sun_path ||
		(name[0] != '/' && name[0] != '@'))
		return;
	service_manager.to.sun_family = AF_UNIX;
	memcpy(service_manager.to.sun_path, name, len);
	/* An abstract socket is written with '@', and begins with NUL. */
	if (name[0] == '@')
		service_manager.to.sun_path[0] = '\0';
	service_manager.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	service_manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unsetenv("NOTIFY_SOCKET");
}

static void
tell(const char *words)
{
	if (service_manager.fd >= 0 &&
		sendto(service_manager.fd, words, strlen(words), MSG_NOSIGNAL,
			(const struct sockaddr *)&service_manager.to, service_manager.len) < 0)
		log_warning(0, "service-manager-not-told", KEY_ERRNO);
}

void
notify_ready(const struct supervisor *s)
{
	char words[120];

	snprintf(words, sizeof words, "READY=1\nMAINPID=%ld\nSTATUS=generation %u\n",
		(long)getpid(), (unsigned int)s->now.number);
	tell(words);
}

void
notify_reloading(void)
{
	struct timespec now;
	char words[80];

	/* Type=notify-reload wants the time too. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(words, sizeof words, "RELOADING=1\nMONOTONIC_USEC=%lld\n",
		(long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	tell(words);
}

void
notify_stopping(void)
{
	tell("STOPPING=1\n");
}
