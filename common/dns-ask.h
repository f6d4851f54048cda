/*
 * dns-ask - questions to program dns, without waiting.
 *
 * A program that asks puts { PROGRAM_DNS, &dns_hearing } into its peers and calls dns_peer_came()
 * when peer_came() brings one; it needs nothing else. Each question is answered exactly once, never
 * from inside dns_ask(): with what dns told, or DNS_LATER when it did not tell anything in time, was
 * not there for so long, or has too much to do. A dns that was started anew is asked again.
 */
#ifndef VALIJA_DNS_ASK_H
#define VALIJA_DNS_ASK_H

#include "daemon.h"
#include "dns-answer.h"

#define DNS_SECONDS 30              /* how long an answer is waited for */
#define MOST_DNS_QUESTIONS 1000     /* outstanding in one process; more are answered DNS_LATER */

struct dns_question;

/* `answer` is borrowed until the return. The question is freed by the caller of this function. */
typedef void dns_heard(void *arg, const struct dns_answer *answer);

/* Asks for records of `type` (enum dns_type) at `name` (text; internationalised names too).
 * hosts_first: the machine's hosts file is looked at before DNS. The result is borrowed, for
 * dns_cancel, until `heard` is called; never NULL. */
struct dns_question *dns_ask(struct daemon *d, uint16_t type, struct span name, bool hosts_first,
	dns_heard *heard, void *arg);
/* The answer is not wanted any more: `heard` will not be called. Sets *q to NULL, accepts NULL in it. */
void dns_cancel(struct dns_question **q);

void dns_peer_came(struct daemon *d, struct channel *peer);
extern const struct hearing dns_hearing;

#endif
