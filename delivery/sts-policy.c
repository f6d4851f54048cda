/* sts-policy - see sts-policy.h. */
#include "sts-policy.h"

#include <string.h>

#define MOST_KEY 32                  /* RFC 8461 3.2: 1*32 */

static bool
is_alnum(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* --- the record in DNS --- */

bool
sts_record_claims(struct span txt)
{
	return txt.len >= 7 && memcmp(txt.at, "v=STSv1", 7) == 0 && (txt.len == 7 || !is_alnum(txt.at[7]));
}

bool
sts_record_read(struct span txt, struct span *id)
{
	struct span field, name, found = SPAN_NONE;

	if (!sts_record_claims(txt))
		return false;
	txt = span_trim(span_part(txt, 7, txt.len));
	while (txt.len > 0) {
		if (!span_take(&txt, ';'))
			return false;
		txt = span_trim(txt);
		if (txt.len == 0)
			break;
		field = span_part(txt, 0, span_index(txt, ';'));
		txt = span_part(txt, field.len, txt.len);
		field = span_trim(field);
		if (!span_take_until(&field, '=', &name))
			return false;
		if (!span_equal(name, SPAN("id")) || found.len > 0)
			continue;
		for (size_t i = 0; i < field.len; i++)
			if (!is_alnum(field.at[i]))
				return false;
		found = field;
	}
	if (found.len == 0 || found.len > MOST_STS_ID)
		return false;
	*id = found;
	return true;
}

/* --- the policy --- */

/* A name, or "*." and a name; in lower case, with a newline, to `to`. */
static bool
add_pattern(struct text *to, struct span pattern)
{
	struct span name = pattern;
	size_t label = 0, dots = 0;

	(void)span_take_word(&name, SPAN("*."));
	if (name.len == 0 || pattern.len > MOST_HOST)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.at[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			dots++;
		} else if (!is_alnum(name.at[i]) && name.at[i] != '-' && name.at[i] != '_') {
			return false;
		} else if (++label > 63) {
			return false;
		}
	}
	/* "*.com" would be anybody's. */
	if (label == 0 || (name.len < pattern.len && dots == 0))
		return false;
	for (size_t i = 0; i < pattern.len; i++)
		text_add_byte(to, pattern.at[i] >= 'A' && pattern.at[i] <= 'Z'
			? (unsigned char)(pattern.at[i] + 32) : pattern.at[i]);
	text_add_byte(to, '\n');
	return true;
}

struct seen {
	bool version, mode, max_age;
};

/* One line. NULL, or why not. Of a key that may stand once the first counts (RFC 8461 3.2). */
static const char *
read_field(struct span key, struct span value, struct sts_policy *to, struct seen *seen)
{
	uint64_t age;

	if (span_equal(key, SPAN("version"))) {
		if (!seen->version && !span_equal(value, SPAN("STSv1")))
			return "the policy is of another version";
		seen->version = true;
	} else if (span_equal(key, SPAN("mode")) && !seen->mode) {
		seen->mode = true;
		if (span_equal(value, SPAN("enforce")))
			to->mode = STS_ENFORCE;
		else if (span_equal(value, SPAN("testing")))
			to->mode = STS_TESTING;
		else if (span_equal(value, SPAN("none")))
			to->mode = STS_NONE;
		else
			return "the policy has an unknown mode";
	} else if (span_equal(key, SPAN("max_age")) && !seen->max_age) {
		seen->max_age = true;
		if (!span_take_number(&value, UINT64_MAX, &age) || value.len > 0)
			return "the policy has a max_age that is no number";
		to->max_age = age > MOST_STS_AGE ? MOST_STS_AGE : (uint32_t)age;
	} else if (span_equal(key, SPAN("mx"))) {
		if (!add_pattern(&to->mx, value))
			return "the policy has an mx that is no name";
		if (to->mx.failed)
			return "the policy has too many mx";
	}
	return NULL;
}

static const char *
read_policy(struct span body, struct sts_policy *to)
{
	struct seen seen = { false, false, false };
	struct span line, key;
	const char *why;

	while (body.len > 0) {
		line = span_part(body, 0, span_index(body, '\n'));
		body = span_part(body, line.len + 1, body.len);
		if (line.len > 0 && line.at[line.len - 1] == '\r')
			line.len--;
		line = span_trim(line);
		if (line.len == 0)
			continue;
		if (!span_take_until(&line, ':', &key) || key.len == 0 || key.len > MOST_KEY)
			return "the policy has a line that is no field";
		if ((why = read_field(key, span_trim(line), to, &seen)) != NULL)
			return why;
	}
	if (!seen.version || !seen.mode || !seen.max_age)
		return "the policy lacks version, mode or max_age";
	if (to->mode != STS_NONE && to->mx.len == 0)
		return "the policy has no mx";
	return NULL;
}

const char *
sts_policy_read(struct span body, struct sts_policy *to)
{
	const char *why;

	*to = (struct sts_policy){ .mx = TEXT_UP_TO(MOST_STS_MX) };
	why = read_policy(body, to);
	if (why != NULL)
		sts_policy_clear(to);
	return why;
}

void
sts_policy_clear(struct sts_policy *p)
{
	text_clear(&p->mx);
	p->mode = STS_NONE;
	p->max_age = 0;
}

bool
sts_mx_matches(struct span patterns, struct span server)
{
	struct span pattern, below;

	if (server.len > 0 && server.at[server.len - 1] == '.')
		server.len--;
	while (span_take_until(&patterns, '\n', &pattern)) {
		if (span_take_word(&pattern, SPAN("*."))) {
			size_t label = span_index(server, '.');

			below = span_part(server, label + 1, server.len);
			if (label > 0 && label < server.len && span_equal_nocase(below, pattern))
				return true;
		} else if (span_equal_nocase(pattern, server)) {
			return true;
		}
	}
	return false;
}
