/*
 * secret - keys and passwords: compared in constant time, wiped after use.
 */
#ifndef VALIJA_SECRET_H
#define VALIJA_SECRET_H

#include "span.h"

void secret_wipe(void *at, size_t len);
bool secret_equal(struct span a, struct span b);
/* From the kernel (getrandom); ends the process when there is none. */
void secret_random(void *at, size_t len);

#endif
