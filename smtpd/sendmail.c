/*
 * sendmail - the command that other programs hand mail to; also as mailq and newaliases.
 *   runs as      whoever calls it, with that user's rights alone: it is neither setuid nor setgid
 *   trusts       nothing but the kernel; its caller may be anybody, and may call it with anything
 *
 * It reads the message into an unnamed file, then asks smtpd over RUN/local, which learns the uid
 * from the kernel. Where nobody answers, or the answer is "later", the file gets a name in the drop
 * directory (drop.h), from where pickup hands it in. Nothing has a name before it is whole and
 * durable, so whatever stops this program leaves nothing half written. See sendmail(8).
 */
#include <config.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/message.h"
#include "smtpd/handin.h"
#include "smtpd/mailbox-list.h"
#include "smtpd/stdin-message.h"

#define WAIT_MILLISECONDS (10 * 60 * 1000)   /* for smtpd's next word: beyond its own limits */
#define FULL_NAME_MOST 1024
#define LINGER_MILLISECONDS (60 * 1000)      /* -bs: for the last answers, when the input has ended */
#define GOODBYE_MILLISECONDS 1000
#define PIECE 65536
#define HEARD_MOST (8 * 1024 * 1024)            /* -bs: octets of answers that the caller has not read yet */
#define RECIPIENTS_MOST (4 * 1024 * 1024)       /* octets of all of them */

enum mode { MODE_DELIVER, MODE_SMTP, MODE_QUEUE, MODE_ALIASES, MODE_VERIFY, MODE_FLUSH };

struct call {
	enum mode mode;
	const char *dir;              /* the instance below it, or NULL */
	bool has_sender, from_header, dot_is_text;
	struct text sender, full_name, envid;
	const char *notify, *ret;
	char **recipient;
	int recipients;
	struct drop drop;
	struct text found;            /* what d->recipient points into, of -t */
};

static int
fail(int status, const char *what, const char *why)
{
	fprintf(stderr, "sendmail: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	return status;
}

/* --- the command line --- */

static bool
is_word_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (strcasecmp(word, *words) == 0)
			return true;
	return false;
}

/* NEVER, or a list of the others (RFC 3461 4.1). */
static bool
take_notify(struct call *c, const char *value)
{
	static const char *const words[] = { "SUCCESS", "FAILURE", "DELAY", NULL };
	struct span left = span_str(value), part;
	char word[16];
	bool more = true;

	c->notify = value;
	if (strcasecmp(value, "never") == 0)
		return true;
	while (more) {
		if (!(more = span_take_until(&left, ',', &part)))
			part = left;
		if (!span_copy(part, word, sizeof(word)) || !is_word_of(word, words))
			return false;
	}
	return true;
}

/* "a@b", "<a@b>", "Ana <a@b>", "<>", "": what is given with -f. */
static bool
take_sender(struct call *c, const char *value)
{
	struct span in = span_str(value);
	struct mailbox_found found;

	c->has_sender = true;
	text_reset(&c->sender);
	if (span_trim(in).len == 0)
		return true;
	if (!mailbox_list_next(&in, &found) || !found.is_one || in.len > 0)
		return false;
	mailbox_found_put(&c->sender, &found);
	return !c->sender.failed;
}

static bool
take_mode(struct call *c, const char *value)
{
	static const struct {
		const char *letters;
		enum mode mode;
	} modes[] = {
		{ "m", MODE_DELIVER }, { "s", MODE_SMTP }, { "p", MODE_QUEUE }, { "i", MODE_ALIASES },
		{ "v", MODE_VERIFY }, { "a", MODE_DELIVER },
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(value, modes[i].letters) == 0) {
			c->mode = modes[i].mode;
			return true;
		}
	}
	return false;
}

static int
bad_option(char letter, const char *value)
{
	char text[80];

	snprintf(text, sizeof(text), "-%c%.40s: not a value of this option", letter, value);
	return fail(EX_USAGE, text, NULL);
}

/* One option. 0, or an exit code. */
static int
take_option(struct call *c, int letter, const char *value)
{
	switch (letter) {
	case 't':
		c->from_header = true;
		return 0;
	case 'i':
		c->dot_is_text = true;
		return 0;
	case 'f':
	case 'r':
		return take_sender(c, value) ? 0 : bad_option((char)letter, value);
	case 'F':
		text_reset(&c->full_name);
		text_add(&c->full_name, span_str(value));
		return c->full_name.failed ? fail(EX_USAGE, "-F: the name is too long", NULL) : 0;
	case 'N':
		return take_notify(c, value) ? 0 : bad_option('N', value);
	case 'R':
		c->ret = strcasecmp(value, "hdrs") == 0 ? "HDRS" : "FULL";
		return is_word_of(value, (const char *const[]){ "full", "hdrs", NULL })
			? 0 : bad_option('R', value);
	case 'V':
		text_reset(&c->envid);
		text_add(&c->envid, span_str(value));
		return c->envid.failed || !span_is_printable(text_span(&c->envid))
			? bad_option('V', value) : 0;
	case 'b':
		return take_mode(c, value) ? 0 : bad_option('b', value);
	case 'q':
		c->mode = MODE_FLUSH;
		return 0;
	case 'I':
		c->mode = MODE_ALIASES;
		return 0;
	case 'o':
		if (strcmp(value, "i") == 0)
			c->dot_is_text = true;
		return 0;
	case 'C':
		return fail(EX_USAGE, "-C: there is no other configuration", NULL);
	case '?':
	case ':':
		return EX_USAGE;
	default:
		return 0; /* of other mailers; nothing here depends on it */
	}
}

/* Each letter that sendmail, Postfix or Exim know, so that none takes another's value. */
#define OPTIONS "+A:B:C:D:F:GIL:M:N:O:R:T:UV:X:b:cd::e:f:h:imno:p:q::r:stvx"

static int
take_command_line(struct call *c, int argc, char **argv)
{
	const char *name = strrchr(argv[0] ? argv[0] : "", '/');
	int letter, status;

	name = name ? name + 1 : argv[0] ? argv[0] : "sendmail";
	/* Alternatives may have given them an ending. */
	if (strncmp(name, "mailq", 5) == 0)
		c->mode = MODE_QUEUE;
	else if (strncmp(name, "newaliases", 10) == 0)
		c->mode = MODE_ALIASES;
	if (argc > 2 && strcmp(argv[1], "--dir") == 0) {
		c->dir = argv[2];
		argv[2] = argv[0];
		argv += 2;
		argc -= 2;
	}
	while ((letter = getopt(argc, argv, OPTIONS)) != -1)
		if ((status = take_option(c, letter, optarg ? optarg : "")) != 0)
			return status;
	c->recipient = argv + optind;
	c->recipients = argc - optind;
	return 0;
}

/* --- places --- */

/* An O_PATH descriptor of a directory of the instance, or -1. */
static int
open_place(const struct call *c, const char *system, const char *below)
{
	char path[4096];

	if (!c->dir)
		return open(system, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", c->dir, below) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int
open_drop(const struct call *c)
{
	return open_place(c, VALIJA_STATEDIR "/drop", "state/drop");
}

/* A connection to smtpd, or -1. */
static int
connect_local(const struct call *c)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int directory = open_place(c, VALIJA_RUNDIR, "run");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A long name does not fit into sun_path; through the descriptor it does. */
	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d/local", directory);
	if (directory < 0 || fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (directory >= 0)
		close(directory);
	return fd;
}

/* --- other trades, which are the valija command's --- */

static int
run_valija(const struct call *c, const char *first, const char *second, const char *third)
{
	char own[4096], path[4200];
	const char *argv[7];
	size_t n = 0;
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	own[len > 0 ? len : 0] = '\0';
	if (!(slash = strrchr(own, '/')))
		return fail(EX_OSERR, "valija", "cannot be found");
	*slash = '\0';
	snprintf(path, sizeof(path), "%s/valija", own);
	argv[n++] = "valija";
	if (c->dir) {
		argv[n++] = "--dir";
		argv[n++] = c->dir;
	}
	argv[n++] = first;
	if (second)
		argv[n++] = second;
	if (third)
		argv[n++] = third;
	argv[n] = NULL;
	execv(path, (char *const *)(uintptr_t)argv);
	return fail(EX_OSERR, path, strerror(errno));
}

/* What the caller of -bs said, and smtpd has not taken yet. */
struct carried {
	unsigned char at[2 * PIECE];
	size_t len, sent;
	enum { ENDS_UNKNOWN, ENDS_CRLF, ENDS_LF } ends;
	unsigned char last;
};

/* Whoever ends his first line with a bare line feed (a script, somebody at a terminal) means lines by it. For anybody else
 * every octet stays what it is: smtpd judges. */
static void
carry(struct carried *c, struct span in)
{
	c->len = c->sent = 0;
	for (size_t i = 0; i < in.len; i++) {
		unsigned char octet = in.at[i];

		if (octet == '\n' && c->ends == ENDS_UNKNOWN)
			c->ends = c->last == '\r' ? ENDS_CRLF : ENDS_LF;
		if (octet == '\n' && c->ends == ENDS_LF && c->last != '\r')
			c->at[c->len++] = '\r';
		c->at[c->len++] = octet;
		c->last = octet;
	}
}

/* Says on what smtpd has not taken yet. False: it hears no more; its last words may still be there. */
static bool
carry_on(struct carried *c, int fd)
{
	ssize_t sent = send(fd, c->at + c->sent, c->len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		c->sent = c->len;
		return false;
	}
	c->sent += sent > 0 ? (size_t)sent : 0;
	return true;
}

/* Tells the caller what he takes at once: for a pipe that can be written to, PIPE_BUF is never too much. */
static bool
tell_caller(struct text *heard)
{
	ssize_t told = write(STDOUT_FILENO, heard->at, heard->len < PIPE_BUF ? heard->len : PIPE_BUF);

	if (told < 0)
		return errno == EAGAIN || errno == EINTR;
	text_drop(heard, (size_t)told);
	return true;
}

/* -bs: the caller speaks SMTP, and we carry it over. Neither side waits for the other to read: a caller may say all he has
 * to say before he reads anything, up to HEARD_MOST of answers. */
static int
speak_smtp(const struct call *c)
{
	int fd = connect_local(c);
	static unsigned char piece[PIECE];
	static struct carried said;
	struct text heard = TEXT_UP_TO(HEARD_MOST);
	bool open = true;

	if (fd < 0) {
		printf("421 4.3.2 the mail system is not running\r\n");
		return EX_TEMPFAIL;
	}
	for (;;) {
		bool waits = said.sent < said.len, room = heard.len + PIECE <= HEARD_MOST;
		struct pollfd caller = { .fd = open && !waits ? STDIN_FILENO : -1, .events = POLLIN },
			smtpd = { .fd = room || waits ? fd : -1,
				.events = (short)((room ? POLLIN : 0) | (waits ? POLLOUT : 0)) },
			reader = { .fd = heard.len > 0 ? STDOUT_FILENO : -1, .events = POLLOUT };
		struct pollfd p[] = { caller, smtpd, reader };
		int ready = poll(p, 3, open || waits ? WAIT_MILLISECONDS : LINGER_MILLISECONDS);
		ssize_t got;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return EX_TEMPFAIL;
		if (p[0].revents != 0) {
			got = read(STDIN_FILENO, piece, sizeof(piece));
			/* Not said to smtpd, for whom the end of the input is the end of everything: it
			 * has still to answer, and to hear QUIT. */
			open = got > 0 || (got < 0 && errno == EINTR);
			if (got > 0)
				carry(&said, span_of(piece, (size_t)got));
		}
		if (waits && (p[1].revents & (POLLOUT | POLLHUP | POLLERR)) && !carry_on(&said, fd))
			open = false;
		if (room && (p[1].revents & (POLLIN | POLLHUP | POLLERR))) {
			got = read(fd, piece, sizeof(piece));
			if (got == 0 || (got < 0 && errno != EINTR))
				return write_all(STDOUT_FILENO, heard.at, heard.len) < 0 ? EX_IOERR : EX_OK;
			if (got > 0)
				text_add(&heard, span_of(piece, (size_t)got));
		}
		if (p[2].revents != 0 && !tell_caller(&heard))
			return EX_IOERR;
	}
}

/* --- the message --- */

static bool
put_into_file(void *me, struct span piece)
{
	return write_all(*(int *)me, piece.at, piece.len) == 0;
}

/* Printable ASCII as a quoted string, anything else as one encoded word (RFC 2047) for each few
 * octets: whatever the name holds, it stays inside (control characters are left out). */
static void
put_full_name(struct text *to, struct span name)
{
	bool ascii = true;

	for (size_t i = 0; i < name.len; i++)
		ascii = ascii && name.at[i] < 0x7f;
	if (ascii) {
		text_add_byte(to, '"');
		for (size_t i = 0; i < name.len; i++) {
			if (name.at[i] < 0x20)
				continue;
			if (name.at[i] == '"' || name.at[i] == '\\')
				text_add_byte(to, '\\');
			text_add_byte(to, name.at[i]);
		}
		text_add_byte(to, '"');
		return;
	}
	while (name.len > 0) {
		size_t len = name.len < 42 ? name.len : 42;

		/* Not within a character. */
		while (len > 1 && len < name.len && (name.at[len] & 0xc0) == 0x80)
			len--;
		text_add_str(to, span_is_utf8(name) ? "=?UTF-8?B?" : "=?ISO-8859-1?B?");
		text_add_base64(to, span_part(name, 0, len));
		text_add_str(to, "?=");
		name = span_part(name, len, name.len);
		if (name.len > 0)
			text_add_str(to, "\r\n ");
	}
}

/* The From field that is added where there is none, and the sender where none was given. */
static void
who_am_i(struct call *c, struct text *from)
{
	struct passwd *own = getpwuid(getuid());
	struct text login = TEXT_UP_TO(MOST_ADDRESS);
	struct span name = text_span(&c->full_name);

	if (own && own->pw_name[0])
		text_add_str(&login, own->pw_name);
	else
		text_printf(&login, "uid%lu", (unsigned long)getuid());
	if (!c->has_sender)
		text_add(&c->sender, text_span(&login));
	/* The first part of the comment in passwd(5). */
	if (name.len == 0 && own && own->pw_gecos)
		name = span_part(span_str(own->pw_gecos), 0, span_index(span_str(own->pw_gecos), ','));
	name = span_trim(span_part(name, 0, FULL_NAME_MOST));
	text_add_str(from, "From: ");
	if (name.len > 0) {
		put_full_name(from, name);
		text_add_str(from, " <");
	}
	text_add(from, c->sender.len > 0 ? text_span(&c->sender) : text_span(&login));
	if (name.len > 0)
		text_add_byte(from, '>');
	text_clear(&login);
}

/* Recipients of the command line, each of which may be a list, and of the header. */
static int
take_recipients(struct call *c, const struct stdin_message *m)
{
	struct span left = text_span(&m->found), one;
	struct mailbox_found found;

	if (m->found_bad || m->found.failed)
		return fail(EX_DATAERR, "the header has a recipient that is no address", NULL);
	c->found = TEXT_UP_TO(RECIPIENTS_MOST);
	for (int i = 0; i < c->recipients; i++) {
		struct span in = span_str(c->recipient[i]);

		while (mailbox_list_next(&in, &found)) {
			if (!found.is_one || found.spec.len == 0)
				return fail(EX_USAGE, c->recipient[i], "is no address");
			mailbox_found_put(&c->found, &found);
			text_add_byte(&c->found, '\0');
		}
	}
	text_add(&c->found, left);
	if (c->found.failed)
		return fail(EX_USAGE, "too many recipients", NULL);
	left = text_span(&c->found);
	while (span_take_until(&left, '\0', &one)) {
		if (one.len > MOST_ADDRESS)
			return fail(EX_NOUSER, "a recipient's address is too long", NULL);
		for (size_t i = 0; i < one.len; i++)
			if (one.at[i] < 0x20 || one.at[i] == 0x7f)
				return fail(EX_NOUSER, "a control character in a recipient", NULL);
		if (!drop_add(&c->drop, one))
			return fail(EX_USAGE, "too many recipients", NULL);
	}
	if (c->drop.count == 0)
		return c->from_header ? fail(EX_DATAERR, "the header names no recipient", NULL)
				      : fail(EX_USAGE, "no recipient is given", NULL);
	return 0;
}

/* Reads standard input into `file`. 0, or an exit code. */
static int
take_message(struct call *c, int file, uint64_t *size)
{
	struct text from = TEXT_UP_TO(8192);
	struct stdin_message m = {
		.dot_is_text = c->dot_is_text,
		.recipients = c->from_header,
		.put = put_into_file,
		.me = &file,
	};
	int status = 0;

	who_am_i(c, &from);
	m.from = text_span(&from);
	if (c->mode != MODE_VERIFY && !stdin_message_read(&m, STDIN_FILENO))
		status = m.header_too_large ? fail(EX_DATAERR, "the header is too large", NULL)
					    : fail(EX_TEMPFAIL, "the message could not be kept",
						      strerror(errno));
	if (status == 0)
		status = take_recipients(c, &m);
	c->drop.sender = text_span(&c->sender);
	c->drop.eight_bit = m.eight_bit;
	c->drop.notify = span_str(c->notify);
	c->drop.ret = span_str(c->ret);
	c->drop.envid = text_span(&c->envid);
	*size = m.size;
	text_clear(&m.found);
	text_clear(&from);
	return status;
}

/* --- handing in --- */

static bool
send_message(int fd, int file, uint64_t size)
{
	static unsigned char piece[PIECE];
	uint64_t at = 0;

	while (at < size) {
		size_t wants = size - at < sizeof(piece) ? (size_t)(size - at) : sizeof(piece);
		ssize_t got = read_at(file, piece, wants, (off_t)at);

		if (got <= 0 || write_all(fd, piece, (size_t)got) < 0)
			return false;
		at += (uint64_t)got;
	}
	return true;
}

static void
hand_in(struct handin *h, int fd, int file)
{
	unsigned char piece[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (;;) {
		ssize_t got;

		if (h->out.len > 0 && write_all(fd, h->out.at, h->out.len) < 0) {
			handin_lost(h, strerror(errno));
			return;
		}
		text_drop(&h->out, h->out.len);
		if (h->over) {
			/* Its goodbye: whoever is left without hearing one logs it. */
			if (poll(&p, 1, GOODBYE_MILLISECONDS) > 0)
				(void)!read(fd, piece, sizeof(piece));
			return;
		}
		if (h->wants_message) {
			handin_message_sent(h);
			/* A server that refuses early answers instead of reading: hear it. */
			(void)!send_message(fd, file, h->size);
		}
		if (poll(&p, 1, WAIT_MILLISECONDS) == 0) {
			handin_lost(h, "the server does not answer");
			return;
		}
		got = read(fd, piece, sizeof(piece));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			handin_lost(h, "the server closed the connection");
			return;
		}
		handin_feed(h, span_of(piece, (size_t)got));
	}
}

/* What a refusal means to those who look at exit codes; the words go to stderr. */
static int
tell_refusals(const struct call *c, const struct handin *h)
{
	int status = EX_UNAVAILABLE;

	for (size_t i = 0; i < h->refusals; i++) {
		const struct handin_refusal *r = &h->refusal[i];
		struct span dsn = span_part(span_str(r->reason), 4, 5);

		if (r->recipient != SIZE_MAX)
			fprintf(stderr, "sendmail: %.*s: %s\n",
				SPAN_ARG(c->drop.recipient[r->recipient]), r->reason);
		else
			fprintf(stderr, "sendmail: %s\n", r->reason);
		if (r->recipient != SIZE_MAX && (r->code == 550 || r->code == 553 || r->code == 501))
			status = EX_NOUSER;
		else if (r->code == 552 || span_equal(dsn, SPAN("5.6.0")))
			status = EX_DATAERR;
		if (span_equal(dsn, SPAN("5.7.1")))
			status = EX_NOPERM;
	}
	return status;
}

/* --- the drop --- */

/* Names are of time and chance: nobody can guess one, or see it (the directory cannot be listed). */
static bool
name_of_drop(char name[64])
{
	unsigned char chance[16];
	struct timespec now;
	size_t n;

	if (getrandom(chance, sizeof(chance), 0) != sizeof(chance))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	n = (size_t)snprintf(name, 64, "%010llx%05lx", (unsigned long long)now.tv_sec,
		(unsigned long)now.tv_nsec / 1000);
	for (size_t i = 0; i < sizeof(chance); i++)
		snprintf(name + n + 2 * i, 3, "%02x", chance[i]);
	return true;
}

/* Gives the message its envelope, makes both durable, and only then a name. */
static int
drop_it(const struct call *c, int directory, int file)
{
	struct text envelope = TEXT_UP_TO(DROP_ENVELOPE_MOST + DROP_FOOT);
	char name[64], path[64];
	int status = EX_TEMPFAIL;
	bool put = drop_put(&c->drop, &envelope);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	if (!put)
		fail(status, "too many recipients", NULL);
	else if (lseek(file, 0, SEEK_END) < 0 || write_all(file, envelope.at, envelope.len) < 0 ||
		 fchmod(file, DROP_MODE) < 0 || fsync(file) < 0 || !name_of_drop(name) ||
		 linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW) < 0)
		fail(status, "the mail system is not running, and the message could not be kept for it",
			strerror(errno));
	else
		status = EX_OK;
	text_clear(&envelope);
	/* The name too: the directory cannot be opened to be synchronised, but on file systems with a
	 * journal the file's own fsync takes along the transaction that named it. */
	if (status == EX_OK && fsync(file) < 0)
		fail(EX_OK, "the name of the message may not last", strerror(errno));
	return status;
}

static int
deliver(struct call *c)
{
	int directory = open_drop(c), status, fd;
	/* Unnamed: whatever ends us takes it away. Where there is no drop, memory must do. */
	int file = directory < 0 ? -1
		: openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	bool dropable = file >= 0;
	struct handin h;
	uint64_t size;

	if (!dropable && (file = memfd_create("message", MFD_CLOEXEC)) < 0)
		return fail(EX_TEMPFAIL, "no place for the message", strerror(errno));
	if ((status = take_message(c, file, &size)) != 0)
		return status;
	handin_init(&h, &c->drop, size, c->mode == MODE_VERIFY ? HANDIN_VERIFY : HANDIN_ALL);
	if ((fd = connect_local(c)) >= 0)
		hand_in(&h, fd, file);
	else
		handin_lost(&h, "the mail system is not running");
	if (h.outcome == DONE)
		status = EX_OK;
	else if (h.outcome == NEVER)
		status = tell_refusals(c, &h);
	else if (dropable && c->mode != MODE_VERIFY)
		status = drop_it(c, directory, file);
	else
		status = fail(EX_TEMPFAIL, h.refusals ? h.refusal[0].reason : "later", NULL);
	handin_clear(&h);
	return status;
}

/* 0, 1 and 2 must be there, or the first files that we open would take their places. */
static bool
fill_descriptors(void)
{
	bool had_input = fcntl(STDIN_FILENO, F_GETFD) >= 0;
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return had_input;
}

int
main(int argc, char **argv)
{
	struct call c = {
		.sender = TEXT_UP_TO(MOST_ADDRESS),
		.full_name = TEXT_UP_TO(FULL_NAME_MOST),
		.envid = TEXT_UP_TO(100),   /* RFC 3461 4.4 */
	};
	bool has_input = fill_descriptors();
	int status;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	umask(077);
	if ((status = take_command_line(&c, argc, argv)) != 0)
		return status;
	switch (c.mode) {
	case MODE_QUEUE:
		return run_valija(&c, "mailq", NULL, NULL);
	case MODE_ALIASES:
		/* Other packages run it, whether there are aliases or not (Debian Policy 11.6). */
		return run_valija(&c, "map", "aliases", "--if-there");
	case MODE_FLUSH:
		/* From cron and ifup: what they hear, they mail. */
		return run_valija(&c, "queue", "flush", "--quiet");
	case MODE_SMTP:
		return speak_smtp(&c);
	default:
		break;
	}
	if (!has_input && c.mode == MODE_DELIVER)
		return fail(EX_NOINPUT, "standard input is closed", NULL);
	return deliver(&c);
}
