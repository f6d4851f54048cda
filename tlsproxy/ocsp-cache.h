/*
 * ocsp-cache - OCSP responses in a directory, so that they are there at once after a start, also while the
 * authority's service is not.
 *
 * A file for each certificate, named after its SHA-256 (hexadecimal); written aside as NAME.new and renamed.
 * Not made durable: what a power failure loses is fetched anew, and what is read is as little believed as
 * what comes from the network.
 */
#ifndef VALIJA_OCSP_CACHE_H
#define VALIJA_OCSP_CACHE_H

#include "chain.h"

/* Every function does nothing when `directory` is -1: there is no cache. */

/* 0 with *der, or -1: there is none that could be read. */
int ocsp_cache_read(int directory, const unsigned char fingerprint[KEY_ID_SIZE], struct text *der);
/* 0, or -1 with errno. */
int ocsp_cache_write(int directory, const unsigned char fingerprint[KEY_ID_SIZE], struct span der);
/* Removes the files of all certificates but those that `wanted` says; what is not named as we do stays. */
void ocsp_cache_sweep(int directory, bool (*wanted)(void *arg, struct span name), void *arg);
/* The name of a file, on the heap. */
char *ocsp_cache_name(const unsigned char fingerprint[KEY_ID_SIZE]);

#endif
