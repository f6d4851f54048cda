/* password-strength - see password.h: what hashes cost, without making any. */
#include <config.h>

#include "password.h"

#include <string.h>

/* The stronger have the greater rank; cost counts among those of one scheme. */
static const struct password_scheme schemes[] = {
	{"sha512crypt", "$6$", 1, 5000, 10000000, MOST_CRYPT_PASSWORD},
	{"bcrypt", "$2b$", 2, 10, 20, MOST_BCRYPT_PASSWORD},
	{"yescrypt", "$y$", 3, 5, 11, MOST_CRYPT_PASSWORD},
#ifdef HAVE_ARGON2
	{"argon2id", "$argon2id$", 3, 3, 100, MOST_PASSWORD},
#endif
};

#define SCHEME_COUNT (sizeof(schemes) / sizeof(schemes[0]))

const struct password_scheme *
password_scheme(struct span name)
{
	for (size_t i = 0; i < SCHEME_COUNT; i++)
		if (span_equal_nocase(name, span_str(schemes[i].name)))
			return &schemes[i];
	return NULL;
}

static bool
starts(struct span s, const char *with)
{
	struct span prefix = span_str(with);

	return span_equal(span_part(s, 0, prefix.len), prefix);
}

static const struct password_scheme *
scheme_of_hash(struct span hash)
{
	if (starts(hash, "$2a$") || starts(hash, "$2y$"))
		return password_scheme(SPAN("bcrypt"));
	for (size_t i = 0; i < SCHEME_COUNT; i++)
		if (starts(hash, schemes[i].prefix))
			return &schemes[i];
	return NULL;
}

bool
password_strength_exists(const struct password_strength *s)
{
	const struct password_scheme *scheme = password_scheme(s->scheme);

	return scheme != NULL && s->cost <= scheme->most;
}

/* The cost that stands in a hash: the number behind the prefix. For yescrypt, where crypt_gensalt writes
 * "j75", "j85", "j7T", "j8T", "j9T" for 1 to 5 and so on, the second letter is the memory's exponent, in
 * blocks of the size that the third says. */
static uint32_t
cost_of(const struct password_scheme *scheme, struct span hash)
{
	static const char digits[] =
		"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	struct span rest = span_part(hash, strlen(scheme->prefix), hash.len);
	uint64_t n = scheme->usual;
	const char *digit;

	if (strcmp(scheme->name, "yescrypt") == 0) {
		digit = rest.len > 1 ? strchr(digits, rest.at[1]) : NULL;
		if (digit != NULL && *digit != '\0')
			n = (uint64_t)(digit - digits) + (rest.len > 2 && rest.at[2] == 'T' ? 2 : 0);
		n = n > 8 ? n - 8 : 0;
	} else if (strcmp(scheme->name, "argon2id") == 0) {
		size_t at = span_find(rest, SPAN(",t="));

		rest = span_part(rest, at + 3, rest.len);
		(void)span_take_number(&rest, UINT32_MAX, &n);
	} else {
		(void)span_take_word(&rest, SPAN("rounds="));
		(void)span_take_number(&rest, UINT32_MAX, &n);
	}
	return (uint32_t)n;
}

bool
password_is_weaker(struct span hash, const struct password_strength *s)
{
	const struct password_scheme *now = scheme_of_hash(hash), *wanted = password_scheme(s->scheme);

	if (wanted == NULL)
		return false;
	if (now == NULL || now->rank != wanted->rank)
		return now == NULL || now->rank < wanted->rank;
	/* Two of one rank are not compared. */
	return now == wanted &&
	       cost_of(now, hash) < (s->cost > 0 ? s->cost : wanted->usual);
}
