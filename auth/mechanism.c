/* mechanism - see mechanism.h. */
#include "mechanism.h"

#include <string.h>

#include "common/message.h"
#include "common/secret.h"

/* GNU SASL says "User Name"; some clients wait for these words, and none for others. */
static const char *const login_prompts[] = {"Username:", "Password:", NULL};

/* clang-format off */
static const struct mechanism mechanisms[] = {
	/* name    server first  prompts        steps  NULs in a message */
	{ "PLAIN", false,        NULL,          2,     2, 2 },   /* RFC 4616: authzid NUL authcid NUL passwd */
	{ "LOGIN", true,         login_prompts, 3,     0, 0 },   /* draft-murchison-sasl-login */
};
/* clang-format on */

const struct mechanism *
mechanism_find(struct span name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (span_equal_nocase(name, span_str(mechanisms[i].name)))
			return &mechanisms[i];
	return NULL;
}

/* The library asks whether the password is right: we take the claim and say no. Its own "no" is
 * not used; the verdict comes from a worker later. */
static int
on_question(Gsasl *library, Gsasl_session *session, Gsasl_property question)
{
	struct sasl *s = gsasl_session_hook_get(session);

	(void)library;
	if (question != GSASL_VALIDATE_SIMPLE || s == NULL)
		return GSASL_NO_CALLBACK;
	s->claim.name = span_str(gsasl_property_fast(session, GSASL_AUTHID));
	s->claim.authzid = span_str(gsasl_property_fast(session, GSASL_AUTHZID));
	s->claim.password = span_str(gsasl_property_fast(session, GSASL_PASSWORD));
	s->claimed = true;
	return GSASL_AUTHENTICATION_ERROR;
}

Gsasl *
mechanisms_open(void)
{
	Gsasl *library = NULL;

	if (gsasl_init(&library) != GSASL_OK)
		return NULL;
	gsasl_callback_set(library, on_question);
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (!gsasl_server_support_p(library, mechanisms[i].name)) {
			gsasl_done(library);
			return NULL;
		}
	return library;
}

bool
sasl_init(struct sasl *s, Gsasl *library, const struct mechanism *row)
{
	memset(s, 0, sizeof(*s));
	s->row = row;
	if (gsasl_server_start(library, row->name, &s->session) != GSASL_OK)
		return false;
	gsasl_session_hook_set(s->session, s);
	return true;
}

void
sasl_clear(struct sasl *s)
{
	/* The claim lies in the library's memory, which it frees as it is. */
	if (s->claimed && s->claim.password.len > 0)
		secret_wipe((void *)(uintptr_t)s->claim.password.at, s->claim.password.len);
	if (s->session != NULL)
		gsasl_finish(s->session);
	memset(s, 0, sizeof(*s));
}

/* Looks at a message before the library does: it works on C strings. */
static enum sasl_result
check(const struct mechanism *row, struct span data)
{
	unsigned int nuls = 0;

	if (data.len > MOST_SASL)
		return SASL_MALFORMED;
	if (data.len == 0) /* an empty name or password, or no message at all */
		return row->server_first ? SASL_WRONG : SASL_MALFORMED;
	for (size_t i = 0; i < data.len; i++)
		nuls += data.at[i] == '\0';
	if (nuls < row->least_nuls)
		return SASL_MALFORMED;
	return nuls > row->most_nuls ? SASL_WRONG : SASL_CLAIM;
}

/* One step of the library. */
static enum sasl_result
step(struct sasl *s, struct span data, struct text *challenge)
{
	char *out = NULL;
	size_t len = 0;
	int result;

	text_reset(challenge);
	if (s->steps++ >= s->row->most_steps)
		return SASL_MALFORMED;
	result = gsasl_step(s->session, (const char *)data.at, data.len, &out, &len);
	if (result == GSASL_NEEDS_MORE) {
		if (s->row->prompts != NULL && s->row->prompts[s->steps - 1] != NULL)
			text_add_str(challenge, s->row->prompts[s->steps - 1]);
		else
			text_add(challenge, span_of(out, len));
	}
	gsasl_free(out);
	if (s->claimed)
		return s->claim.name.len == 0 || s->claim.password.len == 0 ? SASL_WRONG
									    : SASL_CLAIM;
	switch (result) {
	case GSASL_NEEDS_MORE:
		return challenge->failed ? SASL_FAILED : SASL_CHALLENGE;
	case GSASL_MECHANISM_PARSE_ERROR:
		return SASL_MALFORMED;
	case GSASL_MALLOC_ERROR:
	case GSASL_CRYPTO_ERROR:
		return SASL_FAILED;
	default:
		/* No preparation (RFC 4013) makes a name or password of this; or a success that the
		 * library must not decide. */
		return SASL_WRONG;
	}
}

enum sasl_result
sasl_step(struct sasl *s, struct span data, bool has_data, struct text *challenge)
{
	enum sasl_result result;

	if (s->steps == 0 && (s->row->server_first || !has_data)) {
		result = step(s, SPAN_NONE, challenge);
		if (result != SASL_CHALLENGE || !has_data)
			return result;
	}
	result = check(s->row, data);
	return result == SASL_CLAIM ? step(s, data, challenge) : result;
}
