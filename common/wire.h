/*
 * wire - fields of messages and records, as bytes: native order, lengths before contents.
 *
 * wire_take_KIND takes one field from the front of *in, or leaves everything as it was and returns
 * false. wire_add_KIND appends one; a field over its ceiling sets to->failed.
 */
#ifndef VALIJA_WIRE_H
#define VALIJA_WIRE_H

#include "text.h"

#define WIRE_NUMBER(kind, type) \
	bool wire_take_##kind(struct span *in, type *field, size_t most); \
	void wire_add_##kind(struct text *to, type field, size_t most);
WIRE_NUMBER(u8, uint8_t)
WIRE_NUMBER(u16, uint16_t)
WIRE_NUMBER(u32, uint32_t)
WIRE_NUMBER(u64, uint64_t)
#undef WIRE_NUMBER

bool wire_take_flag(struct span *in, bool *field, size_t most);
bool wire_take_text(struct span *in, struct span *field, size_t most);
bool wire_take_octets(struct span *in, struct span *field, size_t most);
bool wire_take_secret(struct span *in, struct span *field, size_t most);
void wire_add_flag(struct text *to, bool field, size_t most);
void wire_add_text(struct text *to, struct span field, size_t most);
void wire_add_octets(struct text *to, struct span field, size_t most);
void wire_add_secret(struct text *to, struct span field, size_t most);

#endif
