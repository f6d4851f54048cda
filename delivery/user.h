/*
 * user - file access as somebody else: the kernel's file system user and group of this process.
 *
 * Only local-home has the capabilities for it; elsewhere nobody but the process's own user can be
 * entered. Never root: refused here, and by the system call filter.
 */
#ifndef VALIJA_DELIVERY_USER_H
#define VALIJA_DELIVERY_USER_H

#include <stdbool.h>
#include <stdint.h>

/* From here on files are opened and made as this user. False with EPERM when that may not be. A process
 * that cannot be sure whose it is ends itself (F4). */
bool user_enter(uint32_t uid, uint32_t gid);
/* As the process's own user again. Keeps errno. */
void user_leave(void);

#endif
