/*
 * conf-check - what must hold of a configuration beyond the range of each value.
 */
#include "master/conf-check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <config.h>

#include "common/address.h"
#include "common/dkim-entry.h"
#include "common/mechanisms.h"
#include "common/password.h"
#include "common/milter-address.h"
#include "common/network.h"
#include "common/server-address.h"
#include "common/solicitation.h"
#include "master/conf-reception.h"
#include "master/conf.h"
#include "master/log-setting.h"
#include "master/netstate.h"

#define LINE(d, field) conf_line(d, offsetof(struct settings, field))
#define MOST_PORT      65535
#define SCRAM_LEAST    4096
#define MOST_OAUTH_KEYS 65536

bool
conf_service(struct span word, enum service *service)
{
	for (enum service i = 0; i < SERVICE_COUNT; i++) {
		if (!span_equal(word, span_str(service_name(i))))
			continue;
		*service = i;
		return true;
	}
	return false;
}

bool
conf_proxy_listener(
	struct span word, enum service *service, struct span *address, unsigned int *port)
{
	struct span name, host;
	uint8_t family, binary[16];
	bool six;
	uint64_t number;

	if (!span_take_until(&word, '@', &name) || !conf_service(name, service) ||
		*service == SERVICE_LOCAL)
		return false;
	six = span_take(&word, '[');
	if (!span_take_until(&word, six ? ']' : ':', &host) || (six && !span_take(&word, ':')) ||
		!netstate_address_take(host, &family, binary) || family != (six ? 6 : 4) ||
		!span_take_number(&word, MOST_PORT, &number) || number == 0 || word.len > 0)
		return false;
	*address = host;
	*port = (unsigned int)number;
	return true;
}

/* The machine's full name; asked once, since the answer may come from DNS. */
static const char *
machine_name(void)
{
	static char name[MOST_DOMAIN + 1];
	struct addrinfo hints = { .ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM }, *found;

	if (name[0] || gethostname(name, sizeof name) != 0)
		return name;
	name[sizeof name - 1] = '\0';
	if (!strchr(name, '.') && getaddrinfo(name, NULL, &hints, &found) == 0) {
		if (found->ai_canonname && strchr(found->ai_canonname, '.') &&
			strlen(found->ai_canonname) < sizeof name)
			snprintf(name, sizeof name, "%s", found->ai_canonname);
		freeaddrinfo(found);
	}
	return name;
}

static bool
is_domain(struct span s, bool utf8)
{
	struct span in = s, domain;
	bool literal;

	return address_take_domain(&in, utf8, &domain, &literal) && in.len == 0 && !literal;
}

static void
check_names(struct conf_draft *d)
{
	struct address a;
	struct span in;

	if (d->s.hostname.len == 0) {
		d->s.hostname = conf_keep(d, span_str(machine_name()));
		if (!is_domain(d->s.hostname, false))
			conf_complain(d, LINE(d, hostname),
				"hostname is not set, and the machine's own name (\"%.*s\") cannot be used: set it",
				SPAN_ARG(conf_printable(d, d->s.hostname)));
	} else if (!is_domain(d->s.hostname, false)) {
		conf_complain(d, LINE(d, hostname),
			"hostname \"%.*s\" is not a host name: letters, digits and hyphens, with dots between",
			SPAN_ARG(conf_printable(d, d->s.hostname)));
	}
	for (size_t i = 0; i < d->s.domains.count; i++)
		if (!is_domain(d->s.domains.at[i], true))
			conf_complain(d, LINE(d, domains), "\"%.*s\" in domains is not a domain",
				SPAN_ARG(conf_printable(d, d->s.domains.at[i])));
	in = d->s.postmaster;
	if (in.len && (address_take_mailbox(&in, true, &a) != ADDRESS_OK || in.len != 0))
		conf_complain(d, LINE(d, postmaster), "postmaster \"%.*s\" is not an address",
			SPAN_ARG(conf_printable(d, d->s.postmaster)));
}

static void
check_network(struct conf_draft *d)
{
	uint8_t family, binary[16];
	enum service service;

	for (size_t i = 0; i < d->s.listen.count; i++)
		if (!netstate_address_take(d->s.listen.at[i], &family, binary) &&
			!netstate_is_link_name(d->s.listen.at[i]))
			conf_complain(d, LINE(d, listen),
				"\"%.*s\" in listen is not an IPv4 or IPv6 address (without a port), nor the name of a network interface",
				SPAN_ARG(conf_printable(d, d->s.listen.at[i])));
	for (size_t i = 0; i < d->s.services.count; i++) {
		if (!conf_service(d->s.services.at[i], &service))
			conf_complain(d, LINE(d, services),
				"\"%.*s\" in services is not one of smtp, submission, submissions, lmtp, imap, imaps, local",
				SPAN_ARG(conf_printable(d, d->s.services.at[i])));
		else if (service != SERVICE_LOCAL &&
			d->s.port_base + service_port(service) > MOST_PORT)
			conf_complain(d, LINE(d, port_base), "port_base puts %s above port %d",
				service_name(service), MOST_PORT);
	}
}

/* Lists of services of smtpd, and lists of networks. */
static void
check_lists(struct conf_draft *d)
{
	const struct {
		const char *name;
		const struct list *list;
		unsigned int line;
	} services[] = {
		{ "owner_services", &d->s.owner_services, LINE(d, owner_services) },
		{ "normalise_newlines", &d->s.normalise_newlines, LINE(d, normalise_newlines) },
	}, networks[] = {
		{ "lmtp_clients", &d->s.lmtp_clients, LINE(d, lmtp_clients) },
		{ "proxy_from", &d->s.proxy_from, LINE(d, proxy_from) },
		{ "xclient_from", &d->s.xclient_from, LINE(d, xclient_from) },
		{ "xforward_from", &d->s.xforward_from, LINE(d, xforward_from) },
		{ "policy_exempt", &d->s.policy_exempt, LINE(d, policy_exempt) },
		{ "auth_allow", &d->s.auth_allow, LINE(d, auth_allow) },
		{ "fetch_networks", &d->s.fetch_networks, LINE(d, fetch_networks) },
	};
	enum service service;
	struct network n;

	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		for (size_t j = 0; j < services[i].list->count; j++)
			if (!conf_service(services[i].list->at[j], &service) ||
				service_program(service) != PROGRAM_SMTPD)
				conf_complain(d, services[i].line,
					"\"%.*s\" in %s is not one of smtp, submission, submissions, lmtp",
					SPAN_ARG(conf_printable(d, services[i].list->at[j])),
					services[i].name);
	for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
		for (size_t j = 0; j < networks[i].list->count; j++)
			if (!network_parse(networks[i].list->at[j], &n))
				conf_complain(d, networks[i].line,
					"\"%.*s\" in %s is not an address or a network such as 192.0.2.0/24",
					SPAN_ARG(conf_printable(d, networks[i].list->at[j])),
					networks[i].name);
}

/* They must fit into a line of EHLO, and each into the answer that refuses it. */
static void
check_soliciting(struct conf_draft *d)
{
	size_t sum = 0;

	for (size_t i = 0; i < d->s.no_soliciting.count; i++) {
		struct span class = d->s.no_soliciting.at[i];

		sum += class.len + 1;
		if (!solicitation_is_class(class) || class.len > SOLICITATION_CLASS_MOST)
			conf_complain(d, LINE(d, no_soliciting),
				"\"%.*s\" in no_soliciting is not a keyword such as org.example:ADV (letters, digits, . - _ : and at most %d of them)",
				SPAN_ARG(conf_printable(d, class)), SOLICITATION_CLASS_MOST);
	}
	if (sum > SOLICITATION_CLASSES_MOST)
		conf_complain(d, LINE(d, no_soliciting), "no_soliciting has more than %d characters",
			SOLICITATION_CLASSES_MOST);
}

/* Nobody reaches us at an address of these kinds, nor can mail be sent from it. */
static bool
is_of_no_use(uint8_t family, const uint8_t *at)
{
	return netstate_kind_of(family, at) == NETSTATE_UNUSABLE;
}

static void
check_source(struct conf_draft *d, unsigned int line, const char *name, struct span value,
	uint8_t wanted)
{
	uint8_t family, binary[16];

	if (span_equal(value, SPAN("none")))
		return;
	if (value.len && (!netstate_address_take(value, &family, binary) || family != wanted ||
				 is_of_no_use(family, binary)))
		conf_complain(d, line, "%s \"%.*s\" is neither an IPv%u address nor none", name,
			SPAN_ARG(conf_printable(d, value)), wanted);
}

static void
check_addresses(struct conf_draft *d)
{
	uint8_t family, binary[16];

	for (size_t i = 0; i < d->s.public_address.count; i++)
		if (!netstate_address_take(d->s.public_address.at[i], &family, binary) ||
			is_of_no_use(family, binary))
			conf_complain(d, LINE(d, public_address),
				"\"%.*s\" in public_address is not an address of a host",
				SPAN_ARG(conf_printable(d, d->s.public_address.at[i])));
	check_source(d, LINE(d, relay_source_ipv4), "relay_source_ipv4", d->s.relay_source_ipv4, 4);
	check_source(d, LINE(d, relay_source_ipv6), "relay_source_ipv6", d->s.relay_source_ipv6, 6);
	if (span_equal(d->s.relay_source_ipv4, SPAN("none")) && span_equal(d->s.relay_source_ipv6, SPAN("none")))
		conf_complain(d, LINE(d, relay_source_ipv6),
			"relay_source_ipv4 and relay_source_ipv6 are both none: mail can be sent by one of them only");
}

/* A program that is not ours runs as somebody who cannot write it, as far as we can see; that it can be run is checked. */
static void
check_outside(struct conf_draft *d, bool files, const char *option, struct span program, unsigned int line,
	struct span user, unsigned int user_line)
{
	struct stat st;
	char *path;

	if (program.len == 0)
		return;
	if (program.at[0] != '/') {
		conf_complain(d, line, "%s must be an absolute name, not \"%.*s\"", option,
			SPAN_ARG(conf_printable(d, program)));
		return;
	}
	if (!files)
		return;
	path = must_copy(program);
	if (stat(path, &st) < 0)
		conf_complain(d, line, "%s: %s: %s", option, path, strerror(errno));
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
		conf_complain(d, line, "%s: %s cannot be run: chmod 0755 it", option, path);
	else if ((st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != geteuid()))
		conf_complain(d, line, "%s: %s may be changed by others: chown it to root, chmod 0755 it", option,
			path);
	free(path);
	path = must_copy(user);
	if (geteuid() == 0 && !getpwnam(path))
		conf_complain(d, user_line, "%s_user: there is no user \"%.*s\"", option,
			SPAN_ARG(conf_printable(d, user)));
	free(path);
}

/* As whom commands and files of root's aliases are delivered to. */
static void
check_alias_user(struct conf_draft *d)
{
	char *name = must_copy(d->s.alias_user);
	const struct passwd *user = geteuid() == 0 && (d->s.alias_commands || d->s.alias_files)
		? getpwnam(name)
		: NULL;

	if (geteuid() == 0 && (d->s.alias_commands || d->s.alias_files) && (!user || user->pw_uid == 0))
		conf_complain(d, LINE(d, alias_user), user ? "alias_user must not be root (\"%.*s\")"
							  : "alias_user: there is no user \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.alias_user)));
	free(name);
}

static void
check_dns(struct conf_draft *d)
{
	struct server_address a;

	for (size_t i = 0; i < d->s.dns_servers.count; i++)
		if (!server_address_read(d->s.dns_servers.at[i], 53, &a) || !a.literal)
			conf_complain(d, LINE(d, dns_servers),
				"\"%.*s\" in dns_servers is not an address, or an address:port",
				SPAN_ARG(conf_printable(d, d->s.dns_servers.at[i])));
	if (!span_equal(d->s.dnssec, SPAN("auto")) && !span_equal(d->s.dnssec, SPAN("required")) &&
		!span_equal(d->s.dnssec, SPAN("off")))
		conf_complain(d, LINE(d, dnssec), "dnssec must be auto, required or off, not \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.dnssec)));
}

static void
check_milters(struct conf_draft *d)
{
	const struct {
		const char *name;
		const struct list *list;
		unsigned int line;
	} lists[] = {
		{ "smtp_milters", &d->s.smtp_milters, LINE(d, smtp_milters) },
		{ "submission_milters", &d->s.submission_milters, LINE(d, submission_milters) },
		{ "lmtp_milters", &d->s.lmtp_milters, LINE(d, lmtp_milters) },
	};
	struct sockaddr_storage to;
	socklen_t len;

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
		for (size_t j = 0; j < lists[i].list->count; j++)
			if (!milter_address_parse(lists[i].list->at[j], &to, &len))
				conf_complain(d, lists[i].line,
					"\"%.*s\" in %s is not unix:/path, inet:address:port or inet6:[address]:port",
					SPAN_ARG(conf_printable(d, lists[i].list->at[j])),
					lists[i].name);
	if (!span_equal(d->s.mail_journal, SPAN("auto")) && !span_equal(d->s.mail_journal, SPAN("yes")) &&
		!span_equal(d->s.mail_journal, SPAN("no")))
		conf_complain(d, LINE(d, mail_journal), "mail_journal must be auto, yes or no, not \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.mail_journal)));
	if (!span_equal(d->s.milter_down, SPAN("accept")) &&
		!span_equal(d->s.milter_down, SPAN("tempfail")) &&
		!span_equal(d->s.milter_down, SPAN("reject")))
		conf_complain(d, LINE(d, milter_down),
			"milter_down must be accept, tempfail or reject, not \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.milter_down)));
}

static void
check_proxies(struct conf_draft *d)
{
	enum service service;
	struct span address;
	unsigned int port;

	for (size_t i = 0; i < d->s.proxy_listen.count; i++)
		if (!conf_proxy_listener(d->s.proxy_listen.at[i], &service, &address, &port))
			conf_complain(d, LINE(d, proxy_listen),
				"\"%.*s\" in proxy_listen is not service@address:port",
				SPAN_ARG(conf_printable(d, d->s.proxy_listen.at[i])));
	if (d->s.proxy_listen.count && !d->s.proxy_from.count)
		conf_complain(d, LINE(d, proxy_listen),
			"proxy_listen is of no use while proxy_from names no proxy");
}

/* The first word of /etc/mailname (Debian Policy 11.6), or nothing. */
static struct span
mail_name(struct conf_draft *d)
{
	char text[MOST_DOMAIN + 2];
	int fd = open("/etc/mailname", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	struct span name = span_of(text, n > 0 ? (size_t)n : 0);

	if (fd >= 0)
		close(fd);
	name = span_trim(span_part(name, 0, span_index(name, '\n')));
	return is_domain(name, true) ? conf_keep(d, name) : SPAN_NONE;
}

/* The system's instance alone reads the system's file. */
static void
check_local_domain(struct conf_draft *d, const struct paths *p)
{
	if (d->s.local_domain.len && !is_domain(d->s.local_domain, true))
		conf_complain(d, LINE(d, local_domain), "local_domain \"%.*s\" is not a domain",
			SPAN_ARG(conf_printable(d, d->s.local_domain)));
	if (!d->s.local_domain.len && !p->dir)
		d->s.local_domain = mail_name(d);
	if (!d->s.local_domain.len)
		d->s.local_domain = d->s.domains.count ? d->s.domains.at[0] : d->s.hostname;
}

static void
check_relayhosts(struct conf_draft *d)
{
	struct server_address a;

	if (d->s.relayhost.len > 0 && !server_address_read(d->s.relayhost, 25, &a))
		conf_complain(d, LINE(d, relayhost), "relayhost \"%.*s\" is not HOST or HOST:PORT",
			SPAN_ARG(conf_printable(d, d->s.relayhost)));
	for (size_t i = 0; i < d->s.sender_relayhosts.count; i++) {
		struct span rule = d->s.sender_relayhosts.at[i];
		size_t space = span_index(rule, ' ');

		if (!span_has(span_part(rule, 0, space), '@') ||
			!server_address_read(span_trim(span_part(rule, space, rule.len)), 25, &a))
			conf_complain(d, LINE(d, sender_relayhosts),
				"\"%.*s\" in sender_relayhosts is not ADDRESS HOST:PORT or @DOMAIN HOST:PORT",
				SPAN_ARG(conf_printable(d, rule)));
	}
	if (d->s.srs_domain.len > 0 && !settings_is_local_domain(&d->s, d->s.srs_domain))
		conf_complain(d, LINE(d, srs_domain), "srs_domain is none of domains");
	if (d->s.relay_credentials.len > 0 && d->s.relay_credentials.at[0] != '/')
		conf_complain(d, LINE(d, relay_credentials), "relay_credentials must be an absolute name");
}

/* What master does for relay: programs for tokens, sockets for LMTP. */
static void
check_for_relay(struct conf_draft *d, bool files)
{
	for (size_t i = 0; i < d->s.relay_token_commands.count; i++) {
		struct span rule = d->s.relay_token_commands.at[i];
		size_t space = span_index(rule, ' ');

		if (space == 0 || space > MOST_RELAY_LOGIN || !span_trim(span_part(rule, space, rule.len)).len)
			conf_complain(d, LINE(d, relay_token_commands),
				"\"%.*s\" in relay_token_commands is not LOGIN /PROGRAM",
				SPAN_ARG(conf_printable(d, rule)));
		else
			check_outside(d, files, "relay_token", span_trim(span_part(rule, space, rule.len)),
				LINE(d, relay_token_commands), d->s.relay_token_user, LINE(d, relay_token_user));
	}
	for (size_t i = 0; i < d->s.lmtp_sockets.count; i++) {
		struct span path = d->s.lmtp_sockets.at[i];

		if (path.len == 0 || path.at[0] != '/' || path.len > MOST_SOCKET || !span_is_printable(path))
			conf_complain(d, LINE(d, lmtp_sockets),
				"\"%.*s\" in lmtp_sockets is not the absolute name of a socket (at most %d octets)",
				SPAN_ARG(conf_printable(d, path)), MOST_SOCKET);
	}
}

/* What others may read is no secret. */
static void
check_credentials(struct conf_draft *d)
{
	struct stat st;
	char *path = must_copy(d->s.relay_credentials);

	if (path[0] == '/' && stat(path, &st) < 0)
		conf_complain(d, LINE(d, relay_credentials), "relay_credentials: %s: %s", path,
			strerror(errno));
	else if (path[0] == '/' && (st.st_mode & 077) != 0)
		conf_complain(d, LINE(d, relay_credentials),
			"relay_credentials: %s may be read or changed by others: chmod 0600 it", path);
	free(path);
}

static void
check_relay(struct conf_draft *d)
{
	static const char *const levels[] = { "none", "may", "encrypt", "dane", "dane-only", "verify" };

	for (size_t i = 0; i < d->s.tls_policy.count; i++) {
		struct span rest = d->s.tls_policy.at[i], level;
		bool known = false;

		rest = span_trim(span_part(rest, span_index(rest, ' '), rest.len));
		level = span_part(rest, 0, span_index(rest, ' '));
		for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++)
			known |= span_equal_nocase(level, span_str(levels[l]));
		known &= span_is_printable(d->s.tls_policy.at[i]) && d->s.tls_policy.at[i].len < 1024 &&
			(span_equal_nocase(level, SPAN("verify")) || rest.len == level.len);
		if (!known)
			conf_complain(d, LINE(d, tls_policy),
				"\"%.*s\" in tls_policy is not DOMAIN LEVEL [NAME...] with LEVEL none, may, "
				"encrypt, dane, dane-only or verify",
				SPAN_ARG(conf_printable(d, d->s.tls_policy.at[i])));
	}
}

static void
check_log(struct conf_draft *d, const struct paths *p)
{
	if (d->s.log.len == 0) {
		char *file = paths_join(p->log, "valija.log");

		d->s.log = conf_keep(d, p->dir ? span_str(file) : SPAN("syslog"));
		free(file);
	}
	if (log_setting_target(d->s.log) == LOG_TO_NOWHERE)
		conf_complain(d, LINE(d, log),
			"log must be syslog, stderr, or the absolute name of a file, not \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.log)));
	if (log_setting_level(d->s.log_level) < 0)
		conf_complain(d, LINE(d, log_level),
			"log_level must be debug, info, notice, warning or error, not \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.log_level)));
}

/* How mailboxes are called to IMAP clients. */
static void
check_mailbox_names(struct conf_draft *d)
{
	struct span separator = d->s.imap_separator, prefix = d->s.imap_prefix;
	bool good = span_is_printable(prefix);

	if (!span_equal(separator, SPAN("/")) && !span_equal(separator, SPAN(".")))
		conf_complain(d, LINE(d, imap_separator), "imap_separator is \"/\" or \".\"");
	for (size_t i = 0; i < prefix.len; i++)
		good = good && !strchr("%*&\"\\", prefix.at[i]) &&
			(span_has(separator, prefix.at[i]) || !strchr("/.", prefix.at[i]));
	if (prefix.len > 0 && (!good || prefix.len < 2 || separator.len != 1 ||
		prefix.at[prefix.len - 1] != separator.at[0]))
		conf_complain(d, LINE(d, imap_prefix),
			"imap_prefix is a name with imap_separator at its end, as in \"INBOX.\"");
}

static void
check_delays(struct conf_draft *d)
{
	if (d->s.auth_delay_seconds > d->s.auth_delay_most_seconds)
		conf_complain(d, LINE(d, auth_delay_seconds),
			"auth_delay_seconds is above auth_delay_most_seconds (%llu)",
			(unsigned long long)d->s.auth_delay_most_seconds);
}

static void
list_add(struct conf_draft *d, setting_list *list, struct span member)
{
	list->at = must_realloc(list->at, (list->count + 1) * sizeof *list->at);
	list->at[list->count++] = conf_keep(d, member);
}

/* What other packages write to (Debian Policy 11.6) counts without being named; in the system's instance alone. */
static void
default_aliases(struct conf_draft *d, const struct paths *p)
{
	if (!LINE(d, aliases) && !p->dir)
		list_add(d, &d->s.aliases, SPAN("/etc/aliases"));
}

static void
check_sources(struct conf_draft *d)
{
	struct settings *s = &d->s;

	if (s->auth_sources.count == 0) {
		list_add(d, &s->auth_sources, SPAN("users"));
		if (s->system_users)
			list_add(d, &s->auth_sources, SPAN("pam"));
	}
	for (size_t i = 0; i < s->auth_sources.count; i++)
		if (!span_equal_nocase(s->auth_sources.at[i], SPAN("users")) &&
			!span_equal_nocase(s->auth_sources.at[i], SPAN("passwd_file")) &&
			!span_equal_nocase(s->auth_sources.at[i], SPAN("pam")) &&
			!span_equal_nocase(s->auth_sources.at[i], SPAN("checkpassword")))
			conf_complain(d, LINE(d, auth_sources),
				"\"%.*s\" in auth_sources is not one of users, passwd_file, pam, checkpassword",
				SPAN_ARG(conf_printable(d, s->auth_sources.at[i])));
#ifndef HAVE_PAM
	if (settings_wants_pam(s))
		conf_complain(d, LINE(d, auth_sources),
			"pam: this build has no PAM; install its headers and configure again");
#endif
	if (settings_has_source(s, SPAN("passwd_file")) && s->passwd_file.len == 0)
		conf_complain(d, LINE(d, auth_sources), "passwd_file in auth_sources needs the option passwd_file");
	if (settings_has_source(s, SPAN("checkpassword")) && s->checkpassword.len == 0)
		conf_complain(d, LINE(d, auth_sources),
			"checkpassword in auth_sources needs the option checkpassword");
	if (s->system_domains.count == 0)
		list_add(d, &s->system_domains, s->hostname);
	for (size_t i = 0; s->system_users && i < s->system_domains.count; i++)
		if (!is_domain(s->system_domains.at[i], true))
			conf_complain(d, LINE(d, system_domains),
				"\"%.*s\" in system_domains is not a domain",
				SPAN_ARG(conf_printable(d, s->system_domains.at[i])));
	if (span_has(s->pam_service, '/') || s->pam_service.len == 0)
		conf_complain(d, LINE(d, pam_service), "pam_service is the name of a file, without /");
	if (s->pam_directory.len && s->pam_directory.at[0] != '/')
		conf_complain(d, LINE(d, pam_directory), "pam_directory must be an absolute name");
}

/* What is offered where the file does not say: SCRAM only where every password has its keys; the
 * others are announced by need (common/mechanisms.h). */
static void
check_mechanisms(struct conf_draft *d, setting_list *list, unsigned int line, const char *name)
{
	static const char *const usual[] = { "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS",
		"SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN",
		"LOGIN" };
	bool scram = d->s.auth_sources.count == 1 &&
		settings_has_source(&d->s, SPAN("users")) && d->s.scram_iterations > 0;

	for (size_t i = 0; i < list->count; i++)
		if (!mechanism_exists(list->at[i]))
			conf_complain(d, line, "\"%.*s\" in %s is not a mechanism that valija has",
				SPAN_ARG(conf_printable(d, list->at[i])), name);
	if (list->count > 0)
		return;
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (scram || !span_starts_nocase(span_str(usual[i]), SPAN("SCRAM")))
			list_add(d, list, span_str(usual[i]));
}

/* A file that must be there and readable for us. `advice`: what to do when it is not there. */
static void
check_file(struct conf_draft *d, unsigned int line, const char *what, struct span name,
	const char *advice)
{
	struct stat st;
	char *path = must_copy(name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == ENOENT)
		conf_complain(d, line, "%s: %s is not there%s", what, path, advice);
	else if (fd < 0)
		conf_complain(d, line, "%s: %s cannot be read: %s", what, path, strerror(errno));
	else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		conf_complain(d, line, "%s: %s is not a regular file", what, path);
	else if (st.st_size == 0)
		conf_complain(d, line, "%s: %s is empty", what, path);
	if (fd >= 0)
		close(fd);
	free(path);
}

static void
check_key_mode(struct conf_draft *d, unsigned int line, struct span name)
{
	struct stat st;
	char *path = must_copy(name);

	if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
		conf_complain(d, line,
			"tls_key: %s may be read or changed by others: chmod 0400 it", path);
	free(path);
}

/* Every member is SERVICE, or SERVICE=NAME. */
static void
check_services_of(struct conf_draft *d, unsigned int line, const char *option, const setting_list *list,
	bool with_name)
{
	enum service service;

	for (size_t i = 0; i < list->count; i++) {
		struct span name = list->at[i], word = name;

		if (with_name && !span_take_until(&name, '=', &word))
			conf_complain(d, line, "\"%.*s\" in %s is not of the form SERVICE=NAME",
				SPAN_ARG(conf_printable(d, name)), option);
		else if (!conf_service(span_trim(word), &service))
			conf_complain(d, line,
				"\"%.*s\" in %s is not one of smtp, submission, submissions, imap, imaps",
				SPAN_ARG(conf_printable(d, word)), option);
		else if (with_name && !is_domain(span_trim(name), false))
			conf_complain(d, line, "\"%.*s\" in %s is not a host name",
				SPAN_ARG(conf_printable(d, name)), option);
	}
}

static void
check_tls(struct conf_draft *d)
{
	unsigned int line = LINE(d, tls_certificate);

	if (d->s.tls_certificate.count != d->s.tls_key.count)
		conf_complain(d, line != 0 ? line : LINE(d, tls_key),
			"there are %zu files in tls_certificate and %zu in tls_key: each certificate has its key",
			d->s.tls_certificate.count, d->s.tls_key.count);
	check_services_of(d, LINE(d, tls_default), "tls_default", &d->s.tls_default, true);
	check_services_of(d, LINE(d, tls_client_services), "tls_client_services",
		&d->s.tls_client_services, false);
	if (d->s.tls_client_ca.len == 0 && (d->s.tls_client_required || d->s.tls_client_crl.len != 0))
		conf_complain(d,
			d->s.tls_client_required ? LINE(d, tls_client_required) : LINE(d, tls_client_crl),
			"tls_client_required and tls_client_crl need tls_client_ca");
}

static void
check_dkim(struct conf_draft *d)
{
	for (size_t i = 0; i < d->s.dkim.count; i++) {
		struct dkim_entry e;

		if (!dkim_entry_parse(d->s.dkim.at[i], &e))
			conf_complain(d, LINE(d, dkim),
				"\"%.*s\" in dkim is not DOMAIN:SELECTOR or DOMAIN:SELECTOR:ed25519",
				SPAN_ARG(conf_printable(d, d->s.dkim.at[i])));
	}
}

static void
check_dkim_files(struct conf_draft *d)
{
	for (size_t i = 0; i < d->s.dkim.count; i++) {
		struct text path = TEXT_UP_TO(PATH_MAX - 1);
		struct dkim_entry e;

		if (!dkim_entry_parse(d->s.dkim.at[i], &e))
			continue;
		text_printf(&path, "%.*s/%.*s/%.*s.key", SPAN_ARG(d->s.dkim_directory), SPAN_ARG(e.domain),
			SPAN_ARG(e.selector));
		check_file(d, LINE(d, dkim), "dkim", text_span(&path),
			"; `valija cert dkim` makes one");
		check_key_mode(d, LINE(d, dkim), text_span(&path));
		text_clear(&path);
	}
}

/* A file of the state directory is `valija init`'s; one that the configuration names is the administrator's. */
static const char *
certificate_advice(unsigned int line)
{
	return line ? "; valija-certificates(7) tells where certificates come from" : "; `valija init` makes one";
}

static void
check_tls_files(struct conf_draft *d)
{
	for (size_t i = 0; i < d->s.tls_certificate.count; i++)
		check_file(d, LINE(d, tls_certificate), "tls_certificate", d->s.tls_certificate.at[i],
			certificate_advice(LINE(d, tls_certificate)));
	for (size_t i = 0; i < d->s.tls_key.count; i++) {
		check_file(d, LINE(d, tls_key), "tls_key", d->s.tls_key.at[i],
			certificate_advice(LINE(d, tls_key)));
		check_key_mode(d, LINE(d, tls_key), d->s.tls_key.at[i]);
	}
	check_dkim_files(d);
	if (d->s.tls_trust.len != 0)
		check_file(d, LINE(d, tls_trust), "tls_trust", d->s.tls_trust, "");
	if (d->s.tls_client_ca.len != 0)
		check_file(d, LINE(d, tls_client_ca), "tls_client_ca", d->s.tls_client_ca, "");
	if (d->s.tls_client_crl.len != 0)
		check_file(d, LINE(d, tls_client_crl), "tls_client_crl", d->s.tls_client_crl, "");
}

/* Daemons get the keys themselves: no one of them may open the file. */
static void
take_oauth_keys(struct conf_draft *d)
{
	char *path = must_copy(d->s.oauth_keys);
	struct text keys = TEXT_UP_TO(MOST_OAUTH_KEYS);
	unsigned char block[4096];
	FILE *file = fopen(path, "re");
	size_t n;

	while (file && (n = fread(block, 1, sizeof block, file)) > 0)
		text_add(&keys, span_of(block, n));
	if (!file || ferror(file) || keys.failed || !span_is_utf8(text_span(&keys)))
		conf_complain(d, LINE(d, oauth_keys),
			"oauth_keys: %s cannot be read, has more than %d bytes, or is no text", path,
			MOST_OAUTH_KEYS);
	else
		d->s.oauth_keys = conf_keep(d, text_span(&keys));
	if (file)
		fclose(file);
	text_clear(&keys);
	free(path);
}

static void
check_files(struct conf_draft *d)
{
	struct stat st;
	char *directory, *slash;

	check_tls_files(d);
	if (log_setting_target(d->s.log) != LOG_TO_FILE)
		return;
	directory = must_copy(d->s.log);
	slash = strrchr(directory, '/');
	slash[slash == directory ? 1 : 0] = '\0';
	if (stat(directory, &st) < 0 || !S_ISDIR(st.st_mode))
		conf_complain(d, LINE(d, log), "log: there is no directory %s", directory);
	free(directory);
}

static void
default_file(struct conf_draft *d, setting_list *setting, const char *directory, const char *name)
{
	char *path;

	if (setting->count != 0)
		return;
	path = paths_join(directory, name);
	setting->at = must_realloc(setting->at, sizeof *setting->at);
	setting->at[setting->count++] = conf_keep(d, span_str(path));
	free(path);
}

static void
default_text(struct conf_draft *d, setting_text *setting, const char *directory, const char *name)
{
	char *path = paths_join(directory, name);

	*setting = conf_keep(d, span_str(path));
	free(path);
}

void
conf_check(struct conf_draft *d, const struct paths *p, bool files)
{
	check_names(d);
	check_network(d);
	check_lists(d);
	check_soliciting(d);
	conf_check_reception(d);
	check_addresses(d);
	check_outside(d, files, "address_hook", d->s.address_hook, LINE(d, address_hook), d->s.address_hook_user,
		LINE(d, address_hook_user));
	check_outside(d, files, "checkpassword", d->s.checkpassword, LINE(d, checkpassword), d->s.checkpassword_user,
		LINE(d, checkpassword_user));
	if (files)
		check_alias_user(d);
	check_dns(d);
	check_proxies(d);
	check_milters(d);
	default_aliases(d, p);
	check_local_domain(d, p);
	check_relay(d);
	check_relayhosts(d);
	check_for_relay(d, files);
	if (files)
		check_credentials(d);
	check_log(d, p);
	check_delays(d);
	check_mailbox_names(d);
	check_sources(d);
	check_mechanisms(d, &d->s.smtp_mechanisms, LINE(d, smtp_mechanisms), "smtp_mechanisms");
	check_mechanisms(d, &d->s.imap_mechanisms, LINE(d, imap_mechanisms), "imap_mechanisms");
	for (size_t i = 0; i < d->s.certificate_users.count; i++)
		if (!span_has(d->s.certificate_users.at[i], '='))
			conf_complain(d, LINE(d, certificate_users),
				"\"%.*s\" in certificate_users is not of the form MATCH=ADDRESS",
				SPAN_ARG(conf_printable(d, d->s.certificate_users.at[i])));
	if (d->s.oauth_issuer.len > 0 && d->s.oauth_keys.len == 0 && d->s.oauth_introspection.len == 0)
		conf_complain(d, LINE(d, oauth_issuer), "oauth_issuer needs oauth_keys, or oauth_introspection");
	if (d->s.oauth_introspection.len > 0 &&
		(!span_starts_nocase(d->s.oauth_introspection, SPAN("https://")) ||
			!span_is_printable(d->s.oauth_introspection) || span_has(d->s.oauth_introspection, ' ')))
		conf_complain(d, LINE(d, oauth_introspection),
			"oauth_introspection must be a URL of https, not \"%.*s\"",
			SPAN_ARG(conf_printable(d, d->s.oauth_introspection)));
#ifndef HAVE_JANSSON
	if (settings_wants_tokens(&d->s))
		conf_complain(d, LINE(d, oauth_issuer), "tokens: this build has no jansson; install its headers and configure again");
#endif
	if (files && d->s.oauth_credentials.len > 0)
		check_file(d, LINE(d, oauth_credentials), "oauth_credentials", d->s.oauth_credentials, "");
	if (!password_strength_exists(&(struct password_strength){
		    d->s.password_scheme, (uint32_t)d->s.password_cost }))
		conf_complain(d, LINE(d, password_scheme),
			"password_scheme \"%.*s\" is not known here, or password_cost is above what it takes",
			SPAN_ARG(conf_printable(d, d->s.password_scheme)));
	if (d->s.scram_iterations > 0 && d->s.scram_iterations < SCRAM_LEAST)
		conf_complain(d, LINE(d, scram_iterations),
			"scram_iterations must be 0, or at least %d (RFC 7677)", SCRAM_LEAST);
	default_file(d, &d->s.tls_certificate, p->tls, "server.crt");
	default_file(d, &d->s.tls_key, p->tls, "server.key");
	if (d->s.dkim_directory.len == 0)
		default_text(d, &d->s.dkim_directory, p->tls, "dkim");
	check_tls(d);
	if (files && d->s.passwd_file.len)
		check_file(d, LINE(d, passwd_file), "passwd_file", d->s.passwd_file, "");
	if (files && d->s.oauth_keys.len)
		take_oauth_keys(d);
	check_dkim(d);
	if (files)
		check_files(d);
}
