/*
 * for-relay - what master does for a relay, which has an empty root: it connects to a UNIX socket, and runs a program
 * that prints an access token. Sockets and programs are those that valija.conf names: what relay says is compared with
 * them, and nothing else is opened or run.
 */
#ifndef VALIJA_FOR_RELAY_H
#define VALIJA_FOR_RELAY_H

#include "master/process.h"
#include "master/supervisor.h"

#define RELAY_TOKEN_SECONDS 30 /* that a program has to print a token */
#define MOST_TOKEN_RUNS 8      /* of them at a time */

/* Connects, as relay's own user with the groups that /etc/group gives it: what they may not open, relay does not get.
 * Without waiting. A descriptor, or -1 with errno (EPERM: lmtp_sockets does not name it). */
int for_relay_connect(const struct supervisor *s, struct span path);
/* Runs the program of relay_token_commands for this login (outside.h). `fds` are taken. The process hears
 * login_token_told, once. */
void for_relay_token(struct supervisor *s, const struct process *p, uint64_t id, struct span login, const int *fds);

#endif
