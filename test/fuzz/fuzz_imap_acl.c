/* Lists of rights (valija-acl, dovecot-acl): whatever is in them, who is named lies in the list, no right that
 * there is none of is given, of a damaged list nobody has any right; and what is written again says the same. */
#include <stdlib.h>

#include "imapd/acl.h"

#define OWNER SPAN("ana@example.org")

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
check(const struct acl *acl)
{
	must(acl->count <= MOST_ACL_ENTRIES && (!acl->damaged || acl->count == 0));
	for (size_t i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->at[i];

		must(e->who.len > 0 && e->who.len <= MOST_ACL_IDENTIFIER && !span_has(e->who, '\n'));
		must(e->rights <= RIGHTS_ALL);
	}
}

static void
same(const struct acl *a, const struct acl *b)
{
	must(a->count == b->count && !b->damaged);
	for (size_t i = 0; i < a->count; i++)
		must(a->at[i].negative == b->at[i].negative && a->at[i].rights == b->at[i].rights &&
			span_equal(a->at[i].who, b->at[i].who));
}

/* Every identifier of it may what an owner's neighbour and a stranger may: both are asked. */
static void
ask(const struct acl *acl)
{
	unsigned int everybody = acl_rights(acl, SPAN("bob@example.org"), OWNER);

	must(everybody <= RIGHTS_ALL && (everybody == 0 || acl->count > 0));
	must(acl_rights(acl, SPAN("eve@elsewhere.example"), OWNER) == 0 || acl->count > 0);
	for (size_t i = 0; i < acl->count; i++)
		must(acl_rights(acl, acl->at[i].who, OWNER) <= RIGHTS_ALL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct acl first, again;
	struct text content = TEXT_UP_TO(2 * MOST_ACL_FILE), letters = TEXT_UP_TO(100);
	unsigned int rights, back;

	if (rights_take(span_of(data, size), &rights)) {
		rights_write(rights, &letters);
		must(!letters.failed && rights_take(text_span(&letters), &back) && (back & rights) == rights);
	}
	acl_parse(&first, span_of(data, size));
	check(&first);
	ask(&first);
	acl_print(&first, &content);
	if (!content.failed) {
		acl_parse(&again, text_span(&content));
		same(&first, &again);
	}
	text_clear(&content);
	text_clear(&letters);
	return 0;
}
