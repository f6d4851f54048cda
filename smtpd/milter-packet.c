/*
 * milter-packet - see milter-packet.h.
 */
#include "smtpd/milter-packet.h"

#include "common/message.h"

#define LENGTH_SIZE 4

static uint32_t
number_at(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

bool
milter_packet_take(struct span *in, struct milter_reply *r, bool *broken)
{
	uint32_t len;

	if (in->len < LENGTH_SIZE)
		return false;
	len = number_at(in->at);
	if (len == 0 || len > MILTER_PACKET_MOST) {
		*broken = true;
		return false;
	}
	if (in->len - LENGTH_SIZE < len)
		return false;
	r->command = in->at[LENGTH_SIZE];
	r->data = span_part(*in, LENGTH_SIZE + 1, len - 1);
	*in = span_part(*in, LENGTH_SIZE + len, in->len);
	return true;
}

void
milter_packet_put(struct text *to, unsigned char command, const struct span *parts, size_t count)
{
	size_t len = 1;

	for (size_t i = 0; i < count; i++)
		len += parts[i].len;
	for (int shift = 24; shift >= 0; shift -= 8)
		text_add_byte(to, (unsigned char)(len >> shift));
	text_add_byte(to, command);
	for (size_t i = 0; i < count; i++)
		text_add(to, parts[i]);
}

bool
milter_options_parse(
	struct span data, uint32_t *actions, uint32_t *steps, struct span *macros, const char **why)
{
	uint32_t version;

	if (data.len < 12) {
		*why = "its negotiation is malformed";
		return false;
	}
	version = number_at(data.at);
	if (version < 2 || version > MILTER_VERSION) {
		*why = "it speaks another version of the protocol";
		return false;
	}
	*actions = number_at(data.at + 4);
	*steps = number_at(data.at + 8);
	*macros = span_part(data, 12, data.len);
	if (*actions & ~(uint32_t)MILTER_ACTIONS) {
		*why = "it wants to change what is not offered";
		return false;
	}
	if (*steps & ~(uint32_t)MILTER_STEPS) {
		*why = "it wants steps that were not offered";
		return false;
	}
	return true;
}

bool
milter_macros_find(struct span macros, enum milter_macro_stage stage, struct span *names)
{
	struct span found;

	while (macros.len > LENGTH_SIZE) {
		uint32_t of = number_at(macros.at);

		macros = span_part(macros, LENGTH_SIZE, macros.len);
		if (!span_take_until(&macros, '\0', &found))
			return false;
		if (of == (uint32_t)stage) {
			*names = found;
			return true;
		}
	}
	return false;
}

bool
milter_envelope_parse(struct span data, struct span *address, struct span *parameters)
{
	*parameters = SPAN_NONE;
	if (!span_take_until(&data, '\0', address) ||
	    (data.len > 0 && !span_take_until(&data, '\0', parameters)) || data.len > 0)
		return false;
	*address = span_trim(*address);
	if (address->len >= 2 && address->at[0] == '<' && address->at[address->len - 1] == '>')
		*address = span_part(*address, 1, address->len - 2);
	for (size_t i = 0; i < address->len; i++)
		if (address->at[i] < 0x20 || address->at[i] == 0x7f)
			return false;
	return address->len <= MOST_ADDRESS;
}

/* RFC 5322 3.6.8. */
static bool
is_field_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.at[i] < 33 || name.at[i] > 126 || name.at[i] == ':')
			return false;
	return name.len > 0 && name.len <= 256;
}

bool
milter_header_parse(
	struct span data, bool has_index, uint32_t *index, struct span *name, struct span *value)
{
	*index = 0;
	if (has_index) {
		if (data.len < 4)
			return false;
		*index = number_at(data.at);
		data = span_part(data, 4, data.len);
	}
	return span_take_until(&data, '\0', name) && span_take_until(&data, '\0', value) &&
	       data.len == 0 && is_field_name(*name);
}

static bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* "5.7.1" of this class, at the front. */
static struct span
take_status(struct span *in, unsigned char class)
{
	size_t len = span_index(*in, ' ');
	struct span word = span_part(*in, 0, len), left = word;
	uint64_t n;

	if (word.len < 5 || word.len > 9 || word.at[0] != class ||
	    !span_take_number(&left, 9, &n) || !span_take(&left, '.') ||
	    !span_take_number(&left, 999, &n) || !span_take(&left, '.') ||
	    !span_take_number(&left, 999, &n) || left.len > 0)
		return SPAN_NONE;
	*in = span_part(*in, len + 1, in->len);
	return word;
}

bool
milter_code_parse(
	struct span data, unsigned int *code, struct span *status, struct text *words)
{
	size_t end = span_index(data, '\0');

	data = span_part(data, 0, end);
	data = span_part(data, 0, span_index(data, '\n'));
	data = span_part(data, 0, span_index(data, '\r'));
	if (data.len < 3 || (data.at[0] != '4' && data.at[0] != '5') || !is_digit(data.at[1]) ||
	    !is_digit(data.at[2]) || (data.len > 3 && data.at[3] != ' ' && data.at[3] != '-'))
		return false;
	*code = (unsigned int)(data.at[0] - '0') * 100 + (unsigned int)(data.at[1] - '0') * 10 +
		(unsigned int)(data.at[2] - '0');
	data = span_part(data, 4, data.len);
	*status = take_status(&data, *code >= 500 ? '5' : '4');
	for (size_t i = 0; i < data.len && words->len < words->most; i++) {
		unsigned char c = data.at[i];

		/* libmilter doubles them. */
		if (c == '%' && i + 1 < data.len && data.at[i + 1] == '%')
			i++;
		text_add_byte(words, c < 0x20 || c > 0x7e ? '?' : c);
	}
	return true;
}
