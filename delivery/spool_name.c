/* spool_name - see spool_name.h. */
#include "spool_name.h"

#include <stdio.h>
#include <string.h>

struct spool_name
spool_name(uint64_t id, const char *suffix)
{
	struct spool_name name;

	snprintf(name.str, sizeof(name.str), "%s%s", id_name(id).str, suffix);
	return name;
}

bool
spool_name_parse(const char *name, const char *suffix, uint64_t *id)
{
	return strlen(name) == ID_LENGTH + strlen(suffix) &&
	       strcmp(name + ID_LENGTH, suffix) == 0 && id_parse(span_of(name, ID_LENGTH), id);
}
