/*
 * program - the names of the programs, as ps, the log and the wiring table use them.
 */
#ifndef VALIJA_PROGRAM_H
#define VALIJA_PROGRAM_H

#include <stdint.h>

/*      symbol      name */
#define PROGRAMS(P) \
	P(MASTER,     "master") \
	P(LOG,        "log") \
	P(TLS_KEY,    "tls-key") \
	P(TLS,        "tls") \
	P(AUTH,       "auth") \
	P(AUTH_HASH,  "auth-hash") \
	P(AUTH_PAM,   "auth-pam") \
	P(AUTH_TOKEN, "auth-token") \
	P(AUTH_FETCH, "auth-fetch") \
	P(QUEUE,      "queue") \
	P(SPOOL,      "spool") \
	P(LOCAL,      "local") \
	P(LOCAL_HOME, "local-home") \
	P(SMTPD,      "smtpd") \
	P(POLICY,     "policy") \
	P(IMAP_LOGIN, "imap-login") \
	P(PICKUP,     "pickup") \
	P(MILTER,     "milter") \
	P(IMAP,       "imap") \
	P(GIST,       "gist") \
	P(RELAY,      "relay") \
	P(DNS,        "dns") \
	P(PORTMAP,    "portmap") \
	P(FETCH,      "fetch") \
	P(STS,        "sts") \
	P(OCSP,       "ocsp") \
	P(COMMAND,    "command")

enum program {
#define P(symbol, name) PROGRAM_##symbol,
	PROGRAMS(P)
#undef P
	PROGRAM_COUNT
};

/* One bit for each, for sets of programs. */
enum program_bit {
#define P(symbol, name) BY_##symbol = 1 << PROGRAM_##symbol,
	PROGRAMS(P)
#undef P
};

#define BY_DAEMONS (((1 << PROGRAM_COUNT) - 1) & ~BY_MASTER & ~BY_COMMAND)

const char *program_name(enum program program);

/* What a listener is for. */
#define SERVICES(S) \
	S(SMTP,        "smtp",        25,  SMTPD,      0) \
	S(SUBMISSION,  "submission",  587, SMTPD,      0) \
	S(SUBMISSIONS, "submissions", 465, SMTPD,      1) \
	S(LMTP,        "lmtp",        24,  SMTPD,      0) \
	S(LOCAL,       "local",       0,   SMTPD,      0) \
	S(IMAP,        "imap",        143, IMAP_LOGIN, 0) \
	S(IMAPS,       "imaps",       993, IMAP_LOGIN, 1)
/*        symbol   name           port program     TLS from the first byte */

enum service {
#define S(symbol, name, port, program, tls) SERVICE_##symbol,
	SERVICES(S)
#undef S
	SERVICE_COUNT
};

const char *service_name(enum service service);
uint16_t service_port(enum service service);            /* without the port base */
enum program service_program(enum service service);
int service_is_tls(enum service service);

#endif
