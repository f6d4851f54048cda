/*
 * flags - system flags and keywords: on the wire (RFC 3501 2.3.2) and as letters in file names
 * (Maildir).
 */
#ifndef VALIJA_IMAPD_FLAGS_H
#define VALIJA_IMAPD_FLAGS_H

#include "common/text.h"
#include "imapd/arena.h"

#define FLAG_ANSWERED (1u << 0)
#define FLAG_FLAGGED  (1u << 1)
#define FLAG_DELETED  (1u << 2)
#define FLAG_SEEN     (1u << 3)
#define FLAG_DRAFT    (1u << 4)
#define FLAG_SYSTEM   (FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DELETED | FLAG_SEEN | FLAG_DRAFT)

/* Capital letters behind ":2," of a file name. */
#define LETTER_D (1u << 0)    /* \Draft */
#define LETTER_F (1u << 1)    /* \Flagged */
#define LETTER_P (1u << 2)    /* passed on; no flag of IMAP, kept */
#define LETTER_R (1u << 3)    /* \Answered */
#define LETTER_S (1u << 4)    /* \Seen */
#define LETTER_T (1u << 5)    /* \Deleted */
#define LETTER_BARE (1u << 7) /* the name has no ":2," at all */

#define MOST_KEYWORD 128            /* bytes */
#define MOST_FLAGS_IN_LIST 1000

struct flag_list {
	uint8_t system;
	struct span *keywords;      /* as sent, in the arena; no two alike */
	size_t keyword_count;
};

/* The flag called `name` (with its backslash), or 0. */
uint8_t flag_of_name(struct span name);
/* Takes one flag: a system flag, \Recent refused, or a keyword. *wrong gets a reason. */
bool flag_take(struct span *in, struct arena *arena, struct flag_list *list, const char **wrong);
/* Takes "(" flags ")"; or, when `bare` is allowed (STORE), flags without parentheses up to the
 * end. */
bool flag_list_take(struct span *in, struct arena *arena, bool bare, struct flag_list *list,
	const char **wrong);
/* Appends "\Answered \Flagged" ... */
void flags_write(uint8_t flags, struct text *out);

uint8_t flags_of_letters(uint8_t letters);
uint8_t letters_of_flags(uint8_t flags);

/* A file name in cur/, taken apart. */
struct mail_name {
	struct span base;      /* without ":2,..." */
	uint8_t letters;       /* with LETTER_BARE where there is no ":2," */
	uint32_t lower;        /* a to z, bits 0 to 25 */
	bool has_size, has_vsize;
	uint64_t size, vsize;  /* S= and W= */
};

/* What is not understood behind ":2," counts as part of the base (and the name as bare). */
void mail_name_split(struct span name, struct mail_name *parts);
/* Writes the name: base, and ":2," with the letters in ASCII order unless bare. False: over
 * `room`. */
bool mail_name_join(struct span base, uint8_t letters, uint32_t lower, char *to, size_t room);

#endif
