/*
 * What a client may send after its login, through cutting, parsing and dispatching, on a real
 * (small) Maildir: a session as imap has it, without the event loop's waiting. The input is the
 * client's bytes; 0xFF 0x01 ends a segment, so that commands are also seen in pieces.
 */
#include "common/daemon.h"
#include "common/log.h"
#include "imapd/account.h"
#include "imapd/command.h"
#include "imapd/folder.h"

#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void
account_housekeep(struct account *a)
{
	(void)a;
}

static struct account account;
static int home;
/* In memory where that can be: every command would wait for the disk. */
static char in_memory[] = "/dev/shm/valija-fuzz-XXXXXX", on_disk[] = "/tmp/valija-fuzz-XXXXXX";
static const char *path;

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
make_place(void)
{
	static struct settings settings;
	static const char message[] =
		"From: a@b\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n"
		"--q\r\n\r\none\r\n--q\r\nContent-Type: text/html\r\n\r\ntwo\r\n--q--\r\n";
	int top, fd;

	home = open(".", O_RDONLY | O_DIRECTORY);
	log_threshold(LOG_LEVEL_ERROR);
	path = mkdtemp(in_memory);
	if (path == NULL)
		path = mkdtemp(on_disk);
	if (path == NULL || (top = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		abort();
	account.maildir = maildir_open(top, "Maildir", true);
	fd = openat(account.maildir, "new/1.a", O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, message, sizeof(message) - 1) < 0)
		abort();
	close(fd);
	fd = openat(account.maildir, "cur/2.b:2,FS", O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, "a: b\n\nc\n", 8) < 0)
		abort();
	close(fd);
	settings.message_size_bytes = 100000;
	settings.imap_idle_seconds = 1800;
	account.daemon.settings = &settings;
	account.daemon.base = event_base_new();
	if (maildir_make_standard(account.maildir) < 0 || store_init(&account.store,
		account.maildir, "fuzz") < 0)
		abort();
	atexit(remove_place);
}

static void
drain(struct session *s, int fd)
{
	static unsigned char buffer[65536];

	for (int i = 0; i < 1000 && !s->dead; i++) {
		if (store_durable(&account.store) < 0)
			abort();
		session_push_news(s);
		session_flush(s);
		while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
			;
		s->blocked = false;
		if (!s->wants_room && s->command == NULL && s->out.len == 0)
			break;
		s->wants_room = false;
		s->slice_end = INT64_MAX;
		session_go_on(s);
		if (s->command != NULL && s->command->wants != WANTS_NOTHING && s->out.len == 0)
			break;
	}
}

static void
feed(struct session *s, int fd, struct span bytes)
{
	while (bytes.len > 0 && !s->dead && !s->closing) {
		size_t room = imap_input_room(&s->input);
		struct span piece = span_part(bytes, 0, room);

		imap_input_add(&s->input, piece);
		bytes = span_part(bytes, piece.len, SIZE_MAX);
		s->slice_end = INT64_MAX;
		session_go_on(s);
		drain(s, fd);
		if (piece.len == 0)
			break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = span_of(data, size);
	struct session *s;
	int ends[2];

	if (account.daemon.base == NULL)
		make_place();
	if (size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		return 0;
	s = session_new(&account, 1, ends[0], SPAN("L"), SPAN_NONE, SPAN("127.0.0.1"),
		SPAN("LOGIN"));
	while (all.len > 0 && !s->dead) {
		size_t end = span_find(all, SPAN("\xff\x01"));

		feed(s, ends[1], span_part(all, 0, end));
		all = span_part(all, end + 2, SIZE_MAX);
	}
	session_free(&s);
	close(ends[1]);
	store_close_quiet(&account.store, MOST_QUIET_MAILBOXES);
	while (folder_remove_some(&account.store, 100))
		;
	/* Watching changes the working directory; the fuzzer has files to find in its own. */
	if (fchdir(home) < 0)
		abort();
	return 0;
}
