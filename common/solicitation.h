/*
 * solicitation - keywords of solicitation classes (RFC 3865 2.2): what a message says that it solicits.
 *
 * A keyword is a letter and then letters, digits, dots, hyphens, underscores and colons: org.example:ADV. They are
 * compared without regard to the case of letters, as the domains are with which they begin.
 */
#ifndef VALIJA_COMMON_SOLICITATION_H
#define VALIJA_COMMON_SOLICITATION_H

#include "common/settings.h"
#include "common/text.h"

#define SOLICITATION_MOST 1000         /* octets of a list, with its commas */
#define SOLICITATION_CLASS_MOST 255    /* octets of one that we refuse, so that an answer can name it */
#define SOLICITATION_CLASSES_MOST 480  /* octets of all that we refuse, so that a line of EHLO holds them */

/* Is this one keyword? */
bool solicitation_is_class(struct span word);
/* Is this what may stand behind SOLICIT=: keywords with commas between them, and nothing else? */
bool solicitation_fits(struct span keywords);
/* From the value of a Solicitation field, with blanks and line ends where it was folded, to what stands behind SOLICIT=. False: it
 * is no list of keywords, or too long; then `to` means nothing. */
bool solicitation_from_field(struct span value, struct text *to);
/* The first of `classes` that is among the words of `said`, whatever separates them; SPAN_NONE: none is. */
struct span solicitation_find(struct span said, const struct list *classes);

#endif
