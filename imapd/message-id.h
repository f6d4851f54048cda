/*
 * message-id - the msg-ids of Message-ID, In-Reply-To and References fields (RFC 5322 3.6.4), in
 * the form in which RFC 5256 compares them: a quoted local part that needs no quotes has none.
 */
#ifndef VALIJA_IMAPD_MESSAGE_ID_H
#define VALIJA_IMAPD_MESSAGE_ID_H

#include "common/text.h"

#define MOST_MESSAGE_ID 998     /* bytes; a longer one is no id */

/* Takes the next id, without its angle brackets, from the front of *in; what is none is passed
 * over. `to` is reset first. False: there is none left. Linear in what it passes. */
bool message_id_take(struct span *in, struct text *to);

/* Which conversation a message says it belongs to, for THREADID (RFC 8474 section 5.2): made of the
 * first id of References, else of In-Reply-To, else of its own Message-ID. The same id for the same
 * bytes, everywhere and always; 0: it names none. */
uint64_t conversation_of(struct span header);

#endif
