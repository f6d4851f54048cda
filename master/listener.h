/*
 * listener - the sockets on which the front ends accept. master binds them; the front ends get
 * duplicates.
 */
#ifndef VALIJA_LISTENER_H
#define VALIJA_LISTENER_H

#include "common/text.h"
#include "master/supervisor.h"

#define LISTEN_BACKLOG 1024

struct listener {
	TAILQ_ENTRY(listener) next;
	enum service service;
	char address[MOST_IP + 1]; /* "192.0.2.1:25", "[::]:25"; the name below RUN of a UNIX socket */
	bool proxy; /* connections begin with the header of the PROXY protocol */
	int fd;
	uint32_t wanted; /* the latest generation that asks for it */
	bool told;	 /* the front ends have it */
};

/* Binds what generation `g` asks for and is not there yet. False with every failure in *errors,
 * a line each; then nothing new is left open. Nobody is told yet. */
bool listener_bind(struct supervisor *s, const struct generation *g, struct text *errors);
/* Addresses came or went: opens and closes the sockets of interfaces. During an offer, later. */
void listener_follow(struct supervisor *s);
/* After the swap: tells the front ends of new listeners, and of those that are no more. */
void listener_swap(struct supervisor *s);
/* After a drop: closes those that nobody was told of. */
void listener_drop(struct supervisor *s);
/* Tells a new process of all that are for it. */
void listener_tell_all(struct process *p);
/* Closes master's own ends: at the stop. */
void listener_close_all(struct supervisor *s);

#endif
