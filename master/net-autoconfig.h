/*
 * net-autoconfig - what mail programs fetch to set themselves up, as files for any web server.
 */
#ifndef VALIJA_NET_AUTOCONFIG_H
#define VALIJA_NET_AUTOCONFIG_H

#include "master/net-survey.h"

#define MOST_AUTOCONFIG 65536 /* bytes of one file */

/* Thunderbird's and its relatives': config-v1.1.xml. */
void net_thunderbird_put(const struct survey *v, const char *domain, struct text *to);
/* Outlook's: the answer to autodiscover.xml ("POX"). */
void net_outlook_put(const struct survey *v, const char *domain, struct text *to);
/* Apple's: a profile (.mobileconfig), not signed. Its UUIDs depend on domain and host alone, so that a new one
 * replaces an old one on a device. */
void net_apple_put(const struct survey *v, const char *domain, struct text *to);
/* The same, signed by the server's certificate (CMS, DER). False with a sentence in *why. */
bool net_apple_sign(const struct survey *v, struct span profile, struct text *to, struct text *why);
/* Where the files are to be found, as lines for nginx and for Apache. `place` is their directory. */
void net_nginx_put(const struct survey *v, const char *domain, const char *place, struct text *to);
void net_apache_put(const struct survey *v, const char *domain, const char *place, struct text *to);

#endif
