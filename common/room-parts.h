/*
 * room-parts - what room.c is made of; for room*.c alone.
 */
#ifndef VALIJA_ROOM_PARTS_H
#define VALIJA_ROOM_PARTS_H

#include "room.h"

#define ROOM_EXIT 71 /* EX_OSERR: the room could not be enforced */

/* Sanitizers keep books in files and threads of their own, and map memory by the terabyte: such a
 * build (never a released one) gets their system calls and does not lock memory. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define ROOM_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ROOM_SANITIZED 1
#endif

/* Landlock: nothing but `paths` when room->files, else nothing. The ABI in force, or 0 where the
 * kernel has none (logged). Needs no_new_privs. */
uint8_t room_forbid_files(const struct room *room, const struct room_path *paths, size_t count);
/* seccomp: the common set and room->syscalls. 2 (SECCOMP_MODE_FILTER), or 0 where the kernel or
 * this architecture has none (logged). */
uint8_t room_forbid_syscalls(const struct room *room);
/* Logs what could not be enforced, with errno, and ends the process. */
void room_die(const struct room *room, const char *what) __attribute__((noreturn));

#endif
