/*
 * channel - messages to and from one peer, with descriptors, never blocking.
 *
 * A channel belongs to one event loop. It knows who is at each end; a message that this peer may
 * not say to us, that comes outside its hours, does not decode to its last byte, or brings another
 * number of descriptors than its row says, ends the *peer*: it is logged once, the channel is
 * closed, and gone() is called. So is a peer that closes its end, or does not read what waits for
 * it (MOST_WAITING_PACKETS).
 */
#ifndef VALIJA_CHANNEL_H
#define VALIJA_CHANNEL_H

#include <time.h>

#include "message.h"

struct event_base;
struct channel;

#define MOST_WAITING_PACKETS 4096   /* queued for one peer that does not read */
#define REST_MILLISECONDS 5         /* channel_rest */

/* What a program does with what it hears. One for each kind of peer; unused handlers stay NULL: a
 * message that the table lets come but that has no handler ends the peer and is logged as a bug. */
struct hearing {
	/* The hour of conversation `id` for message `m`; NULL means always HOUR_SERVING. */
	uint32_t (*hour)(void *me, struct channel *from, enum message m, uint64_t id);
	/* The peer is no more. The channel is freed after this returns: forget it. */
	void (*gone)(void *me, struct channel *from);
	/* What handlers say to the peer that they hear leaves when all that it had said is heard: it is woken once. For a
	 * peer that says several things at a time and waits for all the answers. */
	bool answers_together;
	/* Descriptors belong to the handler: it keeps or closes each. */
#define M(name, number, by, to, hours, fds) \
	void (*on_##name)(void *me, struct channel *from, uint64_t id, const struct msg_##name *m, const int *fd);
	MESSAGES(M)
#undef M
};

/* Takes `fd` (a SOCK_SEQPACKET socket; made non-blocking and close-on-exec). `me` is handed to the
 * handlers. Begins to read at once when `base` is not NULL. */
struct channel *channel_new(struct event_base *base, int fd, enum program self, enum program peer,
	unsigned int peer_index, const struct hearing *hearing, void *me);
/* Closes and frees, sets *c to NULL; accepts NULL inside. Safe from inside a handler. gone() is not called. */
void channel_free(struct channel **c);

enum program channel_peer(const struct channel *c);
unsigned int channel_peer_index(const struct channel *c);
/* In gone(): is it we who ended the peer, for what it said or did not read? */
bool channel_refused(const struct channel *c);
/* Packets that wait because the peer does not read fast enough: who says much at a time paces itself
 * by it. */
size_t channel_waiting(const struct channel *c);
/* A place for the owner's own mark (for example the row of a process). */
void channel_set_tag(struct channel *c, void *tag);
void *channel_tag(const struct channel *c);

/* From now on the kernel notes when packets are sent. channel_said_at: in a handler, when its message was
 * (CLOCK_REALTIME); where the kernel does not tell, or was not asked by then, when it was read. */
void channel_ask_times(struct channel *c);
struct timespec channel_said_at(const struct channel *c);

/* Sends a message; fds (as many as the row says) are taken: they are closed here in any case. False
 * when the channel is NULL or its peer gone, or a field is over its ceiling (logged as a bug). */
bool channel_send(struct channel *c, enum message m, uint64_t id, const void *fields, const int *fds);

/* Type-checked: send_mail_begin(c, id, &(struct msg_mail_begin){ ... }, NULL). */
#define M(name, number, by, to, hours, fds) \
	static inline bool send_##name(struct channel *c, uint64_t id, const struct msg_##name *m, const int *fd) \
	{ return channel_send(c, MSG_##name, id, m, fd); }
MESSAGES(M)
#undef M

/* Handles at once what has already arrived, without waiting. Where the order between two channels
 * matters (a ticket, an announcement), the hearer drains the one that must come first. It ends, also
 * when the peer talks without pause. False when the peer is gone (the channel is freed then, after gone()). */
bool channel_drain(struct channel *c);
/* What the peer says next is nothing that anybody waits for: it is heard REST_MILLISECONDS from now at the latest, together
 * with what others say that are let rest, so that this process is woken once for all of them. Or before, by channel_drain
 * or channel_wait. Nothing happens where that is asked for so seldom that they would be few. */
void channel_rest(struct channel *c);
/* Waits up to `milliseconds` for messages on this channel alone and handles them until *done is
 * true. Only for programs whose library leaves no other way (the signature in a TLS handshake).
 * False on timeout or when the peer is gone. */
bool channel_wait(struct channel *c, const bool *done, int milliseconds);
/* Sends what waits, for at most `milliseconds`: before exit. */
void channel_flush(struct channel *c, int milliseconds);

/* A socketpair for a channel, both close-on-exec. 0, or -1 with errno. */
int channel_pair(int ends[2]);

#endif
