/* rewrite - see rewrite.h. */
#include "rewrite.h"

#include "common/address.h"
#include "common/alias.h"
#include "common/message.h"
#include "resolve_inside.h"

/* What a canonical table says of `address`: an address, or "@domain" to keep the local part. */
static bool
canonical(struct resolver *r, enum table_kind kind, struct span address, struct text *to)
{
	struct text key = TEXT_UP_TO(MOST_ADDRESS), value = TEXT_UP_TO(MOST_TABLE_VALUE),
		    made = TEXT_UP_TO(MOST_ADDRESS);
	size_t at = span_rindex(address, '@');
	struct address a;
	struct span in;
	bool found;

	if (r->table[kind] == NULL || !alias_key(address, &key))
		return false;
	found = plain_get(r, kind, text_span(&key), &value);
	if (!found && at < address.len) {
		size_t domain = span_rindex(text_span(&key), '@');

		found = plain_get(r, kind, span_part(text_span(&key), domain, key.len), &value);
	}
	if (found && value.len > 0 && value.at[0] == '@')
		text_add(&made, span_part(address, 0, at));
	text_add(&made, text_span(&value));
	in = text_span(&made);
	/* A table is untrusted too: what it says must be an address. */
	found = found && !made.failed && address_take_mailbox(&in, true, &a) == ADDRESS_OK &&
		in.len == 0;
	if (found) {
		text_reset(to);
		text_add(to, text_span(&made));
	}
	text_clear(&key);
	text_clear(&value);
	text_clear(&made);
	return found;
}

void
rewrite_recipient(struct resolver *r, struct span address, struct text *to)
{
	text_reset(to);
	text_add(to, address);
	if (!canonical(r, TABLE_RECIPIENT_CANONICAL, address, to))
		canonical(r, TABLE_CANONICAL, address, to);
}

/* The longest of the domains that `domain` lies below. */
static struct span
masquerade(const struct settings *s, struct span domain)
{
	struct span best = SPAN_NONE;

	for (size_t i = 0; i < s->masquerade_domains.count; i++) {
		struct span d = s->masquerade_domains.at[i];

		if (domain.len > d.len + 1 && domain.at[domain.len - d.len - 1] == '.' &&
		    span_equal_nocase(span_part(domain, domain.len - d.len, d.len), d) &&
		    d.len > best.len)
			best = d;
	}
	return best;
}

void
rewrite_sender(struct resolver *r, const struct settings *s, struct span address, struct text *to)
{
	struct text now = TEXT_UP_TO(MOST_ADDRESS);
	struct span domain, masked;
	size_t at;

	text_reset(to);
	text_add(to, address);
	if (address.len == 0)
		return;
	if (!canonical(r, TABLE_SENDER_CANONICAL, address, to))
		canonical(r, TABLE_CANONICAL, address, to);
	at = span_rindex(text_span(to), '@');
	domain = span_part(text_span(to), at + 1, to->len);
	masked = masquerade(s, domain);
	if (masked.len > 0) {
		text_add(&now, span_part(text_span(to), 0, at + 1));
		text_add(&now, masked);
		text_reset(to);
		text_add(to, text_span(&now));
	}
	text_clear(&now);
}
