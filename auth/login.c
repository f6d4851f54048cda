/* login - see login.h. */
#include "login.h"

#include <string.h>
#include <time.h>

#include "common/address.h"
#include "common/log.h"
#include "learned.h"

void
login_init(struct login *l)
{
	memset(l, 0, sizeof(*l));
	l->key = TEXT_UP_TO(MOST_ADDRESS);
	l->user_record = TEXT_UP_TO(LOGIN_MOST_RECORD);
	l->password_record = TEXT_UP_TO(LOGIN_MOST_RECORD);
	l->learned = TEXT_UP_TO(LOGIN_MOST_RECORD);
	l->home = TEXT_UP_TO(MOST_PATH_FIELD);
}

void
login_clear(struct login *l)
{
	text_clear(&l->key);
	text_clear(&l->user_record);
	text_clear(&l->home);
	text_wipe(&l->learned);
	text_wipe(&l->password_record);
	login_init(l);
}

/* `name` with a domain, as a key. */
static bool
make_key(struct span name, struct span domain, struct text *key)
{
	struct text whole = TEXT_UP_TO(MOST_ADDRESS);
	struct address address;
	struct span in;
	bool ok;

	text_add(&whole, name);
	if (domain.len > 0) {
		text_add_byte(&whole, '@');
		text_add(&whole, domain);
	}
	in = text_span(&whole);
	ok = !whole.failed && address_take_mailbox(&in, true, &address) == ADDRESS_OK &&
	     in.len == 0 && address_key(&address, key);
	text_clear(&whole);
	return ok;
}

/* What is added to a name without one. */
static struct span
default_domain(const struct settings *s)
{
	if (s->domains.count > 0)
		return s->domains.at[0];
	return s->system_users && s->system_domains.count > 0 ? s->system_domains.at[0] : SPAN_NONE;
}

bool
login_key(struct span name, const struct settings *s, struct text *key)
{
	return make_key(name, span_has(name, '@') ? SPAN_NONE : default_domain(s), key);
}

bool
login_name(struct login *l, struct span name, const struct settings *s)
{
	l->bare = !span_has(name, '@');
	return login_key(name, s, &l->key);
}

bool
login_find(
	struct login *l, struct table *users, struct table *passwords, struct table *learned)
{
	struct span key = text_span(&l->key);
	enum table_result user = table_get(users, key, &l->user_record);
	/* Asked for in any case: whether somebody exists must not show in the time. */
	enum table_result password = table_get(passwords, key, &l->password_record);

	l->known = l->has_password = false;
	if (user == TABLE_ERROR || password == TABLE_ERROR)
		return false;
	/* Nothing of a record that does not decode is believed. That it is there is our fault: it must not cost him
	 * what a wrong password costs. */
	if ((user == TABLE_FOUND && !user_decode(key, text_span(&l->user_record), &l->user)) ||
		(password == TABLE_FOUND && !password_decode(text_span(&l->password_record), &l->password))) {
		log_error(0, "user-record-damaged", KEY_SPAN("user", key));
		return false;
	}
	if (user != TABLE_FOUND)
		l->unknown_because = "unknown-user";
	else if (l->user.disabled)
		l->unknown_because = "disabled";
	else if (l->user.expires != 0 && l->user.expires <= (uint64_t)time(NULL))
		l->unknown_because = "expired";
	else
		l->known = true;
	l->has_password = l->known && password == TABLE_FOUND;
	if (l->has_password)
		learned_use(learned, key, &l->learned, &l->password);
	return true;
}

static struct span
domain_of(struct span key)
{
	return span_part(key, span_rindex(key, '@') + 1, key.len);
}

static struct span
local_of(struct span key)
{
	return span_part(key, 0, span_rindex(key, '@'));
}

bool
login_may_be_system(struct login *l, const struct settings *s, struct span *name)
{
	struct text bare = TEXT_UP_TO(MOST_ADDRESS);
	bool ok = true;

	if (!s->system_users || s->system_domains.count == 0 ||
		!span_equal(span_str(l->unknown_because), SPAN("unknown-user")))
		return false;
	if (l->bare && !settings_is_system_domain(s, domain_of(text_span(&l->key)))) {
		text_add(&bare, local_of(text_span(&l->key)));
		text_reset(&l->key);
		ok = make_key(text_span(&bare), s->system_domains.at[0], &l->key);
	}
	text_clear(&bare);
	*name = local_of(text_span(&l->key));
	return ok && settings_is_system_domain(s, domain_of(text_span(&l->key)));
}

void
login_system(struct login *l, const struct msg_name_told *told)
{
	if (!told->known)
		return;
	text_reset(&l->home);
	text_add(&l->home, told->home);
	l->user = (struct user){.address = text_span(&l->key),
		.home = text_span(&l->home),
		.uid = told->uid,
		.gid = told->gid};
	l->known = l->system = true;
}

struct span
login_pam_name(const struct login *l, const struct settings *s)
{
	struct span key = text_span(&l->key);

	return settings_is_system_domain(s, domain_of(key)) ? local_of(key) : key;
}
