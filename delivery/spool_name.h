/* spool_name - the names of a message's files in queue/. */
#ifndef VALIJA_SPOOL_NAME_H
#define VALIJA_SPOOL_NAME_H

#include "common/id.h"

struct spool_name {
	char str[ID_LENGTH + sizeof(".msg.new")];
};

/* ID and suffix. */
struct spool_name spool_name(uint64_t id, const char *suffix);
/* The id in a name that ends with `suffix`; false when it has not exactly this form. */
bool spool_name_parse(const char *name, const char *suffix, uint64_t *id);

#endif
