/*
 * cmd-address - tells where mail for an address would go, step by step, by the rules that queue
 * follows (delivery/resolve.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/address.h"
#include "common/settings.h"
#include "common/users.h"
#include "delivery/owner.h"
#include "delivery/resolve.h"
#include "master/cmd-ask-system.h"
#include "master/cmd.h"

static const struct option_row options[] = {
	{ "--login", "USER", "as one who has logged in so: may relay; may he send as the address?", false },
	{ NULL, NULL, NULL, false },
};

static void
tell(void *me, unsigned int depth, const char *step)
{
	(void)me;
	printf("%*s%s\n", (int)(2 * depth), "", step);
}

/* The command may be root, and the file is the user's: it is not read here. */
static int
ask_forward(void *me, struct span login, const struct system_user *u, struct span *text)
{
	(void)me;
	(void)text;
	printf("if %.*s has a %s/.forward, that decides; else:\n", SPAN_ARG(login), u->home);
	return 0;
}

static void
tell_place(const struct resolved *p)
{
	static const char *const transports[] = { "", "the MX of ", "", "LMTP " };

	switch (p->leads) {
	case LEADS_HERE:
		printf("-> mailbox %s%s%s, uid %u", p->home, p->folder ? ", folder " : "",
			p->folder ? p->folder : "", p->uid);
		break;
	case LEADS_ELSEWHERE:
		printf("-> %s by %s%s", p->address, transports[p->transport], p->next_hop);
		break;
	case LEADS_PIPE:
		printf("-> a command or file of %s", p->address);
		break;
	default:
		printf("-> discarded");
		break;
	}
	printf("%s%s\n", p->sender ? ", sender " : "", p->sender ? p->sender : "");
}

static int
resolve_and_tell(struct invocation *v, const struct settings *s, int tables, struct table *users)
{
	static const struct resolver_asks asks = { ask_system_name, ask_forward };
	const char *login = cmd_option(v, "--login");
	struct text whole = TEXT_UP_TO(MOST_ADDRESS + MOST_DOMAIN);
	struct span address;
	struct resolution to;
	struct resolver r;
	int status = EX_OK;

	text_add_str(&whole, v->arguments[0]);
	/* As the sendmail command completes it. */
	if (!span_has(text_span(&whole), '@') && s->local_domain.len)
		text_printf(&whole, "@%.*s", SPAN_ARG(s->local_domain));
	address = text_span(&whole);
	resolver_init(&r, users);
	resolver_open(&r, tables);
	resolution_init(&to);
	r.asks = &asks;
	r.tell = tell;
	resolve(&r, s, address, true, login != NULL, &to);
	for (uint32_t i = 0; i < to.count; i++)
		tell_place(&to.at[i]);
	if (to.verdict.outcome != DONE) {
		printf("-> refused: %u %.*s %.*s\n", to.verdict.code, SPAN_ARG(to.verdict.status),
			SPAN_ARG(to.verdict.reason));
		status = to.verdict.outcome == NEVER ? EX_NOUSER : EX_TEMPFAIL;
	}
	r.tell = NULL;
	if (login)
		printf("%s %s send as %s\n", login,
			owner_may_use(&r, s, span_str(login), address) == OWNER_YES ? "may" : "may not",
			text_str(&whole));
	text_clear(&whole);
	resolution_clear(&to);
	resolver_clear(&r);
	return status;
}

static int
run(struct invocation *v)
{
	struct settings *s = cmd_settings(v, false);
	int tables = open(v->paths.tables, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct table *users = tables < 0 ? NULL : table_reader(tables, USERS_TABLE);
	int status = EX_CONFIG;

	if (s && users)
		status = resolve_and_tell(v, s, tables, users);
	else if (s)
		status = cmd_fail(EX_NOINPUT, "%s: %s", v->paths.tables, strerror(errno));
	table_free(&users);
	if (tables >= 0)
		close(tables);
	settings_free(&s);
	return status;
}

const struct command cmd_check_address = {
	.words = "check address",
	.arguments = "ADDRESS",
	.least = 1,
	.most = 1,
	.help = "tell, step by step, where mail for an address goes",
	.options = options,
	.run = run,
};
