/*
 * scram - the keys that are kept of a password for SCRAM (RFC 5802 3, RFC 7677), and the digest that
 * is kept of an application password.
 */
#ifndef VALIJA_SCRAM_H
#define VALIJA_SCRAM_H

#include "users.h"

#define SCRAM_LEAST_ITERATIONS 4096 /* RFC 7677 4 */

/* Where keys lie until they are encoded. Wipe after use. */
struct scram_room {
	unsigned char stored[SCRAM_COUNT][SCRAM_MOST_KEY], server[SCRAM_COUNT][SCRAM_MOST_KEY];
};

/* StoredKey and ServerKey of a prepared password, for both hashes. Takes as long as `iterations`
 * says: milliseconds for each ten thousand. `keys` then points into `room`. */
void scram_make(struct span password, struct span salt, uint32_t iterations,
	struct scram_room *room, struct scram_keys keys[SCRAM_COUNT]);

/* Does `proof` (RFC 5802 3: ClientProof) of the message `auth` come from `keys`? In constant time. */
bool scram_proves(enum scram kind, const struct scram_keys *keys, struct span auth, struct span proof);

/* The server's answer to such a proof (RFC 5802 3: ServerSignature), scram_key_size(kind) bytes. */
void scram_sign(enum scram kind, const struct scram_keys *keys, struct span auth,
	unsigned char signature[SCRAM_MOST_KEY]);

/* The digest of an application password: these are random and long, a quick one does. */
void app_password_hash(struct span password, struct span salt, unsigned char hash[SCRAM_MOST_KEY]);
/* A new one, APP_PASSWORD_LENGTH characters. */
void app_password_new(struct text *to);
bool app_password_is_for(const struct app_password *a, unsigned int service);
/* The one of p->app for `service` that `password` is, or NULL. */
const struct app_password *app_password_find(
	const struct password *p, unsigned int service, struct span password);

#endif
