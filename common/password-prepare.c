/* password-prepare - see password.h: the form in which passwords are compared. */
#include "password.h"

#include <gsasl.h>
#include <string.h>

#include "secret.h"

const char password_of_nobody[] =
	"$y$j9T$FG8.4AmHxOLhWnSbh8lFy/$6a6CR4oWVLpKOtDiRhIoypFEpafASPMQhJ/PbHbdwJB";

static void
forget(char **made)
{
	if (*made == NULL)
		return;
	secret_wipe(*made, strlen(*made));
	gsasl_free(*made);
	*made = NULL;
}

/* RFC 4013 makes of ASCII without control characters what it is. Most passwords are that, and the library takes longer
 * for it than everything else here. */
static bool
is_printable(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x20 || s.at[i] > 0x7e)
			return false;
	return s.len > 0;
}

bool
password_prepare(struct span raw, struct text *to)
{
	struct text copy = TEXT_UP_TO(MOST_PASSWORD);
	char *made = NULL;
	bool ok = false;

	if (raw.len <= MOST_PASSWORD && is_printable(raw)) {
		text_add(to, raw);
		return !to->failed;
	}
	text_add(&copy, raw);
	if (raw.len == 0 || copy.failed || span_has(raw, '\0'))
		goto out;
	/* What Unicode 3.2 did not know is refused: the library's PLAIN refuses it in a login. Both
	 * ways, because version 2.2 takes the flag for its opposite. */
	if (gsasl_saslprep(text_str(&copy), GSASL_ALLOW_UNASSIGNED, &made, NULL) != GSASL_OK)
		goto out;
	forget(&made);
	if (gsasl_saslprep(text_str(&copy), 0, &made, NULL) != GSASL_OK)
		goto out;
	text_add_str(to, made);
	ok = to->len > 0 && to->len <= MOST_PASSWORD && !to->failed;
out:
	forget(&made);
	text_wipe(&copy);
	return ok;
}
