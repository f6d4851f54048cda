/*
 * cmd-version - which Valija this is.
 */
#include <stdio.h>
#include <sysexits.h>

#include <config.h>

#include "master/cmd.h"

static int
run(struct invocation *v)
{
	(void)v;
	puts("valija " VALIJA_VERSION);
	return EX_OK;
}

const struct command cmd_version = {
	.words = "version",
	.arguments = "",
	.help = "tell the version",
	.run = run,
};
