/* password-scheme - see password-scheme.h. */
#include "password-scheme.h"

#include <nettle/md5.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <string.h>

#include "argon2-form.h"
#include "scram.h"
#include "secret.h"

#define MOST_DIGEST	64
#define MOST_ITERATIONS 10000000

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

enum digest { MD5, SHA1, SHA256, SHA512 };

static const struct scheme {
	const char *name;
	enum password_form form;
	bool crypt; /* the hash is crypt(3)'s or argon2's, without the scheme */
	bool salted, scram;
	enum digest digest;
	size_t size;
} schemes[] = {
	{"CRYPT", PASSWORD_HASH, true, false, false, MD5, 0},
	{"MD5-CRYPT", PASSWORD_HASH, true, false, false, MD5, 0},
	{"SHA256-CRYPT", PASSWORD_HASH, true, false, false, MD5, 0},
	{"SHA512-CRYPT", PASSWORD_HASH, true, false, false, MD5, 0},
	{"BLF-CRYPT", PASSWORD_HASH, true, false, false, MD5, 0},
	{"ARGON2I", PASSWORD_HASH, true, false, false, MD5, 0},
	{"ARGON2ID", PASSWORD_HASH, true, false, false, MD5, 0},
	{"PLAIN", PASSWORD_CLEAR, false, false, false, MD5, 0},
	{"CLEARTEXT", PASSWORD_CLEAR, false, false, false, MD5, 0},
	{"PLAIN-MD5", PASSWORD_HASH, false, false, false, MD5, 16},
	{"SMD5", PASSWORD_HASH, false, true, false, MD5, 16},
	{"SHA", PASSWORD_HASH, false, false, false, SHA1, 20},
	{"SHA1", PASSWORD_HASH, false, false, false, SHA1, 20},
	{"SSHA", PASSWORD_HASH, false, true, false, SHA1, 20},
	{"SHA256", PASSWORD_HASH, false, false, false, SHA256, 32},
	{"SSHA256", PASSWORD_HASH, false, true, false, SHA256, 32},
	{"SHA512", PASSWORD_HASH, false, false, false, SHA512, 64},
	{"SSHA512", PASSWORD_HASH, false, true, false, SHA512, 64},
	{"SCRAM-SHA-1", PASSWORD_HASH, false, false, true, SHA1, 20},
	{"SCRAM-SHA-256", PASSWORD_HASH, false, false, true, SHA256, 32},
};

/* Takes "{SCHEME}" (also "{SCHEME.HEX}", "{SCHEME.B64}") from the front. */
static const struct scheme *
take_scheme(struct span *in, bool *hex)
{
	struct span rest = *in, name;
	size_t dot;

	if (!span_take(&rest, '{') || !span_take_until(&rest, '}', &name))
		return NULL;
	dot = span_index(name, '.');
	*hex = span_equal_nocase(span_part(name, dot, name.len), SPAN(".HEX"));
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (span_equal_nocase(span_part(name, 0, dot), span_str(schemes[i].name))) {
			*in = rest;
			return &schemes[i];
		}
	return NULL;
}

/* Base64, or hexadecimal where that is said or has exactly the length. */
static bool
decode(const struct scheme *s, struct span in, bool hex, struct text *to)
{
	if (!hex && !(in.len == 2 * s->size && !s->salted))
		return text_add_base64_decoded(to, in);
	for (size_t i = 0; i + 1 < in.len; i += 2) {
		int high = span_hex_value(in.at[i]), low = span_hex_value(in.at[i + 1]);

		if (high < 0 || low < 0)
			return false;
		text_add_byte(to, (unsigned char)(high << 4 | low));
	}
	return in.len % 2 == 0 && !to->failed;
}

static void
digest(enum digest kind, struct span password, struct span salt, unsigned char to[MOST_DIGEST])
{
	struct md5_ctx md5;
	struct sha1_ctx sha1;
	struct sha256_ctx sha256;
	struct sha512_ctx sha512;

	switch (kind) {
	case MD5:
		md5_init(&md5);
		md5_update(&md5, password.len, password.at);
		md5_update(&md5, salt.len, salt.at);
		md5_digest(&md5, MD5_DIGEST_SIZE, to);
		break;
	case SHA1:
		sha1_init(&sha1);
		sha1_update(&sha1, password.len, password.at);
		sha1_update(&sha1, salt.len, salt.at);
		sha1_digest(&sha1, SHA1_DIGEST_SIZE, to);
		break;
	case SHA256:
		sha256_init(&sha256);
		sha256_update(&sha256, password.len, password.at);
		sha256_update(&sha256, salt.len, salt.at);
		sha256_digest(&sha256, SHA256_DIGEST_SIZE, to);
		break;
	case SHA512:
		sha512_init(&sha512);
		sha512_update(&sha512, password.len, password.at);
		sha512_update(&sha512, salt.len, salt.at);
		sha512_digest(&sha512, SHA512_DIGEST_SIZE, to);
		break;
	}
}

/* "ITERATIONS,SALT,STORED,SERVER", the last three in base64. */
static bool
take_scram(struct span in, uint64_t *iterations, struct text *salt, struct text *stored)
{
	struct span part;

	return span_take_number(&in, MOST_ITERATIONS, iterations) && *iterations > 0 && span_take(&in, ',') &&
	       span_take_until(&in, ',', &part) && text_add_base64_decoded(salt, part) &&
	       span_take_until(&in, ',', &part) && text_add_base64_decoded(stored, part);
}

static bool
scram_right(const struct scheme *s, struct span in, struct span password)
{
	enum scram kind = s->digest == SHA1 ? SCRAM_SHA1 : SCRAM_SHA256;
	struct text salt = TEXT_UP_TO(256), stored = TEXT_UP_TO(MOST_DIGEST);
	struct scram_room room;
	struct scram_keys keys[SCRAM_COUNT];
	uint64_t iterations = 0;
	bool ok = take_scram(in, &iterations, &salt, &stored);

	if (ok) {
		scram_make(password, text_span(&salt), (uint32_t)iterations, &room, keys);
		ok = secret_equal(keys[kind].stored, text_span(&stored));
		secret_wipe(&room, sizeof(room));
	}
	text_clear(&salt);
	text_clear(&stored);
	return ok;
}

/* The digest, and behind it the salt. */
static bool
take_digest(const struct scheme *s, struct span in, bool hex, struct text *said)
{
	return decode(s, in, hex, said) && (s->salted ? said->len >= s->size : said->len == s->size);
}

static bool
digest_right(const struct scheme *s, struct span in, bool hex, struct span password)
{
	struct text said = TEXT_UP_TO(MOST_HASH);
	unsigned char made[MOST_DIGEST];
	bool ok = take_digest(s, in, hex, &said);

	if (ok) {
		struct span whole = text_span(&said);

		digest(s->digest, password, span_part(whole, s->size, whole.len), made);
		ok = secret_equal(span_of(made, s->size), span_part(whole, 0, s->size));
		secret_wipe(made, sizeof(made));
	}
	text_clear(&said);
	return ok;
}

bool
password_scheme_verify(struct span hash, struct span password)
{
	bool hex = false;
	const struct scheme *s = take_scheme(&hash, &hex);

	if (s == NULL || s->crypt || s->form != PASSWORD_HASH)
		return false;
	return s->scram ? scram_right(s, hash, password) : digest_right(s, hash, hex, password);
}

/* Could any password have this hash? What has lost a part, or was never one, is better told than tried for ever. */
static bool
is_whole(const struct scheme *s, struct span in, bool hex)
{
	struct text first = TEXT_UP_TO(MOST_HASH), second = TEXT_UP_TO(MOST_DIGEST);
	uint64_t iterations;
	bool ok = s->scram ? take_scram(in, &iterations, &first, &second) && second.len == s->size
			   : take_digest(s, in, hex, &first);

	text_clear(&first);
	text_clear(&second);
	return ok;
}

/* Of the traditional form, which has no scheme in front: salt and hash, or several hashes for a long password. */
static bool
is_traditional(struct span hash)
{
	for (size_t i = hash.at[0] == '_'; i < hash.len; i++)
		if (hash.at[i] != '.' && hash.at[i] != '/' && !span_has(SPAN(LETTERS_AND_DIGITS), hash.at[i]))
			return false;
	return hash.at[0] == '_' ? hash.len == 20 : hash.len % 11 == 2;
}

static bool
is_argon2(struct span hash)
{
	struct argon2_form f;
	bool is = argon2_form_read(hash, &f);

	argon2_form_clear(&f);
	return is;
}

/* Could this be a hash of crypt(3) or argon2? */
static enum password_form
crypt_form(struct span hash, struct text *to)
{
	static const char *const known[] = { "$1$", "$2a$", "$2b$", "$2x$", "$2y$", "$5$", "$6$", "$7$", "$y$", "$gy$",
		"$md5", "$sha1$", "$argon2i$", "$argon2id$" };
	size_t i = 0;

	if (hash.len < 13 || !span_is_printable(hash))
		return PASSWORD_STRANGE;
	while (i < sizeof(known) / sizeof(known[0]) && !span_equal(span_part(hash, 0, strlen(known[i])), span_str(known[i])))
		i++;
	if (i == sizeof(known) / sizeof(known[0]) && !is_traditional(hash))
		return PASSWORD_STRANGE;
	if (span_equal(span_part(hash, 0, 7), SPAN("$argon2")) && !is_argon2(hash))
		return PASSWORD_STRANGE;
	text_add(to, hash);
	return to->failed ? PASSWORD_STRANGE : PASSWORD_HASH;
}

enum password_form
password_scheme_read(struct span field, struct text *to)
{
	struct span rest = field;
	bool hex = false;
	const struct scheme *s = take_scheme(&rest, &hex);

	/* A '!' before a hash locks it (passwd(1)). */
	if (field.len == 0 || field.at[0] == '!' || field.at[0] == '*' ||
		span_equal(field, SPAN("x")))
		return PASSWORD_NONE;
	if (s == NULL)
		return field.at[0] == '{' ? PASSWORD_STRANGE : crypt_form(field, to);
	if (s->crypt)
		return crypt_form(rest, to);
	text_add(to, s->form == PASSWORD_CLEAR ? rest : field);
	if (to->failed || rest.len == 0 || !span_is_utf8(rest) ||
		(s->form == PASSWORD_HASH && !is_whole(s, rest, hex)))
		return PASSWORD_STRANGE;
	return s->form;
}
