/* What another user's process answers (shared mailboxes): however the octets come cut, the same pieces are handed out,
 * none is empty, all lie within what came, and the end of the connection ends the hearing. Two bytes say where the
 * octets that follow are cut. */
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/link.h"

#define TAG SPAN("x")
#define GREETING "* PREAUTH x\r\n"
#define MOST_HEARD 8000     /* below what link.c hands out before the line has ended */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct account account;
static struct session session;
static int masters_end;

/* Of imap.c, which is not here. */
void
account_housekeep(struct account *a)
{
	(void)a;
}

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
on_turn(evutil_socket_t fd, short what, void *me)
{
	(void)fd;
	(void)what;
	(void)me;
}

static void
set_up(void)
{
	static const struct hearing nothing;
	struct daemon *d = &account.daemon;
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	must(channel_pair(ends) == 0);
	d->base = event_base_new();
	must(d->base != NULL);
	d->master = channel_new(d->base, ends[0], PROGRAM_IMAP, PROGRAM_MASTER, 0, &nothing, d);
	masters_end = ends[1];
	session.account = &account;
	session.turn = event_new(d->base, -1, 0, on_turn, NULL);
	must(d->master != NULL && session.turn != NULL);
}

/* All that is to be heard now: the pieces into `said`, with a mark before each that is not just octets. */
static enum link_piece
hear_all(struct link *l, size_t most, struct text *said)
{
	struct span piece;
	size_t pieces = 0;

	for (;;) {
		enum link_piece kind = link_hear(l, TAG, &piece);

		if (kind == LINK_NOTHING || kind == LINK_OVER)
			return kind;
		must(++pieces <= most && piece.len <= most);
		must(piece.len > 0 || kind == LINK_TAGGED);
		if (kind != LINK_PASS)
			text_add_byte(said, (unsigned char)kind);
		text_add(said, piece);
	}
}

static void
hear(struct span octets, size_t cut, struct text *said)
{
	enum link_piece last = LINK_NOTHING;
	struct link *l = link_new(&session, SPAN("ana@example.org"));
	unsigned char told[512];
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	session.link = l;
	link_opened(&session, ends[0]);
	must(write(ends[1], GREETING, sizeof(GREETING) - 1) == sizeof(GREETING) - 1);
	for (size_t at = 0; at < octets.len && last == LINK_NOTHING; at += cut) {
		struct span some = span_part(octets, at, cut);

		must(write(ends[1], some.at, some.len) == (ssize_t)some.len);
		last = hear_all(l, octets.len, said);
	}
	close(ends[1]);
	must(hear_all(l, octets.len, said) == LINK_OVER);
	session.link = NULL;
	link_free(&l);
	(void)event_base_loop(account.daemon.base, EVLOOP_NONBLOCK);
	while (recv(masters_end, told, sizeof(told), MSG_DONTWAIT) > 0) {
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text whole = TEXT_UP_TO(4 * MOST_HEARD), cut = TEXT_UP_TO(4 * MOST_HEARD);

	if (account.daemon.base == NULL)
		set_up();
	if (size < 2 || size > MOST_HEARD)
		return 0;
	hear(span_of(data + 2, size - 2), size, &whole);
	hear(span_of(data + 2, size - 2), 1 + (data[0] | (size_t)data[1] << 8) % size, &cut);
	must(whole.len == cut.len && (whole.len == 0 || memcmp(whole.at, cut.at, whole.len) == 0));
	text_clear(&whole);
	text_clear(&cut);
	return 0;
}
