#include "credentials.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authorities.h"
#include "status.h"

#define MOST_END_POINT 64   /* SHA-512 */

/* One certificate, and what GnuTLS asks of its "private key". */
struct signer {
	const struct credentials *owner;
	struct chain chain;
	struct text names;            /* of the certificate, lower case, a comma behind each */
	struct text status;           /* OCSP response (DER), or empty */
	int64_t status_until;         /* from then on it is not shown any more */
	bool fetched;                 /* ocsp brought it */
	bool owed;                    /* clients refuse the certificate without one */
	unsigned char fingerprint[KEY_ID_SIZE];   /* SHA-256 of der */
	gnutls_datum_t der;           /* the certificate itself */
	unsigned char end_point[MOST_END_POINT];
	size_t end_point_len;
};

/* Certificates that were chosen together: bit i is signer[i]. */
struct set {
	uint64_t members;
	gnutls_certificate_credentials_t gnutls;
};

struct credentials {
	unsigned int holders;
	uint32_t generation;
	credentials_sign *sign;
	void *me;
	struct text authorities, revoked;     /* of clients, PEM */
	struct signer *signer[MOST_CERTIFICATES];
	unsigned int count;
	struct set set[MOST_SETS];
	unsigned int set_count;
};

struct credentials *
credentials_new(uint32_t generation, credentials_sign *sign, void *me)
{
	struct credentials *c = must_alloc(sizeof(*c));

	c->holders = 1;
	c->generation = generation;
	c->sign = sign;
	c->me = me;
	return c;
}

/* --- the key that is elsewhere --- */

static int
sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *userdata,
	unsigned int flags, const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
	const struct signer *s = userdata;

	(void)key;
	(void)flags;
	return s->owner->sign(s->owner->me, s->chain.key_id, algorithm, true, hash, signature);
}

static int
sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *userdata,
	unsigned int flags, const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	const struct signer *s = userdata;

	(void)key;
	(void)flags;
	return s->owner->sign(s->owner->me, s->chain.key_id, algorithm, false, data, signature);
}

static bool
curve_signs(unsigned int bits, gnutls_sign_algorithm_t algorithm)
{
	switch (algorithm) {
	case GNUTLS_SIGN_ECDSA_SECP256R1_SHA256:
		return bits == 256;
	case GNUTLS_SIGN_ECDSA_SECP384R1_SHA384:
		return bits == 384;
	case GNUTLS_SIGN_ECDSA_SECP521R1_SHA512:
		return bits == 521;
	default:
		return true;
	}
}

/* What the key can do; -1: we do not know that question. */
static int
tell(gnutls_privkey_t key, unsigned int flags, void *userdata)
{
	const struct signer *s = userdata;

	(void)key;
	if ((flags & GNUTLS_PRIVKEY_INFO_PK_ALGO) != 0)
		return (int)s->chain.kind;
	if ((flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS) != 0)
		return (int)s->chain.bits;
	if ((flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO) != 0) {
		gnutls_sign_algorithm_t algorithm = GNUTLS_FLAGS_TO_SIGN_ALGO(flags);

		return gnutls_sign_supports_pk_algorithm(algorithm, s->chain.kind) != 0 &&
			curve_signs(s->chain.bits, algorithm);
	}
	return -1;
}

/* --- sets --- */

/* Chain and external key go into a set. */
static int
hand_to_gnutls(gnutls_certificate_credentials_t set, struct signer *s)
{
	const struct chain *chain = &s->chain;
	gnutls_pcert_st *certificates = gnutls_calloc(chain->count, sizeof(*certificates));
	gnutls_privkey_t key = NULL;
	unsigned int made = 0;
	int error = GNUTLS_E_MEMORY_ERROR;

	if (certificates == NULL)
		return error;
	while (made < chain->count &&
	       (error = gnutls_pcert_import_x509(&certificates[made], chain->at[made], 0)) >= 0)
		made++;
	/* Both callbacks: GnuTLS 3.7.9 calls a missing one. */
	if (made == chain->count && (error = gnutls_privkey_init(&key)) >= 0 &&
		(error = gnutls_privkey_import_ext4(
			 key, s, sign_data, sign_hash, NULL, NULL, tell, 0)) >= 0 &&
		(error = gnutls_certificate_set_key(
			 set, NULL, 0, certificates, (int)chain->count, key)) >= 0) {
		/* The certificates were taken, the array was not. */
		gnutls_free(certificates);
		return error;
	}
	for (unsigned int i = 0; i < made; i++)
		gnutls_pcert_deinit(&certificates[i]);
	gnutls_free(certificates);
	if (key != NULL)
		gnutls_privkey_deinit(key);
	return error;
}

static bool
has_status(const struct signer *s)
{
	return s->status.len != 0 && s->status_until > (int64_t)time(NULL);
}

/* A gnutls_status_request_ocsp_func: the response to staple, which GnuTLS frees. */
static int
give_status(gnutls_session_t tls, void *arg, gnutls_datum_t *response)
{
	const struct signer *s = arg;

	(void)tls;
	if (!has_status(s))
		return GNUTLS_E_NO_CERTIFICATE_STATUS;
	if ((response->data = gnutls_malloc(s->status.len)) == NULL)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(response->data, s->status.at, s->status.len);
	response->size = (unsigned int)s->status.len;
	return 0;
}

static int
add_to_set(gnutls_certificate_credentials_t set, struct signer *s)
{
	int index = hand_to_gnutls(set, s);

	/* Asked in each handshake: responses come and go while the set lives. */
	return index < 0 ? index
		: gnutls_certificate_set_ocsp_status_request_function2(set, (unsigned int)index, give_status, s);
}

static int
add_clients_to_set(gnutls_certificate_credentials_t set, const struct credentials *c)
{
	gnutls_datum_t authorities = { c->authorities.at, (unsigned int)c->authorities.len },
		       revoked = { c->revoked.at, (unsigned int)c->revoked.len };
	int error = 0;

	if (authorities.size != 0)
		error = gnutls_certificate_set_x509_trust_mem(set, &authorities, GNUTLS_X509_FMT_PEM);
	if (error >= 0 && revoked.size != 0)
		error = gnutls_certificate_set_x509_crl_mem(set, &revoked, GNUTLS_X509_FMT_PEM);
	return error;
}

static int
set_make(struct credentials *c, uint64_t members, gnutls_certificate_credentials_t *made)
{
	static const gnutls_pk_algorithm_t order[] = { GNUTLS_PK_ECDSA, GNUTLS_PK_EDDSA_ED25519,
		GNUTLS_PK_RSA };
	gnutls_certificate_credentials_t set;
	int error;

	if ((error = gnutls_certificate_allocate_credentials(&set)) < 0)
		return error;
	/* The key cannot be asked for a trial signature: no session is announced for that. */
	gnutls_certificate_set_flags(set, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH |
		GNUTLS_CERTIFICATE_SKIP_OCSP_RESPONSE_CHECK | GNUTLS_CERTIFICATE_API_V2);
	error = add_clients_to_set(set, c);
	for (size_t kind = 0; kind < sizeof(order) / sizeof(order[0]); kind++)
		for (unsigned int i = 0; i < c->count && error >= 0; i++)
			if ((members >> i & 1) != 0 && c->signer[i]->chain.kind == order[kind])
				error = add_to_set(set, c->signer[i]);
	if (error < 0)
		gnutls_certificate_free_credentials(set);
	else
		*made = set;
	return error;
}

static gnutls_certificate_credentials_t
set_find(struct credentials *c, uint64_t members)
{
	for (unsigned int i = 0; i < c->set_count; i++)
		if (c->set[i].members == members)
			return c->set[i].gnutls;
	if (c->set_count == MOST_SETS ||
		set_make(c, members, &c->set[c->set_count].gnutls) < 0)
		return c->set_count > 0 ? c->set[0].gnutls : NULL;
	c->set[c->set_count].members = members;
	return c->set[c->set_count++].gnutls;
}

/* --- names --- */

static bool
has_name(const struct signer *s, struct span name)
{
	struct span names = text_span(&s->names), one;

	while (span_take_until(&names, ',', &one))
		if (span_equal(one, name))
			return true;
	return false;
}

/* Does `*.rest` stand in it, where the name is `label.rest`? */
static bool
has_wildcard(const struct signer *s, struct span name)
{
	struct span names = text_span(&s->names), one;
	size_t dot = span_index(name, '.');

	if (dot == 0 || dot == name.len)
		return false;
	name = span_part(name, dot, name.len);
	while (span_take_until(&names, ',', &one))
		if (one.len > 1 && one.at[0] == '*' && span_equal(span_part(one, 1, one.len), name))
			return true;
	return false;
}

static bool
has_kind(const struct credentials *c, uint64_t members, gnutls_pk_algorithm_t kind)
{
	for (unsigned int i = 0; i < c->count; i++)
		if ((members >> i & 1) != 0 && c->signer[i]->chain.kind == kind)
			return true;
	return false;
}

static uint64_t
members_for(const struct credentials *c, struct span name)
{
	uint64_t exact = 0, wild = 0;

	for (unsigned int i = 0; i < c->count && name.len != 0; i++)
		if (has_name(c->signer[i], name))
			exact |= (uint64_t)1 << i;
	for (unsigned int i = 0; i < c->count && name.len != 0; i++)
		if (!has_kind(c, exact, c->signer[i]->chain.kind) && has_wildcard(c->signer[i], name))
			wild |= (uint64_t)1 << i;
	return exact | wild;
}

/* RFC 7633: a certificate that must come with a response is useless without. Left out, unless there is no
 * other: then it is for the client to mind. */
static uint64_t
without_useless(const struct credentials *c, uint64_t members)
{
	uint64_t useful = members;

	for (unsigned int i = 0; i < c->count; i++)
		if (c->signer[i]->owed && !has_status(c->signer[i]))
			useful &= ~((uint64_t)1 << i);
	return useful != 0 ? useful : members;
}

gnutls_certificate_credentials_t
credentials_choose(struct credentials *c, struct span name, struct span otherwise)
{
	struct span names = text_span(&c->signer[0]->names), first = SPAN_NONE;
	uint64_t members = members_for(c, name);

	if (members == 0)
		members = members_for(c, otherwise);
	if (members == 0 && span_take_until(&names, ',', &first))
		members = members_for(c, first);
	if (members == 0)
		members = 1;
	/* Who can only RSA is better served under a wrong name, which many servers of mail do not mind,
	 * than not at all; all others never get it, as it comes last. */
	for (unsigned int i = 0; i < c->count && !has_kind(c, members, GNUTLS_PK_RSA); i++)
		if (c->signer[i]->chain.kind == GNUTLS_PK_RSA)
			members |= (uint64_t)1 << i;
	return set_find(c, without_useless(c, members));
}

static void
add_name(struct text *names, const unsigned char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text_add_byte(names, at[i] >= 'A' && at[i] <= 'Z' ? at[i] | 0x20 : at[i]);
	text_add_byte(names, ',');
}

/* DNS names; without any, the common name. What holds a comma is nobody's name. */
static void
collect_names(gnutls_x509_crt_t crt, struct text *names)
{
	unsigned char raw[256];
	size_t size;
	int kind;

	for (unsigned int i = 0; i < MOST_CERTIFICATE_NAMES; i++) {
		size = sizeof(raw);
		kind = gnutls_x509_crt_get_subject_alt_name(crt, i, raw, &size, NULL);
		if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (kind == GNUTLS_SAN_DNSNAME && !span_has(span_of(raw, size), ','))
			add_name(names, raw, size);
	}
	size = sizeof(raw);
	if (names->len == 0 && gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0,
		raw, &size) >= 0 && !span_has(span_of(raw, size), ','))
		add_name(names, raw, size);
}

/* --- what belongs to them --- */

/* RFC 5929 4.1: the hash of the certificate's own signature, SHA-256 in place of MD5 and SHA-1; not
 * defined for signatures that name none (Ed25519). */
static int
learn_end_point(struct signer *s)
{
	int algorithm = gnutls_x509_crt_get_signature_algorithm(s->chain.at[0]);
	gnutls_digest_algorithm_t digest = algorithm < 0 ? GNUTLS_DIG_UNKNOWN
		: gnutls_sign_get_hash_algorithm((gnutls_sign_algorithm_t)algorithm);
	int error = gnutls_x509_crt_export2(s->chain.at[0], GNUTLS_X509_FMT_DER, &s->der);

	if (error >= 0)
		error = gnutls_hash_fast(GNUTLS_DIG_SHA256, s->der.data, s->der.size, s->fingerprint);
	if (digest == GNUTLS_DIG_MD5 || digest == GNUTLS_DIG_SHA1)
		digest = GNUTLS_DIG_SHA256;
	if (error < 0 || digest == GNUTLS_DIG_UNKNOWN || digest == GNUTLS_DIG_NULL ||
		gnutls_hash_get_len(digest) > MOST_END_POINT)
		return error;
	s->end_point_len = gnutls_hash_get_len(digest);
	return gnutls_hash_fast(digest, s->der.data, s->der.size, s->end_point);
}

struct span
credentials_end_point(const struct credentials *c, const gnutls_datum_t *der)
{
	for (unsigned int i = 0; i < c->count && der != NULL; i++) {
		const struct signer *s = c->signer[i];

		if (span_equal(span_of(s->der.data, s->der.size), span_of(der->data, der->size)))
			return span_of(s->end_point, s->end_point_len);
	}
	return SPAN_NONE;
}

int
credentials_add(struct credentials *c, int chain_fd, struct text *why)
{
	struct signer *s;
	gnutls_certificate_credentials_t set;
	int error;

	if (c->count >= MOST_CERTIFICATES) {
		text_printf(why, "more than %d certificates", MOST_CERTIFICATES);
		return -1;
	}
	s = must_alloc(sizeof(*s));
	s->owner = c;
	s->names = (struct text)TEXT_UP_TO(MOST_CERTIFICATE_NAMES * 256);
	if (chain_read(chain_fd, &s->chain, why) < 0) {
		free(s);
		return -1;
	}
	collect_names(s->chain.at[0], &s->names);
	s->owed = status_is_owed(&s->chain);
	c->signer[c->count++] = s;
	/* Once alone, so that what GnuTLS minds is heard of now. */
	error = learn_end_point(s);
	if (error >= 0 && (error = set_make(c, (uint64_t)1 << (c->count - 1), &set)) >= 0) {
		gnutls_certificate_free_credentials(set);
		return 0;
	}
	text_printf(why, "the certificate cannot be served: %s", gnutls_strerror(error));
	c->count--;
	chain_clear(&s->chain);
	gnutls_free(s->der.data);
	text_clear(&s->names);
	free(s);
	return -1;
}

/* Takes a response for one certificate, if it is good now. */
static int
take_status(struct signer *s, struct span der, struct text *why)
{
	struct status_facts facts;

	if (status_judge(der, &s->chain, time(NULL), &facts, why) < 0)
		return -1;
	text_clear(&s->status);
	if (facts.word != STATUS_GOOD) {
		text_printf(why, "the certificate is revoked");
		return -1;
	}
	s->status = TEXT_UP_TO(MOST_STATUS_RESPONSE);
	text_add(&s->status, der);
	s->status_until = facts.until;
	s->fetched = false;
	return 0;
}

int
credentials_add_status(struct credentials *c, unsigned int number, int fd, struct text *why)
{
	struct text der = TEXT_UP_TO(0);
	int result = -1;

	if (number >= c->count)
		text_printf(why, "there is no such certificate");
	else if (chain_read_file(fd, "the OCSP response", MOST_STATUS_RESPONSE, &der, why) == 0)
		result = take_status(c->signer[number], text_span(&der), why);
	text_clear(&der);
	return result;
}

int
credentials_staple(struct credentials *c, struct span fingerprint, struct span der, struct text *why)
{
	int result = 0;

	for (unsigned int i = 0; i < c->count; i++)
		if (span_equal(fingerprint, span_of(c->signer[i]->fingerprint, sizeof(c->signer[i]->fingerprint)))) {
			if (take_status(c->signer[i], der, why) < 0)
				result = -1;
			else
				c->signer[i]->fetched = true;
		}
	return result;
}

void
credentials_inherit_staples(struct credentials *c, const struct credentials *before)
{
	for (unsigned int i = 0; i < c->count; i++)
		for (unsigned int k = 0; k < before->count && c->signer[i]->status.len == 0; k++) {
			const struct signer *old = before->signer[k];

			if (!old->fetched || memcmp(old->fingerprint, c->signer[i]->fingerprint, KEY_ID_SIZE) != 0)
				continue;
			text_clear(&c->signer[i]->status);
			c->signer[i]->status = TEXT_UP_TO(MOST_STATUS_RESPONSE);
			text_add(&c->signer[i]->status, text_span(&old->status));
			c->signer[i]->status_until = old->status_until;
			c->signer[i]->fetched = true;
		}
}

int
credentials_add_clients(struct credentials *c, bool revoked, int fd, struct text *why)
{
	struct text *pem = revoked ? &c->revoked : &c->authorities;

	text_clear(pem);
	if (authorities_read(fd, revoked, pem, why) == 0)
		return 0;
	text_clear(pem);
	return -1;
}

/* --- life --- */

struct credentials *
credentials_hold(struct credentials *c)
{
	c->holders++;
	return c;
}

void
credentials_drop(struct credentials **held)
{
	struct credentials *c = *held;

	*held = NULL;
	if (c == NULL || --c->holders > 0)
		return;
	for (unsigned int i = 0; i < c->set_count; i++)
		gnutls_certificate_free_credentials(c->set[i].gnutls);
	for (unsigned int i = 0; i < c->count; i++) {
		chain_clear(&c->signer[i]->chain);
		text_clear(&c->signer[i]->names);
		text_clear(&c->signer[i]->status);
		gnutls_free(c->signer[i]->der.data);
		free(c->signer[i]);
	}
	text_clear(&c->authorities);
	text_clear(&c->revoked);
	free(c);
}

uint32_t
credentials_generation(const struct credentials *c)
{
	return c->generation;
}

unsigned int
credentials_count(const struct credentials *c)
{
	return c->count;
}

bool
credentials_asks_clients(const struct credentials *c)
{
	return c->authorities.len != 0;
}
