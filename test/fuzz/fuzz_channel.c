/* Decodes any packet as every message of the table, and what decodes must encode to the same bytes. */
#include "common/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static union {
#define M(name, number, by, to, hours, fds) struct msg_##name name;
	MESSAGES(M)
#undef M
} any;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char out[MOST_PACKET];
	uint16_t number;
	uint64_t id;
	size_t len;

	if (size < sizeof(number) + sizeof(id) || size > MOST_PACKET - 1)
		return 0;
	memcpy(&number, data, sizeof(number));
	memcpy(&id, data + sizeof(number), sizeof(id));
	if (message_row(number) == NULL)
		return 0;
	memset(&any, 0, sizeof(any));
	if (!message_decode((enum message)number, span_of(data + 10, size - 10), &any))
		return 0;
	len = message_encode((enum message)number, id, &any, out);
	if (len != size || memcmp(out, data, size) != 0)
		abort();
	return 0;
}
