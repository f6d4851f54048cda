/* What the processes of other users say while a session copies and moves messages between their mailboxes and its own: on a
 * real (small) Maildir. The first byte says which command it is; the rest is what the other process says, 0xFF 0x01 ends a
 * segment. Whatever it says, all that the own mailbox gets is told of in one COPYUID, and nothing stays in tmp/. */
#include "common/daemon.h"
#include "common/log.h"
#include "imapd/account.h"
#include "imapd/command.h"
#include "imapd/folder.h"
#include "imapd/link.h"

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOVES 1u
#define BY_NUMBER 2u
#define FROM_OWN 4u
#define UID_ONLY 8u
#define GREETING "* PREAUTH x\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void
account_housekeep(struct account *a)
{
	(void)a;
}

static struct account account;
static int home, masters_end;
static char in_memory[] = "/dev/shm/valija-fuzz-XXXXXX", on_disk[] = "/tmp/valija-fuzz-XXXXXX";
static const char *path;

static void
must(bool good)
{
	if (!good)
		abort();
}

static int
remove_one(const char *name, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(name);
}

static void
remove_place(void)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
add_file(const char *name, const char *content)
{
	int fd = openat(account.maildir, name, O_WRONLY | O_CREAT, 0600);

	must(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
}

static void
make_place(void)
{
	static struct settings settings;
	static const struct hearing nothing;
	struct daemon *d = &account.daemon;
	int top, ends[2];

	signal(SIGPIPE, SIG_IGN);
	home = open(".", O_RDONLY | O_DIRECTORY);
	log_threshold(LOG_LEVEL_ERROR);
	path = mkdtemp(in_memory);
	if (path == NULL)
		path = mkdtemp(on_disk);
	must(path != NULL);
	top = open(path, O_RDONLY | O_DIRECTORY);
	account.maildir = maildir_open(top, "Maildir", true);
	must(account.maildir >= 0);
	add_file("new/1.a", "a: b\r\n\r\none\r\n");
	add_file("cur/2.b:2,FS", "a: b\n\ntwo\n");
	settings.message_size_bytes = 5000;
	settings.imap_idle_seconds = 1800;
	d->settings = &settings;
	d->base = event_base_new();
	must(channel_pair(ends) == 0);
	d->master = channel_new(d->base, ends[0], PROGRAM_IMAP, PROGRAM_MASTER, 0, &nothing, d);
	masters_end = ends[1];
	must(d->master != NULL && maildir_make_standard(account.maildir) == 0 &&
		store_init(&account.store, account.maildir, "fuzz") == 0);
	atexit(remove_place);
}

/* The way to the process that s->link asked master for: our end of it. */
static int
open_link(struct session *s)
{
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	link_opened(s, ends[0]);
	must(write(ends[1], GREETING, sizeof(GREETING) - 1) == sizeof(GREETING) - 1);
	return ends[1];
}

static void
read_away(int fd, struct text *said)
{
	unsigned char buffer[65536];
	ssize_t got;

	while ((got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
		if (said != NULL)
			text_add(said, span_of(buffer, (size_t)got));
	}
}

/* As far as it goes: what it says is heard in `said`. */
static void
run(struct session *s, int client, int other, struct text *said)
{
	for (int i = 0; i < 50 && !s->dead; i++) {
		s->slice_end = INT64_MAX;
		session_go_on(s);
		must(store_durable(&account.store) == 0);
		session_flush(s);
		read_away(client, said);
		if (other >= 0)
			read_away(other, NULL);
		read_away(masters_end, NULL);
		s->blocked = s->wants_room = false;
		(void)event_base_loop(account.daemon.base, EVLOOP_NONBLOCK);
	}
}

static void
say(struct session *s, const char *line)
{
	imap_input_add(&s->input, span_str(line));
}

static size_t
messages(uint32_t *uidnext)
{
	struct mailbox *m = mailbox_open(&account.store, "");
	size_t count;

	must(m != NULL);
	count = m->index.count;
	*uidnext = m->index.uidnext;
	mailbox_release(&m);
	return count;
}

/* What came goes again. */
static void
remove_from(uint32_t uid)
{
	struct mailbox *m = mailbox_open(&account.store, "");
	struct number_ranges came = { NULL, 0, 0 };

	must(m != NULL);
	number_ranges_add_range(&came, uid, m->index.uidnext);
	must(mailbox_expunge(m, &came) == 0);
	number_ranges_clear(&came);
	mailbox_release(&m);
}

static bool
tmp_is_empty(void)
{
	int fd = openat(account.maildir, "tmp", O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	size_t entries = 0;

	must(d != NULL);
	while (readdir(d) != NULL)
		entries++;
	closedir(d);
	return entries == 2;
}

/* COPY or MOVE, while the other process says `all`. */
static void
cross(struct session *s, int client, unsigned int how, struct span all, struct text *said)
{
	const char *verb = how & MOVES ? "MOVE" : "COPY";
	char line[100];
	int other = -1;

	if (how & UID_ONLY) {
		say(s, "e ENABLE UIDONLY\r\n");
		run(s, client, other, said);
	}
	if (how & FROM_OWN) {
		say(s, "s EXAMINE INBOX\r\n");
		how &= ~MOVES;
		verb = "COPY";
	} else {
		s->link = link_new(s, SPAN("ana@example.org"));
		other = open_link(s);
		s->selected = s->link;
		s->link = NULL;
	}
	run(s, client, other, said);
	(void)snprintf(line, sizeof(line), "a %s%s 1:* %s\r\n", how & BY_NUMBER ? "" : "UID ", verb,
		how & FROM_OWN ? "user/ana@example.org/Work" : "INBOX");
	say(s, line);
	run(s, client, other, said);
	if (s->link != NULL)
		other = open_link(s);
	while (other >= 0 && all.len > 0 && !s->dead) {
		size_t end = span_find(all, SPAN("\xff\x01"));
		struct span some = span_part(all, 0, end);

		run(s, client, other, said);
		if (some.len > 0 && send(other, some.at, some.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		all = span_part(all, end + 2, SIZE_MAX);
	}
	run(s, client, other, said);
	if (other >= 0)
		close(other);
	run(s, client, -1, said);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text said = TEXT_UP_TO(1000000);
	uint32_t uidnext, uidnext_after;
	struct session *s;
	size_t before, after;
	int ends[2];

	if (account.daemon.base == NULL)
		make_place();
	if (size < 2 || size > 16384 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		return 0;
	before = messages(&uidnext);
	s = session_new(&account, 1, ends[0], SPAN("L"), SPAN_NONE, SPAN("127.0.0.1"), SPAN("LOGIN"));
	cross(s, ends[1], data[0], span_of(data + 1, size - 1), &said);
	session_free(&s);
	close(ends[1]);
	after = messages(&uidnext_after);
	must(before <= after && tmp_is_empty());
	if (after > before) {
		must(span_find(text_span(&said), SPAN("OK [COPYUID ")) < said.len);
		remove_from(uidnext);
	}
	text_clear(&said);
	store_close_quiet(&account.store, MOST_QUIET_MAILBOXES);
	/* Watching changes the working directory; the fuzzer has files to find in its own. */
	must(fchdir(home) == 0);
	return 0;
}
