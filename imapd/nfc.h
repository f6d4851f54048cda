/*
 * nfc - Unicode Normalization Form C (UAX 15): one way of writing where there are several. "e" and a combining acute
 * accent become the one character that both are. Net-Unicode (RFC 5198), and so names of mailboxes (RFC 9051 5.1),
 * ask for it.
 */
#ifndef VALIJA_IMAPD_NFC_H
#define VALIJA_IMAPD_NFC_H

#include "common/text.h"

#define MOST_NFC_CHARACTERS 1000     /* of what is given, once each is taken apart */

/* Appends the UTF-8 `in` in that form. False, nothing added: it is no UTF-8, longer than that, or out->failed. Its work
 * is bounded by the square of that length. */
bool nfc_add(struct text *out, struct span in);

#endif
