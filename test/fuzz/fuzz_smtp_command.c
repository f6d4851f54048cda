/*
 * Commands: the table, the arguments of MAIL and RCPT, and what is made of them for queue and for
 * the trace lines. Nothing that is accepted holds a control character, is over its ceiling, or
 * makes a second line in a header.
 */
#include <stdlib.h>
#include <string.h>

#include "common/outcome.h"
#include "smtpd/envelope.h"
#include "smtpd/parameters.h"
#include "smtpd/received.h"
#include "smtpd/reply.h"
#include "smtpd/told.h"
#include "smtpd/verbs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_address(const struct address *a, bool utf8)
{
	struct text t = TEXT_UP_TO(MOST_ADDRESS), line = TEXT_UP_TO(MOST_TRACE);
	struct received r = {
		.helo = SPAN("x"), .ip = SPAN("192.0.2.1"), .hostname = SPAN("y"), .message = 1};
	size_t lines = 0;

	envelope_address_put(&t, a);
	if (t.failed || (utf8 && !span_is_utf8(text_span(&t))))
		abort();
	for (size_t i = 0; i < t.len; i++)
		if (t.at[i] < 0x20 || t.at[i] == 0x7f || (!utf8 && t.at[i] > 0x7f))
			abort();
	r.recipient = text_span(&t);
	received_put(&line, &r);
	return_path_put(&line, text_span(&t));
	for (size_t i = 0; i < line.len; i++)
		lines += line.at[i] == '\n';
	if (line.failed || lines != (t.len > 0 ? 6 : 5))
		abort();
	text_clear(&t);
	text_clear(&line);
}

/* What was decoded goes into headers and reports. */
static void
check_decoded(const char *text, bool utf8)
{
	if (utf8 ? !span_is_utf8(span_str(text)) : !span_is_printable(span_str(text)))
		abort();
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			abort();
}

/* What a proxy tells goes into the log and the Received field. */
static void
check_told(struct span arguments, bool forward)
{
	struct told t = { 0 };

	if (told_parse(arguments, forward, &t))
		return;
	for (size_t i = 0; i < TOLD_COUNT; i++) {
		check_decoded(t.of[i].value, false);
		if ((t.of[i].how == TOLD_VALUE) != (t.of[i].value[0] != '\0'))
			abort();
	}
}

static void
check_verdict(struct span in, uint8_t outcome)
{
	struct verdict v;
	size_t status = in.len < MOST_STATUS ? in.len : MOST_STATUS;

	verdict_read(&v, outcome, in.len > 1 ? (uint16_t)(in.at[0] << 8 | in.at[1]) : 250,
		span_part(in, 0, status), span_part(in, 0, MOST_REASON));
	if (v.code < 200 || v.code > 599 || v.code / 100 != (unsigned int)(v.status[0] - '0') ||
		v.good != (outcome == DONE) || !span_is_printable(span_str(v.reason)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in, rest;
	struct envelope_sender sender = { 0 };
	struct envelope_recipient recipient = { 0 };
	unsigned int offers = OFFERS_REQUIRETLS | OFFERS_RELEASE | OFFERS_PRIORITY | OFFERS_SOLICIT;
	struct esmtp_parameter p;
	char decoded[64];
	bool flag;

	if (size < 1 || size > 4096)
		return 0;
	flag = data[0] & 1;
	in = span_of(data + 1, size - 1);
	verb_joins_group(verb_find(in));
	if (verb_line_most(in) < COMMAND_LINE_MOST)
		abort();
	rest = span_part(in, span_index(in, ' '), in.len);
	if (!envelope_parse_mail(rest, flag ? offers | OFFERS_PARAMETERS : 0, 1000000000, 86400, &sender)) {
		check_address(&sender.address, sender.utf8);
		check_decoded(sender.envid, false);
		check_decoded(sender.auth, false);
		if (sender.solicit[0] && !solicitation_fits(span_str(sender.solicit)))
			abort();
		if (sender.hold_until > 1000086400 || sender.priority < -9 || sender.priority > 9 ||
			(sender.by_mode == 'R' && sender.by_seconds <= 0))
			abort();
	}
	if (!envelope_parse_rcpt(rest, OFFERS_PARAMETERS, flag, &recipient)) {
		check_address(&recipient.address, flag);
		check_decoded(recipient.orcpt, flag);
		if ((recipient.notify & NOTIFY_NEVER) && recipient.notify != NOTIFY_NEVER)
			abort();
	}
	while (esmtp_parameter_take(&rest, &p))
		if (esmtp_xtext_decode(p.value, decoded, sizeof(decoded)))
			check_decoded(decoded, false);
	check_told(span_part(in, span_index(in, ' '), in.len), flag);
	check_verdict(in, data[0] >> 1 & 3);
	return 0;
}
