/*
 * session - one logged-in IMAP connection: its bytes in, its bytes out, its selected mailbox, its
 * command.
 *
 * Commands run one after the other. What they answer is gathered in `out` and sent at the end of
 * the round of events, after everything that it acknowledges was made durable (account's work,
 * imap.c). A command that has much to say stops when `out` is full and goes on when the client has
 * read (command.h).
 */
#ifndef VALIJA_IMAPD_SESSION_H
#define VALIJA_IMAPD_SESSION_H

#include "common/message.h"
#include "common/text.h"
#include "imapd/account.h"
#include "imapd/imap-input.h"
#include "imapd/mail.h"
#include "imapd/view.h"

#define OUT_FULL (128 * 1024)            /* a command stops producing above this */
#define OUT_LOW (32 * 1024)              /* and goes on below this */
#define MOST_OUT (32 * 1024 * 1024)      /* no single item of a response is larger */
#define SLICE_MICROSECONDS 5000          /* how long one session may hold up the others */
#define LAST_COMMAND_SECONDS 60          /* a MOVE whose client is gone waits so long for the process of another user */
#define MOST_ERRORS 20                   /* BADs without an OK between them */

struct command;
struct interest;
struct compress;
struct folder_list;
struct link;
struct remote_list;

struct session {
	struct session *next;
	struct account *account;
	uint64_t id;
	char ip[MOST_IP + 1];
	int fd;
	struct event *readable, *writable, *turn, *silence;
	struct imap_input input;
	struct text out;
	size_t sent;                 /* of `out` */
	char separator, prefix[40];  /* of names of mailboxes, as imap_separator and imap_prefix were at login */
	char guest[MOST_ADDRESS + 1];    /* who it is, unless the owner of the mail (share.h) */
	struct view *view;           /* NULL: nothing is selected, or something of another user */
	struct link *selected;       /* to the process that has it then (remote.h) */
	struct link *link;           /* to another that the running command is about */
	unsigned int shares_asked;   /* share_open that master has not answered (link.c) */
	struct remote_list *sharing; /* waits for master to tell who shares with us */
	struct command *command;     /* NULL: the next one is awaited */
	struct command *waiting;     /* IDLE, while news of it are fetched (command_fetch_inside) */
	struct interest *notify;       /* NULL: NOTIFY was never said */
	bool annotations;            /* ENABLE METADATA: hears of what others annotate (RFC 5464 4.1) */
	struct text annotated;       /* what it has not been told of that yet */
	struct compress *compress;   /* NULL: bytes go as they are */
	bool compress_soon;          /* from the end of what is in `out` on */
	struct mail_cache mail;
	uint64_t bytes_in, bytes_out, commands;
	unsigned int errors;
	bool condstore;              /* wants MODSEQ in FETCH (condstore.h) */
	bool qresync;                /* wants VANISHED for EXPUNGE (qresync.h) */
	bool uid_only;               /* UIDs instead of numbers, in both directions (RFC 9586) */
	bool rev2;                   /* ENABLE IMAP4rev2 was said (RFC 9051) */
	bool utf8;                   /* names of mailboxes and quoted strings are UTF-8: IMAP4rev2, or
	                                UTF8=ACCEPT (RFC 6855) */
	bool wants_room;             /* the command goes on when `out` has drained */
	bool ended;                  /* the client says no more; what it said is done, and it is told */
	bool starved;                /* the next step needs more of what the client says */
	bool closing;                /* no more commands; closed when all is sent */
	bool dead;                   /* freed at the end of the round */
	bool blocked;                /* the client does not read */
	bool goes_back;              /* UNAUTHENTICATE: when all is sent, the socket goes back to a front end */
	bool gone_back;
	uint8_t service;             /* what goes back with it */
	struct text passport;
	const char *why;             /* how it ended */
	int64_t slice_end;           /* microseconds, monotonic */
};

/* Takes `fd`. Sends the tagged OK of the login, then goes on with `input`. */
struct session *session_new(struct account *account, uint64_t id, int fd, struct span tag,
	struct span input, struct span ip,
	struct span verb);
/* A guest's; the socket leads to the process of that member. */
struct session *session_new_guest(struct account *account, uint64_t id, int fd, struct span member);
/* Nothing is selected any more, neither here nor elsewhere. */
void session_unselect(struct session *s);
/* Appends CAPABILITIES and what depends on settings. */
void session_capabilities_write(const struct session *s, struct text *out);
/* Says BYE and closes when it is sent. `text` may begin with a response code. */
void session_bye(struct session *s, const char *text);
/* The client is gone, or must be cut off. */
void session_end(struct session *s, const char *why);
/* Goes on with what can be done now. */
void session_go_on(struct session *s);
/* Is the session dead, and its command not to be left as it stands (command.h)? And goes on with that; what it says
 * nobody hears. In command.c. */
bool session_must_end(const struct session *s);
void session_end_command(struct session *s);
/* Soon, after others had their turn. */
void session_take_turn(struct session *s);
/* Sends what can be sent; the durable part of the round is over. */
void session_flush(struct session *s);
void session_free(struct session **s);

/* --- session-name.c: names of mailboxes as the session spells them --- */

/* What parts the levels of a name. */
char session_separator(const struct session *s);
/* Appends the session's spelling of `wire`, a name as folder.h has it on the wire; the second, quoted where it must
 * be; the third, that of a folder. */
void session_spell(const struct session *s, struct span wire, struct text *out);
void session_name_write(const struct session *s, struct span wire, struct text *out);
void session_folder_write(const struct session *s, const char *folder, struct text *out);
/* Is that how the session spells the folder? */
bool session_spells_so(const struct session *s, const char *folder, struct span said);
/* For a client of IMAP4rev2 that said the folder's name otherwise ("inbox/a" is INBOX/a), or `always`: LIST with the
 * attribute, the name and, as OLDNAME, what was said (RFC 9051 6.3.9.7). */
void session_tell_name(const struct session *s, const char *attribute, const char *folder, struct span said, bool always,
	struct text *out);
/* folder_of_name() for a name as this session spells it; `folder` has room for MOST_FOLDER_NAME +
 * 1. */
bool session_folder_of(const struct session *s, struct span name, char *folder, const char **why);
/* The same, but as it was said: not brought to the form that a folder which is not there would have (folder_normalize). */
bool session_folder_said(const struct session *s, struct span name, char *folder, const char **why);
/* Is it a mailbox of another user? Then his address, with room for MOST_ADDRESS + 1. */
bool session_name_owner(const struct session *s, struct span name, char *owner);
/* Appends a name of another user's mailbox as it stands among the subscriptions: "user/OWNER/Folder" in modified
 * UTF-7. */
void session_foreign_name(const struct session *s, struct span name, struct text *out);
/* And back, as the session spells it. */
void session_foreign_write(const struct session *s, struct span foreign, struct text *out);
/* Appends a name that is spelled already, quoted where it must be. */
void session_quote_name(const struct session *s, struct span spelled, struct text *out);
/* Is such a name subscribed in `folders`? */
bool session_subscribed(const struct session *s, const struct folder_list *folders, struct span name);
/* The front of the names of other users' mailboxes: "user/". */
void session_others_prefix(const struct session *s, struct text *out);

/* Both directions are compressed behind the answer that is in `out` then (RFC 4978). False: no
 * memory. */
bool session_compress(struct session *s);

/* Frees a session's command, whatever it was about to do; accepts NULL inside. In command.c. */
void command_free(struct command **c);

/* Does it wait in IDLE? And what is new there, or between two commands of a session that said NOTIFY, is told to it
 * (cmd-idle.c). */
bool session_is_idle(const struct session *s);
void session_push_news(struct session *s);
/* False: what is being told of the view is not told to its end; no command may begin. */
bool session_is_told(const struct session *s);

/* For commands: is there enough in `out`, or is the slice over? */
bool session_full(const struct session *s);
bool session_slice_over(const struct session *s);
/* Microseconds, monotonic. */
int64_t session_clock(void);

#define CAPABILITIES "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS UNSELECT " \
	"CHILDREN SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED METADATA COMPRESS=DEFLATE MOVE ESEARCH SEARCHRES " \
	"CONDSTORE QRESYNC STATUS=SIZE LIST-STATUS WITHIN PARTIAL SAVEDATE OBJECTID PREVIEW MULTIAPPEND SORT SORT=DISPLAY ESORT " \
	"BINARY UTF8=ACCEPT THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT I18NLEVEL=1 " \
	"REPLACE CATENATE URL-PARTIAL CONTEXT=SEARCH CONTEXT=SORT MULTISEARCH NOTIFY UIDONLY INPROGRESS " \
	"ACL RIGHTS=kxte LIST-MYRIGHTS QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE"

#endif
