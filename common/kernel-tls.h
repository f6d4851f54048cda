/*
 * kernel-tls - plain text over a socket whose records the kernel makes.
 *
 * The descriptor that a front end gets with tls_ready is one of two: a UNIX socket to a TLS worker, or the
 * client's own TCP socket with kernel TLS switched on. Both are read and written alike, but for records
 * that are no data, and for the end, which must be told (close_notify). These functions do right by both,
 * and by a TCP socket in clear.
 */
#ifndef VALIJA_KERNEL_TLS_H
#define VALIJA_KERNEL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As recv(2). A close_notify is the end of the stream (0). Any other alert is ECONNRESET; a handshake
 * message, such as the update of a key (RFC 8446 4.6.3) or a wish to renegotiate, which nobody here can
 * answer, is EPROTO: the connection ends. */
ssize_t stream_recv(int fd, void *to, size_t room, int flags);
/* At the end of the stream: is nobody there to hear an answer? A UNIX socket tells who closed it all from who only says no
 * more; a TCP socket does not before something was sent. */
bool stream_is_deserted(int fd);
/* Before the end of what we say, shutdown(2) or close(2): says close_notify where the kernel makes the
 * records; does nothing elsewhere. Never waits: an end that does not fit is left out. */
void stream_bye(int fd);
/* Does the kernel make the records of this socket? */
bool stream_is_kernel_tls(int fd);

#endif
