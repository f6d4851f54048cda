/*
 * argon2-form - hashes of argon2 as they are written: $argon2id$v=19$m=65536,t=3,p=4$SALT$HASH. Read without the library,
 * for programs that hash nothing.
 */
#ifndef VALIJA_ARGON2_FORM_H
#define VALIJA_ARGON2_FORM_H

#include "text.h"

/* They come from tables, and may be another program's: what one costs is bounded. */
#define MOST_ARGON2_MEMORY 1048576 /* KiB */
#define MOST_ARGON2_WORK   6553600 /* KiB times passes: as much as password_cost can ask for */

struct argon2_form {
	bool both;                   /* argon2id; or else argon2i */
	uint32_t version, memory, passes, lanes;   /* as written; version 16 where none is */
	struct text salt, made;
};

/* False: that is no such hash, or costs too much. argon2_form_clear(f) in any case. What else the algorithm asks for
 * (lanes, lengths) its library sees to. */
bool argon2_form_read(struct span hash, struct argon2_form *f);
/* Wipes and frees. */
void argon2_form_clear(struct argon2_form *f);

#endif
