/*
 * login - one connection before its login, in the front end imap-login.
 *
 *   LOGIN_COMMAND      waits for a command
 *   LOGIN_TLS          a TLS worker has the socket; nothing is read
 *   LOGIN_ASKED        auth has been asked; nothing is read
 *   LOGIN_CHALLENGED   the client owes an answer to a SASL challenge
 *   LOGIN_HANDED       master has been asked to pass the socket on; nothing is read
 *   LOGIN_CLOSING      the last words are being sent
 */
#ifndef VALIJA_IMAPD_LOGIN_H
#define VALIJA_IMAPD_LOGIN_H

#include "common/daemon.h"
#include "common/door.h"
#include "common/text.h"
#include "imapd/arena.h"
#include "imapd/imap-input.h"

#include <sys/queue.h>

#define MOST_LOGIN_LINE 8192
#define MOST_LOGIN_LITERALS 4096      /* a user name and a password */
#define MOST_SASL_LINE (MOST_SASL + 4) /* RFC 4954 section 4, and its like here */
#define MOST_LOGIN_ERRORS 10          /* BADs and failed logins */
#define MOST_LOGIN_OUT (64 * 1024)
#define LOGIN_BUCKETS 4096            /* of the table of connections */
#define LAST_WORDS_SECONDS 5

enum login_state { LOGIN_COMMAND, LOGIN_TLS, LOGIN_ASKED, LOGIN_CHALLENGED, LOGIN_HANDED,
	LOGIN_CLOSING };

struct event;
struct front;

struct login {
	LIST_ENTRY(login) in_all, in_bucket;
	struct front *front;
	uint64_t id;
	enum service service;
	char ip[MOST_IP + 1];
	struct guest *guest;     /* counts the connections of its address */
	int fd;                      /* -1 while a TLS worker has it */
	enum login_state state;
	struct event *readable, *writable, *timeout;
	struct imap_input input;
	struct text out;
	struct text passport;        /* of the TLS worker, sealed; empty without TLS */
	bool tls;
	bool starts_tls;             /* the answer to STARTTLS goes out, then the socket goes */
	struct channel *worker;      /* who does the handshake */
	char tag[MOST_TAG + 1];      /* of the command that is being answered */
	char verb[16];
	unsigned int errors;
	/* LOGIN_CHALLENGED by the server's last words: the answer is an empty line */
	bool last;
	unsigned char ticket[16];    /* then kept until that has come */
	bool dead;
};

struct front {
	struct daemon daemon;
	LIST_HEAD(, login) logins;
	LIST_HEAD(, login) buckets[LOGIN_BUCKETS];
	struct door door;
	uint64_t served;
	size_t dead;             /* dropped in this turn, not yet freed */
	const struct msg_imap_again *again;      /* the connection that is let in comes back: NULL for a new one */
	uint64_t again_id;
};

/* --- login.c --- */

/* Takes `fd`. Greets, or begins TLS. */
void login_new(
	struct front *front, const struct arrival *a, int fd, struct guest *guest);
struct login *login_find(struct front *front, uint64_t id);
/* Frees it at the end of the round. */
void login_drop(struct login *l, const char *why);
/* Likewise, but without a word in the log: it goes on elsewhere. */
void login_passed_on(struct login *l);
/* Says BYE, then closes. */
void login_bye(struct login *l, const char *text);
/* "TAG OK [CODE] text"; code may be NULL. BAD and failed logins are counted, refusals logged. */
void login_ok(struct login *l, const char *code, const char *text);
void login_no(struct login *l, const char *code, const char *text);
void login_bad(struct login *l, const char *expected);
void login_say(struct login *l, struct span line);
void login_greet(struct login *l);
/* A new socket (from the TLS worker); the socket given away (to be closed or sent by the
 * caller). */
void login_attach(struct login *l, int fd);
int login_detach(struct login *l);
/* Goes on with what was read. */
void login_go_on(struct login *l);
/* Frees what was dropped. */
void logins_bury(struct front *front);
void login_write_capabilities(const struct login *l, struct text *out);

/* --- login-verbs.c --- */

/* One command, without its line end. */
void login_command(struct login *l, struct span command);

/* --- login-auth.c --- */

void login_authenticate(struct login *l, struct span mechanism, bool has_initial,
	struct span initial);
/* A line in LOGIN_CHALLENGED. */
void login_sasl_line(struct login *l, struct span line);
/* Whatever is under way for it elsewhere is called off. */
void login_auth_cancel(struct login *l);
extern const struct hearing login_hears_auth, login_hears_master;

/* --- login-tls.c --- */

/* The socket goes to a TLS worker. */
void login_tls_start(struct login *l);
void login_tls_announce(struct front *front, struct channel *tls_key);
extern const struct hearing login_hears_tls, login_hears_tls_key;

#endif
