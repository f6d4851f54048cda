/*
 * crlf - messages whose lines end in LF alone, served as if they ended in CRLF.
 *
 * Files that Valija wrote have CRLF. Other programs write LF into a Maildir; every size, offset
 * and octet that an IMAP client sees must then be that of the message with CRLF (RFC 3501 2.2,
 * RFC 5322 2.1). The way: count once (crlf_count); when a bare LF is there, convert once
 * (crlf_convert) and give the result to the parsers in place of the file.
 */
#ifndef VALIJA_IMAPD_CRLF_H
#define VALIJA_IMAPD_CRLF_H

#include "common/text.h"

struct crlf_facts {
	size_t size;      /* RFC822.SIZE: octets with every line ended by CRLF */
	size_t lines;     /* LFs */
	size_t bare; /* LFs without CR before them: 0 means that the message can be used as it is */
};

/* One fast pass over `message`. Never fails. */
void crlf_count(struct span message, struct crlf_facts *facts);
/* Appends `message` to `out` with CR before each bare LF; bare CRs stay. A ceiling of
 * 2 * message.len always suffices, crlf_facts.size exactly. Fails only by out->failed. */
void crlf_convert(struct span message, struct text *out);

#endif
