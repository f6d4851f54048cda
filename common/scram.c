/* scram - see scram.h. */
#include "scram.h"

#include <nettle/hmac.h>
#include <nettle/pbkdf2.h>
#include <string.h>

#include "secret.h"

#define MOST_HMAC SCRAM_MOST_KEY

/* H(data) and HMAC(key, data), to scram_key_size(kind) bytes. */
static void
hash(enum scram kind, struct span data, unsigned char *to)
{
	struct sha1_ctx one;
	struct sha256_ctx two;

	if (kind == SCRAM_SHA1) {
		sha1_init(&one);
		sha1_update(&one, data.len, data.at);
		sha1_digest(&one, SHA1_DIGEST_SIZE, to);
	} else {
		sha256_init(&two);
		sha256_update(&two, data.len, data.at);
		sha256_digest(&two, SHA256_DIGEST_SIZE, to);
	}
}

static void
hmac(enum scram kind, struct span key, struct span data, unsigned char *to)
{
	struct hmac_sha1_ctx one;
	struct hmac_sha256_ctx two;

	if (kind == SCRAM_SHA1) {
		hmac_sha1_set_key(&one, key.len, key.at);
		hmac_sha1_update(&one, data.len, data.at);
		hmac_sha1_digest(&one, SHA1_DIGEST_SIZE, to);
		secret_wipe(&one, sizeof(one));
	} else {
		hmac_sha256_set_key(&two, key.len, key.at);
		hmac_sha256_update(&two, data.len, data.at);
		hmac_sha256_digest(&two, SHA256_DIGEST_SIZE, to);
		secret_wipe(&two, sizeof(two));
	}
}

/* RFC 5802 3: SaltedPassword := Hi(password, salt, i); ClientKey := HMAC(SaltedPassword, "Client
 * Key"); StoredKey := H(ClientKey); ServerKey := HMAC(SaltedPassword, "Server Key") */
void
scram_make(struct span password, struct span salt, uint32_t iterations, struct scram_room *room,
	struct scram_keys keys[SCRAM_COUNT])
{
	unsigned char salted[SCRAM_MOST_KEY], client[SCRAM_MOST_KEY];

	for (enum scram i = 0; i < SCRAM_COUNT; i++) {
		size_t size = scram_key_size(i);

		if (i == SCRAM_SHA1)
			pbkdf2_hmac_sha1(password.len, password.at, iterations, salt.len, salt.at,
				size, salted);
		else
			pbkdf2_hmac_sha256(password.len, password.at, iterations, salt.len,
				salt.at, size, salted);
		hmac(i, span_of(salted, size), SPAN("Client Key"), client);
		hash(i, span_of(client, size), room->stored[i]);
		hmac(i, span_of(salted, size), SPAN("Server Key"), room->server[i]);
		keys[i] = (struct scram_keys){
			span_of(room->stored[i], size), span_of(room->server[i], size)};
	}
	secret_wipe(salted, sizeof(salted));
	secret_wipe(client, sizeof(client));
}

/* ClientSignature := HMAC(StoredKey, AuthMessage); ClientKey := ClientProof XOR ClientSignature */
bool
scram_proves(enum scram kind, const struct scram_keys *keys, struct span auth, struct span proof)
{
	unsigned char client[SCRAM_MOST_KEY], stored[SCRAM_MOST_KEY];
	size_t size = scram_key_size(kind);

	if (proof.len != size || keys->stored.len != size)
		return false;
	hmac(kind, keys->stored, auth, client);
	for (size_t i = 0; i < size; i++)
		client[i] ^= proof.at[i];
	hash(kind, span_of(client, size), stored);
	return secret_equal(span_of(stored, size), keys->stored);
}

void
scram_sign(enum scram kind, const struct scram_keys *keys, struct span auth,
	unsigned char signature[SCRAM_MOST_KEY])
{
	hmac(kind, keys->server, auth, signature);
}

void
app_password_hash(struct span password, struct span salt, unsigned char to[SCRAM_MOST_KEY])
{
	hmac(SCRAM_SHA256, salt, password, to);
}

void
app_password_new(struct text *to)
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* no 0, 1, l, o */
	unsigned char chance[APP_PASSWORD_LENGTH];

	secret_random(chance, sizeof(chance));
	for (size_t i = 0; i < APP_PASSWORD_LENGTH; i++)
		text_add_byte(to, i % 5 == 4 ? '-' : (unsigned char)letters[chance[i] & 31]);
	secret_wipe(chance, sizeof(chance));
}

bool
app_password_is_for(const struct app_password *a, unsigned int service)
{
	return a->services == 0 || (a->services >> service & 1) != 0;
}

const struct app_password *
app_password_find(const struct password *p, unsigned int service, struct span password)
{
	unsigned char made[SCRAM_MOST_KEY];
	const struct app_password *found = NULL;

	if (p->app_count == 0)
		return NULL;
	app_password_hash(password, p->scram_salt, made);
	for (size_t i = 0; i < p->app_count; i++)
		if (secret_equal(span_of(made, sizeof(made)), p->app[i].hash) &&
			app_password_is_for(&p->app[i], service))
			found = &p->app[i];
	secret_wipe(made, sizeof(made));
	return found;
}
