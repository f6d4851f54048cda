/*
 * net-sources - do clients seem to come from the router?
 *
 * A router that puts its own address in place of its clients' makes strangers look like neighbours. What the
 * log has of connections to port 25 is the evidence: many servers, each with a name of its own, and one address.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "master/log-setting.h"
#include "master/net-survey.h"

#define MOST_LOG_READ	(64L * 1024 * 1024) /* the end of the file */
#define MOST_NAMES	64
#define LEAST_EVIDENCE	3 /* names under one private address; two may be neighbours */

struct evidence {
	uint64_t all, of_gateway, global, other;
	char names[MOST_NAMES][MOST_DNS_NAME + 1]; /* what those behind the gateway's address called themselves */
	size_t name_count;
};

/* The value of "key=" in a line, without quotation marks; empty when there is none. */
static struct span
value_of(struct span line, struct span key)
{
	size_t at = span_find(line, key), end;
	struct span value;

	if (at == line.len)
		return SPAN_NONE;
	value = span_part(line, at + key.len, line.len);
	if (value.len && value.at[0] == '"') {
		value = span_part(value, 1, value.len);
		end = span_index(value, '"');
	} else {
		end = span_index(value, ' ');
	}
	return span_part(value, 0, end);
}

static void
note_name(struct evidence *e, struct span name)
{
	if (name.len == 0 || e->name_count == MOST_NAMES)
		return;
	for (size_t i = 0; i < e->name_count; i++)
		if (span_equal_nocase(span_str(e->names[i]), name))
			return;
	if (span_copy(name, e->names[e->name_count], sizeof e->names[0]))
		e->name_count++;
}

/* "... disconnect session=X ip=192.0.2.7 service=smtp ... helo=mx.example.net" */
static void
note_line(struct evidence *e, struct span line, const struct netstate_route *gateway)
{
	uint8_t family, at[16];
	struct span ip;

	if (span_find(line, SPAN(": disconnect ")) == line.len ||
		!span_equal(value_of(line, SPAN(" service=")), SPAN("smtp")))
		return;
	ip = value_of(line, SPAN(" ip="));
	if (!netstate_address_take(ip, &family, at) || netstate_kind_of(family, at) == NETSTATE_LOOPBACK)
		return;
	e->all++;
	if (gateway && gateway->has_gateway && gateway->gateway_family == family &&
		memcmp(gateway->gateway, at, sizeof at) == 0) {
		e->of_gateway++;
		note_name(e, value_of(line, SPAN(" helo=")));
	} else if (netstate_kind_of(family, at) == NETSTATE_GLOBAL) {
		e->global++;
	} else {
		e->other++;
	}
}

/* False with errno. */
static bool
read_log(struct survey *v, const char *name, struct evidence *e)
{
	FILE *file = fopen(name, "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;

	if (!file)
		return false;
	if (fseek(file, 0, SEEK_END) == 0 && ftell(file) > MOST_LOG_READ) {
		fseek(file, -MOST_LOG_READ, SEEK_END);
		n = getline(&text, &room, file);
	} else {
		rewind(file);
	}
	while ((n = getline(&text, &room, file)) > 0)
		note_line(e, span_of(text, (size_t)n - (text[n - 1] == '\n')), v->gateway);
	free(text);
	fclose(file);
	return true;
}

static void
judge(struct survey *v, const struct evidence *e)
{
	char gateway[MOST_ADDRESS_TEXT] = "";

	if (v->gateway)
		netstate_address_name(v->gateway->gateway_family, v->gateway->gateway, gateway);
	if (e->of_gateway && e->name_count >= LEAST_EVIDENCE) {
		finding_add(&v->f, FINDING_PROBLEM, "sources",
			"clients seem to come from the router: %llu of %llu connections to port 25 are from %s, under %zu names (%s, %s, %s%s)",
			(unsigned long long)e->of_gateway, (unsigned long long)e->all, gateway,
			e->name_count, e->names[0], e->names[1], e->names[2],
			e->name_count > 3 ? ", ..." : "");
		finding_advise(&v->f,
			"The router puts its own address in place of theirs. Switch off source NAT (masquerading) for what comes in by forwarded ports: only replies need it, and they have it by themselves. Nothing is trusted for coming from %s, but SPF, blocklists and limits per address cannot work like this",
			gateway);
	} else if (v->translated && e->all >= LEAST_EVIDENCE && e->global == 0) {
		finding_add(&v->f, FINDING_WARNING, "sources",
			"none of %llu connections to port 25 is from an address of the world",
			(unsigned long long)e->all);
		finding_advise(&v->f,
			"Either no mail comes from outside yet, or something on the way hides the clients' addresses");
	} else if (e->all == 0) {
		finding_add(&v->f, FINDING_OK, "sources", "nobody has come to port 25 yet, as far as the log goes");
	} else {
		finding_add(&v->f, FINDING_OK, "sources",
			"clients come with addresses of their own (%llu of %llu connections to port 25 from the world)",
			(unsigned long long)e->global, (unsigned long long)e->all);
	}
}

void
net_judge_sources(struct survey *v, const char *file)
{
	struct evidence *e = must_alloc(sizeof *e);
	char *name = file ? must_copy(span_str(file)) : must_copy(v->s->log);
	bool in_file = file || log_setting_target(v->s->log) == LOG_TO_FILE,
	     read = in_file && read_log(v, name, e);

	if (!in_file) {
		finding_add(&v->f, FINDING_OK, "sources", "the log is not in a file: where clients come from was not looked at");
		finding_advise(&v->f, "Give its lines with --log FILE (for example from journalctl -t valija)");
	} else if (!read && !file && errno == ENOENT) {
		finding_add(&v->f, FINDING_OK, "sources", "there is no log yet that tells where clients come from");
	} else if (!read) {
		finding_add(&v->f, FINDING_WARNING, "sources", "%s: %s", name, strerror(errno));
		finding_advise(&v->f, "Who may read it?");
	} else {
		judge(v, e);
	}
	free(name);
	free(e);
}
