/*
 * cmd-cert - what the files of `valija cert ...` share.
 */
#ifndef VALIJA_CMD_CERT_H
#define VALIJA_CMD_CERT_H

#include "common/settings.h"
#include "master/cmd.h"

#define MOST_SENTENCE 1024
/* What is said of a chain from which clients may find no way to an authority. */
#define INCOMPLETE_CHAIN "the certificate of its issuer does not follow in the file, and nobody known here issued it"

/* The directory of managed certificates (state/tls), or -1 after complaining. */
int cert_directory(const struct invocation *v);
/* Is the managed pair (server.crt there) the one certificate of the configuration? */
bool cert_names_managed(const struct invocation *v, const struct settings *s);
/* The same; complains if not. */
bool cert_is_managed(const struct invocation *v, const struct settings *s);
/* The names that were given as arguments, or else the host name. Heap; free(). *hostname is kept by
 * the caller. */
const char **cert_names(const struct invocation *v, const char *hostname, size_t *count);
/* Writes a text into a new file (never over one that is there), or to the standard output for NULL. A
 * status of sysexits.h. */
int cert_write(const char *path, unsigned int mode, struct span content);
/* Opens a certificate, key or list that the configuration names, to be read. -1 with errno. */
int cert_open(struct span name);
/* Reads a file that the administrator named, whole. False after complaining. */
bool cert_read(const char *path, struct text *to);

#endif
