/*
 * cmd-net - the doctor of networks: looks at addresses, routes, names and records, and says what to do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "master/cmd.h"
#include "master/net-records.h"
#include "master/net-trust.h"

#define EXIT_PROBLEM EX_CONFIG

static const struct option_row net_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ "--offline", NULL, "ask nobody: neither the DNS nor other servers", false },
	{ "--probe", "DOMAIN", "whose mail servers are tried at port 25 (default: large providers)", false },
	{ "--log", "FILE", "where the log is, when it is not in a file of its own", false },
	{ NULL, NULL, NULL, false },
};

static const struct option_row json_options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

static const struct option_row rules_options[] = {
	{ "--iptables", NULL, "for iptables, instead of nftables", false },
	{ "--hairpin", NULL, "those inside may use the public address too", false },
	{ NULL, NULL, NULL, false },
};

/* --- the survey --- */

bool
net_survey_begin(struct survey *v, const struct invocation *in, bool online)
{
	v->paths = &in->paths;
	v->s = cmd_settings(in, false);
	if (!v->s)
		return false;
	span_copy(v->s->hostname, v->hostname, sizeof v->hostname);
	if (!netstate_read(&v->net)) {
		cmd_fail(EX_OSERR, "the kernel does not tell its addresses: %s", strerror(errno));
		return false;
	}
	if (online && !(v->dns = dns_client_new(&v->s->dns_servers))) {
		cmd_fail(EX_OSERR, "the DNS cannot be asked: libunbound does not begin");
		return false;
	}
	net_conclude(v);
	return true;
}

void
net_survey_end(struct survey *v)
{
	struct settings *s = (struct settings *)(uintptr_t)v->s;

	dns_client_free(&v->dns);
	netstate_clear(&v->net);
	findings_clear(&v->f);
	if (s)
		settings_free(&s);
	free(v);
}

static char *
domain_at(const struct survey *v, size_t i)
{
	return must_copy(v->s->domains.at[i]);
}

/* All that the DNS knows, in three rounds: what follows from the first answers is asked next. */
static void
ask_all(struct survey *v, const char *probe, bool outbound)
{
	for (int round = 0; round < 3; round++) {
		net_ask_names(v);
		if (round > 0) {
			net_learn_publics(v);
			net_ask_pointers(v);
		}
		if (outbound)
			net_ask_outbound(v, probe);
		for (size_t i = 0; i < v->s->domains.count; i++) {
			char *domain = domain_at(v, i);

			net_ask_domain(v, domain);
			free(domain);
		}
		lookup_wait(v->dns);
	}
}

static void
judge_trust(struct survey *v)
{
	struct text doubts = TEXT_UP_TO(8192);
	struct span left, line;

	net_trust_doubts(v->s, &v->net, &doubts);
	for (left = text_span(&doubts); span_take_until(&left, '\n', &line);) {
		finding_add(&v->f, FINDING_WARNING, "trust", "%.*s", SPAN_ARG(line));
		finding_advise(&v->f,
			"Name single addresses, or the networks of your own machines without the router");
	}
	if (doubts.len == 0)
		finding_add(&v->f, FINDING_OK, "trust", "no network in valija.conf holds the router");
	text_clear(&doubts);
}

/* --- telling --- */

static void
json_addresses(struct json *j, const struct survey *v)
{
	char name[MOST_ADDRESS_TEXT];

	json_open(j, "addresses", '[');
	for (size_t i = 0; i < v->net.address_count; i++) {
		const struct netstate_address *a = &v->net.addresses[i];

		netstate_address_name(a->family, a->at, name);
		json_open(j, NULL, '{');
		json_text(j, "interface", span_str(net_link_name(v, a)));
		json_text(j, "address", span_str(name));
		json_number(j, "prefix", a->prefix);
		json_text(j, "kind", span_str(netstate_kind_name(a->kind)));
		json_text(j, "life", span_str(netstate_life_name(a->life)));
		json_flag(j, "listening", net_listens_at(v, a));
		json_close(j, '}');
	}
	json_close(j, ']');
	json_open(j, "public", '[');
	for (size_t i = 0; i < v->public_count; i++)
		json_text(j, NULL, span_str(v->publics[i].name));
	json_close(j, ']');
}

static void
json_router(struct json *j, const struct survey *v)
{
	static const char *const names[2][2] = { { "nftables", "nftables_hairpin" },
		{ "iptables", "iptables_hairpin" } };
	char server[MOST_ADDRESS_TEXT];

	json_flag(j, "translated", v->translated);
	if (!v->translated || v->shared)
		return;
	netstate_address_name(4, v->server->at, server);
	json_open(j, "router", '{');
	json_text(j, "server", span_str(server));
	json_open(j, "forward", '[');
	for (size_t i = 0; i < v->forward_count; i++)
		json_number(j, NULL, v->forwards[i].outside);
	json_close(j, ']');
	for (int hairpin = 0; hairpin < 2; hairpin++) {
		struct text nft = TEXT_UP_TO(MOST_RULES), ipt = TEXT_UP_TO(MOST_RULES);

		net_rules_nftables(v, hairpin, &nft);
		net_rules_iptables(v, hairpin, &ipt);
		json_text(j, names[0][hairpin], text_span(&nft));
		json_text(j, names[1][hairpin], text_span(&ipt));
		text_clear(&nft);
		text_clear(&ipt);
	}
	json_close(j, '}');
}

static int
tell(struct survey *v, bool json)
{
	struct json j = { .to = stdout };
	enum finding_verdict worst = findings_worst(&v->f);

	if (!json) {
		findings_print(&v->f);
	} else {
		json_open(&j, NULL, '{');
		json_text(&j, "verdict", span_str(finding_verdict_name(worst)));
		json_text(&j, "hostname", span_str(v->hostname));
		json_addresses(&j, v);
		json_router(&j, v);
		findings_json(&v->f, &j);
		json_close(&j, '}');
		putchar('\n');
	}
	return worst == FINDING_PROBLEM ? EXIT_PROBLEM : EX_OK;
}

/* --- the commands --- */

static int
run_net(struct invocation *in)
{
	struct survey *v = must_alloc(sizeof *v);
	const char *probe = cmd_option(in, "--probe");
	int status = EX_CONFIG;

	if (net_survey_begin(v, in, !cmd_option(in, "--offline"))) {
		if (v->dns)
			ask_all(v, probe, true);
		net_judge_addresses(v);
		net_judge_ipv6(v);
		net_judge_listeners(v);
		net_judge_router(v);
		if (v->dns)
			net_judge_inbound(v);
		net_judge_names(v);
		for (size_t i = 0; v->dns && i < v->s->domains.count; i++) {
			char *domain = domain_at(v, i);

			net_judge_domain(v, domain);
			free(domain);
		}
		if (v->dns)
			net_judge_outbound(v, probe);
		judge_trust(v);
		net_judge_sources(v, cmd_option(in, "--log"));
		status = tell(v, cmd_option(in, "--json"));
	}
	net_survey_end(v);
	return status;
}

static int
run_rules(struct invocation *in)
{
	struct survey *v = must_alloc(sizeof *v);
	struct text rules = TEXT_UP_TO(MOST_RULES);
	int status = EX_CONFIG;

	if (net_survey_begin(v, in, false)) {
		if (!v->translated || v->shared) {
			status = cmd_fail(EX_UNAVAILABLE,
				v->shared ? "the provider shares this address among customers: no port can be forwarded"
					  : "this machine has a public address: nothing needs to be forwarded");
		} else {
			(cmd_option(in, "--iptables") ? net_rules_iptables : net_rules_nftables)(
				v, cmd_option(in, "--hairpin") != NULL, &rules);
			fputs(text_str(&rules), stdout);
			status = EX_OK;
		}
	}
	text_clear(&rules);
	net_survey_end(v);
	return status;
}

static int
run_dns(struct invocation *in)
{
	struct survey *v = must_alloc(sizeof *v);
	struct text zone = TEXT_UP_TO(MOST_ZONE_TEXT);
	int status = EX_CONFIG;

	if (net_survey_begin(v, in, true)) {
		/* Behind a router only the DNS may know the public address. */
		net_ask_names(v);
		lookup_wait(v->dns);
		net_learn_publics(v);
		for (size_t i = 0; i < v->s->domains.count; i++) {
			char *domain = in->argument_count ? must_copy(span_str(in->arguments[0]))
							  : domain_at(v, i);

			net_zone_put(v, domain, &zone);
			free(domain);
			if (in->argument_count)
				break;
		}
		fputs(text_str(&zone), stdout);
		status = v->s->domains.count ? EX_OK : cmd_fail(EX_CONFIG, "domains is empty in valija.conf");
	}
	text_clear(&zone);
	net_survey_end(v);
	return status;
}

static int
run_check_dns(struct invocation *in)
{
	struct survey *v = must_alloc(sizeof *v);
	const char *domain = in->arguments[0];
	int status = EX_CONFIG;

	if (net_survey_begin(v, in, true)) {
		for (int round = 0; round < 3; round++) {
			net_ask_names(v);
			net_ask_domain(v, domain);
			if (round > 0) {
				net_learn_publics(v);
				net_ask_pointers(v);
			}
			lookup_wait(v->dns);
		}
		if (!settings_is_local_domain(v->s, span_str(domain))) {
			finding_add(&v->f, FINDING_WARNING, "domain", "%s is not in domains: its mail is not kept here",
				domain);
			finding_advise(&v->f, "Add it to domains in valija.conf");
		}
		net_judge_names(v);
		net_judge_domain(v, domain);
		status = tell(v, cmd_option(in, "--json"));
	}
	net_survey_end(v);
	return status;
}

const struct command cmd_net = {
	.words = "net",
	.arguments = "",
	.help = "look at addresses, routes, names and DNS records; say what is wrong, and what to do",
	.options = net_options,
	.run = run_net,
};

const struct command cmd_net_rules = {
	.words = "net rules",
	.arguments = "",
	.help = "print firewall rules for the router: which ports it forwards",
	.options = rules_options,
	.run = run_rules,
};

const struct command cmd_net_dns = {
	.words = "net dns",
	.arguments = "[DOMAIN]",
	.most = 1,
	.help = "print the DNS records that the domains need, as a fragment of a zone",
	.run = run_dns,
};

const struct command cmd_check_dns = {
	.words = "check dns",
	.arguments = "DOMAIN",
	.least = 1,
	.most = 1,
	.help = "compare the DNS records of a domain with those that it needs",
	.options = json_options,
	.run = run_check_dns,
};
