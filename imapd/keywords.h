/*
 * keywords - the keywords of one mailbox, and the sets of them that its messages have.
 *
 * A message holds one number, its set; sets are kept once each. So a record in the index stays
 * small however many keywords there are. Set 0 is the empty one.
 */
#ifndef VALIJA_IMAPD_KEYWORDS_H
#define VALIJA_IMAPD_KEYWORDS_H

#include "common/text.h"

#define MOST_KEYWORDS 256    /* different ones in one mailbox; past it NO [LIMIT] */
#define NO_KEYWORD (-1)

struct keyword_bits {
	uint64_t word[MOST_KEYWORDS / 64];
};

struct keywords {
	char *names[MOST_KEYWORDS];
	unsigned int count;
	struct keyword_bits *sets;
	uint32_t set_count, set_room;
	uint32_t *buckets;          /* of set numbers, open addressing; 0 is free */
	uint32_t bucket_count;      /* a power of two */
};

void keywords_init(struct keywords *k);
void keywords_clear(struct keywords *k);
/* The number of keyword `name` (in any case), or NO_KEYWORD. */
int keywords_find(const struct keywords *k, struct span name);
/* Have these names, of which no two are alike, numbers, or is there room to give them some? */
bool keywords_fit(const struct keywords *k, const struct span *names, size_t count);
/* Gives `name` the next number. NO_KEYWORD when all are taken. */
int keywords_add(struct keywords *k, struct span name);
struct span keywords_name(const struct keywords *k, unsigned int number);

/* The members of a set; zeros for a number that is none. */
struct keyword_bits keywords_bits(const struct keywords *k, uint32_t set);
/* The number of the set with these members; made when there is none. */
uint32_t keywords_set(struct keywords *k, struct keyword_bits bits);
bool keywords_has(const struct keywords *k, uint32_t set, unsigned int number);
/* Appends the names of a set's members, each with a space before it unless `first`. */
void keywords_write(const struct keywords *k, uint32_t set, bool first, struct text *out);

#endif
