/* tls-report - see tls-report.h. */
#include "tls-report.h"

#include "common/wire.h"

#include <string.h>
#include <zlib.h>

#define VERSION 1
#define MOST_RESULT 40
#define MOST_WHY 120

/* --- rows --- */

bool
tls_row_decode(struct span in, struct tls_row *to)
{
	uint8_t version;

	memset(to, 0, sizeof(*to));
	if (!wire_take_u8(&in, &version, 1) || version != VERSION || !wire_take_u32(&in, &to->good, 4) ||
		!wire_take_u32(&in, &to->bad, 4))
		return false;
	while (in.len > 0 && to->failures < MOST_TLS_FAILURES) {
		struct tls_failure *f = &to->failure[to->failures++];

		if (!wire_take_text(&in, &f->result, MOST_RESULT) || !wire_take_text(&in, &f->mx, MOST_HOST) ||
			!wire_take_text(&in, &f->ip, MOST_IP) || !wire_take_text(&in, &f->own_ip, MOST_IP) ||
			!wire_take_text(&in, &f->reason, MOST_WHY) || !wire_take_u32(&in, &f->count, 4))
			return false;
	}
	return in.len == 0;
}

void
tls_row_encode(const struct tls_row *row, struct text *to)
{
	wire_add_u8(to, VERSION, 1);
	wire_add_u32(to, row->good, 4);
	wire_add_u32(to, row->bad, 4);
	for (size_t i = 0; i < row->failures; i++) {
		const struct tls_failure *f = &row->failure[i];

		wire_add_text(to, f->result, MOST_RESULT);
		wire_add_text(to, f->mx, MOST_HOST);
		wire_add_text(to, f->ip, MOST_IP);
		wire_add_text(to, f->own_ip, MOST_IP);
		wire_add_text(to, f->reason, MOST_WHY);
		wire_add_u32(to, f->count, 4);
	}
}

static void
count_up(uint32_t *n)
{
	if (*n < UINT32_MAX)
		++*n;
}

void
tls_row_count(struct tls_row *row, const struct msg_tls_seen *m)
{
	struct tls_failure one = { m->result, m->mx, m->ip, m->own_ip, span_part(m->reason, 0, MOST_WHY), 1 };

	if (m->result.len == 0) {
		count_up(&row->good);
		return;
	}
	count_up(&row->bad);
	for (size_t i = 0; i < row->failures; i++) {
		struct tls_failure *f = &row->failure[i];

		if (span_equal(f->result, one.result) && span_equal(f->mx, one.mx) && span_equal(f->ip, one.ip) &&
			span_equal(f->own_ip, one.own_ip)) {
			count_up(&f->count);
			return;
		}
	}
	if (row->failures < MOST_TLS_FAILURES)
		row->failure[row->failures++] = one;
}

/* --- where to --- */

static bool
is_usable(struct span uri)
{
	return uri.len <= MOST_RUA_URI && span_is_printable(uri) && !span_has(uri, ' ') &&
		(span_starts_nocase(uri, SPAN("https://")) || span_starts_nocase(uri, SPAN("mailto:")));
}

size_t
tls_rua_read(struct span txt, struct span uri[MOST_RUA])
{
	struct span field, one;
	size_t count = 0;

	if (!span_take_word(&txt, SPAN("v=TLSRPTv1")) || (txt.len > 0 && txt.at[0] != ';' && txt.at[0] != ' '))
		return 0;
	while (txt.len > 0) {
		field = span_part(txt, 0, span_index(txt, ';'));
		txt = span_part(txt, field.len + 1, txt.len);
		field = span_trim(field);
		if (!span_take_word(&field, SPAN("rua=")))
			continue;
		while (field.len > 0 && count < MOST_RUA) {
			one = span_part(field, 0, span_index(field, ','));
			field = span_part(field, one.len + 1, field.len);
			one = span_trim(one);
			if (is_usable(one))
				uri[count++] = one;
		}
	}
	return count;
}

/* --- the report --- */

static void
add_string(struct text *to, struct span s)
{
	text_add_byte(to, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (c == '"' || c == '\\')
			text_printf(to, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			text_printf(to, "\\u%04x", c);
		else
			text_add_byte(to, c);
	}
	text_add_byte(to, '"');
}

static void
add_member(struct text *to, const char *name, struct span value)
{
	text_printf(to, "\"%s\":", name);
	add_string(to, value);
}

void
tls_report_begin(struct text *to, const struct tls_report *r)
{
	text_add_byte(to, '{');
	add_member(to, "organization-name", r->organization);
	text_printf(to, ",\"date-range\":{\"start-datetime\":\"%sT00:00:00Z\",\"end-datetime\":\"%sT23:59:59Z\"},",
		r->day, r->day);
	add_member(to, "contact-info", r->contact);
	text_add_byte(to, ',');
	add_member(to, "report-id", span_str(r->id));
	text_add_str(to, ",\"policies\":[");
}

static void
add_sts(struct text *to, const struct sts_remembered *sts)
{
	static const char *const modes[] = { "none", "testing", "enforce" };
	struct span rest = text_span(&sts->mx), mx;
	struct text line = TEXT_UP_TO(MOST_HOST + 32);
	const char *comma = "";

	text_printf(to, ",\"policy-string\":[\"version: STSv1\",\"mode: %s\",\"max_age: %llu\"",
		modes[sts->mode], (unsigned long long)(sts->expires - sts->fetched));
	while (span_take_until(&rest, '\n', &mx)) {
		text_reset(&line);
		text_printf(&line, "mx: %.*s", SPAN_ARG(mx));
		text_add_byte(to, ',');
		add_string(to, text_span(&line));
	}
	text_add_str(to, "],\"mx-host\":[");
	rest = text_span(&sts->mx);
	while (span_take_until(&rest, '\n', &mx)) {
		text_add_str(to, comma);
		add_string(to, mx);
		comma = ",";
	}
	text_add_byte(to, ']');
	text_clear(&line);
}

void
tls_report_policy(struct text *to, const struct tls_report *r, enum tls_policy_type type,
	const struct sts_remembered *sts, const struct tls_row *row, bool first)
{
	static const char *const types[] = { [TLS_POLICY_STS] = "sts", [TLS_POLICY_TLSA] = "tlsa",
		[TLS_POLICY_NONE] = "no-policy-found" };

	text_printf(to, "%s{\"policy\":{\"policy-type\":\"%s\",", first ? "" : ",", types[type]);
	add_member(to, "policy-domain", r->domain);
	if (type == TLS_POLICY_STS && sts != NULL)
		add_sts(to, sts);
	text_printf(to, "},\"summary\":{\"total-successful-session-count\":%u,\"total-failure-session-count\":%u}",
		row->good, row->bad);
	if (row->failures > 0)
		text_add_str(to, ",\"failure-details\":[");
	for (size_t i = 0; i < row->failures; i++) {
		const struct tls_failure *f = &row->failure[i];

		text_add_str(to, i == 0 ? "{" : ",{");
		add_member(to, "result-type", f->result);
		if (f->own_ip.len > 0) {
			text_add_byte(to, ',');
			add_member(to, "sending-mta-ip", f->own_ip);
		}
		if (f->mx.len > 0) {
			text_add_byte(to, ',');
			add_member(to, "receiving-mx-hostname", f->mx);
		}
		if (f->ip.len > 0) {
			text_add_byte(to, ',');
			add_member(to, "receiving-ip", f->ip);
		}
		text_printf(to, ",\"failed-session-count\":%u", f->count);
		if (f->reason.len > 0) {
			text_add_byte(to, ',');
			add_member(to, "failure-reason-code", f->reason);
		}
		text_add_byte(to, '}');
	}
	text_add_str(to, row->failures > 0 ? "]}" : "}");
}

void
tls_report_end(struct text *to)
{
	text_add_str(to, "]}");
}

bool
tls_report_compress(struct span json, struct text *to)
{
	unsigned char piece[8192];
	z_stream z;
	int said;

	memset(&z, 0, sizeof(z));
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	z.next_in = (Bytef *)(uintptr_t)json.at; /* zlib does not write there */
	z.avail_in = (uInt)json.len;
	do {
		z.next_out = piece;
		z.avail_out = sizeof(piece);
		said = deflate(&z, Z_FINISH);
		text_add(to, span_of(piece, sizeof(piece) - z.avail_out));
	} while (said == Z_OK);
	deflateEnd(&z);
	return said == Z_STREAM_END && !to->failed;
}

void
tls_report_mail(struct text *to, const struct tls_report *r, struct span from, struct span recipient,
	struct span compressed, const char *date)
{
	static const char boundary[] = "=_tls-report";
	struct text base64 = TEXT_UP_TO(2 * compressed.len + 4);
	struct span rest;

	text_printf(to, "From: <%.*s>\r\nTo: <%.*s>\r\nDate: %s\r\n", SPAN_ARG(from), SPAN_ARG(recipient), date);
	text_printf(to, "Subject: Report Domain: %.*s Submitter: %.*s\r\n Report-ID: <%s@%.*s>\r\n",
		SPAN_ARG(r->domain), SPAN_ARG(r->organization), r->id, SPAN_ARG(r->organization));
	text_printf(to, "Message-ID: <%s@%.*s>\r\nTLS-Report-Domain: %.*s\r\nTLS-Report-Submitter: %.*s\r\n", r->id,
		SPAN_ARG(r->organization), SPAN_ARG(r->domain), SPAN_ARG(r->organization));
	text_printf(to, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"%s\"\r\n\r\n--%s\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
		"This is a report about TLS connections of %.*s\r\nto the mail servers of %.*s, %s (RFC 8460).\r\n--%s\r\n"
		"Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n"
		"Content-Disposition: attachment;\r\n\tfilename=\"%.*s!%.*s!%s.json.gz\"\r\n\r\n",
		boundary, boundary, SPAN_ARG(r->organization), SPAN_ARG(r->domain), r->day, boundary,
		SPAN_ARG(r->organization), SPAN_ARG(r->domain), r->day);
	text_add_base64(&base64, compressed);
	for (rest = text_span(&base64); rest.len > 0; rest = span_part(rest, 76, rest.len)) {
		text_add(to, span_part(rest, 0, 76));
		text_add_str(to, "\r\n");
	}
	text_printf(to, "--%s--\r\n", boundary);
	text_clear(&base64);
}
