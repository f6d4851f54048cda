/*
 * drop-notice - the message that tells a user that what was dropped has been refused (RFC 3464).
 */
#ifndef VALIJA_SMTPD_DROP_NOTICE_H
#define VALIJA_SMTPD_DROP_NOTICE_H

#include <time.h>

#include "smtpd/drop-file.h"
#include "smtpd/handin.h"

#define NOTICE_MOST (4 * 1024 * 1024)
#define NOTICE_HEADER_MOST 65536    /* octets of the message's header that go back */

struct drop_notice {
	struct drop envelope;    /* from <> to the sender */
	struct text text;        /* CR LF; empty: there is none */
};

/* For each of `h`'s refusals. False, and no notice: the message has no sender to tell. Spans of the
 * envelope point into `f`. */
bool drop_notice_make(struct drop_notice *n, const struct drop_file *f, const struct handin *h,
	struct span hostname, time_t now);
ssize_t drop_notice_read(const struct drop_notice *n, void *to, size_t len, uint64_t at);
void drop_notice_clear(struct drop_notice *n);

#endif
