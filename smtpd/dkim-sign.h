/*
 * dkim-sign - signs what one of ours submits for other servers, before it is committed.
 *
 * When the message is whole, its file is read back, some of it each turn of the event loop; tls-key
 * signs the hash (dkim_ask), once for each key of the domain in From, and the fields go ahead of the
 * file (mail_commit's `top`). So what is signed is what the file holds, whoever has changed it. A
 * message that cannot be signed though it should be is not accepted: 451.
 */
#ifndef VALIJA_SMTPD_DKIM_SIGN_H
#define VALIJA_SMTPD_DKIM_SIGN_H

#include "smtpd/session.h"

#define DKIM_READ_BYTES (256 * 1024)     /* of the file, in one turn */
#define MOST_DKIM_SIGNATURES 4           /* of one message: keys of one domain that are used */

struct dkim_job;

/* Begins, when the session's message, in `fd` (borrowed) with `size` octets, is to be signed.
 * receive_signed() is called at the end. False: nothing is to be done, or said. */
bool dkim_sign_begin(struct session *s, int fd, uint64_t size, struct dkim_job **job);
/* Accepts NULL inside. */
void dkim_job_free(struct dkim_job **job);
/* What tls-key says; a row of smtpd's table of peers. */
extern const struct hearing hearing_tls_key;

#endif
