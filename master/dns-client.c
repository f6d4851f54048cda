/*
 * dns-client - libunbound, with many questions under way.
 */
#include "master/dns-client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unbound.h>
#include <unistd.h>

#define CLASS_IN	1
#define RCODE_NXDOMAIN	3
#define MOST_RECORD_TEXT 4096
#define MOST_LABEL	63
#define MOST_SERVER	64

/* Where distributions keep the root's key. */
static const char *const anchors[] = { "/usr/share/dns/root.key", "/var/lib/unbound/root.key",
	"/etc/unbound/root.key", "/etc/trusted-key.key" };

struct dns_client {
	struct ub_ctx *unbound;
	struct lookup *questions[MOST_DNS_QUESTIONS];
	size_t count;
	size_t waiting;
	int64_t end; /* of all waiting; 0: nothing was waited for yet */
	struct text said;
};

/* --- records --- */

/* A name of labels (RFC 1035 3.1), uncompressed, from the front. */
static bool
take_name(struct span *in, struct text *to)
{
	struct span left = *in;
	size_t total = 0;

	for (;;) {
		size_t len;

		if (left.len == 0)
			return false;
		len = left.at[0];
		if (len > MOST_LABEL || len + 1 > left.len || (total += len + 1) > MOST_DNS_NAME)
			return false;
		if (len && total > len + 1)
			text_add_byte(to, '.');
		for (size_t i = 1; i <= len; i++) {
			unsigned char c = left.at[i];

			if (c >= 'A' && c <= 'Z')
				c = (unsigned char)(c + ('a' - 'A'));
			text_add_byte(to, c > ' ' && c < 0x7f && c != '.' ? c : '?');
		}
		left = span_part(left, len + 1, left.len);
		if (len == 0)
			break;
	}
	if (total == 1)
		text_add_byte(to, '.');
	*in = left;
	return true;
}

static bool
take_u16(struct span *in, struct text *to)
{
	if (in->len < 2)
		return false;
	text_printf(to, "%u ", (unsigned int)in->at[0] << 8 | in->at[1]);
	*in = span_part(*in, 2, in->len);
	return true;
}

static bool
put_text(struct span in, struct text *to)
{
	while (in.len) {
		size_t len = in.at[0];

		if (len + 1 > in.len)
			return false;
		for (size_t i = 1; i <= len; i++)
			text_add_byte(to, in.at[i] >= ' ' && in.at[i] < 0x7f ? in.at[i] : '?');
		in = span_part(in, len + 1, in.len);
	}
	return true;
}

static bool
put_address(int family, struct span in, struct text *to)
{
	char name[INET6_ADDRSTRLEN];

	if (in.len != (family == AF_INET ? 4u : 16u) || !inet_ntop(family, in.at, name, sizeof name))
		return false;
	text_add_str(to, name);
	return true;
}

bool
dns_record_put(enum dns_type type, struct span in, struct text *to)
{
	switch (type) {
	case DNS_A:
		return put_address(AF_INET, in, to);
	case DNS_AAAA:
		return put_address(AF_INET6, in, to);
	case DNS_CNAME:
	case DNS_PTR:
		return take_name(&in, to) && in.len == 0 && !to->failed;
	case DNS_MX:
		return take_u16(&in, to) && take_name(&in, to) && in.len == 0 && !to->failed;
	case DNS_SRV:
		return take_u16(&in, to) && take_u16(&in, to) && take_u16(&in, to) &&
			take_name(&in, to) && in.len == 0 && !to->failed;
	case DNS_TXT:
		return put_text(in, to) && !to->failed;
	case DNS_NS:
	case DNS_SOA:
	case DNS_CAA:
		return false;
	case DNS_TLSA:
		if (in.len < 4)
			return false;
		text_printf(to, "%u %u %u ", in.at[0], in.at[1], in.at[2]);
		text_add_hex(to, span_part(in, 3, in.len));
		return !to->failed;
	}
	return false;
}

/* --- questions --- */

static void
take_answers(struct lookup *q, const struct ub_result *r)
{
	for (size_t i = 0; r->data && r->data[i] && q->count < MOST_ANSWERS_SHOWN; i++) {
		struct text one = TEXT_UP_TO(MOST_RECORD_TEXT);

		if (r->len[i] >= 0 &&
			dns_record_put(q->type, span_of(r->data[i], (size_t)r->len[i]), &one))
			q->answers[q->count++] = must_copy(text_span(&one));
		text_clear(&one);
	}
}

static void
answered(void *me, int error, struct ub_result *r)
{
	struct lookup *q = me;

	q->client->waiting--;
	if (error == 0 && r) {
		q->secure = r->secure;
		if (r->bogus)
			q->outcome = DNS_BOGUS;
		else if (r->havedata)
			take_answers(q, r);
		if (q->outcome == DNS_LATER)
			q->outcome = q->count			     ? DNS_FOUND
				: r->rcode == RCODE_NXDOMAIN || r->nxdomain ? DNS_NXDOMAIN
				: r->rcode == 0			     ? DNS_NODATA
								     : DNS_LATER;
	}
	ub_resolve_free(r);
}

static const struct lookup *
find(const struct dns_client *c, const char *name, enum dns_type type)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->questions[i]->type == type && strcmp(c->questions[i]->name, name) == 0)
			return c->questions[i];
	return NULL;
}

const struct lookup *
lookup(struct dns_client *c, const char *name, enum dns_type type)
{
	static const struct lookup none = { .outcome = DNS_LATER };
	const struct lookup *known = find(c, name, type);
	struct lookup *q;

	if (known)
		return known;
	if (c->count == MOST_DNS_QUESTIONS)
		return &none;
	q = must_alloc(sizeof *q);
	q->client = c;
	q->type = type;
	q->outcome = DNS_LATER;
	c->questions[c->count++] = q;
	if (!span_copy(span_str(name), q->name, sizeof q->name))
		return q;
	c->waiting++;
	if (ub_resolve_async(c->unbound, q->name, (int)type, CLASS_IN, q, answered, &q->id) != 0)
		c->waiting--;
	return q;
}

const struct lookup *
lookup_pointer(struct dns_client *c, uint8_t family, const uint8_t *at)
{
	static const char digits[] = "0123456789abcdef";
	char name[80];
	size_t n = 0;

	if (family == 4) {
		snprintf(name, sizeof name, "%u.%u.%u.%u.in-addr.arpa", at[3], at[2], at[1], at[0]);
		return lookup(c, name, DNS_PTR);
	}
	for (int i = 15; i >= 0; i--) {
		name[n++] = digits[at[i] & 15];
		name[n++] = '.';
		name[n++] = digits[at[i] >> 4];
		name[n++] = '.';
	}
	span_copy(SPAN("ip6.arpa"), name + n, sizeof name - n);
	return lookup(c, name, DNS_PTR);
}

static int64_t
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
lookup_wait(struct dns_client *c)
{
	struct pollfd fd = { .fd = ub_fd(c->unbound), .events = POLLIN };
	int64_t left;

	if (c->end == 0)
		c->end = milliseconds() + DNS_MILLISECONDS;
	while (c->waiting && (left = c->end - milliseconds()) > 0) {
		if (poll(&fd, 1, (int)left) < 0 && errno != EINTR)
			break;
		if (ub_process(c->unbound) != 0)
			break;
	}
	for (size_t i = 0; c->waiting && i < c->count; i++)
		if (c->questions[i]->outcome == DNS_LATER)
			ub_cancel(c->unbound, c->questions[i]->id);
	c->waiting = 0;
}

bool
lookup_has(const struct lookup *q, const char *text)
{
	for (size_t i = 0; i < q->count; i++)
		if (span_equal_nocase(span_str(q->answers[i]), span_str(text)))
			return true;
	return false;
}

const char *
lookup_answers(const struct lookup *q)
{
	struct text *said;

	if (!q->client || q->count == 0)
		return "";
	said = &q->client->said;
	text_reset(said);
	for (size_t i = 0; i < q->count; i++) {
		text_add_str(said, i ? ", " : "");
		text_add_str(said, q->answers[i]);
	}
	return text_str(said);
}

/* --- the client --- */

/* "192.0.2.1:53" and "[2001:db8::1]:53" are 192.0.2.1@53 and 2001:db8::1@53 to libunbound. */
static bool
set_server(struct ub_ctx *u, struct span server)
{
	struct text name = TEXT_UP_TO(MOST_SERVER);
	bool v4 = span_index(server, ':') == span_rindex(server, ':'), done;
	struct span address = server, port = SPAN_NONE;

	if (server.len && server.at[0] == '[') {
		size_t end = span_index(server, ']');

		address = span_part(server, 1, end - 1);
		port = span_part(server, end + 2, server.len);
	} else if (v4) {
		address = span_part(server, 0, span_index(server, ':'));
		port = span_part(server, address.len + 1, server.len);
	}
	text_add(&name, address);
	text_add_str(&name, port.len ? "@" : "");
	text_add(&name, port);
	done = !name.failed && ub_ctx_set_fwd(u, text_str(&name)) == 0;
	text_clear(&name);
	return done;
}

static bool
set_servers(struct ub_ctx *u, const struct list *servers)
{
	if (servers->count == 0)
		return ub_ctx_resolvconf(u, NULL) == 0;
	for (size_t i = 0; i < servers->count; i++)
		if (!set_server(u, servers->at[i]))
			return false;
	return true;
}

struct dns_client *
dns_client_new(const struct list *servers)
{
	struct ub_ctx *u = ub_ctx_create();
	struct dns_client *c;

	if (!u)
		return NULL;
	ub_ctx_debuglevel(u, 0);
	if (!set_servers(u, servers) || ub_ctx_async(u, 1) != 0) {
		ub_ctx_delete(u);
		return NULL;
	}
	/* What cannot be proven is still shown, without `secure`: this command advises, it does not send. */
	ub_ctx_set_option(u, "val-permissive-mode:", "yes");
	/* PTR records of private addresses are asked for too: libunbound would make up that there are none. */
	ub_ctx_set_option(u, "unblock-lan-zones:", "yes");
	ub_ctx_set_option(u, "insecure-lan-zones:", "yes");
	for (size_t i = 0; i < sizeof anchors / sizeof anchors[0]; i++)
		if (access(anchors[i], R_OK) == 0 && ub_ctx_add_ta_file(u, anchors[i]) == 0)
			break;
	c = must_alloc(sizeof *c);
	c->unbound = u;
	c->said = TEXT_UP_TO(MOST_RECORD_TEXT * MOST_ANSWERS_SHOWN);
	return c;
}

void
dns_client_free(struct dns_client **c)
{
	if (!*c)
		return;
	ub_ctx_delete((*c)->unbound);
	for (size_t i = 0; i < (*c)->count; i++) {
		for (size_t j = 0; j < (*c)->questions[i]->count; j++)
			free((*c)->questions[i]->answers[j]);
		free((*c)->questions[i]);
	}
	text_clear(&(*c)->said);
	free(*c);
	*c = NULL;
}
