/*
 * alias - names that stand for others: the members of an aliases(5) line or a .forward file as text,
 * and the records of the compiled table.
 *
 * The command compiles aliases(5) files into ALIASES_TABLE; queue reads it, and parses .forward
 * itself. A key is a bare local part in lower case (valid in every local domain), an address as
 * address_key() writes it, or "@domain" (whatever else the domain receives).
 */
#ifndef VALIJA_ALIAS_H
#define VALIJA_ALIAS_H

#include "table.h"
#include "text.h"

#define ALIASES_TABLE "aliases.db"
#define MOST_ALIAS_KEY 320             /* as MOST_ADDRESS */
#define MOST_ALIAS_MEMBER 1000         /* bytes of one member, also a command with its arguments */
#define MOST_ALIAS_BYTES (8 * 1024 * 1024) /* members of one alias, encoded */
#define MOST_ALIAS_MEMBERS 100000      /* of one alias, also by :include: */

enum alias_kind {
	ALIAS_ADDRESS = 1,   /* name, or name@domain: looked up again */
	ALIAS_FINAL = 2,     /* \name: not looked up again */
	ALIAS_FILE = 3,      /* /file: appended to as an mbox */
	ALIAS_COMMAND = 4,   /* |command: the message on its standard input */
	ALIAS_INCLUDE = 5,   /* :include:/file: only in text, never in the table */
};

struct alias_member {
	enum alias_kind kind;
	struct span text;    /* without quotes, '|', '\' and ":include:" */
};

/* Takes one member and the comma, newline or blanks behind it from the front of *in; its text is put
 * into *text, which is reset first, and m->text lies there. 1: taken; 0: nothing is left; -1: malformed,
 * *why (static) says how. */
int alias_member_take(struct span *in, struct text *text, struct alias_member *m, const char **why);
/* Takes a line of an aliases(5) file up to its colon: the name as a key. -1 as above. */
int alias_name_take(struct span *in, struct text *key, const char **why);
/* The key of a name as it stands in such a file. False when it is no name. */
bool alias_key(struct span name, struct text *key);

/* Who owned the file: commands run as this user. */
struct alias_head {
	uint32_t uid, gid, line;
};

/* Appends one member to the encoded list; to->failed over its ceiling. */
void alias_encode(const struct alias_member *m, struct text *to);
/* Takes the next member of an encoded list. False at its end, and where it is damaged. */
bool alias_decode(struct span *members, struct alias_member *m);
/* Stores a list under `key`, in as many records as it needs. 0, or -1 with errno. */
int alias_store(
	struct table_build *b, struct span key, const struct alias_head *head, struct span members);
/* Loads it; *members is reset first. What is not a record of ours counts as TABLE_NONE. */
enum table_result alias_load(
	struct table *t, struct span key, struct alias_head *head, struct text *members);

#endif
