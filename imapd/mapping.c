/* mapping - see mapping.h. */
#include "imapd/mapping.h"

#include "common/text.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct mapping {
	unsigned char *at;
	size_t len;
	volatile sig_atomic_t damaged;
	struct mapping *next;
};

/* All that there are. The signal comes where bytes of one are read, never while this is changed. */
static struct mapping *mappings;
static uintptr_t page_bytes;

/* A page that cannot be read becomes one of zeros, and the reader goes on. Any other one is not ours: the same again
 * ends the process. */
static void
on_bus_error(int number, siginfo_t *info, void *context)
{
	uintptr_t where = (uintptr_t)info->si_addr, page = where & ~(page_bytes - 1);
	int saved = errno;

	(void)context;
	for (struct mapping *m = mappings; m != NULL; m = m->next) {
		if (where < (uintptr_t)m->at || where - (uintptr_t)m->at >= m->len)
			continue;
		if (mmap((void *)page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
			MAP_FAILED)
			break;
		m->damaged = 1;
		errno = saved;
		return;
	}
	(void)signal(number, SIG_DFL);
}

static bool
catch_bus_errors(void)
{
	const struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };

	if (page_bytes != 0)
		return true;
	if (sigaction(SIGBUS, &action, NULL) < 0)
		return false;
	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	return true;
}

struct mapping *
mapping_new(int fd, size_t len)
{
	void *at = catch_bus_errors() ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	struct mapping *m;

	if (at == MAP_FAILED)
		return NULL;
	m = must_alloc(sizeof(*m));
	*m = (struct mapping){ .at = at, .len = len, .next = mappings };
	mappings = m;
	return m;
}

const void *
mapping_bytes(const struct mapping *m)
{
	return m->at;
}

bool
mapping_is_damaged(const struct mapping *m)
{
	return m != NULL && m->damaged;
}

void
mapping_free(struct mapping **mp)
{
	struct mapping **at = &mappings, *m = *mp;

	if (m == NULL)
		return;
	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	(void)munmap(m->at, m->len);
	free(m);
	*mp = NULL;
}
