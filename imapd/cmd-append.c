/*
 * cmd-append - APPEND (RFC 3501 6.3.11; APPENDUID of RFC 4315).
 *
 * The message goes from the socket straight into a file without a name in Maildir/tmp, byte for
 * byte. When its last byte is there and the command ends as it should, the file is made durable,
 * gets its name in the folder's cur/ and its record in the index; then it exists.
 */
#include "imapd/command.h"

#include "common/beneath.h"
#include "common/log.h"
#include "imapd/date.h"
#include "imapd/folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct append {
	struct mailbox *to;
	struct flag_list flags;
	int64_t date;
	bool dated;
	int fd;
	struct maildir_name tmp;
	uint64_t size, bare;         /* bytes; LFs without CR */
	unsigned char last;
	bool has_nul;
	int error;                   /* errno of the first write that failed */
};

static void
append_release(struct command *c)
{
	struct append *append = c->state;

	if (append->fd >= 0) {
		close(append->fd);
		if (append->tmp.str[0] != '\0')
			(void)unlinkat(append->to->store->tmp, append->tmp.str, 0);
	}
	mailbox_release(&append->to);
}

static void
append_literal(struct command *c, struct span bytes)
{
	struct append *append = c->state;
	const unsigned char *at = bytes.at, *end = bytes.at + bytes.len;

	append->size += bytes.len;
	if (append->error != 0 || bytes.len == 0)
		return;
	append->has_nul |= memchr(bytes.at, '\0', bytes.len) != NULL;
	while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		append->bare += (at == bytes.at ? append->last : at[-1]) != '\r';
		if (++at == end)
			break;
	}
	append->last = bytes.at[bytes.len - 1];
	if (write_all(append->fd, bytes.at, bytes.len) < 0)
		append->error = errno;
}

/* The keywords as numbers of the target. */
static bool
append_keywords(struct append *append, struct keyword_bits *bits)
{
	memset(bits, 0, sizeof(*bits));
	for (size_t i = 0; i < append->flags.keyword_count; i++) {
		int number = index_keyword(&append->to->index, append->flags.keywords[i], true);

		if (number == NO_KEYWORD)
			return false;
		bits->word[number / 64] |= (uint64_t)1 << (number % 64);
	}
	return true;
}

/* The file gets its name and its record. 0 or -1 with errno. */
static int
append_place(struct append *append, struct change *change)
{
	struct store *store = append->to->store;
	struct index_record r = { .size = append->size, .vsize = append->size + append->bare,
		.date = append->date, .saved = time(NULL) };
	struct maildir_name base = maildir_name_new(store->host, r.size, r.vsize);
	struct timespec times[2] = { { append->date, 0 }, { append->date, 0 } };
	char name[MAILDIR_MOST_NAME + 1];
	struct keyword_bits keywords;

	errno = EDQUOT;
	if (!append_keywords(append, &keywords))
		return -1;
	r.flags = append->flags.system;
	r.letters = letters_of_flags(r.flags);
	errno = ENAMETOOLONG;
	if (!mail_name_join(span_str(base.str), r.letters, 0, name, sizeof(name)))
		return -1;
	/* The file's time is INTERNALDATE to every Maildir program. */
	if (futimens(append->fd, times) < 0 || fsync(append->fd) < 0 ||
		maildir_link(append->fd, store->maildir, &append->tmp, append->to->directory, "cur",
		name) < 0)
		return -1;
	append->tmp.str[0] = '\0';
	append->to->cur_unsynced = true;
	change_add(change, &r, span_str(base.str), &keywords);
	if (mailbox_commit(append->to, change) == 0)
		return 0;
	(void)unlinkat(append->to->cur, name, 0);
	return -1;
}

static enum progress
append_line(struct command *c, struct span line)
{
	struct append *append = c->state;
	struct change change;
	char code[64];

	if (line.len != 0)
		return command_bad(c, "nothing behind the message");
	if (append->has_nul)     /* CHAR8 is 1 to 255 (RFC 3501 section 9) */
		return command_no(c, "CANNOT", "A message with NUL cannot be appended.");
	if (append->to->gone)
		return command_no(c, "TRYCREATE", "The mailbox is no more.");
	if (append->error != 0) {
		errno = append->error;
		return command_failed(c, "append");
	}
	change_init(&change);
	if (append_place(append, &change) < 0) {
		(void)command_failed(c, "append");
	} else {
		snprintf(code, sizeof(code), "APPENDUID %u %u", append->to->index.uidvalidity,
			change.first_uid);
		(void)command_ok(c, code, "APPEND completed.");
	}
	change_clear(&change);
	return COMMAND_DONE;
}

/* SP mailbox [SP flags] [SP date-time] SP. False: answered. */
static bool
append_arguments(struct command *c, char folder[MOST_FOLDER_NAME + 1], struct append *append)
{
	struct date date;
	const char *wrong;

	if (!command_take_folder(c, folder) || !command_take_space(c))
		return false;
	if (c->args.len > 0 && c->args.at[0] == '(') {
		if (!flag_list_take(&c->args, &c->arena, false, &append->flags, &wrong))
			return command_bad(c, wrong), false;
		if (!command_take_space(c))
			return false;
	}
	if (c->args.len > 0 && c->args.at[0] == '"') {
		if (!date_take_time(&c->args, &date))
			return command_bad(c, "a date-time such as \"17-Jul-1996 02:44:25 -0700\""),
				false;
		if (!command_take_space(c))
			return false;
		append->date = date.utc;
		append->dated = true;
	}
	return true;
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
	uint64_t most = c->session->account->daemon.settings->message_size_bytes, announced;
	char folder[MOST_FOLDER_NAME + 1];
	struct append *append;

	if (announces_name(c->args))
		return false;
	append = arena_alloc(&c->arena, sizeof(*append));
	append->fd = -1;
	if (!append_arguments(c, folder, append))
		return true;
	if (!imap_take_announcement(&c->args, &announced))
		return command_bad(c, "[flags] [date-time] and the message as a literal"), true;
	if (size == 0)
		return command_no(c, "CANNOT", "A message has at least one byte."), true;
	if (size > most)
		return command_no(c, "TOOBIG", "The message is larger than this server takes."),
			true;
	append->to = mailbox_open(store, folder);
	if (append->to == NULL && errno == ENOENT)
		return command_no(c, "TRYCREATE", "There is no such mailbox."), true;
	if (append->to == NULL)
		return command_failed(c, "append"), true;
	c->state = append;
	c->release = append_release;
	append->fd = maildir_file(store->maildir, &append->tmp);
	if (append->fd < 0)
		return command_failed(c, "append"), true;
	if (!append->dated)
		append->date = time(NULL);
	c->wants = WANTS_LITERAL;
	c->on_literal = append_literal;
	c->on_line = append_line;
	return true;
}

/* Reached only when no message followed: with one, cmd_append_literal took over. */
enum progress
cmd_append(struct command *c)
{
	struct append append = { .fd = -1 };
	char folder[MOST_FOLDER_NAME + 1];

	if (!append_arguments(c, folder, &append))
		return COMMAND_DONE;
	return command_bad(c, "[flags] [date-time] and the message as a literal");
}
