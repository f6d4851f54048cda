/* password - see password.h: what needs crypt(3). The form of passwords is password-prepare.c. */
#include "password.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

#define METHOD "$y$" /* yescrypt */

/* 32 KiB that are wiped after each use; programs that hash are single-threaded. */
static struct crypt_data data;

/* crypt_r gives NULL or a string that begins with '*' when it fails. */
static const char *
make_hash(const char *password, const char *setting)
{
	const char *made = crypt_r(password, setting, &data);

	return made == NULL || made[0] == '*' ? NULL : made;
}

bool
password_hash_new(struct span password, struct text *hash)
{
	struct text copy = TEXT_UP_TO(MOST_PASSWORD);
	char *setting = crypt_gensalt_ra(METHOD, 0, NULL, 0);
	const char *made = NULL;

	text_add(&copy, password);
	if (setting != NULL && !copy.failed && !span_has(password, '\0'))
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
	bool right = false;

	text_add(&copy, password);
	text_add(&setting, hash);
	if (!copy.failed && !setting.failed && !span_has(password, '\0') && !span_has(hash, '\0'))
		made = make_hash(text_str(&copy), text_str(&setting));
	if (made != NULL)
		right = secret_equal(span_str(made), hash);
	secret_wipe(&data, sizeof(data));
	text_wipe(&copy);
	text_wipe(&setting);
	return right;
}
