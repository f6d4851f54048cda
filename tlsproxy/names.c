#include "names.h"

#define MOST_LABEL 63
#define MOST_NAME 253

static bool
is_alphanumeric(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool
names_is_host(struct span name)
{
	size_t label = 0;
	bool letter = false;

	if (name.len == 0 || name.len > MOST_NAME)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.at[i];

		if (c == '.') {
			if (label == 0 || name.at[i - 1] == '-')
				return false;
			label = 0;
			letter = false;
			continue;
		}
		if (!is_alphanumeric(c) && (c != '-' || label == 0))
			return false;
		if (++label > MOST_LABEL)
			return false;
		/* An all-numeric last label is an IPv4 address (RFC 6066: not permitted). */
		letter = letter || !(c >= '0' && c <= '9');
	}
	return label > 0 && name.at[name.len - 1] != '-' && letter;
}

const char *
names_protocol(enum service service)
{
	switch (service) {
	case SERVICE_IMAP:
	case SERVICE_IMAPS:
		return "imap";
	case SERVICE_LMTP:
		return "lmtp";
	default:
		return "smtp";
	}
}
