/*
 * cmd - the commands of valija: one row each, in the file of the command (cmd-*.c).
 */
#ifndef VALIJA_CMD_H
#define VALIJA_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/text.h"
#include "master/paths.h"

#define MOST_OPTIONS 64 /* given on one command line */

struct option_row {
	const char *name;  /* "--hostname"; NULL ends the list */
	const char *value; /* what it takes, for the usage text; NULL: nothing */
	const char *help;
	bool required;
};

struct invocation {
	struct paths paths;
	const char *dir; /* as given, or NULL */
	const struct command *command;
	struct given {
		const struct option_row *row;
		const char *value;
	} given[MOST_OPTIONS];
	size_t given_count;
	char **arguments; /* what is neither option nor command word */
	int argument_count;
};

struct command {
	const char *words;		  /* "start", "user add" */
	const char *arguments;		  /* for the usage text; "" */
	int least, most;		  /* how many arguments */
	const char *help;		  /* a line */
	const struct option_row *options; /* or NULL */
	int (*run)(struct invocation *v); /* returns a code of sysexits.h */
};

/* The value of an option, "" when it takes none, or NULL when it was not given. */
const char *cmd_option(const struct invocation *v, const char *name);
/* Says "valija: sentence" on the standard error output and returns `status`. */
int cmd_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says each line of `lines` as an error. */
void cmd_complain(struct span lines);
/* The configuration, or NULL after complaining. `files`: as for conf_read. */
struct settings *cmd_settings(const struct invocation *v, bool files);

extern const struct command cmd_init, cmd_start, cmd_stop, cmd_reload, cmd_status, cmd_check,
	cmd_env, cmd_dns, cmd_fetch, cmd_sts, cmd_queue, cmd_trace, cmd_user_add, cmd_user_passwd, cmd_user_del, cmd_user_list,
	cmd_user_show, cmd_user_disable, cmd_user_enable, cmd_user_kick, cmd_user_expire, cmd_user_quota,
	cmd_user_app, cmd_auth_list, cmd_auth_forgive, cmd_user_import, cmd_version, cmd_map, cmd_alias_list, cmd_alias_add, cmd_alias_del, cmd_domain,
	cmd_check_address, cmd_config;
/* cmd-alias.c: makes `name` an alias of one member, or with NULL none; complains, and returns a code of sysexits.h. */
int cmd_alias_change(const struct invocation *v, const char *name, const char *member);
extern const struct command cmd_user_alias;
extern const struct command cmd_import;
/* cmd-cert-dkim.c */
extern const struct command cmd_cert_dkim;
extern const struct command cmd_mailq;
/* cmd-net.c */
extern const struct command cmd_net, cmd_net_rules, cmd_net_dns, cmd_check_dns, cmd_net_autoconfig;
/* cmd-cert*.c */
extern const struct command cmd_cert_show, cmd_cert_check, cmd_cert_tlsa, cmd_cert_install,
	cmd_cert_rollback, cmd_cert_renew, cmd_cert_self_signed, cmd_cert_csr, cmd_cert_client,
	cmd_cert_ca;

#endif
