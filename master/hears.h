/*
 * hears - what master hears from its daemons, and what it does about each message.
 */
#ifndef VALIJA_HEARS_H
#define VALIJA_HEARS_H

#include "common/channel.h"

/* The handlers of every control channel; `me` is the supervisor, the channel's tag the process.
 * */
const struct hearing *hears_daemons(void);

#endif
