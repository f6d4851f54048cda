/* Addresses: whatever parses has a key, and the key parses to itself. */
#include <stdlib.h>

#include "common/address.h"
#include "common/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text key = TEXT_UP_TO(MOST_ADDRESS), again = TEXT_UP_TO(MOST_ADDRESS);
	struct text home = TEXT_UP_TO(MOST_PATH_FIELD);
	struct address a;
	struct span in, domain;
	bool utf8, literal;

	if (size < 1)
		return 0;
	utf8 = (data[0] & 1) != 0;
	in = span_of(data + 1, size - 1);
	(void)address_take_domain(&in, utf8, &domain, &literal);
	in = span_of(data + 1, size - 1);
	if (address_take_path(&in, (data[0] & 2) != 0, utf8, &a) == ADDRESS_OK && a.local.len > 0 &&
		a.domain.len > 0 && address_key(&a, &key)) {
		in = text_span(&key);
		/* Normal form C may lengthen a part beyond what a path may have: such a key is
		 * refused, any other is its own key. */
		if (address_take_mailbox(&in, true, &a) == ADDRESS_OK &&
			(in.len != 0 || !address_key(&a, &again) ||
				!span_equal(text_span(&key), text_span(&again))))
			abort();
		(void)user_home(text_span(&key), &home);
	}
	text_clear(&key);
	text_clear(&again);
	text_clear(&home);
	return 0;
}
