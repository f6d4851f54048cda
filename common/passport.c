/* passport - see passport.h. */
#include "passport.h"

#include "passport-fields.h"
#include "secret.h"
#include "wire.h"

#include <nettle/hmac.h>

#define MAC_SIZE PASSPORT_MAC_SIZE

static void
make_mac(const unsigned char key[PASSPORT_KEY_SIZE], struct span fields, unsigned char mac[MAC_SIZE])
{
	struct hmac_sha256_ctx context;

	hmac_sha256_set_key(&context, PASSPORT_KEY_SIZE, key);
	hmac_sha256_update(&context, fields.len, fields.at);
	hmac_sha256_digest(&context, MAC_SIZE, mac);
	secret_wipe(&context, sizeof(context));
}

bool
passport_seal(const unsigned char key[PASSPORT_KEY_SIZE], const struct passport *p, struct text *to)
{
	unsigned char mac[MAC_SIZE];
	size_t start = to->len;

#define F(kind, field, most) wire_add_##kind(to, p->field, most);
	PASSPORT_FIELDS(F)
#undef F
	if (to->failed)
		return false;
	make_mac(key, span_part(text_span(to), start, to->len - start), mac);
	text_add(to, span_of(mac, sizeof(mac)));
	return !to->failed;
}

bool
passport_open(const unsigned char key[PASSPORT_KEY_SIZE], struct span sealed, struct passport *p)
{
	unsigned char mac[MAC_SIZE];
	struct span fields, said;

	if (sealed.len < MAC_SIZE)
		return false;
	fields = span_part(sealed, 0, sealed.len - MAC_SIZE);
	said = span_part(sealed, fields.len, MAC_SIZE);
	make_mac(key, fields, mac);
	return secret_equal(said, span_of(mac, sizeof(mac))) && passport_peek(sealed, p);
}
