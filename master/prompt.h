/*
 * prompt - a password from the terminal without echo, or from a line of the standard input.
 */
#ifndef VALIJA_PROMPT_H
#define VALIJA_PROMPT_H

#include "common/text.h"

/* Asks twice on a terminal; otherwise (or with from_stdin) takes the first line of the standard
 * input, at most MOST_PASSWORD bytes. False with a sentence in *why: no input, different, empty,
 * too long, or with bytes that no client can send. The caller wipes *password (text_wipe). */
bool prompt_password(const char *whose, bool from_stdin, struct text *password, struct text *why);

#endif
