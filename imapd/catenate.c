/* catenate - one file of the pieces that CATENATE names (RFC 4469), and of binary parts something that
 * can be kept (RFC 3516 4.4); see append.h. */
#include "imapd/append.h"

#include "common/beneath.h"
#include "imapd/folder.h"
#include "imapd/header.h"
#include "imapd/mutf7.h"
#include "imapd/section.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define JOIN_PIECE (64 * 1024)
#define BASE64_OCTETS 57         /* in a line of 76 characters (RFC 2045 6.8) */

/* The message that is being joined. */
struct joining {
	struct arrival to;           /* what is written */
	struct piece *at;
	off_t text_at;               /* in the file of what came as literals */
	uint64_t octets;             /* of a literal that are still to be copied */
	bool in_piece;
	struct mailbox *mailbox;
	struct mail mail;
	bool mail_open;
	struct text store;
	struct span rest;            /* of what the URL names */
};

static void
close_source(struct joining *j)
{
	if (j->mail_open)
		mail_close(&j->mail);
	j->mail_open = false;
	text_clear(&j->store);
	if (j->mailbox != NULL)
		mailbox_release(&j->mailbox);
}

/* A file that is not needed any more. */
static void
drop_file(struct append *append, struct arrival *a)
{
	arrival_close(a);
	if (a->tmp.str[0] != '\0')
		(void)unlinkat(append->to->store->tmp, a->tmp.str, 0);
	a->tmp.str[0] = '\0';
}

void
catenate_clear(struct append *append)
{
	if (append->joining == NULL)
		return;
	close_source(append->joining);
	drop_file(append, &append->joining->to);
	free(append->joining);
	append->joining = NULL;
}

/* A fresh file beside that of `a`. 0 or -1 with errno. */
static int
begin_file(struct append *append, struct arrival *to)
{
	*to = (struct arrival){ .fd = -1 };
	return arrival_open(append, to);
}

/* `a` is what `to` is from now on. */
static void
take_file(struct append *append, struct arrival *a, struct arrival *to)
{
	drop_file(append, a);
	a->fd = to->fd;              /* counted as it was */
	a->tmp = to->tmp;
	a->size = to->size;
	a->bare = to->bare;
	a->last = to->last;
	a->has_nul = to->has_nul;
	a->error = to->error;
	to->fd = -1;
	to->tmp.str[0] = '\0';
}

/* --- URLs --- */

/* RFC 4469 section 3: on this server, of this user. */
static bool
is_ours(const struct command *c, const struct imap_url *url)
{
	const struct account *a = c->session->account;

	return !url->absolute || (span_equal_nocase(url->host, a->daemon.settings->hostname) &&
		url->user.at != NULL && span_equal_nocase(url->user, span_str(a->user)));
}

/* The mailbox that the URL names: its name is UTF-8 (RFC 5092 section 3). */
static struct mailbox *
open_named(struct command *c, const struct imap_url *url)
{
	struct store *store = &c->session->account->store;
	struct text wire = TEXT_UP_TO(MOST_FOLDER_NAME);
	char folder[MOST_FOLDER_NAME + 1];
	struct mailbox *m = NULL;
	const char *why;

	errno = ENOENT;
	if (url->mailbox.at == NULL) {
		if (c->session->view != NULL)
			m = mailbox_open(store, c->session->view->mailbox->folder);
	} else if (mutf7_from_utf8(url->mailbox, &wire) &&
		folder_of_name(text_span(&wire), folder, &why)) {
		folder_normalize(store, folder);
		m = mailbox_open(store, folder);
	}
	text_clear(&wire);
	return m;
}

/* The octets of the section: as FETCH BODY would give them, NUL apart. */
static bool
find_section(struct joining *j, const struct imap_url *url)
{
	struct text words = TEXT_UP_TO(MOST_IMAP_URL + 2);
	struct section section;
	struct span in;
	const char *wrong;
	bool found = false;

	text_add_byte(&words, '[');
	text_add(&words, url->section);
	text_add_byte(&words, ']');
	in = text_span(&words);
	if (section_take(&in, &section, &wrong)) {
		found = in.len == 0 && section_find(&section, j->mail.bytes,
			section_needs_mime(&section) ? mail_mime(&j->mail) : NULL, &j->store,
			&j->rest);
		section_clear(&section);
	}
	text_clear(&words);
	return found;
}

/* Opens what a URL names. False: BADURL. */
static bool
open_url(struct command *c, struct joining *j, const struct imap_url *url)
{
	struct change learned;
	bool opened;

	if (!is_ours(c, url))
		return false;
	j->mailbox = open_named(c, url);
	if (j->mailbox == NULL || (url->uidvalidity != 0 &&
		url->uidvalidity != j->mailbox->index.uidvalidity) ||
		index_find(&j->mailbox->index, url->uid) == NO_RECORD)
		return false;
	change_init(&learned);
	opened = mail_open(j->mailbox, url->uid, &learned, &j->mail) == 0;
	learned.lazy = true;
	if (learned.records.len > 0)
		(void)mailbox_commit(j->mailbox, &learned);
	change_clear(&learned);
	if (!opened)
		return false;
	j->mail_open = true;
	j->rest = j->mail.bytes;
	if (url->section.at != NULL && !find_section(j, url))
		return false;
	if (url->partial)      /* RFC 5550 (URL-PARTIAL), as FETCH cuts */
		j->rest = span_part(j->rest, url->from, url->most == 0 ? SIZE_MAX : url->most);
	return true;
}

/* RFC 4469 4.1: with the URL itself, whose characters imap_url_parse or cmd-append.c looked at. */
static enum progress
bad_url(struct command *c, const struct imap_url *url)
{
	struct text code = TEXT_UP_TO(MOST_IMAP_URL + 10);

	text_add(&code, SPAN("BADURL "));
	text_add(&code, url->text);
	(void)command_no(c, text_str(&code), "The URL names no message or part that is here.");
	text_clear(&code);
	return COMMAND_DONE;
}

/* --- joining --- */

/* Some octets of the piece that is being copied. False: an error of the file. */
static bool
copy_some(struct append *append, struct arrival *a, struct joining *j)
{
	unsigned char bytes[JOIN_PIECE];
	struct span piece;
	ssize_t got;

	if (j->at->is_url) {
		piece = span_part(j->rest, 0, JOIN_PIECE);
		arrival_write(&j->to, piece);
		if (mail_is_damaged(&j->mail))
			return false;
		j->rest = span_part(j->rest, piece.len, SIZE_MAX);
		j->in_piece = j->rest.len > 0;
		return true;
	}
	if (!append_reopen(append, a))
		return false;
	got = read_at(a->fd, bytes, j->octets < JOIN_PIECE ? (size_t)j->octets : JOIN_PIECE,
		j->text_at);
	if (got <= 0 && j->octets > 0) {
		errno = got < 0 ? errno : EIO;
		return false;
	}
	arrival_write(&j->to, span_of(bytes, (size_t)got));
	j->text_at += got;
	j->octets -= (uint64_t)got;
	j->in_piece = j->octets > 0;
	return true;
}

/* Takes up the next piece. False: answered. */
static bool
begin_piece(struct command *c, struct joining *j)
{
	uint64_t most = c->session->account->daemon.settings->message_size_bytes;

	close_source(j);
	j->octets = j->at->octets;
	if (j->at->is_url) {
		if (!open_url(c, j, &j->at->url))
			return bad_url(c, &j->at->url), false;
		j->octets = j->rest.len;
	}
	if (j->octets > most || j->to.size > most - j->octets)
		return command_no(c, "TOOBIG", "The message is larger than this server takes."),
			false;
	j->in_piece = j->octets > 0;
	return true;
}

enum progress
catenate_some(struct command *c, struct append *append, struct arrival *a)
{
	struct joining *j = append->joining;

	if (a->error != 0)
		return COMMAND_WAITS;       /* the caller tells */
	if (j == NULL) {
		j = append->joining = must_alloc(sizeof(*j));
		j->to.fd = -1;
		if (begin_file(append, &j->to) < 0)
			return command_failed(c, "catenate");
		j->at = a->pieces;
		if (j->at != NULL && !begin_piece(c, j))
			return COMMAND_DONE;
	}
	while (j->at != NULL) {
		if (session_slice_over(c->session))
			return COMMAND_AGAIN;
		if (j->in_piece) {
			if (!copy_some(append, a, j))
				return command_failed(c, "catenate");
			continue;
		}
		j->at = j->at->next;
		if (j->at != NULL && !begin_piece(c, j))
			return COMMAND_DONE;
	}
	take_file(append, a, &j->to);
	a->any_url = false;
	catenate_clear(append);
	return COMMAND_WAITS;
}

/* --- binary --- */

static bool
is_binary(const struct part *part, struct span body)
{
	struct span encoding = part->encoding;

	if (part->kind != PART_LEAF || encoding.at == NULL)
		return false;
	while (encoding.len > 0 && span_has(SPAN(" \t\r\n"), encoding.at[encoding.len - 1]))
		encoding.len--;
	if (!span_equal_nocase(span_trim(encoding), SPAN("binary")))
		return false;
	if (span_has(body, '\0'))
		return true;
	for (size_t i = 0; i < body.len; i++) {      /* what a change of line ends would change */
		if (body.at[i] == '\n' && (i == 0 || body.at[i - 1] != '\r'))
			return true;
	}
	return false;
}

static void
write_base64(struct arrival *to, struct span body)
{
	struct text lines = TEXT_UP_TO(2 * JOIN_PIECE);

	while (body.len > 0) {
		text_add_base64(&lines, span_part(body, 0, BASE64_OCTETS));
		text_add(&lines, SPAN("\r\n"));
		body = span_part(body, BASE64_OCTETS, SIZE_MAX);
		if (lines.len < JOIN_PIECE && body.len > 0)
			continue;
		arrival_write(to, text_span(&lines));
		text_reset(&lines);
	}
	text_clear(&lines);
}

/* The message with each binary part, and what its header says of it, as base64. */
static void
write_mended(const struct mime *mime, struct arrival *to)
{
	struct span all = mime->message;
	size_t at = 0;

	for (uint32_t i = 0; i < mime->count; i++) {
		const struct part *part = &mime->parts[i];
		struct span body = mime_body(mime, part);
		size_t encoding;

		if (!is_binary(part, body))
			continue;
		encoding = (size_t)(part->encoding.at - all.at);
		arrival_write(to, span_part(all, at, encoding - at));
		arrival_write(to, encoding > 0 && all.at[encoding - 1] == ':' ? SPAN(" base64") :
			SPAN("base64"));
		at = encoding + part->encoding.len;
		arrival_write(to, span_part(all, at, part->body_at - at));
		write_base64(to, body);
		at = part->body_at + part->body_len;
	}
	arrival_write(to, span_part(all, at, SIZE_MAX));
}

int
arrival_mend_binary(struct append *append, struct arrival *a)
{
	struct arrival to;
	struct mime mime;
	void *map;

	a->mended = true;
	if (!append_reopen(append, a))
		return -1;
	map = mmap(NULL, (size_t)a->size, PROT_READ, MAP_PRIVATE, a->fd, 0);
	if (map == MAP_FAILED)
		return -1;
	if (begin_file(append, &to) < 0) {
		(void)munmap(map, (size_t)a->size);
		return -1;
	}
	mime_parse(span_of(map, (size_t)a->size), &mime);
	write_mended(&mime, &to);
	mime_clear(&mime);
	(void)munmap(map, (size_t)a->size);
	take_file(append, a, &to);
	return 0;
}
