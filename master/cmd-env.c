/*
 * cmd-env - what scripts need to know about an instance, as assignments for a shell.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/program.h"
#include "common/settings.h"
#include "master/client.h"

/* In single quotes, unless nothing in it means anything to a shell. */
static void
assign(const char *name, struct span value)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@%,";
	bool quote = value.len == 0;

	for (size_t i = 0; i < value.len; i++)
		if (!memchr(plain, value.at[i], sizeof plain - 1))
			quote = true;
	printf("%s=%s", name, quote ? "'" : "");
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] == '\'')
			fputs("'\\''", stdout);
		else
			putchar(value.at[i]);
	puts(quote ? "'" : "");
}

static void
assign_path(const char *name, const char *directory, const char *below)
{
	char *path = paths_join(directory, below);

	assign(name, span_str(path));
	free(path);
}

static void
assign_number(const char *name, unsigned long long number)
{
	printf("%s=%llu\n", name, number);
}

static int
run(struct invocation *v)
{
	static const struct {
		const char *name;
		enum service service;
	} ports[] = {
		{ "SMTP_PORT", SERVICE_SMTP },
		{ "SUBMISSION_PORT", SERVICE_SUBMISSION },
		{ "SUBMISSIONS_PORT", SERVICE_SUBMISSIONS },
		{ "IMAP_PORT", SERVICE_IMAP },
		{ "IMAPS_PORT", SERVICE_IMAPS },
	};
	struct settings *s = cmd_settings(v, false);

	if (!s)
		return EX_CONFIG;
	assign("HOST", s->hostname);
	for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++)
		assign_number(ports[i].name,
			service_port(ports[i].service) + (unsigned long long)s->port_base);
	assign_path("LMTP_SOCKET", v->paths.run, "lmtp");
	assign_path("CAFILE", v->paths.tls, "ca.crt");
	assign("MAILROOT", span_str(v->paths.mail));
	assign("SPOOL", span_str(v->paths.spool));
	assign("RUNDIR", span_str(v->paths.run));
	if (client_is_locked(&v->paths))
		assign_number("MASTER_PID", (unsigned long long)client_master_pid(&v->paths));
	else
		assign("MASTER_PID", SPAN_NONE);
	settings_free(&s);
	return EX_OK;
}

const struct command cmd_env = {
	.words = "env",
	.arguments = "",
	.help = "print host, ports and places as assignments for a shell",
	.run = run,
};
