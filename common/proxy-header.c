/*
 * proxy-header - see proxy-header.h.
 */
#include "proxy-header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "crc32c.h"

#define V1_SHORTEST 15     /* "PROXY UNKNOWN\r\n" */
#define V1_LONGEST 107     /* with CR LF */
#define V2_START 16
#define TLV_START 3
#define SSL_START 5        /* client, verify */
#define MOST_PORT 65535

enum { TLV_CRC32C = 0x03, TLV_SSL = 0x20, TLV_SSL_VERSION = 0x21, TLV_SSL_CIPHER = 0x23 };
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { OVER_UNSPEC = 0x00, OVER_TCP4 = 0x11, OVER_TCP6 = 0x21, OVER_UNIX = 0x31 };

static const unsigned char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static bool
is_v2(struct span have)
{
	size_t len = have.len < sizeof(v2_signature) ? have.len : sizeof(v2_signature);

	return memcmp(have.at, v2_signature, len) == 0;
}

static size_t
v2_length(struct span have)
{
	return V2_START + ((size_t)have.at[14] << 8 | have.at[15]);
}

size_t
proxy_header_wants(struct span have, bool *peek)
{
	size_t whole;

	*peek = false;
	if (have.len < V1_SHORTEST) /* neither version has a shorter one */
		return V1_SHORTEST - have.len;
	if (!is_v2(have)) {
		*peek = true;
		if (have.at[have.len - 1] == '\n' || have.len >= V1_LONGEST)
			return 0;
		return V1_LONGEST - have.len;
	}
	if (have.len < V2_START)
		return V2_START - have.len;
	whole = v2_length(have);
	return whole > PROXY_HEADER_MOST || have.len >= whole ? 0 : whole - have.len;
}

/* --- version 1 --- */

/* A word and the blank behind it; the last one has none. */
static bool
take_word(struct span *in, bool last, struct span *word)
{
	if (last) {
		*word = *in;
		in->len = 0;
		return word->len > 0 && !span_has(*word, ' ');
	}
	return span_take_until(in, ' ', word) && word->len > 0;
}

static bool
take_address(struct span *in, int family, void *to)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct span word;

	return take_word(in, false, &word) && span_copy(word, text, sizeof(text)) &&
	       inet_pton(family, text, to) == 1;
}

static bool
take_port(struct span *in, bool last, in_port_t *port)
{
	struct span word;
	uint64_t number;

	if (!take_word(in, last, &word) || (word.len > 1 && word.at[0] == '0') ||
	    !span_take_number(&word, MOST_PORT, &number) || word.len > 0)
		return false;
	*port = htons((uint16_t)number);
	return true;
}

static bool
parse_v1(struct span line, struct proxy_facts *f)
{
	struct sockaddr_in *from = (void *)&f->from, *to = (void *)&f->to;
	struct sockaddr_in6 *from6 = (void *)&f->from, *to6 = (void *)&f->to;

	if (line.len < 2 || line.at[line.len - 1] != '\n' || line.at[line.len - 2] != '\r')
		return false;
	line.len -= 2;
	/* Case counts, in all of it. */
	if (line.len < 6 || memcmp(line.at, "PROXY ", 6) != 0)
		return false;
	line = span_part(line, 6, line.len);
	if (line.len >= 7 && memcmp(line.at, "UNKNOWN", 7) == 0 &&
	    (line.len == 7 || line.at[7] == ' ')) {
		f->own = true;
		return true;
	}
	if (line.len >= 5 && memcmp(line.at, "TCP4 ", 5) == 0) {
		line = span_part(line, 5, line.len);
		from->sin_family = to->sin_family = AF_INET;
		return take_address(&line, AF_INET, &from->sin_addr) &&
		       take_address(&line, AF_INET, &to->sin_addr) &&
		       take_port(&line, false, &from->sin_port) &&
		       take_port(&line, true, &to->sin_port);
	}
	if (line.len >= 5 && memcmp(line.at, "TCP6 ", 5) == 0) {
		line = span_part(line, 5, line.len);
		from6->sin6_family = to6->sin6_family = AF_INET6;
		return take_address(&line, AF_INET6, &from6->sin6_addr) &&
		       take_address(&line, AF_INET6, &to6->sin6_addr) &&
		       take_port(&line, false, &from6->sin6_port) &&
		       take_port(&line, true, &to6->sin6_port);
	}
	return false;
}

/* --- version 2 --- */

static bool
take_tlv(struct span *in, unsigned char *type, struct span *value)
{
	size_t len;

	if (in->len < TLV_START)
		return false;
	len = (size_t)in->at[1] << 8 | in->at[2];
	if (in->len - TLV_START < len)
		return false;
	*type = in->at[0];
	*value = span_part(*in, TLV_START, len);
	*in = span_part(*in, TLV_START + len, in->len);
	return true;
}

/* Its first octet says whether there was TLS at all; version and cipher follow as TLVs inside. */
static bool
take_ssl(struct span in, struct proxy_facts *f)
{
	char version[PROXY_TLS_MOST / 2] = "", cipher[PROXY_TLS_MOST / 2] = "";
	unsigned char type;
	struct span value;

	if (in.len < SSL_START)
		return false;
	if (!(in.at[0] & 1))
		return true;
	in = span_part(in, SSL_START, in.len);
	while (in.len > 0) {
		if (!take_tlv(&in, &type, &value))
			return false;
		if (type == TLV_SSL_VERSION && span_is_printable(value))
			(void)span_copy(value, version, sizeof(version));
		else if (type == TLV_SSL_CIPHER && span_is_printable(value))
			(void)span_copy(value, cipher, sizeof(cipher));
	}
	snprintf(f->tls, sizeof(f->tls), "%s%s%s", version[0] ? version : "yes",
		cipher[0] ? " " : "", cipher);
	return true;
}

/* The sum is that of the whole header with zeros in the place of the sum. */
static bool
sum_is_right(struct span whole, struct span sum)
{
	unsigned char copy[PROXY_HEADER_MOST];
	uint32_t said;

	if (sum.len != sizeof(said))
		return false;
	said = (uint32_t)sum.at[0] << 24 | (uint32_t)sum.at[1] << 16 | (uint32_t)sum.at[2] << 8 |
	       sum.at[3];
	memcpy(copy, whole.at, whole.len);
	memset(copy + (sum.at - whole.at), 0, sizeof(said));
	return crc32c(span_of(copy, whole.len)) == said;
}

static bool
take_tlvs(struct span whole, struct span in, struct proxy_facts *f)
{
	unsigned char type;
	struct span value;

	while (in.len > 0) {
		if (!take_tlv(&in, &type, &value))
			return false;
		if (type == TLV_CRC32C && !sum_is_right(whole, value))
			return false;
		if (type == TLV_SSL && !take_ssl(value, f))
			return false;
	}
	return true;
}

static bool
take_ipv4(struct span *in, struct proxy_facts *f)
{
	struct sockaddr_in *from = (void *)&f->from, *to = (void *)&f->to;

	if (in->len < 12)
		return false;
	from->sin_family = to->sin_family = AF_INET;
	memcpy(&from->sin_addr, in->at, 4);
	memcpy(&to->sin_addr, in->at + 4, 4);
	memcpy(&from->sin_port, in->at + 8, 2);
	memcpy(&to->sin_port, in->at + 10, 2);
	*in = span_part(*in, 12, in->len);
	return true;
}

static bool
take_ipv6(struct span *in, struct proxy_facts *f)
{
	struct sockaddr_in6 *from = (void *)&f->from, *to = (void *)&f->to;

	if (in->len < 36)
		return false;
	from->sin6_family = to->sin6_family = AF_INET6;
	memcpy(&from->sin6_addr, in->at, 16);
	memcpy(&to->sin6_addr, in->at + 16, 16);
	memcpy(&from->sin6_port, in->at + 32, 2);
	memcpy(&to->sin6_port, in->at + 34, 2);
	*in = span_part(*in, 36, in->len);
	return true;
}

static bool
take_unix(struct span *in, struct proxy_facts *f)
{
	f->own = true;
	if (in->len < 216)
		return false;
	*in = span_part(*in, 216, in->len);
	return true;
}

static bool
parse_v2(struct span whole, struct proxy_facts *f)
{
	struct span in = span_part(whole, V2_START, whole.len);

	/* What LOCAL brings along is to be skipped, whatever it is. */
	if (whole.at[12] == COMMAND_LOCAL) {
		f->own = true;
		return true;
	}
	if (whole.at[12] != COMMAND_PROXY)
		return false;
	switch (whole.at[13]) {
	case OVER_UNSPEC:
		f->own = true;
		return true;
	case OVER_TCP4:
		return take_ipv4(&in, f) && take_tlvs(whole, in, f);
	case OVER_TCP6:
		return take_ipv6(&in, f) && take_tlvs(whole, in, f);
	case OVER_UNIX:
		return take_unix(&in, f) && take_tlvs(whole, in, f);
	default:
		return false;
	}
}

bool
proxy_header_parse(struct span have, struct proxy_facts *facts, const char **why)
{
	struct proxy_facts found = { .own = false };
	bool peek, good;

	if (have.len < V1_SHORTEST || proxy_header_wants(have, &peek) > 0) {
		*why = "the PROXY header is not whole";
		return false;
	}
	if (is_v2(have) && v2_length(have) > PROXY_HEADER_MOST) {
		*why = "the PROXY header is too long";
		return false;
	}
	good = is_v2(have) ? have.len == v2_length(have) && parse_v2(have, &found)
			   : parse_v1(have, &found);
	if (!good) {
		*why = "no PROXY header, or a malformed one";
		return false;
	}
	*facts = found;
	return true;
}
