/*
 * bench_journal - how long one acknowledged change takes: a STORE, and the record of an APPEND,
 * each written to the journal and made durable by itself.
 *
 * bench_journal [directory [how many of each]]
 *
 * Tells the median and the 90th percentile in microseconds. The directory should lie on the file
 * system that the mail will lie on.
 */
#include "common/beneath.h"
#include "imapd/flags.h"
#include "imapd/index.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const unsigned char id[MAILBOX_ID_BYTES] = "0123456789abcdef";

static uint32_t
validity(void *me)
{
	(void)me;
	return 1;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int
time_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
tell(const char *what, double *times, size_t count)
{
	qsort(times, count, sizeof(*times), time_order);
	printf("%-8s median %8.1f us, 90th %8.1f us\n", what, times[count / 2],
		times[count * 9 / 10]);
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
store(struct index *ix, size_t i)
{
	struct number_range range = { 1, 1 };
	struct number_ranges uids = { &range, 1, 1 };
	struct change c;

	change_init(&c);
	change_flags(&c, i % 2 ? CHANGE_ADD : CHANGE_REMOVE, FLAG_SEEN, NULL, &uids);
	if (index_commit(ix, &c) < 0 || index_sync(ix) < 0)
		die("STORE");
	change_clear(&c);
}

static void
append(struct index *ix, size_t i)
{
	struct index_record r = { .date = 1, .size = 4000, .vsize = 4100 };
	char base[100];
	struct change c;

	snprintf(base, sizeof(base), "1700000000.M%zuP1234Q%zu.mail.example.org,S=4000,W=4100", i,
		i);
	change_init(&c);
	change_add(&c, &r, span_str(base), NULL);
	if (index_commit(ix, &c) < 0 || index_sync(ix) < 0)
		die("APPEND");
	change_clear(&c);
}

int
main(int argc, char **argv)
{
	size_t count = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 500;
	char path[4096];
	double *times;
	struct index ix;
	int top;

	if (count == 0 || count > 1000000)
		count = 500;
	times = calloc(count, sizeof(*times));
	snprintf(path, sizeof(path), "%s/bench-journal-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (times == NULL || mkdtemp(path) == NULL)
		die(path);
	top = open(path, O_RDONLY | O_DIRECTORY);
	if (top < 0 || index_open(&ix, top, id, validity, NULL) < 0)
		die(path);
	append(&ix, count);
	for (size_t i = 0; i < count; i++) {
		double begun = now();

		store(&ix, i);
		times[i] = now() - begun;
	}
	tell("STORE", times, count);
	for (size_t i = 0; i < count; i++) {
		double begun = now();

		append(&ix, i);
		times[i] = now() - begun;
	}
	tell("APPEND", times, count);
	(void)unlinkat(ix.directory, "journal", 0);
	index_close(&ix);
	(void)unlinkat(top, "30313233343536373839616263646566", AT_REMOVEDIR);
	close(top);
	(void)rmdir(path);
	free(times);
	return 0;
}
