/*
 * filter - what filters say of a message that is whole, asked through the program milter.
 */
#ifndef VALIJA_SMTPD_FILTER_H
#define VALIJA_SMTPD_FILTER_H

#include "smtpd/server.h"

struct session;

/* What milter says; a row of smtpd's table of peers. */
extern const struct hearing hearing_milter;

/* Are there filters for this session's messages? Then the file must come from the spool: they may want
 * it held. */
bool filter_wanted(const struct session *s);
/* Hands over the message, which is written: `trace` octets on top are ours. STAGE_FILTERED then, and
 * receive_filtered() comes. False: milter is away, and the message is answered by milter_down. */
bool filter_ask(struct session *s, int file, uint64_t size, size_t trace);

#endif
