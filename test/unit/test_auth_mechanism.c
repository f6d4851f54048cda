/* SASL mechanisms: what is a claim, what is malformed, what can be neither name nor password. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "auth/mechanism.h"
#include "common/message.h"
#include "common/scram.h"

static Gsasl *library;

static int
open_library(void **state)
{
	(void)state;
	library = mechanisms_open();
	return library == NULL;
}

static int
close_library(void **state)
{
	(void)state;
	gsasl_done(library);
	return 0;
}

#define S(text)                                                                                    \
	{                                                                                          \
		(const unsigned char *)(text), sizeof(text) - 1                                    \
	}

static const struct {
	const char *why;
	struct span message;
	enum sasl_result result;
	struct span name, authzid, password;
} plain[] = {
	{"ordinary", S("\0ana\0secret"), SASL_CLAIM, S("ana"), S("ana"), S("secret")},
	{"with authzid", S("bob\0ana\0secret"), SASL_CLAIM, S("ana"), S("bob"), S("secret")},
	{"UTF-8", S("\0j\xc3\xb6rg\0p\xc3\xa4ss"), SASL_CLAIM, S("j\xc3\xb6rg"), S("j\xc3\xb6rg"),
		S("p\xc3\xa4ss")},
	{"nothing", S(""), SASL_MALFORMED, S(""), S(""), S("")},
	{"one NUL", S("\0ana"), SASL_MALFORMED, S(""), S(""), S("")},
	{"no NUL", S("ana secret"), SASL_MALFORMED, S(""), S(""), S("")},
	{"three NULs", S("\0ana\0sec\0ret"), SASL_WRONG, S(""), S(""), S("")},
	{"four NULs", S("\0a\0n\0a\0"), SASL_WRONG, S(""), S(""), S("")},
	/* No preparation (RFC 4013) lets a control character through. */
	{"TAB in the name", S("\0a\tna\0x"), SASL_WRONG, S(""), S(""), S("")},
	{"LF in the password", S("\0ana\0x\ny"), SASL_WRONG, S(""), S(""), S("")},
	{"0x01 in the name", S("\0a\x01\0x"), SASL_WRONG, S(""), S(""), S("")},
	{"0x01 in the authzid", S("a\x01\0ana\0x"), SASL_CLAIM, S("ana"), S("a\x01"), S("x")},
	{"no UTF-8", S("\0a\xff\0x"), SASL_WRONG, S(""), S(""), S("")},
	{"empty password", S("\0ana\0"), SASL_WRONG, S(""), S(""), S("")},
	{"empty name", S("\0\0secret"), SASL_WRONG, S(""), S(""), S("")},
	{"all empty", S("\0\0"), SASL_WRONG, S(""), S(""), S("")},
};

static void
plain_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		for (int initial = 0; initial < 2; initial++) {
			struct text challenge = TEXT_UP_TO(MOST_SASL);
			struct sasl s;
			enum sasl_result r;

			assert_true(sasl_init(&s, library, mechanism_find(SPAN("plain")), NULL));
			if (!initial) {
				assert_int_equal(sasl_step(&s, SPAN_NONE, false, &challenge),
					SASL_CHALLENGE);
				assert_int_equal(challenge.len, 0); /* RFC 4616 2 */
			}
			r = sasl_step(&s, plain[i].message, true, &challenge);
			/* A claim without a name or a password is refused; how, the library may
			 * choose. */
			if (plain[i].result == SASL_WRONG ? r != SASL_WRONG && r != SASL_MALFORMED
							  : r != plain[i].result)
				fail_msg("%s: %d", plain[i].why, (int)r);
			if (r == SASL_CLAIM) {
				assert_true(span_equal(s.claim.name, plain[i].name));
				assert_true(span_equal(s.claim.authzid, plain[i].authzid));
				assert_true(span_equal(s.claim.password, plain[i].password));
			}
			sasl_clear(&s);
			sasl_clear(&s);
			text_clear(&challenge);
		}
}

static enum sasl_result
login(struct span name, struct span password, bool initial, struct sasl *s)
{
	struct text challenge = TEXT_UP_TO(MOST_SASL);
	enum sasl_result r;

	assert_true(sasl_init(s, library, mechanism_find(SPAN("LOGIN")), NULL));
	if (!initial) {
		assert_int_equal(sasl_step(s, SPAN_NONE, false, &challenge), SASL_CHALLENGE);
		assert_string_equal(text_str(&challenge), "Username:");
	}
	r = sasl_step(s, name, true, &challenge);
	if (r == SASL_CHALLENGE) {
		assert_string_equal(text_str(&challenge), "Password:");
		r = sasl_step(s, password, true, &challenge);
	}
	text_clear(&challenge);
	return r;
}

static void
login_messages(void **state)
{
	struct sasl s;

	(void)state;
	for (int initial = 0; initial < 2; initial++) {
		assert_int_equal(login(SPAN("ana"), SPAN("secret"), initial, &s), SASL_CLAIM);
		assert_true(span_equal(s.claim.name, SPAN("ana")));
		assert_true(span_equal(s.claim.password, SPAN("secret")));
		assert_int_equal(s.claim.authzid.len, 0);
		sasl_clear(&s);
		assert_int_equal(login(SPAN("ana"), SPAN(""), initial, &s), SASL_WRONG);
		sasl_clear(&s);
		assert_int_equal(login(SPAN(""), SPAN("x"), initial, &s), SASL_WRONG);
		sasl_clear(&s);
		assert_int_equal(login(SPAN("an\0a"), SPAN("x"), initial, &s), SASL_WRONG);
		sasl_clear(&s);
		assert_int_equal(login(SPAN("ana"), SPAN("sec\0ret"), initial, &s), SASL_WRONG);
		sasl_clear(&s);
	}
}

/* One step too many, or an end at each step, leaves nothing. */
static void
steps_are_counted(void **state)
{
	struct text challenge = TEXT_UP_TO(MOST_SASL);
	struct sasl s;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		assert_true(sasl_init(
			&s, library, mechanism_find(i % 2 ? SPAN("LOGIN") : SPAN("PLAIN")), NULL));
		for (unsigned int step = 0; step < i % 4; step++)
			(void)sasl_step(&s, SPAN("x"), step > 0, &challenge);
		sasl_clear(&s);
	}
	assert_true(sasl_init(&s, library, mechanism_find(SPAN("PLAIN")), NULL));
	assert_int_equal(sasl_step(&s, SPAN("\0a\0b"), true, &challenge), SASL_CLAIM);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_not_equal(
			sasl_step(&s, SPAN("\0a\0b"), true, &challenge), SASL_CHALLENGE);
	sasl_clear(&s);
	text_clear(&challenge);
}

/* Every length around the edges, and random bytes. */
static void
a6_any_bytes(void **state)
{
	static unsigned char bytes[MOST_SASL + 4];
	struct text challenge = TEXT_UP_TO(MOST_SASL);

	(void)state;
	srandom(1);
	for (unsigned int i = 0; i < 3000; i++) {
		size_t len = i < 9    ? i
			     : i < 16 ? 4096 + i - 12
			     : i < 24 ? MOST_SASL - 4 + (i - 16)
				      : (size_t)random() % 40;
		for (size_t k = 0; k < len; k++)
			bytes[k] = (unsigned char)(random() % 4 == 0 ? 0 : random());
		unsigned char *copy = malloc(len + 1);
		memcpy(copy, bytes, len);
		struct sasl s;
		assert_true(sasl_init(
			&s, library, mechanism_find(i % 2 ? SPAN("LOGIN") : SPAN("PLAIN")), NULL));
		(void)sasl_step(&s, span_of(copy, len), true, &challenge);
		(void)sasl_step(&s, span_of(copy, len), true, &challenge);
		sasl_clear(&s);
		free(copy);
	}
	text_clear(&challenge);
}

static void
only_what_is_offered(void **state)
{
	(void)state;
	assert_non_null(mechanism_find(SPAN("PLAIN")));
	assert_non_null(mechanism_find(SPAN("login")));
	/* The library knows these; we do not offer them. */
	assert_null(mechanism_find(SPAN("ANONYMOUS")));
	assert_non_null(mechanism_find(SPAN("EXTERNAL")));
	assert_null(mechanism_find(SPAN("PLAI")));
	assert_null(mechanism_find(SPAN("PLAINX")));
	assert_null(mechanism_find(SPAN("")));
}

/* --- certificates and tokens: what is claimed --- */

static void
external_and_tokens(void **state)
{
	static const struct {
		const char *mechanism;
		struct span message;
		enum sasl_result result;
		struct span authzid, token;
	} cases[] = {
		{"EXTERNAL", S(""), SASL_CLAIM, S(""), S("")},
		{"EXTERNAL", S("ana@example.org"), SASL_CLAIM, S("ana@example.org"), S("")},
		{"EXTERNAL", S("a\0b"), SASL_WRONG, S(""), S("")},
		{"OAUTHBEARER", S("n,a=ana@example.org,\1host=h\1port=993\1auth=Bearer x.y.z\1\1"),
			SASL_CLAIM, S("ana@example.org"), S("x.y.z")},
		{"OAUTHBEARER", S("n,,\1auth=bearer x\1\1"), SASL_CLAIM, S(""), S("x")},
		{"OAUTHBEARER", S("n,,\1auth=Bearer x\1"), SASL_CLAIM, S(""), S("x")},
		{"OAUTHBEARER", S("p=tls-exporter,,\1auth=Bearer x\1\1"), SASL_MALFORMED, S(""), S("")},
		{"OAUTHBEARER", S("n,ana,\1auth=Bearer x\1\1"), SASL_MALFORMED, S(""), S("")},
		{"OAUTHBEARER", S("n,,\1auth=Bearer x\1\1more"), SASL_MALFORMED, S(""), S("")},
		{"OAUTHBEARER", S("n,,\1auth=Basic x\1\1"), SASL_WRONG, S(""), S("")},
		{"OAUTHBEARER", S("n,,\1auth=Bearer \1\1"), SASL_WRONG, S(""), S("")},
		{"OAUTHBEARER", S("n,,\1\1"), SASL_WRONG, S(""), S("")},
		{"OAUTHBEARER", S("n,,\1auth=Bearer \xff\1\1"), SASL_MALFORMED, S(""), S("")},
		{"OAUTHBEARER", S("\1"), SASL_MALFORMED, S(""), S("")},
		{"XOAUTH2", S("user=ana@example.org\1auth=Bearer t\1\1"), SASL_CLAIM,
			S("ana@example.org"), S("t")},
		{"XOAUTH2", S("auth=Bearer t\1\1"), SASL_CLAIM, S(""), S("t")},
		{"XOAUTH2", S("user=ana\1\1"), SASL_WRONG, S(""), S("")},
	};
	struct text said = TEXT_UP_TO(MOST_SASL);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sasl_owner owner = {NULL, NULL, {.exporter = SPAN_NONE}};
		struct sasl s;

		assert_true(sasl_init(
			&s, library, mechanism_find(span_str(cases[i].mechanism)), &owner));
		assert_int_equal(
			sasl_step(&s, cases[i].message, true, &said), cases[i].result);
		if (cases[i].result == SASL_CLAIM) {
			assert_true(span_equal(s.claim.authzid, cases[i].authzid));
			assert_true(span_equal(s.claim.password, cases[i].token));
		}
		sasl_clear(&s);
		/* Without an initial response the first word is the client's all the same. */
		assert_true(sasl_init(
			&s, library, mechanism_find(span_str(cases[i].mechanism)), &owner));
		assert_int_equal(sasl_step(&s, SPAN_NONE, false, &said), SASL_CHALLENGE);
		assert_int_equal(said.len, 0);
		sasl_clear(&s);
	}
	text_clear(&said);
}

/* --- SCRAM, against the library's own client --- */

struct known {
	struct scram_room room[2];
	struct scram_keys keys[2][SCRAM_COUNT];
	size_t count;
	bool fails;
	char name[100];
};

static const unsigned char known_salt[SCRAM_SALT] = "salt and pepper";
static enum scram known_kind;

static bool
known_secret(void *me, const struct claim *claim, struct scram_secret *secret)
{
	struct known *k = me;

	span_copy(claim->name, k->name, sizeof(k->name));
	secret->iterations = 4096;
	secret->salt = span_of(known_salt, SCRAM_SALT);
	for (size_t i = 0; i < k->count; i++)
		secret->keys[secret->count++] = k->keys[i][known_kind];
	return !k->fails;
}

static const char *client_password, *client_binding;

static int
on_client(Gsasl *l, Gsasl_session *session, Gsasl_property what)
{
	(void)l;
	switch (what) {
	case GSASL_AUTHID:
		return gsasl_property_set(session, what, "ana");
	case GSASL_PASSWORD:
		return gsasl_property_set(session, what, client_password);
	case GSASL_CB_TLS_EXPORTER:
		return client_binding == NULL ? GSASL_NO_CALLBACK
					      : gsasl_property_set(session, what, client_binding);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* Runs a dialogue; the server's last result. *final gets the client's last message. */
static enum sasl_result
scram_dialogue(const char *mechanism, struct sasl_owner *owner, struct text *final)
{
	Gsasl *theirs;
	Gsasl_session *client;
	struct sasl s;
	struct text said = TEXT_UP_TO(MOST_SASL);
	enum sasl_result result = SASL_CHALLENGE;
	char *out;
	size_t len;

	assert_int_equal(gsasl_init(&theirs), GSASL_OK);
	gsasl_callback_set(theirs, on_client);
	assert_int_equal(gsasl_client_start(theirs, mechanism, &client), GSASL_OK);
	assert_true(sasl_init(&s, library, mechanism_find(span_str(mechanism)), owner));
	known_kind = s.row->scram;
	while (result == SASL_CHALLENGE) {
		int status = gsasl_step(
			client, (const char *)said.at, said.len, &out, &len);
		if (status != GSASL_OK && status != GSASL_NEEDS_MORE) {
			result = SASL_MALFORMED;
			break;
		}
		text_reset(final);
		text_add(final, span_of(out, len));
		result = sasl_step(&s, span_of(out, len), true, &said);
		gsasl_free(out);
	}
	/* The server proves itself, too. */
	if (result == SASL_PROVEN) {
		assert_int_equal(
			gsasl_step(client, (const char *)said.at, said.len, &out, &len), GSASL_OK);
		gsasl_free(out);
	}
	sasl_clear(&s);
	text_clear(&said);
	gsasl_finish(client);
	gsasl_done(theirs);
	return result;
}

static void
scram(void **state)
{
	static const char *const names[] = {
		"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"};
	struct known k = {.count = 2};
	struct sasl_owner owner = {known_secret, &k, {.exporter = SPAN_NONE}};
	struct text final = TEXT_UP_TO(MOST_SASL);

	(void)state;
	scram_make(SPAN("secret"), span_of(known_salt, SCRAM_SALT), 4096, &k.room[0], k.keys[0]);
	scram_make(SPAN("other"), span_of(known_salt, SCRAM_SALT), 4096, &k.room[1], k.keys[1]);
	for (size_t i = 0; i < 4; i++) {
		bool plus = i >= 2;

		owner.binding.exporter = plus ? SPAN("binding data of thirty-two bytes") : SPAN_NONE;
		client_binding = plus ? "YmluZGluZyBkYXRhIG9mIHRoaXJ0eS10d28gYnl0ZXM=" : NULL;
		/* Either of the two passwords; no other. */
		client_password = "secret";
		assert_int_equal(scram_dialogue(names[i], &owner, &final), SASL_PROVEN);
		assert_string_equal(k.name, "ana");
		client_password = "other";
		assert_int_equal(scram_dialogue(names[i], &owner, &final), SASL_PROVEN);
		client_password = "third";
		assert_int_equal(scram_dialogue(names[i], &owner, &final), SASL_DISPROVEN);
		client_password = "secret";
		k.fails = true;
		assert_int_equal(scram_dialogue(names[i], &owner, &final), SASL_FAILED);
		k.fails = false;
		if (!plus)
			continue;
		/* Somebody in the middle has another TLS connection. */
		client_binding = "YmluZGluZyBkYXRhIG9mIHNvbWVib2R5IGVsc2UgLi4=";
		assert_int_equal(scram_dialogue(names[i], &owner, &final), SASL_DISPROVEN);
		owner.binding.exporter = SPAN_NONE;
		assert_int_not_equal(scram_dialogue(names[i], &owner, &final), SASL_PROVEN);
	}
	text_clear(&final);
}

/* A7: what was proven once is worth nothing in the next dialogue: the nonce is another. */
static void
a7_scram_replayed(void **state)
{
	struct known k = {.count = 1};
	struct sasl_owner owner = {known_secret, &k, {.exporter = SPAN_NONE}};
	struct text final = TEXT_UP_TO(MOST_SASL), said = TEXT_UP_TO(MOST_SASL);
	struct sasl s;

	(void)state;
	client_binding = NULL;
	client_password = "secret";
	scram_make(SPAN("secret"), span_of(known_salt, SCRAM_SALT), 4096, &k.room[0], k.keys[0]);
	assert_int_equal(scram_dialogue("SCRAM-SHA-256", &owner, &final), SASL_PROVEN);
	assert_true(sasl_init(&s, library, mechanism_find(SPAN("SCRAM-SHA-256")), &owner));
	assert_int_equal(
		sasl_step(&s, SPAN("n,,n=ana,r=fyko+d2lbbFgONRv9qkxdawL"), true, &said),
		SASL_CHALLENGE);
	assert_true(sasl_decides_next(&s));
	assert_int_equal(sasl_step(&s, text_span(&final), true, &said), SASL_DISPROVEN);
	sasl_clear(&s);
	text_clear(&final);
	text_clear(&said);
}

/* A client that could bind and says that we cannot, while we offered to: somebody took our offer away
 * (RFC 5802 6). Also words that are no SCRAM at all, cut anywhere. */
static void
scram_forms(void **state)
{
	struct known k = {.count = 1};
	struct sasl_owner owner = {known_secret, &k, {.exporter = SPAN("binding")}};
	static const char first[] = "y,,n=ana,r=fyko+d2lbbFgONRv9qkxdawL";
	struct text said = TEXT_UP_TO(MOST_SASL);
	struct sasl s;

	(void)state;
	known_kind = SCRAM_SHA256;
	scram_make(SPAN("secret"), span_of(known_salt, SCRAM_SALT), 4096, &k.room[0], k.keys[0]);
	assert_true(sasl_init(&s, library, mechanism_find(SPAN("SCRAM-SHA-256")), &owner));
	assert_int_equal(sasl_step(&s, span_str(first), true, &said), SASL_WRONG);
	sasl_clear(&s);
	owner.binding = (struct sasl_binding){.end_point = SPAN("digest of the certificate")};
	assert_true(sasl_init(&s, library, mechanism_find(SPAN("SCRAM-SHA-256")), &owner));
	assert_int_equal(sasl_step(&s, span_str(first), true, &said), SASL_WRONG);
	sasl_clear(&s);
	owner.binding.end_point = SPAN_NONE;
	for (size_t len = 0; len < sizeof(first); len++) {
		unsigned char *cut = malloc(len + 1);
		enum sasl_result result;

		memcpy(cut, first, len);
		assert_true(
			sasl_init(&s, library, mechanism_find(SPAN("SCRAM-SHA-256")), &owner));
		result = sasl_step(&s, span_of(cut, len), true, &said);
		assert_true(result == SASL_CHALLENGE || result == SASL_MALFORMED ||
			    result == SASL_WRONG);
		if (result == SASL_CHALLENGE)
			assert_int_not_equal(
				sasl_step(&s, SPAN("c=biws,r=x,p=eHh4"), true, &said), SASL_PROVEN);
		sasl_clear(&s);
		free(cut);
	}
	text_clear(&said);
}

/* Adds the proof of who knows "secret" (RFC 5802 3) to a last message. */
static void
add_true_proof(const struct known *k, struct span first_bare, struct span server_first, struct text *final)
{
	char salted[32], client_key[32], server_key[32], stored_key[32];
	struct scram_keys signs = k->keys[0][SCRAM_SHA256];
	struct text auth = TEXT_UP_TO(4 * MOST_SASL);
	unsigned char proof[SCRAM_MOST_KEY];

	assert_int_equal(gsasl_scram_secrets_from_password(GSASL_HASH_SHA256, "secret", 4096,
				 (const char *)known_salt, SCRAM_SALT, salted, client_key, server_key,
				 stored_key),
		GSASL_OK);
	text_add(&auth, first_bare);
	text_add_byte(&auth, ',');
	text_add(&auth, server_first);
	text_add_byte(&auth, ',');
	text_add(&auth, text_span(final));
	signs.server = signs.stored; /* the HMAC that scram_sign makes, with the other key */
	scram_sign(SCRAM_SHA256, &signs, text_span(&auth), proof);
	for (size_t i = 0; i < sizeof(client_key); i++)
		proof[i] ^= (unsigned char)client_key[i];
	text_add_str(final, ",p=");
	text_add_base64(final, span_of(proof, sizeof(client_key)));
	text_clear(&auth);
}

/* Bound to the certificate: each last message has the proof of the right password over what it says, and only the one
 * that says the right thing is good. */
static void
scram_end_point_is_checked(void **state)
{
	static const char first[] = "p=tls-server-end-point,,n=ana,r=fyko+d2lbbFgONRv9qkxdawL",
			  right[] = "cD10bHMtc2VydmVyLWVuZC1wb2ludCwsRQ==";
	static const struct {
		const char *binding, *nonce_more, *more;
		enum sasl_result result;
	} rows[] = {
		{right, "", "", SASL_PROVEN},
		{right, "", ",x=unknown", SASL_PROVEN},
		{right, "", ",m=must-be-understood", SASL_DISPROVEN},
		{right, "x", "", SASL_DISPROVEN},
		{"cD10bHMtc2VydmVyLWVuZC1wb2ludCwsRg==", "", "", SASL_DISPROVEN}, /* ...,,F */
		{"cD10bHMtc2VydmVyLWVuZC1wb2ludCwsRUU=", "", "", SASL_DISPROVEN}, /* ...,,EE */
		{"cD10bHMtc2VydmVyLWVuZC1wb2ludCws", "", "", SASL_DISPROVEN},	  /* ...,, */
		{"biws", "", "", SASL_DISPROVEN},				  /* n,, */
		{"biwsRQ==", "", "", SASL_DISPROVEN},				  /* n,,E */
		{"", "", "", SASL_DISPROVEN},
	};
	struct known k = {.count = 1};
	struct sasl_owner owner = {known_secret, &k, {.end_point = SPAN("E")}};
	struct text said = TEXT_UP_TO(MOST_SASL), final = TEXT_UP_TO(MOST_SASL);
	const struct mechanism *row = mechanism_find(SPAN("SCRAM-SHA-256-PLUS"));
	struct sasl s;

	(void)state;
	known_kind = SCRAM_SHA256;
	scram_make(SPAN("secret"), span_of(known_salt, SCRAM_SALT), 4096, &k.room[0], k.keys[0]);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(sasl_init(&s, library, row, &owner));
		assert_int_equal(sasl_step(&s, span_str(first), true, &said), SASL_CHALLENGE);
		text_reset(&final);
		text_add_str(&final, "c=");
		text_add_str(&final, rows[i].binding);
		text_add_byte(&final, ',');
		text_add(&final, span_part(text_span(&said), 0, span_index(text_span(&said), ',')));
		text_add_str(&final, rows[i].nonce_more);
		text_add_str(&final, rows[i].more);
		add_true_proof(&k, SPAN("n=ana,r=fyko+d2lbbFgONRv9qkxdawL"), text_span(&said), &final);
		assert_int_equal(sasl_step(&s, text_span(&final), true, &said), rows[i].result);
		sasl_clear(&s);
	}
	text_clear(&said);
	text_clear(&final);
}

/* Bound so: last messages that prove nothing, and a first one that is cut anywhere. */
static void
scram_end_point_forms(void **state)
{
	struct known k = {.count = 1};
	struct sasl_owner owner = {known_secret, &k, {.end_point = SPAN("E")}};
	static const char first[] = "p=tls-server-end-point,,n=ana,r=fyko+d2lbbFgONRv9qkxdawL";
	/* c= is "p=tls-server-end-point,,E", "p=tls-server-end-point,,F", "n,,", nothing */
	static const char *const bindings[] = {"cD10bHMtc2VydmVyLWVuZC1wb2ludCwsRQ==",
		"cD10bHMtc2VydmVyLWVuZC1wb2ludCwsRg==", "biws", ""};
	struct text said = TEXT_UP_TO(MOST_SASL), final = TEXT_UP_TO(MOST_SASL);
	const struct mechanism *row = mechanism_find(SPAN("SCRAM-SHA-256-PLUS"));
	struct span nonce;
	struct sasl s;

	(void)state;
	known_kind = SCRAM_SHA256;
	scram_make(SPAN("secret"), span_of(known_salt, SCRAM_SALT), 4096, &k.room[0], k.keys[0]);
	for (size_t len = 0; len < sizeof(first); len++) {
		unsigned char *cut = malloc(len + 1);

		memcpy(cut, first, len);
		assert_true(sasl_init(&s, library, row, &owner));
		if (sasl_step(&s, span_of(cut, len), true, &said) == SASL_CHALLENGE)
			assert_int_not_equal(
				sasl_step(&s, SPAN("c=biws,r=x,p=eHh4"), true, &said), SASL_PROVEN);
		sasl_clear(&s);
		free(cut);
	}
	for (size_t i = 0; i < sizeof(bindings) / sizeof(bindings[0]); i++) {
		assert_true(sasl_init(&s, library, row, &owner));
		assert_int_equal(sasl_step(&s, span_str(first), true, &said), SASL_CHALLENGE);
		assert_true(sasl_decides_next(&s));
		nonce = span_part(text_span(&said), 0, span_index(text_span(&said), ','));
		text_reset(&final);
		text_add_str(&final, "c=");
		text_add_str(&final, bindings[i]);
		text_add_byte(&final, ',');
		text_add(&final, nonce);
		text_add_str(&final, ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
		assert_int_equal(sasl_step(&s, text_span(&final), true, &said), SASL_DISPROVEN);
		sasl_clear(&s);
	}
	/* Without -PLUS, or without a certificate to bind to, there is no such binding. */
	assert_true(sasl_init(&s, library, mechanism_find(SPAN("SCRAM-SHA-256")), &owner));
	assert_int_not_equal(sasl_step(&s, span_str(first), true, &said), SASL_CHALLENGE);
	sasl_clear(&s);
	owner.binding.end_point = SPAN_NONE;
	assert_true(sasl_init(&s, library, row, &owner));
	assert_int_not_equal(sasl_step(&s, span_str(first), true, &said), SASL_CHALLENGE);
	sasl_clear(&s);
	text_clear(&said);
	text_clear(&final);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_messages),
		cmocka_unit_test(login_messages),
		cmocka_unit_test(steps_are_counted),
		cmocka_unit_test(a6_any_bytes),
		cmocka_unit_test(only_what_is_offered),
		cmocka_unit_test(external_and_tokens),
		cmocka_unit_test(scram),
		cmocka_unit_test(a7_scram_replayed),
		cmocka_unit_test(scram_forms),
		cmocka_unit_test(scram_end_point_forms),
		cmocka_unit_test(scram_end_point_is_checked),
	};

	return cmocka_run_group_tests(tests, open_library, close_library);
}
