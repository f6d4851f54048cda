/*
 * told - see told.h.
 */
#include "smtpd/told.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/address.h"
#include "smtpd/parameters.h"

static const struct {
	const char *name;
	bool of[2];            /* XCLIENT, XFORWARD */
} attributes[TOLD_COUNT] = {
#define A(name, xclient, xforward) { #name, { xclient, xforward } },
	TOLD_ATTRIBUTES(A)
#undef A
};

static const struct refusal malformed = { 501, "5.5.4", "attributes are NAME=value, and a value is xtext" };
static const struct refusal unknown = { 501, "5.5.4", "there is no such attribute here" };
static const struct refusal bad_value = { 501, "5.5.4", "the value has not the form of its attribute" };

void
told_offer(bool forward, struct text *to)
{
	for (size_t i = 0; i < TOLD_COUNT; i++) {
		if (!attributes[i].of[forward])
			continue;
		text_add_byte(to, ' ');
		text_add_str(to, attributes[i].name);
	}
}

const char *
told_value(const struct told *t, enum told_attribute a)
{
	return t && t->of[a].how == TOLD_VALUE ? t->of[a].value : NULL;
}

static bool
is_host(struct span name)
{
	struct span domain;
	bool literal;

	return address_take_domain(&name, false, &domain, &literal) && name.len == 0 && !literal;
}

/* "192.0.2.1" or "IPv6:2001:db8::1", written anew as the rest of the program writes addresses. */
static bool
take_address(char value[MOST_TOLD + 1])
{
	struct span in = span_str(value);
	bool six = span_take_word(&in, SPAN("IPv6:"));
	unsigned char at[16];
	char ip[INET6_ADDRSTRLEN];

	if (inet_pton(six ? AF_INET6 : AF_INET, value + (six ? 5 : 0), at) != 1)
		return false;
	/* An IPv4 address in IPv6 clothes is the same client. */
	if (six && memcmp(at, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0) {
		memmove(at, at + 12, 4);
		six = false;
	}
	return inet_ntop(six ? AF_INET6 : AF_INET, at, ip, sizeof(ip)) != NULL &&
		span_copy(span_str(ip), value, MOST_TOLD + 1);
}

static bool
is_port(struct span value)
{
	uint64_t n;

	return span_take_number(&value, 65535, &n) && value.len == 0 && n > 0;
}

static bool
fits(enum told_attribute a, char value[MOST_TOLD + 1])
{
	struct span v = span_str(value);

	switch (a) {
	case TOLD_NAME:
		return is_host(v);
	case TOLD_ADDR:
	case TOLD_DESTADDR:
		return take_address(value);
	case TOLD_PORT:
	case TOLD_DESTPORT:
		return is_port(v);
	case TOLD_PROTO:
		return span_equal_nocase(v, SPAN("SMTP")) || span_equal_nocase(v, SPAN("ESMTP"));
	case TOLD_HELO:
		return esmtp_helo_fits(v);
	case TOLD_SOURCE:
		return span_equal_nocase(v, SPAN("LOCAL")) || span_equal_nocase(v, SPAN("REMOTE"));
	case TOLD_LOGIN:
	case TOLD_IDENT:
	case TOLD_COUNT:
		break;
	}
	return v.len > 0;
}

static const struct refusal *
take_one(const struct esmtp_parameter *p, bool forward, struct told *t)
{
	size_t a = 0;
	char *value;

	while (a < TOLD_COUNT && !(attributes[a].of[forward] &&
				   span_equal_nocase(p->name, span_str(attributes[a].name))))
		a++;
	if (a == TOLD_COUNT)
		return &unknown;
	if (!p->has_value)
		return &malformed;
	value = t->of[a].value;
	value[0] = '\0';
	if (span_equal_nocase(p->value, SPAN("[UNAVAILABLE]")))
		t->of[a].how = TOLD_UNAVAILABLE;
	else if (span_equal_nocase(p->value, SPAN("[TEMPUNAVAIL]")))
		t->of[a].how = TOLD_TEMPUNAVAIL;
	else if (!esmtp_xtext_decode(p->value, value, MOST_TOLD + 1))
		return &malformed;
	else if (!fits((enum told_attribute)a, value))
		return &bad_value;
	else
		t->of[a].how = TOLD_VALUE;
	return NULL;
}

const struct refusal *
told_parse(struct span arguments, bool forward, struct told *t)
{
	struct told all = *t;
	struct esmtp_parameter p;
	const struct refusal *no = arguments.len == 0 ? &malformed : NULL;

	while (!no && esmtp_parameter_take(&arguments, &p))
		no = take_one(&p, forward, &all);
	if (!no && arguments.len > 0)
		no = &malformed;
	if (!no)
		*t = all;
	return no;
}
