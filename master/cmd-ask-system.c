/*
 * cmd-ask-system - see cmd-ask-system.h.
 */
#include "master/cmd-ask-system.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>

#include "common/text.h"
#include "delivery/resolve.h"

int
ask_system_name(void *me, struct span login, struct system_user *u)
{
	char *name = must_copy(login);
	struct passwd *p;

	(void)me;
	errno = 0;
	p = getpwnam(name);
	free(name);
	if (!p)
		return errno == 0 || errno == ENOENT ? 0 : -2;
	u->uid = p->pw_uid;
	u->gid = p->pw_gid;
	u->home = p->pw_dir;
	return 1;
}
