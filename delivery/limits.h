/* limits - the ceilings on which the programs of this room agree. */
#ifndef VALIJA_DELIVERY_LIMITS_H
#define VALIJA_DELIVERY_LIMITS_H

#define MOST_PLACES 128              /* mailboxes in one place or place_copy; more go in several */
#define MOST_FOLDERS_LOOKED 10000    /* names in a Maildir, for the folder of user+detail */
#define MOST_LENT 4000               /* files that one worker lends at a time */
#define MOST_TRANSACTIONS 20000      /* of all smtpd together; of each: settings */
#define MOST_PENDING_RECIPIENTS 200000 /* in all open transactions together */
#define MOST_PIPES 20                /* commands and files of aliases at a time */
#define MOST_ATTEMPTS 64             /* queued messages being delivered at a time */
#define WORKER_COMES_SECONDS 5       /* for a worker, after the death of the last of its kind; then go on without */
#define MOST_FED_PACKETS 512         /* wait for one worker before we say more to it */

/* Names below DIRECTORY_SPOOL. */
#define SPOOL_QUEUE "queue"
#define SPOOL_CORRUPT "corrupt"
#define SUFFIX_MESSAGE ".msg"
#define SUFFIX_ENVELOPE ".env"
#define SUFFIX_UNNAMED ".new"        /* only where the file system has no O_TMPFILE */

#endif
