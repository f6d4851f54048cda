/*
 * tables - the compiled tables of addresses, by name: each is a text file beside valija.conf
 * (tables(5); aliases: aliases(5)), which `valija map` compiles into NAME.db beside users.db.
 *
 * A key of a plain table is an address as address_key() writes it, a domain or "@domain" in lower case,
 * or another word; the value is the rest of the line, bytes without control characters.
 */
#ifndef VALIJA_TABLES_H
#define VALIJA_TABLES_H

#define MOST_TABLE_VALUE 1000   /* bytes of a value in a plain table */

/*      symbol               name                   what a key leads to */
#define TABLES(T) \
	T(ALIASES,             "aliases",             "a list of addresses: aliases(5)") \
	T(TRANSPORT,           "transport",           "how mail for an address or a domain leaves") \
	T(CANONICAL,           "canonical",           "an address or @domain to use instead, in sender and recipient") \
	T(SENDER_CANONICAL,    "sender_canonical",    "the same, for senders only") \
	T(RECIPIENT_CANONICAL, "recipient_canonical", "the same, for recipients only") \
	T(RELAY_RECIPIENTS,    "relay_recipients",    "anything: the recipients that exist in relay_domains") \
	T(SENDERS,             "senders",             "the addresses that a login may use as sender beside its own")

enum table_kind {
#define T(symbol, name, help) TABLE_##symbol,
	TABLES(T)
#undef T
	TABLE_KINDS
};

#endif
