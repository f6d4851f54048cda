/*
 * mail_root - which mail root this is: what stands in a file of its own there, made at the first asking.
 *
 * It goes along where the mail is moved, copied or put back, whatever the file system; and it is not there where the
 * mail's file system should have been mounted and is not.
 */
#ifndef VALIJA_MAIL_ROOT_H
#define VALIJA_MAIL_ROOT_H

#include <stdbool.h>

#define MAIL_ROOT_FILE ".valija-mail"
#define MAIL_ROOT_NAME 32        /* hexadecimal digits, and a line feed in the file */

/* Its name; false (logged) where it has none and could be given none, or what stands there is no name: then `name` is "". */
bool mail_root_name(int mail, char name[MAIL_ROOT_NAME + 1]);

#endif
