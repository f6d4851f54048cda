/*
 * reply - what the server says, in the order of the commands (RFC 2920 3.2).
 *
 * While queue owes answers to MAIL and RCPT, later answers wait behind them, REPLIES_MOST at most:
 * then no further command is taken. No line is longer than REPLY_LINE_MOST, whatever the client
 * sent (RFC 5321 4.5.3.1.5): nothing that a client said is ever repeated to it.
 */
#ifndef VALIJA_SMTPD_REPLY_H
#define VALIJA_SMTPD_REPLY_H

#include "common/message.h"
#include "smtpd/envelope.h"

#define REPLIES_MOST 32
#define REPLY_LINE_MOST 512

struct session;

/* An answer to be given, of ours or of another program. */
struct verdict {
	bool good;
	unsigned int code;
	char status[MOST_STATUS + 1];
	char reason[MOST_REASON + 1];
};

/* From a VERDICT of a message. What does not fit together is replaced by what fits the outcome;
 * only printable ASCII remains. */
void verdict_read(struct verdict *v, uint8_t outcome, uint16_t code, struct span status,
	struct span reason);
void verdict_set(struct verdict *v, unsigned int code, const char *status, const char *reason);

/* Says one line. `status` (RFC 3463) may be NULL. */
void answer(struct session *s, unsigned int code, const char *status, const char *words);
/* Says finished lines, each with CR LF. */
void answer_lines(struct session *s, struct span lines);
/* Says no, counts it as an error of the client where it is one (5yz), and logs it once. `recipient`
 * is whom it is about, or SPAN_NONE. */
void refuse(struct session *s, unsigned int code, const char *status, const char *reason);
void refuse_for(struct session *s, const struct refusal *why, struct span recipient);
void refuse_verdict(struct session *s, const struct verdict *v, struct span recipient);
/* The same of a MAIL that begins no transaction; `sender` is what it said. */
void refuse_mail(struct session *s, const struct refusal *why, struct span sender);

/* --- answers that queue owes --- */

enum reply_kind { REPLY_READY, REPLY_MAIL, REPLY_RCPT };

/* Keeps the place of the answer to MAIL, or to RCPT `number` for `address`. */
void replies_await(struct session *s, enum reply_kind kind, uint32_t number, struct span address);
bool replies_waiting(const struct session *s);
bool replies_full(const struct session *s);
bool replies_awaits(const struct session *s, enum reply_kind kind, uint32_t number);
/* The awaited answer is here. `good` is said when v->good, else v. */
void replies_settle(struct session *s, enum reply_kind kind, uint32_t number,
	const struct verdict *v, const struct refusal *good);
/* The address of an awaited RCPT; valid until it is settled. */
struct span replies_address(const struct session *s, uint32_t number);
/* Settles everything that is awaited with `v`. */
void replies_settle_all(struct session *s, const struct verdict *v);
/* Forgets everything: the session closes. */
void replies_clear(struct session *s);

#endif
