/*
 * auth.h - what the parts of the auth program share: its state.
 */
#ifndef VALIJA_AUTH_H
#define VALIJA_AUTH_H

#include <gsasl.h>

#include "common/daemon.h"
#include "common/table.h"
#include "checker.h"
#include "conversation.h"
#include "digest.h"
#include "guard.h"
#include "passwd-file.h"
#include "remember.h"
#include "token-cache.h"
#include "worker-pool.h"

struct auth {
	struct daemon daemon;
	Gsasl *sasl;
	struct table *users, *passwords;
	struct pool *hash, *pam, *token;
	struct checker *checker;
	struct channel *queue; /* NULL: it is away */
	struct digest_key nobody; /* of salts of those who do not exist */
	struct text nobody_hash;  /* verified instead of theirs; as costly as those that are made now */
	struct passwd_file *file, *file_offered; /* or NULL */
	struct table *learned, *guard_table; /* NULL: they cannot be written; logged */
	struct guard *guard;
	struct event *tidy;
	struct remember *remember;
	struct token_cache *tokens; /* that their issuer called good */
	struct conversations conversations;
};

#endif
