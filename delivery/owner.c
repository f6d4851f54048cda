/* owner - see owner.h. */
#include "owner.h"

#include "common/address.h"
#include "common/alias.h"
#include "common/message.h"
#include "resolve_inside.h"

#include <string.h>

static bool
is_trouble(const struct resolution *r)
{
	return r->count == 0 && r->verdict.outcome == LATER;
}

/* The mailbox of the login is among those that the sender's address leads to. */
static enum owner
leads_to_login(struct resolver *r, const struct settings *s, struct span login, struct span sender)
{
	struct resolution mine, theirs;
	enum owner may = OWNER_NO;
	const struct resolver_asks *asks = r->asks;
	/* Where somebody has his mail sent on to does not take it from him. */
	struct resolver_asks names_only = { asks != NULL ? asks->name : NULL, resolver_no_forward };

	r->asks = asks != NULL ? &names_only : NULL;
	resolution_init(&mine);
	resolution_init(&theirs);
	resolve_again(r, s, login, &mine);
	/* Never what leads out of our own domains: whoever may relay would own it. */
	if (mine.count == 1 && mine.at[0].leads == LEADS_HERE)
		resolve(r, s, sender, true, false, &theirs);
	for (uint32_t i = 0; i < theirs.count && may == OWNER_NO; i++)
		if (theirs.at[i].leads == LEADS_HERE && strcmp(theirs.at[i].home, mine.at[0].home) == 0)
			may = OWNER_YES;
	r->asks = asks;
	if (may == OWNER_NO && (mine.waits || theirs.waits || is_trouble(&mine) || is_trouble(&theirs)))
		may = OWNER_NOT_KNOWN;
	resolution_clear(&mine);
	resolution_clear(&theirs);
	return may;
}

/* "a@example.org, @other.example": whole addresses, and all of a domain. */
static bool
is_granted(struct resolver *r, struct span login, struct span sender)
{
	struct text value = TEXT_UP_TO(MOST_TABLE_VALUE), word = TEXT_UP_TO(MOST_ALIAS_MEMBER),
		    key = TEXT_UP_TO(MOST_ALIAS_KEY);
	struct alias_member m;
	const char *why;
	struct span in;
	bool granted = false;

	if (plain_get(r, TABLE_SENDERS, login, &value)) {
		in = text_span(&value);
		while (!granted && alias_member_take(&in, &word, &m, &why) > 0)
			granted = m.kind == ALIAS_ADDRESS && alias_key(m.text, &key) &&
				(span_equal(text_span(&key), sender) ||
					(key.at[0] == '@' &&
						span_equal(text_span(&key),
							span_part(sender,
								span_rindex(sender, '@'),
								sender.len))));
	}
	text_clear(&value);
	text_clear(&word);
	text_clear(&key);
	return granted;
}

bool
owner_is_asked(const struct settings *s, uint8_t service)
{
	if (service >= SERVICE_COUNT)
		return true;
	for (size_t i = 0; i < s->owner_services.count; i++)
		if (span_equal_nocase(
			    s->owner_services.at[i], span_str(service_name((enum service)service))))
			return true;
	return false;
}

enum owner
owner_may_use(struct resolver *r, const struct settings *s, struct span login, struct span sender)
{
	struct text user = TEXT_UP_TO(MOST_ALIAS_KEY), as = TEXT_UP_TO(MOST_ALIAS_KEY);
	enum owner may = OWNER_NO;

	if (sender.len == 0)
		return OWNER_YES;
	if (alias_key(login, &user) && alias_key(sender, &as))
		may = span_equal(text_span(&user), text_span(&as)) ||
				is_granted(r, text_span(&user), text_span(&as))
			? OWNER_YES
			: leads_to_login(r, s, text_span(&user), text_span(&as));
	text_clear(&user);
	text_clear(&as);
	return may;
}
