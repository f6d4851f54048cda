/*
 * address - mailboxes, domains and paths of SMTP (RFC 5321 4.1.2, RFC 6531 3.3).
 */
#ifndef VALIJA_ADDRESS_H
#define VALIJA_ADDRESS_H

#include "text.h"

#define MOST_LOCAL_PART 64      /* octets, RFC 5321 4.5.3.1.1 */
#define MOST_DOMAIN 255         /* octets, 4.5.3.1.2 */
#define MOST_PATH 256           /* octets with < and >, 4.5.3.1.3 */

struct address {
	struct span local;      /* as written, with its quotes if any */
	struct span domain;     /* as written; "[192.0.2.1]" for a literal; empty for <postmaster> */
	bool quoted, literal, utf8;
};

enum address_error {
	ADDRESS_OK = 0,
	ADDRESS_SYNTAX,          /* 501 5.1.3 (5.1.7 for senders) */
	ADDRESS_TOO_LONG,        /* 501 5.1.3 */
	ADDRESS_NEEDS_UTF8,      /* 553 5.6.7 */
	ADDRESS_CONTROL,         /* a control character: 501 */
};

/* Takes a forward or reverse path "<...>" from the front of *in. A source route (@a,@b:) is parsed
 * and dropped (RFC 5321 appendix C). "<>" gives two empty spans (only if allow_null), "<postmaster>"
 * in any case an empty domain. utf8: SMTPUTF8 was asked for. The spans lie inside *in. */
enum address_error address_take_path(struct span *in, bool allow_null, bool utf8, struct address *a);
/* Takes local-part@domain without brackets. */
enum address_error address_take_mailbox(struct span *in, bool utf8, struct address *a);
/* Takes a Domain (LDH labels, 63 octets each; U-labels when utf8), or an address literal. */
bool address_take_domain(struct span *in, bool utf8, struct span *domain, bool *literal);
/* The form under which users are stored: local part unquoted where it needs no quotes and in lower
 * case (ASCII), '@', domain in lower case; NFC where UTF-8. False: over `to`'s ceiling. */
bool address_key(const struct address *a, struct text *to);

#endif
