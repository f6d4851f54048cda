/*
 * conf-reception - what must hold of the options about strangers: rules, DNS lists, tests of EHLO.
 */
#ifndef VALIJA_CONF_RECEPTION_H
#define VALIJA_CONF_RECEPTION_H

#include "master/conf-check.h"

#define MOST_RULES_FILE (512 * 1024)   /* bytes; all settings together have MOST_SETTINGS */

/* Checks them. A member of an access list that begins with / is replaced by the rules in that file, one a
 * line, where # begins a comment. */
void conf_check_reception(struct conf_draft *d);

#endif
