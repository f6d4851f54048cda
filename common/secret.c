/* secret - see secret.h. */
#include "secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void
secret_wipe(void *at, size_t len)
{
	if (len > 0)
		explicit_bzero(at, len);
}

bool
secret_equal(struct span a, struct span b)
{
	unsigned int difference = 0;

	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		difference |= (unsigned int)(a.at[i] ^ b.at[i]);
	return difference == 0;
}

void
secret_random(void *at, size_t len)
{
	unsigned char *to = at;

	while (len > 0) {
		ssize_t got = getrandom(to, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		to += got;
		len -= (size_t)got;
	}
}
