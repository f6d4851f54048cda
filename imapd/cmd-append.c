/*
 * cmd-append - APPEND (RFC 3501 6.3.11; APPENDUID of RFC 4315), of several messages too
 * (MULTIAPPEND, RFC 3502).
 *
 * Each message goes from the socket straight into a file without a name in Maildir/tmp, byte for
 * byte. When the last byte of the last one is there and the command ends as it should, the files are
 * made durable, get their names in the folder's cur/, and their records, in one piece, in the index;
 * then they exist: all, or none. Of more than MOST_OPEN_FILES the files get names in Maildir/tmp
 * meanwhile.
 */
#include "imapd/command.h"

#include "common/beneath.h"
#include "common/log.h"
#include "imapd/date.h"
#include "imapd/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST_APPENDED 10000u      /* messages of one command */
#define MOST_OPEN_FILES 100u

/* One message. A file that is there has a descriptor, or a name in tmp/, or both. */
struct arrival {
	struct arrival *next;
	struct flag_list flags;
	int64_t date;
	int fd;
	struct maildir_name tmp;
	struct maildir_name base;
	char name[MAILDIR_MOST_NAME + 1];
	bool placed;                 /* it has its name in cur/ */
	bool durable;
	uint64_t size, bare;         /* bytes; LFs without CR */
	unsigned char last;
	bool has_nul;
	int error;                   /* errno of the first write that failed */
};

struct append {
	struct mailbox *to;
	struct arrival *first, *last;
	unsigned int count, open;
	struct arrival *at, *placing;    /* where append_step stands */
	struct change change;
	bool holds;                  /* files of ours have no records yet: to->held */
	bool committed;
};

static void
close_arrival(struct append *append, struct arrival *a)
{
	if (a->fd < 0)
		return;
	close(a->fd);
	a->fd = -1;
	append->open--;
}

static void
append_release(struct command *c)
{
	struct append *append = c->state;

	for (struct arrival *a = append->first; a != NULL; a = a->next) {
		close_arrival(append, a);
		if (a->tmp.str[0] != '\0')
			(void)unlinkat(append->to->store->tmp, a->tmp.str, 0);
		if (a->placed && !append->committed)
			(void)unlinkat(append->to->cur, a->name, 0);
	}
	change_clear(&append->change);
	append->to->held -= append->holds;
	mailbox_release(&append->to);
}

static void
append_literal(struct command *c, struct span bytes)
{
	struct append *append = c->state;
	struct arrival *a = append->last;
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

/* The keywords as numbers of the target. */
static bool
append_keywords(struct append *append, const struct arrival *a, struct keyword_bits *bits)
{
	memset(bits, 0, sizeof(*bits));
	for (size_t i = 0; i < a->flags.keyword_count; i++) {
		int number = index_keyword(&append->to->index, a->flags.keywords[i], true);

		if (number == NO_KEYWORD)
			return false;
		bits->word[number / 64] |= (uint64_t)1 << (number % 64);
	}
	return true;
}

/* --- while they come --- */

/* The disk may begin to write what came: when it has to be durable most of it is. */
static void
begin_writing(const struct arrival *a)
{
	(void)sync_file_range(a->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* A name in tmp/ instead of a descriptor. */
static void
park(struct append *append, struct arrival *a)
{
	struct store *store = append->to->store;
	struct maildir_name name = maildir_name_new(store->host, a->size, a->size);

	if (a->tmp.str[0] == '\0') {
		if (maildir_link(a->fd, store->maildir, &a->tmp, store->maildir, "tmp",
			name.str) < 0) {
			a->error = errno;
			return;
		}
		a->tmp = name;
	}
	close_arrival(append, a);
}

static bool
reopen(struct append *append, struct arrival *a)
{
	if (a->fd >= 0)
		return true;
	a->fd = open_in(append->to->store->tmp, a->tmp.str, O_RDONLY, 0);
	if (a->fd < 0)
		return false;
	append->open++;
	return true;
}

/* --- when all are there --- */

static int
make_durable(struct append *append, struct arrival *a)
{
	struct timespec times[2] = { { a->date, 0 }, { a->date, 0 } };

	if (!reopen(append, a))
		return -1;
	/* The file's time is INTERNALDATE to every Maildir program. */
	if (futimens(a->fd, times) < 0 || fsync(a->fd) < 0)
		return -1;
	a->durable = true;
	if (append->count > MOST_OPEN_FILES)
		park(append, a);
	return a->error == 0 ? 0 : -1;
}

/* Of a durable file: its name in cur/, and its record among the changes. */
static int
place(struct append *append, struct arrival *a)
{
	struct store *store = append->to->store;
	struct index_record r = { .size = a->size, .vsize = a->size + a->bare,
		.date = a->date, .saved = time(NULL), .flags = a->flags.system,
		.letters = letters_of_flags(a->flags.system) };
	struct keyword_bits keywords;

	a->base = maildir_name_new(store->host, r.size, r.vsize);
	errno = EDQUOT;
	if (!append_keywords(append, a, &keywords))
		return -1;
	errno = ENAMETOOLONG;
	if (!mail_name_join(span_str(a->base.str), r.letters, 0, a->name, sizeof(a->name)))
		return -1;
	if (a->fd < 0) {
		if (renameat2(store->tmp, a->tmp.str, append->to->cur, a->name,
			RENAME_NOREPLACE) < 0)
			return -1;
		a->tmp.str[0] = '\0';
	} else if (maildir_link(a->fd, store->maildir, &a->tmp, append->to->directory, "cur",
		a->name) < 0) {
		return -1;      /* a name in tmp/, where it needs one, goes with append_release */
	}
	a->placed = true;
	close_arrival(append, a);
	change_add(&append->change, &r, span_str(a->base.str), &keywords);
	return 0;
}

static enum progress
append_finish(struct command *c)
{
	struct append *append = c->state;
	uint32_t count = append->change.adds;
	char code[64];

	append->to->cur_unsynced = true;
	if (mailbox_commit(append->to, &append->change) < 0)
		return command_failed(c, "append");
	append->committed = true;
	if (count == 1)
		snprintf(code, sizeof(code), "APPENDUID %" PRIu32 " %" PRIu32,
			append->to->index.uidvalidity, append->change.first_uid);
	else
		snprintf(code, sizeof(code), "APPENDUID %" PRIu32 " %" PRIu32 ":%" PRIu32,
			append->to->index.uidvalidity, append->change.first_uid,
			append->change.first_uid + count - 1);
	return command_ok(c, code, "APPEND completed.");
}

/* First all are made durable, then all get their names. */
static enum progress
append_step(struct command *c)
{
	struct append *append = c->state;

	if (append->to->gone)
		return command_no(c, "TRYCREATE", "The mailbox is no more.");
	for (; append->at != NULL; append->at = append->at->next) {
		if (append->count > 1 && session_slice_over(c->session))
			return COMMAND_AGAIN;
		if (!append->at->durable && make_durable(append, append->at) < 0)
			return command_failed(c, "append");
	}
	for (; append->placing != NULL; append->placing = append->placing->next) {
		if (append->count > 1 && session_slice_over(c->session))
			return COMMAND_AGAIN;
		if (place(append, append->placing) < 0)
			return command_failed(c, "append");
	}
	return append_finish(c);
}

static enum progress
append_line(struct command *c, struct span line)
{
	struct append *append = c->state;

	if (line.len != 0)
		return command_bad(c, "nothing behind the message, or another one");
	for (struct arrival *a = append->first; a != NULL; a = a->next) {
		if (a->has_nul)     /* CHAR8 is 1 to 255 (RFC 3501 section 9) */
			return command_no(c, "CANNOT", "A message with NUL cannot be appended.");
		if (a->error != 0) {
			errno = a->error;
			return command_failed(c, "append");
		}
	}
	append->to->held++;       /* files without records must not be taken for new mail */
	append->holds = true;
	append->at = append->placing = append->first;
	c->step = append_step;
	return append_step(c);
}

/* --- arguments --- */

/* [flags SP] [date-time SP]. False: answered. */
static bool
take_message(struct command *c, struct span *in, struct arrival *a)
{
	struct date date;
	const char *wrong;

	a->date = time(NULL);
	if (in->len > 0 && in->at[0] == '(') {
		if (!flag_list_take(in, &c->arena, false, &a->flags, &wrong))
			return command_bad(c, wrong), false;
		if (!imap_take_space(in))
			return command_bad(c, "a space behind the flags"), false;
	}
	if (in->len > 0 && in->at[0] == '"') {
		if (!date_take_time(in, &date))
			return command_bad(c, "a date-time such as \"17-Jul-1996 02:44:25 -0700\""),
				false;
		if (!imap_take_space(in))
			return command_bad(c, "a space behind the date-time"), false;
		a->date = date.utc;
	}
	return true;
}

/* A file for a message of `size` bytes. False: answered. */
static bool
begin_message(struct command *c, struct append *append, struct arrival *a, uint64_t size)
{
	struct store *store = append->to->store;

	if (size == 0)
		return command_no(c, "CANNOT", "A message has at least one byte."), false;
	if (size > c->session->account->daemon.settings->message_size_bytes)
		return command_no(c, "TOOBIG", "The message is larger than this server takes."),
			false;
	a->fd = maildir_file(store->maildir, &a->tmp);
	if (a->fd < 0)
		return command_failed(c, "append"), false;
	append->open++;
	append->count++;
	*(append->last == NULL ? &append->first : &append->last->next) = a;
	append->last = a;
	c->wants = WANTS_LITERAL;
	return true;
}

static struct arrival *
arrival_new(struct command *c)
{
	struct arrival *a = arena_alloc(&c->arena, sizeof(*a));

	a->fd = -1;
	return a;
}

/* SP [flags SP] [date-time SP] literal, behind a message. False: answered. */
static bool
append_another(struct command *c, struct span line, uint64_t size)
{
	struct append *append = c->state;
	unsigned char *copy = arena_alloc(&c->arena, line.len + 1);
	struct span in = span_of(copy, line.len);
	struct arrival *a = arrival_new(c);
	uint64_t announced;

	memcpy(copy, line.at, line.len);
	begin_writing(append->last);
	if (append->open >= MOST_OPEN_FILES)
		park(append, append->last);
	if (append->count >= MOST_APPENDED)
		return command_no(c, "LIMIT", "Fewer messages at a time, please."), false;
	if (!imap_take_space(&in))
		return command_bad(c, "a space between messages"), false;
	if (!take_message(c, &in, a))
		return false;
	if (!imap_take_announcement(&in, &announced))
		return command_bad(c, "[flags] [date-time] and a message as a literal"), false;
	return begin_message(c, append, a, size);
}

/* Is the announced literal the name of the mailbox? Then nothing but the announcement stands behind
 * the verb. */
static bool
announces_name(struct span args)
{
	uint64_t size;

	return imap_take_space(&args) && imap_take_announcement(&args, &size);
}

bool
cmd_append_literal(struct command *c, uint64_t size)
{
	struct store *store = &c->session->account->store;
	char folder[MOST_FOLDER_NAME + 1];
	struct append *append;
	struct arrival *a;
	uint64_t announced;

	if (announces_name(c->args))
		return false;
	append = arena_alloc(&c->arena, sizeof(*append));
	a = arrival_new(c);
	if (!command_take_folder(c, folder) || !command_take_space(c) ||
		!take_message(c, &c->args, a))
		return true;
	if (!imap_take_announcement(&c->args, &announced))
		return command_bad(c, "[flags] [date-time] and the message as a literal"), true;
	append->to = mailbox_open(store, folder);
	if (append->to == NULL && errno == ENOENT)
		return command_no(c, "TRYCREATE", "There is no such mailbox."), true;
	if (append->to == NULL)
		return command_failed(c, "append"), true;
	change_init(&append->change);
	c->state = append;
	c->release = append_release;
	c->on_literal = append_literal;
	c->on_line = append_line;
	c->on_announcement = append_another;
	(void)begin_message(c, append, a, size);
	return true;
}

/* Reached only when no message followed: with one, cmd_append_literal took over. */
enum progress
cmd_append(struct command *c)
{
	struct arrival a = { .fd = -1 };
	char folder[MOST_FOLDER_NAME + 1];

	if (!command_take_folder(c, folder) || !command_take_space(c) ||
		!take_message(c, &c->args, &a))
		return COMMAND_DONE;
	return command_bad(c, "[flags] [date-time] and the message as a literal");
}
