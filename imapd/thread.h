/*
 * thread - messages as conversations: THREAD's algorithms ORDEREDSUBJECT and REFERENCES (RFC 5256
 * section 3), and REFS (as REFERENCES, but subjects join nothing, and threads stand in the order of
 * their newest message).
 *
 * Messages are added one by one, from their headers; then threader_finish makes the trees. Memory:
 * some 60 bytes and the folded base subject of each message and each id that is named somewhere,
 * MOST_REFERENCES ids of a message at most.
 */
#ifndef VALIJA_IMAPD_THREAD_H
#define VALIJA_IMAPD_THREAD_H

#include "common/text.h"

#define MOST_REFERENCES 1000      /* ids of one message's References; the first of more are left out */
#define MOST_THREAD_DEPTH 10000   /* links in a row that are followed to see whether a loop would come */
#define NO_NODE UINT32_MAX

enum threading { THREAD_ORDEREDSUBJECT, THREAD_REFERENCES, THREAD_REFS };

struct thread_node {
	uint32_t message;        /* what the caller calls it; 0: nobody has seen it */
	uint32_t parent, child, next;
	int64_t date;            /* sent */
	int64_t arrival;
	uint32_t id_at, id_len;  /* in threader.texts */
	uint32_t id_hash;        /* its lower half is enough: there are no more nodes */
	uint32_t subject_at;
	uint16_t subject_len;
	bool reply;              /* its subject says so */
};

struct threader {
	enum threading kind;
	struct thread_node *nodes;
	size_t count, room;
	struct text texts;
	uint32_t *buckets;       /* nodes by id; NO_NODE is free */
	size_t bucket_count, used;
	uint32_t *roots;         /* after threader_finish, in order */
	size_t root_count;
	size_t root_messages;    /* the first so many of them are messages, by date */
};

void threader_init(struct threader *t, enum threading kind);
void threader_clear(struct threader *t);
/* Adds a message: its header, and when it arrived (seconds since 1970). `message` is not 0, and
 * ascends. */
void threader_add(struct threader *t, uint32_t message, struct span header, int64_t arrival);
/* Makes t->roots; below them, child and next lead on. A root without a message has at least two
 * children; no other node is without one. O(n log n). */
void threader_finish(struct threader *t);

#endif
