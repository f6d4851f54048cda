/*
 * paths - where an instance lives.
 */
#include "master/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <config.h>

char *
paths_join(const char *directory, const char *name)
{
	struct text t = TEXT_UP_TO(MOST_PATH_NAME * 2);
	char *joined;

	text_add_str(&t, directory);
	text_add_str(&t, "/");
	text_add_str(&t, name);
	joined = must_copy(text_span(&t));
	text_clear(&t);
	return joined;
}

/* An absolute name for `dir`: resolved as far as it exists. */
static char *
absolute(const char *dir)
{
	char here[PATH_MAX], *real = realpath(dir, NULL), *parent, *slash, *joined;

	if (real || errno != ENOENT)
		return real;
	/* It is yet to be made: its parent must be there. */
	if (dir[0] != '/') {
		if (!getcwd(here, sizeof here))
			return NULL;
		parent = paths_join(here, dir);
	} else {
		parent = must_copy(span_str(dir));
	}
	while ((slash = strrchr(parent, '/')) && slash[1] == '\0' && slash != parent)
		*slash = '\0';
	if (!slash || strcmp(slash + 1, "..") == 0 || strcmp(slash + 1, ".") == 0) {
		free(parent);
		errno = EINVAL;
		return NULL;
	}
	*slash = '\0';
	real = realpath(parent[0] ? parent : "/", NULL);
	joined = real ? paths_join(strcmp(real, "/") ? real : "", slash + 1) : NULL;
	free(real);
	free(parent);
	return joined;
}

bool
paths_init(struct paths *p, const char *dir, struct text *why)
{
	*p = (struct paths){ 0 };
	if (dir) {
		p->dir = dir[0] ? absolute(dir) : NULL;
		if (!p->dir || strlen(p->dir) > MOST_PATH_NAME / 2) {
			text_printf(why, "--dir %s: %s", dir,
				p->dir || !dir[0] ? "not a usable name" : strerror(errno));
			paths_clear(p);
			return false;
		}
		p->conf_dir = paths_join(p->dir, "etc");
		p->state = paths_join(p->dir, "state");
		p->spool = paths_join(p->dir, "spool");
		p->mail = paths_join(p->dir, "mail");
		p->run = paths_join(p->dir, "run");
		p->log = paths_join(p->dir, "log");
	} else {
		p->conf_dir = must_copy(span_str(VALIJA_SYSCONFDIR));
		p->state = must_copy(span_str(VALIJA_STATEDIR));
		p->spool = must_copy(span_str(VALIJA_SPOOLDIR));
		p->mail = must_copy(span_str(VALIJA_MAILDIR));
		p->run = must_copy(span_str(VALIJA_RUNDIR));
		p->log = must_copy(span_str(VALIJA_LOGDIR));
	}
	p->conf = paths_join(p->conf_dir, "valija.conf");
	p->tables = paths_join(p->state, "users");
	p->passwords = paths_join(p->state, "passwords");
	p->auth = paths_join(p->state, "auth");
	p->policy = paths_join(p->state, "policy");
	p->sts = paths_join(p->state, "sts");
	p->shares = paths_join(p->state, "shares");
	p->tls = paths_join(p->state, "tls");
	p->ocsp = paths_join(p->state, "ocsp");
	p->ledger = paths_join(p->state, "ledger");
	p->drop = paths_join(p->state, "drop");
	p->empty = paths_join(p->run, "empty");
	p->control = paths_join(p->run, "control");
	p->pid_file = paths_join(p->run, "master.pid");
	p->lock = paths_join(p->run, "lock");
	return true;
}

void
paths_clear(struct paths *p)
{
	char **each[] = { &p->dir, &p->conf_dir, &p->conf, &p->state, &p->tables, &p->passwords, &p->auth, &p->policy, &p->sts, &p->shares, &p->tls, &p->ocsp, &p->ledger,
		&p->spool, &p->mail, &p->run, &p->empty, &p->log, &p->control, &p->pid_file,
		&p->drop, &p->lock };

	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
		free(*each[i]);
		*each[i] = NULL;
	}
}

/* The directory of the program that runs, or NULL. The caller frees it. */
static char *
own_directory(void)
{
	char name[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", name, sizeof name - 1);

	if (n <= 0)
		return NULL;
	name[n] = '\0';
	if (!(slash = strrchr(name, '/')))
		return NULL;
	*slash = '\0';
	return must_copy(span_str(name));
}

char *
paths_libexec(const char *program)
{
	static const char *const beside[] = { ".", "../libexec" };
	char *own = own_directory();

	for (size_t i = 0; own && i < sizeof beside / sizeof beside[0]; i++) {
		char *directory = paths_join(own, beside[i]);
		char *file = paths_join(directory, program);
		bool there = access(file, X_OK) == 0;

		free(file);
		if (there) {
			free(own);
			return directory;
		}
		free(directory);
	}
	free(own);
	return must_copy(span_str(VALIJA_LIBEXECDIR));
}

char *
paths_command(void)
{
	char *own = own_directory(), *beside = own ? paths_join(own, "../bin/valija") : NULL;

	free(own);
	if (beside && access(beside, X_OK) == 0)
		return beside;
	free(beside);
	return must_copy(span_str(VALIJA_SBINDIR "/valija"));
}
