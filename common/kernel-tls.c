/* kernel-tls - see kernel-tls.h. */
#include "kernel-tls.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* RFC 8446 5.1, 6. */
enum { RECORD_ALERT = 21 };
enum { ALERT_WARNING = 1, ALERT_CLOSE_NOTIFY = 0 };

#define ALERT_BYTES 2

/* There is a record that is no data: takes it. 0: close_notify; or -1 with errno. */
static ssize_t
take_record(int fd)
{
	unsigned char record[256], type = 0;
	char control[CMSG_SPACE(sizeof(type))];
	struct iovec bytes = { record, sizeof(record) };
	struct msghdr m = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t got = recvmsg(fd, &m, MSG_DONTWAIT);

	if (got < 0)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (c != NULL && c->cmsg_level == SOL_TLS && c->cmsg_type == TLS_GET_RECORD_TYPE)
		memcpy(&type, CMSG_DATA(c), sizeof(type));
	if (type == RECORD_ALERT && got == ALERT_BYTES && record[1] == ALERT_CLOSE_NOTIFY)
		return 0;
	errno = type == RECORD_ALERT ? ECONNRESET : EPROTO;
	return -1;
}

bool
stream_is_kernel_tls(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name) - 1;

	return getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &len) == 0 && strcmp(name, "tls") == 0;
}

ssize_t
stream_recv(int fd, void *to, size_t room, int flags)
{
	ssize_t got = recv(fd, to, room, flags);

	/* The kernel's word for a record that plain recv(2) cannot tell from data. */
	if (got < 0 && errno == EIO)
		return stream_is_kernel_tls(fd) ? take_record(fd) : -1;
	return got;
}

bool
stream_is_deserted(int fd)
{
	struct pollfd p = { .fd = fd, .events = 0 };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

void
stream_bye(int fd)
{
	unsigned char alert[ALERT_BYTES] = { ALERT_WARNING, ALERT_CLOSE_NOTIFY };
	const unsigned char type = RECORD_ALERT;
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(type))];
	} control = { 0 };
	struct iovec bytes = { alert, sizeof(alert) };
	struct msghdr m = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control.room,
		.msg_controllen = sizeof(control.room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (!stream_is_kernel_tls(fd))
		return;
	c->cmsg_level = SOL_TLS;
	c->cmsg_type = TLS_SET_RECORD_TYPE;
	c->cmsg_len = CMSG_LEN(sizeof(type));
	memcpy(CMSG_DATA(c), &type, sizeof(type));
	(void)!sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}
