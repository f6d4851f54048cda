/*
 * settings - the configuration, as rows; and as the sealed bytes in which master hands it out.
 *
 * Only master and the command parse valija.conf (conf.h). Daemons get a sealed memory file
 * with the values in row order, and a generation number.
 */
#ifndef VALIJA_SETTINGS_H
#define VALIJA_SETTINGS_H

#include "span.h"

#define MOST_SETTINGS (4 * 1024 * 1024) /* bytes, encoded */
#define MOST_LIST 10000                 /* members of a list */
#define MOST_LOCALS 64                  /* local_processes */

/* Kinds: text(default), number(default, least, most), flag(default), list(default: a string with
 * commas). Units stand in the name: _seconds, _bytes. */
/*          kind    name                     default              least  most        help */
#define SETTINGS(O) \
	O(text,   hostname,                "",                  0, 255,        "The name of this server: in greetings, Received lines and the certificate. Default: the machine's full name.") \
	O(list,   domains,                 "",                  0, MOST_LIST,  "Domains whose mail is delivered here.") \
	O(text,   postmaster,              "",                  0, 320,        "The user who gets mail for postmaster and abuse of every local domain, and for root where no alias says otherwise. Default: the first user that was added.") \
	O(list,   alias_domains,           "",                  0, MOST_LIST,  "Domains without users of their own: only aliases of whole addresses and of @domain count.") \
	O(list,   relay_domains,           "",                  0, MOST_LIST,  "Domains whose mail is taken from everybody and relayed: to the server that the transport table names, or, as a backup MX, to a better one.") \
	O(flag,   relay_recipients_listed, 0,                   0, 1,          "Only recipients in the table relay_recipients exist in relay_domains.") \
	O(list,   aliases,                 "aliases",           0, 16,         "Files of aliases(5) that valija map compiles: absolute, or beside valija.conf.") \
	O(flag,   alias_commands,          0,                   0, 1,          "Members |command of aliases(5) are run, as the owner of the aliases file.") \
	O(flag,   alias_files,             0,                   0, 1,          "Members /file of aliases(5) are written to, as the owner of the aliases file.") \
	O(text,   alias_user,              "nobody",            0, 32,         "The system user as whom that happens for files of aliases that root owns.") \
	O(number, alias_command_seconds,   1000,                1, 86400,      "How long such a command may take; then it is killed, and the message tried again later.") \
	O(text,   subaddress_separators,   "+",                 0, 8,          "Characters that separate a user from a detail in user+detail; empty: none does.") \
	O(list,   masquerade_domains,      "",                  0, MOST_LIST,  "Domains that stand for those below them in the sender of what users send.") \
	O(list,   listen,                  "0.0.0.0, ::",       0, 64,         "Where to listen: addresses, which need not be there yet; names of network interfaces, for all addresses that each has at the time; any, for every address.") \
	O(text,   address_hook,            "",                  0, 1024,       "A program that is run when an address of this machine has changed: its absolute name.") \
	O(text,   address_hook_user,       "nobody",            0, 32,         "The system user as whom address_hook runs, when Valija was started by root.") \
	O(number, address_hook_seconds,    60,                  1, 3600,       "How long address_hook may take; then it is killed.") \
	O(list,   public_address,          "",                  0, 16,         "Addresses under which the world reaches this server, where they are not its own: those of the router that forwards ports to it.") \
	O(flag,   port_mapping,            0,                   0, 1,          "Ask the router, by PCP or NAT-PMP, to forward the ports that the world needs, and renew that. Only where the administrator of the router allows it.") \
	O(text,   relay_source_ipv4,       "",                  0, 64,         "The address from which mail is sent by IPv4; none: it is sent by IPv6 only. Default: the one that the route has.") \
	O(text,   relay_source_ipv6,       "",                  0, 64,         "The address from which mail is sent by IPv6; none: it is sent by IPv4 only, as long as there is no PTR record. Default: the one that the route has.") \
	O(list,   services,                "smtp, submission, submissions, imap, imaps, local", 0, 16, "What to offer: smtp, submission, submissions, imap, imaps; lmtp (port 24, beside the socket that is always there); local: the sendmail command of this machine's users.") \
	O(list,   proxy_listen,            "",                  0, 64,         "Further listeners, where each connection begins with the header of the PROXY protocol, as service@address:port: smtp@192.0.2.1:2525, imaps@[2001:db8::1]:9993. port_base is not added.") \
	O(list,   proxy_from,              "",                  0, 1000,       "Proxies that are heard at proxy_listen: addresses or networks (192.0.2.0/24).") \
	O(list,   xclient_from,            "",                  0, 1000,       "Hosts that may say, by XCLIENT, whom they stand for: addresses or networks. They are believed what they say, but for LOGIN, which is logged alone.") \
	O(list,   xforward_from,           "",                  0, 1000,       "Hosts that may say, by XFORWARD, where a message came from, for the log: addresses or networks.") \
	O(list,   smtp_milters,            "",                  0, 16,         "Filters of strangers' mail, in this order: unix:/path, inet:address:port or inet6:[address]:port. They speak Sendmail's milter protocol.") \
	O(list,   submission_milters,      "",                  0, 16,         "Filters of what logins and this machine's users submit.") \
	O(list,   lmtp_milters,            "",                  0, 16,         "Filters of what comes by LMTP.") \
	O(text,   milter_down,             "tempfail",          0, 16,         "What becomes of a message whose filter cannot be reached or fails: accept, tempfail, reject.") \
	O(number, milter_processes,        2,                   1, 64,         "Processes that talk with filters; none without filters.") \
	O(number, milter_connect_seconds,  5,                   1, 600,        "How long a connection to a filter may take.") \
	O(number, milter_command_seconds,  30,                  1, 600,        "How long a filter may take for each answer but the last.") \
	O(number, milter_content_seconds,  120,                 1, 600,        "How long a filter may take for its verdict on the message.") \
	O(text,   local_domain,            "",                  0, 255,        "The domain that is added to addresses without one in what this machine's users submit. Default: what /etc/mailname says, else the first of domains, else hostname.") \
	O(number, port_base,               0,                   0, 64000,      "Added to every port number: 10000 makes 10025, 10587 and so on.") \
	O(text,   log,                     "",                  0, 1024,       "Where log lines go: syslog, stderr, or the absolute name of a file. Default: syslog, or DIR/log/valija.log with --dir.") \
	O(text,   log_level,               "info",              0, 16,         "The least level logged: debug, info, notice, warning, error.") \
	O(list,   tls_certificate,         "",                  0, 64,         "PEM files of the certificates, each with its chain. The client's wish (SNI) and ability choose; the first is the default. Default: tls/server.crt in the state directory.") \
	O(list,   tls_key,                 "",                  0, 64,         "PEM files of their private keys, in the same order. Default: tls/server.key in the state directory.") \
	O(list,   tls_default,             "",                  0, 16,         "Members SERVICE=NAME: the certificate of NAME is shown to clients of that service that name no server, or one that we do not know.") \
	O(text,   tls_priorities,          "",                  0, 1024,       "GnuTLS priority string. What is weak is refused. Default: TLS 1.3 and 1.2, AES-GCM and ChaCha20, ECDHE.") \
	O(text,   tls_client_ca,           "",                  0, 1024,       "PEM file of the authorities of clients' certificates. Set, clients are asked for one.") \
	O(text,   tls_client_crl,          "",                  0, 1024,       "PEM file of the revocation lists of these authorities.") \
	O(list,   tls_client_services,     "submission, submissions, imap, imaps", 0, 16, "Services that ask clients for a certificate.") \
	O(flag,   tls_client_required,     0,                   0, 1,          "Whether these services serve nobody without a valid one.") \
	O(flag,   tls_ocsp,                1,                   0, 1,          "Whether the authorities of certificates are asked about them (OCSP), where these say whom to ask, so that the answers can be stapled.") \
	O(flag,   tls_kernel,              1,                   0, 1,          "Whether the kernel makes the TLS records, where it can (module tls; AES-GCM): less work for large mail.") \
	O(list,   tls_token_paths,         "/etc/softhsm, /var/lib/softhsm, /dev/tpmrm0", 0, 8, "Directories and devices that PKCS#11 modules need while they sign, when a file of tls_key holds the URL of a key in a token.") \
	O(list,   dkim,                    "",                  0, 256,        "Keys that sign what users submit for other servers (DKIM, RFC 6376 and 8463): DOMAIN:SELECTOR for a key of RSA, DOMAIN:SELECTOR:ed25519 for one of Ed25519.") \
	O(text,   dkim_directory,          "",                  0, 1024,       "The directory of these keys: DOMAIN/SELECTOR.key below it, PEM, mode 0400. Default: tls/dkim in the state directory.") \
	O(text,   tls_trust,               "",                  0, 1024,       "PEM file of the authorities that other servers' certificates are checked against. Default: the system's.") \
	O(number, smtpd_processes,         2,                   1, 64,         "smtpd processes.") \
	O(number, login_processes,         2,                   1, 64,         "imap-login processes.") \
	O(number, tls_processes,           2,                   1, 64,         "TLS workers.") \
	O(text,   mail_journal,            "auto",              0, 16,         "Whether one commit of the file system's journal makes a message and its name durable together. auto: on xfs, and on ext4 that has a journal; yes: on xfs and ext4, recognised or not (APPEND: as auto); no: the message is synced first.") \
	O(flag,   mail_ledger,             1,                   0, 1,          "Whether a message of up to 64 KiB is acknowledged as soon as a file of its local process has it, from which it is delivered again if the machine goes down before its Maildir is safe on the disk: one short wait for the disk instead of a commit. Only where mail_journal knows the journal.") \
	O(number, local_processes,         16,                  1, MOST_LOCALS, "Local delivery processes: each waits for the disk for its own messages, so that many of them share one journal commit.") \
	O(number, spool_processes,         2,                   1, 64,         "Processes that make queued mail durable.") \
	O(number, hash_processes,          2,                   1, 64,         "Processes that verify passwords.") \
	O(list,   auth_sources,            "",                  0, 8,          "Who knows passwords, in the order of asking: users (valija user), passwd_file, pam, checkpassword. Default: users, and with system_users pam too.") \
	O(list,   smtp_mechanisms,         "",                  0, 16,         "SASL mechanisms for submission. Default: SCRAM-SHA-256 and SCRAM-SHA-1 with and without -PLUS, where users is the only source of passwords; PLAIN, LOGIN.") \
	O(list,   imap_mechanisms,         "",                  0, 16,         "SASL mechanisms for IMAP. Default: as smtp_mechanisms.") \
	O(text,   password_scheme,         "yescrypt",          1, 16,         "How passwords are hashed: yescrypt, bcrypt, sha512crypt, argon2id. A weaker hash is made anew at the next login.") \
	O(number, password_cost,           0,                   0, 10000000,   "What a hash costs, as the scheme counts it (crypt(5); argon2id: passes). 0: its default.") \
	O(flag,   password_quality,        0,                   0, 1,          "Refuse new passwords that libpwquality finds weak (pwquality.conf(5)). Otherwise who types one is told.") \
	O(number, scram_iterations,        20000,               0, 10000000,   "Iterations of SCRAM keys that are made with a password, at least 4096; 0 keeps none, then SCRAM does not work.") \
	O(list,   master_users,            "",                  0, 100,        "Users who may act as any other: with their own password, naming the other as the authorization identity (SASL).") \
	O(text,   passwd_file,             "",                  0, 1024,       "A passwd-file as Dovecot has them, for passwd_file in auth_sources; read anew at each reload.") \
	O(text,   checkpassword,           "",                  0, 1024,       "A program that knows passwords, for checkpassword in auth_sources: its absolute name. See valija-auth(8).") \
	O(text,   checkpassword_user,      "nobody",            0, 32,         "The system user as whom checkpassword runs, when Valija was started by root.") \
	O(number, checkpassword_seconds,   10,                  1, 600,        "How long checkpassword may take; then it is killed.") \
	O(number, checkpassword_processes, 8,                   1, 64,         "How many of checkpassword run at a time; others wait.") \
	O(list,   certificate_users,       "",                  0, MOST_LIST,  "Who may log in with a client certificate (EXTERNAL) beside whom its rfc822Name names: MATCH=ADDRESS, where MATCH is the SHA-256 of certificate or public key in hexadecimal, or the subject (RFC 4514) with ';' for its commas.") \
	O(text,   oauth_issuer,            "",                  0, 1024,       "The issuer (iss) of the tokens that OAUTHBEARER and XOAUTH2 take. Default: no tokens.") \
	O(text,   oauth_keys,              "",                  0, 65536,      "File with the public keys of that issuer, a JWKS (RFC 7517); read anew at each reload.") \
	O(text,   oauth_introspection,     "",                  0, 1024,       "URL (https) that is asked whether a token is good (RFC 7662), in place of looking at its signature.") \
	O(text,   oauth_credentials,       "",                  0, 1024,       "File with what we say to that URL: one line, CLIENT:SECRET, or a bearer token without a colon; read anew at each reload.") \
	O(number, oauth_seconds,           10,                  1, 100,        "How long that URL may take for one token.") \
	O(number, token_processes,         2,                   1, 64,         "Processes that verify tokens; started when there is need.") \
	O(text,   oauth_audience,          "",                  0, 1024,       "What must be among the audiences (aud) of a token. Default: not looked at.") \
	O(text,   oauth_scope,             "",                  0, 256,        "What must be among the scopes of a token. Default: not looked at.") \
	O(text,   oauth_user_claim,        "email",             1, 63,         "The claim of a token that names the user.") \
	O(flag,   system_users,            0,                   0, 1,          "System users have mailboxes: LOGIN@D for each D in system_domains is ~/Maildir of LOGIN, under his own uid.") \
	O(list,   system_domains,          "",                  0, MOST_LIST,  "Domains of system users. Default: hostname.") \
	O(number, system_least_uid,        1000,                1, 4294967294, "System users with a smaller uid have no mailbox.") \
	O(list,   system_homes,            "/home",             0, 16,         "Directories below which homes of system users lie: mail is delivered nowhere else.") \
	O(text,   pam_service,             "valija",            1, 64,         "The PAM service that is asked: a file of this name in /etc/pam.d.") \
	O(text,   pam_directory,           "",                  0, 1024,       "Directory of PAM services. Default: the system's.") \
	O(number, pam_processes,           2,                   1, 64,         "Processes that ask PAM and look up system users; started when there is need.") \
	O(number, pam_seconds,             20,                  1, 600,        "How long PAM may take for one login; then its process is killed.") \
	O(list,   dns_servers,             "",                  0, 8,          "Name servers to ask: addresses, with :PORT where it is not 53. Default: those of /etc/resolv.conf, followed when it changes; without any, the root servers and on from there.") \
	O(text,   dnssec,                  "auto",              0, 16,         "required: what DNSSEC does not let through is an error. auto: the same, but where the name servers keep DNSSEC from us, go on without it and say so. off: no DNSSEC, and so no DANE.") \
	O(text,   dns_trust_anchor,        "/usr/share/dns/root.key", 0, 1024, "File with DNSKEY or DS records that DNSSEC trusts. When it is not there, the keys of the root that Valija knows.") \
	O(number, queue_days,              5,                   1, 60,         "How long a message is tried before it goes back to its sender (RFC 5321 4.5.4.1: at least four to five days).") \
	O(list,   quota_warnings,          "80, 95",            0, 8,          "At how many percent of its quota the owner of a mailbox is told by mail, once each time. Empty: never.") \
	O(number, delay_warning_hours,     4,                   0, 1000,       "After how long a sender is told that a message is late, once. 0: never.") \
	O(text,   relayhost,               "",                  0, 270,        "The server that takes all mail to others, HOST or HOST:PORT: a provider's, where this machine has no fixed address. Port 465 means TLS from the first byte. Default: mail goes to the servers of each domain.") \
	O(list,   sender_relayhosts,       "",                  0, 1000,       "Other relayhosts for some senders, one string each: ADDRESS HOST:PORT, or @DOMAIN HOST:PORT.") \
	O(text,   relay_credentials,       "",                  0, 1024,       "File with logins at relayhosts, readable by root alone; each line HOST:PORT LOGIN PASSWORD. Whoever is logged in to must have a certificate for its name, unless tls_policy says otherwise.") \
	O(list,   relay_token_commands,    "",                  0, 1000,       "Programs that print an access token (XOAUTH2) for logins of relay_credentials whose secret is oauth-command:, one string each: LOGIN /PROGRAM. See valija-relay(8).") \
	O(text,   relay_token_user,        "nobody",            0, 32,         "The system user as whom relay_token_commands run, when Valija was started by root.") \
	O(number, relay_token_seconds,     1800,                0, 86400,      "How long such a token is used before the program is asked for another one; sooner when the server refuses it.") \
	O(list,   lmtp_sockets,            "",                  0, 100,        "UNIX sockets of this machine to which the transport table may send mail by lmtp:unix:/SOCKET. See tables(5).") \
	O(flag,   srs,                     0,                   0, 1,          "Mail from others that aliases send on to other servers gets a sender of ours (SRS), so that SPF lets it through; reports to that sender go on to the true one.") \
	O(text,   srs_domain,              "",                  0, 255,        "The domain of such senders; it must be one of domains. Default: the first of domains.") \
	O(number, relay_processes,         2,                   1, 64,         "Processes that send mail to other servers.") \
	O(number, relay_concurrency,       20,                  1, 1000,       "Connections to one next hop at a time. Fewer at first, and where a server wants fewer.") \
	O(number, relay_port,              25,                  1, 65535,      "The port at which other servers are spoken to.") \
	O(list,   tls_policy,              "",                  0, MOST_LIST,  "Which TLS a next hop must have, one string each: DOMAIN LEVEL [NAME...]. DOMAIN: a domain, .DOMAIN for all below it, * for all others. LEVEL: none, may, encrypt, dane (the default: what DNSSEC proves, else may), dane-only, verify (by a trusted authority, for the name of the server or a NAME).") \
	O(flag,   mta_sts,                 1,                   0, 1,          "Keep to the policies of domains that say by HTTPS which servers take their mail, and that these must be verified (MTA-STS), where tls_policy is dane (the default) and DNSSEC proves nothing.") \
	O(flag,   tls_reports,             0,                   0, 1,          "Count how TLS with other domains' servers goes, and send each domain that asks for it a report, once a day (RFC 8460).") \
	O(text,   tls_report_contact,      "",                  0, 255,        "Whom such a report names, for questions. Default: postmaster at the first of domains.") \
	O(flag,   relay_chunking,          1,                   0, 1,          "Send messages by BDAT to servers that offer CHUNKING, instead of DATA.") \
	O(flag,   relay_loopback,          0,                   0, 1,          "Mail may go to loopback and own addresses where DNS says so, at other ports than ours: for trials.") \
	O(list,   fetch_networks,          "",                  0, 100,        "Private networks in which other domains' policies (MTA-STS), answers about certificates (OCSP) and places for reports may be: where a company has such servers of its own. To no other private address, and not to this machine, a URL from outside leads.") \
	O(number, relay_connect_seconds,   30,                  1, 600,        "How long a connection to another server may take to come about.") \
	O(number, relay_reply_seconds,     300,                 1, 3600,       "How long another server may take to answer a command (RFC 5321 4.5.3.2: five minutes).") \
	O(number, relay_data_seconds,      180,                 1, 3600,       "How long another server may take to read the next piece of a message (RFC 5321 4.5.3.2.5: three minutes).") \
	O(number, relay_end_seconds,       600,                 1, 3600,       "How long another server may take to answer the end of a message (RFC 5321 4.5.3.2.6: ten minutes).") \
	O(number, relay_reuse_seconds,     5,                   0, 300,        "How long a connection to another server is kept for more mail. 0: not at all.") \
	O(number, relay_reuse_messages,    100,                 1, 100000,     "Messages sent over one connection at most.") \
	O(number, message_size_bytes,      52428800,            1024, 2147483647, "The largest message that is accepted; announced as SIZE.") \
	O(number, recipients,              1000,                100, 100000,   "RCPT commands in one transaction (RFC 5321 4.5.3.1.8 asks for at least 100).") \
	O(number, connections,             2000,                1, 100000,     "Connections that one smtpd or imap-login process serves at a time.") \
	O(number, connections_per_address, 100,                 1, 100000,     "Connections from one client address (IPv6: one /64) to one process.") \
	O(number, connections_per_user,    50,                  1, 100000,     "Connections that one user may have from one address to one smtpd process after logging in; they count for the user then, and not for the address.") \
	O(number, smtp_idle_seconds,       300,                 5, 3600,       "How long smtpd waits for the next command (RFC 5321 4.5.3.2.7: five minutes).") \
	O(number, smtp_data_seconds,       180,                 5, 3600,       "How long smtpd waits for the next piece of a message.") \
	O(number, smtp_errors,             20,                  1, 1000,       "Errors after which smtpd closes a session with 421 4.7.0.") \
	O(list,   policy_exempt,           "127.0.0.0/8, ::1",  0, MOST_LIST,  "Networks of clients that are not put to the tests for strangers: greeting delay, DNS checks, block lists, greylisting, rates. They may send nothing that others may not.") \
	O(number, greeting_delay_milliseconds, 10,              0, 60000,      "How long a stranger waits for the greeting of port 25; who talks before it is refused. A few seconds keep out much that is not mail.") \
	O(flag,   reverse_dns,             1,                   0, 1,          "Look up the name of a stranger's address, confirm it, and write it into the Received field.") \
	O(list,   helo_checks,             "own",               0, 8,          "What is refused of the name in EHLO and HELO. own: ours, or one of our domains; literal: an address that is not the client's; full: a name without a dot; known: a name that does not exist in DNS.") \
	O(flag,   sender_domain_check,     1,                   0, 1,          "Refuse strangers' senders of domains that do not exist, or that say that they have no mail (RFC 7505).") \
	O(number, null_sender_recipients,  1,                   0, 100000,     "Recipients of a stranger's message without sender: such are reports about one message to one person. 0: no limit.") \
	O(list,   dns_block_lists,         "",                  0, 16,         "DNS lists of addresses that may not send, as ZONE, or ZONE=127.0.0.2-11 for the answers that count, each part a number or a range. Never for those who log in.") \
	O(list,   dns_allow_lists,         "",                  0, 16,         "DNS lists, written likewise, of addresses that may, whatever dns_block_lists and greylisting say.") \
	O(list,   access_client,           "",                  0, MOST_LIST,  "Rules about clients: a network, a host or .domain, then permit, reject, defer, discard, hold, redirect or warn, and perhaps a text. The first that fits counts; a member that begins with / names a file of rules, one a line.") \
	O(list,   access_helo,             "",                  0, MOST_LIST,  "Rules about the name in EHLO and HELO: host or .domain, then as above.") \
	O(list,   access_sender,           "",                  0, MOST_LIST,  "Rules about senders: local@domain, @domain, @.domain, local@ or <>, then as above.") \
	O(list,   access_recipient,        "",                  0, MOST_LIST,  "Rules about recipients, written likewise.") \
	O(number, client_connections_per_minute, 600,           0, 1000000,    "Connections in a minute from one client address (IPv6: one /64) to one smtpd process; more hear 421 4.7.0. 0: no limit. Not for policy_exempt.") \
	O(number, client_messages_per_minute, 600,              0, 1000000,    "Messages in a minute from one stranger's address to one smtpd process; more are put off with 450 4.7.1. 0: no limit.") \
	O(number, client_errors_per_minute, 100,                0, 1000000,    "Errors in a minute from one client address to one smtpd process, after which its new connections hear 421 4.7.0. 0: no limit. Not for policy_exempt.") \
	O(flag,   greylist,                0,                   0, 1,          "Put off the first attempt of a stranger to write to somebody.") \
	O(number, greylist_delay_seconds,  300,                 1, 86400,      "How long a greylisted client must wait before it is let in.") \
	O(number, greylist_retry_seconds,  172800,              60, 2592000,   "Who has not come back by then is a stranger again.") \
	O(number, greylist_keep_seconds,   3110400,             60, 31536000,  "How long one who came back is remembered after his last message.") \
	O(number, greylist_allow_after,    5,                   0, 1000,       "A client network (IPv4 /24, IPv6 /64) that came back for so many senders and recipients is not greylisted any more. 0: each is.") \
	O(number, submission_messages_per_hour, 1000,           0, 1000000,    "Messages that one login may submit in an hour; more are put off with 450 4.7.1. 0: no limit.") \
	O(number, submission_recipients_per_hour, 5000,         0, 10000000,   "Recipients of the messages that one login may submit in an hour. 0: no limit.") \
	O(flag,   hide_client_address,     0,                   0, 1,          "Leave name and address of a client that logged in out of the Received field.") \
	O(number, received_fields,         100,                 20, 10000,     "Received fields in a message; one with more goes in circles and is refused with 554 5.4.6 (RFC 5321 6.3: at least 100).") \
	O(number, future_release_seconds,  2592000,             0, 31536000,   "How far ahead a login may ask for the release of a message (RFC 4865). 0: not offered.") \
	O(list,   owner_services,          "smtp, submission, submissions", 0, 8, "Services on which the sender must belong to the login.") \
	O(number, priority_most,           3,                   0, 9,          "The highest MT-PRIORITY (RFC 6710) that a login may ask for; more is lowered to it.") \
	O(list,   no_soliciting,           "",                  0, 64,         "Classes of solicitations that are refused, by SMTP and at submission, as their senders label them (RFC 3865): org.example:ADV. Empty: NO-SOLICITING is not offered.") \
	O(list,   normalise_newlines,      "",                  0, 8,          "Services (smtp, submission, submissions, lmtp) on which a bare CR or LF in a message becomes CR LF instead of being refused.") \
	O(list,   lmtp_clients,            "127.0.0.0/8, ::1",  0, MOST_LIST,  "Networks that may speak LMTP by TCP, when services has lmtp.") \
	O(number, tls_handshake_seconds,   30,                  1, 600,        "How long a TLS handshake may take.") \
	O(number, login_seconds,           60,                  5, 3600,       "How long an IMAP client may take to log in.") \
	O(number, imap_idle_seconds,       1800,                1800, 86400,   "How long a logged-in IMAP session may be silent (RFC 3501 5.4: at least 30 minutes).") \
	O(number, imap_sessions,           50,                  1, 10000,      "IMAP sessions of one user at a time.") \
	O(text,   imap_separator,          "/",                 1, 1,          "What parts the levels of a mailbox's name to IMAP clients: / or a dot. To who has clients already, another one than before makes all mailboxes new ones.") \
	O(text,   imap_prefix,             "",                  0, 32,         "What stands before the names of a user's mailboxes, but INBOX, to IMAP clients, with the separator at its end: INBOX. as Courier has it, with imap_separator a dot.") \
	O(flag,   imap_unauthenticate,     0,                   0, 1,          "Whether UNAUTHENTICATE (RFC 8437) is offered: a client goes on as another user in the same connection. The process of the user before has seen that connection.") \
	O(number, imap_linger_seconds,     30,                  0, 3600,       "How long a user's imap process stays after the last logout.") \
	O(flag,   cache_at_delivery,       0,                   0, 1,          "Whether what a user's clients ask for first, of each message, is worked out when it is delivered to a folder that was opened before.") \
	O(number, auth_cache_seconds,      600,                 0, 86400,      "How long a password that was right is remembered, as a keyed digest. 0: not at all.") \
	O(number, auth_delay_seconds,      2,                   0, 60,         "Delay of the answer after the first failure from an address or for a user; doubles with each, up to auth_delay_most_seconds.") \
	O(number, auth_delay_most_seconds, 16,                  0, 600,        "The longest such delay.") \
	O(number, auth_block_failures,     10,                  0, 1000000,    "Failures of one user from one address after which the two are blocked. 0: never.") \
	O(number, auth_block_seconds,      900,                 1, 86400,      "How long such a block lasts after the last failure.") \
	O(number, auth_slow_failures,      100,                 0, 1000000,    "Failures of an address (ten times as many where many share it) after which each of its tries waits auth_delay_most_seconds, but for users who logged in from there lately. 0: never.") \
	O(list,   auth_allow,              "",                  0, 1000,       "Addresses and networks (192.0.2.0/24) whose failures are neither counted nor delayed.") \
	O(number, hang_seconds,            60,                  5, 3600,       "How long a process may owe master an answer before it is killed and started anew; local, spool and imap, which wait for disks, five times as long.") \
	O(number, stop_seconds,            10,                  1, 600,        "How long an orderly stop waits for what is in flight.")

struct list {
	struct span *at;
	size_t count;
};

typedef struct span setting_text;
typedef uint64_t setting_number;
typedef bool setting_flag;
typedef struct list setting_list;

struct settings {
	uint32_t generation;
	void *memory;     /* where texts and lists live; owned */
#define O(kind, name, initial, least, most, help) setting_##kind name;
	SETTINGS(O)
#undef O
};

/* Writes all values into a new sealed memory file; its descriptor, or -1 with errno. */
int settings_to_file(const struct settings *s);
/* Reads what settings_to_file wrote; every bound is checked again. NULL when it is not sealed or
 * malformed. The caller keeps `fd`. */
struct settings *settings_from_file(int fd, uint32_t generation);
void settings_free(struct settings **s);
/* Are there system users, or is PAM a source of passwords? */
bool settings_wants_pam(const struct settings *s);
/* Are tokens taken at all (OAUTHBEARER, XOAUTH2)? */
bool settings_wants_tokens(const struct settings *s);
/* Is `source` among s->auth_sources? (master has filled in the defaults of this and the next.) */
bool settings_has_source(const struct settings *s, struct span source);
/* Is `path` one of lmtp_sockets? */
bool settings_has_socket(const struct settings *s, struct span path);
/* Is `domain` (any ASCII case) one of system users? Never, without system_users. */
bool settings_is_system_domain(const struct settings *s, struct span domain);
/* Is `domain` (any ASCII case) one of s->domains? */
bool settings_is_local_domain(const struct settings *s, struct span domain);

#endif
