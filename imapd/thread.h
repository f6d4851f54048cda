/*
 * thread - messages as conversations: THREAD's algorithms ORDEREDSUBJECT and REFERENCES (RFC 5256
 * section 3), and REFS (as REFERENCES, but subjects join nothing, and threads stand in the order of
 * their newest message).
 *
 * Messages are added one by one, from their headers; then threader_step makes the trees, a slice at a
 * time. Memory: some 80 bytes and the folded base subject of each message and each id that is named
 * somewhere, MOST_REFERENCES ids of a message at most; 60 bytes of each message more while trees are made.
 */
#ifndef VALIJA_IMAPD_THREAD_H
#define VALIJA_IMAPD_THREAD_H

#include "common/text.h"
#include "imapd/radix.h"

#define MOST_REFERENCES 1000      /* ids of one message's References; the first of more are left out */
/* Links that are followed to see whether a loop would come: for the references of a message altogether,
 * and once more for the message itself. Too far to see counts as a loop. */
#define MOST_THREAD_DEPTH 10000
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
	uint32_t *buckets;       /* nodes by id, counted from 1; 0 is free */
	size_t bucket_count, used;
	uint32_t *roots;         /* after threader_step, in order */
	size_t root_count;

	/* Where threader_step stands (thread-tree.c), and what it needs meanwhile. */
	uint32_t *messages;      /* nodes of messages: as they were added, then by date */
	size_t message_count, message_room;
	size_t stage, at;        /* of the stages; of what it goes through */
	bool begun;              /* its preparations are made */
	size_t root_messages;    /* the first so many roots are messages, by date */
	size_t few, rest;        /* roots that are ordered apart, and those between which they are put */
	struct radix radix;
	uint32_t *by_subject;    /* roots, or messages, by their subject */
	size_t subject_mask;
	uint64_t *hashes;        /* of the roots' subjects */
	uint32_t adopts;         /* gets the children of another; NO_NODE */
};

/* `most`: so many messages may come. */
void threader_init(struct threader *t, enum threading kind, size_t most);
void threader_clear(struct threader *t);
/* Adds a message: its header, and when it arrived (seconds since 1970). `message` is not 0, and
 * ascends. */
void threader_add(struct threader *t, uint32_t message, struct span header, int64_t arrival);
/* Makes t->roots until it is done (true), or `over` says that the slice is; below them, child and next lead
 * on. A root without a message has at least two children; no other node is without one. O(n log n). */
bool threader_step(struct threader *t, bool (*over)(const void *), const void *me);

/* Of a node, for thread-tree.c: its folded base subject. */
struct span thread_subject(const struct threader *t, uint32_t node);
uint32_t thread_node_new(struct threader *t);

#endif
