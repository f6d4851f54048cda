/*
 * block-list - a DNS list of addresses (RFC 5782), as an option names it: "zone", or "zone=127.0.0.2-11".
 */
#ifndef VALIJA_BLOCK_LIST_H
#define VALIJA_BLOCK_LIST_H

#include "span.h"

struct block_list {
	struct span zone;
	unsigned char least[4], most[4];   /* of each part of the answers that count */
};

/* Reads it; `zone` lies in `in`. Without a filter every answer in 127.0.0.0/8 counts; with one, those whose
 * four parts are the filter's, or inside its ranges "low-high". False: malformed. */
bool block_list_parse(struct span in, struct block_list *to);
/* Does this answer (an IPv4 address) mean that the address is listed? Answers outside of 127.0.0.0/8, and in
 * 127.255.255.0/24 (errors, RFC 8904 and common use), never do. */
bool block_list_counts(const struct block_list *list, const unsigned char answer[4]);

#endif
