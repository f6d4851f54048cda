/* digest - see digest.h. */
#include "digest.h"

#include <nettle/hmac.h>

#include "common/secret.h"

void
digest_key_new(struct digest_key *key)
{
	secret_random(key->at, sizeof(key->at));
}

struct digest
digest_of(const struct digest_key *key, const struct span *parts, size_t count)
{
	struct hmac_sha256_ctx context;
	struct digest made;

	hmac_sha256_set_key(&context, sizeof(key->at), key->at);
	for (size_t i = 0; i < count; i++) {
		uint64_t len = parts[i].len;
		hmac_sha256_update(&context, sizeof(len), (const unsigned char *)&len);
		hmac_sha256_update(&context, parts[i].len, parts[i].at);
	}
	hmac_sha256_digest(&context, sizeof(made.at), made.at);
	secret_wipe(&context, sizeof(context));
	return made;
}
