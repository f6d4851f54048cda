/*
 * access - see access.h.
 */
#include "access.h"

#include "address.h"
#include "network.h"

static const struct {
	const char *word;
	enum access_action action;
	bool takes_text;
} actions[] = {
	{ "permit",   ACCESS_PERMIT,   false }, { "reject", ACCESS_REJECT, true },
	{ "defer",    ACCESS_DEFER,    true },  { "discard", ACCESS_DISCARD, false },
	{ "hold",     ACCESS_HOLD,     true },  { "redirect", ACCESS_REDIRECT, true },
	{ "warn",     ACCESS_WARN,     true },
};
#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

const char *
access_action_name(enum access_action action)
{
	for (size_t i = 0; i < ACTIONS; i++)
		if (actions[i].action == action)
			return actions[i].word;
	return "none";
}

static struct span
take_word(struct span *in)
{
	size_t n = 0;
	struct span word;

	while (n < in->len && in->at[n] != ' ' && in->at[n] != '\t')
		n++;
	word = span_part(*in, 0, n);
	*in = span_trim(span_part(*in, n, in->len));
	return word;
}

static bool
is_host_pattern(struct span pattern)
{
	struct span domain;
	bool literal;

	span_take(&pattern, '.');
	return pattern.len > 0 && address_take_domain(&pattern, true, &domain, &literal) && pattern.len == 0;
}

static bool
is_address_pattern(struct span pattern)
{
	size_t at = span_rindex(pattern, '@');

	if (span_equal(pattern, SPAN("<>")))
		return true;
	if (at == pattern.len || pattern.len < 2)
		return false;
	return at + 1 == pattern.len || is_host_pattern(span_part(pattern, at + 1, pattern.len));
}

static bool
is_pattern(struct span pattern, enum access_kind kind)
{
	struct network n;

	switch (kind) {
	case ACCESS_CLIENT:
		return network_parse(pattern, &n) || is_host_pattern(pattern);
	case ACCESS_HOST:
		return is_host_pattern(pattern);
	case ACCESS_ADDRESS:
		break;
	}
	return is_address_pattern(pattern);
}

bool
access_parse(struct span row, enum access_kind kind, struct access_rule *rule, const char **why)
{
	struct span in = span_trim(row), word, mailbox;
	struct access_rule found = { .action = 0 };
	struct address a;
	bool takes_text = false;

	found.pattern = take_word(&in);
	word = take_word(&in);
	found.text = in;
	for (size_t i = 0; i < ACTIONS; i++) {
		if (span_equal_nocase(word, span_str(actions[i].word))) {
			found.action = actions[i].action;
			takes_text = actions[i].takes_text;
		}
	}
	mailbox = found.text;
	*why = NULL;
	if (!is_pattern(found.pattern, kind))
		*why = "the pattern is none";
	else if (found.action == 0)
		*why = "the action is not permit, reject, defer, discard, hold, redirect or warn";
	else if (!takes_text && found.text.len > 0)
		*why = "this action takes no text";
	else if (!span_is_printable(found.text) || found.text.len > MOST_ACCESS_TEXT)
		*why = "the text is too long, or not ASCII";
	else if (found.action == ACCESS_REDIRECT &&
		(address_take_mailbox(&mailbox, false, &a) != ADDRESS_OK || mailbox.len > 0))
		*why = "redirect needs an address";
	if (*why)
		return false;
	*rule = found;
	return true;
}

bool
access_fits_host(struct span pattern, struct span host)
{
	if (pattern.len == 0 || pattern.at[0] != '.')
		return span_equal_nocase(pattern, host);
	return host.len > pattern.len &&
		span_equal_nocase(span_part(host, host.len - pattern.len, pattern.len), pattern);
}

bool
access_fits_client(struct span pattern, const char *ip, const char *name)
{
	struct network n;

	if (network_parse(pattern, &n))
		return network_has(&n, ip);
	return name && access_fits_host(pattern, span_str(name));
}

bool
access_fits_address(struct span pattern, struct span address)
{
	size_t wanted = span_rindex(pattern, '@'), at = span_rindex(address, '@');
	struct span local = span_part(pattern, 0, wanted);
	struct span domain = span_part(pattern, wanted + 1, pattern.len);

	if (span_equal(pattern, SPAN("<>")))
		return address.len == 0;
	if (address.len == 0)
		return false;
	if (local.len > 0 && !span_equal_nocase(local, span_part(address, 0, at)))
		return false;
	return domain.len == 0 || access_fits_host(domain, span_part(address, at + 1, address.len));
}
