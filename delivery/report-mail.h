/*
 * report-mail - hands one mail of our own to smtpd, as this machine's users do: so it is signed (DKIM) and
 * queued as theirs.
 */
#ifndef VALIJA_REPORT_MAIL_H
#define VALIJA_REPORT_MAIL_H

#include "common/daemon.h"
#include "common/text.h"

/* Called once, never from inside report_mail(); why: static memory, or NULL when smtpd has it. */
typedef void report_mailed(void *arg, const char *why);

/* `mail` (taken): header and body with CRLF, no line longer than 998 bytes. No sender hears of failures. */
void report_mail(struct daemon *d, struct span recipient, struct text *mail, report_mailed *done, void *arg);

#endif
