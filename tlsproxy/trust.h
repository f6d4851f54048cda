/*
 * trust - the authorities that vouch for other servers, read when the first server is to be checked:
 * a system's hundred and fifty certificates cost some megabytes, and most workers never ask.
 */
#ifndef VALIJA_TRUST_H
#define VALIJA_TRUST_H

#include <gnutls/x509.h>

#include "common/text.h"

struct trust;

/* Takes the descriptor of a PEM file. */
struct trust *trust_new(uint32_t generation, int fd);
void trust_free(struct trust **t);
uint32_t trust_generation(const struct trust *t);
/* The list, borrowed until trust_free. NULL, and a line in the log at the first time, when the file
 * holds none. Accepts NULL. */
gnutls_x509_trust_list_t trust_list(struct trust *t);

#endif
