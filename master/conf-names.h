/*
 * conf-names - which option somebody meant who wrote a name that there is not.
 */
#ifndef VALIJA_CONF_NAMES_H
#define VALIJA_CONF_NAMES_H

/* The option that Postfix's or Dovecot's `name` corresponds to, or the one that is spelt most like it (two
 * letters wrong, missing, added or exchanged at most, and at most a third of the name); else NULL. The text is
 * static. */
const char *conf_meant(const char *name);

#endif
