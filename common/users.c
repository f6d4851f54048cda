#include "users.h"

#include <string.h>

/*
 * Records in the tables, little-endian:
 *   users.db    u8 version, u8 flags, u32 uid, u32 gid, u64 quota, u64 created, u16 length, home
 *   passwd.db   u8 version, u64 changed, u16 length, hash
 * A record of another version, with something left over, or over a ceiling is none of ours.
 */
#define USER_VERSION	 1
#define PASSWORD_VERSION 1
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
	add_number(to, u->created, 8);
	add_bytes(to, u->home, MOST_PATH_FIELD);
}

bool
user_decode(struct span key, struct span value, struct user *u)
{
	uint64_t version, flags, uid, gid, quota, created;
	struct span home;

	if (key.len == 0 || key.len > MOST_ADDRESS)
		return false;
	if (!take_number(&value, 1, &version) || version != USER_VERSION ||
		!take_number(&value, 1, &flags) || (flags & ~(uint64_t)USER_DISABLED) != 0 ||
		!take_number(&value, 4, &uid) || !take_number(&value, 4, &gid) ||
		!take_number(&value, 8, &quota) || !take_number(&value, 8, &created) ||
		!take_bytes(&value, MOST_PATH_FIELD, &home) || value.len != 0)
		return false;
	/* A home is a path for others: never empty, never with a NUL. */
	if (home.len == 0 || span_has(home, '\0'))
		return false;
	u->address = key;
	u->home = home;
	u->uid = (uint32_t)uid;
	u->gid = (uint32_t)gid;
	u->quota_bytes = quota;
	u->created = created;
	u->disabled = (flags & USER_DISABLED) != 0;
	return true;
}

void
password_encode(const struct password *p, struct text *to)
{
	text_add_byte(to, PASSWORD_VERSION);
	add_number(to, p->changed, 8);
	add_bytes(to, p->hash, MOST_HASH);
}

bool
password_decode(struct span value, struct password *p)
{
	uint64_t version, changed;
	struct span hash;

	if (!take_number(&value, 1, &version) || version != PASSWORD_VERSION ||
		!take_number(&value, 8, &changed) || !take_bytes(&value, MOST_HASH, &hash) ||
		value.len != 0)
		return false;
	if (hash.len == 0 || !span_is_printable(hash))
		return false;
	p->hash = hash;
	p->changed = changed;
	return true;
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
