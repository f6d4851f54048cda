/* mechanism - see mechanism.h. */
#include "mechanism.h"

#include <stdio.h>
#include <string.h>

#include "common/message.h"
#include "common/scram.h"
#include "common/secret.h"

/* GNU SASL says "User Name"; some clients wait for these words, and none for others. */
static const char *const login_prompts[] = {"Username:", "Password:", NULL};

/* clang-format off */
static const struct mechanism mechanisms[] = {
	/* name                kind                   server first  prompts  steps  NULs in a message */
	{ "PLAIN",              MECHANISM_OF_PASSWORD, false, NULL,          2,     2, 2, 0, false },   /* RFC 4616: authzid NUL authcid NUL passwd */
	{ "LOGIN",              MECHANISM_OF_PASSWORD, true,  login_prompts, 3,     0, 0, 0, false },   /* draft-murchison-sasl-login */
	{ "SCRAM-SHA-1",        MECHANISM_OF_SCRAM,    false, NULL,          3,     0, 0, SCRAM_SHA1, false },   /* RFC 5802 */
	{ "SCRAM-SHA-1-PLUS",   MECHANISM_OF_SCRAM,    false, NULL,          3,     0, 0, SCRAM_SHA1, true },
	{ "SCRAM-SHA-256",      MECHANISM_OF_SCRAM,    false, NULL,          3,     0, 0, SCRAM_SHA256, false }, /* RFC 7677 */
	{ "SCRAM-SHA-256-PLUS", MECHANISM_OF_SCRAM,    false, NULL,          3,     0, 0, SCRAM_SHA256, true },
	{ "EXTERNAL",           MECHANISM_OF_CERTIFICATE, false, NULL,       2,     0, 0, 0, false },            /* RFC 4422 appendix A */
	{ "OAUTHBEARER",        MECHANISM_OF_TOKEN,    false, NULL,          2,     0, 0, 0, false },            /* RFC 7628 */
	{ "XOAUTH2",            MECHANISM_OF_TOKEN,    false, NULL,          2,     0, 0, 0, false },            /* Google's, before that RFC */
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

/* --- what the library asks --- */

/* The password: we take the claim and say no. The library's own "no" is not used; the verdict comes
 * from a worker later. */
static int
take_password(struct sasl *s)
{
	s->claim.name = span_str(gsasl_property_fast(s->session, GSASL_AUTHID));
	s->claim.authzid = span_str(gsasl_property_fast(s->session, GSASL_AUTHZID));
	s->claim.password = span_str(gsasl_property_fast(s->session, GSASL_PASSWORD));
	s->claimed = true;
	return GSASL_AUTHENTICATION_ERROR;
}

static int
set_base64(struct sasl *s, Gsasl_property property, struct span value)
{
	struct text text = TEXT_UP_TO(1024);
	int result;

	text_add_base64(&text, value);
	result = text.failed ? GSASL_MALLOC_ERROR
			     : gsasl_property_set(s->session, property, text_str(&text));
	text_wipe(&text);
	return result;
}

/* The client has said its name: who is that? */
static bool
identify(struct sasl *s)
{
	if (s->claimed)
		return !s->failed;
	s->claimed = true;
	s->claim.name = span_str(gsasl_property_fast(s->session, GSASL_AUTHID));
	s->claim.authzid = span_str(gsasl_property_fast(s->session, GSASL_AUTHZID));
	s->failed = !s->owner->secret(s->owner->me, &s->claim, &s->secret);
	return !s->failed;
}

static int
give_iterations(struct sasl *s)
{
	char number[24];

	if (!identify(s))
		return GSASL_NO_CALLBACK;
	snprintf(number, sizeof(number), "%u", s->secret.iterations);
	return gsasl_property_set(s->session, GSASL_SCRAM_ITER, number);
}

/* The client's last message, "c=...,r=...,p=PROOF": what stands before the proof, and the proof. */
static bool
split_final(struct span final, struct span *before, struct text *proof)
{
	size_t at = span_find(final, SPAN(",p="));

	*before = span_part(final, 0, at);
	return at < final.len &&
	       text_add_base64_decoded(proof, span_part(final, at + 3, final.len));
}

/* RFC 5802 3: AuthMessage. */
static void
auth_message(const struct sasl *s, struct span final_without_proof, struct text *auth)
{
	text_add(auth, text_span(&s->client_first));
	text_add_byte(auth, ',');
	text_add(auth, text_span(&s->server_first));
	text_add_byte(auth, ',');
	text_add(auth, final_without_proof);
}

/* Which of the user's keys; their count, when none. */
static size_t
which_proves(const struct sasl *s, struct span auth, struct span proof)
{
	size_t fits = s->secret.count;

	for (size_t i = 0; i < s->secret.count; i++)
		if (scram_proves(s->row->scram, &s->secret.keys[i], auth, proof))
			fits = i;
	return fits;
}

/* A user with application passwords has several keys, and the library looks at one: we look which
 * one fits. What is given is tried by the library in any case, so a mistake here lets nobody in. */
static void
choose_keys(struct sasl *s)
{
	struct text auth = TEXT_UP_TO(4 * MOST_SASL), proof = TEXT_UP_TO(64);
	struct span before;

	s->fits = 0;
	if (s->secret.count > 1 && split_final(s->client_final, &before, &proof)) {
		auth_message(s, before, &auth);
		s->fits = which_proves(s, text_span(&auth), text_span(&proof));
		if (s->fits == s->secret.count)
			s->fits = 0;
	}
	text_wipe(&auth);
	text_wipe(&proof);
}

static int
give_key(struct sasl *s, Gsasl_property which)
{
	const struct scram_keys *k;

	if (!identify(s) || s->secret.count == 0)
		return GSASL_NO_CALLBACK;
	if (which == GSASL_SCRAM_SERVERKEY) /* the first that is asked for */
		choose_keys(s);
	k = &s->secret.keys[s->fits];
	return set_base64(s, which, which == GSASL_SCRAM_SERVERKEY ? k->server : k->stored);
}

static int
give_binding(struct sasl *s, Gsasl_property question, struct span binding)
{
	return binding.len > 0 ? set_base64(s, question, binding) : GSASL_NO_CALLBACK;
}

static int
on_question(Gsasl *library, Gsasl_session *session, Gsasl_property question)
{
	struct sasl *s = gsasl_session_hook_get(session);

	(void)library;
	if (s == NULL)
		return GSASL_NO_CALLBACK;
	switch (question) {
	case GSASL_VALIDATE_SIMPLE:
		return take_password(s);
	case GSASL_VALIDATE_EXTERNAL: /* as a password: the certificate is looked at afterwards */
		s->claim.authzid = span_str(gsasl_property_fast(session, GSASL_AUTHZID));
		s->claimed = true;
		return GSASL_AUTHENTICATION_ERROR;
	case GSASL_SCRAM_ITER:
		return give_iterations(s);
	case GSASL_SCRAM_SALT:
		return identify(s) ? set_base64(s, question, s->secret.salt) : GSASL_NO_CALLBACK;
	case GSASL_SCRAM_SERVERKEY:
	case GSASL_SCRAM_STOREDKEY:
		return give_key(s, question);
	case GSASL_CB_TLS_EXPORTER:
		return give_binding(s, question, s->owner->binding.exporter);
	case GSASL_CB_TLS_UNIQUE:
		return give_binding(s, question, s->owner->binding.unique);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* --- the dialogue --- */

Gsasl *
mechanisms_open(void)
{
	Gsasl *library = NULL;

	if (gsasl_init(&library) != GSASL_OK)
		return NULL;
	gsasl_callback_set(library, on_question);
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (mechanisms[i].kind != MECHANISM_OF_TOKEN &&
			!gsasl_server_support_p(library, mechanisms[i].name)) {
			gsasl_done(library);
			return NULL;
		}
	return library;
}

bool
sasl_init(struct sasl *s, Gsasl *library, const struct mechanism *row,
	const struct sasl_owner *owner)
{
	memset(s, 0, sizeof(*s));
	s->row = row;
	s->library = library;
	s->owner = owner;
	s->client_first = TEXT_UP_TO(MOST_SASL);
	s->server_first = TEXT_UP_TO(MOST_SASL);
	s->token = TEXT_UP_TO(MOST_SASL);
	s->end_point = TEXT_UP_TO(MOST_SASL);
	if (row->kind == MECHANISM_OF_TOKEN)
		return true; /* the library has no such mechanism */
	if (gsasl_server_start(library, row->name, &s->session) != GSASL_OK)
		return false;
	gsasl_session_hook_set(s->session, s);
	return true;
}

void
sasl_clear(struct sasl *s)
{
	/* The claim lies in the library's memory, which it frees as it is. */
	if (s->claimed && s->session != NULL && s->claim.password.len > 0)
		secret_wipe((void *)(uintptr_t)s->claim.password.at, s->claim.password.len);
	if (s->session != NULL)
		gsasl_finish(s->session);
	text_clear(&s->client_first);
	text_clear(&s->server_first);
	text_clear(&s->end_point);
	text_wipe(&s->token);
	memset(s, 0, sizeof(*s));
}

/* Looks at a message before the library does: it works on C strings. */
static enum sasl_result
check(const struct mechanism *row, struct span data)
{
	unsigned int nuls = 0;

	if (data.len > MOST_SASL)
		return SASL_MALFORMED;
	if (data.len == 0 && row->kind == MECHANISM_OF_CERTIFICATE)
		return SASL_CLAIM; /* "whom the certificate names" */
	if (data.len == 0) /* an empty name or password, or no message at all */
		return row->server_first ? SASL_WRONG : SASL_MALFORMED;
	for (size_t i = 0; i < data.len; i++)
		nuls += data.at[i] == '\0';
	if (nuls < row->least_nuls)
		return SASL_MALFORMED;
	return nuls > row->most_nuls ? SASL_WRONG : SASL_CLAIM;
}

/* RFC 5802 7: the part of the first message that the proof covers stands behind the second comma. */
static struct span
without_header(struct span first)
{
	struct span flag, authzid;

	return span_take_until(&first, ',', &flag) && span_take_until(&first, ',', &authzid)
		       ? first
		       : SPAN_NONE;
}

static enum sasl_result
password_result(const struct sasl *s)
{
	return s->claim.name.len == 0 || s->claim.password.len == 0 ? SASL_WRONG : SASL_CLAIM;
}

/* What the library's answer means. */
static enum sasl_result
meaning(const struct sasl *s, int result, bool out_failed)
{
	if (s->failed)
		return SASL_FAILED;
	if (s->claimed && s->row->kind == MECHANISM_OF_PASSWORD)
		return password_result(s);
	if (s->claimed && s->row->kind == MECHANISM_OF_CERTIFICATE)
		return SASL_CLAIM;
	switch (result) {
	case GSASL_NEEDS_MORE:
		return out_failed ? SASL_FAILED : SASL_CHALLENGE;
	case GSASL_OK:
		return s->claimed && s->row->kind == MECHANISM_OF_SCRAM && !out_failed
			       ? SASL_PROVEN
			       : SASL_WRONG; /* a success that the library must not decide */
	case GSASL_MECHANISM_PARSE_ERROR:
	case GSASL_BASE64_ERROR:
		return SASL_MALFORMED;
	case GSASL_MALLOC_ERROR:
	case GSASL_CRYPTO_ERROR:
		return SASL_FAILED;
	default:
		/* No preparation (RFC 4013) makes a name or password of this; another channel
		 * binding than this connection's; a proof that proves nothing. */
		return s->claimed ? SASL_DISPROVEN : SASL_WRONG;
	}
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
	if (s->steps == 1)
		text_add(&s->client_first, without_header(data));
	s->client_final = data;
	result = gsasl_step(s->session, (const char *)data.at, data.len, &out, &len);
	s->client_final = SPAN_NONE;
	if (result == GSASL_NEEDS_MORE && s->row->prompts != NULL &&
		s->row->prompts[s->steps - 1] != NULL)
		text_add_str(challenge, s->row->prompts[s->steps - 1]);
	else if (result == GSASL_NEEDS_MORE || result == GSASL_OK)
		text_add(challenge, span_of(out, len));
	if (s->steps == 1)
		text_add(&s->server_first, span_of(out, len));
	gsasl_free(out);
	return meaning(s, result, challenge->failed);
}

/* --- binding to the server's certificate --- */

/* GNU SASL does not know tls-server-end-point (RFC 5929 4). The dialogue is the library's to the last message but one,
 * as if the client did not bind; what the client says at last is checked here. */

/* The data of a binding that a client names; empty: we have none of that name. */
static struct span
binding_named(const struct sasl_binding *b, struct span name)
{
	return span_equal(name, SPAN("tls-exporter"))	      ? b->exporter
	       : span_equal(name, SPAN("tls-unique"))	      ? b->unique
	       : span_equal(name, SPAN("tls-server-end-point")) ? b->end_point
								: SPAN_NONE;
}

/* What a first message says of binding (RFC 5802 7: gs2-cbind-flag). SASL_CLAIM: `first` is what the library shall
 * hear. */
static enum sasl_result
note_binding(struct sasl *s, struct span *data, struct text *first)
{
	const struct sasl_binding *b = &s->owner->binding;
	struct span flag = span_part(*data, 0, span_index(*data, ','));
	const struct span rest = span_part(*data, flag.len, data->len), bare = without_header(*data);
	const char *library_name = s->row->scram == SCRAM_SHA1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256";

	/* "You cannot bind, as I see": but we offered it. Somebody took the offer away. */
	if (span_equal(flag, SPAN("y")) && b->exporter.len + b->unique.len + b->end_point.len > 0)
		return SASL_WRONG;
	if (!span_take_word(&flag, SPAN("p=")) || bare.len == 0)
		return SASL_CLAIM;
	if (!s->row->binds || binding_named(b, flag).len == 0)
		return SASL_WRONG;
	if (!span_equal(flag, SPAN("tls-server-end-point")))
		return SASL_CLAIM;
	text_add(&s->end_point, span_part(*data, 0, data->len - bare.len));
	text_add(&s->end_point, b->end_point);
	text_add_byte(first, 'n');
	text_add(first, rest);
	gsasl_finish(s->session);
	s->session = NULL;
	if (s->end_point.failed || first->failed ||
		gsasl_server_start(s->library, library_name, &s->session) != GSASL_OK)
		return SASL_FAILED;
	gsasl_session_hook_set(s->session, s);
	*data = text_span(first);
	return SASL_CLAIM;
}

/* "c=BINDING,r=NONCE[,more]": this connection's, and the nonce that the library gave. */
static bool
binds_here(const struct sasl *s, struct span before)
{
	struct text said = TEXT_UP_TO(MOST_SASL);
	struct span c, r = span_part(text_span(&s->server_first), 0,
			    span_index(text_span(&s->server_first), ','));
	bool binds = span_take_word(&before, SPAN("c=")) && span_take_until(&before, ',', &c) &&
		     text_add_base64_decoded(&said, c) &&
		     secret_equal(text_span(&said), text_span(&s->end_point)) && r.len > 2 &&
		     span_equal(span_part(before, 0, span_index(before, ',')), r);

	/* RFC 5802 5.1: "m=" is an extension that must be understood. */
	binds = binds && span_find(before, SPAN(",m=")) == before.len;
	text_clear(&said);
	return binds;
}

/* The last message of a client that binds so. */
static enum sasl_result
final_by_hand(struct sasl *s, struct span data, struct text *challenge)
{
	struct text auth = TEXT_UP_TO(4 * MOST_SASL), proof = TEXT_UP_TO(64);
	enum sasl_result result = SASL_DISPROVEN;
	unsigned char signature[SCRAM_MOST_KEY];
	struct span before;
	size_t fits;

	text_reset(challenge);
	if (!split_final(data, &before, &proof)) {
		result = SASL_MALFORMED;
	} else if (binds_here(s, before)) {
		auth_message(s, before, &auth);
		fits = which_proves(s, text_span(&auth), text_span(&proof));
		if (fits < s->secret.count) {
			scram_sign(s->row->scram, &s->secret.keys[fits], text_span(&auth), signature);
			text_add_str(challenge, "v=");
			text_add_base64(challenge,
				span_of(signature, scram_key_size(s->row->scram)));
			result = challenge->failed ? SASL_FAILED : SASL_PROVEN;
		}
	}
	text_wipe(&auth);
	text_wipe(&proof);
	return result;
}

/* --- tokens --- */

/* Takes "name=value" and the 0x01 behind it (RFC 7628 3.1). */
static bool
take_pair(struct span *in, struct span *name, struct span *value)
{
	struct span rest = *in;

	if (!span_take_until(&rest, 0x01, value))
		return false;
	*in = rest;
	return span_take_until(value, '=', name);
}

/* OAUTHBEARER: "n,a=USER," 0x01 pairs 0x01, where USER is saslname (RFC 5801 4), or nothing.
 * XOAUTH2: "user=USER" 0x01 pairs 0x01. */
static enum sasl_result
token_step(struct sasl *s, struct span data)
{
	bool google = s->row->name[0] == 'X';
	struct span in, flag, name, value, scheme;

	if (s->steps++ > 0 || !span_is_utf8(data))
		return SASL_MALFORMED;
	text_add(&s->token, data);
	in = text_span(&s->token);
	if (!google) {
		if (!span_take_until(&in, ',', &flag) || !span_equal(flag, SPAN("n")) ||
			!span_take_until(&in, ',', &s->claim.authzid) ||
			(s->claim.authzid.len > 0 &&
				!span_take_word(&s->claim.authzid, SPAN("a="))) ||
			!span_take(&in, 0x01))
			return SASL_MALFORMED;
	}
	while (take_pair(&in, &name, &value)) {
		if (google && span_equal(name, SPAN("user")))
			s->claim.authzid = value;
		if (!span_equal(name, SPAN("auth")))
			continue;
		if (!span_take_until(&value, ' ', &scheme) ||
			!span_equal_nocase(scheme, SPAN("Bearer")))
			return SASL_WRONG;
		s->claim.password = span_trim(value);
	}
	s->claimed = true;
	if (in.len > 0) /* RFC 7628 3.1: an empty pair is the end, and it is last */
		return SASL_MALFORMED;
	return s->claim.password.len > 0 ? SASL_CLAIM : SASL_WRONG;
}

bool
sasl_decides_next(const struct sasl *s)
{
	return s->row->kind == MECHANISM_OF_SCRAM && s->claimed;
}

static enum sasl_result
scram_step(struct sasl *s, struct span data, struct text *challenge)
{
	struct text first = TEXT_UP_TO(MOST_SASL + 1);
	enum sasl_result result = s->steps == 0 ? note_binding(s, &data, &first) : SASL_CLAIM;

	if (result == SASL_CLAIM)
		result = step(s, data, challenge);
	text_clear(&first);
	return result;
}

enum sasl_result
sasl_step(struct sasl *s, struct span data, bool has_data, struct text *challenge)
{
	enum sasl_result result;

	if (s->steps == 0 && (s->row->server_first || !has_data)) {
		/* Nothing is what the client says next, not what it said. */
		if (s->row->kind != MECHANISM_OF_PASSWORD)
			return SASL_CHALLENGE;
		result = step(s, SPAN_NONE, challenge);
		if (result != SASL_CHALLENGE || !has_data)
			return result;
	}
	result = check(s->row, data);
	if (result == SASL_CLAIM && s->row->kind == MECHANISM_OF_TOKEN)
		return token_step(s, data);
	if (result != SASL_CLAIM || s->row->kind != MECHANISM_OF_SCRAM)
		return result == SASL_CLAIM ? step(s, data, challenge) : result;
	if (s->end_point.len > 0 && s->claimed)
		return final_by_hand(s, data, challenge);
	return scram_step(s, data, challenge);
}
