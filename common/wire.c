/* wire - see wire.h. */
#include "wire.h"

#include <string.h>

/* The ceiling of a number is its size: it says in the message table what the wire carries. */
#define WIRE_NUMBER(kind, type) \
	bool \
	wire_take_##kind(struct span *in, type *field, size_t most) \
	{ \
		struct span part; \
\
		if (most != sizeof(type) || !span_take_bytes(in, sizeof(type), &part)) \
			return false; \
		memcpy(field, part.at, sizeof(type)); \
		return true; \
	} \
\
	void \
	wire_add_##kind(struct text *to, type field, size_t most) \
	{ \
		if (most != sizeof(type)) \
			to->failed = true; \
		text_add(to, span_of(&field, sizeof(field))); \
	}
WIRE_NUMBER(u8, uint8_t)
WIRE_NUMBER(u16, uint16_t)
WIRE_NUMBER(u32, uint32_t)
WIRE_NUMBER(u64, uint64_t)

bool
wire_take_flag(struct span *in, bool *field, size_t most)
{
	if (most != 1 || in->len == 0 || in->at[0] > 1)
		return false;
	*field = in->at[0] == 1;
	in->at++;
	in->len--;
	return true;
}

bool
wire_take_octets(struct span *in, struct span *field, size_t most)
{
	struct span rest = *in;
	uint32_t len;

	if (!wire_take_u32(&rest, &len, sizeof(len)) || len > most ||
	    !span_take_bytes(&rest, len, field))
		return false;
	*in = rest;
	return true;
}

bool
wire_take_secret(struct span *in, struct span *field, size_t most)
{
	return wire_take_octets(in, field, most);
}

bool
wire_take_text(struct span *in, struct span *field, size_t most)
{
	struct span rest = *in, part;

	if (!wire_take_octets(&rest, &part, most) || span_has(part, 0))
		return false;
	*in = rest;
	*field = part;
	return true;
}

void
wire_add_flag(struct text *to, bool field, size_t most)
{
	if (most != 1)
		to->failed = true;
	text_add_byte(to, field ? 1 : 0);
}

void
wire_add_octets(struct text *to, struct span field, size_t most)
{
	if (field.len > most) {
		to->failed = true;
		return;
	}
	wire_add_u32(to, (uint32_t)field.len, sizeof(uint32_t));
	text_add(to, field);
}

void
wire_add_secret(struct text *to, struct span field, size_t most)
{
	wire_add_octets(to, field, most);
}

void
wire_add_text(struct text *to, struct span field, size_t most)
{
	if (span_has(field, 0))
		to->failed = true;
	wire_add_octets(to, field, most);
}
