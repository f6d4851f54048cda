#include "authorities.h"

#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "chain.h"

int
authorities_read(int fd, bool revoked, struct text *pem, struct text *why)
{
	const char *what = revoked ? "file of revocation lists" : "file of authorities";
	gnutls_certificate_credentials_t trial;
	gnutls_datum_t datum;
	int count;

	if (chain_read_file(fd, what, MOST_AUTHORITIES_FILE, pem, why) < 0)
		return -1;
	if (gnutls_certificate_allocate_credentials(&trial) < 0)
		abort();
	datum = (gnutls_datum_t){ pem->at, (unsigned int)pem->len };
	count = revoked ? gnutls_certificate_set_x509_crl_mem(trial, &datum, GNUTLS_X509_FMT_PEM)
			: gnutls_certificate_set_x509_trust_mem(trial, &datum, GNUTLS_X509_FMT_PEM);
	gnutls_certificate_free_credentials(trial);
	if (count > 0)
		return 0;
	text_printf(why, "the %s holds none: %s", what, count < 0 ? gnutls_strerror(count) : "empty");
	return -1;
}

int
authorities_check(int fd, bool revoked, struct text *why)
{
	struct text pem = TEXT_UP_TO(MOST_AUTHORITIES_FILE);
	int result = authorities_read(fd, revoked, &pem, why);

	text_clear(&pem);
	return result;
}
