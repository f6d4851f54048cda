/* The header scan: every message whole and cut in two at every place gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "smtpd/header.h"

static const struct row {
	const char *in, *out, *rest;
	bool bcc_stays, date, id, folded, blank;
	uint32_t received;
} rows[] = {
	{ "Date: x\r\nMessage-ID: y\r\n\r\nbody\r\n", "Date: x\r\nMessage-ID: y\r\n\r\n", "body\r\n",
		false, true, true, false, false, 0 },
	{ "DATE : x\r\n y\r\n\r\n", "DATE : x\r\n y\r\n\r\n", "", false, true, false, false, false, 0 },
	{ "X-Date: Date: x\r\n\r\n", "X-Date: Date: x\r\n\r\n", "", false, false, false, false, false, 0 },
	{ "Received: a\r\n\tReceived: b\r\nreceived: c\r\n\r\nReceived: d\r\n",
		"Received: a\r\n\tReceived: b\r\nreceived: c\r\n\r\n", "Received: d\r\n",
		false, false, false, false, false, 2 },
	{ "A: b\r\nBcc: c,\r\n d\r\n\t e\r\nF: g\r\n\r\n", "A: b\r\nF: g\r\n\r\n", "", false, false, false, false, false, 0 },
	{ "Bcc: c\r\n\r\n", "\r\n", "", false, false, false, false, false, 0 },
	{ "Bcc: c\r\n\r\n", "Bcc: c\r\n\r\n", "", true, false, false, false, false, 0 },
	{ "Resent-Bcc: c,\r\n d\r\nreturn-path: <x>\r\nA: b\r\n\r\n", "A: b\r\n\r\n", "", false, false, false, false, false, 0 },
	{ "Resent-Bcc: c\r\nReturn-Path: <x>\r\n\r\n", "Resent-Bcc: c\r\nReturn-Path: <x>\r\n\r\n", "",
		true, false, false, false, false, 0 },
	{ "Bcc: c\r\nBccX: d\r\n\r\n", "BccX: d\r\n\r\n", "", false, false, false, false, false, 0 },
	{ " folded\r\nA: b\r\n\r\n", " folded\r\nA: b\r\n\r\n", "", false, false, false, true, false, 0 },
	{ "A: b\r\nno field\r\nC: d\r\n", "A: b\r\n\r\nno ", "field\r\nC: d\r\n", false, false, false, false, true, 0 },
	{ "\r\nbody", "\r\n", "body", false, false, false, false, false, 0 },
	{ ": x\r\n", "\r\n:", " x\r\n", false, false, false, false, true, 0 },
	{ "\xc3\xbc: x\r\n", "\r\n\xc3", "\xbc: x\r\n", false, false, false, false, true, 0 },
	{ "A: b\r\n", "A: b\r\n", "", false, false, false, false, false, 0 },
};

static void
check(const struct row *row, size_t cut)
{
	struct span all = span_str(row->in);
	struct header_scan h = { .submitted = !row->bcc_stays };
	struct text out = TEXT_UP_TO(4096), rest = TEXT_UP_TO(4096);

	for (int i = 0; i < 2; i++) {
		struct span piece = i == 0 ? span_part(all, 0, cut) : span_part(all, cut, all.len);

		header_scan_feed(&h, &piece, &out);
		text_add(&rest, piece);
	}
	header_scan_finish(&h, &out);
	/* Where exactly a line was found to be no field is nobody's business: header and rest together count. */
	text_add(&out, text_span(&rest));
	text_reset(&rest);
	text_add_str(&rest, row->out);
	text_add_str(&rest, row->rest);
	assert_true(span_equal(text_span(&out), text_span(&rest)));
	assert_int_equal(h.has_date, row->date);
	assert_int_equal(h.has_message_id, row->id);
	assert_int_equal(h.starts_folded, row->folded);
	assert_int_equal(h.needs_blank_line, row->blank);
	assert_int_equal(h.received, row->received);
	text_clear(&out);
	text_clear(&rest);
}

static void
every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t cut = 0; cut <= strlen(rows[i].in); cut++)
			check(&rows[i], cut);
}

static void
longest_name(void **state)
{
	char line[HEADER_NAME_MOST + 8];

	(void)state;
	for (size_t len = HEADER_NAME_MOST - 2; len <= HEADER_NAME_MOST + 1; len++) {
		struct header_scan h = { 0 };
		struct text out = TEXT_UP_TO(4096);
		struct span in = span_of(line, len + 3);

		memset(line, 'x', len);
		memcpy(line + len, ":\r\n", 3);
		header_scan_feed(&h, &in, &out);
		assert_int_equal(h.needs_blank_line, len + 1 > HEADER_NAME_MOST);
		text_clear(&out);
	}
}

/* RFC 8689 section 3, wherever the packets end; a second field, or any other value, is none. */
static void
tls_required_is_no(void **state)
{
	static const struct {
		const char *in;
		bool no;
	} all[] = {
		{ "TLS-Required: No\r\n\r\n", true }, { "A: b\r\ntls-required:\r\n \tnO \r\nC: d\r\n\r\nx", true },
		{ "TLS-Required:No\r\n", true }, { "TLS-Required: Non\r\n\r\n", false },
		{ "TLS-Required: N\r\no: x\r\n\r\n", false }, { "TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false },
		{ "TLS-Required: Yes\r\n\r\n", false }, { "TLS-Required:\r\nX: No\r\n\r\n", false },
		{ "X-TLS-Required: No\r\n\r\n", false }, { "TLS-Required: (\r\n) No\r\n\r\n", false },
		{ "A: b\r\n\r\nTLS-Required: No\r\n", false }, { "TLS-Required: no no\r\n\r\n", false },
		{ "TLS-Required: N o\r\n\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (size_t cut = 0; cut <= strlen(all[i].in); cut++) {
			struct header_scan h = { .place = HEADER_LINE };
			struct text out = TEXT_UP_TO(4096);
			struct span first = span_part(span_str(all[i].in), 0, cut),
				    second = span_part(span_str(all[i].in), cut, strlen(all[i].in));

			header_scan_feed(&h, &first, &out);
			header_scan_feed(&h, &second, &out);
			header_scan_finish(&h, &out);
			assert_int_equal(header_wants_no_tls(&h), all[i].no);
			text_clear(&out);
		}
}

/* What fields of this name say is kept as far as there is room, wherever the input is cut; no other's. */
static void
solicitation_is_kept(void **state)
{
	static const char in[] = "X: org.example:NO\r\nSolicitation: net.example:ADV,\r\n\t org.example:ADV\r\nY: z\r\n"
				 "solicitation : b\r\n\r\nSolicitation: no\r\n";
	struct text out = TEXT_UP_TO(1 << 16), long_field = TEXT_UP_TO(1 << 16);

	(void)state;
	for (size_t cut = 0; cut < sizeof(in); cut++) {
		struct header_scan h = { 0 };
		struct span first = span_part(span_str(in), 0, cut), second = span_part(span_str(in), cut, sizeof(in));

		header_scan_feed(&h, &first, &out);
		header_scan_feed(&h, &second, &out);
		assert_true(span_equal(span_of(h.solicitation, h.solicitation_len),
			SPAN(", net.example:ADV, org.example:ADV , b ")));
	}
	text_add_str(&long_field, "Solicitation: ");
	for (int i = 0; i < 2000; i++)
		text_add_str(&long_field, "ab,");
	text_add_str(&long_field, "\r\n\r\n");
	{
		struct header_scan h = { 0 };
		struct span all = text_span(&long_field);

		text_reset(&out);
		header_scan_feed(&h, &all, &out);
		assert_int_equal(h.solicitation_len, SOLICITATION_MOST);
		assert_int_equal(out.len, long_field.len);
	}
	text_clear(&out);
	text_clear(&long_field);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_cut), cmocka_unit_test(longest_name),
		cmocka_unit_test(tls_required_is_no), cmocka_unit_test(solicitation_is_kept) };

	return cmocka_run_group_tests_name("smtpd_header", tests, NULL, NULL);
}
