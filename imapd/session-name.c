/* session-name - names of mailboxes as a session spells them: in modified UTF-7, or, once it has
 * enabled IMAP4rev2 or UTF8=ACCEPT, in UTF-8. On disk they are modified UTF-7 always. */
#include "imapd/session.h"

#include "imapd/folder.h"
#include "imapd/mutf7.h"
#include "imapd/quote.h"

void
session_name_write(const struct session *s, struct span wire, struct text *out)
{
	struct text utf8 = TEXT_UP_TO(4 * MOST_FOLDER_NAME);

	if (s->utf8 && mutf7_to_utf8(wire, &utf8))
		quote_utf8(out, text_span(&utf8));
	else
		quote_astring(out, wire);
	text_clear(&utf8);
}

bool
session_folder_of(const struct session *s, struct span name, char *folder, const char **why)
{
	struct text wire = TEXT_UP_TO(MOST_FOLDER_NAME);
	bool good;

	if (!s->utf8)
		return folder_of_name(name, folder, why);
	*why = "the name is not UTF-8 without control characters, or too long";
	good = mutf7_from_utf8(name, &wire) && folder_of_name(text_span(&wire), folder, why);
	text_clear(&wire);
	return good;
}
