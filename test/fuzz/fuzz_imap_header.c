/* Headers: the envelope fits the grammar; encoded words become UTF-8; dates print and parse to
 * themselves; names of mailboxes come back as they were, and their form NFC has itself as that. */
#include <stdlib.h>

#include "imapd/date.h"
#include "imapd/encoded-word.h"
#include "imapd/envelope.h"
#include "imapd/header.h"
#include "imapd/mutf7.h"
#include "imapd/nfc.h"
#include "imapd/section.h"

#include "imap_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
check_date(struct span value)
{
	struct text out = TEXT_UP_TO(100);
	struct date date, again;
	struct span in;

	if (date_parse(value, &date)) {
		date_add_time(&out, date.utc, date.zone);
		in = text_span(&out);
		must(date_take_time(&in, &again) && in.len == 0);
		must(again.utc == date.utc && date_day_of(date.utc, date.zone) == date.day);
	}
	text_clear(&out);
}

static void
check_value(struct span value)
{
	struct text out = TEXT_UP_TO(8 * value.len + 64);

	encoded_word_decode(value, &out);
	must(!out.failed && (span_is_utf8(text_span(&out)) || span_has(text_span(&out), 0)));
	text_clear(&out);
	check_date(value);
}

static void
check_name(struct span name)
{
	struct text utf8 = TEXT_UP_TO(4 * name.len + 64), back = TEXT_UP_TO(4 * name.len + 64);

	if (mutf7_to_utf8(name, &utf8)) {
		must(span_is_utf8(text_span(&utf8)));
		must(mutf7_from_utf8(text_span(&utf8), &back) &&
			span_equal(text_span(&back), name));
	}
	text_reset(&utf8);
	text_reset(&back);
	if (mutf7_from_utf8(name, &utf8))
		must(mutf7_to_utf8(text_span(&utf8), &back) && span_equal(text_span(&back), name));
	text_clear(&utf8);
	text_clear(&back);
}

/* What is in NFC stays, and has no character that a name of ours may not have, unless it was there before. */
static void
check_form(struct span utf8)
{
	struct text form = TEXT_UP_TO(4 * MOST_NFC_CHARACTERS), again = TEXT_UP_TO(4 * MOST_NFC_CHARACTERS);

	if (nfc_add(&form, utf8)) {
		must(span_is_utf8(text_span(&form)) || span_has(utf8, 0));
		must(nfc_add(&again, text_span(&form)));
		must(span_equal(text_span(&form), text_span(&again)));
		for (const char *at = "/.~&%*\r\n"; *at != '\0'; at++)
			must(span_has(utf8, (unsigned char)*at) || !span_has(text_span(&form), (unsigned char)*at));
	}
	text_clear(&form);
	text_clear(&again);
}

static void
check_section(struct span in)
{
	struct text out = TEXT_UP_TO(8 * in.len + 64), again = TEXT_UP_TO(8 * in.len + 64);
	struct section section;
	struct span printed;
	const char *wrong;

	if (!section_take(&in, &section, &wrong))
		return;
	section.partial = false;
	section_write(&section, &out);
	section_clear(&section);
	printed = text_span(&out);
	must(section_take(&printed, &section, &wrong) && printed.len == 0);
	section_write(&section, &again);
	must(span_equal(text_span(&out), text_span(&again)));
	section_clear(&section);
	text_clear(&out);
	text_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text out = TEXT_UP_TO(MOST_ENVELOPE);
	struct span header = span_of(data, size), in;
	struct field field;
	size_t length = header_length(header);

	must(length <= size);
	envelope_write(header, &out);
	in = text_span(&out);
	must(g_envelope(&in) && in.len == 0);
	text_clear(&out);
	for (in = header; field_take(&in, &field);)
		check_value(field.value);
	check_name(header);
	check_form(header);
	check_section(header);
	return 0;
}
