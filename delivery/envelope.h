/*
 * envelope - what the spool keeps beside a message: ID.env.
 *
 * A file of records. Each: u32 length of the body, u32 CRC-32C of the body, body; the body begins
 * with u8 kind and u8 version. Numbers are in host byte order, strings are u32 length and bytes:
 * no byte has a meaning inside a string, so nothing that a stranger sent can become structure.
 * First comes one envelope record, then as many recipient records as it announces;
 * these are written once, before the file has a name. Later, "told" records are appended: what
 * became of a recipient. The last one for a recipient counts. A record that was cut off by a crash,
 * and what follows it, is ignored when read and cut away before the next is appended.
 */
#ifndef VALIJA_ENVELOPE_H
#define VALIJA_ENVELOPE_H

#include "common/message.h"
#include "common/text.h"
#include "verdict.h"

/* Bytes at birth (room for over 10,000 of the longest recipients), and ever. */
#define MOST_ENVELOPE (16 * 1024 * 1024)
#define MOST_ENVELOPE_FILE (32 * 1024 * 1024)
#define MOST_RECORD 4096
#define DIGEST_SIZE 32

struct envelope_recipient {
	uint32_t number;            /* as smtpd counted them */
	struct span address;        /* as it was given at RCPT */
	struct span home; /* where it led when it was accepted; empty: to another server */
	uint32_t uid, gid;
	/* From the last told record; outcome 0 when there is none. */
	struct verdict told;
	uint64_t told_at;           /* seconds since 1970 */
};

struct envelope {
	uint64_t id, session;
	uint8_t service;
	struct span sender, login;
	uint8_t body;               /* enum body */
	bool utf8;
	uint64_t size;
	struct span digest;         /* SHA-256 of the message */
	uint64_t arrived;           /* seconds since 1970 */
	uint32_t count;
	struct envelope_recipient *recipient;
};

/* Appends envelope and recipient records (not what was told). to->failed: over its ceiling, or a
 * field is. */
void envelope_encode(const struct envelope *e, struct text *to);
/* Appends one told record. */
void envelope_encode_told(uint32_t number, const struct verdict *v, uint64_t when, struct text *to);
/* Reads a whole file. False when it does not begin with a complete envelope. On success *whole is
 * where the last whole record ends, e->recipient is allocated (envelope_clear), spans lie in `in`.
 */
bool envelope_decode(struct span in, struct envelope *e, size_t *whole);
void envelope_clear(struct envelope *e);
/* Where the last whole record ends: before appending. */
size_t envelope_whole(struct span in);

#endif
