/* Messages: the tree stays inside its message and limits, its structure fits the grammar,
 * sections and searching survive. The first byte chooses what is searched for. */
#include <stdlib.h>

#include "imapd/bodystructure.h"
#include "imapd/crlf.h"
#include "imapd/match.h"
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
check_tree(const struct mime *mime)
{
	must(mime->count >= 1 && mime->count <= MOST_PARTS);
	for (uint32_t i = 0; i < mime->count; i++) {
		const struct part *part = &mime->parts[i];

		must(part->depth <= MOST_PART_DEPTH && (part->parent == NO_PART) == (i == 0));
		must(part->header_at + part->header_len == part->body_at);
		must(part->body_at + part->body_len <= mime->message.len);
		must((part->kind == PART_LEAF) == (part->first_child == NO_PART));
		if (part->parent != NO_PART) {
			const struct part *above = &mime->parts[part->parent];

			must(part->header_at >= above->body_at ||
				part->header_len + part->body_len == 0);
			must(part->body_len == 0 ||
				part->body_at + part->body_len <= above->body_at + above->body_len);
		}
	}
}

static void
check_structure(const struct mime *mime, bool extended)
{
	struct text out = TEXT_UP_TO(MOST_BODYSTRUCTURE);
	struct span in;

	bodystructure_write(mime, extended, &out);
	in = text_span(&out);
	must(g_body(&in, extended, 0) && in.len == 0);
	text_clear(&out);
}

static void
check_sections(const struct mime *mime)
{
	static const struct span sections[] = { SPAN("[1]"), SPAN("[1.MIME]<1.5>"),
		SPAN("[1.1.HEADER]"), SPAN("[2.TEXT]"), SPAN("[HEADER.FIELDS.NOT (To)]"),
		SPAN("[TEXT]<3.9>"), SPAN("[1.HEADER.FIELDS (X)]") };
	struct text store = TEXT_UP_TO(1);

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		struct span in = sections[i], bytes;
		struct section section;
		const char *wrong;

		must(section_take(&in, &section, &wrong));
		if (section_find(&section, mime->message, mime, &store, &bytes))
			must(bytes.len <= mime->message.len + 4);
		section_clear(&section);
	}
	text_clear(&store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text whole = TEXT_UP_TO(2 * size);
	struct crlf_facts facts;
	struct needle needle;
	struct span message;
	struct mime mime;
	bool bad;

	if (size < 1)
		return 0;
	message = span_of(data + 1, size - 1);
	crlf_count(message, &facts);
	if (facts.bare > 0 && (data[0] & 1) != 0) {
		crlf_convert(message, &whole);
		must(!whole.failed && whole.len == facts.size);
		message = text_span(&whole);
	}
	mime_parse(message, &mime);
	check_tree(&mime);
	check_structure(&mime, false);
	check_structure(&mime, true);
	check_sections(&mime);
	if (needle_init(&needle, span_of(data, size > 8 ? 3 : 1), SPAN_NONE, &bad)) {
		bool body = match_body(&needle, &mime);

		must(!body || match_message(&needle, &mime));
		needle_clear(&needle);
	}
	mime_clear(&mime);
	text_clear(&whole);
	return 0;
}
