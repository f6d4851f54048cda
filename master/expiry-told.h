/*
 * expiry-told - of which ends of certificates postmaster was told already: kept on disk, so that a
 * restart says nothing twice.
 *
 * As a file: a line for each certificate, its SHA-256 in hexadecimal, a blank, and the last stage that was
 * told (enum expiry_stage), and " revoked" where that was told. What cannot be read as such a line is left out: at worst something is said twice.
 */
#ifndef VALIJA_EXPIRY_TOLD_H
#define VALIJA_EXPIRY_TOLD_H

#include "common/text.h"

#define FINGERPRINT_SIZE 32
#define MOST_EXPIRY_ROWS 128          /* certificates in service, and those before them */
#define MOST_TOLD_FILE 16384

/* How near the end is, in the order of time. */
enum expiry_stage {
	EXPIRY_FAR = 0,
	EXPIRY_21_DAYS,
	EXPIRY_7_DAYS,
	EXPIRY_3_DAYS,
	EXPIRY_1_DAY,
	EXPIRY_OVER,
	EXPIRY_STAGE_COUNT
};

/* Where a certificate that ends at `not_after` stands at `now` (seconds since 1970). */
enum expiry_stage expiry_stage(int64_t not_after, int64_t now);

/* Is it time to renew it: is less than a third of its life left, or will be within two days? */
bool expiry_is_due(int64_t not_before, int64_t not_after, int64_t now);

struct expiry_told {
	struct expiry_told_row {
		unsigned char fingerprint[FINGERPRINT_SIZE];
		enum expiry_stage stage;
		bool revoked;          /* and that it is revoked */
	} row[MOST_EXPIRY_ROWS];
	size_t count;
};

void expiry_told_read(struct expiry_told *t, struct span file);
void expiry_told_write(const struct expiry_told *t, struct text *file);
/* The row of a certificate, or NULL: nothing was ever told of it. */
struct expiry_told_row *expiry_told_find(struct expiry_told *t, const unsigned char *fingerprint);
/* Adds it; the oldest row gives way when there are too many. */
struct expiry_told_row *expiry_told_add(struct expiry_told *t, const unsigned char *fingerprint);

#endif
