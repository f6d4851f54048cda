/*
 * cmd-check - what `valija check` and `valija start` look at beside the configuration itself.
 *
 * What a process would refuse or could not use is a line in *complaints: then nothing is started. What works, but
 * not as somebody wants it, is printed as a warning by `check` alone.
 */
#ifndef VALIJA_CMD_CHECK_H
#define VALIJA_CMD_CHECK_H

#include "common/settings.h"
#include "common/text.h"
#include "master/paths.h"

/* The pairs of tls_certificate and tls_key. `warn`: print what clients would mind. */
void check_certificates(const struct paths *p, const struct settings *s, bool warn, struct text *complaints);
/* tls_priorities, tls_client_ca and tls_client_crl. */
void check_tls(const struct settings *s, struct text *complaints);
/* users.db, passwd.db and the compiled tables: can those read them who must, and nobody else; are they whole? */
void check_tables(const struct paths *p, struct text *complaints);
/* The file systems of what is written: read-only ones. */
void check_file_systems(const struct paths *p, struct text *complaints);

/* Prints a warning for each file system of these that has less than room for `least` bytes, or no room for a file. */
void warn_of_space(const struct paths *p, uint64_t least);
/* Prints a warning when there are users, whose passwords only passwd.db can know, and that is not there. */
void warn_of_lost_passwords(const struct paths *p, const struct settings *s);
/* Prints a warning for each line of passwd_file that is none. */
void warn_of_passwd_file(const struct settings *s);
/* Prints a warning for each domain that stands in its list twice, or in two lists that exclude each other. */
void warn_of_domains(const struct settings *s);
/* Prints a warning for each alias that leads back to itself, or to nobody: mail for it is refused. Of 10,000
 * aliases at most. */
void warn_of_aliases(const struct paths *p, const struct settings *s);

#endif
