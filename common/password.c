/* password - see password.h: what needs crypt(3). The form of passwords is password-prepare.c. */
#include "password.h"

#include <config.h>

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "argon2-form.h"
#include "password-scheme.h"
#include "secret.h"

#ifdef HAVE_ARGON2
#include <argon2.h>
#endif

#define ARGON2_MEMORY 65536 /* KiB */
#define ARGON2_SALT   16
#define ARGON2_SIZE   32
#define ARGON2_PASSES 3

/* 32 KiB that are wiped after each use; programs that hash are single-threaded. */
static struct crypt_data data;

/* crypt_r gives NULL or a string that begins with '*' when it fails. */
static const char *
make_hash(const char *password, const char *setting)
{
	const char *made = crypt_r(password, setting, &data);

	return made == NULL || made[0] == '*' ? NULL : made;
}

#ifdef HAVE_ARGON2
static bool
argon2_new(const char *password, uint32_t cost, struct text *hash)
{
	unsigned char salt[ARGON2_SALT];
	char made[MOST_HASH];

	secret_random(salt, sizeof(salt));
	if (argon2id_hash_encoded(cost > 0 ? cost : ARGON2_PASSES, ARGON2_MEMORY, 1, password,
		    strlen(password), salt, sizeof(salt), ARGON2_SIZE, made,
		    sizeof(made)) != ARGON2_OK) {
		errno = ENOMEM;
		return false;
	}
	text_add_str(hash, made);
	return !hash->failed;
}

/* The lanes are filled one after the other, as whoever hashes may start no thread. */
static bool
argon2_right(struct span hash, const struct text *password)
{
	unsigned char made[MOST_HASH];
	struct argon2_form f;
	bool right = false;

	if (argon2_form_read(hash, &f)) {
		argon2_context c = { .out = made, .outlen = (uint32_t)f.made.len, .pwd = password->at,
			.pwdlen = (uint32_t)password->len, .salt = f.salt.at, .saltlen = (uint32_t)f.salt.len,
			.t_cost = f.passes, .m_cost = f.memory, .lanes = f.lanes, .threads = 1, .version = f.version };

		right = argon2_ctx(&c, f.both ? Argon2_id : Argon2_i) == ARGON2_OK &&
			secret_equal(span_of(made, f.made.len), text_span(&f.made));
	}
	secret_wipe(made, sizeof(made));
	argon2_form_clear(&f);
	return right;
}
#endif

bool
password_hash_new(struct span password, const struct password_strength *s, struct text *hash)
{
	const struct password_scheme *scheme = password_scheme(s->scheme);
	struct text copy = TEXT_UP_TO(MOST_PASSWORD);
	char *setting = NULL;
	const char *made = NULL;

	text_add(&copy, password);
	if (scheme == NULL || copy.failed || span_has(password, '\0') || password.len > scheme->longest) {
		errno = scheme != NULL && password.len > scheme->longest ? EMSGSIZE : EINVAL;
		text_wipe(&copy);
		return false;
	}
#ifdef HAVE_ARGON2
	if (strcmp(scheme->name, "argon2id") == 0) {
		bool ok = argon2_new(text_str(&copy), s->cost, hash);

		text_wipe(&copy);
		return ok;
	}
#endif
	setting = crypt_gensalt_ra(scheme->prefix, s->cost, NULL, 0);
	if (setting != NULL)
		made = make_hash(text_str(&copy), setting);
	if (made != NULL)
		text_add_str(hash, made);
	secret_wipe(&data, sizeof(data));
	text_wipe(&copy);
	free(setting);
	return made != NULL && !hash->failed;
}

bool
password_verify(struct span hash, struct span password)
{
	struct text copy = TEXT_UP_TO(MOST_PASSWORD), setting = TEXT_UP_TO(MOST_HASH);
	const char *made = NULL;
	bool right = false, usable;

	text_add(&copy, password);
	text_add(&setting, hash);
	usable = !copy.failed && !setting.failed && !span_has(password, '\0') &&
		 !span_has(hash, '\0');
	if (usable && hash.len > 0 && hash.at[0] == '{') {
		right = password_scheme_verify(hash, password);
		usable = false;
	}
#ifdef HAVE_ARGON2
	if (usable && span_equal(span_part(hash, 0, 7), SPAN("$argon2"))) {
		right = argon2_right(hash, &copy);
		usable = false;
	}
#endif
	if (usable)
		made = make_hash(text_str(&copy), text_str(&setting));
	if (made != NULL)
		right = secret_equal(span_str(made), hash);
	secret_wipe(&data, sizeof(data));
	text_wipe(&copy);
	text_wipe(&setting);
	return right;
}
