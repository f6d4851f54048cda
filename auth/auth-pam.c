/*
 * auth-pam - asks PAM about one login at a time, and the system for the home of one user.
 *   inherits    channels to master, auth and queue
 *   keeps       uid 0, because pam_unix looks into /etc/shadow itself only for that uid; no capability
 *               where root owns that file with the right to read it (Debian), CAP_DAC_READ_SEARCH where
 *               it has mode 0 (Fedora). Landlock: the system's files to read, the tallies of
 *               pam_faillock to write; no program can be executed. The system calls of pam_syscalls:
 *               modules are not ours, so what is not listed fails instead of killing
 *   may be lied to by    auth and queue, about names; a password goes to PAM and nowhere else
 *   tells       auth, what PAM says; auth and queue, uid and home of a system user
 *
 * It blocks for as long as modules take, by design: auth has as many of it as it needs, and has one
 * that hangs replaced. PAM modules are loaded here and nowhere else.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_PAM
#include <security/pam_appl.h>
#endif

#include "common/daemon.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"

#define MOST_PROMPTS  8	  /* of one login: modules that ask on are not for us */
#define MOST_ENTRY    65536 /* bytes of one row of passwd(5) and its relatives */
#define LEAST_ENTRY   1024

/* Files, directories and local or network directory services, as NSS and PAM modules use them. */
static const int pam_syscalls[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(stat64), SCMP_SYS(lstat64),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents), SCMP_SYS(getdents64),
	SCMP_SYS(getcwd), SCMP_SYS(fstatfs), SCMP_SYS(statfs), SCMP_SYS(flock), SCMP_SYS(umask),
	SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect), SCMP_SYS(pwrite64), SCMP_SYS(fsync),
	SCMP_SYS(ftruncate), SCMP_SYS(fchmod), SCMP_SYS(fchown), SCMP_SYS(rename),
	SCMP_SYS(unlink), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(pipe2),
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(socketpair),
	SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg), SCMP_SYS(select), SCMP_SYS(pselect6),
	SCMP_SYS(getppid), SCMP_SYS(getpgrp), SCMP_SYS(getpgid), SCMP_SYS(getsid),
	SCMP_SYS(getgroups), SCMP_SYS(getresuid), SCMP_SYS(getresgid), SCMP_SYS(getrlimit),
	SCMP_SYS(alarm), SCMP_SYS(setitimer), SCMP_SYS(getitimer), SCMP_SYS(inotify_init1),
	SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch), SCMP_SYS(set_robust_list), -1,
};

static struct room pam_room = {
	.name = "auth-pam",
	.files = true,
	.system_files = true,
	.network = true,
	.forgiving = true,
	.secret_memory = true,
	.syscalls = pam_syscalls,
	.most_descriptors = 256,
};

struct auth_pam {
	struct daemon daemon;
	uint64_t served;
};

/* --- names --- */

/* What no system user is called: it could mean something else to a module, or in a file of one. */
static bool
is_login(struct span login)
{
	if (login.len == 0 || login.len > MOST_LOGIN || login.at[0] == '-' || login.at[0] == '.')
		return false;
	for (size_t i = 0; i < login.len; i++)
		if (login.at[i] <= ' ' || login.at[i] == 0x7f ||
			memchr(":/,\\*\"'", login.at[i], 7) != NULL)
			return false;
	return true;
}

static bool
is_home(const char *home)
{
	return home != NULL && home[0] == '/' && home[1] != '\0' &&
	       strlen(home) <= MOST_PATH_FIELD && strstr(home, "/../") == NULL;
}

static void
on_name_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_name_ask *m, const int *fd)
{
	struct auth_pam *a = me;
	char login[MOST_LOGIN + 1];
	struct msg_name_told told = {.home = SPAN_NONE};
	struct passwd entry, *found = NULL;
	size_t room = LEAST_ENTRY;
	char *memory = NULL;
	int error = 0;

	(void)fd;
	a->served++;
	if (is_login(m->login) && span_copy(m->login, login, sizeof(login))) {
		do {
			memory = must_realloc(memory, room);
			error = getpwnam_r(login, &entry, memory, room, &found);
			room *= 2;
		} while (error == ERANGE && room <= MOST_ENTRY);
	}
	/* getpwnam(3) lists these beside 0 for "there is no such user". */
	told.later = found == NULL && error != 0 && error != ENOENT && error != ESRCH &&
		     error != EBADF && error != EPERM;
	if (told.later)
		log_error(0, "name-later", KEY_SPAN("login", m->login),
			KEY_STR("reason", strerror(error)));
	if (found != NULL && entry.pw_uid >= a->daemon.settings->system_least_uid &&
		is_home(entry.pw_dir)) {
		told.known = true;
		told.uid = entry.pw_uid;
		told.gid = entry.pw_gid;
		told.home = span_str(entry.pw_dir);
	}
	send_name_told(from, id, &told, NULL);
	free(memory);
}

/* --- PAM --- */

#ifdef HAVE_PAM

struct dialogue {
	const char *password;
	unsigned int prompts;
};

static void
answers_free(struct pam_response *answers, int count)
{
	for (int i = 0; i < count; i++) {
		if (answers[i].resp != NULL)
			secret_wipe(answers[i].resp, strlen(answers[i].resp));
		free(answers[i].resp);
	}
	free(answers);
}

/* pam_conv(3): the password to each hidden question, nothing to the others. PAM frees the answers. */
static int
converse(int count, const struct pam_message **messages, struct pam_response **answers, void *arg)
{
	struct dialogue *d = arg;
	struct pam_response *made;

	if (count <= 0 || count > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	made = calloc((size_t)count, sizeof(*made));
	if (made == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < count; i++) {
		int style = messages[i]->msg_style;

		if (style == PAM_TEXT_INFO || style == PAM_ERROR_MSG)
			continue;
		/* A visible question is for something that we do not have. */
		if (style == PAM_PROMPT_ECHO_OFF && d->prompts++ < MOST_PROMPTS)
			made[i].resp = strdup(d->password);
		if (made[i].resp == NULL) {
			answers_free(made, count);
			return PAM_CONV_ERR;
		}
	}
	*answers = made;
	return PAM_SUCCESS;
}

/* Failures are paid for in auth, without keeping this process busy. */
static void
no_delay(int result, unsigned int microseconds, void *arg)
{
	(void)result;
	(void)microseconds;
	(void)arg;
}

static enum pam_result
result_of(int status)
{
	switch (status) {
	case PAM_SUCCESS:
		return PAM_TOLD_RIGHT;
	case PAM_USER_UNKNOWN:
		return PAM_TOLD_UNKNOWN;
	case PAM_AUTH_ERR:
	case PAM_ACCT_EXPIRED:
	case PAM_PERM_DENIED:
	case PAM_MAXTRIES:
	case PAM_NEW_AUTHTOK_REQD: /* nobody can change a password here */
	case PAM_AUTHTOK_EXPIRED:
	case PAM_CRED_EXPIRED:
	case PAM_CRED_INSUFFICIENT:
		return PAM_TOLD_WRONG;
	default:
		return PAM_TOLD_LATER;
	}
}

/* Is he who he says, may he log in now, and what belongs to the beginning of a session. *step is the
 * phase that said no. */
static int
phases(pam_handle_t *pam, const char **step)
{
	int status;

	*step = "authenticate";
	status = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (status != PAM_SUCCESS)
		return status;
	*step = "account";
	status = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (status != PAM_SUCCESS)
		return status;
	/* The session of mail outlives this process's interest: it is opened for what modules note
	 * and make at its beginning (a log line, a home), and closed at once. */
	*step = "session";
	status = pam_open_session(pam, PAM_SILENT);
	if (status == PAM_SUCCESS)
		pam_close_session(pam, PAM_SILENT);
	return status;
}

static int
begin(const struct settings *s, const char *login, const struct pam_conv *conv, pam_handle_t **pam)
{
	char *service = must_copy(s->pam_service), *directory = must_copy(s->pam_directory);
	int status;

#ifdef HAVE_PAM_START_CONFDIR
	status = pam_start_confdir(
		service, login, conv, directory[0] != '\0' ? directory : NULL, pam);
#else
	status = directory[0] != '\0' ? PAM_ABORT : pam_start(service, login, conv, pam);
#endif
	free(service);
	free(directory);
	return status;
}

static enum pam_result
ask_pam(struct auth_pam *a, const char *login, const char *password, const char *ip,
	struct text *reason)
{
	struct dialogue dialogue = {.password = password};
	const struct pam_conv conv = {converse, &dialogue};
	void (*delay)(int, unsigned int, void *) = no_delay;
	pam_handle_t *pam = NULL;
	const char *step = "start";
	int status = begin(a->daemon.settings, login, &conv, &pam);

	if (status == PAM_SUCCESS)
		status = pam_set_item(pam, PAM_RHOST, ip);
	if (status == PAM_SUCCESS)
		status = pam_set_item(pam, PAM_TTY, "valija");
	if (status == PAM_SUCCESS)
		status = pam_set_item(pam, PAM_FAIL_DELAY, (const void *)(uintptr_t)delay);
	if (status == PAM_SUCCESS)
		status = phases(pam, &step);
	if (status != PAM_SUCCESS)
		text_printf(reason, "%s: %s", step, pam_strerror(pam, status));
	if (pam != NULL)
		pam_end(pam, status);
	return result_of(status);
}

#else

static enum pam_result
ask_pam(struct auth_pam *a, const char *login, const char *password, const char *ip,
	struct text *reason)
{
	(void)a;
	(void)login;
	(void)password;
	(void)ip;
	text_add_str(reason, "built without PAM");
	return PAM_TOLD_LATER;
}

#endif

static void
on_pam_ask(
	void *me, struct channel *from, uint64_t id, const struct msg_pam_ask *m, const int *fd)
{
	struct auth_pam *a = me;
	struct msg_pam_told told = {.result = PAM_TOLD_UNKNOWN};
	struct text reason = TEXT_UP_TO(MOST_REASON);
	char login[MOST_ADDRESS + 1], ip[MOST_IP + 1], password[MOST_PASSWORD + 1];

	(void)fd;
	a->served++;
	if (!is_login(m->login) || !span_copy(m->login, login, sizeof(login)) ||
		!span_copy(m->ip, ip, sizeof(ip)))
		text_add_str(&reason, "no name of a system user");
	else if (m->password.len == 0 || !span_copy(m->password, password, sizeof(password)))
		told.result = PAM_TOLD_WRONG;
	else
		told.result = (uint8_t)ask_pam(a, login, password, ip, &reason);
	secret_wipe(password, sizeof(password));
	if (told.result == PAM_TOLD_LATER)
		log_error(0, "pam-later", KEY_SPAN("login", m->login),
			KEY_SPAN("reason", text_span(&reason)));
	told.reason = text_span(&reason);
	send_pam_told(from, id, &told, NULL);
	text_clear(&reason);
}

/* --- life --- */

static const struct hearing auth_hearing = {
	.on_name_ask = on_name_ask,
	.on_pam_ask = on_pam_ask,
};
static const struct hearing queue_hearing = {.on_name_ask = on_name_ask};

static const struct peer_kind peers[] = {
	{PROGRAM_AUTH, &auth_hearing},	 /* away: nobody asks */
	{PROGRAM_QUEUE, &queue_hearing}, /* away: nobody asks */
	{PROGRAM_MASTER, NULL},
};

/* The system's files, which modules and name services read. Not the homes of users, not root's, not
 * what the suite itself keeps: no key, no mail, no table. */
static bool
prepare(void *me)
{
	static const struct {
		const char *name;
		uint32_t rights;
		const char *below;       /* of it alone; NULL: all of it */
	} places[] = {
		{"/etc", ROOM_READ, NULL}, {"/usr", ROOM_READ, NULL}, {"/lib", ROOM_READ, NULL},
		{"/lib64", ROOM_READ, NULL}, {"/run", ROOM_READ, NULL}, {"/proc", ROOM_READ, NULL},
		/* Not /dev itself: uid 0 owns the disks there. */
		{"/dev", ROOM_READ, "null"}, {"/dev", ROOM_READ, "urandom"}, {"/dev", ROOM_READ, "random"},
		{"/sys/kernel", ROOM_READ, NULL}, {"/var/lib/sss", ROOM_READ, NULL},
		{"/var/lib/extrausers", ROOM_READ, NULL},
		{"/run/faillock", ROOM_READ | ROOM_WRITE | ROOM_MAKE, NULL},
	};
	struct auth_pam *a = me;
	struct daemon *d = &a->daemon;
	char *own = must_copy(d->settings->pam_directory);

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) + 1; i++) {
		const char *name = i < sizeof(places) / sizeof(places[0]) ? places[i].name : own;
		int fd = name[0] == '\0' ? -1 : open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			d->paths[d->path_count++] = (struct room_path){
				fd, name != own && places[i].below != NULL ? places[i].below : ".",
				name == own ? ROOM_READ : places[i].rights};
	}
	free(own);
	return true;
}

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct auth_pam *a = me;

	*connections = 0;
	*served = a->served;
}

static const struct daemon_kind auth_pam_kind = {
	.program = PROGRAM_AUTH_PAM,
	.room = &pam_room,
	.peers = peers,
	.prepare = prepare,
	.load = load,
};

int
main(void)
{
	static struct auth_pam a;
	struct stat st;

	if (stat("/etc/shadow", &st) == 0 && (st.st_uid != 0 || (st.st_mode & S_IRUSR) == 0))
		pam_room.keeps = UINT64_C(1) << CAP_DAC_READ_SEARCH;
	return daemon_run(&a.daemon, &auth_pam_kind, &a);
}
