/*
 * conf - valija.conf becomes settings, or a list of everything that is wrong with it.
 *
 * The options are the rows of common/settings.h; there is no other list. Only master and the
 * command parse the file; daemons get values.
 */
#ifndef VALIJA_CONF_H
#define VALIJA_CONF_H

#include "common/program.h"
#include "common/settings.h"
#include "common/text.h"
#include "master/paths.h"

#define MOST_CONF_ERRORS 16384 /* bytes of complaints */

/* Reads p->conf. All values are in force as they stand in the result: hostname, log,
 * tls_certificate and tls_key are filled in where the file leaves them out. With `files`
 * certificate, key and log directory are tried too. Returns settings (settings_free), or NULL
 * with every complaint in *errors, each a line "file:line: reason" ending with a newline. */
struct settings *conf_read(
	const struct paths *p, uint32_t generation, bool files, struct text *errors);
/* The same, without `files`, and calls `set` with the offset in struct settings of each option that the file sets. */
struct settings *conf_read_noting(
	const struct paths *p, void (*set)(void *me, size_t at), void *me, struct text *errors);

/* Is `word` the name of a service that can be listed in `services`? */
bool conf_service(struct span word, enum service *service);
/* Reads a member of `proxy_listen`, "smtp@192.0.2.1:2525" or "imaps@[2001:db8::1]:9993". False: it is
 * none. The address points into `word`. */
bool conf_proxy_listener(
	struct span word, enum service *service, struct span *address, unsigned int *port);

#endif
