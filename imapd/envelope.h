/*
 * envelope - ENVELOPE of a header (RFC 3501 7.4.2), and RFC 5322 address lists.
 */
#ifndef VALIJA_IMAPD_ENVELOPE_H
#define VALIJA_IMAPD_ENVELOPE_H

#include "common/text.h"

#define MOST_ADDRESSES 10000                          /* of one field; the rest is left out */
#define MOST_ENVELOPE ((size_t)4 * 1024 * 1024)       /* bytes that envelope_write can add */

/* Appends the parenthesized ENVELOPE of `header` (a message's header with or without its blank
 * line) to `out`. Strings are as in the header (encoded words stay), unfolded, NUL as 0x80.
 * Sender and reply-to default to from. An envelope over MOST_ENVELOPE is told with its address
 * lists and long strings as NIL. Fails only by out->failed. */
void envelope_write(struct span header, struct text *out);

/* One address, or the start or end of a group, taken from a list. */
struct address_item {
	enum { ADDRESS_MAILBOX, ADDRESS_GROUP_START, ADDRESS_GROUP_END } kind;
	struct text name; /* display name, or comment where there is no name; the group's name */
	struct text route;     /* obsolete source route: "@a,@b" */
	struct text local;     /* without quotes and backslashes; empty where missing */
	struct text domain;    /* empty where missing */
	bool has_name, has_route, has_local, has_domain;
};

struct address_reader {
	struct span rest;
	bool in_group;
	uint32_t count;
};

/* Starts reading the address list `value` (a field's raw value). */
void address_reader_init(struct address_reader *reader, struct span value);
/* The next item; false at the end or past MOST_ADDRESSES (a group that is open is closed first).
 * Broken addresses give what could be understood, never nothing for something, and never an
 * endless loop. `item` is reused from call to call: address_item_init once, address_item_clear at
 * the end. */
bool address_next(struct address_reader *reader, struct address_item *item);
/* The local part of the first address of the list `value`, where it is as plain as most are, "Some Words <local@..."
 * or "local@...": what address_next would give. False: address_next has to say. */
bool address_plain_local(struct span value, struct span *local);
void address_item_init(struct address_item *item);
void address_item_clear(struct address_item *item);

#endif
