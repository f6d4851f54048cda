/*
 * message - every message that may pass between two programs, in one table.
 *
 * A row: name, number, who may say it, who hears it, in which hours it may come, how many
 * descriptors come with it. Its fields stand above the table, each with its kind and its ceiling.
 * From these rows follow the numbers, the structures, encoders, decoders, permissions, trace names
 * and fuzz targets (message.c, channel.h). Nothing else in the tree repeats the list.
 *
 * On the wire (SOCK_SEQPACKET, one packet a message, host byte order: it never leaves the
 * machine): u16 number, u64 id, then the fields in order. The id names the conversation: a
 * session, a mail transaction, one question. Kinds of fields:
 *
 *   u8 u16 u32 u64   numbers
 *   flag             u8, 0 or 1
 *   text             u32 length, bytes; no NUL among them
 *   octets           u32 length, any bytes
 *   secret           as octets; never traced, and wiped from the receive buffer after the handler
 *
 * Decoded text, octets and secret point into the receive buffer: valid until the handler returns.
 *
 * Hours. Each conversation at its *hearer* is in one hour; the hearer's hour() tells which
 * (channel.h), HOUR_NONE for an id it does not know. A message outside its hours ends the peer,
 * unless its row has OR_GONE and the id is unknown: then it came too late (the conversation ended
 * on this side meanwhile), is dropped, and its descriptors are closed.
 */
#ifndef VALIJA_MESSAGE_H
#define VALIJA_MESSAGE_H

#include "program.h"
#include "span.h"

/* Ceilings, in bytes. */
#define MOST_ADDRESS 320        /* local part 64 + @ + domain 255 (RFC 5321 4.5.3.1) */
#define MOST_HOST 255
#define MOST_FORWARD 16384      /* a .forward */
#define MOST_ENVID 100          /* RFC 3461 4.4 */
#define MOST_ORCPT 500          /* RFC 3461 4.2: type;address */
#define MOST_LOGIN 255          /* the name of a system user */
#define MOST_IP 64              /* "[2001:db8::1]:65535" and scope */
#define MOST_PUBLIC 16          /* addresses at which the world reaches us */
#define MOST_PUBLIC_TEXT 768    /* as one text, commas between */
#define MOST_REASON 400
#define MOST_RELAY_LOGIN 320
#define MOST_SOCKET 107         /* a path that fits into a sockaddr_un */
#define MOST_STATUS 9           /* "5.123.123" */
#define MOST_PATH_FIELD 1024
#define MOST_SASL 12288         /* RFC 4954 section 4 */
#define MOST_PASSPORT 2048
#define MOST_HASH 512
#define MOST_PASSWORD 1024
#define MOST_TAG 64
#define MOST_AUTHORIZATION 2048
#define MOST_SERVICE_NAME 16
#define MOST_LEFTOVER 32768
#define MOST_SIGNED_DATA 4096
#define MOST_SIGNATURE 1024
#define MOST_PACKET 65536
#define MOST_URL 2048
#define MOST_STS_ID 32          /* RFC 8461 3.1 */
#define MOST_STS_MX 8192        /* the servers that a policy names, with a newline behind each */
#define MOST_CONTENT_TYPE 255
#define MOST_FETCH_BODY 60000   /* of an answer */
#define MOST_FETCH_BODY_SENT 49152
#define MOST_FILTER_PARAMETERS 1024 /* behind a recipient that a filter adds */
#define MOST_TRACE 8192         /* what smtpd puts on top of a client's message */
#define MOST_WISHES 8192        /* the header of a cache (imapd/cache-file.h) */
#define MOST_GIST 32768         /* what one message adds to it before anybody asks */
#define MOST_PREFIX (MOST_TRACE + 1024) /* and with Return-Path and Delivered-To, what delivery does */

/* Hours. */
#define HOUR_NONE      (1u << 0)   /* the id is not known: a conversation may begin */
#define HOUR_START     (1u << 1)   /* control: before go */
#define HOUR_SERVING   (1u << 2)   /* control: after go; also every one-message conversation */
#define HOUR_OPEN      (1u << 3)   /* mail: between mail_begin and mail_data */
#define HOUR_WAITING   (1u << 4)   /* an answer is awaited by the hearer */
#define HOUR_LENT      (1u << 5)   /* a file is lent */
#define HOUR_PLACING   (1u << 6)   /* committed, not yet durable */
#define HOUR_CHALLENGED (1u << 7)  /* SASL: the client owes an answer */
#define OR_GONE        (1u << 30)
#define ANYTIME        (HOUR_START | HOUR_SERVING)

/* --- control: master and its daemons (id 0 unless said) --- */
#define settings_fields(F)          F(u32, generation, 4)                 /* fd: sealed memfd, settings.h */
#define settings_ready_fields(F)    F(u32, generation, 4)
#define settings_refused_fields(F)  F(u32, generation, 4) F(text, reason, MOST_REASON)
#define settings_swap_fields(F)     F(u32, generation, 4)
#define settings_drop_fields(F)     F(u32, generation, 4)
#define peer_fields(F)              F(u8, program, 1) F(u16, index, 2)     /* fd: the channel */
#define listener_fields(F)          F(u8, service, 1) F(text, address, MOST_IP) F(flag, proxy, 1) /* fd: listening socket */
#define listener_gone_fields(F)     F(u8, service, 1) F(text, address, MOST_IP)
#define directory_fields(F)         F(u8, kind, 1)                         /* fd: O_PATH directory; enum directory */
#define passport_key_fields(F)      F(secret, key, 32)
#define certificate_fields(F)       F(u32, generation, 4) F(u16, number, 2) /* fd: PEM chain */
#define private_key_fields(F)       F(u32, generation, 4) F(u16, number, 2) /* fds: PEM chain, PEM key */
#define go_fields(F)                F(u16, index, 2)                       /* which of its kind it is */
#define confined_fields(F)          F(u8, seccomp, 1) F(u8, landlock, 1) F(flag, chrooted, 1)
#define leave_fields(F)             F(u32, seconds, 4)
#define load_ask_fields(F)
#define peer_lost_fields(F)         F(u8, program, 1) F(u16, index, 2)     /* it ended our channel, and no new one came */
#define load_told_fields(F)         F(u32, connections, 4) F(u64, served, 8)

/* --- addresses of this machine (id 0). A process that comes hears of each that is there as having come.
 * gone, came: as text, one of them or none; route: there is a default route of this family, or another
 * one than before. --- */
#define address_changed_fields(F)   F(text, gone, MOST_IP) F(text, came, MOST_IP) F(u8, family, 1) F(flag, route, 1) /* 4 or 6 */ \
                                    F(text, gateways, MOST_HOST) /* with route: of all default routes, commas between */

/* public_told: what dns found for our own name. public_address: at which addresses the world reaches us, the best of
 * each family first; all of them each time. Addresses as text, commas between. */
#define public_told_fields(F)       F(text, addresses, MOST_PUBLIC_TEXT)
#define public_address_fields(F)    F(text, addresses, MOST_PUBLIC_TEXT)

/* --- log --- */
#define log_line_fields(F)          F(u8, level, 1) F(text, line, 2048)
#define log_source_fields(F)        F(u8, program, 1) F(u16, index, 2) F(u32, pid, 4) /* fd: its log channel */

/* --- TLS (id: the session; tls_sign: the session too; its key: SHA-256 of the public key) ---
 * A front end says tls_expect to tls-key, then tls_start to that worker. tls-key that came anew knows
 * nothing: tls_expect is said to it again for every session whose tls_ready is still awaited. */
#define tls_expect_fields(F)        F(u16, worker, 2)
#define tls_start_fields(F)         F(u8, service, 1) F(text, ip, MOST_IP) /* fd: the client's socket; ip: his address, which a proxy may have told */
#define tls_ready_fields(F)         F(text, version, 16) F(text, cipher, 64) F(text, sni, MOST_HOST) F(text, alpn, 32) \
                                    F(flag, resumed, 1) F(octets, passport, MOST_PASSPORT) F(flag, kernel, 1) /* fd: plaintext; kernel-tls.h */
#define tls_failed_fields(F)        F(text, reason, MOST_REASON) F(text, result, 40) /* result: of RFC 8460 4.3, when relay asked */
#define tls_sign_fields(F)          F(octets, key, 32) F(u32, algorithm, 4) F(flag, hashed, 1) F(octets, input, MOST_SIGNED_DATA)
#define tls_signed_fields(F)        F(octets, signature, MOST_SIGNATURE)
#define tls_sign_refused_fields(F)  F(text, reason, MOST_REASON)
#define ticket_key_fields(F)        F(secret, key, 64)
/* The client role (id: chosen by relay). level: enum tls_level. server_name: for SNI, may be empty. names:
 * the names that the certificate may have, with commas between. tlsa: for each record u8 usage, u8 selector, u8 matching,
 * u16 length, data. Verified as far as it can be at every level; TLS_PKI and TLS_DANE fail where that fails. */
#define tls_connect_fields(F)       F(u8, level, 1) F(text, server_name, MOST_HOST) F(text, names, 1024) F(octets, tlsa, 8192) /* fd: connected */
#define tls_connected_fields(F)     F(text, version, 16) F(text, cipher, 64) F(u8, verified, 1) F(text, fault, MOST_REASON) \
                                    F(text, result, 40) /* fd: plaintext. fault, result: why it is not verified */
#define dkim_key_fields(F)          F(u32, generation, 4) F(u16, number, 2)  /* fd: PEM key; of which member of `dkim` */
/* DKIM (id: the message): smtpd asks for one signature after the other. */
#define dkim_ask_fields(F)          F(text, domain, MOST_HOST) F(text, selector, 64) F(octets, digest, 32)
#define dkim_signed_fields(F)       F(octets, signature, MOST_SIGNATURE)
#define dkim_refused_fields(F)      F(text, reason, MOST_REASON)
#define tls_trust_fields(F)         F(u32, generation, 4) F(u8, kind, 1)   /* fd: PEM; enum tls_trust_kind */
#define certificate_status_fields(F) F(u32, generation, 4) F(u16, number, 2) /* fd: an OCSP response (DER) for it */

/* ocsp has an OCSP response (DER), which whoever hears it judges, for the certificate with this SHA-256. */
#define staple_fields(F)            F(octets, fingerprint, 32) F(octets, response, 60000)
/* tls-key to master: a certificate that is in service now, the first of them with number 0; its first name, SHA-256
 * of the certificate, and the times between which its whole chain is valid. */
#define certificate_told_fields(F)  F(u16, number, 2) F(text, name, MOST_HOST) F(octets, fingerprint, 32) F(u64, not_before, 8) F(u64, not_after, 8)
/* ocsp to master: what the authority of that certificate says of it (enum revocation), and until when that counts. */
#define revocation_told_fields(F)   F(octets, fingerprint, 32) F(u8, word, 1) F(u64, until, 8)
#define command_certificate_fields(F) F(u16, number, 2) F(text, name, MOST_HOST) F(text, file, MOST_PATH_FIELD) F(u64, not_before, 8) F(u64, not_after, 8) \
                                    F(u8, word, 1) F(u64, until, 8) /* as in revocation_told */

/* --- authentication (id: the session) --- */
#define auth_ask_fields(F)          F(u8, service, 1) F(text, mechanism, 20) F(flag, has_initial, 1) F(secret, initial, MOST_SASL) \
                                    F(octets, passport, MOST_PASSPORT) F(text, ip, MOST_IP)
#define auth_challenge_fields(F)    F(octets, data, MOST_SASL)
#define auth_answer_fields(F)       F(secret, data, MOST_SASL)
#define auth_cancel_fields(F)
#define auth_told_fields(F)         F(u8, verdict, 1) F(text, user, MOST_ADDRESS) F(octets, ticket, 16) F(octets, data, MOST_SASL)
#define hash_ask_fields(F)          F(secret, hash, MOST_HASH) F(secret, password, MOST_PASSWORD)
#define hash_told_fields(F)         F(flag, right, 1)
#define ticket_made_fields(F)       F(octets, ticket, 16) F(text, user, MOST_ADDRESS) F(text, home, MOST_PATH_FIELD) \
                                    F(u32, uid, 4) F(u32, gid, 4) F(u8, program, 1) F(u16, index, 2) \
                                    F(u64, quota_bytes, 8) F(u64, quota_messages, 8) /* 0: no limit */
/* System users, by auth-pam. known and later are both false for who does not exist. */
#define name_ask_fields(F)          F(text, login, MOST_LOGIN)
#define name_told_fields(F)         F(flag, known, 1) F(flag, later, 1) F(u32, uid, 4) F(u32, gid, 4) F(text, home, MOST_PATH_FIELD)
/* A user was removed, barred, or has a new password: his sessions end. */
#define user_changed_fields(F)      F(text, user, MOST_ADDRESS)
/* He may keep more, or less. */
#define user_quota_fields(F)        F(text, user, MOST_ADDRESS) F(u64, quota_bytes, 8) F(u64, quota_messages, 8)
/* A new hash, and SCRAM keys, of a password that was right: a record of passwd.db. */
#define hash_make_fields(F)         F(text, scheme, 16) F(u32, cost, 4) F(u32, iterations, 4) F(secret, password, MOST_PASSWORD)
#define hash_made_fields(F)         F(secret, record, MOST_HASH * 2)
/* `valija auth`: what the guard counts (guard.h). kind: enum guard_kind; until: the end of a block, or 0 */
#define auth_list_fields(F)
#define auth_entry_fields(F)        F(u8, kind, 1) F(text, ip, MOST_IP) F(text, user, MOST_ADDRESS) F(u32, failures, 4) F(u64, when, 8) F(u64, until, 8)
#define auth_forgive_fields(F)      F(text, what, MOST_ADDRESS)
#define auth_end_fields(F)          F(u32, entries, 4) F(flag, more, 1)
/* passwd_file, or for auth-token oauth_credentials, for the settings of that generation, which come after it. */
#define auth_file_fields(F)         F(u32, generation, 4)                 /* fd: to read */
#define token_ask_fields(F)         F(secret, token, MOST_SASL)
/* seconds: for how long it may be believed without asking again. */
#define token_told_fields(F)        F(flag, right, 1) F(flag, later, 1) F(u32, seconds, 4) F(text, user, MOST_ADDRESS) F(text, reason, MOST_REASON)
#define worker_hangs_fields(F)      F(u8, program, 1) F(u16, index, 2)
/* The administrator's program (checkpassword): auth asks master to run it once (id: the run); fd: what it reads. */
#define check_run_fields(F)         F(text, ip, MOST_IP) F(text, service, MOST_SERVICE_NAME)
#define check_told_fields(F)        F(u8, result, 1)                       /* enum check_result */
/* A member of an alias that is a command or a file (id: the message): queue asks master to deliver to it; fd: the
 * message. member: CRC-32C of the member's text, which master looks up itself: queue cannot name a command. */
#define pipe_run_fields(F)          F(u32, number, 4) F(u32, member, 4) F(text, alias, MOST_ADDRESS) F(text, sender, MOST_ADDRESS) \
                                    F(text, address, MOST_ADDRESS) F(text, given, MOST_ADDRESS) F(octets, prefix, MOST_PREFIX)
#define pipe_told_fields(F)         F(u32, number, 4) F(u8, result, 1) F(u8, status, 1) F(text, said, MOST_REASON) /* enum pipe_result */
#define pam_ask_fields(F)           F(text, login, MOST_ADDRESS) F(secret, password, MOST_PASSWORD) F(text, ip, MOST_IP)
#define pam_told_fields(F)          F(u8, result, 1) F(text, reason, MOST_REASON) /* enum pam_result; why not, for the log */

/* --- IMAP hand-off (id: the session). imap_user may come again, with other limits --- */
#define imap_open_fields(F)         F(octets, ticket, 16) F(text, tag, MOST_TAG) F(octets, input, MOST_LEFTOVER) \
                                    F(text, ip, MOST_IP) F(text, verb, 16) /* fd: plaintext; verb: LOGIN or AUTHENTICATE */ \
                                    F(u8, service, 1) F(octets, passport, MOST_PASSPORT)
#define imap_opened_fields(F)
#define imap_refused_fields(F)      F(text, reason, MOST_REASON)
#define imap_user_fields(F)         F(text, user, MOST_ADDRESS) F(text, home, MOST_PATH_FIELD) /* absolute: a system user's */ \
                                    F(u64, quota_bytes, 8) F(u64, quota_messages, 8)
#define imap_session_fields(F)      F(text, tag, MOST_TAG) F(octets, input, MOST_LEFTOVER) F(text, ip, MOST_IP) F(text, verb, 16) \
                                    F(u8, service, 1) F(octets, passport, MOST_PASSPORT)
/* UNAUTHENTICATE: the session is nobody's again. fd: plaintext. What it brought with it goes back with it. */
#define imap_back_fields(F)         F(text, ip, MOST_IP) F(u8, service, 1) F(octets, passport, MOST_PASSPORT) F(octets, input, MOST_LEFTOVER)
#define imap_again_fields(F)        F(text, ip, MOST_IP) F(u8, service, 1) F(octets, passport, MOST_PASSPORT) F(octets, input, MOST_LEFTOVER)
#define imap_taken_fields(F)                                  /* the session is the process's now */
#define imap_ended_fields(F)
#define imap_idle_fields(F)
/* Mailboxes of one user that others use (imapd/share.h). shares_set: with whom this user shares, a line each, all of
 * them. shares_ask, shares_told: who shares with him; share_open: a way to the process of one of those (id: the
 * session; one at a time). guest_session: whose socket it is. owner_ask: master asks auth for a mailbox (id: its own). */
#define MOST_SHARES 32768       /* addresses, a line each */
#define shares_set_fields(F)        F(text, members, MOST_SHARES)
#define shares_ask_fields(F)
#define shares_told_fields(F)       F(text, owners, MOST_SHARES)
#define share_open_fields(F)        F(text, owner, MOST_ADDRESS)
#define share_opened_fields(F)                                /* fd: a stream socket */
#define share_refused_fields(F)     F(flag, later, 1)
#define guest_session_fields(F)     F(text, member, MOST_ADDRESS) /* fd: its other end */
#define guest_ended_fields(F)
#define owner_ask_fields(F)         F(text, user, MOST_ADDRESS)
#define owner_told_fields(F)        F(flag, known, 1) F(text, user, MOST_ADDRESS) F(text, home, MOST_PATH_FIELD) \
                                    F(u32, uid, 4) F(u32, gid, 4) F(u64, quota_bytes, 8) F(u64, quota_messages, 8)

/* --- mail: smtpd asks queue (id: the message) --- */
#define VERDICT(F)                  F(u8, outcome, 1) F(u16, code, 2) F(text, status, MOST_STATUS) F(text, reason, MOST_REASON)
/* What the sender asked for beside the delivery itself: DSN (RFC 3461; ret: 0 not given, 1 FULL, 2 HDRS),
 * REQUIRETLS (RFC 8689; tls_optional: its header field, known with mail_commit), FUTURERELEASE (RFC 4865; hold_for:
 * seconds, where they were said), DELIVERBY (RFC 2852; by_mode 'N' or 'R'), MT-PRIORITY (RFC 6710; 10 is normal),
 * AUTH= (RFC 4954). Times: seconds since 1970, 0 for none. Values are decoded. */
#define WISHES(F)                   F(text, envid, MOST_ENVID) F(u8, ret, 1) F(flag, require_tls, 1) F(u64, hold_until, 8) F(u64, deliver_by, 8) \
                                    F(u8, by_mode, 1) F(flag, by_trace, 1) F(u8, priority, 1) F(text, auth_param, MOST_ADDRESS) \
                                    F(flag, tls_optional, 1) F(u32, hold_for, 4)
/* A session has logged in for submission: auth tells queue itself (id: the session), before it tells smtpd, which says
 * when the session ends. mail_begin names a login that queue knows so, or none. */
#define mail_login_fields(F)        F(u16, index, 2) F(u8, service, 1) F(text, login, MOST_ADDRESS) /* index: which smtpd */
#define mail_login_end_fields(F)
#define mail_begin_fields(F)        F(u64, session, 8) F(u8, service, 1) F(text, sender, MOST_ADDRESS) F(text, login, MOST_ADDRESS) \
                                    F(u8, body, 1) F(flag, utf8, 1) F(u64, size, 8) F(text, ip, MOST_IP) F(text, helo, MOST_HOST) WISHES(F)
#define mail_begun_fields(F)        VERDICT(F)
#define mail_recipient_fields(F)    F(u32, number, 4) F(text, address, MOST_ADDRESS) F(u8, notify, 1) F(text, orcpt, MOST_ORCPT) /* enum notify */
#define mail_recipient_told_fields(F) F(u32, number, 4) VERDICT(F)
/* What filters change: a recipient that was accepted is none; another sender. With the file lent, also mail_recipient. */
#define mail_recipient_drop_fields(F) F(u32, number, 4)
#define mail_sender_fields(F)       F(text, sender, MOST_ADDRESS)
#define mail_data_fields(F)         F(flag, by_queue, 1)   /* into the spool in any case: it may be held, or get lines on top */
#define mail_file_fields(F)         F(flag, last_write, 1)   /* fd: write here. last_write: all local, add Return-Path */
/* hold: until an administrator releases it. top: header lines that go ahead of the file wherever it goes. Either
 * only when the file is not last_write. */
#define mail_commit_fields(F)       F(u64, size, 8) F(octets, digest, 32) F(flag, hold, 1) F(text, hold_reason, MOST_REASON) F(octets, top, MOST_TRACE) \
                                    F(flag, tls_optional, 1)
#define mail_recipient_result_fields(F) F(u32, number, 4) VERDICT(F) /* LMTP: of each accepted recipient, then mail_told */
#define mail_told_fields(F)         VERDICT(F)               /* ends the transaction, whatever the outcome */
#define mail_abort_fields(F)

/* --- policy: smtpd asks what must outlast a connection (id: the message) --- */
#define greylist_ask_fields(F)      F(u32, number, 4) F(text, ip, MOST_IP) F(text, sender, MOST_ADDRESS) F(text, recipient, MOST_ADDRESS)
#define greylist_told_fields(F)     F(u32, number, 4) F(u32, seconds, 4)   /* to wait; 0: let it in */
#define allowance_ask_fields(F)     F(text, login, MOST_ADDRESS) F(u32, recipients, 4)
#define allowance_told_fields(F)    F(u8, said, 1) F(u32, seconds, 4)      /* enum allowance: 0 yes, 1 messages, 2 recipients */

/* --- files: queue asks its blocking workers (id: the message) --- */
#define QUOTA(F)                    F(u64, quota_bytes, 8) F(u64, quota_messages, 8)   /* 0: no limit */
#define lend_fields(F)              F(text, home, MOST_PATH_FIELD) F(u32, uid, 4) F(u32, gid, 4) QUOTA(F) /* empty home: the spool */
#define lent_fields(F)                                       /* fd: unnamed file, read and write */
#define lend_refused_fields(F)      VERDICT(F)
#define lend_return_fields(F)
#define target_fields(F)            F(u32, number, 4) F(text, address, MOST_ADDRESS) F(text, home, MOST_PATH_FIELD) F(text, folder, 255) \
                                    F(u32, uid, 4) F(u32, gid, 4) QUOTA(F)
#define place_fields(F)             F(u64, size, 8) F(octets, digest, 32)
#define place_copy_fields(F)        F(u64, size, 8) F(octets, prefix, MOST_PREFIX) /* fd: a message to read; prefix: header lines to put on top */
#define placed_fields(F)
#define place_refused_fields(F)     F(u32, number, 4) VERDICT(F)
/* given: what RCPT said, where that led to `address`. sender: instead of the message's (owner-LIST). */
#define spool_recipient_fields(F)   F(u32, number, 4) F(text, address, MOST_ADDRESS) F(text, home, MOST_PATH_FIELD) F(u32, uid, 4) F(u32, gid, 4) \
                                    F(u8, notify, 1) F(text, orcpt, MOST_ORCPT) F(text, given, MOST_ADDRESS) F(text, sender, MOST_ADDRESS)
#define spool_fields(F)             F(u64, size, 8) F(octets, digest, 32) F(u64, session, 8) F(u8, service, 1) F(text, sender, MOST_ADDRESS) \
                                    F(text, login, MOST_ADDRESS) F(u8, body, 1) F(flag, utf8, 1) WISHES(F) F(flag, hold, 1) \
                                    F(text, hold_reason, MOST_REASON) F(octets, top, MOST_TRACE) F(u64, arrived, 8) /* 0: now */
/* Instead of a lend: the envelope of a queued message is to be replaced by what follows. */
#define spool_renew_fields(F)
#define spooled_fields(F)
#define spool_refused_fields(F)     VERDICT(F)
#define spool_finish_fields(F)      F(u32, number, 4) VERDICT(F)   /* one recipient is done with */
#define spool_finished_fields(F)    F(u32, number, 4) F(u8, outcome, 1)
#define spool_remove_fields(F)
#define spool_removed_fields(F)     F(u8, outcome, 1)

/* --- dns: anybody asks (id: the question); dns asks master for the files it reads --- */
#define dns_ask_fields(F)           F(u16, type, 2) F(text, name, MOST_HOST) F(flag, hosts_first, 1)
#define dns_told_fields(F)          F(u8, outcome, 1) F(flag, secure, 1) F(u32, ttl, 4) F(text, canonical, MOST_HOST) \
                                    F(octets, answers, 60000)             /* dns-answer.h */
/* --- relay (id: the job: some recipients of one message, that go one way) ---
 * queue says relay_job, then each relay_recipient; relay says relay_result for each of them, in any order, then
 * relay_done. way: enum relay_way. relayed: by a server that does not know DSN. */
#define relay_job_fields(F)         F(u64, message, 8) F(u64, session, 8) F(text, sender, MOST_ADDRESS) F(u8, body, 1) F(flag, utf8, 1) \
                                    F(u64, size, 8) F(octets, top, MOST_TRACE) WISHES(F) F(u8, way, 1) F(text, next_hop, 400) \
                                    F(u32, recipients, 4)                 /* fd: the message, to read */
#define relay_recipient_fields(F)   F(u32, number, 4) F(text, address, MOST_ADDRESS) F(u8, notify, 1) F(text, orcpt, MOST_ORCPT)
#define relay_result_fields(F)      F(u32, number, 4) VERDICT(F) F(text, relay, 400) F(flag, relayed, 1)
#define relay_done_fields(F)        F(u8, health, 1) F(text, reason, MOST_REASON) /* enum health of the next hop */

/* --- fetch: HTTPS for others (id: the question); fetch-ask.h. method: enum fetch_method. status: of HTTP, 0 when
 * there is none, and fault says why; result: then, the word of RFC 8460 4.3 for what TLS had against it. --- */
#define fetch_ask_fields(F)         F(text, url, MOST_URL) F(u8, method, 1) F(text, content_type, MOST_CONTENT_TYPE) \
                                    F(secret, authorization, MOST_AUTHORIZATION) F(secret, body, MOST_FETCH_BODY_SENT) F(u32, most_bytes, 4) F(u32, milliseconds, 4) \
                                    F(flag, plain_allowed, 1)
#define fetch_told_fields(F)        F(u16, status, 2) F(text, content_type, MOST_CONTENT_TYPE) F(octets, body, MOST_FETCH_BODY) \
                                    F(text, fault, MOST_REASON) F(text, result, 40)

/* --- sts: what do domains want (MTA-STS, RFC 8461)? (id: the question). mode: enum sts_mode; policy: its id; fault: why
 * there is nothing new. For `valija sts`: all that is remembered. --- */
#define sts_ask_fields(F)           F(text, domain, MOST_HOST)
#define sts_told_fields(F)          F(u8, mode, 1) F(text, policy, MOST_STS_ID) F(u64, expires, 8) F(text, mx, MOST_STS_MX) \
                                    F(text, fault, MOST_REASON)
/* What became of TLS with a server (RFC 8460), where tls_reports says so (id 0). policy: enum tls_policy_type; result: the
 * word of RFC 8460 4.3, empty when all was well. sts_report: reports leave now; the answer is sts_end. */
#define tls_seen_fields(F)          F(text, domain, MOST_HOST) F(u8, policy, 1) F(text, mx, MOST_HOST) F(text, ip, MOST_IP) F(text, own_ip, MOST_IP) \
                                    F(text, result, 40) F(text, reason, MOST_REASON)
#define sts_report_fields(F)
#define sts_list_fields(F)
#define sts_entry_fields(F)         F(text, domain, MOST_HOST) F(u8, mode, 1) F(text, policy, MOST_STS_ID) F(u64, fetched, 8) \
                                    F(u64, expires, 8) F(text, mx, MOST_STS_MX)
#define sts_end_fields(F)

/* --- notices: mail that a program wants an administrator or a user to read (id 0) ---
 * recipient: empty for postmaster. body: UTF-8 text; its lines are ended as they come. */
#define notice_fields(F)            F(text, recipient, MOST_ADDRESS) F(text, subject, 200) F(octets, body, 32768)

#define resolver_ask_fields(F)      F(u8, kind, 1)                         /* enum resolver_file */
#define resolver_file_fields(F)     F(u8, kind, 1)                         /* fd: the file, to read */
#define resolver_no_file_fields(F)  F(u8, kind, 1) F(u32, error, 4)
/* A socket of this machine, one of lmtp_sockets, that relay cannot reach: master connects to it as relay's user. id: the question. */
#define socket_ask_fields(F)        F(text, path, MOST_SOCKET)
#define socket_told_fields(F)                                              /* fd: connected */
#define socket_fault_fields(F)      F(u32, error, 4)
/* The program of relay_token_commands for this login, once (id: the run); fds: what it writes its token to, and its faults.
 * reason: empty when it ended well. */
#define login_token_run_fields(F)   F(text, login, MOST_RELAY_LOGIN)
#define login_token_told_fields(F)  F(text, reason, MOST_REASON)

/* --- the valija command (over the control socket, or a channel that master made for it) --- */
#define command_status_fields(F)
#define command_process_fields(F)   F(u8, program, 1) F(u16, index, 2) F(u32, pid, 4) F(u32, restarts, 4) F(u32, connections, 4) F(u64, served, 8) \
                                    F(u8, landlock, 1) F(u64, since, 8) F(text, user, MOST_ADDRESS)
#define command_end_fields(F)       F(u32, generation, 4) F(u64, since, 8)
#define command_address_fields(F)   F(text, link, 16) F(text, address, MOST_IP) F(u8, prefix, 1) F(text, kind, 16) F(text, life, 16) \
                                    F(u32, seconds, 4) F(flag, up, 1) F(flag, usable, 1) /* seconds left, 2^32-1: for ever */
#define portmap_told_fields(F)      F(u8, service, 1) F(u16, outside, 2) F(u16, inside, 2) F(u32, seconds, 4) F(text, address, MOST_IP) \
                                    F(text, protocol, 8) F(text, fault, 100) /* seconds 0: not mapped */
#define command_mapping_fields(F)   F(text, service, 16) F(u16, outside, 2) F(u16, inside, 2) F(u32, seconds, 4) F(text, address, MOST_IP) \
                                    F(text, protocol, 8) F(text, fault, 100)
#define command_address_change_fields(F) F(u64, when, 8) F(text, gone, MOST_IP) F(text, came, MOST_IP)
#define command_public_fields(F)    F(text, address, MOST_IP) F(text, source, 32)
#define command_reload_fields(F)
#define command_stop_fields(F)
#define command_told_fields(F)      F(u8, outcome, 1) F(text, reason, 4096)
#define command_connect_fields(F)   F(u8, program, 1)
#define command_connected_fields(F)                          /* fd: a channel to it */
#define queue_list_fields(F)
/* Which messages: all that fit every field that is given. Patterns (fnmatch(3)) without case; reason: a part of it;
 * older, younger: seconds since arrival. action: enum queue_action; note: the reason of a hold. */
#define queue_select_fields(F)      F(u8, action, 1) F(u64, message, 8) F(text, sender, MOST_ADDRESS) F(text, recipient, MOST_ADDRESS) \
                                    F(text, destination, MOST_HOST) F(text, reason, MOST_REASON) F(text, state, 16) \
                                    F(u64, older, 8) F(u64, younger, 8) F(text, note, MOST_REASON)
#define queue_detail_fields(F)      F(text, name, 32) F(text, value, 1024)    /* of one message, beside its entry */
#define queue_message_fields(F)     F(u64, message, 8)       /* fd: the message, to be read */
#define queue_done_fields(F)        F(u64, message, 8) F(u8, outcome, 1) F(text, reason, MOST_REASON) /* of an action, for each message */
#define forward_ask_fields(F)       F(text, home, MOST_PATH_FIELD) F(u32, uid, 4) F(u32, gid, 4)
#define forward_told_fields(F)      F(u8, outcome, 1) F(octets, text, MOST_FORWARD) /* DONE: there is one; NEVER: none that counts; LATER */
#define spool_hold_fields(F)        F(flag, held, 1) F(text, reason, MOST_REASON)
#define spool_held_fields(F)        F(u8, outcome, 1)
#define queue_entry_fields(F)       F(u64, message, 8) F(text, state, 16) F(u64, arrived, 8) F(u64, size, 8) F(text, sender, MOST_ADDRESS) \
                                    F(u32, recipients, 4)
#define queue_entry_recipient_fields(F) F(u64, message, 8) F(text, address, MOST_ADDRESS) F(text, reason, MOST_REASON)
#define queue_end_fields(F)         F(u32, messages, 4)

/* --- filters (id: the message): who sends, each recipient that queue has accepted, then the file, which is milter's until
 * filter_told. What filters change of the envelope comes before that. filter_remove: of a recipient that was told.
 * filter_cancel: there is no message any more. submitted: by one of ours. trace: octets on top that filters do not see. code, status, reason: the answer
 * where the outcome is not DONE. discard: say yes, deliver nothing. quarantine: why it is to be held. --- */
#define filter_begin_fields(F)      F(u64, session, 8) F(u8, service, 1) F(flag, submitted, 1) F(text, ip, MOST_IP) F(text, name, MOST_HOST) \
                                    F(text, helo, MOST_HOST) F(text, tls_version, 16) F(text, tls_cipher, 64) F(text, login, MOST_ADDRESS) \
                                    F(text, sender, MOST_ADDRESS)
#define filter_recipient_fields(F)  F(u32, number, 4) F(text, address, MOST_ADDRESS)
#define filter_recipient_told_fields(F) F(u32, number, 4) VERDICT(F)
#define filter_cancel_fields(F)
#define filter_sender_fields(F)     F(text, address, MOST_ADDRESS)
#define filter_add_fields(F)        F(text, address, MOST_ADDRESS) F(text, parameters, MOST_FILTER_PARAMETERS)
#define filter_remove_fields(F)     F(u32, number, 4)
#define filter_ask_fields(F)        F(u64, size, 8) F(u32, trace, 4)       /* fd: the message, to read and write */
#define filter_told_fields(F)       VERDICT(F) F(flag, discard, 1) F(flag, changed, 1) F(u64, size, 8) F(octets, digest, 32) \
                                    F(text, quarantine, MOST_REASON)

/* --- this machine's users (id: none) --- */
#define local_open_fields(F)        F(u32, uid, 4)   /* fd: a stream on which SMTP is spoken, in the name of this user */

/* What will be asked of a message that was delivered (id: chosen by the placer). wishes: the header of the mailbox's cache,
 * as it lies on the disk. gist: imapd/gist-record.h; empty where there is none to be had. */
#define gist_ask_fields(F)          F(octets, wishes, MOST_WISHES) /* fd: the message, to be read */
#define gist_told_fields(F)         F(octets, gist, MOST_GIST)

#define BY_FETCHES (BY_FETCH | BY_AUTH_FETCH)
#define BY_PLACERS (BY_LOCAL | BY_LOCAL_HOME)

/*        name              no.  said by                  heard by               hours                          fds */
#define MESSAGES(M) \
	M(settings,          1,   BY_MASTER,               BY_DAEMONS,            ANYTIME,                       1) \
	M(settings_ready,    2,   BY_DAEMONS,              BY_MASTER,             ANYTIME,                       0) \
	M(settings_refused,  3,   BY_DAEMONS,              BY_MASTER,             ANYTIME,                       0) \
	M(settings_swap,     4,   BY_MASTER,               BY_DAEMONS,            ANYTIME,                       0) \
	M(settings_drop,     5,   BY_MASTER,               BY_DAEMONS,            ANYTIME,                       0) \
	M(peer,              6,   BY_MASTER,               BY_DAEMONS,            ANYTIME,                       1) \
	M(listener,          7,   BY_MASTER,               BY_SMTPD | BY_IMAP_LOGIN, ANYTIME,                    1) \
	M(listener_gone,     8,   BY_MASTER,               BY_SMTPD | BY_IMAP_LOGIN, ANYTIME,                    0) \
	M(directory,         9,   BY_MASTER,               BY_DAEMONS,            HOUR_START,                    1) \
	M(passport_key,      10,  BY_MASTER,               BY_TLS | BY_AUTH,      HOUR_START,                    0) \
	M(certificate,       11,  BY_MASTER,               BY_TLS | BY_OCSP,      ANYTIME,                       1) \
	M(private_key,       12,  BY_MASTER,               BY_TLS_KEY,            ANYTIME,                       2) \
	M(go,                13,  BY_MASTER,               BY_DAEMONS,            HOUR_START,                    0) \
	M(confined,          14,  BY_DAEMONS,              BY_MASTER,             HOUR_START,                    0) \
	M(leave,             15,  BY_MASTER,               BY_DAEMONS,            ANYTIME,                       0) \
	M(load_ask,          16,  BY_MASTER,               BY_DAEMONS,            ANYTIME,                       0) \
	M(load_told,         17,  BY_DAEMONS,              BY_MASTER,             ANYTIME,                       0) \
	M(peer_lost,         18,  BY_DAEMONS,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(log_line,          20,  BY_DAEMONS | BY_MASTER,  BY_LOG,                ANYTIME,                       0) \
	M(log_source,        21,  BY_MASTER,               BY_LOG,                ANYTIME,                       1) \
	M(tls_expect,        30,  BY_SMTPD | BY_IMAP_LOGIN, BY_TLS_KEY,           HOUR_SERVING,                  0) \
	M(tls_start,         31,  BY_SMTPD | BY_IMAP_LOGIN, BY_TLS,               HOUR_NONE,                     1) \
	M(tls_ready,         32,  BY_TLS,                  BY_SMTPD | BY_IMAP_LOGIN, HOUR_WAITING | OR_GONE,     1) \
	M(tls_failed,        33,  BY_TLS,                  BY_SMTPD | BY_IMAP_LOGIN | BY_RELAY | BY_FETCHES, HOUR_WAITING | OR_GONE, 0) \
	M(tls_sign,          34,  BY_TLS,                  BY_TLS_KEY,            HOUR_SERVING,                  0) \
	M(tls_signed,        35,  BY_TLS_KEY,              BY_TLS,                HOUR_WAITING | OR_GONE,        0) \
	M(tls_sign_refused,  36,  BY_TLS_KEY,              BY_TLS,                HOUR_WAITING | OR_GONE,        0) \
	M(ticket_key,        37,  BY_TLS_KEY,              BY_TLS,                HOUR_SERVING,                  0) \
	M(auth_ask,          40,  BY_SMTPD | BY_IMAP_LOGIN, BY_AUTH,              HOUR_NONE,                     0) \
	M(auth_challenge,    41,  BY_AUTH,                 BY_SMTPD | BY_IMAP_LOGIN, HOUR_WAITING | OR_GONE,     0) \
	M(auth_answer,       42,  BY_SMTPD | BY_IMAP_LOGIN, BY_AUTH,              HOUR_CHALLENGED,               0) \
	M(auth_cancel,       43,  BY_SMTPD | BY_IMAP_LOGIN, BY_AUTH,              HOUR_CHALLENGED | HOUR_WAITING | OR_GONE, 0) \
	M(auth_told,         44,  BY_AUTH,                 BY_SMTPD | BY_IMAP_LOGIN, HOUR_WAITING | OR_GONE,     0) \
	M(hash_ask,          45,  BY_AUTH,                 BY_AUTH_HASH,          HOUR_SERVING,                  0) \
	M(hash_told,         46,  BY_AUTH_HASH,            BY_AUTH,               HOUR_WAITING | OR_GONE,        0) \
	M(ticket_made,       47,  BY_AUTH,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(imap_open,         50,  BY_IMAP_LOGIN,           BY_MASTER,             HOUR_SERVING,                  1) \
	M(imap_opened,       51,  BY_MASTER,               BY_IMAP_LOGIN,         HOUR_WAITING | OR_GONE,        0) \
	M(imap_refused,      52,  BY_MASTER,               BY_IMAP_LOGIN,         HOUR_WAITING | OR_GONE,        0) \
	M(imap_user,         53,  BY_MASTER,               BY_IMAP,               ANYTIME,                       0) \
	M(imap_session,      54,  BY_MASTER,               BY_IMAP,               HOUR_SERVING,                  1) \
	M(imap_taken,        57,  BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(imap_ended,        55,  BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(imap_idle,         56,  BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(imap_back,         198, BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  1) \
	M(imap_again,        199, BY_MASTER,               BY_IMAP_LOGIN,         HOUR_SERVING,                  1) \
	M(mail_begin,        60,  BY_SMTPD,                BY_QUEUE,              HOUR_NONE,                     0) \
	M(mail_begun,        61,  BY_QUEUE,                BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(mail_recipient,    62,  BY_SMTPD,                BY_QUEUE,              HOUR_OPEN | HOUR_LENT | OR_GONE, 0) \
	M(mail_recipient_drop, 204, BY_SMTPD,              BY_QUEUE,              HOUR_OPEN | HOUR_LENT | OR_GONE, 0) \
	M(mail_sender,       205, BY_SMTPD,                BY_QUEUE,              HOUR_LENT | OR_GONE,           0) \
	M(mail_recipient_told, 63, BY_QUEUE,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(mail_data,         64,  BY_SMTPD,                BY_QUEUE,              HOUR_OPEN | OR_GONE,           0) \
	M(mail_file,         65,  BY_QUEUE,                BY_SMTPD,              HOUR_WAITING | OR_GONE,        1) \
	M(mail_commit,       66,  BY_SMTPD,                BY_QUEUE,              HOUR_LENT | OR_GONE,           0) \
	M(mail_told,         67,  BY_QUEUE,                BY_SMTPD,              HOUR_WAITING | HOUR_LENT | OR_GONE, 0) \
	M(mail_abort,        68,  BY_SMTPD,                BY_QUEUE,              HOUR_OPEN | HOUR_WAITING | HOUR_LENT | HOUR_PLACING | OR_GONE, 0) \
	M(check_run,         177, BY_AUTH,                 BY_MASTER,             HOUR_SERVING,                  1) \
	M(check_told,        178, BY_MASTER,               BY_AUTH,               HOUR_SERVING,                  0) \
	M(pipe_run,          191, BY_QUEUE,                BY_MASTER,             HOUR_SERVING,                  1) \
	M(pipe_told,         192, BY_MASTER,               BY_QUEUE,              ANYTIME | HOUR_NONE,           0) \
	M(mail_login,        175, BY_AUTH,                 BY_QUEUE,              HOUR_SERVING,                  0) \
	M(mail_login_end,    176, BY_SMTPD,                BY_QUEUE,              ANYTIME | HOUR_NONE,           0) \
	M(mail_recipient_result, 230, BY_QUEUE,            BY_SMTPD,              HOUR_WAITING | HOUR_LENT | OR_GONE, 0) \
	M(greylist_ask,      200, BY_SMTPD,                BY_POLICY,             HOUR_SERVING,                  0) \
	M(greylist_told,     201, BY_POLICY,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(allowance_ask,     202, BY_SMTPD,                BY_POLICY,             HOUR_SERVING,                  0) \
	M(allowance_told,    203, BY_POLICY,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(lend,              70,  BY_QUEUE,                BY_PLACERS | BY_SPOOL,   HOUR_NONE,                     0) \
	M(lent,              71,  BY_PLACERS | BY_SPOOL,     BY_QUEUE,              HOUR_WAITING | OR_GONE,        1) \
	M(lend_refused,      72,  BY_PLACERS | BY_SPOOL,     BY_QUEUE,              HOUR_WAITING | OR_GONE,        0) \
	M(lend_return,       73,  BY_QUEUE,                BY_PLACERS | BY_SPOOL,   HOUR_LENT | OR_GONE,           0) \
	M(target,            74,  BY_QUEUE,                BY_PLACERS,              HOUR_LENT | HOUR_NONE | HOUR_OPEN, 0) \
	M(place,             75,  BY_QUEUE,                BY_PLACERS,              HOUR_LENT,                     0) \
	M(place_copy,        76,  BY_QUEUE,                BY_PLACERS,              HOUR_OPEN,                     1) \
	M(placed,            77,  BY_PLACERS,                BY_QUEUE,              HOUR_PLACING,                  0) \
	M(place_refused,     78,  BY_PLACERS,                BY_QUEUE,              HOUR_PLACING,                  0) \
	M(spool_recipient,   80,  BY_QUEUE,                BY_SPOOL,              HOUR_LENT,                     0) \
	M(spool,             81,  BY_QUEUE,                BY_SPOOL,              HOUR_LENT,                     0) \
	M(spooled,           82,  BY_SPOOL,                BY_QUEUE,              HOUR_PLACING,                  0) \
	M(spool_refused,     83,  BY_SPOOL,                BY_QUEUE,              HOUR_PLACING,                  0) \
	M(spool_finish,      84,  BY_QUEUE,                BY_SPOOL,              HOUR_NONE,                     0) \
	M(spool_finished,    85,  BY_SPOOL,                BY_QUEUE,              HOUR_SERVING,                  0) \
	M(spool_remove,      86,  BY_QUEUE,                BY_SPOOL,              HOUR_NONE,                     0) \
	M(spool_removed,     87,  BY_SPOOL,                BY_QUEUE,              HOUR_SERVING,                  0) \
	M(name_ask,          160, BY_AUTH | BY_QUEUE,      BY_AUTH_PAM,           HOUR_SERVING,                  0) \
	M(name_told,         161, BY_AUTH_PAM,             BY_AUTH | BY_QUEUE,    HOUR_WAITING | OR_GONE,        0) \
	M(pam_ask,           162, BY_AUTH,                 BY_AUTH_PAM,           HOUR_SERVING,                  0) \
	M(pam_told,          163, BY_AUTH_PAM,             BY_AUTH,               HOUR_WAITING | OR_GONE,        0) \
	M(worker_hangs,      164, BY_AUTH,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(forward_ask,       237, BY_QUEUE,                BY_LOCAL_HOME,         HOUR_SERVING,                  0) \
	M(forward_told,      238, BY_LOCAL_HOME,           BY_QUEUE,              HOUR_WAITING | OR_GONE,        0) \
	M(spool_hold,        231, BY_QUEUE,                BY_SPOOL,              HOUR_NONE,                     0) \
	M(spool_renew,       245, BY_QUEUE,                BY_SPOOL,              HOUR_NONE,                     0) \
	M(spool_held,        232, BY_SPOOL,                BY_QUEUE,              HOUR_SERVING,                  0) \
	M(queue_select,      233, BY_COMMAND,              BY_QUEUE,              HOUR_NONE,                     0) \
	M(queue_detail,      234, BY_QUEUE,                BY_COMMAND,            HOUR_WAITING,                  0) \
	M(queue_message,     235, BY_QUEUE,                BY_COMMAND,            HOUR_WAITING,                  1) \
	M(queue_done,        236, BY_QUEUE,                BY_COMMAND,            HOUR_WAITING,                  0) \
	M(user_changed,      165, BY_COMMAND | BY_MASTER,  BY_MASTER | BY_SMTPD,  HOUR_SERVING,                  0) \
	M(shares_set,        181, BY_IMAP,                 BY_MASTER,             HOUR_SERVING | HOUR_START,     0) \
	M(shares_ask,        182, BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(shares_told,       183, BY_MASTER,               BY_IMAP,               HOUR_SERVING,                  0) \
	M(share_open,        184, BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(share_opened,      185, BY_MASTER,               BY_IMAP,               HOUR_SERVING,                  1) \
	M(share_refused,     186, BY_MASTER,               BY_IMAP,               HOUR_SERVING,                  0) \
	M(guest_session,     187, BY_MASTER,               BY_IMAP,               HOUR_SERVING,                  1) \
	M(guest_ended,       188, BY_IMAP,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(owner_ask,         189, BY_MASTER,               BY_AUTH,               HOUR_SERVING,                  0) \
	M(owner_told,        190, BY_AUTH,                 BY_MASTER,             HOUR_SERVING,                  0) \
	M(user_quota,        180, BY_COMMAND,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(hash_make,         166, BY_AUTH,                 BY_AUTH_HASH,          HOUR_SERVING,                  0) \
	M(hash_made,         167, BY_AUTH_HASH,            BY_AUTH,               HOUR_WAITING | OR_GONE,        0) \
	M(auth_list,         168, BY_COMMAND,              BY_AUTH,               HOUR_SERVING,                  0) \
	M(auth_entry,        169, BY_AUTH,                 BY_COMMAND,            HOUR_WAITING,                  0) \
	M(auth_forgive,      170, BY_COMMAND,              BY_AUTH,               HOUR_SERVING,                  0) \
	M(auth_end,          171, BY_AUTH,                 BY_COMMAND,            HOUR_WAITING,                  0) \
	M(auth_file,         174, BY_MASTER,               BY_AUTH | BY_AUTH_TOKEN,ANYTIME,                       1) \
	M(token_ask,         172, BY_AUTH,                 BY_AUTH_TOKEN,         HOUR_SERVING,                  0) \
	M(token_told,        173, BY_AUTH_TOKEN,           BY_AUTH,               HOUR_WAITING | OR_GONE,        0) \
	M(filter_begin,      221, BY_SMTPD,                BY_MILTER,             HOUR_NONE,                     0) \
	M(filter_recipient,  222, BY_SMTPD,                BY_MILTER,             HOUR_OPEN,                     0) \
	M(filter_ask,        223, BY_SMTPD,                BY_MILTER,             HOUR_OPEN,                     1) \
	M(filter_told,       224, BY_MILTER,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(filter_recipient_told, 225, BY_MILTER,           BY_SMTPD,              HOUR_OPEN | OR_GONE,           0) \
	M(filter_cancel,     226, BY_SMTPD,                BY_MILTER,             HOUR_OPEN | HOUR_LENT | OR_GONE, 0) \
	M(filter_sender,     227, BY_MILTER,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(filter_add,        228, BY_MILTER,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(filter_remove,     229, BY_MILTER,               BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(local_open,        220, BY_PICKUP | BY_STS,      BY_SMTPD,              HOUR_SERVING,                  1) \
	M(command_status,    100, BY_COMMAND,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(command_process,   101, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  0) \
	M(command_end,       102, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  0) \
	M(command_reload,    103, BY_COMMAND,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(command_stop,      104, BY_COMMAND,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(command_told,      105, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  0) \
	M(command_connect,   106, BY_COMMAND,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(command_connected, 107, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  1) \
	M(queue_list,        110, BY_COMMAND,              BY_QUEUE,              HOUR_NONE,                     0) \
	M(queue_entry,       111, BY_QUEUE,                BY_COMMAND,            HOUR_WAITING,                  0) \
	M(queue_entry_recipient, 112, BY_QUEUE,            BY_COMMAND,            HOUR_WAITING,                  0) \
	M(queue_end,         113, BY_QUEUE,                BY_COMMAND,            HOUR_WAITING,                  0) \
	M(address_changed,   120, BY_MASTER,               BY_SMTPD | BY_IMAP_LOGIN | BY_IMAP | BY_TLS | BY_QUEUE | BY_RELAY | BY_DNS | BY_PORTMAP | BY_AUTH, ANYTIME, 0) \
	M(portmap_told,      123, BY_PORTMAP,              BY_MASTER,             HOUR_SERVING,                  0) \
	M(public_told,       125, BY_DNS,                  BY_MASTER,             HOUR_SERVING,                  0) \
	M(public_address,    126, BY_MASTER,               BY_SMTPD | BY_QUEUE | BY_RELAY, ANYTIME,              0) \
	M(command_public,    127, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  0) \
	M(command_mapping,   124, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  0) \
	M(command_address,   121, BY_MASTER,               BY_COMMAND,            HOUR_WAITING,                  0) \
	M(command_address_change, 122, BY_MASTER,          BY_COMMAND,            HOUR_WAITING,                  0) \
	M(tls_connect,       140, BY_RELAY | BY_FETCHES,   BY_TLS,                HOUR_NONE,                     1) \
	M(tls_connected,     141, BY_TLS,                  BY_RELAY | BY_FETCHES,            HOUR_WAITING | OR_GONE,        1) \
	M(tls_trust,         142, BY_MASTER,               BY_TLS,                ANYTIME,                       1) \
	M(certificate_status, 143, BY_MASTER,              BY_TLS | BY_OCSP,      ANYTIME,                       1) \
	M(certificate_told,  144, BY_TLS_KEY,              BY_MASTER,             ANYTIME,                       0) \
	M(command_certificate, 145, BY_MASTER,             BY_COMMAND,            HOUR_WAITING,                  0) \
	M(staple,            146, BY_OCSP,                 BY_TLS,                HOUR_SERVING,                  0) \
	M(revocation_told,   147, BY_OCSP,                 BY_MASTER,             ANYTIME,                       0) \
	M(dkim_key,          150, BY_MASTER,               BY_TLS_KEY,            ANYTIME,                       1) \
	M(dkim_ask,          151, BY_SMTPD,                BY_TLS_KEY,            HOUR_SERVING,                  0) \
	M(dkim_signed,       152, BY_TLS_KEY,              BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(dkim_refused,      153, BY_TLS_KEY,              BY_SMTPD,              HOUR_WAITING | OR_GONE,        0) \
	M(dns_ask,           260, BY_SMTPD | BY_RELAY | BY_QUEUE | BY_FETCHES | BY_STS | BY_COMMAND, BY_DNS, HOUR_NONE,           0) \
	M(dns_told,          261, BY_DNS,                  BY_SMTPD | BY_RELAY | BY_QUEUE | BY_FETCHES | BY_STS | BY_COMMAND, HOUR_WAITING | OR_GONE, 0) \
	M(resolver_ask,      262, BY_DNS | BY_RELAY,       BY_MASTER,             HOUR_SERVING,                  0) \
	M(resolver_file,     263, BY_MASTER,               BY_DNS | BY_RELAY,     HOUR_SERVING,                  1) \
	M(resolver_no_file,  264, BY_MASTER,               BY_DNS | BY_RELAY,     HOUR_SERVING,                  0) \
	M(relay_job,         265, BY_QUEUE,                BY_RELAY,              HOUR_NONE,                     1) \
	M(relay_recipient,   266, BY_QUEUE,                BY_RELAY,              HOUR_OPEN | OR_GONE,           0) \
	M(relay_result,      267, BY_RELAY,                BY_QUEUE,              HOUR_PLACING,                  0) \
	M(relay_done,        268, BY_RELAY,                BY_QUEUE,              HOUR_PLACING,                  0) \
	M(notice,            269, BY_MASTER | BY_PLACERS,  BY_QUEUE,              ANYTIME | HOUR_NONE,           0) \
	M(fetch_ask,         270, BY_OCSP | BY_STS | BY_COMMAND | BY_AUTH_TOKEN, BY_FETCHES,              HOUR_NONE,                     0) \
	M(fetch_told,        271, BY_FETCHES,              BY_OCSP | BY_STS | BY_COMMAND | BY_AUTH_TOKEN,   HOUR_WAITING | OR_GONE,        0) \
	M(sts_ask,           272, BY_RELAY | BY_COMMAND,   BY_STS,                HOUR_SERVING,                  0) \
	M(sts_told,          273, BY_STS,                  BY_RELAY | BY_COMMAND, HOUR_WAITING | OR_GONE,        0) \
	M(sts_list,          274, BY_COMMAND,              BY_STS,                HOUR_SERVING,                  0) \
	M(sts_entry,         275, BY_STS,                  BY_COMMAND,            HOUR_WAITING,                  0) \
	M(sts_end,           276, BY_STS,                  BY_COMMAND,            HOUR_WAITING,                  0) \
	M(tls_seen,          277, BY_RELAY,                BY_STS,                HOUR_SERVING,                  0) \
	M(sts_report,        278, BY_COMMAND,              BY_STS,                HOUR_SERVING,                  0) \
	M(socket_ask,        279, BY_RELAY,                BY_MASTER,             HOUR_SERVING,                  0) \
	M(socket_told,       280, BY_MASTER,               BY_RELAY,              HOUR_SERVING,                  1) \
	M(socket_fault,      281, BY_MASTER,               BY_RELAY,              HOUR_SERVING,                  0) \
	M(login_token_run,   282, BY_RELAY,                BY_MASTER,             HOUR_SERVING,                  2) \
	M(login_token_told,  283, BY_MASTER,               BY_RELAY,              HOUR_SERVING,                  0) \
	M(gist_ask,          284, BY_PLACERS,              BY_GIST,               HOUR_SERVING,                  1) \
	M(gist_told,         285, BY_GIST,                 BY_PLACERS,            HOUR_WAITING | OR_GONE,        0)

#define MOST_DESCRIPTORS 2

/* What auth_told says. */
enum auth_verdict {
	AUTH_RIGHT = 1,    /* 235, OK */
	AUTH_WRONG = 2,    /* 535 5.7.8, NO [AUTHENTICATIONFAILED] */
	AUTH_LATER = 3,    /* 454 4.7.0, NO [UNAVAILABLE] */
	AUTH_MALFORMED = 4, /* 501 5.5.2, BAD: what the client sent is not of the mechanism's form */
	AUTH_UNKNOWN_MECHANISM = 5, /* 504 5.5.4, NO [CANNOT] */
	AUTH_NEEDS_TLS = 6, /* 538 5.7.11, NO [PRIVACYREQUIRED] */
	AUTH_BLOCKED = 7,  /* 454 4.7.0, NO [UNAVAILABLE]; data: for how many seconds, decimal */
};

/* What queue_select asks for. */
enum queue_action {
	QUEUE_LIST = 1,
	QUEUE_SHOW,          /* everything about each, and the message itself */
	QUEUE_RETRY,         /* try now what waits */
	QUEUE_HOLD,
	QUEUE_RELEASE,
	QUEUE_DELETE,
	QUEUE_BOUNCE,        /* give up: back to the sender */
	QUEUE_REQUEUE,       /* find anew where its recipients lead, and try */
};

/* NOTIFY= of RCPT (RFC 3461 4.1): a set; 0 when it was not given. */
enum notify { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };
/* RET= (RFC 3461 4.3). */
enum ret { RET_NONE = 0, RET_FULL = 1, RET_HEADERS = 2 };
#define PRIORITY_NORMAL 10   /* MT-PRIORITY 0; the values -9..9 are 1..19 */
/* What check_told says. */
enum check_result { CHECK_RIGHT = 1, CHECK_WRONG = 2, CHECK_LATER = 3 };
/* What pipe_told says. */
enum pipe_result {
	PIPE_ENDED = 1,  /* with that exit status */
	PIPE_LATER,      /* it could not be run, or was killed */
	PIPE_GONE,       /* the alias has no such member any more */
	PIPE_FORBIDDEN,  /* alias_commands or alias_files is off */
};
/* What pam_told says. */
enum pam_result {
	PAM_TOLD_RIGHT = 1,
	PAM_TOLD_WRONG = 2,   /* the password, or the account may not log in now */
	PAM_TOLD_UNKNOWN = 3, /* PAM knows nobody of this name */
	PAM_TOLD_LATER = 4,   /* PAM could not find out */
};

/* What relay asks of TLS with another server, and what was found. */
enum tls_level {
	TLS_MAY = 0,       /* encrypt; whoever it is */
	TLS_PKI = 1,       /* a trusted authority vouches for one of the names (RFC 8461) */
	TLS_DANE = 2,      /* one of the TLSA records fits (RFC 7672) */
};
/* Whom tls_trust is for: servers that relay meets, clients that show certificates, and those of theirs
 * that are revoked (CRLs). */
enum tls_trust_kind { TRUST_SERVERS = 0, TRUST_CLIENTS = 1, TRUST_REVOKED = 2, TRUST_COUNT };
enum tls_verified { TLS_VERIFIED_NO = 0, TLS_VERIFIED_PKI = 1, TLS_VERIFIED_DANE = 2 };

/* What an authority says of a certificate: it is not asked; it did not answer. */
enum revocation { REVOCATION_UNASKED = 0, REVOCATION_UNKNOWN, REVOCATION_GOOD, REVOCATION_REVOKED, REVOCATION_COUNT };

/* What a domain wants of who sends it mail (RFC 8461 3.2). */
enum sts_mode { STS_NONE = 0, STS_TESTING = 1, STS_ENFORCE = 2 };

/* Which kind of policy TLS with a server had to keep to (RFC 8460 4.1). */
enum tls_policy_type { TLS_POLICY_STS = 1, TLS_POLICY_TLSA = 2, TLS_POLICY_NONE = 3 };

enum fetch_method { FETCH_GET = 1, FETCH_POST = 2 };

/* BODY= of MAIL (RFC 6152, RFC 3030). */
enum body { BODY_7BIT = 1, BODY_8BITMIME = 2, BODY_BINARYMIME = 3 };

/* How relay finds the servers of a next hop. */
enum relay_way {
	WAY_MX = 1,            /* a domain: its MX records, or its address (RFC 5321 5.1) */
	WAY_HOST = 2,          /* HOST, HOST:PORT, [ADDRESS]:PORT: that server itself */
	WAY_LMTP = 3,          /* the same, speaking LMTP (RFC 2033) */
};

/* What relay saw of a next hop. */
enum health {
	HEALTH_GOOD = 1,       /* it took mail, or said what it has against it */
	HEALTH_BUSY = 2,       /* it wants fewer connections, or later (421) */
	HEALTH_DEAD = 3,       /* no server could be reached, or none said a word that helps */
};

/* Files that master opens for dns, which asks for the first three, and relay. */
enum resolver_file {
	RESOLVER_CONF = 1,     /* /etc/resolv.conf */
	RESOLVER_HOSTS = 2,    /* /etc/hosts */
	RESOLVER_TRUST = 3,    /* option dns_trust_anchor */
	RESOLVER_CREDENTIALS = 4, /* option relay_credentials: for relay */
	RESOLVER_FILE_COUNT
};

/* Directories that master opens and hands over; no daemon opens one by its full path. */
enum directory {           /* numbered by their order: no two are alike */
	DIRECTORY_EMPTY = 1,   /* the root of the chrooted */
	DIRECTORY_STATE,   /* state/users/: users.db; no key and no password is below it */
	DIRECTORY_SPOOL,
	DIRECTORY_MAIL,    /* DOMAIN/USER/Maildir below */
	DIRECTORY_LOG,
	DIRECTORY_PASSWORDS, /* state/passwords/: passwd.db */
	DIRECTORY_POLICY,  /* state/policy/: what policy remembers */
	DIRECTORY_AUTH,    /* state/auth/: what auth itself keeps: guard.db, learned.db */
	DIRECTORY_SHARES,  /* state/shares/: with whom users share mailboxes; master's own */
	DIRECTORY_DROP,    /* state/drop/: what the sendmail command leaves */
	DIRECTORY_STS,     /* state/sts/: policies of other domains */
	DIRECTORY_OCSP,    /* state/ocsp/: the last answer about each certificate */
	DIRECTORY_LEDGER,  /* state/ledger/: what each local has promised, and not yet settled in Maildirs */
	DIRECTORY_COUNT
};

/* --- what follows from the table --- */

enum message {
#define M(name, number, by, to, hours, fds) MSG_##name = (number),
	MESSAGES(M)
#undef M
};

typedef uint8_t wire_u8;
typedef uint16_t wire_u16;
typedef uint32_t wire_u32;
typedef uint64_t wire_u64;
typedef bool wire_flag;
typedef struct span wire_text;
typedef struct span wire_octets;
typedef struct span wire_secret;

#define FIELD(kind, field, most) wire_##kind field;
#define M(name, number, by, to, hours, fds) struct msg_##name { char no_field[0]; name##_fields(FIELD) };
MESSAGES(M)
#undef M
#undef FIELD

struct message_row {
	const char *name;
	enum message number;
	uint32_t by, to, hours;
	int fds;
	bool has_secret;
};

/* The row of a number, or NULL. */
const struct message_row *message_row(unsigned int number);

/* Decodes the fields after the header. All of `in` must be used. `into` is a struct msg_NAME.
 * False: malformed, over a ceiling, or something left over. */
bool message_decode(enum message number, struct span in, void *into);
/* Encodes header and fields into `out` of MOST_PACKET bytes; returns the length, or 0 when a field
 * is over its ceiling or a text holds NUL (a caller's mistake or a stranger's input: check first). */
size_t message_encode(enum message number, uint64_t id, const void *from, unsigned char *out);

#endif
