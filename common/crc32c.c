/* crc32c - see crc32c.h. Eight bytes a step: by an instruction where the processor has it, else
 * by tables that are made at the first call. */
#include "crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u

static uint32_t table[8][256];

static void
make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (int k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
	}
}

uint32_t
crc32c_by_tables(uint32_t crc, struct span bytes)
{
	const unsigned char *at = bytes.at;
	size_t len = bytes.len;
	uint32_t c = ~crc;

	if (table[0][1] == 0)
		make_table();
	for (; len >= 8; at += 8, len -= 8) {
		uint32_t low = c ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
			(uint32_t)at[3] << 24);

		c = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
			table[4][low >> 24] ^
			table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
	}
	for (; len > 0; at++, len--)
		c = c >> 8 ^ table[0][(c ^ *at) & 255];
	return ~c;
}

#if defined(__x86_64__)
/* The processor has an instruction for it (SSE 4.2): a mapped index of many megabytes is checked at
 * each opening. */
__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const unsigned char *at, size_t len)
{
	uint64_t c = crc, piece;

	for (; len >= 8; at += 8, len -= 8) {
		memcpy(&piece, at, 8);
		c = __builtin_ia32_crc32di(c, piece);
	}
	for (; len > 0; at++, len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *at);
	return (uint32_t)c;
}
#endif

/* The four lanes and what is behind them, as one. */
static uint32_t
join_lanes(const uint32_t lane[4], struct span rest)
{
	return crc32c_more(crc32c(span_of(lane, 16)), rest);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static void
lanes_by_instruction(uint32_t lane[4], const unsigned char *at, size_t blocks)
{
	uint64_t a = ~0u, b = ~0u, c = ~0u, d = ~0u, piece[4];

	for (; blocks > 0; at += 32, blocks--) {
		memcpy(piece, at, 32);
		a = __builtin_ia32_crc32di(a, piece[0]);
		b = __builtin_ia32_crc32di(b, piece[1]);
		c = __builtin_ia32_crc32di(c, piece[2]);
		d = __builtin_ia32_crc32di(d, piece[3]);
	}
	lane[0] = ~(uint32_t)a;
	lane[1] = ~(uint32_t)b;
	lane[2] = ~(uint32_t)c;
	lane[3] = ~(uint32_t)d;
}
#endif

uint32_t
crc32c_lanes_by_tables(struct span bytes)
{
	uint32_t lane[4] = { 0, 0, 0, 0 };

	for (; bytes.len >= 32; bytes = span_of(bytes.at + 32, bytes.len - 32)) {
		for (size_t i = 0; i < 4; i++)
			lane[i] = crc32c_by_tables(lane[i], span_of(bytes.at + 8 * i, 8));
	}
	return join_lanes(lane, bytes);
}

uint32_t
crc32c_lanes(struct span bytes)
{
#if defined(__x86_64__)
	uint32_t lane[4];
	size_t blocks = bytes.len / 32;

	if (__builtin_cpu_supports("sse4.2")) {
		lanes_by_instruction(lane, bytes.at, blocks);
		return join_lanes(lane, span_part(bytes, blocks * 32, SIZE_MAX));
	}
#endif
	return crc32c_lanes_by_tables(bytes);
}

uint32_t
crc32c_more(uint32_t crc, struct span bytes)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_instruction(~crc, bytes.at, bytes.len);
#endif
	return crc32c_by_tables(crc, bytes);
}

uint32_t
crc32c(struct span bytes)
{
	return crc32c_more(0, bytes);
}
