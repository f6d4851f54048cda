/*
 * journal - file systems that keep the order of what was written and what was named afterwards.
 *
 * Where names and the places of data go into one journal, in the order in which they were made, a file whose data
 * has been written may get its name before it is synced: a crash leaves no name, or a whole file, and one commit makes
 * body and name durable instead of two. Moreover a link changes the inode of the file as well as the directory, in one
 * transaction: fsync of the file commits its last link, and with it, as the journal is one sequence, everything that came
 * before. No directory need be synced, however many have got a name. That is so on
 *
 *   xfs     its log is one sequence, and each of its writes flushes the disk first
 *   ext4    (and ext3) with a journal: sync_file_range returns when data is at the disk and its extents are in the
 *           running transaction, or an earlier one; the link joins that one or a later one; a commit flushes the disk
 *           before its record. In data=writeback too, since the data was not left to the commit.
 *
 * It is not so on ext2, and ext4 without a journal, which look the same to statfs(2): there the kernel names no
 * journal for the device in /proc/fs/jbd2. Nor on ext4 with
 *
 *   fast_commit            fsync of a file that never had a name writes a short record of its names before the one
 *                          of its inode; after a crash the kernel cannot follow it, and all of the names are gone. No
 *                          mount option tells of it, but its commits are counted in /proc/fs/ext4/DEVICE/fc_info
 *   journal_async_commit   the record of a commit may be at the disk before what it speaks of
 *   a journal elsewhere    a commit flushes the data's own disk only where the kernel thinks it has to
 *
 * The fsync of a directory does the same: a link changed it in that transaction, or a later one.
 *
 * With nobarrier nothing is flushed, whatever is called, which is the administrator's choice. What is not recognised is
 * synced first, as everywhere else.
 */
#ifndef VALIJA_JOURNAL_H
#define VALIJA_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct journal {
	dev_t device;
	int fast_commits;            /* the kernel's counts, to be read again; -1: it cannot make such commits */
	uint64_t mounting;           /* another one each time that the file system is mounted; 0: not known */
};

/* Waits until all that was written into the file is with the disk, whether that has it durably or not: then it may get its
 * name. 0, or -1 with errno. */
int journal_written(int fd);
/* Does the file system of this directory keep the order? Then *j is how it is known again. Reads /sys and /proc: to be
 * asked before the program is confined. What it opens stays open. */
bool journal_orders(int directory, struct journal *j);
/* To be asked after the fsync that was to be for all: was there never a fast commit? If there was, that fsync has promised
 * nothing of names. */
bool journal_is_whole(const struct journal *j);

#endif
