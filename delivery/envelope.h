/*
 * envelope - what the spool keeps beside a message: ID.env.
 *
 * A file of records. Each: u32 length of the body, u32 CRC-32C of the body, body; the body begins
 * with u8 kind and u8 version. Numbers are in host byte order, strings are u32 length and bytes:
 * no byte has a meaning inside a string, so nothing that a stranger sent can become structure.
 * First comes one envelope record, then as many recipient records as it announces;
 * these are written once, before the file has a name. Later, records are appended: "told", what
 * became of a recipient; "held", whether the message waits for an administrator. The last one
 * counts. Version 2 added wishes, holding, the lines on top, and how a recipient came about; records
 * of version 1 are read as before. A record that was cut off by a crash,
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
#define MOST_RECORD 16384
#define DIGEST_SIZE 32

/* What the sender asked for; see WISHES in common/message.h. */
struct wishes {
	struct span envid, auth_param;
	uint64_t hold_until, deliver_by;
	uint32_t hold_for;
	uint8_t ret, by_mode, priority;
	bool require_tls, tls_optional, by_trace;
};

/* Out of a message that carries them, and into one. */
#define WISHES_OF(m)                                                                               \
	((struct wishes){ .envid = (m)->envid,                                                     \
		.auth_param = (m)->auth_param,                                                     \
		.hold_until = (m)->hold_until,                                                     \
		.deliver_by = (m)->deliver_by,                                                     \
		.ret = (m)->ret,                                                                   \
		.by_mode = (m)->by_mode,                                                           \
		.priority = (m)->priority,                                                         \
		.require_tls = (m)->require_tls,                                                   \
		.tls_optional = (m)->tls_optional,                                                 \
		.hold_for = (m)->hold_for,                                                         \
		.by_trace = (m)->by_trace })
#define WISHES_FIELDS(w)                                                                           \
	.envid = (w).envid, .auth_param = (w).auth_param, .hold_until = (w).hold_until,            \
	.deliver_by = (w).deliver_by, .ret = (w).ret, .by_mode = (w).by_mode,                      \
	.priority = (w).priority, .require_tls = (w).require_tls, .by_trace = (w).by_trace, \
	.tls_optional = (w).tls_optional, .hold_for = (w).hold_for

struct envelope_recipient {
	uint32_t number;            /* of this recipient in this message */
	struct span address;        /* where it goes */
	struct span given;          /* what RCPT said, if an alias led from there; else empty */
	struct span orcpt;          /* RFC 3461 4.2, decoded; may be empty */
	struct span sender;         /* instead of the message's (owner-LIST); else empty */
	uint8_t notify;             /* enum notify */
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
	struct wishes wishes;
	bool held;                  /* until an administrator releases it */
	struct span hold_reason;
	struct span top;            /* header lines that go ahead of the file */
	uint32_t count;
	struct envelope_recipient *recipient;
};

/* Appends envelope and recipient records (not what was told). to->failed: over its ceiling, or a
 * field is. */
void envelope_encode(const struct envelope *e, struct text *to);
/* Appends one told record. */
void envelope_encode_told(uint32_t number, const struct verdict *v, uint64_t when, struct text *to);
/* Appends one held record. */
void envelope_encode_held(bool held, struct span reason, uint64_t when, struct text *to);
/* Reads a whole file. False when it does not begin with a complete envelope. On success *whole is
 * where the last whole record ends, e->recipient is allocated (envelope_clear), spans lie in `in`.
 */
bool envelope_decode(struct span in, struct envelope *e, size_t *whole);
void envelope_clear(struct envelope *e);
/* Where the last whole record ends: before appending. */
size_t envelope_whole(struct span in);

#endif
