/*
 * cmd-dns - asks program dns, as the other programs do: what does this suite see of a name?
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sysexits.h>

#include "common/dns-answer.h"
#include "common/id.h"
#include "master/client.h"
#include "master/json.h"

#define MOST_TXT 65535

static const struct option_row options[] = {
	{ "--json", NULL, "as JSON", false },
	{ "--hosts", NULL, "look at the hosts file first", false },
	{ NULL, NULL, NULL, false },
};

static const struct {
	const char *name;
	enum dns_type type;
} types[] = {
	{ "a", DNS_A }, { "aaaa", DNS_AAAA }, { "mx", DNS_MX }, { "txt", DNS_TXT }, { "tlsa", DNS_TLSA },
	{ "ptr", DNS_PTR }, { "ns", DNS_NS }, { "cname", DNS_CNAME }, { "srv", DNS_SRV },
};

#define TYPE_COUNT (sizeof types / sizeof types[0])

struct lookup {
	bool as_json;
	enum dns_type type;
	int status;
};

/* --- what dns says --- */

/* The next record as a zone file writes it. */
static bool
take_as_text(struct span *answers, enum dns_type type, struct text *to)
{
	static unsigned char txt[MOST_TXT];
	char ip[INET6_ADDRSTRLEN];
	uint16_t one, two, three;
	uint8_t usage, selector, matching;
	struct span rest;
	size_t len;

	text_reset(to);
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (!dns_take_record(answers, &rest) ||
			!inet_ntop(rest.len == 4 ? AF_INET : AF_INET6, rest.at, ip, sizeof ip))
			return false;
		text_add_str(to, ip);
		return true;
	case DNS_MX:
		if (!dns_take_mx(answers, &one, &rest))
			return false;
		text_printf(to, "%u %.*s.", one, SPAN_ARG(rest));
		return true;
	case DNS_SRV:
		if (!dns_take_srv(answers, &one, &two, &three, &rest))
			return false;
		text_printf(to, "%u %u %u %.*s.", one, two, three, SPAN_ARG(rest));
		return true;
	case DNS_TLSA:
		if (!dns_take_tlsa(answers, &usage, &selector, &matching, &rest))
			return false;
		text_printf(to, "%u %u %u ", usage, selector, matching);
		text_add_hex(to, rest);
		return true;
	case DNS_TXT:
		if (!dns_take_txt(answers, txt, sizeof txt, &len))
			return false;
		for (size_t i = 0; i < len; i++)
			text_add_byte(to, txt[i] < 0x20 || txt[i] >= 0x7f ? '?' : txt[i]);
		return true;
	default:
		if (!dns_take_name(answers, &rest))
			return false;
		text_printf(to, "%.*s.", SPAN_ARG(rest));
		return true;
	}
}

static void
on_dns_told(void *me, struct channel *from, uint64_t id, const struct msg_dns_told *m, const int *fd)
{
	struct client *c = me;
	struct lookup *l = c->me;
	struct json json = { .to = stdout };
	struct text one = TEXT_UP_TO(2 * MOST_TXT);
	struct span answers = m->answers;

	(void)from;
	(void)id;
	(void)fd;
	if (l->as_json) {
		json_open(&json, NULL, '{');
		json_text(&json, "outcome", span_str(dns_outcome_name(m->outcome)));
		json_flag(&json, "secure", m->secure);
		json_number(&json, "ttl", m->ttl);
		json_text(&json, "canonical", m->canonical);
		json_open(&json, "records", '[');
		while (take_as_text(&answers, l->type, &one))
			json_text(&json, NULL, text_span(&one));
		json_close(&json, ']');
		json_close(&json, '}');
		putchar('\n');
	} else {
		printf("%s%s, ttl %u, %.*s\n", dns_outcome_name(m->outcome),
			m->secure ? ", secure" : "", m->ttl, SPAN_ARG(m->canonical));
		while (take_as_text(&answers, l->type, &one))
			printf("    %s\n", text_str(&one));
	}
	text_clear(&one);
	l->status = m->outcome == DNS_LATER || m->outcome == DNS_BOGUS ? EX_TEMPFAIL : EX_OK;
	c->over = true;
}

/* --- */

static int
ask(const struct invocation *v, struct lookup *l, bool hosts_first)
{
	struct hearing h = client_hearing();
	struct client c = { .me = l };
	int status;

	h.on_dns_told = on_dns_told;
	status = client_reach(&c, v, PROGRAM_DNS, &h);
	if (status != EX_OK)
		return status;
	send_dns_ask(c.channel, id_new(),
		&(struct msg_dns_ask){ .type = (uint16_t)l->type,
			.name = span_str(v->arguments[0]),
			.hosts_first = hosts_first },
		NULL);
	if (!client_wait(&c, ANSWER_MILLISECONDS))
		l->status = cmd_fail(EX_TEMPFAIL, "dns did not answer");
	client_close(&c);
	return l->status;
}

static int
run(struct invocation *v)
{
	const char *type = v->argument_count > 1 ? v->arguments[1] : "mx";
	struct lookup l = { .as_json = cmd_option(v, "--json") != NULL };

	for (size_t i = 0; i < TYPE_COUNT; i++)
		if (strcasecmp(type, types[i].name) == 0)
			l.type = types[i].type;
	if (l.type == 0)
		return cmd_fail(EX_USAGE, "dns: %s is none of a, aaaa, mx, txt, tlsa, ptr, ns, cname, srv",
			type);
	if (span_str(v->arguments[0]).len > MOST_DNS_NAME)
		return cmd_fail(EX_USAGE, "dns: the name is too long");
	return ask(v, &l, cmd_option(v, "--hosts") != NULL);
}

const struct command cmd_dns = {
	.words = "dns",
	.arguments = "NAME [TYPE]",
	.least = 1,
	.most = 2,
	.help = "ask for the records of a name (mx, if no type is given), as this suite sees them",
	.options = options,
	.run = run,
};
