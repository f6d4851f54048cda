/* resolver-file - see resolver-file.h. */
#include "master/resolver-file.h"

#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int
resolver_file_open(const struct settings *s, unsigned int kind)
{
	static const char *const fixed[RESOLVER_FILE_COUNT] = { [RESOLVER_CONF] = "/etc/resolv.conf",
		[RESOLVER_HOSTS] = "/etc/hosts" };
	struct stat st;
	char *path;
	int fd;

	if (kind == 0 || kind >= RESOLVER_FILE_COUNT) {
		errno = EINVAL;
		return -1;
	}
	path = must_copy(fixed[kind] != NULL  ? span_str(fixed[kind])
			: kind == RESOLVER_TRUST ? s->dns_trust_anchor
						 : s->relay_credentials);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	free(path);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}
