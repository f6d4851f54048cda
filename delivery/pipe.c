/*
 * pipe - delivers one message to a command or a file that is a member of an alias.
 *   inherits    the message, to read; a pipe to master; in its environment, for whom the message is
 *   keeps       the user who owns the aliases file, and nothing else; what it says is its exit status (sysexits.h)
 *               and its first words
 *   ends        with the command; and, with all that it has started, when master dies: the message comes again
 *   may be lied to by    the command, which is the same user. May lie to: master, about that one message.
 *
 * It runs no filter of system calls: the command would inherit it.
 */
#include "command_words.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_FD	3
#define MOST_SAID	400 /* of what a command writes; the rest is read and forgotten */
#define LOOK_MILLISECONDS 100

static int
fail(const char *what)
{
	printf("%.200s: %s\n", what, strerror(errno));
	fflush(stdout);
	return EX_TEMPFAIL;
}

/* --- the message as an mbox has it: From_ line, ends of lines as here, the lines on top --- */

struct source {
	const char *top;     /* comes before the file */
	unsigned char buffer[16384]; /* of the file */
	size_t at, len;
	off_t offset;
	bool broken;         /* it could not be read to its end */
	bool quote;          /* ">From " where a line begins with that */
	int matched;         /* bytes of "From " since the line began; -1: another line */
	bool cr;             /* a CR was read and not written yet */
	bool ended;
	char last;           /* that was written */
};

static int
next_byte(struct source *s)
{
	ssize_t got;

	if (*s->top != '\0')
		return (unsigned char)*s->top++;
	if (s->at == s->len) {
		/* By offset: others read by the same description. */
		while ((got = pread(MESSAGE_FD, s->buffer, sizeof s->buffer, s->offset)) < 0 && errno == EINTR)
			;
		s->broken |= got < 0;
		if (got <= 0)
			return EOF;
		s->offset += got;
		s->len = (size_t)got;
		s->at = 0;
	}
	return s->buffer[s->at++];
}

static void
put(char *to, size_t *n, struct source *s, const char *bytes, size_t count)
{
	memcpy(to + *n, bytes, count);
	*n += count;
	if (count > 0)
		s->last = bytes[count - 1];
}

/* The next bytes, at most `room`, which is 16 at least; 0: that was all. */
static size_t
source_read(struct source *s, char *to, size_t room)
{
	static const char from[] = "From ";
	size_t n = 0;

	while (!s->ended && n + 10 < room) {
		int c = next_byte(s);
		char byte = (char)c;

		if (s->matched >= 0 && !s->cr && c == from[s->matched]) {
			if (++s->matched < (int)sizeof from - 1)
				continue;
			if (s->quote)
				put(to, &n, s, ">", 1);
			put(to, &n, s, from, sizeof from - 1);
			s->matched = -1;
			continue;
		}
		if (s->matched > 0)
			put(to, &n, s, from, (size_t)s->matched);
		s->matched = c == '\n' ? 0 : -1;
		if (s->cr && c != '\n')
			put(to, &n, s, "\r", 1);
		s->cr = c == '\r';
		s->ended = c == EOF;
		if (c != EOF && c != '\r')
			put(to, &n, s, &byte, 1);
	}
	return n;
}

/* "From SENDER DATE"; a sender has no blanks in it there. */
static size_t
from_line(char *to, size_t room)
{
	const char *sender = getenv("SENDER");
	char who[400], date[64];
	time_t now = time(NULL);
	struct tm tm;

	snprintf(who, sizeof who, "%s", sender && *sender ? sender : "MAILER-DAEMON");
	for (char *c = who; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			*c = '_';
	localtime_r(&now, &tm);
	strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", &tm);
	return (size_t)snprintf(to, room, "From %s %s\n", who, date);
}

/* --- a file --- */

static bool
write_all(int fd, const char *at, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
append(int fd, off_t size, struct source *s)
{
	char buffer[8192], last = '\n';
	size_t n;

	/* What a crash cut off must not swallow the line that separates messages. */
	if (size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n' && !write_all(fd, "\n\n", 2))
		return false;
	for (n = from_line(buffer, sizeof buffer); n > 0; n = source_read(s, buffer, sizeof buffer))
		if (!write_all(fd, buffer, n))
			return false;
	if (s->broken) {
		errno = EIO;
		return false;
	}
	return write_all(fd, "\n\n", s->last == '\n' ? 1 : 2) && fsync(fd) == 0;
}

/* The name of a new file is durable too. Where the directory may not be read, the system does that in its time. */
static void
sync_directory(const char *path)
{
	char directory[2048];
	char *slash;
	int fd;

	snprintf(directory, sizeof directory, "%s", path);
	if ((slash = strrchr(directory, '/')) != NULL)
		slash[slash == directory] = '\0';
	if ((fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return;
	fsync(fd);
	close(fd);
}

static int
deliver_to_file(const char *path, struct source *s)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat st;
	int error, fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd < 0)
		return fail(path);
	if (fcntl(fd, F_SETLKW, &whole) < 0 || fstat(fd, &st) < 0)
		return fail(path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != geteuid()) {
		printf("%.200s: not a regular file of its own user with one link\n", path);
		return EX_TEMPFAIL;
	}
	s->quote = true;
	if (append(fd, st.st_size, s)) {
		if (st.st_size == 0)
			sync_directory(path);
		return EX_OK;
	}
	error = errno;
	/* All of it, or nothing. */
	if (ftruncate(fd, st.st_size) < 0)
		return fail(path);
	errno = error;
	return fail(path);
}

/* --- a command --- */

/* What a stranger had a say in keeps its harmless characters, as Postfix has it: the command may be a script. */
static void
clean(const char *name)
{
	const char *value = getenv(name);
	char *mine = strdup(value ? value : "");

	if (!mine)
		_exit(EX_TEMPFAIL);
	for (char *c = mine; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
			    strchr("!@%-_=+:,./", *c)))
			*c = '_';
	/* Nor does it look like an option. */
	if (mine[0] == '-')
		mine[0] = '_';
	setenv(name, mine, 1);
	free(mine);
}

static void
environment(void)
{
	const char *recipient, *at;
	char local[400];

	unsetenv("VALIJA_PREFIX");
	clean("SENDER");
	clean("RECIPIENT");
	clean("ORIGINAL_RECIPIENT");
	recipient = getenv("RECIPIENT");
	at = recipient ? strrchr(recipient, '@') : NULL;
	snprintf(local, sizeof local, "%.*s", at ? (int)(at - recipient) : 0, recipient ? recipient : "");
	setenv("LOCAL", local, 1);
	setenv("DOMAIN", at ? at + 1 : "", 1);
	setenv("SHELL", "/bin/sh", 1);
}

static void
child(char **argv, int in, int out, pid_t parent)
{
	extern char **environ;

	/* It must not take our death for the end of the message. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(EX_TEMPFAIL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0 ||
		syscall(SYS_close_range, 3u, ~0u, 0) < 0)
		_exit(EX_OSERR);
	environment();
	execve(argv[0], argv, environ);
	dprintf(STDERR_FILENO, "%.200s: %s\n", argv[0], strerror(errno));
	_exit(EX_TEMPFAIL);
}

/* What the command says, so long as master wants to know. False: nothing will come any more. */
static bool
hear(int from, size_t *said)
{
	char buffer[4096];
	ssize_t n = read(from, buffer, sizeof buffer);
	size_t some = n < 0 ? 0 : (size_t)n;

	if (some > MOST_SAID - *said)
		some = MOST_SAID - *said;
	*said += some;
	(void)!write(STDOUT_FILENO, buffer, some);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Feeds it the message until it ends, or does not want to read any more. */
static int
attend(pid_t pid, int to, int from, struct source *s)
{
	char buffer[8192];
	size_t len = from_line(buffer, sizeof buffer), at = 0, said = 0;
	int status = 0;
	bool ended = false;

	while (!ended) {
		struct pollfd p[2] = { { .fd = to, .events = POLLOUT }, { .fd = from, .events = POLLIN } };

		/* With nobody to listen to, it is waited for. */
		if (to < 0 && from < 0) {
			while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
				;
			break;
		}
		poll(p, 2, LOOK_MILLISECONDS);
		ended = waitpid(pid, &status, WNOHANG) == pid;
		if (from >= 0 && p[1].revents != 0 && !hear(from, &said)) {
			close(from);
			from = -1;
		}
		if (to >= 0 && p[0].revents != 0) {
			ssize_t n = write(to, buffer + at, len - at);

			if (n > 0 && (at += (size_t)n) == len) {
				at = 0;
				len = source_read(s, buffer, sizeof buffer);
			}
			if (s->broken) {
				kill(pid, SIGKILL);
				return fail("message");
			}
			/* The command need not read it all. */
			if (len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
				close(to);
				to = -1;
			}
		}
	}
	if (from >= 0)
		hear(from, &said);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	printf("killed by signal %d\n", WTERMSIG(status));
	return EX_TEMPFAIL;
}

/* Master is dead. Nobody would hear how this ends; the next master has it done again, and not beside us. Of the group that
 * master made for us this is the first. */
static void
on_master_gone(int signal)
{
	(void)signal;
	kill(0, SIGKILL);
}

/* False: master is dead already. */
static bool
end_with_master(void)
{
	struct pollfd listener = { .fd = STDOUT_FILENO };

	signal(SIGTERM, on_master_gone);
	return prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && poll(&listener, 1, 0) >= 0 && !(listener.revents & POLLERR);
}

static int
run_command(char *text, struct source *s)
{
	char *word[MOST_COMMAND_WORDS + 1];
	pid_t pid, self = getpid();
	int in[2], out[2];

	if (!command_words(text, word) || word[0][0] != '/') {
		puts("a command is an absolute name and words, a double quote has its partner");
		return EX_TEMPFAIL;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!end_with_master())
		return EX_TEMPFAIL;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return fail("pipe");
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0)
		child(word, in[0], out[1], self);
	close(in[0]);
	close(out[1]);
	fcntl(in[1], F_SETFL, O_NONBLOCK);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	return attend(pid, in[1], out[0], s);
}

int
main(int argc, char **argv)
{
	const char *top = getenv("VALIJA_PREFIX");
	static struct source s;
	struct stat st;

	if (argc != 2 || fstat(MESSAGE_FD, &st) < 0 || (argv[1][0] != '|' && argv[1][0] != '/')) {
		fputs("valija-pipe is started by valija-master(8)\n", stderr);
		return EX_USAGE;
	}
	s.top = top ? top : "";
	s.last = '\n';
	if (fcntl(MESSAGE_FD, F_SETFD, FD_CLOEXEC) < 0 || chdir("/") < 0)
		return fail("message");
	return argv[1][0] == '|' ? run_command(argv[1] + 1, &s) : deliver_to_file(argv[1], &s);
}
