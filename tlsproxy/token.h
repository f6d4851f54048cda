/*
 * token - private keys that stay in a token: a smart card or HSM by PKCS#11, or a TPM.
 *
 * A key file may hold, in place of a PEM key, one line: the URL of the key (pkcs11:..., RFC 7512, with
 * pin-value=; or tpmkey:...). The module is loaded into tls-key before it confines itself, and tls-key
 * then has a room of its own: no chroot, but by Landlock only the directories of tokens.
 */
#ifndef VALIJA_TOKEN_H
#define VALIJA_TOKEN_H

#include <gnutls/abstract.h>

#include "common/text.h"

#define MOST_TOKEN_URL 1024

/* Does the file's content name a key in a token? */
bool token_is_url(struct span content);
/* Finds the key. 0 and *key, or -1 with a sentence in *why that has no PIN in it. */
int token_import(struct span content, gnutls_privkey_t *key, struct text *why);
/* Is this key in a token? */
bool token_has(gnutls_privkey_t key);
/* From now on no module can be loaded: the process is confined without them. */
void token_forbid(void);

#endif
