/*
 * control - the socket RUN/control, by which the valija command speaks with master.
 *
 * Each connection is a channel whose peer is COMMAND. Only root, and the uid that master runs
 * under, are let in, whatever the socket's mode became. What is malformed drops that connection
 * and nothing else.
 */
#ifndef VALIJA_CONTROL_H
#define VALIJA_CONTROL_H

#include "common/outcome.h"
#include "common/text.h"
#include "master/supervisor.h"

#define MOST_VISITORS	16
#define MOST_ADDRESSES_TOLD 256 /* in one status */
#define VISITOR_SECONDS 60 /* a command that asks nothing for so long is dropped */
#define LOAD_WAIT_MILLISECONDS                                                                     \
	300 /* for status: daemons that do not answer by then show their last load */

/* Binds the socket. False with a sentence in *why. */
bool control_open(struct supervisor *s, struct text *why);
/* Drops all visitors, closes and removes the socket. */
void control_close(struct supervisor *s);
/* Tells every command that waits for a reload what became of it. */
void control_reload_done(struct supervisor *s, enum outcome outcome, const char *reason);
/* Those who asked while another reload was under way wait for the one that begins now. */
void control_reload_next(struct supervisor *s);
/* A daemon told its load: have all? */
void control_load_settle(struct supervisor *s);

#endif
