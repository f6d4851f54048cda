/*
 * own-name - what the DNS has for the name of this server: where a router stands in front of it, that is how its
 * public address becomes known. Program dns looks it up by itself, again and again, and tells master (public_told).
 */
#ifndef VALIJA_OWN_NAME_H
#define VALIJA_OWN_NAME_H

struct daemon;
struct dns_context;
struct own_name;

/* Borrows both. NULL: no memory. */
struct own_name *own_name_new(struct daemon *d, struct dns_context *c);
/* Looks now: another name, or another context, which has forgotten what was asked of the last one. Nothing happens
 * as long as the context is not ready; its owner calls again when it is. */
void own_name_look(struct own_name *o);

#endif
