/*
 * preview - the first words of a message (RFC 8970): of its first text, without markup.
 */
#ifndef VALIJA_IMAPD_PREVIEW_H
#define VALIJA_IMAPD_PREVIEW_H

#include "imapd/mime.h"

#define MOST_PREVIEW_CHARACTERS 200              /* RFC 8970 3.2: at most 256 */
#define MOST_PREVIEW_BODY ((size_t)128 * 1024)   /* bytes of a part that are looked at */

/* Appends at most MOST_PREVIEW_CHARACTERS characters of UTF-8, blanks and line ends joined; nothing
 * when there is no text. Signatures and quoted lines of plain text are left out where there is
 * something else. Work is bounded whatever the message. */
void preview_write(const struct mime *mime, struct text *out);

/* Whether preview_write opens no file: the text's charset needs no converter of the C library. */
bool preview_is_built_in(const struct mime *mime);

#endif
