/*
 * commands - what the rows of verbs.c do: one function, and mostly one file, each.
 *
 * `arguments` is what follows the word: empty, or blanks and more. It lies in the line and is gone
 * when the function returns. Each answers exactly once, now or later (AUTH, MAIL, RCPT, DATA).
 */
#ifndef VALIJA_SMTPD_COMMANDS_H
#define VALIJA_SMTPD_COMMANDS_H

#include "common/message.h"

struct session;
struct channel;

void do_ehlo(struct session *s, struct span arguments);      /* hello.c */
void do_helo(struct session *s, struct span arguments);
void do_lhlo(struct session *s, struct span arguments);
void do_mail(struct session *s, struct span arguments);      /* mail.c */
void do_rcpt(struct session *s, struct span arguments);      /* rcpt.c */
void do_rset(struct session *s, struct span arguments);      /* rset.c */
void do_noop(struct session *s, struct span arguments);      /* noop.c */
void do_quit(struct session *s, struct span arguments);      /* quit.c */
void do_vrfy(struct session *s, struct span arguments);      /* vrfy.c */
void do_expn(struct session *s, struct span arguments);
void do_help(struct session *s, struct span arguments);      /* help.c */
void do_starttls(struct session *s, struct span arguments);  /* starttls.c */
void do_auth(struct session *s, struct span arguments);      /* auth.c */
void do_xclient(struct session *s, struct span arguments);   /* xclient.c */
void do_xforward(struct session *s, struct span arguments);
/* What XFORWARD told of the message that was accepted, into the log; and the end of it, with the transaction. */
void xforward_log(const struct session *s, uint64_t message);
void xforward_forget(struct session *s);
/* DATA: receive.h; BDAT: bdat.h */

#endif
