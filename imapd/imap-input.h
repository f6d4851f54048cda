/*
 * imap-input - bytes from a client, cut into commands (RFC 3501 2.2.1, 4.3; RFC 7888).
 *
 * A command is a line, or lines that are joined by literals: "{n}" CRLF and n bytes. This is where
 * line lengths and literals are bounded, before anything is parsed and before anybody sends a
 * "+". Used before login with small limits and after it with larger ones.
 */
#ifndef VALIJA_IMAPD_IMAP_INPUT_H
#define VALIJA_IMAPD_IMAP_INPUT_H

#include "common/text.h"

#define MOST_IMAP_LINE (64 * 1024)       /* bytes of a command without its literals */
#define MOST_IMAP_LITERALS (64 * 1024)   /* of all its literals (APPEND's message apart) */
#define MOST_LITERALS_IN_COMMAND 1000

struct imap_input {
	struct text buffer;      /* what was read; the front is the current command */
	size_t start;            /* bytes at its front that are done with */
	size_t scanned;          /* of the current command: whole lines and accepted literals */
	size_t looked;           /* no line end before here */
	size_t line_bytes;       /* of the current command without literals */
	size_t literal_bytes;
	size_t literals;
	/* what INPUT_LITERAL announced; UINT64_MAX where it is beyond counting */
	uint64_t literal;
	bool synchronizing;      /* {n}: the client waits for "+"; {n+}: it does not */
	size_t most_line, most_literals;
};

enum input_result {
	INPUT_MORE,             /* read more first */
	INPUT_COMMAND,          /* imap_input_command() gives it; then imap_input_next() */
	/* a literal was announced: accept, refuse, or take its bytes by yourself */
	INPUT_LITERAL,
	/* a line ended without CR: the command ends there, imap_input_next() */
	INPUT_BARE_LF,
	INPUT_TOO_LONG,         /* the line is over most_line: nothing sensible can follow */
};

void imap_input_init(struct imap_input *in, size_t most_line, size_t most_literals);
void imap_input_clear(struct imap_input *in);
/* How many bytes may be added now (0: a command is complete or the limits are reached). */
size_t imap_input_room(const struct imap_input *in);
void imap_input_add(struct imap_input *in, struct span bytes);

/* Looks at what is there. */
enum input_result imap_input_look(struct imap_input *in);
/* The command without its last line end; after INPUT_LITERAL: what is there of it, up to the
 * literal's "}". Valid until the next call that changes `in`. */
struct span imap_input_command(const struct imap_input *in);
/* After INPUT_LITERAL: is it within the limits? */
bool imap_input_literal_fits(const struct imap_input *in);
/* Its bytes become part of the command. The caller has seen that it fits. */
void imap_input_accept(struct imap_input *in);
/* Forgets the command (or what is there of it, up to and with an announced literal's line). */
void imap_input_next(struct imap_input *in);
/* The bytes behind what was scanned, for one who takes a literal by himself after
 * imap_input_next(); imap_input_drop() forgets the first `len` of them. */
struct span imap_input_rest(const struct imap_input *in);
void imap_input_drop(struct imap_input *in, size_t len);

#endif
