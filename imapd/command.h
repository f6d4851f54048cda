/*
 * command - one command of a session: what was sent, where it stands, how it is answered.
 *
 * A verb is a row of commands.c: word, function, states. The function parses c->args (all of them:
 * what is left over is BAD), then does its work at once and returns COMMAND_DONE with an answer
 * (command_ok, command_no, command_bad), or sets c->step and returns COMMAND_AGAIN: step is called
 * until it says DONE. A step returns AGAIN when session_full() or session_slice_over(). Memory of
 * the command is c->arena's; what needs more than that is released by c->release, however the
 * command ends.
 *
 * A command may ask for more input (IDLE its DONE, APPEND its message): c->wants.
 */
#ifndef VALIJA_IMAPD_COMMAND_H
#define VALIJA_IMAPD_COMMAND_H

#include "imapd/arena.h"
#include "imapd/flags.h"
#include "imapd/imap-parse.h"
#include "imapd/number-set.h"
#include "imapd/session.h"

enum progress { COMMAND_DONE, COMMAND_AGAIN, COMMAND_WAITS };

/* The states in which a verb is allowed. */
#define WHEN_LOGGED_IN 1u    /* nothing selected */
#define WHEN_SELECTED 2u
#define ALWAYS (WHEN_LOGGED_IN | WHEN_SELECTED)
/* No EXPUNGE may be told before its answer (RFC 3501 7.4.1), unless it goes by UID. */
#define KEEPS_NUMBERS 4u
#define BY_UID 8u            /* the UID form */
#define ENDS_SESSION 16u
#define TAKES_NUMBERS 32u    /* message numbers, which UIDONLY forbids (RFC 9586) */
#define EXPUNGES 64u         /* what it says of messages is told whatever NOTIFY says */
#define PROGRESS_MICROSECONDS 10000000    /* between two INPROGRESS (RFC 9585 section 4) */
/* Mailboxes of others (share.h): the command goes where the mailbox is that its first argument (RENAME: and
 * its second) names, or to the one that is selected, unless its target is of another user (crossing.h); a guest
 * may say it, and the command sees to his rights. */
#define BY_NAME (1u << 16)
#define TO_SELECTED (1u << 17)
#define NAMES_TARGET (1u << 18)
#define FOR_GUESTS (1u << 19)
#define ONLY_GUESTS (1u << 20)   /* another user's process says it, no client does */

struct verb {
	const char *word;
	enum progress (*run)(struct command *c);
	uint32_t when;
	/* A literal is announced at the end of what came so far (c->args): is it this verb's own to
	 * take as it comes? Then c->wants, or an answer that refuses it, is set. NULL: it is plain
	 * text. */
	bool (*literal)(struct command *c, uint64_t size);
};

struct command {
	struct session *session;
	const struct verb *verb;
	struct arena arena;
	struct text text;            /* the command as sent */
	struct span tag, args;       /* within it */
	struct span said;            /* the mailbox that command_take_folder took last, as it was said */
	struct text answer;          /* "OK ..." when it is decided */
	enum progress (*step)(struct command *c);
	void (*release)(struct command *c);
	void *state;
	enum wants { WANTS_NOTHING, WANTS_LITERAL, WANTS_LINE } wants;
	uint64_t literal_left;
	/* Pieces of the literal; lines. The line has no line end. */
	void (*on_literal)(struct command *c, struct span bytes);
	/* A line that ends by announcing another literal (up to and with its "}"), or NULL: there can
	 * be none. It sets c->wants and returns true, or answers and returns false. */
	bool (*on_announcement)(struct command *c, struct span line, uint64_t size);
	enum progress (*on_line)(struct command *c, struct span line);
	bool inside;                 /* no client said it, and no answer is told */
	bool passed_on;              /* another user's process does it (remote.h) */
	/* MOVE has its copies and takes away the originals: that goes on when the client is gone. */
	bool must_end;
	bool telling;                /* done but for telling the view's news and the answer */
	/* the view's news must not be told (the mailbox was just selected) */
	bool told_nothing;
	int64_t progress_at;         /* when INPROGRESS was told last, or the command began */
	bool tells_highest;          /* OK has [HIGHESTMODSEQ n] of what was told before it (RFC 7162 3.2.7) */
};

/* The row of a verb ("UID FETCH" for the UID forms), or NULL. Takes it from the front of *in. */
const struct verb *verb_take(struct span *in);

/* The answer. `code` is a response code without brackets, or NULL. command_bad says what was
 * expected. */
enum progress command_ok(struct command *c, const char *code, const char *text);
enum progress command_no(struct command *c, const char *code, const char *text);
enum progress command_bad(struct command *c, const char *expected);
/* BAD [UIDREQUIRED] (RFC 9586). */
enum progress command_uid_required(struct command *c);
/* For a step that says AGAIN between two responses: so much of it is done (all is 0: it is not known how much there is).
 * Tells "* OK [INPROGRESS ...]" every PROGRESS_MICROSECONDS (RFC 9585). */
void command_progress(struct command *c, uint64_t done, uint64_t all);
/* The same where those of `uids` below `from` are done, and so much before them. */
void command_progress_below(struct command *c, const struct number_ranges *uids, uint32_t from,
	uint64_t before);
/* Before another mailbox is selected: what was is so no more, and the client is told where its responses end, whatever
 * it has enabled (RFC 7162 3.2.11, RFC 9051 6.3.2). */
void command_unselect(struct command *c);
/* NO for errno of an operation on `what`. */
enum progress command_failed(struct command *c, const char *what);
/* True at the end of the arguments; else answered with BAD. */
bool command_no_more(struct command *c);
/* Takes SP and a mailbox; answers BAD, or NO [CANNOT] for a name that cannot be. */
bool command_take_folder(struct command *c, char folder[MOST_FOLDER_NAME + 1]);
bool command_take_space(struct command *c);
/* Has the session these rights (acl.h) in a folder? Else answered: NO [NOPERM], or, as for one that is not there, NO
 * [NONEXISTENT] where it may not even know of it. */
bool command_may(struct command *c, const char *folder, unsigned int rights);
/* A guest's rights may have changed since he selected the mailbox. False: he was told BYE. */
bool guest_may_stay(struct session *s);
static inline struct text *command_out(struct command *c) { return &c->session->out; }

/* The messages that a command is about: SP and a set, or "$" (RFC 5182), taken and resolved. */
struct message_set {
	struct number_set set;
	/* The set holds UIDs: the UID form, or "$". Those of messages that are no more are passed over (RFC 3501
	 * 6.4.8), where numbers are answered NO [EXPUNGEISSUED]. */
	bool uid;
	bool star;               /* "*" was in it */
	size_t range, number;    /* where the walk stands */
};
bool command_take_messages(struct command *c, struct message_set *messages);
/* The next message's number, or 0. The view must not change meanwhile. */
size_t messages_next(struct message_set *messages, const struct view *v);
/* How many they are, about: the set may name such as are not there. */
uint64_t messages_about(const struct message_set *messages, const struct view *v);

/* Fetches `items` of the messages of the view with these UIDs, though nobody asked: between two commands, or within IDLE,
 * which goes on behind it. */
void command_fetch_inside(struct session *s, const struct number_ranges *uids, struct span items);

/* One function for each verb; each cmd-*.c has those of its subject. */
#define VERB(name) enum progress cmd_##name(struct command *c);
VERB(capability) VERB(noop) VERB(logout) VERB(id) VERB(enable) VERB(namespace) VERB(check)
VERB(select) VERB(examine) VERB(close) VERB(unselect) VERB(expunge) VERB(remove) VERB(status)
VERB(create) VERB(delete) VERB(rename) VERB(subscribe) VERB(unsubscribe) VERB(list) VERB(lsub)
VERB(append) VERB(search) VERB(sort) VERB(thread) VERB(fetch) VERB(store) VERB(copy) VERB(move) VERB(idle)
VERB(setacl) VERB(deleteacl) VERB(getacl) VERB(listrights) VERB(myrights)
VERB(getquota) VERB(getquotaroot) VERB(setquota)
VERB(replace) VERB(cancelupdate) VERB(esearch) VERB(notify) VERB(unauthenticate) VERB(starttls) VERB(login) VERB(getmetadata) VERB(setmetadata) VERB(compress)
#undef VERB
bool cmd_append_literal(struct command *c, uint64_t size);
bool cmd_replace_literal(struct command *c, uint64_t size);

#endif
