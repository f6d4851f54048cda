/*
 * cmd-check - looks everything over that a start needs, and tells all that is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/address.h"
#include "common/settings.h"
#include "master/cmd-check.h"
#include "master/binding.h"
#include "master/client.h"
#include "master/cmd.h"
#include "master/conf.h"
#include "master/layout.h"
#include "master/net-trust.h"
#include "master/userbase.h"

/* queue gives their mail to the first user then, and complains in the log each time. */
static void
check_postmaster(const struct invocation *v, const struct settings *s)
{
	struct text why = TEXT_UP_TO(1024), key = TEXT_UP_TO(MOST_ADDRESS),
		    value = TEXT_UP_TO(MOST_USER_RECORD);
	struct userbase *base = s->postmaster.len ? userbase_open(&v->paths, &why) : NULL;
	struct span in = s->postmaster;
	struct address a;
	struct user u;

	if (base && address_take_mailbox(&in, true, &a) == ADDRESS_OK &&
		!(address_key(&a, &key) && userbase_find(base, text_span(&key), &value, &u)))
		printf("warning: postmaster %.*s is not a user: the first user gets that mail\n",
			SPAN_ARG(s->postmaster));
	userbase_close(&base);
	text_clear(&value);
	text_clear(&key);
	text_clear(&why);
}

#define MOST_HOMES_TOLD 20

/* Mailboxes that somebody copied as root, or restored: neither delivery nor IMAP can use them. */
struct homes {
	const struct invocation *v;
	unsigned int wrong;
};

static bool
check_home(void *me, const struct user *u)
{
	static const char *const below[] = { "", "/Maildir", "/Maildir/cur", "/Maildir/new" };
	struct homes *h = me;
	struct stat st;

	for (size_t i = 0; i < sizeof below / sizeof below[0]; i++) {
		struct text path = TEXT_UP_TO(MOST_PATH_NAME);
		bool system = u->home.len && u->home.at[0] == '/', wrong;

		text_printf(&path, "%s%s%.*s%s", system ? "" : h->v->paths.mail, system ? "" : "/",
			SPAN_ARG(u->home), below[i]);
		wrong = lstat(text_str(&path), &st) == 0 && st.st_uid != u->uid;
		if (wrong && h->wrong++ < MOST_HOMES_TOLD)
			printf("warning: the mailbox of %.*s cannot be used: %s belongs to uid %u, not to %u: chown -R %u %s\n",
				SPAN_ARG(u->address), text_str(&path), (unsigned int)st.st_uid, u->uid, u->uid,
				text_str(&path));
		text_clear(&path);
		if (wrong)
			break;
	}
	return true;
}

static void
check_homes(const struct invocation *v)
{
	struct text why = TEXT_UP_TO(1024);
	struct userbase *base = userbase_open(&v->paths, &why);
	struct homes h = { .v = v };

	if (base)
		userbase_each(base, check_home, &h);
	if (h.wrong > MOST_HOMES_TOLD)
		printf("warning: and %u more mailboxes\n", h.wrong - MOST_HOMES_TOLD);
	userbase_close(&base);
	text_clear(&why);
}

/* The first port that needs no root. */
static unsigned long long first_free_port(void)
{
	char digits[16];
	struct span s = { (const unsigned char *)digits, 0 };
	uint64_t first = 1024;
	int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, digits, sizeof digits);

	if (fd >= 0)
		close(fd);
	s.len = n > 0 ? (size_t)n : 0;
	span_take_number(&s, UINT16_MAX, &first);
	return first;
}

static void
check_ports(const struct settings *s, struct text *complaints)
{
	unsigned long long first = first_free_port();
	enum service service;

	for (size_t i = 0; geteuid() != 0 && i < s->services.count; i++)
		if (conf_service(s->services.at[i], &service) && service != SERVICE_LOCAL &&
			s->port_base + service_port(service) < first)
			text_printf(complaints,
				"port_base: %s has port %llu, and those below %llu need root: set port_base\n",
				service_name(service),
				(unsigned long long)s->port_base + service_port(service), first);
}

/* What somebody else listens on. While the suite itself runs it is it who does, and a reload tells. */
struct taken {
	struct text *complaints;
	bool any;
};

static void
check_port(void *me, const struct place *p, enum service service, uint16_t port, bool proxy)
{
	struct taken *t = me;
	int fd = binding_open(p, port, 0), error = errno;
	char name[MOST_IP + 1];

	(void)proxy;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || error != EADDRINUSE)
		return;
	binding_name(p, port, name);
	text_printf(t->complaints, "%s cannot listen on %s: %s\n", service_name(service), name, strerror(error));
	t->any = true;
}

static void
check_no_address(void *me, struct span interface, bool there)
{
	(void)me;
	printf("warning: listen: the interface %.*s %s\n", SPAN_ARG(interface), there ? "has no address now" : "is not there now");
}

static void
check_ports_taken(const struct paths *p, const struct settings *s, struct text *complaints)
{
	static const struct bindings each = { check_port, check_no_address };
	struct taken t = { complaints, false };
	struct netstate n;

	if (client_is_locked(p) || !netstate_read(&n))
		return;
	binding_each(s, &n, &each, &t);
	netstate_clear(&n);
	if (t.any)
		text_add_str(complaints, PORT_IN_USE_ADVICE "\n");
}

/* The trap of address translation. */
static void
check_trust(const struct settings *s)
{
	struct text doubts = TEXT_UP_TO(8192);
	struct netstate n;
	struct span left, line;

	if (!netstate_read(&n))
		return;
	net_trust_doubts(s, &n, &doubts);
	for (left = text_span(&doubts); span_take_until(&left, '\n', &line);)
		printf("warning: %.*s\n", SPAN_ARG(line));
	netstate_clear(&n);
	text_clear(&doubts);
}

static int
run(struct invocation *v)
{
	struct text complaints = TEXT_UP_TO(MOST_CONF_ERRORS * 2);
	struct settings *s;
	int status = EX_OK;

	s = conf_read(&v->paths, 1, true, &complaints);
	if (s) {
		check_certificates(&v->paths, s, true, &complaints);
		check_tls(s, &complaints);
		check_ports(s, &complaints);
		check_ports_taken(&v->paths, s, &complaints);
		check_homes(v);
		check_postmaster(v, s);
		check_trust(s);
		warn_of_domains(s);
		warn_of_aliases(&v->paths, s);
		warn_of_passwd_file(s);
		warn_of_lost_passwords(&v->paths, s);
		warn_of_space(&v->paths, 2 * s->message_size_bytes);
	}
	layout_check(&v->paths, &complaints);
	check_tables(&v->paths, &complaints);
	check_file_systems(&v->paths, &complaints);
	if (complaints.len) {
		cmd_complain(text_span(&complaints));
		status = EX_CONFIG;
	} else if (s->domains.count == 0) {
		puts("warning: domains is empty: mail is kept for nobody");
	}
	settings_free(&s);
	text_clear(&complaints);
	return status;
}

const struct command cmd_check = {
	.words = "check",
	.arguments = "",
	.help = "look over configuration, certificate, directories, users; tell all that is wrong",
	.run = run,
};
