/* passport-peek - see passport.h: the fields, for programs that cannot open the seal. */
#include "passport-fields.h"
#include "wire.h"

bool
passport_peek(struct span sealed, struct passport *p)
{
	struct span fields;

	if (sealed.len < PASSPORT_MAC_SIZE)
		return false;
	fields = span_part(sealed, 0, sealed.len - PASSPORT_MAC_SIZE);
#define F(kind, field, most) \
	if (!wire_take_##kind(&fields, &p->field, most)) \
		return false;
	PASSPORT_FIELDS(F)
#undef F
	return fields.len == 0;
}
