/* argon2-form - see argon2-form.h. */
#include "argon2-form.h"

#include "users.h"

#define VERSION_UNSAID 16

static bool
take_parameter(struct span *in, struct span name, uint32_t most, uint32_t *to)
{
	uint64_t number;

	if (!span_take_word(in, name) || !span_take_number(in, most, &number))
		return false;
	*to = (uint32_t)number;
	return true;
}

static bool
add_unpadded(struct text *to, struct span base64)
{
	struct text padded = TEXT_UP_TO(MOST_HASH + 3);
	bool good;

	text_add(&padded, base64);
	while (padded.len % 4 != 0 && !padded.failed)
		text_add_byte(&padded, '=');
	good = !padded.failed && !span_has(base64, '=') && text_add_base64_decoded(to, text_span(&padded));
	text_wipe(&padded);
	return good;
}

bool
argon2_form_read(struct span hash, struct argon2_form *f)
{
	struct span salt;

	*f = (struct argon2_form){ .version = VERSION_UNSAID, .salt = TEXT_UP_TO(MOST_HASH), .made = TEXT_UP_TO(MOST_HASH) };
	f->both = span_take_word(&hash, SPAN("$argon2id$"));
	if (!f->both && !span_take_word(&hash, SPAN("$argon2i$")))
		return false;
	return (!take_parameter(&hash, SPAN("v="), UINT32_MAX, &f->version) || span_take(&hash, '$')) &&
		take_parameter(&hash, SPAN("m="), MOST_ARGON2_MEMORY, &f->memory) &&
		take_parameter(&hash, SPAN(",t="), UINT32_MAX, &f->passes) &&
		take_parameter(&hash, SPAN(",p="), UINT32_MAX, &f->lanes) &&
		(uint64_t)f->memory * f->passes <= MOST_ARGON2_WORK &&
		span_take(&hash, '$') && span_take_until(&hash, '$', &salt) &&
		add_unpadded(&f->salt, salt) && add_unpadded(&f->made, hash);
}

void
argon2_form_clear(struct argon2_form *f)
{
	text_clear(&f->salt);
	text_wipe(&f->made);
}
