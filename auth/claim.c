/* claim - whom a client's words mean: a name, a certificate, a token, SCRAM keys. */
#include "conversation-inside.h"

#include <string.h>

#include "common/log.h"
#include "common/passport.h"
#include "common/password.h"
#include "common/scram.h"

static bool
is_master(const struct conversation *c)
{
	const struct list *list = &c->auth->daemon.settings->master_users;

	for (size_t i = 0; i < list->count; i++)
		if (span_equal_nocase(list->at[i], text_span(&c->login.key)))
			return true;
	return false;
}

/* From the words of a client to a key; c->fault says why not. */
static void
identify(struct conversation *c, const struct claim *claim)
{
	const struct settings *s = c->auth->daemon.settings;
	struct text other = TEXT_UP_TO(MOST_ADDRESS);

	text_add(&c->name, span_part(claim->name, 0, MOST_ADDRESS));
	if (!login_name(&c->login, claim->name, s)) {
		text_clear(&c->login.key);
		c->fault = "name";
	} else if (claim->authzid.len > 0) {
		if (!login_key(claim->authzid, s, &other))
			c->fault = "authzid";
		else if (span_equal(text_span(&other), text_span(&c->login.key)))
			; /* himself */
		else if (is_master(c))
			text_add(&c->acts_as, text_span(&other));
		else
			c->fault = "authzid"; /* nobody else acts as another */
	}
	text_clear(&other);
}

/* --- certificates and tokens --- */

/* The next of names with commas between. */
static bool
take_name(struct span *in, struct span *name)
{
	if (in->len == 0)
		return false;
	if (!span_take_until(in, ',', name)) {
		*name = *in;
		in->len = 0;
	}
	return true;
}

static bool
same_user(struct conversation *c, struct span a, struct span b)
{
	const struct settings *s = c->auth->daemon.settings;
	struct text left = TEXT_UP_TO(MOST_ADDRESS), right_one = TEXT_UP_TO(MOST_ADDRESS);
	bool same = login_key(a, s, &left) && login_key(b, s, &right_one) &&
		    span_equal(text_span(&left), text_span(&right_one));

	text_clear(&left);
	text_clear(&right_one);
	return same;
}

/* Is `name` a user of the tables here? */
static bool
is_user(struct conversation *c, struct span name)
{
	struct login l;
	bool known;

	login_init(&l);
	known = login_name(&l, name, c->auth->daemon.settings) &&
		login_find(&l, c->auth->users, c->auth->passwords, c->auth->learned) && l.known;
	login_clear(&l);
	return known;
}

/* Whom the certificate stands for: him whom the client asks for, if it is one of them; else the first
 * who is a user here, or the first. */
void
claim_of_certificate(struct conversation *c, struct span authzid)
{
	struct text asked = TEXT_UP_TO(MOST_ADDRESS);
	struct span rest = text_span(&c->named), name, chosen = SPAN_NONE;
	struct claim claim = {.name = SPAN_NONE};

	text_add(&asked, authzid);
	while (take_name(&rest, &name)) {
		if (authzid.len > 0 ? same_user(c, name, authzid) : is_user(c, name)) {
			chosen = name;
			break;
		}
	}
	rest = text_span(&c->named);
	if (chosen.len == 0 && authzid.len == 0)
		(void)take_name(&rest, &chosen);
	claim.name = chosen.len > 0 ? chosen : text_span(&asked);
	identify(c, &claim);
	sasl_clear(&c->sasl);
	if (chosen.len == 0)
		c->fault = authzid.len > 0 ? "certificate-of-another" : "certificate-of-nobody";
	c->proven = true;
	if (c->fault != NULL)
		verdict_wrong(c, c->fault);
	else
		check_begin(c);
	text_clear(&asked);
}

static void
proven_by_token(struct conversation *c, struct span user)
{
	const struct claim claim = {.name = user, .authzid = text_span(&c->named)};

	identify(c, &claim);
	if (c->fault != NULL) {
		verdict_wrong(c, c->fault);
		return;
	}
	c->proven = true;
	check_begin(c);
}

/* Only what its issuer was asked about: a signature is looked at each time. */
static void
remember_token(struct conversation *c, const struct msg_token_told *told)
{
	const struct settings *s = c->auth->daemon.settings;
	uint64_t seconds = s->auth_cache_seconds;

	if (s->oauth_introspection.len == 0)
		return;
	if (told->seconds > 0 && told->seconds < seconds)
		seconds = told->seconds;
	token_cache_put(c->auth->tokens, text_span(&c->token), told->user, auth_seconds() + seconds);
}

static void
on_token_done(void *me, const void *answer)
{
	const struct msg_token_told *told = answer;
	struct conversation *c = me;
	struct claim claim = {.authzid = text_span(&c->named)};
	char reason[MOST_REASON + 1];

	c->job = NULL;
	if (told == NULL || told->later) {
		verdict_later(c, told == NULL ? "no token worker answers" : "the issuer of tokens cannot be asked");
		return;
	}
	if (told->right)
		remember_token(c, told);
	claim.name = text_span(&c->named);
	text_wipe(&c->token);
	if (told->right) {
		proven_by_token(c, told->user);
		return;
	}
	identify(c, &claim);
	verdict_wrong(c, span_copy(told->reason, reason, sizeof(reason)) ? reason : "token");
}

static void
ask_token(struct conversation *c)
{
	c->job = pool_ask_token(c->auth->token, text_span(&c->token), on_token_done, c);
	if (c->job == NULL)
		verdict_later(c, "too many tokens wait to be verified");
}

/* `named` keeps whom the client wants to be: what his failures, and those of the address, cost is waited for before
 * anybody is asked about the token. The issuer is not to be hammered through us. */
void
claim_of_token(struct conversation *c, const struct claim *claim)
{
	struct span user = token_cache_find(c->auth->tokens, claim->password, auth_seconds());
	struct text key = TEXT_UP_TO(MOST_ADDRESS);

	text_add(&c->named, span_part(claim->authzid, 0, MOST_ADDRESS));
	c->state = CHECKING;
	if (user.len > 0) {
		sasl_clear(&c->sasl);
		proven_by_token(c, user);
		return;
	}
	text_add(&c->token, claim->password);
	if (!login_key(claim->authzid, c->auth->daemon.settings, &key))
		text_reset(&key);
	sasl_clear(&c->sasl);
	check_guard(c, text_span(&key), ask_token);
	text_clear(&key);
}

/* A name and a password. */
void
claim_of_password(struct conversation *c, const struct claim *claim)
{
	identify(c, claim);
	if (c->fault == NULL && !password_prepare(claim->password, &c->password))
		c->fault = "password-form";
	sasl_clear(&c->sasl);
	if (c->fault != NULL)
		verdict_wrong(c, c->fault);
	else
		check_begin(c);
}

/* --- SCRAM --- */

/* Keys of nobody, and a salt that is always the same for one name: who asks does not learn whether
 * that user exists. */
static void
secret_of_nobody(struct conversation *c, struct scram_secret *secret)
{
	static const unsigned char no_key[SCRAM_MOST_KEY];
	const struct span name[] = {SPAN("salt of nobody"), text_span(&c->login.key)};
	struct digest salt = digest_of(&c->auth->nobody, name, 2);
	size_t size = scram_key_size(c->mechanism->scram);

	text_reset(&c->login.home); /* not used by who does not exist */
	text_add(&c->login.home, span_of(salt.at, SCRAM_SALT));
	secret->salt = text_span(&c->login.home);
	secret->iterations = c->auth->daemon.settings->scram_iterations > 0
				     ? (uint32_t)c->auth->daemon.settings->scram_iterations
				     : SCRAM_LEAST_ITERATIONS;
	/* A StoredKey of zeros is the hash of nothing that anybody knows. */
	secret->keys[0] = (struct scram_keys){span_of(no_key, size), span_of(no_key, size)};
	secret->count = 1;
}

static void
secret_of_user(struct conversation *c, struct scram_secret *secret)
{
	const struct password *p = &c->login.password;
	enum scram kind = c->mechanism->scram;

	secret->iterations = p->scram_iterations;
	secret->salt = p->scram_salt;
	secret->keys[secret->count++] = p->scram[kind];
	for (size_t i = 0; i < p->app_count; i++)
		if (p->app[i].scram[kind].stored.len > 0 &&
			app_password_is_for(&p->app[i], c->service))
			secret->keys[secret->count++] = p->app[i].scram[kind];
}

bool
claim_secret(void *me, const struct claim *claim, struct scram_secret *secret)
{
	struct conversation *c = me;
	struct auth *a = c->auth;

	identify(c, claim);
	if (!login_find(&c->login, a->users, a->passwords, a->learned))
		return false;
	if (c->fault == NULL && !c->login.known)
		c->fault = c->login.unknown_because;
	if (c->fault == NULL && (!c->login.has_password ||
					c->login.password.scram[c->mechanism->scram].stored.len == 0 ||
					!settings_has_source(a->daemon.settings, SPAN("users"))))
		c->fault = "no-scram-keys";
	if (c->fault == NULL)
		secret_of_user(c, secret);
	else
		secret_of_nobody(c, secret);
	return true;
}

/* --- names of certificates --- */

/* Hexadecimal in either case, with or without colons between the bytes. */
static bool
is_hex_of(struct span text, struct span bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		int high, low;

		if (i > 0)
			(void)span_take(&text, ':');
		high = text.len > 1 ? span_hex_value(text.at[0]) : -1;
		low = text.len > 1 ? span_hex_value(text.at[1]) : -1;
		if (high < 0 || low < 0 || bytes.at[i] != (unsigned char)(high << 4 | low))
			return false;
		text = span_part(text, 2, text.len);
	}
	return bytes.len > 0 && text.len == 0;
}

/* A list in valija.conf has commas between its members: in a subject ';' stands for one. */
static bool
is_subject(struct span text, struct span subject)
{
	if (text.len != subject.len || subject.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.at[i] != subject.at[i] && !(text.at[i] == ';' && subject.at[i] == ','))
			return false;
	return true;
}

/* Whom a certificate stands for, in words that a TLS worker sealed: who is written beside it in
 * certificate_users, then its rfc822Names. */
void
claim_note_names(struct conversation *c, const struct passport *p)
{
	const struct list *list = &c->auth->daemon.settings->certificate_users;

	if (!p->certificate_valid)
		return;
	for (size_t i = 0; i < list->count; i++) {
		size_t at = span_rindex(list->at[i], '=');
		struct span match = span_trim(span_part(list->at[i], 0, at));

		if (!is_hex_of(match, p->certificate_hash) && !is_hex_of(match, p->certificate_key) &&
			!is_subject(match, p->certificate_subject))
			continue;
		text_add(&c->named, span_trim(span_part(list->at[i], at + 1, list->at[i].len)));
		text_add_byte(&c->named, ',');
	}
	text_add(&c->named, p->certificate_mail);
}
