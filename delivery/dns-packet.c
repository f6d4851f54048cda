/* dns-packet - see dns-packet.h. */
#include "dns-packet.h"

#define HEADER_LEN 12
#define MOST_RECORDS 4000       /* looked at in one message */
#define DENIAL_SECONDS 60       /* of a denial without SOA */
#define CLASS_IN 1

struct record {
	struct span owner;           /* where its name begins, in the message */
	uint16_t type;
	uint32_t ttl;
	struct span rdata;
};

static uint16_t
u16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t
u32(const unsigned char *at)
{
	return (uint32_t)u16(at) << 16 | u16(at + 2);
}

static bool
is_host_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '/';
}

/* Takes a name from the front of *in, which lies in `message`, as lower-case text into `to` (of
 * MOST_DNS_NAME + 1 bytes, *len used). *plain: only bytes of host names are in it; others are written
 * as '?'. Pointers must lead to earlier bytes than any before, so the walk ends. */
static bool
take_name(struct span message, struct span *in, char *to, size_t *len, bool *plain)
{
	struct span at = *in, label;
	const unsigned char *least = in->at;
	bool jumped = false;

	*len = 0;
	*plain = true;
	for (;;) {
		if (at.len < 1)
			return false;
		unsigned char c = at.at[0];

		if (c >= 0xc0) {
			if (at.len < 2)
				return false;
			size_t where = (size_t)(c & 0x3f) << 8 | at.at[1];

			if (!jumped)
				*in = span_part(at, 2, at.len);
			jumped = true;
			if (where >= (size_t)(least - message.at))
				return false;
			at = span_part(message, where, message.len);
			least = at.at;
			continue;
		}
		if (c > 63)
			return false;
		at = span_part(at, 1, at.len);
		if (c == 0)
			break;
		if (!span_take_bytes(&at, c, &label) || *len + c + 1 > MOST_DNS_NAME)
			return false;
		if (*len > 0)
			to[(*len)++] = '.';
		for (size_t i = 0; i < label.len; i++) {
			unsigned char b = label.at[i];

			if (b >= 'A' && b <= 'Z')
				b = (unsigned char)(b + 32);
			*plain &= is_host_byte(b);
			to[(*len)++] = is_host_byte(b) ? (char)b : '?';
		}
	}
	if (!jumped)
		*in = at;
	return true;
}

static bool
take_record(struct span message, struct span *in, struct record *r)
{
	char name[MOST_DNS_NAME + 1];
	struct span fixed;
	size_t len;
	bool plain;

	r->owner = *in;
	if (!take_name(message, in, name, &len, &plain) || !span_take_bytes(in, 10, &fixed) ||
		!span_take_bytes(in, u16(fixed.at + 8), &r->rdata))
		return false;
	r->type = u16(fixed.at + 2) == CLASS_IN ? u16(fixed.at) : 0;
	r->ttl = u32(fixed.at + 4) > INT32_MAX ? 0 : u32(fixed.at + 4);   /* RFC 2181 section 8 */
	return true;
}

static bool
is_owned_by(struct span message, const struct record *r, struct span name)
{
	char owner[MOST_DNS_NAME + 1];
	struct span in = r->owner;
	size_t len;
	bool plain;

	return take_name(message, &in, owner, &len, &plain) && plain &&
		span_equal(span_of(owner, len), name);
}

static void
add_record(struct text *to, struct span head, struct span tail)
{
	size_t len = head.len + tail.len;

	if (len > UINT16_MAX)
		return;
	text_add_byte(to, (unsigned char)(len >> 8));
	text_add_byte(to, (unsigned char)(len & 0xff));
	text_add(to, head);
	text_add(to, tail);
}

/* How many bytes stand before the name in the data of `type`; -1: there is no name in it. */
static int
bytes_before_name(uint16_t type)
{
	switch (type) {
	case DNS_MX:
		return 2;
	case DNS_SRV:
		return 6;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		return 0;
	default:
		return -1;
	}
}

/* Appends one record. False: it is not of its type's form. */
static bool
pack(struct span message, const struct record *r, struct text *to)
{
	int before = bytes_before_name(r->type);
	char name[MOST_DNS_NAME + 1];
	struct span in = r->rdata, head;
	size_t len;
	bool plain;

	if ((r->type == DNS_A && r->rdata.len != 4) || (r->type == DNS_AAAA && r->rdata.len != 16) ||
		(r->type == DNS_TLSA && r->rdata.len < 4))
		return false;
	if (before < 0) {
		add_record(to, r->rdata, SPAN_NONE);
		return true;
	}
	/* The name ends where the data ends, whatever it points to. */
	if (!span_take_bytes(&in, (size_t)before, &head) ||
		!take_name(message, &in, name, &len, &plain) || in.len != 0 || !plain)
		return false;
	add_record(to, head, span_of(name, len));
	return true;
}

/* Reads `count` records from *in. What belongs to p->canonical and is of `type` is packed; *alias is
 * where a CNAME of it leads. Returns how many of `type` there were, usable or not; -1: malformed. */
static int
read_answers(struct span message, struct span in, unsigned int count, uint16_t type,
	struct dns_packet *p, char *alias, size_t *alias_len)
{
	int found = 0;
	struct record r;
	bool plain;

	*alias_len = 0;
	for (unsigned int i = 0; i < count; i++) {
		if (!take_record(message, &in, &r))
			return -1;
		if ((r.type != type && r.type != DNS_CNAME) ||
			!is_owned_by(message, &r, text_span(&p->canonical)))
			continue;
		if (r.ttl < p->ttl)
			p->ttl = r.ttl;
		if (r.type == type) {
			found++;
			(void)pack(message, &r, &p->answers);
		} else if (*alias_len == 0) {
			struct span data = r.rdata;

			if (!take_name(message, &data, alias, alias_len, &plain) || !plain)
				return -1;
		}
	}
	return found;
}

/* How long a denial holds: the SOA of the authority section. */
static uint32_t
denial_ttl(struct span message, struct span in, unsigned int answers, unsigned int authority)
{
	struct record r;

	for (unsigned int i = 0; i < answers + authority && take_record(message, &in, &r); i++)
		if (i >= answers && r.type == DNS_SOA && r.rdata.len >= 22) {
			uint32_t least = u32(r.rdata.at + r.rdata.len - 4);

			return least < r.ttl ? least : r.ttl;
		}
	return DENIAL_SECONDS;
}

static const char *
read_message(struct span message, uint16_t type, struct dns_packet *p)
{
	char alias[MOST_DNS_NAME + 1], asked[MOST_DNS_NAME + 1];
	struct span in = span_part(message, HEADER_LEN, message.len);
	unsigned int answers, authority;
	size_t len;
	bool plain;
	int found;

	if (message.len < HEADER_LEN || (message.at[2] & 0x80) == 0 || u16(message.at + 4) != 1)
		return "the message is no answer";
	if ((message.at[3] & 15) != 0 && (message.at[3] & 15) != 3)
		return "the server failed or refused";
	answers = u16(message.at + 6);
	authority = u16(message.at + 8);
	if (answers + authority > MOST_RECORDS)
		return "too many records";
	if (!take_name(message, &in, asked, &len, &plain) || in.len < 4)
		return "the message is malformed";
	in = span_part(in, 4, in.len);
	for (unsigned int aliases = 0;; aliases++) {
		found = read_answers(message, in, answers, type, p, alias, &len);
		if (found < 0)
			return "the message is malformed";
		if (found > 0 || len == 0)
			break;
		if (aliases == MOST_ALIASES)
			return "too many aliases, or a loop of them";
		text_reset(&p->canonical);
		text_add(&p->canonical, span_of(alias, len));
	}
	if (p->answers.failed)
		return "the answer is too large";
	if (found > 0 && p->answers.len == 0)
		return "no record can be used";
	if (found > 0) {
		p->outcome = DNS_FOUND;
		return NULL;
	}
	p->outcome = (message.at[3] & 15) == 3 ? DNS_NXDOMAIN : DNS_NODATA;
	len = denial_ttl(message, in, answers, authority);
	p->ttl = len < p->ttl ? (uint32_t)len : p->ttl;
	return NULL;
}

void
dns_packet_init(struct dns_packet *p)
{
	*p = (struct dns_packet){ .canonical = TEXT_UP_TO(MOST_DNS_NAME),
		.answers = TEXT_UP_TO(MOST_DNS_ANSWERS) };
}

void
dns_packet_clear(struct dns_packet *p)
{
	text_clear(&p->canonical);
	text_clear(&p->answers);
}

void
dns_packet_read(
	struct span message, struct span name, uint16_t type, struct dns_packet *p, const char **why)
{
	text_reset(&p->canonical);
	text_reset(&p->answers);
	text_add(&p->canonical, name);
	p->outcome = DNS_LATER;
	p->ttl = UINT32_MAX;
	*why = read_message(message, type, p);
	if (*why != NULL) {
		text_reset(&p->answers);
		p->ttl = 0;
	}
}
