/*
 * renewal - certificates that change on disk, by whatever tool, come into service by themselves.
 *
 * The files of the generation in force are looked at every RENEWAL_LOOK_SECONDS. What has changed, and
 * has not changed again by the next look, is offered to all like a reload, with the configuration as it
 * is in force: tls-key and the workers check it. What they refuse is kept out, the old goes on, and the
 * reason is logged once; the next change is the next try.
 */
#ifndef VALIJA_RENEWAL_H
#define VALIJA_RENEWAL_H

#include "master/supervisor.h"

#define RENEWAL_LOOK_SECONDS 2

void renewal_begin(struct supervisor *s);
void renewal_end(struct supervisor *s);

#endif
