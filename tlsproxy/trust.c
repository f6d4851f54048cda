#include "trust.h"

#include <stdlib.h>
#include <unistd.h>

#include "authorities.h"
#include "chain.h"
#include "common/log.h"

struct trust {
	uint32_t generation;
	int fd;                         /* -1: it has been read */
	gnutls_x509_trust_list_t list;  /* NULL: there is none (yet) */
};

struct trust *
trust_new(uint32_t generation, int fd)
{
	struct trust *t = must_alloc(sizeof(*t));

	t->generation = generation;
	t->fd = fd;
	return t;
}

void
trust_free(struct trust **t)
{
	if (*t == NULL)
		return;
	if ((*t)->fd >= 0)
		close((*t)->fd);
	if ((*t)->list != NULL)
		gnutls_x509_trust_list_deinit((*t)->list, 1);
	free(*t);
	*t = NULL;
}

uint32_t
trust_generation(const struct trust *t)
{
	return t->generation;
}

static void
read_all(struct trust *t)
{
	struct text pem = TEXT_UP_TO(MOST_AUTHORITIES_FILE), why = TEXT_UP_TO(400);
	gnutls_datum_t datum;
	int count = 0;

	if (chain_read_file(t->fd, "the file of trusted authorities", MOST_AUTHORITIES_FILE, &pem,
		&why) == 0 &&
		gnutls_x509_trust_list_init(&t->list, 0) >= 0) {
		datum = (gnutls_datum_t){ pem.at, (unsigned int)pem.len };
		count = gnutls_x509_trust_list_add_trust_mem(
			t->list, &datum, NULL, GNUTLS_X509_FMT_PEM, GNUTLS_TL_NO_DUPLICATES, 0);
		if (count <= 0)
			text_printf(&why, "the file of trusted authorities holds none: %s",
				count < 0 ? gnutls_strerror(count) : "empty");
	}
	if (count <= 0) {
		log_error(0, "no-trust", KEY_SPAN("reason", text_span(&why)));
		if (t->list != NULL)
			gnutls_x509_trust_list_deinit(t->list, 1);
		t->list = NULL;
	} else {
		log_info(0, "trust-read", KEY_NUM("authorities", count));
	}
	text_clear(&pem);
	text_clear(&why);
	close(t->fd);
	t->fd = -1;
}

gnutls_x509_trust_list_t
trust_list(struct trust *t)
{
	if (t == NULL)
		return NULL;
	if (t->fd >= 0)
		read_all(t);
	return t->list;
}
