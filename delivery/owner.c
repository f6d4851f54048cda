/* owner - see owner.h. */
#include "owner.h"

#include "common/address.h"
#include "common/message.h"

static bool
key_of(struct span mailbox, struct text *key)
{
	struct address a;

	return address_take_mailbox(&mailbox, true, &a) == ADDRESS_OK && mailbox.len == 0 &&
		address_key(&a, key);
}

bool
owner_may_use(struct span login, struct span sender)
{
	struct text user = TEXT_UP_TO(MOST_ADDRESS), as = TEXT_UP_TO(MOST_ADDRESS);
	bool may;

	if (sender.len == 0)
		return true;
	may = key_of(login, &user) && key_of(sender, &as) &&
		span_equal(text_span(&user), text_span(&as));
	text_clear(&user);
	text_clear(&as);
	return may;
}
