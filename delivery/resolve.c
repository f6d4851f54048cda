/* resolve - see resolve.h. */
#include "resolve.h"

#include "common/address.h"
#include "common/log.h"
#include "common/message.h"
#include "common/users.h"

#include <arpa/inet.h>
#include <string.h>

void
resolver_init(struct resolver *r, struct table *users)
{
	r->users = users;
	r->first = TEXT_UP_TO(MOST_ADDRESS);
}

void
resolver_clear(struct resolver *r)
{
	text_clear(&r->first);
}

void
resolved_init(struct resolved *r)
{
	memset(r, 0, sizeof(*r));
	r->home = TEXT_UP_TO(MOST_PATH_FIELD);
}

void
resolved_clear(struct resolved *r)
{
	text_clear(&r->home);
}

static void
nowhere(struct resolved *to, struct verdict v)
{
	to->leads = LEADS_NOWHERE;
	to->verdict = v;
}

/* What the table says is as untrusted as anything that was read. */
static bool
usable(const struct user *u)
{
	return u->home.len > 0 && u->home.len <= MOST_PATH_FIELD && !span_has(u->home, 0);
}

/* Looks `key` up. FOUND with *to filled, also for a disabled user; NONE; ERROR. */
static enum table_result
look_up(struct resolver *r, struct span key, struct resolved *to)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	enum table_result result = table_get(r->users, key, &value);
	struct user u;

	if (result == TABLE_FOUND && (!user_decode(key, text_span(&value), &u) || !usable(&u))) {
		log_error(0, "user-record-damaged", KEY_SPAN("user", key));
		result = TABLE_NONE;
	}
	if (result == TABLE_FOUND && u.disabled) {
		nowhere(to, V_DISABLED_USER);
	} else if (result == TABLE_FOUND) {
		text_reset(&to->home);
		text_add(&to->home, u.home);
		to->uid = u.uid;
		to->gid = u.gid;
		to->leads = LEADS_HERE;
		to->verdict = V_RECIPIENT;
	}
	text_clear(&value);
	return result;
}

struct first_seen {
	struct text *key;
	uint64_t created;
	bool any;
};

static bool
earlier_user(void *me, struct span key, struct span value)
{
	struct first_seen *first = me;
	struct user u;

	if (!user_decode(key, value, &u) || u.disabled || !usable(&u) ||
	    (first->any && u.created >= first->created))
		return true;
	first->any = true;
	first->created = u.created;
	text_reset(first->key);
	text_add(first->key, key);
	return true;
}

/* The first user that was added, so long as it is there; looked for anew when it is not. */
static bool
first_user(struct resolver *r, struct resolved *to)
{
	struct first_seen first = { &r->first, 0, false };

	if (r->first.len > 0 && look_up(r, text_span(&r->first), to) == TABLE_FOUND &&
	    to->leads == LEADS_HERE)
		return true;
	text_reset(&r->first);
	return table_each(r->users, earlier_user, &first) == 0 && first.any &&
		look_up(r, text_span(&r->first), to) == TABLE_FOUND && to->leads == LEADS_HERE;
}

static bool
key_of(struct span mailbox, struct text *key)
{
	struct address a;

	return address_take_mailbox(&mailbox, true, &a) == ADDRESS_OK && mailbox.len == 0 &&
		address_key(&a, key);
}

/* Mail for postmaster always reaches somebody (RFC 5321 4.5.1, RFC 2142 section 5). */
static void
resolve_postmaster(struct resolver *r, const struct settings *settings, struct resolved *to)
{
	struct text key = TEXT_UP_TO(MOST_ADDRESS);

	if (settings->postmaster.len > 0 &&
		(!key_of(settings->postmaster, &key) ||
			look_up(r, text_span(&key), to) != TABLE_FOUND ||
			to->leads != LEADS_HERE)) {
		log_warning(
			0, "postmaster-is-nobody", KEY_SPAN("postmaster", settings->postmaster));
		to->leads = LEADS_NOWHERE;
	}
	text_clear(&key);
	if (to->leads == LEADS_HERE || first_user(r, to))
		return;
	log_error(0, "nobody-is-postmaster", KEY_STR("reason", "there is no user yet"));
	nowhere(to, V_MISCONFIGURED);
}

static void
resolve_local(struct resolver *r, const struct settings *settings, const struct address *a,
	struct resolved *to)
{
	struct text key = TEXT_UP_TO(MOST_ADDRESS);
	enum table_result found = TABLE_NONE;

	if (address_key(a, &key))
		found = look_up(r, text_span(&key), to);
	text_clear(&key);
	if (found == TABLE_ERROR) {
		log_error(0, "users-unreadable", KEY_STR("table", USERS_TABLE));
		nowhere(to, V_LATER);
	} else if (found == TABLE_NONE && (span_equal_nocase(a->local, SPAN("postmaster")) ||
	    span_equal_nocase(a->local, SPAN("abuse")))) {
		resolve_postmaster(r, settings, to);
	} else if (found == TABLE_NONE) {
		nowhere(to, V_UNKNOWN_USER);
	}
}

/* An address literal that a relay could connect to: IPv4 or IPv6 (RFC 5321 4.1.3), and not this
 * machine itself or nobody at all. */
static bool
literal_leads_elsewhere(struct span domain)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct in_addr four;
	struct in6_addr six;

	if (!span_take(&domain, '[') || domain.len < 1 || domain.at[domain.len - 1] != ']')
		return false;
	domain.len--;
	if (span_take_word(&domain, SPAN("IPv6:"))) {
		if (!span_copy(domain, text, sizeof(text)) || inet_pton(AF_INET6, text, &six) != 1)
			return false;
		if (IN6_IS_ADDR_V4MAPPED(&six) || IN6_IS_ADDR_V4COMPAT(&six))
			return false; /* covers :: and ::1 */
		return !IN6_IS_ADDR_MULTICAST(&six) && !IN6_IS_ADDR_LINKLOCAL(&six) &&
			!IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_UNSPECIFIED(&six);
	}
	if (!span_copy(domain, text, sizeof(text)) || inet_pton(AF_INET, text, &four) != 1)
		return false;
	uint32_t first = ntohl(four.s_addr) >> 24;

	return first != 0 && first != 127 && first < 224;
}

void
resolve(struct resolver *r, const struct settings *settings, struct span address, bool utf8,
	bool may_relay, struct resolved *to)
{
	struct span rest = address;
	struct address a;
	bool bare = span_equal_nocase(address, SPAN("postmaster"));

	nowhere(to, V_BAD_RECIPIENT);
	if (bare) {
		resolve_postmaster(r, settings, to);
		return;
	}
	if (address_take_mailbox(&rest, utf8, &a) != ADDRESS_OK || rest.len != 0)
		return;
	if (!a.literal && settings_is_local_domain(settings, a.domain)) {
		resolve_local(r, settings, &a, to);
	} else if (!may_relay) {
		nowhere(to, V_NO_RELAY);
	} else if (a.literal && !literal_leads_elsewhere(a.domain)) {
		nowhere(to, V_BAD_LITERAL);
	} else {
		to->leads = LEADS_ELSEWHERE;
		to->verdict = V_RECIPIENT;
	}
}
