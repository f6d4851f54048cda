/* login - see login.h. */
#include "login.h"

#include <string.h>

#include "common/address.h"

void
login_init(struct login *l)
{
	memset(l, 0, sizeof(*l));
	l->key = TEXT_UP_TO(MOST_ADDRESS);
	l->user_record = TEXT_UP_TO(LOGIN_MOST_RECORD);
	l->password_record = TEXT_UP_TO(LOGIN_MOST_RECORD);
}

void
login_clear(struct login *l)
{
	text_clear(&l->key);
	text_clear(&l->user_record);
	text_wipe(&l->password_record);
	login_init(l);
}

bool
login_key(struct span name, const struct settings *s, struct text *key)
{
	struct text whole = TEXT_UP_TO(MOST_ADDRESS);
	struct address address;
	struct span in;
	bool ok;

	text_add(&whole, name);
	if (!span_has(name, '@') && s->domains.count > 0) {
		text_add_byte(&whole, '@');
		text_add(&whole, s->domains.at[0]);
	}
	in = text_span(&whole);
	ok = !whole.failed && address_take_mailbox(&in, true, &address) == ADDRESS_OK &&
	     in.len == 0 && address_key(&address, key);
	text_clear(&whole);
	return ok;
}

bool
login_find(struct login *l, struct table *users, struct table *passwords)
{
	struct span key = text_span(&l->key);
	enum table_result user = table_get(users, key, &l->user_record);
	/* Asked for in any case: whether somebody exists must not show in the time. */
	enum table_result password = table_get(passwords, key, &l->password_record);

	l->known = false;
	if (user == TABLE_ERROR || password == TABLE_ERROR)
		return false;
	/* A record that does not decode is absent. */
	if (user != TABLE_FOUND || !user_decode(key, text_span(&l->user_record), &l->user))
		l->unknown_because = "unknown-user";
	else if (password != TABLE_FOUND ||
		 !password_decode(text_span(&l->password_record), &l->password))
		l->unknown_because = "no-password";
	else if (l->user.disabled)
		l->unknown_because = "disabled";
	else
		l->known = true;
	return true;
}
