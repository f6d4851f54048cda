/* password-prepare - see password.h: the form in which passwords are compared. */
#include "password.h"

#include <stdlib.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "secret.h"

const char password_of_nobody[] =
	"$y$j9T$FG8.4AmHxOLhWnSbh8lFy/$6a6CR4oWVLpKOtDiRhIoypFEpafASPMQhJ/PbHbdwJB";

/* RFC 8265 4.2.2, second rule: every space (category Zs) is U+0020. False: RFC 8264 4.3's
 * disallowed controls, or not UTF-8. */
static bool
map_spaces(struct span raw, struct text *to)
{
	size_t at = 0;
	ucs4_t c;
	int n;

	while (at < raw.len) {
		n = u8_mbtoucr(&c, raw.at + at, raw.len - at);
		if (n <= 0 || uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Cc))
			return false;
		if (uc_is_general_category_withtable(c, UC_CATEGORY_MASK_Zs))
			text_add_byte(to, ' ');
		else
			text_add(to, span_part(raw, at, (size_t)n));
		at += (size_t)n;
	}
	return !to->failed;
}

bool
password_prepare(struct span raw, struct text *to)
{
	struct text mapped = TEXT_UP_TO(MOST_PASSWORD);
	uint8_t *made = NULL;
	size_t len = 0;
	bool ok = false;

	if (raw.len == 0 || raw.len > MOST_PASSWORD || !map_spaces(raw, &mapped))
		goto out;
	if (span_is_printable(text_span(&mapped))) {
		text_add(to, text_span(&mapped));
	} else {
		made = u8_normalize(UNINORM_NFC, mapped.at, mapped.len, NULL, &len);
		if (made == NULL || len > MOST_PASSWORD)
			goto out;
		text_add(to, span_of(made, len));
	}
	ok = !to->failed;
out:
	if (made != NULL) {
		secret_wipe(made, len);
		free(made);
	}
	text_wipe(&mapped);
	return ok;
}
