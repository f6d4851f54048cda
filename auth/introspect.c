/* introspect - see introspect.h. */
#include "introspect.h"

#include "common/message.h"
#include "common/secret.h"

/* application/x-www-form-urlencoded. */
static void
add_encoded(struct text *to, struct span s)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '.' || c == '_' || c == '~') {
			text_add_byte(to, c);
			continue;
		}
		text_add_byte(to, '%');
		text_add_byte(to, (unsigned char)digits[c >> 4]);
		text_add_byte(to, (unsigned char)digits[c & 15]);
	}
}

bool
introspect_authorization(struct span file, struct text *value)
{
	struct span line = span_trim(span_part(file, 0, span_index(file, '\n')));
	struct text pair = TEXT_UP_TO(4 * INTROSPECT_MOST_CREDENTIALS);
	size_t colon = span_index(line, ':');
	bool good = line.len > 0 && line.len <= INTROSPECT_MOST_CREDENTIALS && span_is_printable(line);

	text_reset(value);
	if (colon < line.len) {
		add_encoded(&pair, span_part(line, 0, colon));
		text_add_byte(&pair, ':');
		add_encoded(&pair, span_part(line, colon + 1, line.len));
		text_add_str(value, "Basic ");
		text_add_base64(value, text_span(&pair));
	} else {
		text_add_str(value, "Bearer ");
		text_add(value, line);
		good = good && !span_has(line, ' ');
	}
	good = good && !pair.failed && !value->failed;
	text_wipe(&pair);
	return good;
}

bool
introspect_body(struct span token, struct text *body)
{
	text_reset(body);
	text_add_str(body, "token=");
	add_encoded(body, token);
	text_add_str(body, "&token_type_hint=access_token");
	return !body->failed;
}

bool
introspect_judge(const struct jwt_wanted *wanted, uint16_t status, struct span answer, uint64_t now,
	struct text *user, uint32_t *seconds, const char **why, bool *later)
{
	/* RFC 7662 2.3: our own credentials are wrong, or something else that says nothing of the token. */
	*later = status != 200;
	*why = "introspection-status";
	return !*later && jwt_judge_answer(wanted, answer, now, user, seconds, why);
}
