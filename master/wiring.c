/*
 * wiring - the two tables.
 */
#include "master/wiring.h"

#include <config.h>
#include <sys/capability.h>

#define ONE            0 /* count_at */
#define COUNT(setting) offsetof(struct settings, setting)
#define DIR(kind)      (1u << DIRECTORY_##kind)
#define CAP(name)      (UINT64_C(1) << CAP_##name)

static bool
wants_tokens(const struct settings *s)
{
	return settings_wants_tokens(s);
}

static bool
wants_auth_fetch(const struct settings *s)
{
	return s->oauth_introspection.len > 0;
}

static bool
wants_pam(const struct settings *s)
{
	return settings_wants_pam(s);
}

static bool
wants_portmap(const struct settings *s)
{
	return s->port_mapping;
}

static bool
wants_sts(const struct settings *s)
{
	return s->mta_sts || s->tls_reports;
}

static bool
wants_ocsp(const struct settings *s)
{
	return s->tls_ocsp;
}

static bool
wants_gist(const struct settings *s)
{
	return s->cache_at_delivery;
}

static bool
wants_milters(const struct settings *s)
{
	return s->smtp_milters.count + s->submission_milters.count + s->lmtp_milters.count > 0;
}

static bool
wants_system_users(const struct settings *s)
{
	return s->system_users;
}

/* clang-format off: columns are the point of a table. */
/* In the order of starting: who is needed by others comes first.
 *
 * program              user                how many                 stops in; is given */
static const struct program_row programs[] = {
	{ PROGRAM_LOG,        VALIJA_USER_LOG,    ONE,                     STAGE_LOG,
		.directories = DIR(LOG) },
	{ PROGRAM_TLS_KEY,    VALIJA_USER_TLSKEY, ONE,                     STAGE_AUTH,
		.directories = DIR(EMPTY), .chrooted = true, .private_key = true },
	{ PROGRAM_TLS,        VALIJA_USER_TLS,    COUNT(tls_processes),    STAGE_TLS,
		.directories = DIR(EMPTY), .chrooted = true, .certificate = true, .trust = true,
		.passport_key = true },
	{ PROGRAM_OCSP,       VALIJA_USER_OCSP,   ONE,                     STAGE_AUTH,
		.directories = DIR(OCSP), .certificate = true, .wanted = wants_ocsp },
	{ PROGRAM_AUTH_HASH,  VALIJA_USER_AUTH,   COUNT(hash_processes),   STAGE_AUTH,
		.directories = DIR(EMPTY), .chrooted = true },
	{ PROGRAM_AUTH_PAM,   NULL,               COUNT(pam_processes),    STAGE_AUTH,
		.as_root = true, .capabilities = CAP(DAC_READ_SEARCH), .wanted = wants_pam },
	{ PROGRAM_AUTH_TOKEN, VALIJA_USER_AUTH,   COUNT(token_processes),  STAGE_AUTH,
		.directories = DIR(EMPTY), .chrooted = true, .oauth_credentials = true, .wanted = wants_tokens },
	{ PROGRAM_AUTH_FETCH, VALIJA_USER_AUTH,   ONE,                     STAGE_AUTH,
		.directories = DIR(EMPTY), .chrooted = true, .wanted = wants_auth_fetch },
	{ PROGRAM_AUTH,       VALIJA_USER_AUTH,   ONE,                     STAGE_AUTH,
		.directories = DIR(STATE) | DIR(PASSWORDS) | DIR(AUTH), .group = true, .passport_key = true,
		.passwd_file = true },
	{ PROGRAM_DNS,        VALIJA_USER_DNS,    ONE,                     STAGE_AUTH,
		.directories = DIR(EMPTY), .chrooted = true },
	{ PROGRAM_FETCH,      VALIJA_USER_FETCH,  ONE,                     STAGE_AUTH,
		.directories = DIR(EMPTY), .chrooted = true },
	{ PROGRAM_STS,        VALIJA_USER_RELAY,  ONE,                     STAGE_AUTH,
		.directories = DIR(STS), .wanted = wants_sts },
	{ PROGRAM_RELAY,      VALIJA_USER_RELAY,  COUNT(relay_processes),  STAGE_WORKERS,
		.directories = DIR(EMPTY), .chrooted = true, .own_groups = true },
	{ PROGRAM_PORTMAP,    VALIJA_USER_PORTMAP, ONE,                    STAGE_FRONT,
		.directories = DIR(EMPTY), .chrooted = true, .wanted = wants_portmap },
	{ PROGRAM_GIST,       VALIJA_USER_IMAPD,  ONE,                     STAGE_WORKERS,
		.directories = DIR(EMPTY), .chrooted = true, .wanted = wants_gist },
	{ PROGRAM_SPOOL,      VALIJA_USER_QUEUE,  COUNT(spool_processes),  STAGE_WORKERS,
		.directories = DIR(SPOOL) },
	{ PROGRAM_LOCAL,      VALIJA_USER_MAIL,   COUNT(local_processes),  STAGE_WORKERS,
		.directories = DIR(MAIL) | DIR(LEDGER) },
	{ PROGRAM_LOCAL_HOME, VALIJA_USER_MAIL,   ONE,                     STAGE_WORKERS,
		.capabilities = CAP(SETUID) | CAP(SETGID), .wanted = wants_system_users },
	{ PROGRAM_QUEUE,      VALIJA_USER_QUEUE,  ONE,                     STAGE_QUEUE,
		.directories = DIR(STATE) | DIR(SPOOL), .group = true },
	{ PROGRAM_POLICY,     VALIJA_USER_SMTPD,  ONE,                     STAGE_AUTH,
		.directories = DIR(POLICY) },
	{ PROGRAM_MILTER,     VALIJA_USER_MILTER, COUNT(milter_processes), STAGE_TLS,
		.own_groups = true, .wanted = wants_milters },
	{ PROGRAM_SMTPD,      VALIJA_USER_SMTPD,  COUNT(smtpd_processes),  STAGE_FRONT,
		.directories = DIR(EMPTY), .chrooted = true },
	{ PROGRAM_IMAP_LOGIN, VALIJA_USER_IMAPD,  COUNT(login_processes),  STAGE_FRONT,
		.directories = DIR(EMPTY), .chrooted = true },
	{ PROGRAM_PICKUP,     VALIJA_USER_PICKUP, ONE,                     STAGE_FRONT,
		.directories = DIR(DROP) },
	{ PROGRAM_IMAP,       NULL,               ONE,                     STAGE_FRONT,
		.directories = DIR(MAIL), .per_user = true },
};
/* clang-format on */

/* Each process of the one has a channel to each process of the other. */
static const enum program wires[][2] = {
	{ PROGRAM_SMTPD, PROGRAM_TLS },	    /* sockets to encrypt, plaintext back */
	{ PROGRAM_SMTPD, PROGRAM_TLS_KEY }, /* announcements only */
	{ PROGRAM_SMTPD, PROGRAM_AUTH },
	{ PROGRAM_SMTPD, PROGRAM_QUEUE },
	{ PROGRAM_SMTPD, PROGRAM_POLICY },
	{ PROGRAM_SMTPD, PROGRAM_MILTER }, /* messages that filters look at before they are committed */
	{ PROGRAM_PICKUP, PROGRAM_SMTPD }, /* what the sendmail command left while nobody answered */
	{ PROGRAM_IMAP_LOGIN, PROGRAM_TLS },
	{ PROGRAM_IMAP_LOGIN, PROGRAM_TLS_KEY },
	{ PROGRAM_IMAP_LOGIN, PROGRAM_AUTH },
	{ PROGRAM_TLS, PROGRAM_TLS_KEY }, /* one signature for each announced session */
	{ PROGRAM_AUTH, PROGRAM_AUTH_HASH },
	{ PROGRAM_AUTH, PROGRAM_AUTH_PAM },
	{ PROGRAM_AUTH, PROGRAM_AUTH_TOKEN },
	{ PROGRAM_AUTH, PROGRAM_QUEUE }, /* who has logged in to send mail */
	{ PROGRAM_QUEUE, PROGRAM_SPOOL },
	{ PROGRAM_QUEUE, PROGRAM_LOCAL },
	{ PROGRAM_QUEUE, PROGRAM_LOCAL_HOME },
	{ PROGRAM_LOCAL, PROGRAM_GIST }, /* what will be asked of a message */
	{ PROGRAM_LOCAL_HOME, PROGRAM_GIST },
	{ PROGRAM_QUEUE, PROGRAM_AUTH_PAM }, /* names of system users */
	{ PROGRAM_SMTPD, PROGRAM_DNS }, /* questions about names */
	{ PROGRAM_QUEUE, PROGRAM_DNS },
	{ PROGRAM_QUEUE, PROGRAM_RELAY }, /* messages to other servers */
	{ PROGRAM_RELAY, PROGRAM_DNS },
	{ PROGRAM_RELAY, PROGRAM_TLS }, /* as their client */
	{ PROGRAM_FETCH, PROGRAM_DNS },
	{ PROGRAM_RELAY, PROGRAM_STS }, /* what domains want */
	{ PROGRAM_STS, PROGRAM_DNS },
	{ PROGRAM_STS, PROGRAM_SMTPD }, /* reports by mail */
	{ PROGRAM_STS, PROGRAM_FETCH },
	{ PROGRAM_AUTH_TOKEN, PROGRAM_AUTH_FETCH }, /* whether a token is good (RFC 7662) */
	{ PROGRAM_AUTH_FETCH, PROGRAM_DNS },
	{ PROGRAM_AUTH_FETCH, PROGRAM_TLS },
	{ PROGRAM_OCSP, PROGRAM_FETCH }, /* what authorities say of our certificates ... */
	{ PROGRAM_OCSP, PROGRAM_TLS },   /* ... to be shown with them */
	{ PROGRAM_FETCH, PROGRAM_TLS }, /* as their client too */
};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

const struct program_row *
wiring_row(enum program program)
{
	for (size_t i = 0; i < ROWS(programs); i++)
		if (programs[i].program == program)
			return &programs[i];
	return NULL;
}

const struct program_row *
wiring_row_at(size_t i)
{
	return i < ROWS(programs) ? &programs[i] : NULL;
}

unsigned int
wiring_count(const struct program_row *row, const struct settings *s)
{
	if (row->per_user || (row->wanted && !row->wanted(s)))
		return 0;
	if (row->count_at == 0)
		return 1;
	return (unsigned int)*(
		const setting_number *)(const void *)((const char *)s + row->count_at);
}

bool
wiring_joined(enum program a, enum program b)
{
	for (size_t i = 0; i < ROWS(wires); i++)
		if ((wires[i][0] == a && wires[i][1] == b) ||
			(wires[i][0] == b && wires[i][1] == a))
			return true;
	return false;
}

/* Who hears more of strangers stands before who hears less. */
static const enum program exposed[] = { PROGRAM_SMTPD, PROGRAM_IMAP_LOGIN, PROGRAM_TLS, PROGRAM_RELAY, PROGRAM_FETCH,
	PROGRAM_AUTH_FETCH, PROGRAM_DNS, PROGRAM_PORTMAP, PROGRAM_MILTER, PROGRAM_PICKUP, PROGRAM_IMAP, PROGRAM_GIST, PROGRAM_STS,
	PROGRAM_OCSP, PROGRAM_LOCAL_HOME, PROGRAM_LOCAL, PROGRAM_SPOOL, PROGRAM_AUTH_HASH, PROGRAM_AUTH_TOKEN,
	PROGRAM_AUTH_PAM, PROGRAM_POLICY, PROGRAM_QUEUE, PROGRAM_AUTH, PROGRAM_TLS_KEY, PROGRAM_LOG };

bool
wiring_more_exposed(enum program a, enum program b)
{
	for (size_t i = 0; i < ROWS(exposed); i++)
		if (exposed[i] == a || exposed[i] == b)
			return exposed[i] == a && a != b;
	return false;
}

bool
wiring_command_may(enum program program)
{
	return program == PROGRAM_AUTH || program == PROGRAM_QUEUE || program == PROGRAM_DNS ||
	       program == PROGRAM_FETCH || program == PROGRAM_STS;
}
