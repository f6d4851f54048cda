/* id - see id.h. */
#include "id.h"

#include "secret.h"

static const char digit[] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

#define IDS_AT_A_TIME 32

uint64_t
id_new(void)
{
	static uint64_t made[IDS_AT_A_TIME];
	static size_t left;
	uint64_t id = 0;

	while (id == 0) {
		if (left == 0) {
			secret_random(made, sizeof(made));
			left = IDS_AT_A_TIME;
		}
		id = made[--left];
	}
	return id;
}

struct id_name
id_name(uint64_t id)
{
	struct id_name name;

	for (int i = ID_LENGTH - 1; i >= 0; i--) {
		name.str[i] = digit[id & 31];
		id >>= 5;
	}
	name.str[ID_LENGTH] = '\0';
	return name;
}

bool
id_parse(struct span s, uint64_t *id)
{
	uint64_t value = 0;

	if (s.len != ID_LENGTH)
		return false;
	for (size_t i = 0; i < ID_LENGTH; i++) {
		unsigned char c = s.at[i];
		uint64_t bits;

		if (c >= '0' && c <= '9')
			bits = (uint64_t)(c - '0');
		else if (c >= 'A' && c <= 'V')
			bits = (uint64_t)(c - 'A') + 10;
		else
			return false;
		if (value >> 59 != 0)
			return false; /* 13 digits hold 65 bits */
		value = value << 5 | bits;
	}
	if (value == 0)
		return false;
	*id = value;
	return true;
}
