#include "users.h"

#include <string.h>

/*
 * Records in the tables, little-endian:
 *   users.db    u8 version 2, u8 flags, u32 uid, u32 gid, u64 quota, u64 quota in messages, u64 created,
 *               u64 expires, u16 length, home
 *   passwd.db   u8 version 2, u64 changed, hash, u32 iterations, salt, keys, u8 count of application
 *               passwords, each: name, u8 services, u64 created, hash, keys. keys: for each kind
 *               stored and server. Bytes have a u16 length before them.
 * Version 1 had neither the second quota nor expires, and nothing after the hash. A record of another
 * version, with something left over, or over a ceiling is none of ours.
 */
#define USER_VERSION	 2
#define PASSWORD_VERSION 2
#define USER_DISABLED	 0x01
#define MOST_FILE_NAME	 255

static void
add_number(struct text *to, uint64_t n, unsigned int bytes)
{
	while (bytes-- > 0) {
		text_add_byte(to, (unsigned char)(n & 0xff));
		n >>= 8;
	}
}

static bool
take_number(struct span *in, unsigned int bytes, uint64_t *n)
{
	struct span part;
	uint64_t value = 0;

	if (!span_take_bytes(in, bytes, &part))
		return false;
	while (bytes-- > 0)
		value = value << 8 | part.at[bytes];
	*n = value;
	return true;
}

static void
add_bytes(struct text *to, struct span s, size_t most)
{
	if (s.len > most) {
		to->failed = true;
		return;
	}
	add_number(to, s.len, 2);
	text_add(to, s);
}

static bool
take_bytes(struct span *in, size_t most, struct span *s)
{
	uint64_t len;

	return take_number(in, 2, &len) && len <= most && span_take_bytes(in, (size_t)len, s);
}

void
user_encode(const struct user *u, struct text *to)
{
	text_add_byte(to, USER_VERSION);
	text_add_byte(to, u->disabled ? USER_DISABLED : 0);
	add_number(to, u->uid, 4);
	add_number(to, u->gid, 4);
	add_number(to, u->quota_bytes, 8);
	add_number(to, u->quota_messages, 8);
	add_number(to, u->created, 8);
	add_number(to, u->expires, 8);
	add_bytes(to, u->home, MOST_PATH_FIELD);
}

bool
user_decode(struct span key, struct span value, struct user *u)
{
	uint64_t version, flags, uid, gid;
	struct user got = {.address = key};

	if (key.len == 0 || key.len > MOST_ADDRESS)
		return false;
	if (!take_number(&value, 1, &version) || version < 1 || version > USER_VERSION ||
		!take_number(&value, 1, &flags) || (flags & ~(uint64_t)USER_DISABLED) != 0 ||
		!take_number(&value, 4, &uid) || !take_number(&value, 4, &gid) ||
		!take_number(&value, 8, &got.quota_bytes) ||
		(version >= 2 && !take_number(&value, 8, &got.quota_messages)) ||
		!take_number(&value, 8, &got.created) ||
		(version >= 2 && !take_number(&value, 8, &got.expires)) ||
		!take_bytes(&value, MOST_PATH_FIELD, &got.home) || value.len != 0)
		return false;
	/* A home is a path for others: never empty, never with a NUL. */
	if (got.home.len == 0 || span_has(got.home, '\0'))
		return false;
	got.uid = (uint32_t)uid;
	got.gid = (uint32_t)gid;
	got.disabled = (flags & USER_DISABLED) != 0;
	*u = got;
	return true;
}

size_t
scram_key_size(enum scram kind)
{
	return kind == SCRAM_SHA1 ? 20 : 32;
}

static void
add_keys(struct text *to, const struct scram_keys keys[SCRAM_COUNT])
{
	for (enum scram i = 0; i < SCRAM_COUNT; i++) {
		add_bytes(to, keys[i].stored, scram_key_size(i));
		add_bytes(to, keys[i].server, scram_key_size(i));
	}
}

static bool
take_keys(struct span *in, struct scram_keys keys[SCRAM_COUNT])
{
	for (enum scram i = 0; i < SCRAM_COUNT; i++) {
		if (!take_bytes(in, scram_key_size(i), &keys[i].stored) ||
			!take_bytes(in, scram_key_size(i), &keys[i].server))
			return false;
		/* Whole, or not at all. */
		if (keys[i].stored.len != keys[i].server.len ||
			(keys[i].stored.len != 0 && keys[i].stored.len != scram_key_size(i)))
			return false;
	}
	return true;
}

void
password_encode(const struct password *p, struct text *to)
{
	text_add_byte(to, PASSWORD_VERSION);
	add_number(to, p->changed, 8);
	add_bytes(to, p->hash, MOST_HASH);
	add_number(to, p->scram_iterations, 4);
	add_bytes(to, p->scram_salt, SCRAM_SALT);
	add_keys(to, p->scram);
	text_add_byte(to, (unsigned char)p->app_count);
	for (size_t i = 0; i < p->app_count; i++) {
		const struct app_password *a = &p->app[i];

		add_bytes(to, a->name, MOST_APP_NAME);
		text_add_byte(to, a->services);
		add_number(to, a->created, 8);
		add_bytes(to, a->hash, SCRAM_MOST_KEY);
		add_keys(to, a->scram);
	}
}

static bool
take_app(struct span *in, struct app_password *a)
{
	uint64_t services;

	if (!take_bytes(in, MOST_APP_NAME, &a->name) || !take_number(in, 1, &services) ||
		!take_number(in, 8, &a->created) || !take_bytes(in, SCRAM_MOST_KEY, &a->hash) ||
		!take_keys(in, a->scram))
		return false;
	a->services = (uint8_t)services;
	return a->name.len > 0 && span_is_printable(a->name) && a->hash.len == SCRAM_MOST_KEY;
}

/* What came with version 2. */
static bool
take_more(struct span *in, struct password *p)
{
	uint64_t iterations, count;

	if (!take_number(in, 4, &iterations) || !take_bytes(in, SCRAM_SALT, &p->scram_salt) ||
		(p->scram_salt.len != 0 && p->scram_salt.len != SCRAM_SALT) ||
		!take_keys(in, p->scram) || !take_number(in, 1, &count) ||
		count > MOST_APP_PASSWORDS)
		return false;
	p->scram_iterations = (uint32_t)iterations;
	for (p->app_count = 0; p->app_count < count; p->app_count++)
		if (!take_app(in, &p->app[p->app_count]))
			return false;
	return true;
}

bool
password_decode(struct span value, struct password *p)
{
	uint64_t version;

	memset(p, 0, sizeof(*p));
	if (!take_number(&value, 1, &version) || version < 1 || version > PASSWORD_VERSION ||
		!take_number(&value, 8, &p->changed) || !take_bytes(&value, MOST_HASH, &p->hash) ||
		(version >= 2 && !take_more(&value, p)) || value.len != 0)
		return false;
	p->stored = p->hash;
	return p->hash.len > 0 && span_is_printable(p->hash);
}

static bool
is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       memchr("-_.+=", c, 5) != NULL;
}

/* One component of the home: '%' itself is escaped, so two keys never share a home; no component
 * is empty, begins with a dot, or holds a slash. */
static bool
add_component(struct text *to, struct span part)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t before = to->len;

	if (part.len == 0)
		return false;
	for (size_t i = 0; i < part.len; i++) {
		unsigned char c = part.at[i];
		if (is_plain(c) && !(c == '.' && i == 0)) {
			text_add_byte(to, c);
		} else {
			text_add_byte(to, '%');
			text_add_byte(to, (unsigned char)hex[c >> 4]);
			text_add_byte(to, (unsigned char)hex[c & 15]);
		}
	}
	return !to->failed && to->len - before <= MOST_FILE_NAME;
}

bool
user_home(struct span key, struct text *to)
{
	size_t at = span_rindex(key, '@');

	if (at == key.len)
		return false;
	if (!add_component(to, span_part(key, at + 1, key.len)))
		return false;
	text_add_byte(to, '/');
	return add_component(to, span_part(key, 0, at));
}
