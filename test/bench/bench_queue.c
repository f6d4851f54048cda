/*
 * bench_queue - fills a spool with messages that were tried and deferred, for test/bench/queue.
 *
 * bench_queue SPOOL COUNT: COUNT messages of 1 KiB from 100 senders to 1000 domains, each with one
 * recorded failure, in SPOOL/queue. Nothing is synced; LINKED messages share a file, so that a million
 * of them do not fill the disk.
 */
#include "common/beneath.h"
#include "delivery/envelope.h"
#include "delivery/limits.h"
#include "delivery/spool_name.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINKED 10000

static char body[1024];

static void
put(int queue, uint64_t id, const char *suffix, struct span bytes)
{
	int fd = open_in(queue, spool_name(id, suffix).str, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd < 0 || write_all(fd, bytes.at, bytes.len) < 0) {
		perror("bench_queue");
		exit(1);
	}
	close(fd);
}

static void
put_message(int queue, uint64_t n, uint64_t id)
{
	static struct spool_name first;

	if (n % LINKED != 0 &&
		linkat(queue, first.str, queue, spool_name(id, SUFFIX_MESSAGE).str, 0) == 0)
		return;
	first = spool_name(id, SUFFIX_MESSAGE);
	put(queue, id, SUFFIX_MESSAGE, span_of(body, sizeof(body)));
}

static void
make(int queue, uint64_t n)
{
	struct verdict later = VERDICT_IS(LATER, 451, "4.4.1", "connection refused");
	struct text file = TEXT_UP_TO(MOST_ENVELOPE), sender = TEXT_UP_TO(64), to = TEXT_UP_TO(64);
	struct envelope_recipient r = { .number = 0 };
	struct envelope e = { .id = 0x100000000ull + n * 7919, .session = n + 1, .service = 1,
		.body = BODY_8BITMIME, .size = sizeof(body),
		.digest = SPAN("0123456789abcdef0123456789abcdef"),
		.arrived = (uint64_t)time(NULL) - 7200 - n % 3600, .wishes = { .priority = PRIORITY_NORMAL },
		.count = 1, .recipient = &r };

	text_printf(&sender, "sender-%llu@example.org", (unsigned long long)n % 100);
	text_printf(&to, "user-%llu@domain-%llu.invalid", (unsigned long long)n,
		(unsigned long long)n % 1000);
	e.sender = text_span(&sender);
	r.address = text_span(&to);
	envelope_encode(&e, &file);
	envelope_encode_told(0, &later, (uint64_t)time(NULL) - 60, &file);
	put_message(queue, n, e.id);
	put(queue, e.id, SUFFIX_ENVELOPE, text_span(&file));
	text_clear(&file);
	text_clear(&sender);
	text_clear(&to);
}

int
main(int argc, char **argv)
{
	uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	int spool = argc == 3 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int queue = spool < 0 ? -1 : open_in(spool, SPOOL_QUEUE, O_RDONLY | O_DIRECTORY, 0);

	if (queue < 0) {
		fprintf(stderr, "usage: bench_queue SPOOL COUNT\n");
		return 64;
	}
	memset(body, 'x', sizeof(body));
	memcpy(body, "Subject: deferred\r\n\r\n", 21);
	for (uint64_t n = 1; n <= count; n++)
		make(queue, n);
	close(queue);
	close(spool);
	return 0;
}
