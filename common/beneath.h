/*
 * beneath - the only way to open a name that came from outside.
 *
 * openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS: no name leads out of
 * the directory, through a link, or into /proc. On kernels before 5.6 each component is opened by
 * itself with O_NOFOLLOW. O_CLOEXEC is added, and O_NONBLOCK while opening anything but a directory
 * (a FIFO does not hang us); a file that is not regular is refused with EINVAL unless O_PATH or
 * O_DIRECTORY is asked for.
 *
 * What the administrator names himself may lead through links: open_path_typed follows them.
 */
#ifndef VALIJA_BENEATH_H
#define VALIJA_BENEATH_H

#include <sys/types.h>

int open_in(int directory, const char *name, int flags, mode_t mode);
/* A path that was typed to a command, to be read: a link on the way is followed when it belongs to root or to whoever
 * runs the command, so that root does not read for somebody what that one only points at. -1 with errno, ELOOP for
 * such a link. Never waits for the other end of a FIFO. */
int open_path_typed(const char *path, int flags);
/* The write(2) loop: all or -1. pread loop: bytes read, short only at the end of file; -1. */
int write_all(int fd, const void *at, size_t len);
ssize_t read_at(int fd, void *to, size_t len, off_t from);

#endif
