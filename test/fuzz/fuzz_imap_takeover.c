/* Lists of Dovecot and Courier: whatever is in them, UIDs ascend and stay below the next one, names
 * are names of files, keywords are atoms, and every question is answered within the lists. */
#include <stdlib.h>

#include "imapd/imap-parse.h"
#include "imapd/takeover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
check_keywords(const struct takeover *t, struct span base, uint32_t lower)
{
	struct span names[KEYWORD_LETTERS + MOST_KEYWORDS], rest, atom;
	size_t count = takeover_keywords(t, base, lower, names);

	must(count <= KEYWORD_LETTERS + MOST_KEYWORDS);
	for (size_t i = 0; i < count; i++) {
		rest = names[i];
		must(imap_take_atom(&rest, &atom) && rest.len == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct takeover t = { .uidvalidity = 0 };
	struct span in = span_of(data, size);
	uint32_t last = 0;

	must(takeover_parse_uids(&t, in) || t.uid_count == 0);
	for (size_t i = 0; i < t.uid_count; i++) {
		must(t.uids[i].uid > last && t.uids[i].uid < t.uidnext);
		must(t.uids[i].base.len > 0 && !span_has(t.uids[i].base, '/') &&
			t.uids[i].base.at[0] != '.');
		last = t.uids[i].uid;
	}
	must(t.uidnext <= MOST_TAKEN_UID);
	takeover_parse_letters(&t, in);
	takeover_parse_courier_keywords(&t, in);
	takeover_sort(&t);
	for (size_t i = 0; i < t.uid_count; i++)
		must(takeover_uid(&t, t.uids[i].base) >= t.uids[i].uid);
	for (size_t i = 0; i < t.marked_count; i++)
		check_keywords(&t, t.marked[i].base, 0);
	check_keywords(&t, in, UINT32_MAX);
	(void)takeover_uid(&t, in);
	free(t.uids);
	free(t.marked);
	return 0;
}
