/* order - see order.h. */
#include "imapd/order.h"

#include "common/beneath.h"
#include "common/crc32c.h"
#include "common/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTE_ORDER_MARK 0x01020304u
#define ENTRY_BYTES (2 * sizeof(uint32_t))

static const char magic[8] = { 'V', 'A', 'L', 'I', 'J', 'A', 'O', '1' };

struct order {
	size_t count;
	uint32_t *uids;              /* ascending, if nobody lied */
	const uint32_t *ranks;       /* behind them */
	size_t at;                   /* where order_rank looked last */
	/* For order_place: of each rank a message that has it, and of each message another one of the same rank; places in
	 * `uids`, counted from 1. */
	uint32_t *first, *next;
};

/* --- the file --- */

static void
header_write(const struct index *ix, size_t count, uint32_t sum, struct text *out)
{
	text_add(out, span_of(magic, sizeof(magic)));
	wire_add_u32(out, BYTE_ORDER_MARK, 4);
	wire_add_u32(out, ORDER_VERSION, 4);
	wire_add_u32(out, ix->uidvalidity, 4);
	text_add(out, span_of(ix->id, MAILBOX_ID_BYTES));
	wire_add_u32(out, (uint32_t)count, 4);
	wire_add_u32(out, sum, 4);
	while (out->len < ORDER_HEADER_BYTES - 4)
		text_add_byte(out, 0);
	wire_add_u32(out, crc32c(text_span(out)), 4);
}

static bool
header_read(const struct index *ix, struct span in, uint32_t *count, uint32_t *sum)
{
	struct span whole = in, seal = span_part(in, ORDER_HEADER_BYTES - 4, 4), found, id;
	uint32_t mark, version, validity, crc;

	return wire_take_u32(&seal, &crc, 4) &&
		crc == crc32c(span_part(whole, 0, ORDER_HEADER_BYTES - 4)) &&
		span_take_bytes(&in, sizeof(magic), &found) &&
		span_equal(found, span_of(magic, sizeof(magic))) &&
		wire_take_u32(&in, &mark, 4) && mark == BYTE_ORDER_MARK &&
		wire_take_u32(&in, &version, 4) && version == ORDER_VERSION &&
		wire_take_u32(&in, &validity, 4) && validity == ix->uidvalidity &&
		span_take_bytes(&in, MAILBOX_ID_BYTES, &id) &&
		span_equal(id, span_of(ix->id, MAILBOX_ID_BYTES)) &&
		wire_take_u32(&in, count, 4) && wire_take_u32(&in, sum, 4);
}

/* One of far more messages than there are is written anew soon, and not worth its memory until then. */
static bool
has_likely_size(const struct index *ix, off_t size, uint32_t count)
{
	return count > 0 && count <= MOST_ORDERED && count / 4 <= ix->count &&
		(uint64_t)size == ORDER_HEADER_BYTES + (uint64_t)count * ENTRY_BYTES;
}

static struct order *
read_from(const struct index *ix, int fd)
{
	unsigned char header[ORDER_HEADER_BYTES];
	struct order *o;
	uint32_t count, sum;
	struct stat st;
	size_t len;

	if (fstat(fd, &st) < 0 || read_at(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
		!header_read(ix, span_of(header, sizeof(header)), &count, &sum) ||
		!has_likely_size(ix, st.st_size, count))
		return NULL;
	len = count * ENTRY_BYTES;
	o = must_alloc(sizeof(*o));
	o->count = count;
	o->uids = must_alloc(len);
	o->ranks = o->uids + count;
	if (read_at(fd, o->uids, len, ORDER_HEADER_BYTES) != (ssize_t)len ||
		crc32c_lanes(span_of(o->uids, len)) != sum)
		order_free(&o);
	return o;
}

struct order *
order_read(const struct index *ix, const char *name)
{
	int fd = open_in(ix->directory, name, O_RDONLY, 0);
	struct order *o;

	if (fd < 0)
		return NULL;
	o = read_from(ix, fd);
	close(fd);
	return o;
}

void
order_free(struct order **op)
{
	struct order *o = *op;

	if (o == NULL)
		return;
	free(o->uids);
	free(o->first);
	free(o->next);
	free(o);
	*op = NULL;
}

static int
write_to(const struct index *ix, int fd, struct span entries, size_t count)
{
	struct text header = TEXT_UP_TO(ORDER_HEADER_BYTES);
	int result;

	header_write(ix, count, crc32c_lanes(entries), &header);
	result = write_all(fd, header.at, header.len);
	if (result == 0)
		result = write_all(fd, entries.at, entries.len);
	text_clear(&header);
	return result;
}

int
order_write(const struct index *ix, const char *name, const uint32_t *entries, size_t count)
{
	int fd, result = -1;

	if (count == 0 || count > MOST_ORDERED) {
		errno = EINVAL;
		return -1;
	}
	fd = open_in(ix->directory, ORDER_NEW, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return -1;
	if (write_to(ix, fd, span_of(entries, count * ENTRY_BYTES), count) == 0 &&
		renameat(ix->directory, ORDER_NEW, ix->directory, name) == 0)
		result = 0;
	else
		(void)unlinkat(ix->directory, ORDER_NEW, 0);
	close(fd);
	return result;
}

/* --- looking up --- */

size_t
order_count(const struct order *o)
{
	return o->count;
}

uint32_t
order_highest(const struct order *o)
{
	return o->uids[o->count - 1];
}

uint32_t
order_rank(struct order *o, uint32_t uid)
{
	while (o->at < o->count && o->uids[o->at] < uid)
		o->at++;
	return o->at < o->count && o->uids[o->at] == uid ? o->ranks[o->at] : 0;
}

static void
chain(struct order *o)
{
	o->first = must_alloc((o->count + 1) * sizeof(*o->first));
	o->next = must_alloc(o->count * sizeof(*o->next));
	for (size_t i = 0; i < o->count; i++) {
		uint32_t rank = o->ranks[i];

		if (rank == 0 || rank > o->count)        /* nobody but a liar wrote that */
			continue;
		o->next[i] = o->first[rank];
		o->first[rank] = (uint32_t)i + 1;
	}
}

/* As `compare`, with some message of this rank that is there; those that are gone are forgotten. */
static int
compare_rank(struct order *o, size_t rank, int (*compare)(void *me, uint32_t uid, bool *gone), void *me,
	bool *gone)
{
	while (o->first[rank] != 0) {
		bool this_gone = false;
		int order = compare(me, o->uids[o->first[rank] - 1], &this_gone);

		if (!this_gone)
			return order;
		o->first[rank] = o->next[o->first[rank] - 1];
	}
	*gone = true;
	return 0;
}

uint32_t
order_place(struct order *o, int (*compare)(void *me, uint32_t uid, bool *gone), void *me)
{
	size_t low = 1, high = o->count + 1;     /* ranks below `low` come before it, those from `high` on do not */

	if (o->first == NULL)
		chain(o);
	while (low < high) {
		size_t middle = low + (high - low) / 2, at = middle;
		bool gone;
		int order;

		do {
			gone = false;
			order = compare_rank(o, at, compare, me, &gone);
		} while (gone && ++at < high);
		if (!gone && order == 0)
			return 2 * (uint32_t)at;
		if (gone || order < 0)
			high = middle;           /* between the two nobody is left */
		else
			low = at + 1;
	}
	return 2 * (uint32_t)(low - 1) + 1;
}
