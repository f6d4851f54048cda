/* relay-auth - see relay-auth.h. */
#include "relay-auth.h"

#include "common/secret.h"

#include <gsasl.h>
#include <stdlib.h>
#include <string.h>

struct sasl {
	Gsasl *library;
	Gsasl_session *session;          /* NULL: XOAUTH2 */
	const char *mechanism;
	struct credentials credentials;
	bool over;
};

static bool
offers(struct span list, const char *mechanism)
{
	while (list.len > 0) {
		struct span word = span_part(list, 0, span_index(list, ' '));

		if (span_equal_nocase(word, span_str(mechanism)))
			return true;
		list = span_trim(span_part(list, word.len, list.len));
	}
	return false;
}

struct sasl *
sasl_new(struct span offered, struct span host, const struct credentials *c)
{
	static const char *const passwords[] = { "SCRAM-SHA-256", "PLAIN", "LOGIN" };
	struct sasl *s = must_alloc(sizeof(*s));
	char *name = must_copy(host);

	s->credentials = *c;
	if (c->token && (offers(offered, "XOAUTH2")))
		s->mechanism = "XOAUTH2";
	for (size_t i = 0; !c->token && s->mechanism == NULL &&
		i < sizeof(passwords) / sizeof(passwords[0]); i++)
		if (offers(offered, passwords[i]))
			s->mechanism = passwords[i];
	if (s->mechanism != NULL && !c->token &&
		gsasl_init(&s->library) == GSASL_OK &&
		gsasl_client_start(s->library, s->mechanism, &s->session) == GSASL_OK) {
		gsasl_property_set(s->session, GSASL_AUTHID, c->login);
		gsasl_property_set(s->session, GSASL_PASSWORD, c->secret);
		gsasl_property_set(s->session, GSASL_SERVICE, "smtp");
		gsasl_property_set(s->session, GSASL_HOSTNAME, name);
	}
	free(name);
	if (s->mechanism == NULL || (!c->token && s->session == NULL))
		sasl_free(&s);
	return s;
}

void
sasl_free(struct sasl **s)
{
	if (*s == NULL)
		return;
	if ((*s)->session != NULL)
		gsasl_finish((*s)->session);
	if ((*s)->library != NULL)
		gsasl_done((*s)->library);
	secret_wipe(*s, sizeof(**s));
	free(*s);
	*s = NULL;
}

/* One step of GNU SASL. False: it does not go on. */
static bool
step(struct sasl *s, struct span in, struct text *to)
{
	char *given = must_copy(in), *answer = NULL;
	int result = gsasl_step64(s->session, given, &answer);

	free(given);
	s->over = result == GSASL_OK;
	if (result != GSASL_OK && result != GSASL_NEEDS_MORE)
		return false;
	text_add_str(to, answer);
	if (answer != NULL)
		secret_wipe(answer, strlen(answer));
	gsasl_free(answer);
	return true;
}

bool
sasl_begin(struct sasl *s, struct text *to)
{
	struct text first = TEXT_UP_TO(2 * MOST_SECRET);
	bool good = true;

	text_printf(to, "AUTH %s", s->mechanism);
	if (s->session == NULL) {
		text_printf(&first, "user=%s\1auth=Bearer %s\1\1", s->credentials.login,
			s->credentials.secret);
		text_add_byte(to, ' ');
		text_add_base64(to, text_span(&first));
		s->over = true;
	} else if (strcmp(s->mechanism, "LOGIN") != 0) {
		good = step(s, SPAN_NONE, &first);
		text_add_byte(to, ' ');
		text_add(to, first.len > 0 ? text_span(&first) : SPAN("="));
	}
	good &= !first.failed && !to->failed;
	text_wipe(&first);
	return good;
}

bool
sasl_answer(struct sasl *s, struct span challenge, struct text *to)
{
	/* XOAUTH2: an error in JSON came; an empty answer brings the reply. */
	if (s->session == NULL)
		return true;
	/* The server's last word of SCRAM may come as a challenge: nothing is left to say. */
	return step(s, span_trim(challenge), to);
}

bool
sasl_is_over(const struct sasl *s)
{
	return s->over;
}
