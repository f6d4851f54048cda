/*
 * cmd-check-tls - certificates, keys, authorities and priorities: what tls-key and the TLS workers would refuse is an
 * error; what clients would mind, a warning.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "master/cmd-cert.h"
#include "master/cmd-check.h"
#include "tlsproxy/authorities.h"
#include "tlsproxy/ca.h"
#include "tlsproxy/certificate.h"
#include "tlsproxy/priorities.h"

/* When it begins, and what the clock says: mostly it is the clock that is wrong. */
static void
warn_of_beginning(struct span file, const struct certificate_facts *facts)
{
	const time_t times[2] = { (time_t)facts->not_before, time(NULL) };
	char said[2][32] = { "?", "?" };
	struct tm tm;

	for (size_t i = 0; i < 2; i++)
		if (gmtime_r(&times[i], &tm))
			strftime(said[i], sizeof said[i], "%Y-%m-%d %H:%M", &tm);
	printf("warning: %.*s is not valid before %s UTC, and the clock says %s UTC: is it right?\n",
		SPAN_ARG(file), said[0], said[1]);
}

/* `renew`: what to do. */
static void
warn_of(const struct settings *s, struct span file, const struct certificate_facts *facts,
	bool only_one, const char *renew)
{
	if (facts->days_left < 0)
		printf("warning: %.*s has expired: clients refuse it%s\n", SPAN_ARG(file), renew);
	else if (facts->days_left < WARN_DAYS)
		printf("warning: %.*s ends in %d days%s\n", SPAN_ARG(file), facts->days_left, renew);
	if (facts->not_yet)
		warn_of_beginning(file, facts);
	if (only_one && !facts->names_host)
		printf("warning: %.*s is not for %.*s but for %s%s\n", SPAN_ARG(file),
			SPAN_ARG(s->hostname), facts->names, renew);
}

/* The pair that does not fit: both files, and the ways out. */
static void
complain_of_pair(struct span certificate, struct span key, bool own, const char *why, struct text *complaints)
{
	text_printf(complaints, "%.*s (key: %.*s): %s; %s\n", SPAN_ARG(certificate), SPAN_ARG(key), why,
		own ? "`valija cert rollback` puts back what was there before, `valija cert self-signed` makes a new pair"
		    : "valija-certificates(7) tells what is needed");
}

void
check_certificates(const struct paths *p, const struct settings *s, bool warn, struct text *complaints)
{
	char *own = paths_join(p->tls, SERVER_CERTIFICATE), *hostname = must_copy(s->hostname);
	bool named = false;

	for (size_t i = 0; i < s->tls_certificate.count && i < s->tls_key.count; i++) {
		struct certificate_facts facts;
		struct span file = s->tls_certificate.at[i];
		struct text why = TEXT_UP_TO(1024);
		int chain = cert_open(file), key = cert_open(s->tls_key.at[i]);

		if (chain < 0 || key < 0) {
			/* conf_read has tried both and complained. */
		} else if (certificate_check(chain, key, hostname, &facts, &why) < 0) {
			complain_of_pair(file, s->tls_key.at[i], span_equal(file, span_str(own)), text_str(&why),
				complaints);
		} else if (warn) {
			named = named || facts.names_host;
			warn_of(s, file, &facts, s->tls_certificate.count == 1,
				span_equal(file, span_str(own)) ? "; `valija init` makes a new one"
				: "; valija-certificates(7) tells how to get another");
		}
		if (chain >= 0)
			close(chain);
		if (key >= 0)
			close(key);
		text_clear(&why);
	}
	if (warn && !named && s->tls_certificate.count > 1)
		printf("warning: none of the certificates is for %s\n", hostname);
	free(hostname);
	free(own);
}

void
check_tls(const struct settings *s, struct text *complaints)
{
	struct text why = TEXT_UP_TO(1024);
	gnutls_priority_t made;

	if (priorities_make(s->tls_priorities, &made, &why) < 0)
		text_printf(complaints, "tls_priorities: %s\n", text_str(&why));
	else
		gnutls_priority_deinit(made);
	text_reset(&why);
	for (int revoked = 0; revoked < 2; revoked++) {
		struct span file = revoked ? s->tls_client_crl : s->tls_client_ca;
		int fd = file.len == 0 ? -1 : cert_open(file);

		if (fd >= 0 && authorities_check(fd, revoked, &why) < 0)
			text_printf(complaints, "%.*s: %s\n", SPAN_ARG(file), text_str(&why));
		if (fd >= 0)
			close(fd);
		text_reset(&why);
	}
	text_clear(&why);
}
