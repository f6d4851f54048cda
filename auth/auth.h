/*
 * auth.h - what the parts of the auth program share: its state.
 */
#ifndef VALIJA_AUTH_H
#define VALIJA_AUTH_H

#include <gsasl.h>

#include "common/daemon.h"
#include "common/table.h"
#include "conversation.h"
#include "delay.h"
#include "digest.h"
#include "remember.h"
#include "worker-pool.h"

struct auth {
	struct daemon daemon;
	Gsasl *sasl;
	struct table *users, *passwords;
	struct pool *hash, *pam;
	struct digest_key nobody; /* of salts of those who do not exist */
	struct delays *delays;
	struct remember *remember;
	struct conversations conversations;
};

#endif
