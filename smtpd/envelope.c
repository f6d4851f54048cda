/*
 * envelope - see envelope.h.
 */
#include "smtpd/envelope.h"

#include "smtpd/parameters.h"

static const struct refusal mail_form = { 501, "5.5.4", "MAIL needs FROM:<address>" };
static const struct refusal rcpt_form = { 501, "5.5.4", "RCPT needs TO:<address>" };
static const struct refusal bad_sender = { 501, "5.1.7", "this is not a sender address" };
static const struct refusal bad_recipient = { 501, "5.1.3", "this is not a recipient address" };
static const struct refusal long_sender = { 501, "5.1.7", "the sender address is too long" };
static const struct refusal long_recipient = { 501, "5.1.3", "the recipient address is too long" };
static const struct refusal control_sender = {
	501, "5.1.7", "control character in the sender address"
};
static const struct refusal control_recipient = {
	501, "5.1.3", "control character in the recipient address"
};
static const struct refusal needs_utf8 = { 553, "5.6.7", "a non-ASCII address needs SMTPUTF8" };
static const struct refusal bad_parameter = { 501, "5.5.4", "malformed parameter" };
static const struct refusal unknown_parameter = { 555, "5.5.4", "parameter not recognised" };
static const struct refusal twice = { 501, "5.5.4", "parameter given twice" };
static const struct refusal bad_size = { 501, "5.5.4", "SIZE needs a number" };
static const struct refusal bad_body = { 501, "5.5.4", "BODY is 7BIT or 8BITMIME" };
static const struct refusal bad_utf8 = { 501, "5.5.4", "SMTPUTF8 takes no value" };
static const struct refusal bad_auth = { 501, "5.5.4", "AUTH is not well-formed" };

static const struct refusal *
parse_size(struct span value, bool has_value, struct envelope_sender *to)
{
	/* RFC 1870 section 3: up to 20 digits. What is over 64 bits is too much in any case. */
	if (!has_value || value.len > 20)
		return &bad_size;
	to->has_size = true;
	if (span_take_number(&value, UINT64_MAX, &to->size))
		return value.len == 0 ? NULL : &bad_size;
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] < '0' || value.at[i] > '9')
			return &bad_size;
	to->size = UINT64_MAX;
	return NULL;
}

static const struct refusal *
parse_body(struct span value, bool has_value, struct envelope_sender *to)
{
	if (has_value && span_equal_nocase(value, SPAN("7BIT")))
		to->body = BODY_7BIT;
	else if (has_value && span_equal_nocase(value, SPAN("8BITMIME")))
		to->body = BODY_8BITMIME;
	else
		return &bad_body;
	return NULL;
}

static const struct refusal *
parse_utf8(struct span value, bool has_value, struct envelope_sender *to)
{
	(void)value;
	to->utf8 = true;
	return has_value ? &bad_utf8 : NULL;
}

static const struct refusal *
parse_auth(struct span value, bool has_value, struct envelope_sender *to)
{
	(void)to;
	/* RFC 4954 section 5: nobody here is trusted to assert another's identity; checked, not
	 * kept. */
	if (!has_value || !(span_equal(value, SPAN("<>")) || esmtp_is_xtext(value)))
		return &bad_auth;
	return NULL;
}

static const struct {
	const char *name;
	const struct refusal *(*parse)(
		struct span value, bool has_value, struct envelope_sender *to);
} mail_parameters[] = {
	{ "SIZE",     parse_size },   /* RFC 1870 */
	{ "BODY",     parse_body },   /* RFC 6152 */
	{ "SMTPUTF8", parse_utf8 },   /* RFC 6531 */
	{ "AUTH",     parse_auth },   /* RFC 4954 */
};
#define MAIL_PARAMETERS (sizeof(mail_parameters) / sizeof(mail_parameters[0]))

static const struct refusal *
parse_mail_parameters(struct span in, struct envelope_sender *to)
{
	unsigned int seen = 0;
	struct esmtp_parameter p;

	while (in.len > 0) {
		const struct refusal *no;
		size_t i;

		if (!esmtp_parameter_take(&in, &p))
			return &bad_parameter;
		for (i = 0; i < MAIL_PARAMETERS; i++)
			if (span_equal_nocase(p.name, span_str(mail_parameters[i].name)))
				break;
		if (i == MAIL_PARAMETERS)
			return &unknown_parameter;
		if (seen & (1u << i))
			return &twice;
		seen |= 1u << i;
		no = mail_parameters[i].parse(p.value, p.has_value, to);
		if (no)
			return no;
	}
	return NULL;
}

/* "FROM:" or "TO:" and the path. Blanks behind the colon are wrong but harmless, and common. */
static bool
take_intro(struct span *in, struct span word)
{
	struct span left = *in;

	if (!span_take(&left, ' '))
		return false;
	while (span_take(&left, ' '))
		;
	if (!span_take_word(&left, word))
		return false;
	while (span_take(&left, ' '))
		;
	*in = left;
	return true;
}

const struct refusal *
envelope_parse_mail(struct span in, bool extended, struct envelope_sender *to)
{
	struct envelope_sender found = { .body = BODY_7BIT };
	const struct refusal *no;

	if (!take_intro(&in, SPAN("FROM:")) || in.len == 0 || in.at[0] != '<')
		return &mail_form;
	/* SMTPUTF8 comes behind the address: first as if it were there, then see. */
	switch (address_take_path(&in, true, true, &found.address)) {
	case ADDRESS_OK:
		break;
	case ADDRESS_TOO_LONG:
		return &long_sender;
	case ADDRESS_CONTROL:
		return &control_sender;
	case ADDRESS_NEEDS_UTF8:
		return &needs_utf8;
	case ADDRESS_SYNTAX:
	default:
		return &bad_sender;
	}
	found.null = found.address.local.len == 0;
	/* Only a recipient may be a bare <postmaster> (RFC 5321 4.1.1.3). */
	if (!found.null && found.address.domain.len == 0)
		return &bad_sender;
	if (in.len > 0 && in.at[0] != ' ')
		return &mail_form;
	if (in.len > 0 && !extended)
		return &unknown_parameter;
	no = parse_mail_parameters(in, &found);
	if (no)
		return no;
	if (found.address.utf8 && !found.utf8)
		return &needs_utf8;
	*to = found;
	return NULL;
}

const struct refusal *
envelope_parse_rcpt(struct span in, bool utf8, struct address *to)
{
	struct address found = { 0 };
	struct esmtp_parameter p;

	if (!take_intro(&in, SPAN("TO:")) || in.len == 0 || in.at[0] != '<')
		return &rcpt_form;
	switch (address_take_path(&in, false, utf8, &found)) {
	case ADDRESS_OK:
		break;
	case ADDRESS_TOO_LONG:
		return &long_recipient;
	case ADDRESS_CONTROL:
		return &control_recipient;
	case ADDRESS_NEEDS_UTF8:
		return &needs_utf8;
	case ADDRESS_SYNTAX:
	default:
		return &bad_recipient;
	}
	if (in.len > 0 && in.at[0] != ' ')
		return &rcpt_form;
	if (in.len > 0)
		return esmtp_parameter_take(&in, &p) ? &unknown_parameter : &bad_parameter;
	*to = found;
	return NULL;
}

void
envelope_address_put(struct text *to, const struct address *a)
{
	text_add(to, a->local);
	if (a->domain.len > 0) {
		text_add_byte(to, '@');
		text_add(to, a->domain);
	}
}
