/* A Maildir of its own for each test of imapd's index and mailboxes, and words for changes. */
#ifndef VALIJA_TEST_IMAPD_RIG_H
#define VALIJA_TEST_IMAPD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/maildir.h"
#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/index-record.h"
#include "imapd/mailbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char id[MAILBOX_ID_BYTES] = "0123456789abcdef";

struct place {
	char path[64];
	int top, maildir;
	struct store store;
};

static inline int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/valija-imapd-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->top = open(p->path, O_RDONLY | O_DIRECTORY);
	p->maildir = maildir_open(p->top, "Maildir", true);
	assert_true(p->maildir >= 0);
	assert_int_equal(store_init(&p->store, p->maildir, "host"), 0);
	*state = p;
	return 0;
}

static inline void
remove_all(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			remove_all(dirfd(d), e->d_name);
	}
	if (d != NULL)
		closedir(d);
	unlinkat(parent, name, AT_REMOVEDIR);
}

static inline int
tear_down(void **state)
{
	struct place *p = *state;

	store_clear(&p->store);
	remove_all(p->top, "Maildir");
	close(p->maildir);
	close(p->top);
	rmdir(p->path);
	free(p);
	return 0;
}

static inline uint32_t
validity(void *me)
{
	return *(const uint32_t *)me;
}

/* With this UIDVALIDITY if it has to be made. */
static inline int
open_index(struct place *p, struct index *ix, uint32_t uidvalidity)
{
	return index_open(ix, p->store.private, id, validity, &uidvalidity);
}

static inline void
add(struct index *ix, const char *base, uint8_t flags)
{
	struct index_record r = { .date = 5, .size = 7, .vsize = 8, .flags = flags };
	struct change c;

	change_init(&c);
	change_add(&c, &r, span_str(base), NULL);
	assert_int_equal(index_commit(ix, &c), 0);
	change_clear(&c);
}

static inline void
flag(struct index *ix, uint32_t from, uint32_t to, enum change_mode mode, uint8_t flags,
	const struct keyword_bits *k)
{
	struct number_range range = { from, to };
	struct number_ranges ranges = { &range, 1, 1 };
	struct change c;

	change_init(&c);
	change_flags(&c, mode, flags, k, &ranges);
	assert_int_equal(index_commit(ix, &c), 0);
	change_clear(&c);
}

static inline void
expunge(struct index *ix, uint32_t from, uint32_t to)
{
	struct number_range range = { from, to };
	struct number_ranges ranges = { &range, 1, 1 };
	struct change c;

	change_init(&c);
	change_expunge(&c, &ranges);
	assert_int_equal(index_commit(ix, &c), 0);
	change_clear(&c);
}

#endif
