#include "authorities.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>

#include "chain.h"

int
authorities_read(int fd, bool revoked, struct text *pem, struct text *why)
{
	const char *what = revoked ? "the file of revocation lists" : "the file of authorities";
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
	text_printf(why, "%s holds none: %s", what, count < 0 ? gnutls_strerror(count) : "empty");
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

int
authorities_list_dates(int fd, int64_t *from, int64_t *until, struct text *why)
{
	struct text pem = TEXT_UP_TO(MOST_AUTHORITIES_FILE);
	gnutls_x509_crl_t *list = NULL;
	unsigned int count = 0;
	int result = authorities_read(fd, true, &pem, why);
	gnutls_datum_t datum = { pem.at, (unsigned int)pem.len };

	*from = *until = -1;
	if (result == 0 && gnutls_x509_crl_list_import2(&list, &count, &datum, GNUTLS_X509_FMT_PEM, 0) < 0) {
		text_printf(why, "the file of revocation lists cannot be read");
		result = -1;
	}
	for (unsigned int i = 0; i < count; i++) {
		int64_t end = gnutls_x509_crl_get_next_update(list[i]);

		if (end >= 0 && (*until < 0 || end < *until)) {
			*until = end;
			*from = gnutls_x509_crl_get_this_update(list[i]);
		}
		gnutls_x509_crl_deinit(list[i]);
	}
	gnutls_free(list);
	text_clear(&pem);
	return result;
}
