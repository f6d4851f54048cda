/* user - see user.h. */
#include "user.h"

#include "common/log.h"

#include <errno.h>
#include <sys/fsuid.h>
#include <unistd.h>

static bool entered;                 /* somebody else; not while it is the process's own user */

/* setfsuid() says nothing of failure: what it was is asked for, by an id that is none. */
static bool
become(uint32_t uid, uint32_t gid)
{
	setfsgid(gid);
	setfsuid(uid);
	return (uint32_t)setfsgid((gid_t)-1) == gid && (uint32_t)setfsuid((uid_t)-1) == uid;
}

bool
user_enter(uint32_t uid, uint32_t gid)
{
	if (uid == geteuid()) {
		user_leave();
		return true;
	}
	if (uid == 0 || gid == 0 || uid == (uint32_t)-1 || gid == (uint32_t)-1) {
		errno = EPERM;
		return false;
	}
	entered = true;
	if (become(uid, gid))
		return true;
	user_leave();
	errno = EPERM;
	return false;
}

void
user_leave(void)
{
	int saved = errno;

	if (!entered)
		return;
	entered = false;
	if (!become(geteuid(), getegid())) {
		log_error(0, "user-not-left", KEY_NUM("uid", geteuid()));
		_exit(70);
	}
	errno = saved;
}
