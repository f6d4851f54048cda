/* report - see report.h. */
#include "report.h"

#include "common/beneath.h"
#include "common/embedded.h"
#include "common/id.h"
#include "common/utf8.h"

#include <stdlib.h>
#include <time.h>

static const struct {
	const char *action, *subject, *says;
} kinds[] = {
	[REPORT_FAILED] = { "failed", "Undelivered mail returned to sender",
		"could not be delivered to these recipients, and will not be tried again:" },
	[REPORT_DELAYED] = { "delayed", "Delayed mail (still being tried)",
		"has not been delivered to these recipients yet. You need not do anything: it is tried again." },
	[REPORT_DELIVERED] = { "delivered", "Mail delivered", "was delivered to these recipients:" },
	[REPORT_RELAYED] = { "relayed", "Mail relayed",
		"was handed to a server that does not tell of deliveries, for these recipients:" },
};

bool
report_is_wanted(uint8_t notify, enum report_action action)
{
	static const uint8_t bit[] = { [REPORT_FAILED] = NOTIFY_FAILURE, [REPORT_DELAYED] = NOTIFY_DELAY,
		[REPORT_DELIVERED] = NOTIFY_SUCCESS, [REPORT_RELAYED] = NOTIFY_SUCCESS };

	if (notify == 0)
		return action == REPORT_FAILED || action == REPORT_DELAYED;
	return (notify & NOTIFY_NEVER) == 0 && (notify & bit[action]) != 0;
}

void
report_clean(struct text *to, struct span s, size_t most)
{
	bool utf8 = span_is_utf8(s);

	for (size_t i = 0; i < s.len && i < most; i++) {
		unsigned char c = s.at[i];
		bool c1 = utf8 && c == 0xc2 && i + 1 < s.len && s.at[i + 1] < 0xa0;

		text_add_byte(to, c < 0x20 || c == 0x7f || c1 || (c >= 0x80 && !utf8) ? '?' : c);
	}
}

void
report_date(struct text *to, uint64_t seconds)
{
	static const char day[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char month[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
		"Oct", "Nov", "Dec" };
	time_t t = (time_t)seconds;
	struct tm tm;

	/* In UTC: the zone's file may be out of reach. */
	if (gmtime_r(&t, &tm) == NULL)
		return;
	text_printf(to, "%s, %d %s %d %02d:%02d:%02d +0000", day[tm.tm_wday], tm.tm_mday,
		month[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool
is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] >= 0x80)
			return false;
	return true;
}

/* --- what is given back --- */

struct returned {
	unsigned char *at;
	size_t len;
	bool whole;
};

/* Where the header ends: behind the empty line, or everything. */
static size_t
header_end(struct span s)
{
	for (size_t i = 0; i + 1 < s.len; i++)
		if (s.at[i] == '\n' && (s.at[i + 1] == '\n' ||
			(s.at[i + 1] == '\r' && i + 2 < s.len && s.at[i + 2] == '\n')))
			return i + 1;
	return s.len;
}

static bool
read_returned(const struct report *r, struct returned *got)
{
	const struct envelope *e = r->envelope;
	bool failed = false;
	ssize_t len;
	size_t most;

	for (size_t i = 0; i < r->count; i++)
		failed |= r->at[i].action == REPORT_FAILED;
	/* RFC 3461 4.3: RET is about failures. RFC 8689 5: of what had to go by TLS the header alone, whatever RET says. */
	got->whole = failed && e->wishes.ret != 2 && !e->wishes.require_tls && e->size <= MOST_RETURNED &&
		e->body != BODY_BINARYMIME;
	most = got->whole ? (size_t)e->size : MOST_RETURNED_HEADERS;
	got->at = must_alloc(most + 1);
	len = r->message < 0 ? -1 : read_at(r->message, got->at, most, 0);
	if (len < 0)
		return false;
	got->len = (size_t)len;
	if (!got->whole)
		got->len = header_end(span_of(got->at, got->len));
	return true;
}

/* Every line ends in CRLF. */
static void
add_lines(struct text *to, struct span s)
{
	struct span line;

	while (s.len > 0) {
		line = s;
		if (!span_take_until(&s, '\n', &line))
			s = SPAN_NONE;
		if (line.len > 0 && line.at[line.len - 1] == '\r')
			line.len--;
		for (size_t i = 0; i < line.len; i++)
			text_add_byte(to, line.at[i] == '\r' || line.at[i] == 0 ? '?' : line.at[i]);
		text_add_str(to, "\r\n");
	}
}

/* The value of the first such field of a header, without folding; empty if there is none. */
static struct span
field(struct span header, struct span name)
{
	struct span line;

	while (span_take_until(&header, '\n', &line)) {
		if (span_take_word(&line, name)) {
			line = span_trim(line);
			if (line.len > 0 && line.at[line.len - 1] == '\r')
				line.len--;
			return span_trim(line);
		}
	}
	return SPAN_NONE;
}

/* --- parts --- */

static void
add_field(struct text *to, const char *name, struct span value)
{
	if (value.len == 0)
		return;
	text_add_str(to, name);
	text_add_str(to, ": ");
	report_clean(to, value, 900);
	text_add_str(to, "\r\n");
}

static void
write_head(const struct report *r, struct span original, struct text *to, const char *boundary,
	bool eight_bit)
{
	struct span id = field(original, SPAN("Message-ID:"));

	text_add_str(to, "Date: ");
	report_date(to, r->now);
	text_add_str(to, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@");
	report_clean(to, r->hostname, MOST_HOST);
	text_add_str(to, ">\r\nTo: <");
	report_clean(to, r->to, MOST_ADDRESS);
	text_printf(to, ">\r\nSubject: %s\r\nMessage-ID: <%s.%llx@", kinds[r->at[0].action].subject,
		id_name(id_new()).str, (unsigned long long)r->now);
	report_clean(to, r->hostname, MOST_HOST);
	text_add_str(to, ">\r\n");
	if (id.len > 2 && id.at[0] == '<' && !span_has(id, ' ') && is_ascii(id)) {
		add_field(to, "In-Reply-To", id);
		add_field(to, "References", id);
	}
	text_printf(to, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n"
		"Content-Transfer-Encoding: %s\r\n\r\n",
		boundary, eight_bit ? "8bit" : "7bit");
}

static void
write_sentence(const struct report *r, struct text *to)
{
	const struct reported *first = &r->at[0];

	text_add_str(to, "This is the mail system at ");
	report_clean(to, r->hostname, MOST_HOST);
	text_printf(to, ".\r\n\r\nYour message %s\r\n", kinds[first->action].says);
	for (size_t i = 0; i < r->count; i++) {
		const struct reported *one = &r->at[i];
		const struct envelope_recipient *who = one->recipient;

		if (i > 0 && one->action != r->at[i - 1].action)
			text_printf(to, "\r\nIt %s\r\n", kinds[one->action].says);
		text_add_str(to, "\r\n<");
		report_clean(to, who->address, MOST_ADDRESS);
		text_add_str(to, ">");
		if (who->given.len > 0) {
			text_add_str(to, " (written to as <");
			report_clean(to, who->given, MOST_ADDRESS);
			text_add_str(to, ">)");
		}
		text_add_str(to, ":\r\n    ");
		report_clean(to, one->verdict.status, MOST_STATUS);
		text_add_str(to, " ");
		report_clean(to, one->verdict.reason, MOST_REASON);
		text_add_str(to, "\r\n");
	}
	if (first->action == REPORT_DELAYED && r->until > r->now) {
		text_add_str(to, "\r\nIt is tried until ");
		report_date(to, r->until);
		text_add_str(to, ".\r\n");
	}
	text_add_str(to, "\r\nThe details follow, for your postmaster and for programs.\r\n");
}

/* "host[ip]:port said: 550 ..." as Remote-MTA and Diagnostic-Code. */
static void
write_remote(const struct verdict *v, struct text *to)
{
	size_t at = span_find(v->reason, SPAN(" said: ")), bracket = span_index(v->reason, '[');

	if (at >= v->reason.len || bracket > at) {
		text_add_str(to, "Diagnostic-Code: X-Valija; ");
		report_clean(to, v->reason, MOST_REASON);
		text_add_str(to, "\r\n");
		return;
	}
	text_add_str(to, "Remote-MTA: dns; ");
	report_clean(to, span_part(v->reason, 0, bracket), MOST_HOST);
	text_add_str(to, "\r\nDiagnostic-Code: smtp; ");
	report_clean(to, span_part(v->reason, at + 7, v->reason.len), MOST_REASON);
	text_add_str(to, "\r\n");
}

/* The address of ORCPT. Where the report is internationalised anyway it is readable there (RFC 6533 section 3). */
static void
write_original(struct span type, struct span address, bool wide, struct text *to)
{
	struct text plain = TEXT_UP_TO(MOST_ADDRESS * 2);
	uint32_t code;

	wide = wide && span_equal_nocase(type, SPAN("utf-8"));
	while (address.len > 0) {
		if (wide && embedded_take(&address, &code)) {
			utf8_add(&plain, code);
			continue;
		}
		text_add_byte(&plain, address.at[0]);
		address = span_part(address, 1, address.len);
	}
	report_clean(to, text_span(&plain), MOST_ADDRESS * 2);
	text_clear(&plain);
}

static void
write_one(const struct report *r, const struct reported *one, struct text *to)
{
	const struct envelope_recipient *who = one->recipient;
	struct span status = one->verdict.status;

	text_printf(to, "\r\nFinal-Recipient: %s; ", is_ascii(who->address) ? "rfc822" : "utf-8");
	report_clean(to, who->address, MOST_ADDRESS);
	text_add_str(to, "\r\n");
	if (who->orcpt.len > 0) {
		size_t semicolon = span_index(who->orcpt, ';');

		text_add_str(to, "Original-Recipient: ");
		report_clean(to, span_part(who->orcpt, 0, semicolon), 60);
		text_add_str(to, "; ");
		write_original(span_part(who->orcpt, 0, semicolon), span_part(who->orcpt, semicolon + 1, who->orcpt.len),
			!is_ascii(who->address), to);
		text_add_str(to, "\r\n");
	}
	text_printf(to, "Action: %s\r\nStatus: ", kinds[one->action].action);
	report_clean(to, status.len > 0 ? status : SPAN("5.0.0"), MOST_STATUS);
	text_add_str(to, "\r\n");
	write_remote(&one->verdict, to);
	text_add_str(to, "Last-Attempt-Date: ");
	report_date(to, r->now);
	text_add_str(to, "\r\n");
	if (one->action == REPORT_DELAYED && r->until > r->now) {
		text_add_str(to, "Will-Retry-Until: ");
		report_date(to, r->until);
		text_add_str(to, "\r\n");
	}
}

/* RFC 4865 5.1.2: as it was asked for. */
static void
write_release(const struct wishes *w, struct text *to)
{
	time_t when = (time_t)w->hold_until;
	struct tm t;

	if (w->hold_for > 0)
		text_printf(to, "Future-Release-Request: for;%lu\r\n", (unsigned long)w->hold_for);
	else if (w->hold_until > 0 && gmtime_r(&when, &t))
		text_printf(to, "Future-Release-Request: until;%04d-%02d-%02dT%02d:%02d:%02dZ\r\n", t.tm_year + 1900,
			t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
}

static void
write_status(const struct report *r, struct text *to)
{
	text_add_str(to, "Reporting-MTA: dns; ");
	report_clean(to, r->hostname, MOST_HOST);
	text_add_str(to, "\r\n");
	add_field(to, "Original-Envelope-Id", r->envelope->wishes.envid);
	text_printf(to, "X-Valija-Message: %s\r\nArrival-Date: ", id_name(r->envelope->id).str);
	report_date(to, r->envelope->arrived);
	text_add_str(to, "\r\n");
	if (r->envelope->wishes.by_mode != 0) { /* RFC 2852 5 */
		text_add_str(to, "Deliver-By-Date: ");
		report_date(to, r->envelope->wishes.deliver_by);
		text_add_str(to, "\r\n");
	}
	write_release(&r->envelope->wishes, to);
	for (size_t i = 0; i < r->count; i++)
		write_one(r, &r->at[i], to);
}

bool
report_write(const struct report *r, struct text *to, bool *eight_bit, bool *utf8)
{
	struct text sentence = TEXT_UP_TO(MOST_REPORT), status = TEXT_UP_TO(MOST_REPORT);
	struct returned back = { .at = NULL };
	char boundary[40];
	bool good = read_returned(r, &back), eight_back, eight_status, global;
	struct text name = TEXT_UP_TO(sizeof(boundary) - 1);
	size_t header = header_end(span_of(back.at, back.len));

	text_printf(&name, "=_valija_%s", id_name(id_new()).str);
	span_copy(text_span(&name), boundary, sizeof(boundary));
	text_clear(&name);
	if (!good)
		back.len = header = 0;
	write_sentence(r, &sentence);
	write_status(r, &status);
	eight_back = !is_ascii(span_of(back.at, back.len));
	eight_status = !is_ascii(text_span(&status));
	*eight_bit = eight_back || eight_status || !is_ascii(text_span(&sentence)) || !is_ascii(r->to);
	*utf8 = !is_ascii(r->to) || eight_status || !is_ascii(span_of(back.at, header));
	/* RFC 6533 3; not so with octets of another character set. */
	global = !is_ascii(span_of(back.at, header)) && span_is_utf8(span_of(back.at, header));
	write_head(r, span_of(back.at, header), to, boundary, *eight_bit);
	text_printf(to, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: %s\r\n\r\n",
		boundary, is_ascii(text_span(&sentence)) ? "7bit" : "8bit");
	text_add(to, text_span(&sentence));
	text_printf(to, "\r\n--%s\r\nContent-Type: message/%sdelivery-status\r\n"
		"Content-Transfer-Encoding: %s\r\n\r\n",
		boundary, eight_status ? "global-" : "", eight_status ? "8bit" : "7bit");
	text_add(to, text_span(&status));
	if (good) {
		text_printf(to, "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
			boundary, back.whole ? (global ? "message/global" : "message/rfc822")
				: global ? "message/global-headers" : "text/rfc822-headers",
			eight_back ? "8bit" : "7bit");
		add_lines(to, span_of(back.at, back.len));
	}
	text_printf(to, "\r\n--%s--\r\n", boundary);
	good = !to->failed && !sentence.failed && !status.failed;
	text_clear(&sentence);
	text_clear(&status);
	free(back.at);
	return good;
}
