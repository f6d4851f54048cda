/*
 * cmd-ask-system - who is a user of the system, for commands that resolve addresses themselves: queue asks master, they
 * getpwnam(3).
 */
#ifndef VALIJA_CMD_ASK_SYSTEM_H
#define VALIJA_CMD_ASK_SYSTEM_H

struct span;
struct system_user;

/* For `name` of struct resolver_asks: fills *u, whose home is borrowed until the next call. May wait for a name service.
 * 1 known, 0 not there, -2 cannot be known now. */
int ask_system_name(void *me, struct span login, struct system_user *u);

#endif
