/*
 * milter-packet - the packets of the milter protocol, version 6 (libmilter's mfdef.h): u32 length, a
 * command octet, its data. Pure: octets in, facts out. What a filter says is hostile input.
 */
#ifndef VALIJA_SMTPD_MILTER_PACKET_H
#define VALIJA_SMTPD_MILTER_PACKET_H

#include "common/text.h"

#define MILTER_VERSION 6
#define MILTER_PACKET_MOST (1024 * 1024)   /* octets after the length; more ends the filter */
#define MILTER_CHUNK 65535                 /* octets of the body in one packet */

/* What we let a filter do to a message: all that the protocol knows. */
enum {
	MILTER_ADD_HEADERS = 0x01, MILTER_CHANGE_BODY = 0x02, MILTER_ADD_RECIPIENTS = 0x04,
	MILTER_DELETE_RECIPIENTS = 0x08, MILTER_CHANGE_HEADERS = 0x10, MILTER_QUARANTINE = 0x20,
	MILTER_CHANGE_SENDER = 0x40, MILTER_ADD_RECIPIENTS_PAR = 0x80, MILTER_SET_MACROS = 0x100,
	MILTER_ACTIONS = 0x1ff,
};

/* The stages that a filter may name macros for. */
enum milter_macro_stage {
	MACROS_CONNECT, MACROS_HELO, MACROS_MAIL, MACROS_RCPT, MACROS_DATA, MACROS_END, MACROS_EOH, MACRO_STAGES
};

/* What a filter need not hear, and where it need not answer. */
enum {
	MILTER_NO_CONNECT = 0x1, MILTER_NO_HELO = 0x2, MILTER_NO_MAIL = 0x4, MILTER_NO_RCPT = 0x8,
	MILTER_NO_BODY = 0x10, MILTER_NO_HEADERS = 0x20, MILTER_NO_EOH = 0x40,
	MILTER_SILENT_HEADER = 0x80, MILTER_NO_UNKNOWN = 0x100, MILTER_NO_DATA = 0x200,
	MILTER_SKIP = 0x400, MILTER_SILENT_CONNECT = 0x1000, MILTER_SILENT_HELO = 0x2000,
	MILTER_SILENT_MAIL = 0x4000, MILTER_SILENT_RCPT = 0x8000, MILTER_SILENT_DATA = 0x10000,
	MILTER_SILENT_EOH = 0x40000, MILTER_SILENT_BODY = 0x80000, MILTER_LEADING_SPACE = 0x100000,
	MILTER_STEPS = 0x7ff | 0xff000 | MILTER_LEADING_SPACE,
};

struct milter_reply {
	unsigned char command;
	struct span data;
};

/* Takes a whole packet from the front of *in. False: not there yet, or *broken: its length is 0 or over
 * MILTER_PACKET_MOST. */
bool milter_packet_take(struct span *in, struct milter_reply *r, bool *broken);
/* Appends a packet whose data is that of `parts`, each as it is. */
void milter_packet_put(struct text *to, unsigned char command, const struct span *parts, size_t count);

/* The answer to the negotiation: what the filter does, what it need not hear, and the macros that it wishes for, if it
 * does (milter_macros_find). False with a sentence: it does not fit. */
bool milter_options_parse(
	struct span data, uint32_t *actions, uint32_t *steps, struct span *macros, const char **why);
/* The names, with blanks or commas between, that it wishes for at this stage. False: it did not say. */
bool milter_macros_find(struct span macros, enum milter_macro_stage stage, struct span *names);
/* The data of CHGFROM, ADDRCPT, ADDRCPT_PAR and DELRCPT: address NUL [parameters NUL]. The address comes without its
 * brackets; it may be empty. False: malformed. */
bool milter_envelope_parse(struct span data, struct span *address, struct span *parameters);
/* The data of ADDHEADER (index < 0 then), INSHEADER and CHGHEADER: [u32 index] name NUL value NUL.
 * False: malformed; a name that is no field name is too. */
bool milter_header_parse(
	struct span data, bool has_index, uint32_t *index, struct span *name, struct span *value);
/* The data of REPLYCODE: "550 5.7.1 words". False: not 4yz or 5yz. `status` may be empty. Only the first
 * line counts; `words` gets printable ASCII. */
bool milter_code_parse(
	struct span data, unsigned int *code, struct span *status, struct text *words);

#endif
