/* relay-policy - see relay-policy.h. */
#include "relay-policy.h"

#include <string.h>

static const struct {
	const char *name;
	enum tls_wanted wanted;
} levels[] = {
	{ "none", WANT_NONE }, { "may", WANT_MAY }, { "encrypt", WANT_ENCRYPT }, { "dane", WANT_DANE },
	{ "dane-only", WANT_DANE_ONLY }, { "verify", WANT_VERIFY },
};

static struct span
take_word(struct span *in)
{
	struct span word;

	*in = span_trim(*in);
	word = span_part(*in, 0, span_index(*in, ' '));
	*in = span_part(*in, word.len, in->len);
	return word;
}

bool
tls_policy_read(struct span rule, struct span *domain, struct tls_policy *to)
{
	struct text names = TEXT_UP_TO(sizeof(to->names) - 1);
	struct span word;
	bool known = false;

	memset(to, 0, sizeof(*to));
	*domain = take_word(&rule);
	word = take_word(&rule);
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (span_equal_nocase(word, span_str(levels[i].name))) {
			to->wanted = levels[i].wanted;
			known = true;
		}
	while ((word = take_word(&rule)).len > 0) {
		if (names.len > 0)
			text_add_byte(&names, ',');
		text_add(&names, word);
	}
	known &= !names.failed && span_is_printable(text_span(&names)) && domain->len > 0 &&
		(names.len == 0 || to->wanted == WANT_VERIFY) &&
		(names.len == 0 || span_copy(text_span(&names), to->names, sizeof(to->names)));
	text_clear(&names);
	return known;
}

/* How well `domain` of a rule fits; 0: not. */
static size_t
fits(struct span domain, struct span next_hop)
{
	if (span_equal(domain, SPAN("*")))
		return 1;
	if (span_equal_nocase(domain, next_hop))
		return 1000 + domain.len;
	if (domain.at[0] == '.' && next_hop.len > domain.len &&
		span_equal_nocase(domain,
			span_part(next_hop, next_hop.len - domain.len, domain.len)))
		return 1 + domain.len;
	return 0;
}

void
tls_policy_find(const struct settings *s, struct span next_hop, struct tls_policy *to)
{
	struct tls_policy one;
	struct span domain;
	size_t best = 0, fit;

	*to = (struct tls_policy){ .wanted = WANT_DANE };
	for (size_t i = 0; i < s->tls_policy.count; i++)
		if (tls_policy_read(s->tls_policy.at[i], &domain, &one) &&
			(fit = fits(domain, next_hop)) > best) {
			best = fit;
			*to = one;
		}
}

bool
tls_policy_is_given(const struct settings *s, struct span next_hop)
{
	struct tls_policy one;
	struct span domain;

	for (size_t i = 0; i < s->tls_policy.count; i++)
		if (tls_policy_read(s->tls_policy.at[i], &domain, &one) && fits(domain, next_hop) > 1)
			return true;
	return false;
}
