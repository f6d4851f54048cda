/* cmd-copy - COPY and MOVE (RFC 3501 6.4.7, RFC 6851), with COPYUID (RFC 4315); see copy.h. */
#include "imapd/copy.h"

#include "common/beneath.h"
#include "common/journal.h"
#include "common/log.h"
#include "imapd/acl.h"
#include "imapd/crossing.h"
#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/notify.h"
#include "imapd/placing.h"
#include "imapd/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COPY_PIECE (64 * 1024)
#define FRESH_SECONDS 600 /* since its name was made: longer than a ledger needs */

struct copy {
	struct mailbox *from, *to;
	unsigned int rights;            /* of the session, in `to` (acl.h) */
	bool from_is_ours, moves, all;
	struct message_set messages;
	uint32_t next_uid;              /* of copy_all; where move_step goes on */
	int error;                      /* of move_step */
	uint64_t bytes;                 /* of what was copied, where that is counted */
	struct number_ranges uids;      /* what was copied, in order */
	struct text names;              /* the links made, each with its NUL: for undoing */
	struct change change;
	bool committed;
};

static void
undo(struct copy *copy)
{
	for (size_t at = 0; at < copy->names.len;) {
		const char *name = (const char *)copy->names.at + at;

		if (unlinkat(copy->to->cur, name, 0) < 0)
			log_warning(0, "copy-not-undone", KEY_STR("name", name), KEY_ERRNO);
		at += strlen(name) + 1;
	}
	copy->to->check_cur = true;
}

static void
copy_release(struct command *c)
{
	struct copy *copy = c->state;

	if (!copy->committed)
		undo(copy);
	copy->to->held--;
	placing_end(copy->to);
	text_clear(&copy->names);
	change_clear(&copy->change);
	number_ranges_clear(&copy->uids);
	if (copy->from_is_ours)
		mailbox_release(&copy->from);
	mailbox_release(&copy->to);
}

/* Where there is no second link (another file system, too many links): the bytes are copied. */
static int
copy_bytes(struct copy *copy, uint32_t uid, const char *name)
{
	struct store *store = copy->to->store;
	struct maildir_name tmp = { "" };
	unsigned char piece[COPY_PIECE];
	struct timespec times[2];
	int in = mailbox_open_file(copy->from, uid), out = -1, result = -1, saved;
	struct stat st;
	off_t at = 0;
	ssize_t got;

	if (in < 0)
		return -1;
	out = maildir_file(store->maildir, &tmp);
	if (out < 0 || fstat(in, &st) < 0)
		goto end;
	while ((got = read_at(in, piece, sizeof(piece), at)) > 0) {
		if (write_all(out, piece, (size_t)got) < 0)
			goto end;
		at += got;
	}
	times[0] = times[1] = st.st_mtim;
	if (got < 0 || futimens(out, times) < 0 ||
		(store->needs_name && store_name_aside(store, out, (uint64_t)at, &tmp) < 0) || fsync(out) < 0 ||
		maildir_link(out, store->maildir, &tmp, copy->to->directory, "cur", name) < 0)
		goto end;
	result = 0;
end:
	saved = errno;
	if (out >= 0 && tmp.str[0] != '\0')
		(void)unlinkat(store->tmp, tmp.str, 0);
	if (out >= 0)
		close(out);
	close(in);
	errno = saved;
	return result;
}

/* The name of the copy: fresh, with the sizes that are known. */
static bool
target_name(struct copy *copy, const struct index_record *r, char base[MAILDIR_MOST_NAME + 1],
	char name[MAILDIR_MOST_NAME + 1])
{
	struct maildir_name fresh = maildir_name_new(copy->to->store->host, r->size, r->vsize);
	char *cut;

	if (r->size == UNKNOWN_SIZE)
		cut = strstr(fresh.str, ",S=");
	else if (r->vsize == UNKNOWN_SIZE)
		cut = strstr(fresh.str, ",W=");
	else
		cut = NULL;
	if (cut != NULL)
		*cut = '\0';
	memcpy(base, fresh.str, sizeof(fresh.str));
	return mail_name_join(span_str(base), index_wanted_letters(r), 0, name,
		MAILDIR_MOST_NAME + 1);
}

/* The keywords of `r` as the target's numbers; those that it has no room for are left behind. */
static struct keyword_bits
target_keywords(struct copy *copy, const struct index_record *r)
{
	const struct keywords *from = &copy->from->index.keywords;
	struct keyword_bits bits = { { 0 } };
	bool any = r->keywords != 0 && (copy->rights & RIGHT_WRITE);

	for (unsigned int i = 0; any && i < from->count; i++) {
		int number;

		if (!keywords_has(from, r->keywords, i))
			continue;
		number = index_keyword(&copy->to->index, keywords_name(from, i), true);
		if (number != NO_KEYWORD)
			bits.word[number / 64] |= (uint64_t)1 << (number % 64);
	}
	return bits;
}

/* What was delivered just now may be durable in the ledger of its local alone (valija-local(8)), which knows it by the name
 * that it has: it is at the disk before it gets another. 0 or -1. */
static int
see_written(struct copy *copy, uint32_t uid, const char *name)
{
	int64_t age = (int64_t)time(NULL) - strtoll(name, NULL, 10);
	int fd, result, error;

	if (age > FRESH_SECONDS || (fd = mailbox_open_file(copy->from, uid)) < 0)
		return 0;
	result = journal_written(fd);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static int
copy_message(struct copy *copy, uint32_t uid)
{
	char old[MAILDIR_MOST_NAME + 1], base[MAILDIR_MOST_NAME + 1], name[MAILDIR_MOST_NAME + 1];
	size_t at = index_find(&copy->from->index, uid);
	struct index_record r;
	struct keyword_bits keywords;
	int error = 0, fd;

	errno = ENOENT;
	if (at == NO_RECORD)
		return -1;
	r = copy->from->index.records[at];
	r.flags &= rights_flags(copy->rights);     /* RFC 4314 section 4: the others are left behind */
	if (!target_name(copy, &r, base, name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (!mailbox_file_name(copy->from, &r, old))
		error = errno;
	else if (see_written(copy, uid, old) < 0)
		return -1;
	else if (linkat(copy->from->cur, old, copy->to->cur, name, 0) < 0)
		error = errno;
	if (error == ENOENT) {      /* renamed by somebody: looked for, then tried once more */
		fd = mailbox_open_file(copy->from, uid);
		if (fd < 0)
			return -1;
		close(fd);
		at = index_find(&copy->from->index, uid);
		error = mailbox_file_name(copy->from, &copy->from->index.records[at], old) &&
			linkat(copy->from->cur, old, copy->to->cur, name, 0) == 0 ? 0 : errno;
	}
	if (error != 0 && copy_bytes(copy, uid, name) < 0)
		return -1;
	text_add(&copy->names, span_of(name, strlen(name) + 1));
	keywords = target_keywords(copy, &r);
	r.letters = index_wanted_letters(&r);
	r.lower = 0;
	r.saved = time(NULL);      /* its email id stays (RFC 8474 section 5.1) */
	change_add(&copy->change, &r, span_str(base), &keywords);
	number_ranges_add(&copy->uids, uid);
	if (quota_is_set(&copy->to->store->quota))
		copy->bytes += mailbox_file_size(copy->from, &r);
	return 0;
}

/* Would the copies of these messages fit? */
static int
has_room(const struct view *v, struct message_set messages)
{
	const struct mailbox *m = v->mailbox;
	uint64_t bytes = 0, count = 0;
	size_t number, at;

	if (!quota_is_set(&m->store->quota))
		return 0;
	while ((number = messages_next(&messages, v)) != 0) {
		at = index_find(&m->index, view_uid(v, number));
		if (at == NO_RECORD)
			continue;
		bytes += mailbox_file_size(m, &m->index.records[at]);
		count++;
	}
	return store_has_room(m->store, bytes, count);
}

static uint32_t
next_uid(struct copy *copy, const struct view *v)
{
	size_t number;

	if (copy->all) {
		size_t at = index_from(&copy->from->index, copy->next_uid);

		if (at == copy->from->index.count)
			return 0;
		copy->next_uid = copy->from->index.records[at].uid + 1;
		return copy->next_uid - 1;
	}
	number = messages_next(&copy->messages, v);
	return number == 0 ? 0 : view_uid(v, number);
}

static void
copyuid_write(const struct copy *copy, struct text *out)
{
	text_add(out, SPAN("COPYUID "));
	text_add_number(out, copy->to->index.uidvalidity);
	text_add_byte(out, ' ');
	number_ranges_write(&copy->uids, out);
	text_add_byte(out, ' ');
	text_add_number(out, copy->change.first_uid);
	if (copy->change.adds > 1) {
		text_add_byte(out, ':');
		text_add_number(out, (uint64_t)copy->change.first_uid + copy->change.adds - 1);
	}
}

static enum progress
copy_answer(struct command *c)
{
	struct copy *copy = c->state;
	struct text code = TEXT_UP_TO(MOST_OUT / 2);
	bool any = copy->change.adds > 0;

	account_housekeep(c->session->account);
	if (copy->all)
		return command_ok(c, NULL, "RENAME completed.");
	/* RFC 4315 section 3: not to who may put mail there, and not look at it. */
	if (any && (copy->rights & RIGHT_READ))
		copyuid_write(copy, &code);
	if (copy->moves && code.len > 0) {      /* RFC 6851 4.3: before the EXPUNGEs */
		text_add(command_out(c), SPAN("* OK ["));
		text_add(command_out(c), text_span(&code));
		text_add(command_out(c), SPAN("] Moved.\r\n"));
	}
	c->tells_highest = copy->moves && any && c->session->view != NULL &&
		c->session->view->vanishes;
	(void)command_ok(c, code.len > 0 && !copy->moves && !code.failed ? text_str(&code) : NULL,
		copy->moves ? "MOVE completed." : "COPY completed.");
	text_clear(&code);
	return COMMAND_DONE;
}

/* The old names go, a slice at a time. */
static enum progress
move_step(struct command *c)
{
	struct copy *copy = c->state;

	if (!mailbox_expunge_some(copy->from, &copy->uids, &copy->next_uid, EXPUNGED_AT_A_TIME,
		&copy->error)) {
		command_progress_below(c, &copy->uids, copy->next_uid, copy->change.adds);
		return COMMAND_AGAIN;
	}
	errno = copy->error;
	return copy->error != 0 ? command_failed(c, "move") : copy_answer(c);
}

/* All files have their second name: now it counts. */
static enum progress
copy_finish(struct command *c)
{
	struct copy *copy = c->state;
	uint32_t adds = copy->change.adds;

	copy->to->cur_unsynced = true;
	if (adds > 0 && session_commit_own(c->session, copy->to, &copy->change) < 0)
		return command_failed(c, "copy");
	copy->committed = true;
	store_used(copy->to->store, (int64_t)copy->bytes, adds);
	copy->change.adds = adds;
	if (!copy->moves || adds == 0)
		return copy_answer(c);
	/* The new names and records are durable before the old ones go: a crash doubles, never
	 * loses. */
	if (mailbox_durable(copy->to) < 0)
		return command_failed(c, "move");
	copy->next_uid = 0;
	c->must_end = true;
	c->step = move_step;
	return move_step(c);
}

static uint64_t
copy_size(const struct copy *copy, const struct view *v)
{
	return copy->all ? copy->from->index.count : messages_about(&copy->messages, v);
}

static enum progress
copy_step(struct command *c)
{
	struct copy *copy = c->state;
	uint32_t uid;

	if (copy->to->gone)
		return command_no(c, "TRYCREATE", "The target is no more.");
	while ((uid = next_uid(copy, c->session->view)) != 0) {
		if (copy_message(copy, uid) < 0) {
			if (errno != ENOENT || index_find(&copy->from->index, uid) != NO_RECORD)
				return command_failed(c, "copy");
			if (!copy->messages.uid && !copy->all)
				return command_no(c, "EXPUNGEISSUED",
					"Some of the messages are no more; none was copied.");
		}
		if (session_slice_over(c->session)) {
			/* What is moved has to be removed, too. */
			command_progress(c, copy->change.adds,
				copy_size(copy, c->session->view) * (copy->moves ? 2 : 1));
			return COMMAND_AGAIN;
		}
	}
	return copy_finish(c);
}

static struct copy *
copy_begin(struct command *c, struct mailbox *from, struct mailbox *to)
{
	struct copy *copy = arena_alloc(&c->arena, sizeof(*copy));

	copy->from = from;
	copy->to = to;
	copy->rights = session_rights(c->session, to->folder);
	copy->names = TEXT_UP_TO(SIZE_MAX / 2);
	change_init(&copy->change);
	to->held++;       /* files without records must not be taken for new mail */
	c->state = copy;
	c->step = copy_step;
	c->release = copy_release;
	return copy;
}

enum progress
copy_all_begin(struct command *c, struct mailbox *from, struct mailbox *to)
{
	struct copy *copy = copy_begin(c, from, to);

	copy->from_is_ours = copy->all = copy->moves = true;
	return COMMAND_AGAIN;
}

static enum progress
copy_or_move(struct command *c, bool moves)
{
	struct session *s = c->session;
	char folder[MOST_FOLDER_NAME + 1];
	struct message_set messages;
	enum progress progress;
	struct mailbox *to;
	struct copy *copy;

	if (crossing_takes(c, moves, &progress))
		return progress;
	if (!command_take_messages(c, &messages) || !command_take_folder(c, folder) ||
		!command_no_more(c))
		return COMMAND_DONE;
	if (moves && s->view->read_only)
		return command_no(c, "READ-ONLY", "The mailbox is selected read-only.");
	if (moves && (s->view->rights & (RIGHT_TRASH | RIGHT_EXPUNGE)) !=
		(RIGHT_TRASH | RIGHT_EXPUNGE))
		return command_no(c, "NOPERM", "You may not take messages away here.");
	if (!command_may(c, folder, RIGHT_INSERT))
		return COMMAND_DONE;
	/* What is moved takes no more room where it goes. */
	if (!moves && has_room(s->view, messages) < 0)
		return command_failed(c, "copy");
	to = mailbox_open(&s->account->store, folder);
	if (to == NULL && errno == ENOENT)
		return command_no(c, "TRYCREATE", "There is no such mailbox.");
	if (to == NULL)
		return command_failed(c, "copy");
	copy = copy_begin(c, s->view->mailbox, to);
	copy->messages = messages;
	copy->moves = moves;
	return copy_step(c);
}

enum progress
cmd_copy(struct command *c)
{
	return copy_or_move(c, false);
}

enum progress
cmd_move(struct command *c)
{
	return copy_or_move(c, true);
}
