/* srs - see srs.h. */
#include "srs.h"

#include "common/address.h"
#include "common/secret.h"

#include <nettle/hmac.h>

#define HASH_LENGTH 8
#define DAYS_ROUND 1024

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Of `what` in lower case: case may get lost on the way. */
static void
hash_of(struct span what, struct span key, char to[HASH_LENGTH])
{
	struct hmac_sha256_ctx c;
	unsigned char digest[SHA256_DIGEST_SIZE];

	hmac_sha256_set_key(&c, key.len, key.at);
	for (size_t i = 0; i < what.len; i++) {
		unsigned char b = what.at[i];

		if (b >= 'A' && b <= 'Z')
			b = (unsigned char)(b + 32);
		hmac_sha256_update(&c, 1, &b);
	}
	hmac_sha256_digest(&c, sizeof(digest), digest);
	for (size_t i = 0; i < HASH_LENGTH; i++)
		to[i] = digits[digest[i] & 31];
}

static bool
hash_fits(struct span hash, struct span what, struct span key)
{
	char right[HASH_LENGTH], given[HASH_LENGTH];

	if (hash.len != HASH_LENGTH)
		return false;
	for (size_t i = 0; i < HASH_LENGTH; i++)
		given[i] = (char)(hash.at[i] >= 'A' && hash.at[i] <= 'Z' ? hash.at[i] + 32 : hash.at[i]);
	hash_of(what, key, right);
	return secret_equal(span_of(right, HASH_LENGTH), span_of(given, HASH_LENGTH));
}

static bool
split(struct span address, struct span *local, struct span *domain)
{
	size_t at = span_rindex(address, '@');

	*local = span_part(address, 0, at);
	*domain = span_part(address, at + 1, address.len);
	return at < address.len && local->len > 0 && domain->len > 0;
}

bool
srs_encode(struct span sender, struct span domain, struct span key, uint64_t day, struct text *to)
{
	struct span local, from, rest, hash;
	struct text body = TEXT_UP_TO(MOST_PATH);
	char code[HASH_LENGTH];
	bool again, good;

	if (key.len == 0 || domain.len == 0 || !split(sender, &local, &from) || local.at[0] == '"')
		return false;
	rest = local;
	again = span_take_word(&rest, SPAN("SRS1=")) && span_take_until(&rest, '=', &hash) && rest.len > 0;
	if (again) {
		text_add(&body, rest);                 /* FIRST==REST: hashed anew, for us */
	} else if (rest = local, span_take_word(&rest, SPAN("SRS0=")) && rest.len > 0) {
		text_add(&body, from);
		text_add_str(&body, "==");
		text_add(&body, rest);
		again = true;
	} else {
		text_add_byte(&body, (unsigned char)digits[day / 32 % 32]);
		text_add_byte(&body, (unsigned char)digits[day % 32]);
		text_add_byte(&body, '=');
		text_add(&body, from);
		text_add_byte(&body, '=');
		text_add(&body, local);
	}
	hash_of(text_span(&body), key, code);
	good = !body.failed && 5 + HASH_LENGTH + 1 + body.len <= MOST_LOCAL_PART;
	if (good) {
		text_add_str(to, again ? "SRS1=" : "SRS0=");
		text_add(to, span_of(code, HASH_LENGTH));
		text_add_byte(to, '=');
		text_add(to, text_span(&body));
		text_add_byte(to, '@');
		text_add(to, domain);
	}
	text_clear(&body);
	return good && !to->failed;
}

static int
digit_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		c = (unsigned char)(c + 32);
	for (int i = 0; i < 32; i++)
		if (digits[i] == (char)c)
			return i;
	return -1;
}

static bool
is_recent(struct span stamp, uint64_t day)
{
	int high, low;

	if (stamp.len != 2 || (high = digit_value(stamp.at[0])) < 0 || (low = digit_value(stamp.at[1])) < 0)
		return false;
	return (day + DAYS_ROUND - (uint64_t)(high * 32 + low)) % DAYS_ROUND <= SRS_DAYS;
}

bool
srs_decode(struct span address, struct span domain, struct span key, uint64_t day, struct text *to)
{
	struct span local, ours, hash, stamp, from, body;

	if (key.len == 0 || !split(address, &local, &ours) || !span_equal_nocase(ours, domain))
		return false;
	if (span_take_word(&local, SPAN("SRS0="))) {
		if (!span_take_until(&local, '=', &hash) || (body = local, !hash_fits(hash, body, key)) ||
			!span_take_until(&local, '=', &stamp) || !is_recent(stamp, day) ||
			!span_take_until(&local, '=', &from) || local.len == 0 || from.len == 0)
			return false;
		text_add(to, local);
	} else if (span_take_word(&local, SPAN("SRS1="))) {
		if (!span_take_until(&local, '=', &hash) || !hash_fits(hash, local, key) ||
			!span_take_until(&local, '=', &from) || !span_take(&local, '=') ||
			local.len == 0 || from.len == 0)
			return false;
		text_add_str(to, "SRS0=");
		text_add(to, local);
	} else {
		return false;
	}
	text_add_byte(to, '@');
	text_add(to, from);
	return !to->failed;
}
