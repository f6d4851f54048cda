/*
 * bodystructure - BODYSTRUCTURE and BODY of a parsed message. See bodystructure.h.
 *
 * Comments name the rules of RFC 3501 section 9. The recursion is as deep as the tree, at
 * most MOST_PART_DEPTH.
 */
#include "imapd/bodystructure.h"

#include "imapd/envelope.h"
#include "imapd/header.h"
#include "imapd/quote.h"

#define MOST_LANGUAGES 100

static struct span
value_of(struct span field)
{
	return span_part(field, 0, MOST_FIELD_VALUE);
}

struct parameter_list {
	struct text *out;
	size_t count;
};

static void
parameter_write(void *me, struct span name, struct span value)
{
	struct parameter_list *list = me;

	text_add_byte(list->out, list->count++ == 0 ? '(' : ' ');
	quote_string(list->out, name);
	text_add_byte(list->out, ' ');
	quote_string(list->out, value);
}

/* body-fld-param, of what follows the first word of a field. */
static void
parameters_write(struct span in, struct text *out)
{
	struct parameter_list list = { out, 0 };

	parameters_tell(in, parameter_write, &list);
	text_add(out, list.count == 0 ? SPAN("NIL") : SPAN(")"));
}

/* body-fld-param of the part's type. */
static void
type_parameters_write(const struct part *part, struct text *out)
{
	struct span in = value_of(part->content_type), type, subtype;

	if (in.at != NULL && content_type_take(&in, &type, &subtype))
		parameters_write(in, out);
	else if (part_is_text(part))
		text_add(out, SPAN("(\"charset\" \"us-ascii\")"));   /* RFC 2045 5.2 */
	else
		text_add(out, SPAN("NIL"));
}

/* body-fld-dsp */
static void
disposition_write(const struct part *part, struct text *out)
{
	struct span in = value_of(part->disposition), token;

	if (!mime_token_take(&in, &token)) {
		text_add(out, SPAN("NIL"));
		return;
	}
	text_add_byte(out, '(');
	quote_string(out, token);
	text_add_byte(out, ' ');
	parameters_write(in, out);
	text_add_byte(out, ')');
}

/* body-fld-lang: one tag as a string, several as a list (RFC 3282). */
static void
language_write(const struct part *part, struct text *out)
{
	struct span in = value_of(part->language), token;
	struct text tags = TEXT_UP_TO(MOST_FIELD_VALUE * 4);
	size_t count = 0;

	while (count < MOST_LANGUAGES && mime_token_take(&in, &token)) {
		if (count++ > 0)
			text_add_byte(&tags, ' ');
		quote_string(&tags, token);
		cfws_skip(&in, NULL);
		if (!span_take(&in, ','))
			break;
	}
	if (count == 0)
		text_add(&tags, SPAN("NIL"));
	if (count > 1)
		text_add_byte(out, '(');
	text_add(out, text_span(&tags));
	if (count > 1)
		text_add_byte(out, ')');
	text_clear(&tags);
}

/* [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc]]], the end of both kinds of extension
 * data. */
static void
extension_write(const struct part *part, struct text *out)
{
	text_add_byte(out, ' ');
	disposition_write(part, out);
	text_add_byte(out, ' ');
	language_write(part, out);
	text_add_byte(out, ' ');
	quote_field(out, part->location);
}

/* body-fields: parameters, id, description, encoding, octets. */
static void
fields_write(const struct part *part, struct text *out)
{
	struct span encoding = value_of(part->encoding), token;

	type_parameters_write(part, out);
	text_add_byte(out, ' ');
	quote_field(out, part->id);
	text_add_byte(out, ' ');
	quote_field(out, part->description);
	text_add_byte(out, ' ');
	quote_string(out, mime_token_take(&encoding, &token) ? token : SPAN("7bit"));
	text_add_byte(out, ' ');
	text_add_number(out, part->body_len);
}

static void part_write(const struct mime *mime, const struct part *part, bool extended,
	struct text *out);

/* body-type-basic, body-type-text and body-type-msg, with body-ext-1part. */
static void
single_write(const struct mime *mime, const struct part *part, bool extended, struct text *out)
{
	quote_string(out, part->type);
	text_add_byte(out, ' ');
	quote_string(out, part->subtype);
	text_add_byte(out, ' ');
	fields_write(part, out);
	if (part->kind == PART_MESSAGE) {
		const struct part *inside = &mime->parts[part->first_child];

		text_add_byte(out, ' ');
		envelope_write(mime_header(mime, inside), out);
		text_add_byte(out, ' ');
		part_write(mime, inside, extended, out);
	}
	if (part->kind == PART_MESSAGE || part_is_text(part)) {
		text_add_byte(out, ' ');
		text_add_number(out, part->lines);
	}
	if (!extended)
		return;
	text_add_byte(out, ' ');
	quote_field(out, part->md5);
	extension_write(part, out);
}

/* body-type-mpart, with body-ext-mpart. */
static void
multipart_write(const struct mime *mime, const struct part *part, bool extended, struct text *out)
{
	uint32_t child;

	for (child = part->first_child; child != NO_PART; child = mime->parts[child].next)
		part_write(mime, &mime->parts[child], extended, out);
	text_add_byte(out, ' ');
	quote_string(out, part->subtype);
	if (!extended)
		return;
	text_add_byte(out, ' ');
	type_parameters_write(part, out);
	extension_write(part, out);
}

static void
part_write(const struct mime *mime, const struct part *part, bool extended, struct text *out)
{
	if (out->failed)
		return;
	text_add_byte(out, '(');
	if (part->kind == PART_MULTIPART)
		multipart_write(mime, part, extended, out);
	else
		single_write(mime, part, extended, out);
	text_add_byte(out, ')');
}

void
bodystructure_write(const struct mime *mime, bool extended, struct text *out)
{
	struct text structure = TEXT_UP_TO(MOST_BODYSTRUCTURE);

	part_write(mime, &mime->parts[0], extended, &structure);
	if (structure.failed) {
		text_reset(&structure);
		text_add(&structure,
			SPAN("(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" "));
		text_add_number(&structure, mime->parts[0].body_len);
		text_add(&structure, extended ? SPAN(" NIL NIL NIL NIL)") : SPAN(")"));
	}
	text_add(out, text_span(&structure));
	text_clear(&structure);
}
