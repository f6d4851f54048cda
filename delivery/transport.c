/* transport - see transport.h. */
#include "transport.h"

#include "common/address.h"
#include "common/message.h"

/* "5.1.1", "4.7.26": class, subject, detail (RFC 3463). */
static bool
take_status(struct span *in, struct span *status)
{
	struct span rest = *in;
	uint64_t class, subject, detail;

	if (!span_take_number(&rest, 5, &class) || (class != 4 && class != 5) ||
		!span_take(&rest, '.') || !span_take_number(&rest, 999, &subject) ||
		!span_take(&rest, '.') || !span_take_number(&rest, 999, &detail))
		return false;
	*status = span_part(*in, 0, in->len - rest.len);
	if (status->len > MOST_STATUS)
		return false;
	*in = rest;
	return true;
}

/* HOST, HOST:PORT, [ADDRESS], [ADDRESS]:PORT. */
static bool
is_host(struct span s, bool needs_port)
{
	struct span host;
	uint64_t port;
	bool literal;

	if (!address_take_domain(&s, false, &host, &literal) && !(span_take(&s, '[') &&
		address_take_domain(&s, false, &host, &literal) && span_take(&s, ']')))
		return false;
	if (s.len == 0)
		return !needs_port;
	return span_take(&s, ':') && span_take_number(&s, 65535, &port) && port > 0 && s.len == 0;
}

static const char *
take_error(struct span rest, struct transport_way *way)
{
	rest = span_trim(rest);
	way->kind = TO_ERROR;
	way->status = SPAN("5.1.2");
	take_status(&rest, &way->status);
	way->text = span_trim(rest);
	if (way->text.len == 0)
		way->text = SPAN("Address is not served");
	return way->text.len <= MOST_REASON && span_is_printable(way->text)
		? NULL
		: "the text of error: is too long, or not printable ASCII";
}

static const char *
take_lmtp(struct span rest, struct transport_way *way)
{
	way->kind = BY_TRANSPORT;
	way->transport = TRANSPORT_LMTP;
	way->next_hop = rest;
	if (span_take_word(&way->next_hop, SPAN("unix:")))
		return way->next_hop.len > 0 && way->next_hop.at[0] == '/' &&
				way->next_hop.len <= MOST_SOCKET && span_is_printable(way->next_hop)
			? NULL
			: "lmtp:unix: needs the absolute name of a socket, of at most 107 octets";
	return is_host(rest, true) ? NULL : "lmtp: needs HOST:PORT or unix:/SOCKET";
}

bool
transport_parse(struct span value, struct transport_way *way, const char **why)
{
	struct span rest = span_trim(value);

	*way = (struct transport_way){ .kind = BY_TRANSPORT, .transport = TRANSPORT_RELAY };
	if (span_take_word(&rest, SPAN("smtp:"))) {
		way->transport = TRANSPORT_SMTP;
		way->next_hop = rest;
		*why = is_host(rest, false) ? NULL : "smtp: needs HOST or HOST:PORT";
	} else if (span_take_word(&rest, SPAN("lmtp:"))) {
		*why = take_lmtp(rest, way);
	} else if (span_take_word(&rest, SPAN("error:"))) {
		*why = take_error(rest, way);
	} else if (span_take_word(&rest, SPAN("discard"))) {
		way->kind = TO_NOWHERE;
		*why = span_take(&rest, ':') || rest.len == 0 ? NULL : "discard: takes nothing";
	} else if (span_take_word(&rest, SPAN("local"))) {
		way->kind = TO_MAILBOX;
		span_take(&rest, ':');
		*why = rest.len == 0 ? NULL : "local: takes nothing";
	} else if (span_take_word(&rest, SPAN("relay"))) {
		way->next_hop = span_take(&rest, ':') ? rest : SPAN_NONE;
		*why = (way->next_hop.len == 0 && rest.len == 0) || is_host(way->next_hop, false)
			? NULL
			: "relay: takes a domain";
	} else {
		*why = "a transport is relay:, smtp:, lmtp:, local:, discard: or error:";
	}
	return *why == NULL;
}
