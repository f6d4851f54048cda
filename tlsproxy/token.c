#include "token.h"

#include <stdlib.h>

#include "common/secret.h"

static bool forbidden;

bool
token_is_url(struct span content)
{
	return span_starts_nocase(content, SPAN("pkcs11:")) ||
		span_starts_nocase(content, SPAN("tpmkey:"));
}

int
token_import(struct span content, gnutls_privkey_t *key, struct text *why)
{
	struct span url = content, line;
	gnutls_privkey_t found = NULL;
	char *string;
	int error;

	if (forbidden) {
		text_printf(why, "keys in a token come into service by a restart:"
			" tls-key has been confined without them");
		return -1;
	}
	if (span_take_until(&url, '\n', &line))
		url = line;
	url = span_trim(url);
	while (url.len > 0 && url.at[url.len - 1] == '\r')
		url.len--;
	if (url.len > MOST_TOKEN_URL || !span_is_printable(url)) {
		text_printf(why, "the URL of the key in a token is not printable, or too long");
		return -1;
	}
	string = must_copy(url);
	if ((error = gnutls_privkey_init(&found)) >= 0)
		error = gnutls_privkey_import_url(found, string, 0);
	secret_wipe(string, url.len);
	free(string);
	if (error >= 0) {
		*key = found;
		return 0;
	}
	if (found != NULL)
		gnutls_privkey_deinit(found);
	text_printf(why, "the key in the token cannot be used: %s (is the module configured for p11-kit,"
		" the PIN right, the token's directory readable for tls-key?)", gnutls_strerror(error));
	return -1;
}

bool
token_has(gnutls_privkey_t key)
{
	return gnutls_privkey_get_type(key) != GNUTLS_PRIVKEY_X509;
}

void
token_forbid(void)
{
	forbidden = true;
}
