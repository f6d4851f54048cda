/*
 * milter-talk - the whole conversation with one filter about one message, over a connected socket; it
 * blocks, within its times.
 */
#ifndef VALIJA_SMTPD_MILTER_TALK_H
#define VALIJA_SMTPD_MILTER_TALK_H

#include "smtpd/milter-edit.h"
#include "smtpd/milter-packet.h"

/* What filters are told of the message; spans belong to the caller. */
struct milter_facts {
	struct span name, ip, helo;        /* name: "" when the client has none that is confirmed */
	struct span hostname, service, tls_version, tls_cipher, login, sender, id;
	struct span *recipient;
	size_t count;
	bool local;                        /* this machine's users */
};

enum milter_verdict { MILTER_TAKES, MILTER_REFUSES, MILTER_DISCARDS, MILTER_FAILS };

/* What came of it. */
struct milter_outcome {
	unsigned int code;                 /* MILTER_REFUSES */
	char status[10], words[401];
	char quarantine[401];              /* why the message is to be held, or "" */
	const char *fault;                 /* MILTER_FAILS: static */
	bool touched;                      /* it has changed something */
};

/* command_seconds: for each answer; content_seconds: for the verdict at the end. Changes go into `e`. */
enum milter_verdict milter_talk(int fd, const struct milter_facts *facts, struct milter_edit *e,
	unsigned int command_seconds, unsigned int content_seconds, struct milter_outcome *o);

#endif
