/* append - see append.h. */
#include "imapd/append.h"

#include "common/beneath.h"
#include "imapd/acl.h"
#include "imapd/flags.h"
#include "imapd/folder.h"
#include "imapd/notify.h"
#include "imapd/placing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Of all sessions of this process. */
static unsigned int open_files;

void
arrival_close(struct arrival *a)
{
	if (a->fd < 0)
		return;
	close(a->fd);
	a->fd = -1;
	open_files--;
}

void
append_release(struct command *c)
{
	struct append *append = c->state;

	catenate_clear(append);
	text_clear(&append->url);
	for (struct arrival *a = append->first; a != NULL; a = a->next) {
		arrival_close(a);
		if (a->tmp.str[0] != '\0')
			(void)unlinkat(append->to->store->tmp, a->tmp.str, 0);
		if (a->placed && !append->committed)
			(void)unlinkat(append->to->cur, a->name, 0);
	}
	change_clear(&append->change);
	append->to->held -= append->holds;
	placing_end(append->to);
	mailbox_release(&append->to);
}

/* --- while they come --- */

/* A name in tmp/, where it has none. 0, or -1 with errno. */
static int
name_aside(const struct append *append, struct arrival *a)
{
	return store_name_aside(append->to->store, a->fd, a->size, &a->tmp);
}

/* A name in tmp/ instead of a descriptor. */
static void
park(struct append *append, struct arrival *a)
{
	if (a->fd < 0)
		return;
	if (name_aside(append, a) < 0)
		a->error = errno;
	else
		arrival_close(a);
}

int
arrival_open(const struct append *append, struct arrival *a)
{
	a->fd = maildir_file(append->to->store->maildir, &a->tmp);
	if (a->fd < 0)
		return -1;
	open_files++;
	return 0;
}

int
append_begin(struct append *append, struct arrival *a)
{
	if (arrival_open(append, a) < 0)
		return -1;
	append->count++;
	*(append->last == NULL ? &append->first : &append->last->next) = a;
	append->last = a;
	return 0;
}

void
arrival_write(struct arrival *a, struct span bytes)
{
	const unsigned char *at = bytes.at, *end = bytes.at + bytes.len;

	a->size += bytes.len;
	if (a->error != 0 || bytes.len == 0)
		return;
	a->has_nul |= memchr(bytes.at, '\0', bytes.len) != NULL;
	while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		a->bare += (at == bytes.at ? a->last : at[-1]) != '\r';
		if (++at == end)
			break;
	}
	a->last = bytes.at[bytes.len - 1];
	if (write_all(a->fd, bytes.at, bytes.len) < 0)
		a->error = errno;
}

void
append_octets(struct append *append, struct span bytes)
{
	arrival_write(append->last, bytes);
}

/* A file that is written once more when all have come. */
static bool
is_raw(const struct arrival *a)
{
	return a->any_url || a->eight;
}

/* The file's time is INTERNALDATE to every Maildir program. */
static void
set_time(struct arrival *a)
{
	struct timespec times[2] = { { a->date, 0 }, { a->date, 0 } };

	if (a->error == 0 && futimens(a->fd, times) < 0)
		a->error = errno;
}

void
append_end(struct append *append)
{
	struct arrival *a = append->last;

	if (a == NULL || a->fd < 0)
		return;
	/* The disk may begin to write what came: when it has to be durable most of it is. The time is set
	 * now, because an inode that changes between two fsyncs makes the file system commit once more for
	 * each message. */
	if (!is_raw(a)) {
		set_time(a);
		(void)sync_file_range(a->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	if (open_files >= MOST_OPEN_FILES)
		park(append, a);
}

bool
append_reopen(struct append *append, struct arrival *a)
{
	if (a->fd >= 0)
		return true;
	a->fd = open_in(append->to->store->tmp, a->tmp.str, O_RDONLY, 0);
	if (a->fd < 0)
		return false;
	open_files++;
	return true;
}

/* --- when all are there --- */

/* So that it may get its name. */
static int
make_durable(struct append *append, struct arrival *a)
{
	const struct store *store = append->to->store;
	bool parked = a->fd < 0;

	if (!append_reopen(append, a))
		return -1;
	if (is_raw(a))
		set_time(a);
	if (store->needs_name && name_aside(append, a) < 0)
		return -1;
	/* Where a journal keeps the order, mailbox_durable is for the message and its name. */
	if ((store->ordered ? journal_written : fsync)(a->fd) < 0)
		return -1;
	append->relied |= store->ordered;
	a->durable = true;
	if (parked)
		park(append, a);
	return a->error == 0 ? 0 : -1;
}

/* Remembers which keywords the message brings. False: with those of the ones before it they are too many, and none was
 * made. */
static bool
reckon_keywords(struct command *c, struct append *append, const struct arrival *a)
{
	const struct keywords *k = &append->to->index.keywords;

	for (size_t i = 0; i < a->flags.keyword_count; i++) {
		struct span name = a->flags.keywords[i];
		size_t at = 0;

		if (keywords_find(k, name) != NO_KEYWORD)
			continue;
		while (at < append->keyword_count && !span_equal_nocase(append->keywords[at], name))
			at++;
		if (at < append->keyword_count)
			continue;
		if (k->count + append->keyword_count >= MOST_KEYWORDS)
			return false;
		if (append->keywords == NULL)
			append->keywords = arena_alloc(&c->arena, MOST_KEYWORDS * sizeof(*append->keywords));
		append->keywords[append->keyword_count++] = name;
	}
	return true;
}

/* The keywords as numbers of the target. */
static bool
append_keywords(struct append *append, const struct arrival *a, struct keyword_bits *bits)
{
	memset(bits, 0, sizeof(*bits));
	if (!keywords_fit(&append->to->index.keywords, a->flags.keywords, a->flags.keyword_count))
		return false;
	for (size_t i = 0; i < a->flags.keyword_count; i++) {
		int number = index_keyword(&append->to->index, a->flags.keywords[i], true);

		if (number == NO_KEYWORD)
			return false;
		bits->word[number / 64] |= (uint64_t)1 << (number % 64);
	}
	return true;
}

static bool
name_one(const struct append *append, struct arrival *a)
{
	a->base = maildir_name_new(append->to->store->host, a->size, a->size + a->bare);
	return mail_name_join(span_str(a->base.str), letters_of_flags(a->flags.system), 0, a->name, sizeof(a->name));
}

/* The names that they will have, written down where there are several (placing.h). */
static int
name_all(struct append *append)
{
	struct text names = TEXT_UP_TO(MOST_APPENDED * sizeof(append->first->name));
	int result = 0, error;

	for (struct arrival *a = append->first; a != NULL; a = a->next) {
		if (!name_one(append, a)) {
			text_clear(&names);
			errno = ENAMETOOLONG;
			return -1;
		}
		text_add(&names, span_of(a->name, strlen(a->name) + 1));
	}
	if (append->count > 1)
		result = placing_begin(append->to, text_span(&names));
	error = errno;
	text_clear(&names);
	errno = error;
	return result;
}

/* Of such a file: its name in cur/, and its record among the changes. */
static int
place(struct append *append, struct arrival *a)
{
	struct store *store = append->to->store;
	struct index_record r = { .size = a->size, .vsize = a->size + a->bare,
		.date = a->date, .saved = time(NULL), .flags = a->flags.system,
		.letters = letters_of_flags(a->flags.system) };
	struct keyword_bits keywords;

	errno = E2BIG;
	if (!append_keywords(append, a, &keywords))
		return -1;
	if (a->fd < 0 || store->needs_name) {
		if (renameat2(store->tmp, a->tmp.str, append->to->cur, a->name,
			RENAME_NOREPLACE) < 0)
			return -1;
		a->tmp.str[0] = '\0';
	} else if (maildir_link_into(a->fd, store->maildir, &a->tmp, append->to->cur, a->name) <
		0) {
		return -1;      /* a name in tmp/, where it needs one, goes with append_release */
	}
	a->placed = true;
	arrival_close(a);
	change_add(&append->change, &r, span_str(a->base.str), &keywords);
	return 0;
}

int
append_has_room(struct command *c, const struct append *append, uint64_t octets)
{
	const struct mailbox *from = append->replaced == 0 ? NULL : c->session->view->mailbox;
	size_t at = from == NULL ? NO_RECORD : index_find(&from->index, append->replaced);
	uint64_t gone = at == NO_RECORD ? 0 : mailbox_file_size(from, &from->index.records[at]);

	return store_has_room(append->to->store, octets > gone ? octets - gone : 0,
		at == NO_RECORD ? append->count : 0);
}

/* CATENATE takes octets of messages that are there: how many is known last. */
static int
all_have_room(struct command *c, const struct append *append)
{
	uint64_t octets = 0;

	for (const struct arrival *a = append->first; a != NULL; a = a->next)
		octets += a->size;
	return append_has_room(c, append, octets);
}

static void
write_uids(const struct append *append, uint32_t count, struct text *out)
{
	text_printf(out, "APPENDUID %" PRIu32 " %" PRIu32, append->to->index.uidvalidity,
		append->change.first_uid);
	if (count > 1)
		text_printf(out, ":%" PRIu32, append->change.first_uid + count - 1);
}

/* The replaced message goes; when it cannot, the one that came goes again. */
static enum progress
replace(struct command *c, struct append *append)
{
	struct view *v = c->session->view;
	struct number_ranges old = { NULL, 0, 0 }, came = { NULL, 0, 0 };
	int result, error;

	number_ranges_add(&old, append->replaced);
	number_ranges_add(&came, append->change.first_uid);
	result = mailbox_durable(append->to);      /* a crash doubles, never loses */
	if (result == 0)
		result = mailbox_expunge(v->mailbox, &old);
	error = errno;
	if (result < 0)
		(void)mailbox_expunge(append->to, &came);
	number_ranges_clear(&old);
	number_ranges_clear(&came);
	errno = error;
	if (result < 0)
		return command_failed(c, "replace");
	/* RFC 8508 4.3: before the EXPUNGE; 4.5: as UID EXPUNGE. RFC 4315 section 3: not to who may not look there. */
	if (append->rights & RIGHT_READ) {
		text_add(command_out(c), SPAN("* OK ["));
		write_uids(append, 1, command_out(c));
		text_add(command_out(c), SPAN("] Replacement message ready.\r\n"));
	}
	c->tells_highest = v->vanishes;
	return command_ok(c, NULL, "REPLACE completed.");
}

static enum progress
append_finish(struct command *c)
{
	struct append *append = c->state;
	uint32_t count = append->change.adds;
	struct text code = TEXT_UP_TO(100);

	if (append->replaced != 0 && index_find(&c->session->view->mailbox->index,
		append->replaced) == NO_RECORD)
		return command_no(c, "EXPUNGEISSUED", "The message to be replaced is no more.");
	append->to->cur_unsynced = true;
	/* The journal is not relied on any more (mailbox_durable of another mailbox saw why), but some of these messages were. */
	if (append->relied && !append->to->store->ordered && syncfs(append->to->cur) < 0)
		return command_failed(c, "append");
	if (session_commit_own(c->session, append->to, &append->change) < 0)
		return command_failed(c, "append");
	append->committed = true;
	for (const struct arrival *a = append->first; a != NULL; a = a->next)
		store_used(append->to->store, (int64_t)a->size, 1);
	if (append->replaced != 0)
		return replace(c, append);
	if (append->finished != NULL)
		return append->finished(c);
	/* RFC 4315 section 3: not to who may put mail there, and not look at it. */
	if (append->rights & RIGHT_READ)
		write_uids(append, count, &code);
	session_tell_name(c->session, "", append->to->folder, c->said, false, command_out(c));   /* RFC 9051 6.3.12 */
	(void)command_ok(c, code.len > 0 ? text_str(&code) : NULL, "APPEND completed.");
	text_clear(&code);
	return COMMAND_DONE;
}

static enum progress
refuse_keywords(struct command *c)
{
	return command_no(c, "LIMIT", "The mailbox has as many keywords as it can.");
}

/* Makes one file of what came, durable. COMMAND_WAITS: it is. */
static enum progress
complete(struct command *c, struct append *append, struct arrival *a)
{
	if (a->any_url) {
		enum progress joined = catenate_some(c, append, a);

		if (joined != COMMAND_WAITS)
			return joined;
	}
	if (a->eight && !a->mended && (a->has_nul || a->bare > 0) && a->error == 0 &&
		arrival_mend_binary(append, a) < 0)
		return command_failed(c, "append");
	if (a->has_nul)     /* CHAR8 is 1 to 255 (RFC 3501 section 9); RFC 3516 4.4 */
		return command_no(c, a->eight ? "UNKNOWN-CTE" : "CANNOT", a->eight ?
			"NUL outside of a part with Content-Transfer-Encoding: binary." :
			"A message with NUL cannot be appended.");
	if (a->size == 0 && !append->empty_too)
		return command_no(c, "CANNOT", "A message has at least one byte.");
	if (a->error != 0) {
		errno = a->error;
		return command_failed(c, "append");
	}
	if (!a->durable && make_durable(append, a) < 0)
		return command_failed(c, "append");
	return COMMAND_WAITS;
}

/* After a slice: durable, or named, are those before `a`. */
static enum progress
again(struct command *c, const struct append *append, const struct arrival *a)
{
	uint64_t done = append->at == NULL ? append->count : 0;

	for (const struct arrival *before = append->first; before != a; before = before->next)
		done++;
	command_progress(c, done, 2 * (uint64_t)append->count);
	return COMMAND_AGAIN;
}

/* First all are made durable, then all get their names. */
static enum progress
append_step(struct command *c)
{
	struct append *append = c->state;

	if (append->to->gone)
		return command_no(c, "TRYCREATE", "The mailbox is no more.");
	for (; append->at != NULL; append->at = append->at->next) {
		enum progress p;

		if (append->count > 1 && session_slice_over(c->session))
			return again(c, append, append->at);
		p = complete(c, append, append->at);
		if (p != COMMAND_WAITS)
			return p;
		if (!reckon_keywords(c, append, append->at))
			return refuse_keywords(c);
	}
	if (append->placing == append->first && (all_have_room(c, append) < 0 || name_all(append) < 0))
		return command_failed(c, "append");
	for (; append->placing != NULL; append->placing = append->placing->next) {
		if (append->count > 1 && session_slice_over(c->session))
			return again(c, append, append->placing);
		if (place(append, append->placing) < 0)
			return errno == E2BIG ? refuse_keywords(c) : command_failed(c, "append");
	}
	return append_finish(c);
}

enum progress
append_all(struct command *c)
{
	struct append *append = c->state;

	append->to->held++;       /* files without records must not be taken for new mail */
	append->holds = true;
	append->at = append->placing = append->first;
	c->step = append_step;
	return append_step(c);
}
