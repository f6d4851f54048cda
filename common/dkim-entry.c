/* dkim-entry - see dkim-entry.h. */
#include "dkim-entry.h"

/* Labels of letters, digits and hyphens, with dots between them: never a path. */
static bool
is_name(struct span s, size_t most)
{
	unsigned char before = '.';

	if (s.len == 0 || s.len > most)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];
		bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			(c == '-' && before != '.') || (c == '_' && before == '.') ||
			(c == '.' && before != '.');

		if (!good)
			return false;
		before = c;
	}
	return before != '.' && before != '-';
}

bool
dkim_entry_parse(struct span text, struct dkim_entry *entry)
{
	struct span rest = text, domain, selector;

	if (!span_take_until(&rest, ':', &domain))
		return false;
	entry->algorithm = DKIM_RSA;
	if (span_take_until(&rest, ':', &selector)) {
		if (span_equal_nocase(rest, SPAN("ed25519")))
			entry->algorithm = DKIM_ED25519;
		else if (!span_equal_nocase(rest, SPAN("rsa")))
			return false;
	} else {
		selector = rest;
	}
	entry->domain = domain;
	entry->selector = selector;
	return is_name(domain, 253) && is_name(selector, MOST_SELECTOR);
}

const char *
dkim_algorithm_name(enum dkim_algorithm algorithm)
{
	return algorithm == DKIM_ED25519 ? "ed25519-sha256" : "rsa-sha256";
}
