/*
 * prompt - a password from the terminal, or from the standard input.
 */
#include "master/prompt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/message.h"
#include "common/secret.h"

/* One line, byte by byte, so that nothing of the next one is swallowed. False at the end of
 * input without any byte, on an error, and when it is too long. */
static bool
read_line(int fd, struct text *line)
{
	unsigned char c;
	ssize_t n;
	bool any = false;

	for (;;) {
		do
			n = read(fd, &c, 1);
		while (n < 0 && errno == EINTR);
		if (n <= 0 || c == '\n')
			break;
		any = true;
		text_add_byte(line, c);
	}
	secret_wipe(&c, sizeof c);
	return (n > 0 || any) && n >= 0 && !line->failed;
}

/* Asks on the terminal; echo is back, whatever happens, before anything else does. */
static bool
ask(const char *question, const char *whose, struct text *answer)
{
	struct termios before, silent;
	sigset_t interrupts, old;
	bool answered;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return false;
	silent = before;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	/* With ^C and ^Z held back, the terminal is never left without echo. */
	sigemptyset(&interrupts);
	sigaddset(&interrupts, SIGINT);
	sigaddset(&interrupts, SIGTSTP);
	sigaddset(&interrupts, SIGQUIT);
	sigprocmask(SIG_BLOCK, &interrupts, &old);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	fprintf(stderr, "%s %s: ", question, whose);
	answered = read_line(STDIN_FILENO, answer);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return answered;
}

static bool
is_usable(struct span s, struct text *why)
{
	if (s.len == 0) {
		text_add_str(why, "the password is empty");
		return false;
	}
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x20 || s.at[i] == 0x7f) {
			text_add_str(why,
				"the password holds a control character, which clients cannot send");
			return false;
		}
	if (!span_is_utf8(s)) {
		text_add_str(why, "the password is not UTF-8");
		return false;
	}
	return true;
}

bool
prompt_password(const char *whose, bool from_stdin, struct text *password, struct text *why)
{
	struct text again = TEXT_UP_TO(MOST_PASSWORD);
	bool terminal = !from_stdin && isatty(STDIN_FILENO), good = false;

	*password = TEXT_UP_TO(MOST_PASSWORD);
	if (terminal ? !ask("Password for", whose, password) : !read_line(STDIN_FILENO, password))
		text_printf(why,
			password->failed ? "the password has more than %d bytes"
					 : "no password was given",
			MOST_PASSWORD);
	else if (!is_usable(text_span(password), why))
		good = false;
	else if (terminal &&
		(!ask("Again for", whose, &again) ||
			!secret_equal(text_span(password), text_span(&again))))
		text_add_str(why, "the two passwords differ");
	else
		good = true;
	text_wipe(&again);
	if (!good)
		text_wipe(password);
	return good;
}
