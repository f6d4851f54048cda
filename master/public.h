/*
 * public - at which addresses does the world reach this server, and who is told?
 *
 * For each family: what the option public_address names, then the global addresses of this machine. Where there are
 * neither, those of the router in front of it: what the router itself said (port mapping), then what the DNS has for
 * the own name. Mail for user@[address], loops, Received, and the name in EHLO and reports where hostname is none
 * follow from it (common/ourselves.h); no trust does.
 */
#ifndef VALIJA_PUBLIC_H
#define VALIJA_PUBLIC_H

#include "master/supervisor.h"

/* Something may have changed: settings, addresses, the router's word. Tells daemons, and the log, what differs. */
void public_follow(struct supervisor *s);
/* What dns found for the own name: addresses with commas between. Others than global ones are not taken. */
void public_told(struct supervisor *s, struct span addresses);
/* Tells a new process. */
void public_tell(struct process *p);
/* The i-th, and how it is known; false after the last. Valid until the next event. */
bool public_at(const struct supervisor *s, size_t i, const char **address, const char **source);
void public_end(struct supervisor *s);

#endif
