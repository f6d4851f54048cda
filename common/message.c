/* message - rows, encoders and decoders, all made from the table in message.h. */
#include "message.h"

#include "wire.h"


const struct message_row *
message_row(unsigned int number)
{
#define HAS_u8 0
#define HAS_u16 0
#define HAS_u32 0
#define HAS_u64 0
#define HAS_flag 0
#define HAS_text 0
#define HAS_octets 0
#define HAS_secret 1
#define FIELD(kind, field, most) || HAS_##kind
#define M(name, number, by, to, hours, fds) \
	[number] = { #name, number, (uint32_t)(by), (uint32_t)(to), hours, fds, 0 name##_fields(FIELD) },
	static const struct message_row rows[] = { MESSAGES(M) };
#undef M
#undef FIELD

	if (number >= sizeof(rows) / sizeof(rows[0]) || rows[number].name == NULL)
		return NULL;
	return &rows[number];
}

/* One decoder for each row. */
#define FIELD(kind, field, most) && wire_take_##kind(&in, &m->field, (most))
#define M(name, number, by, to, hours, fds) \
	static bool name##_decode(struct span in, struct msg_##name *m) \
	{ \
		(void)m; \
		return true name##_fields(FIELD) && in.len == 0; \
	}
MESSAGES(M)
#undef M
#undef FIELD

/* One encoder for each row. */
#define FIELD(kind, field, most) wire_add_##kind(packet, m->field, (most));
#define M(name, number, by, to, hours, fds) \
	static void name##_encode(struct text *packet, const struct msg_##name *m) \
	{ \
		(void)packet; \
		(void)m; \
		name##_fields(FIELD) \
	}
MESSAGES(M)
#undef M
#undef FIELD

bool
message_decode(enum message number, struct span in, void *into)
{
	switch (number) {
#define M(name, number, by, to, hours, fds) \
	case MSG_##name: \
		return name##_decode(in, into);
		MESSAGES(M)
#undef M
	}
	return false;
}

size_t
message_encode(enum message number, uint64_t id, const void *from, unsigned char *out)
{
	/* A text over borrowed memory: its room is a whole packet, so it never grows. */
	struct text packet = { out, 0, MOST_PACKET, MOST_PACKET - 1, false };

	wire_add_u16(&packet, (uint16_t)number, sizeof(uint16_t));
	wire_add_u64(&packet, id, sizeof(id));
	switch (number) {
#define M(name, number, by, to, hours, fds) \
	case MSG_##name: \
		name##_encode(&packet, from); \
		break;
		MESSAGES(M)
#undef M
	default:
		return 0;
	}
	return packet.failed ? 0 : packet.len;
}
