/*
 * received - the trace lines that are put on top of a message (RFC 5321 4.4), and the fields that
 * a submission may lack (RFC 6409 section 8).
 */
#ifndef VALIJA_SMTPD_RECEIVED_H
#define VALIJA_SMTPD_RECEIVED_H

#include <time.h>

#include "common/text.h"

struct received {
	struct span helo;            /* only what hello.c let through */
	struct span ip;              /* as common/guest.h writes it */
	struct span hostname, own;   /* ours, and the address at which the world reaches us, or empty */
	struct span tls_version, tls_cipher;
	struct span name;            /* of the client's address, confirmed; else empty */
	bool looked_up;              /* there was an attempt to find it */
	bool hidden;                 /* name and address of the client stay with us */
	bool extended, tls, login, utf8, lmtp;
	bool local;                  /* `uid` of this machine submitted it */
	uint32_t uid;
	uint64_t message;
	struct span recipient;       /* of a message for one alone; else empty */
	int priority;                /* RFC 6710; 0: nothing is said of it */
	struct span solicit;         /* keywords that SOLICIT said (RFC 3865), or empty */
	time_t when;
};

/* The keyword after WITH (RFC 3848, RFC 6531 4.3). */
const char *received_protocol(const struct received *r);
/* "Received: ..." with CR LF. Octets that could end the line or a comment become '?'. */
void received_put(struct text *to, const struct received *r);
/* "Return-Path: <sender>" with CR LF. */
void return_path_put(struct text *to, struct span sender);
/* RFC 5322 3.3, in the zone that was set before the program was confined; without CR LF. */
void date_put(struct text *to, time_t when);
/* "Message-ID: <id@hostname>" and "Date: ..." with CR LF. */
void message_id_field_put(struct text *to, uint64_t message, struct span hostname);
void date_field_put(struct text *to, time_t when);

#endif
