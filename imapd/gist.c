/*
 * gist - works out of a message that was just delivered what its reader's clients will ask for first.
 *   inherits    channels to master, log, and the programs that put messages into Maildirs (local, local-home)
 *   keeps       nothing: _imapd, an empty root, no file at all, the common system calls
 *   may be lied to by    whoever wrote the message, and the owner of a cache about what he wants. May lie to: local,
 *               which writes down what it says, and, through that, the reader about what stands in messages; never
 *               more than one value of a response (gist_take)
 *   while away  nothing is worked out: the user's imap does it when a client asks
 *
 * ENVELOPE and the parts of a message are parsed here, and not in local, because local may write into every mailbox.
 * It holds one message at a time and remembers none.
 */
#include "imapd/gist-record.h"

#include "common/beneath.h"
#include "common/daemon.h"
#include "common/filled.h"

#include <assert.h>
#include <seccomp.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(CACHE_HEADER_BYTES == MOST_WISHES, "local asks with the header of a cache");
static_assert(sizeof(CACHE_NAME) == sizeof(FILLED_WISHES), "and of that file");

static const int syscalls[] = { -1 };

static const struct room gist_room = {
	.name = "gist",
	.chrooted = true,
	.files = false,
	.syscalls = syscalls,
	.most_descriptors = 256,     /* a channel to each that delivers, and one message */
};

struct gist {
	struct daemon daemon;
	uint64_t served;
};

/* Read, not mapped: its owner may cut it meanwhile. False: it is no file, or too large. */
static bool
read_message(int fd, struct text *message)
{
	struct stat st;
	ssize_t got;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > MOST_GIST_MESSAGE)
		return false;
	message->room = (size_t)st.st_size;
	message->at = must_alloc(message->room);
	got = read_at(fd, message->at, message->room, 0);
	message->len = got < 0 ? 0 : (size_t)got;
	return got == st.st_size;
}

static void
on_gist_ask(void *me, struct channel *from, uint64_t id, const struct msg_gist_ask *m, const int *fd)
{
	struct text message = TEXT_UP_TO(MOST_GIST_MESSAGE), made = TEXT_UP_TO(MOST_GIST);
	struct gist *g = me;
	bool good = read_message(fd[0], &message) && gist_make(m->wishes, text_span(&message), &made);

	close(fd[0]);
	g->served++;
	send_gist_told(from, id, &(struct msg_gist_told){ .gist = good ? text_span(&made) : SPAN("") }, NULL);
	text_clear(&message);
	text_clear(&made);
}

static const struct hearing placer_hearing = { .on_gist_ask = on_gist_ask };

static const struct peer_kind peers[] = {
	{ PROGRAM_LOCAL, &placer_hearing },       /* away: nobody asks */
	{ PROGRAM_LOCAL_HOME, &placer_hearing },
	{ 0, NULL },
};

static void
load(void *me, uint32_t *connections, uint64_t *served)
{
	struct gist *g = me;

	*connections = 0;
	*served = g->served;
}

static const struct daemon_kind gist_kind = {
	.program = PROGRAM_GIST,
	.room = &gist_room,
	.peers = peers,
	.load = load,
};

int
main(void)
{
	static struct gist g;

	return daemon_run(&g.daemon, &gist_kind, &g);
}
