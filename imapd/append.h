/*
 * append - messages that come from a client into a mailbox: APPEND, MULTIAPPEND (RFC 3502), CATENATE (RFC 4469),
 * REPLACE (RFC 8508). The arguments are read by cmd-append.c; catenate.c joins pieces.
 *
 *   coming      a file without a name in Maildir/tmp, byte for byte from the socket; or, where
 *               MOST_OPEN_FILES are open, with a name there
 *   joined      (CATENATE with URLs) its pieces were copied into a file of the same kind
 *   durable     when the last byte of the last one is there and the command ends as it should; where the file
 *               system's journal keeps the order (common/journal.h), only written to the disk; on ext4 without one
 *               it has a name in Maildir/tmp before (store.needs_name)
 *   placed      it has its name in the folder's cur/, and nobody knows
 *   committed   all their records are in the index, in one piece: then they exist, all or none
 *   replaced    (REPLACE) only then the message goes that was replaced
 *
 *   acknowledged  cur/ is synced, with it, by that journal, the messages, and the index (mailbox_durable)
 *
 * A crash before "placed" leaves files that are swept; between "placed" and "committed", of one message a file that the
 * folder's next look takes for a new one, of several files that it removes (placing.h), but after a power cut; after that,
 * at worst both messages of REPLACE.
 */
#ifndef VALIJA_IMAPD_APPEND_H
#define VALIJA_IMAPD_APPEND_H

#include "imapd/command.h"
#include "imapd/imap-url.h"

#define MOST_APPENDED 10000u             /* messages of one command */
#define MOST_PIECES 10000u               /* of all its messages */
#define MOST_OPEN_FILES 400u             /* of all sessions of a process, which may have 1024 descriptors */
#define MOST_APPEND_TEXT (1024 * 1024)   /* bytes of its lines, without the messages */

/* What CATENATE names: a URL, or octets that came as a literal. */
struct piece {
	struct piece *next;
	bool is_url;
	struct imap_url url;
	uint64_t octets;
};

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
	struct piece *pieces, *last_piece;   /* of CATENATE */
	bool any_url;
	bool eight;                  /* a literal8 was in it (RFC 3516): its binary parts may hold anything */
	bool mended;                 /* and they were looked at */
	uint64_t size, bare;         /* bytes; LFs without CR */
	unsigned char last;
	bool has_nul;
	int error;                   /* errno of the first write that failed */
};

struct joining;

struct append {
	struct mailbox *to;
	unsigned int rights;         /* of the session, there (acl.h) */
	struct arrival *first, *last;
	unsigned int count, pieces;
	size_t text;                 /* bytes of lines */
	uint64_t announced;          /* octets of all literals so far */
	struct joining *joining;     /* catenate.c: where it stands */
	struct arrival *at, *placing;    /* where append_step stands */
	struct span *keywords;       /* MOST_KEYWORDS: those of `keyword_count` that the mailbox has not yet */
	size_t keyword_count;
	bool relied;                 /* on store.ordered, for a message at least */
	struct change change;
	bool holds;                  /* files of ours have no records yet: to->held */
	bool committed;
	bool empty_too;              /* messages of no byte, which only crossing.h has */
	uint32_t replaced;           /* UID in the selected mailbox, 0: none */
	/* Not NULL: all is committed, and this goes on with the command instead of APPEND's answer (crossing.h). */
	enum progress (*finished)(struct command *c);
	/* Where the arguments stand (cmd-append.c). */
	bool in_catenate, in_utf8, behind, wants_url;
	struct text url;             /* that comes as a literal */
};

/* A file for one more message, behind the others. -1 with errno. */
int append_begin(struct append *append, struct arrival *a);
/* The next bytes of the last message. */
void append_octets(struct append *append, struct span bytes);
/* Those were all of the last message: the disk may begin, and its descriptor may go. */
void append_end(struct append *append);
/* A file for a message of `append`, a->fd; -1 with errno. And its end: its name in tmp/, if it has one, stays. */
int arrival_open(const struct append *append, struct arrival *a);
void arrival_close(struct arrival *a);
/* Counts and writes bytes of a message (append_octets, and what CATENATE copies). */
void arrival_write(struct arrival *a, struct span bytes);
/* Its descriptor, opened again where it was given up. False with errno. */
bool append_reopen(struct append *append, struct arrival *a);
/* Do messages of so many octets fit (usage.c)? 0; -1: EDQUOT, or another error. */
int append_has_room(struct command *c, const struct append *append, uint64_t octets);
/* Everything came: c->state is the struct append. Sets c->step. */
enum progress append_all(struct command *c);
void append_release(struct command *c);
/* RFC 4314 section 4: flags that the session may not set there are left out. In cmd-append.c. */
void append_keep_rightful(const struct append *append, struct arrival *a);

/* --- catenate.c --- */

/* Joins the pieces of a message whose pieces name URLs. COMMAND_AGAIN: the slice is over. COMMAND_DONE: answered, it
 * cannot be. COMMAND_WAITS: it is one file now. */
enum progress catenate_some(struct command *c, struct append *append, struct arrival *a);
void catenate_clear(struct append *append);
/* Turns binary parts that IMAP cannot tell, or that a Maildir program would change, into base64. 0, or -1 with errno. */
int arrival_mend_binary(struct append *append, struct arrival *a);

#endif
