/*
 * states - every state that a message file can be in, and the one call that leads to the next.
 *
 * All local: the file is lent in the first recipient's Maildir/tmp. Otherwise in the spool.
 *
 *   state     on disk                     reached by                   a crash now leaves
 *   --------- --------------------------- ---------------------------- -------------------------
 *   LENT      unnamed, others may write   open(O_TMPFILE): on_lend     nothing
 *   SEALED    unnamed, nobody can write   F_SETLEASE: lent_seal        nothing
 *   WRITTEN   unnamed, data at the disk   journal.h: sync_file_range   nothing
 *                                         body is synced after NAMED
 *   DURABLE   unnamed, body on the disk   fdatasync: *_work            nothing
 *   NAMED     Maildir: in new/            linkat: batch_name           whole messages, promised to
 *                                                                      nobody: sent again
 *             spool: ID.msg, then ID.env  linkat: spool_write          ID.msg alone: removed at
 *                                                                      start; both: queued. The worker's
 *                                                                      death alone: recover_unpromised
 *   (DURABLE  unnamed, in the ledger      fdatasync of that: ledger_sync  named and delivered at the next
 *             then NAMED, PROMISED at once                               start; promised to nobody, or all)
 *   PROMISED  names on the disk           fsync of directory: *_work;  all; 250 may be said
 *                                         of the file, by journal.h
 *
 *   and in the spool, while it is queued:
 *   TOLD      record in ID.env            append, fdatasync: *_work    what was told stays told
 *   RENEWED   ID.env is another           rename of ID.env.new: *_work the one or the other, whole
 *   DONE      ID.msg alone                unlink ID.env: *_work        ID.msg: removed at start
 *   GONE      nothing                     unlink ID.msg, fsync         nothing
 *   UNREADABLE both in corrupt/           rename: queued_set_aside     an administrator decides
 *
 * Where a file system knows no O_TMPFILE, "unnamed" is a name in Maildir/tmp (swept after 36
 * hours) or ID.new in the spool (removed at start).
 *
 * test/unit/test_delivery_local.c and test_delivery_spool.c kill the worker before each system
 * call between LENT and PROMISED and look the result up here.
 */
#ifndef VALIJA_STATES_H
#define VALIJA_STATES_H

enum file_state {
	FILE_LENT,
	FILE_SEALED,
	FILE_WRITTEN,
	FILE_DURABLE,
	FILE_NAMED,
	FILE_PROMISED,
};

#endif
