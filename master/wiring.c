/*
 * wiring - the two tables.
 */
#include "master/wiring.h"

#include <config.h>

#define COUNT(setting) offsetof(struct settings, setting)
#define DIR(kind) (1u << DIRECTORY_##kind)

/* In the order of starting: who is needed by others comes first.
 *
 * program              user                group  chroot per_user count                    directories            passport cert.  key    stops in */
static const struct program_row programs[] = {
	{ PROGRAM_LOG,        VALIJA_USER_LOG,    false, false, false, 0,                       DIR(LOG),               false, false, false, STAGE_LOG },
	{ PROGRAM_TLS_KEY,    VALIJA_USER_TLSKEY, false, true,  false, 0,                       DIR(EMPTY),             false, false, true,  STAGE_AUTH },
	{ PROGRAM_TLS,        VALIJA_USER_TLS,    false, true,  false, COUNT(tls_processes),    DIR(EMPTY),             true,  true,  false, STAGE_TLS },
	{ PROGRAM_AUTH_HASH,  VALIJA_USER_AUTH,   false, true,  false, COUNT(hash_processes),   DIR(EMPTY),             false, false, false, STAGE_AUTH },
	{ PROGRAM_AUTH,       VALIJA_USER_AUTH,   true,  false, false, 0,                       DIR(STATE),             true,  false, false, STAGE_AUTH },
	{ PROGRAM_SPOOL,      VALIJA_USER_QUEUE,  false, false, false, COUNT(spool_processes),  DIR(SPOOL),             false, false, false, STAGE_WORKERS },
	{ PROGRAM_LOCAL,      VALIJA_USER_MAIL,   false, false, false, COUNT(local_processes),  DIR(MAIL),              false, false, false, STAGE_WORKERS },
	{ PROGRAM_QUEUE,      VALIJA_USER_QUEUE,  true,  false, false, 0,                       DIR(STATE) | DIR(SPOOL), false, false, false, STAGE_QUEUE },
	{ PROGRAM_SMTPD,      VALIJA_USER_SMTPD,  false, true,  false, COUNT(smtpd_processes),  DIR(EMPTY),             false, false, false, STAGE_FRONT },
	{ PROGRAM_IMAP_LOGIN, VALIJA_USER_IMAPD,  false, true,  false, COUNT(login_processes),  DIR(EMPTY),             false, false, false, STAGE_FRONT },
	{ PROGRAM_IMAP,       NULL,               false, false, true,  0,                       DIR(MAIL),              false, false, false, STAGE_FRONT },
};

/* Each process of the one has a channel to each process of the other. */
static const enum program wires[][2] = {
	{ PROGRAM_SMTPD,      PROGRAM_TLS },       /* sockets to encrypt, plaintext back */
	{ PROGRAM_SMTPD,      PROGRAM_TLS_KEY },   /* announcements only */
	{ PROGRAM_SMTPD,      PROGRAM_AUTH },
	{ PROGRAM_SMTPD,      PROGRAM_QUEUE },
	{ PROGRAM_IMAP_LOGIN, PROGRAM_TLS },
	{ PROGRAM_IMAP_LOGIN, PROGRAM_TLS_KEY },
	{ PROGRAM_IMAP_LOGIN, PROGRAM_AUTH },
	{ PROGRAM_TLS,        PROGRAM_TLS_KEY },   /* one signature for each announced session */
	{ PROGRAM_AUTH,       PROGRAM_AUTH_HASH },
	{ PROGRAM_QUEUE,      PROGRAM_SPOOL },
	{ PROGRAM_QUEUE,      PROGRAM_LOCAL },
};

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

const struct program_row *wiring_row(enum program program)
{
	for (size_t i = 0; i < ROWS(programs); i++)
		if (programs[i].program == program)
			return &programs[i];
	return NULL;
}

const struct program_row *wiring_row_at(size_t i)
{
	return i < ROWS(programs) ? &programs[i] : NULL;
}

unsigned int wiring_count(const struct program_row *row, const struct settings *s)
{
	if (row->per_user)
		return 0;
	if (row->count_at == 0)
		return 1;
	return (unsigned int)*(const setting_number *)(const void *)((const char *)s + row->count_at);
}

bool wiring_joined(enum program a, enum program b)
{
	for (size_t i = 0; i < ROWS(wires); i++)
		if ((wires[i][0] == a && wires[i][1] == b) || (wires[i][0] == b && wires[i][1] == a))
			return true;
	return false;
}

bool wiring_command_may(enum program program)
{
	return program == PROGRAM_QUEUE;
}
