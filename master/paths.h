/*
 * paths - where an instance lives: below one directory (--dir DIR), or in the system's places.
 */
#ifndef VALIJA_PATHS_H
#define VALIJA_PATHS_H

#include <stdbool.h>

#include "common/text.h"

#define MOST_PATH_NAME 4096

/* All absolute; owned, until paths_clear. */
struct paths {
	char *dir; /* NULL: the system's instance */
	char *conf_dir;
	char *conf; /* the file valija.conf */
	char *state;
	char *tables;    /* below it: users.db */
	char *auth;      /* below it too: what auth itself keeps */
	char *passwords; /* below it too, and not below tables: passwd.db */
	char *shares;  /* state/shares: who shares mailboxes with whom */
	char *policy;  /* state/policy: what smtpd must remember */
	char *sts;     /* state/sts: policies of other domains */
	char *tls;       /* and so: certificates and keys */
	char *ocsp;      /* and so: what authorities said of certificates */
	char *ledger;    /* state/ledger: what each local has promised */
	char *drop;      /* what the sendmail command leaves */
	char *spool;
	char *mail;
	char *run;     /* control, master.pid, lock */
	char *empty;   /* the root of the chrooted */
	char *log;     /* directory of log files */
	char *control; /* the control socket */
	char *pid_file;
	char *lock;
};

/* `dir` is NULL for the system's instance; it need not exist yet, but its parent must. False
 * (with a sentence in *why) when it has no absolute name or the name is too long. */
bool paths_init(struct paths *p, const char *dir, struct text *why);
void paths_clear(struct paths *p);

/* Where the daemons are: "../libexec" or "." as seen from the running program, when `program` is
 * there, else the directory given to configure. The caller frees it. */
char *paths_libexec(const char *program);
/* The command valija: "../bin/valija" as seen from the running program, else in the directory given to configure.
 * The caller frees it. */
char *paths_command(void);
/* directory/name, on the heap. */
char *paths_join(const char *directory, const char *name);

#endif
