/*
 * envelope - see envelope.h.
 */
#include "smtpd/envelope.h"

#include "smtpd/instant.h"
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
static const struct refusal bad_body = { 501, "5.5.4", "BODY is 7BIT, 8BITMIME or BINARYMIME" };
static const struct refusal bad_utf8 = { 501, "5.5.4", "SMTPUTF8 takes no value" };
static const struct refusal bad_auth = { 501, "5.5.4", "AUTH is not well-formed" };
static const struct refusal bad_ret = { 501, "5.5.4", "RET is FULL or HDRS" };
static const struct refusal bad_envid = { 501, "5.5.4", "ENVID is xtext of at most 100 characters" };
static const struct refusal bad_requiretls = { 501, "5.5.4", "REQUIRETLS takes no value" };
static const struct refusal needs_tls = { 530, "5.7.10", "REQUIRETLS needs TLS" };
static const struct refusal bad_by = { 501, "5.5.4", "BY is seconds;N or seconds;R, and perhaps T" };
static const struct refusal bad_holdfor = { 501, "5.5.4", "HOLDFOR needs a number of seconds" };
static const struct refusal bad_holduntil = { 501, "5.5.4", "HOLDUNTIL needs a date and time" };
static const struct refusal held_twice = { 501, "5.5.4", "HOLDFOR and HOLDUNTIL exclude each other" };
static const struct refusal held_too_long = {
	501, "5.5.4", "it would be released only after the time by which BY wants it delivered"
};
static const struct refusal too_far = { 501, "5.5.4", "that is further away than offered" };
static const struct refusal bad_solicit = {
	501, "5.5.4", "SOLICIT is a list of keywords of at most 1000 characters"
};
static const struct refusal bad_priority = { 501, "5.5.4", "MT-PRIORITY is a number from -9 to 9" };
static const struct refusal bad_notify = {
	501, "5.5.4", "NOTIFY is NEVER, or of SUCCESS, FAILURE and DELAY"
};
static const struct refusal bad_orcpt = { 501, "5.5.4", "ORCPT is type;xtext of at most 500 characters" };

/* The value of one parameter, and what it is read into. */
struct reading {
	struct span value;
	bool has_value;
	unsigned int offers;
	uint64_t now, release_most;
	struct envelope_sender *to;
};

static const struct refusal *
parse_size(const struct reading *r)
{
	struct span value = r->value;

	/* RFC 1870 section 3: up to 20 digits. What is over 64 bits is too much in any case. */
	if (!r->has_value || value.len > 20)
		return &bad_size;
	r->to->has_size = true;
	if (span_take_number(&value, UINT64_MAX, &r->to->size))
		return value.len == 0 ? NULL : &bad_size;
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] < '0' || value.at[i] > '9')
			return &bad_size;
	r->to->size = UINT64_MAX;
	return NULL;
}

static const struct refusal *
parse_body(const struct reading *r)
{
	if (r->has_value && span_equal_nocase(r->value, SPAN("7BIT")))
		r->to->body = BODY_7BIT;
	else if (r->has_value && span_equal_nocase(r->value, SPAN("8BITMIME")))
		r->to->body = BODY_8BITMIME;
	else if (r->has_value && span_equal_nocase(r->value, SPAN("BINARYMIME")))
		r->to->body = BODY_BINARYMIME;
	else
		return &bad_body;
	return NULL;
}

static const struct refusal *
parse_utf8(const struct reading *r)
{
	r->to->utf8 = true;
	return r->has_value ? &bad_utf8 : NULL;
}

static const struct refusal *
parse_auth(const struct reading *r)
{
	if (!r->has_value)
		return &bad_auth;
	if (span_equal(r->value, SPAN("<>")))
		return NULL;
	return esmtp_xtext_decode(r->value, r->to->auth, sizeof(r->to->auth)) ? NULL : &bad_auth;
}

static const struct refusal *
parse_ret(const struct reading *r)
{
	if (r->has_value && span_equal_nocase(r->value, SPAN("FULL")))
		r->to->ret = RET_FULL;
	else if (r->has_value && span_equal_nocase(r->value, SPAN("HDRS")))
		r->to->ret = RET_HEADERS;
	else
		return &bad_ret;
	return NULL;
}

static const struct refusal *
parse_envid(const struct reading *r)
{
	return r->has_value && esmtp_xtext_decode(r->value, r->to->envid, sizeof(r->to->envid))
		? NULL : &bad_envid;
}

static const struct refusal *
parse_requiretls(const struct reading *r)
{
	if (r->has_value)
		return &bad_requiretls;
	r->to->require_tls = true;
	return r->offers & OFFERS_REQUIRETLS ? NULL : &needs_tls;
}

/* RFC 2852 section 4: by-time ";" by-mode [by-trace] */
static const struct refusal *
parse_by(const struct reading *r)
{
	struct span value = r->value;
	bool minus = span_take(&value, '-');
	uint64_t seconds;

	if (!minus)
		span_take(&value, '+');
	if (!r->has_value || span_index(value, ';') > 9 || !span_take_number(&value, MOST_BY, &seconds) ||
		!span_take(&value, ';'))
		return &bad_by;
	if (span_take_word(&value, SPAN("N")))
		r->to->by_mode = 'N';
	else if (span_take_word(&value, SPAN("R")))
		r->to->by_mode = 'R';
	else
		return &bad_by;
	r->to->by_trace = span_take_word(&value, SPAN("T"));
	r->to->by_seconds = minus ? -(int64_t)seconds : (int64_t)seconds;
	/* What is late already can only be told, not returned. */
	if (value.len > 0 || (r->to->by_mode == 'R' && r->to->by_seconds <= 0))
		return &bad_by;
	return NULL;
}

static const struct refusal *
hold_until(const struct reading *r, uint64_t when)
{
	if (r->to->hold_until)
		return &held_twice;
	if (when > r->now + r->release_most)
		return &too_far;
	r->to->hold_until = when;
	return NULL;
}

static const struct refusal *
parse_holdfor(const struct reading *r)
{
	struct span value = r->value;
	uint64_t seconds;

	/* RFC 4865 section 3: 1 to 999999999, and no zero ahead. */
	if (!r->has_value || value.len > 9 || (value.len > 0 && value.at[0] == '0') ||
		!span_take_number(&value, MOST_BY, &seconds) || value.len > 0)
		return &bad_holdfor;
	r->to->hold_for = (uint32_t)seconds;
	return hold_until(r, r->now + seconds);
}

static const struct refusal *
parse_holduntil(const struct reading *r)
{
	uint64_t when;

	/* What has passed is released at once; it counts as given all the same. */
	if (!r->has_value || !instant_parse(r->value, &when))
		return &bad_holduntil;
	return hold_until(r, when < 1 ? 1 : when);
}

static const struct refusal *
parse_priority(const struct reading *r)
{
	struct span value = r->value;
	bool minus = span_take(&value, '-');
	uint64_t level;

	/* RFC 6710 section 7: one digit. */
	if (!r->has_value || value.len != 1 || !span_take_number(&value, MOST_PRIORITY, &level) || value.len > 0 ||
		(minus && level == 0))
		return &bad_priority;
	r->to->priority = minus ? -(int)level : (int)level;
	return NULL;
}

static const struct refusal *
parse_solicit(const struct reading *r)
{
	return r->has_value && solicitation_fits(r->value) &&
		span_copy(r->value, r->to->solicit, sizeof(r->to->solicit)) ? NULL : &bad_solicit;
}

static const struct {
	const char *name;
	const struct refusal *(*parse)(const struct reading *r);
	unsigned int needs;       /* of enum offers */
} mail_parameters[] = {
	{ "SIZE",        parse_size,       0 },                /* RFC 1870 */
	{ "BODY",        parse_body,       0 },                /* RFC 6152, RFC 3030 */
	{ "SMTPUTF8",    parse_utf8,       0 },                /* RFC 6531 */
	{ "AUTH",        parse_auth,       0 },                /* RFC 4954 */
	{ "RET",         parse_ret,        0 },                /* RFC 3461 */
	{ "ENVID",       parse_envid,      0 },
	{ "REQUIRETLS",  parse_requiretls, 0 },                /* RFC 8689 */
	{ "BY",          parse_by,         0 },                /* RFC 2852 */
	{ "HOLDFOR",     parse_holdfor,    OFFERS_RELEASE },   /* RFC 4865 */
	{ "HOLDUNTIL",   parse_holduntil,  OFFERS_RELEASE },
	{ "MT-PRIORITY", parse_priority,   OFFERS_PRIORITY },  /* RFC 6710 */
	{ "SOLICIT",     parse_solicit,    OFFERS_SOLICIT },   /* RFC 3865 */
};
#define MAIL_PARAMETERS (sizeof(mail_parameters) / sizeof(mail_parameters[0]))

static const struct refusal *
parse_mail_parameters(struct span in, struct reading *r)
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
		if (i == MAIL_PARAMETERS || (mail_parameters[i].needs & ~r->offers))
			return &unknown_parameter;
		if (seen & (1u << i))
			return &twice;
		seen |= 1u << i;
		r->value = p.value;
		r->has_value = p.has_value;
		no = mail_parameters[i].parse(r);
		if (no)
			return no;
	}
	return NULL;
}

/* RFC 3461 4.1: NEVER alone, or a list of the others. */
static const struct refusal *
parse_notify(struct span value, struct envelope_recipient *to)
{
	static const struct {
		const char *word;
		uint8_t bit;
	} words[] = {
		{ "NEVER", NOTIFY_NEVER }, { "SUCCESS", NOTIFY_SUCCESS },
		{ "FAILURE", NOTIFY_FAILURE }, { "DELAY", NOTIFY_DELAY },
	};
	struct span word;
	bool more = true;

	while (more) {
		size_t i;

		word = span_part(value, 0, span_index(value, ','));
		more = word.len < value.len;
		value = span_part(value, word.len + 1, value.len);
		for (i = 0; i < 4 && !span_equal_nocase(word, span_str(words[i].word)); i++)
			;
		if (i == 4 || (to->notify & words[i].bit))
			return &bad_notify;
		to->notify |= words[i].bit;
	}
	return (to->notify & NOTIFY_NEVER) && to->notify != NOTIFY_NEVER ? &bad_notify : NULL;
}

static const struct refusal *
parse_rcpt_parameters(struct span in, bool utf8, struct envelope_recipient *to)
{
	struct esmtp_parameter p;

	while (in.len > 0) {
		const struct refusal *no = NULL;

		if (!esmtp_parameter_take(&in, &p))
			return &bad_parameter;
		if (span_equal_nocase(p.name, SPAN("NOTIFY"))) {
			no = to->notify ? &twice : parse_notify(p.value, to);
		} else if (span_equal_nocase(p.name, SPAN("ORCPT"))) {
			if (to->orcpt[0])
				no = &twice;
			else if (!esmtp_orcpt_decode(p.value, utf8, to->orcpt, sizeof(to->orcpt)))
				no = &bad_orcpt;
		} else {
			no = &unknown_parameter;
		}
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
envelope_parse_mail(struct span in, unsigned int offers, uint64_t now, uint64_t release_most,
	struct envelope_sender *to)
{
	struct envelope_sender found = { .body = BODY_7BIT };
	struct reading r = {
		.offers = offers, .now = now, .release_most = release_most, .to = &found
	};
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
	if (in.len > 0 && !(offers & OFFERS_PARAMETERS))
		return &unknown_parameter;
	no = parse_mail_parameters(in, &r);
	if (no)
		return no;
	/* RFC 4865 5.2.2: both cannot be honoured. */
	if (found.hold_until > 0 && found.by_mode && (int64_t)found.hold_until > (int64_t)now + found.by_seconds)
		return &held_too_long;
	if (found.address.utf8 && !found.utf8)
		return &needs_utf8;
	*to = found;
	return NULL;
}

const struct refusal *
envelope_parse_rcpt(struct span in, unsigned int offers, bool utf8, struct envelope_recipient *to)
{
	struct envelope_recipient found = { 0 };
	const struct refusal *no;

	if (!take_intro(&in, SPAN("TO:")) || in.len == 0 || in.at[0] != '<')
		return &rcpt_form;
	switch (address_take_path(&in, false, utf8, &found.address)) {
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
	if (in.len > 0 && !(offers & OFFERS_PARAMETERS))
		return &unknown_parameter;
	no = parse_rcpt_parameters(in, utf8, &found);
	if (no)
		return no;
	*to = found;
	return NULL;
}

struct span
envelope_said(struct span in)
{
	in = span_trim(span_part(in, span_index(in, ':') + 1, in.len));
	if (span_take(&in, '<'))
		in = span_part(in, 0, span_index(in, '>'));
	else
		in = span_part(in, 0, span_index(in, ' '));
	return span_part(in, 0, MOST_ADDRESS);
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
