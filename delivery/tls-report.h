/*
 * tls-report - reports about TLS with other domains' servers (RFC 8460): what is counted, and how it is written.
 *
 * Pure. Hosts, addresses and reasons come from strangers: what is written is JSON whatever they hold.
 */
#ifndef VALIJA_TLS_REPORT_H
#define VALIJA_TLS_REPORT_H

#include "common/message.h"
#include "common/text.h"
#include "sts-cache.h"

#define MOST_TLS_FAILURES 20         /* kinds of failures told apart in one day's row; others are counted only */
#define MOST_TLS_ROW 16384
#define MOST_TLS_REPORT (256 * 1024) /* before it is compressed */
#define MOST_RUA 4                   /* places that one domain's reports go to */
#define MOST_RUA_URI 500

struct tls_failure {
	struct span result, mx, ip, own_ip, reason;
	uint32_t count;
};

/* One domain, one day, one kind of policy. Spans point into what was decoded. */
struct tls_row {
	uint32_t good, bad;
	struct tls_failure failure[MOST_TLS_FAILURES];
	size_t failures;
};

/* False: it is none. */
bool tls_row_decode(struct span in, struct tls_row *to);
void tls_row_encode(const struct tls_row *row, struct text *to);
/* Counts one session; what it points into must live as long as the row. */
void tls_row_count(struct tls_row *row, const struct msg_tls_seen *m);

/* Where reports go, out of a TXT record of _smtp._tls.DOMAIN (RFC 8460 3): the URIs, which lie in it. 0: none. */
size_t tls_rua_read(struct span txt, struct span uri[MOST_RUA]);

struct tls_report {
	struct span organization, contact, domain;
	const char *day;             /* "2026-11-28" */
	const char *id;
};

/* The report begins; then each policy; then it ends. */
void tls_report_begin(struct text *to, const struct tls_report *r);
/* sts: what is remembered of the domain, or NULL. */
void tls_report_policy(struct text *to, const struct tls_report *r, enum tls_policy_type type,
	const struct sts_remembered *sts, const struct tls_row *row, bool first);
void tls_report_end(struct text *to);
/* RFC 1952. False: it does not fit. */
bool tls_report_compress(struct span json, struct text *to);
/* The mail that carries it (RFC 8460 5.3), with CRLF. */
void tls_report_mail(struct text *to, const struct tls_report *r, struct span from, struct span recipient,
	struct span compressed, const char *date);

#endif
