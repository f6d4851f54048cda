/*
 * acl - who may do what with a mailbox (RFC 4314).
 *
 * The owner may do everything, always. What others may stands in the file valija-acl of the folder, so that it goes
 * along when the folder is renamed or deleted; its lines are those of Dovecot's dovecot-acl, which is read while
 * there is none of ours:
 *
 *   user=bob@example.org lrswi      "-" before it takes rights away
 *   anyone lr                       every user of the owner's domain
 *
 * A change writes the file anew, whole and durable. Of one that is damaged nobody has any right.
 */
#ifndef VALIJA_IMAPD_ACL_H
#define VALIJA_IMAPD_ACL_H

#include "imapd/folder.h"

#define RIGHT_LOOKUP (1u << 0)      /* l: LIST, SUBSCRIBE */
#define RIGHT_READ (1u << 1)        /* r: SELECT, STATUS */
#define RIGHT_SEEN (1u << 2)        /* s: \Seen */
#define RIGHT_WRITE (1u << 3)       /* w: other flags */
#define RIGHT_INSERT (1u << 4)      /* i: APPEND, COPY into */
#define RIGHT_POST (1u << 5)        /* p: kept; nothing here asks for it */
#define RIGHT_CREATE (1u << 6)      /* k: CREATE below */
#define RIGHT_DELETE (1u << 7)      /* x: DELETE, RENAME */
#define RIGHT_TRASH (1u << 8)       /* t: \Deleted */
#define RIGHT_EXPUNGE (1u << 9)     /* e: EXPUNGE */
#define RIGHT_ADMIN (1u << 10)      /* a: SETACL ... */
#define RIGHTS 11
#define RIGHTS_ALL ((1u << RIGHTS) - 1)
/* With any of these a mailbox that was selected can be changed. */
#define RIGHTS_CHANGE (RIGHT_SEEN | RIGHT_WRITE | RIGHT_INSERT | RIGHT_TRASH | RIGHT_EXPUNGE)

#define ACL_FILE "valija-acl"
#define ACL_DOVECOT_FILE "dovecot-acl"
#define MOST_ACL_ENTRIES 500
#define MOST_ACL_IDENTIFIER 320
#define MOST_ACL_FILE (MOST_ACL_ENTRIES * (MOST_ACL_IDENTIFIER + 32))

struct acl_entry {
	bool negative;
	struct span who;                 /* "anyone", or an address; into acl.content, or what the caller gave */
	unsigned int rights;
};

struct acl {
	struct text content;
	struct acl_entry at[MOST_ACL_ENTRIES];
	size_t count;
	bool damaged;
};

/* Letters to rights; those of RFC 2086 too: c is k, d is x, t and e. False: another letter. */
bool rights_take(struct span letters, unsigned int *rights);
/* The letters, with c and d behind them where what they stand for is there (RFC 4314 2.1.1). */
void rights_write(unsigned int rights, struct text *out);

/* The system flags that they let one change; keywords go with RIGHT_WRITE. */
uint8_t rights_flags(unsigned int rights);

/* The lines of a file, which must stay; of one that is damaged there are no entries. */
void acl_parse(struct acl *acl, struct span in);
/* The entries as acl_parse takes them. */
void acl_print(const struct acl *acl, struct text *content);
/* 0, also when there is none; -1 with errno: ENOENT when there is no such folder. Release with acl_clear. */
int acl_read(const struct store *store, const char *folder, struct acl *acl);
/* Durable. -1 with errno. */
int acl_write(struct store *store, const char *folder, const struct acl *acl);
void acl_clear(struct acl *acl);
struct acl_entry *acl_find(struct acl *acl, bool negative, struct span who);
/* Sets an entry, or removes it (no rights); `who` is borrowed until acl_write. False: there are MOST_ACL_ENTRIES. */
bool acl_set(struct acl *acl, bool negative, struct span who, unsigned int rights);
/* What `member` may, in a mailbox of `owner` (addresses). */
unsigned int acl_rights(const struct acl *acl, struct span member, struct span owner);
/* The same of a folder; 0 where there is none. */
unsigned int acl_folder_rights(const struct store *store, const char *folder, struct span member,
	struct span owner);
/* "anyone", or an address as our users have it: written into `key` as tables have it. False: neither. */
bool acl_identifier(struct span name, struct text *key);

/* Who has any right in any folder: looked for folder by folder, so that others come between. */
struct acl_members {
	struct text members;             /* a line each */
	struct folder_list folders;
	size_t at;
};

/* 0 or -1 with errno. Release with acl_members_clear. */
int acl_members_begin(const struct store *store, struct acl_members *m);
/* Looks into the next folder: 1, or 0 when that was all; -1 with errno. */
int acl_members_next(const struct store *store, struct acl_members *m);
void acl_members_clear(struct acl_members *m);

#endif
