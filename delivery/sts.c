/*
 * sts - knows which domains want their mail encrypted and by whom (MTA-STS, RFC 8461).
 *   inherits    channels to master, log, dns, fetch, every relay and smtpd, and the command; the directory state/sts
 *   keeps       nothing: the user of relay (_relay), that directory, and the calls that a table needs
 *   may be lied to by    dns, fetch, and whoever writes policies for his own domain. May lie to: relay, about
 *               what domains want: mail to them may then wait, or go unverified
 *   while away  relay asks the next one again; a message waits meanwhile
 *
 * A question: what is remembered counts until it expires; the record in DNS tells whether there is a newer
 * policy, which is fetched then. What cannot be learned changes nothing. It waits for its disk, so it is a
 * process of its own.
 */
#include "common/daemon.h"
#include "common/dns-ask.h"
#include "common/fetch-ask.h"
#include "common/id.h"
#include "common/log.h"
#include "reporting.h"
#include "sts-cache.h"

#include <event2/event.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#define POLICIES "policies.db"
#define FETCH_MILLISECONDS 30000     /* RFC 8461 3.3: a minute is suggested, but mail waits for it */
#define CHECKED_SECONDS 60           /* what the record in DNS said counts for so long */
#define FAILED_SECONDS 300           /* RFC 8461 3.3: not sooner again */
#define REFRESH_SECONDS 86400        /* RFC 8461 10.2: a policy is fetched anew once a day */
#define PURGE_SECONDS 3600
#define MOST_REFRESHED 20            /* at a time */
#define MOST_LOOKUPS 1000
#define MOST_WAITERS 10000           /* questions that wait for lookups */
#define RECENT 1024                  /* domains whose last check is remembered, by hash */

struct waiter {
	STAILQ_ENTRY(waiter) next;
	struct channel *from;
	uint64_t id;
};

struct lookup {
	LIST_ENTRY(lookup) all;
	char domain[MOST_HOST + 1];
	char id[MOST_STS_ID + 1];    /* the record's, once it is known */
	STAILQ_HEAD(, waiter) waiters;
	struct dns_question *ask;
	struct fetch_question *fetch;
	bool refresh;                /* nobody asked: by age alone */
};

/* When a domain was looked at, and why there is nothing new. */
struct recent {
	char domain[MOST_HOST + 1];
	uint64_t until;
	char fault[120];
};

static struct sts {
	struct daemon daemon;
	struct table *policies;
	size_t policy_count;
	char swept[MOST_HOST + 1];   /* the last domain of the sweep before, "": a round begins */
	LIST_HEAD(, lookup) lookups;
	size_t lookup_count, waiter_count;
	struct recent recent[RECENT];
	struct event *purge;
	uint64_t served;
} me;

static uint64_t
now_seconds(void)
{
	return (uint64_t)time(NULL);
}

static struct recent *
recent_of(const char *domain)
{
	uint64_t hash = 14695981039346656037u;

	for (const char *c = domain; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	return &me.recent[hash % RECENT];
}

static void
recent_note(const char *domain, unsigned int seconds, const char *fault)
{
	struct recent *r = recent_of(domain);

	memcpy(r->domain, domain, sizeof(r->domain));
	r->until = now_seconds() + seconds;
	(void)span_copy(span_part(span_str(fault), 0, sizeof(r->fault) - 1), r->fault, sizeof(r->fault));
}

/* --- answers --- */

static void
tell(struct channel *to, uint64_t id, const char *domain)
{
	const struct recent *recent = recent_of(domain);
	struct sts_remembered r;
	bool found = sts_cache_find(me.policies, span_str(domain), now_seconds(), &r);
	bool same = strcmp(recent->domain, domain) == 0;

	me.served++;
	send_sts_told(to, id,
		&(struct msg_sts_told){ .mode = (uint8_t)(found ? r.mode : STS_NONE),
			.policy = span_str(found ? r.id : ""),
			.expires = found ? r.expires : 0,
			.mx = found ? text_span(&r.mx) : SPAN(""),
			.fault = span_str(same ? recent->fault : "") },
		NULL);
	sts_remembered_clear(&r);
}

static void
lookup_free(struct lookup *l)
{
	struct waiter *w;

	while ((w = STAILQ_FIRST(&l->waiters)) != NULL) {
		STAILQ_REMOVE_HEAD(&l->waiters, next);
		me.waiter_count--;
		free(w);
	}
	dns_cancel(&l->ask);
	fetch_cancel(&l->fetch);
	LIST_REMOVE(l, all);
	me.lookup_count--;
	free(l);
}

/* Whatever was learned is remembered: all hear it. */
static void
lookup_over(struct lookup *l, unsigned int seconds, const char *fault)
{
	struct waiter *w;

	recent_note(l->domain, seconds, fault);
	STAILQ_FOREACH(w, &l->waiters, next)
		if (w->from != NULL)
			tell(w->from, w->id, l->domain);
	lookup_free(l);
}

/* --- the policy --- */

static void count_policy_fault(const struct lookup *l, const char *result, const char *fault);

static void
lookup_failed(struct lookup *l, const char *result, const char *fault, struct span more)
{
	count_policy_fault(l, result, fault);
	log_notice(0, "sts-policy-failed", KEY_STR("domain", l->domain), KEY_STR("reason", fault),
		KEY_SPAN("fault", more));
	lookup_over(l, FAILED_SECONDS, fault);
}

/* RFC 8461 3.2: text/plain, whatever its parameters. */
static bool
is_plain_text(struct span type)
{
	return span_equal_nocase(span_trim(span_part(type, 0, span_index(type, ';'))), SPAN("text/plain"));
}

static void
on_policy(void *arg, const struct fetch_answer *a)
{
	static const char *const modes[] = { [STS_NONE] = "none", [STS_TESTING] = "testing",
		[STS_ENFORCE] = "enforce" };
	struct lookup *l = arg;
	struct sts_policy p;
	const char *why;

	l->fetch = NULL;
	if (a->status == 0) {
		lookup_failed(l, a->result.len > 0 ? "sts-webpki-invalid" : "sts-policy-fetch-error",
			"the policy cannot be fetched", a->fault);
		return;
	}
	/* RFC 8461 3.3: only 200 counts, and no redirect is followed. */
	if (a->status != 200 || !is_plain_text(a->content_type)) {
		lookup_failed(l, "sts-policy-fetch-error", a->status != 200 ? "the policy's server does not answer with 200"
						  : "the policy is not text/plain", a->content_type);
		return;
	}
	if ((why = sts_policy_read(a->body, &p)) != NULL) {
		lookup_failed(l, "sts-policy-invalid", why, SPAN(""));
		return;
	}
	log_info(0, "sts-policy", KEY_STR("domain", l->domain), KEY_STR("mode", modes[p.mode]),
		KEY_NUM("max-age", p.max_age), KEY_STR("id", l->id));
	(void)sts_cache_put(me.policies, &me.policy_count, span_str(l->domain), span_str(l->id), &p, now_seconds());
	sts_policy_clear(&p);
	lookup_over(l, CHECKED_SECONDS, "");
}

static void
fetch_policy(struct lookup *l)
{
	struct text url = TEXT_UP_TO(MOST_URL);

	text_printf(&url, "https://mta-sts.%s/.well-known/mta-sts.txt", l->domain);
	l->fetch = fetch_ask(&me.daemon,
		&(struct fetch_wanted){ .url = text_span(&url), .method = FETCH_GET,
			.most_bytes = MOST_FETCH_BODY, .milliseconds = FETCH_MILLISECONDS },
		on_policy, l);
	text_clear(&url);
}

/* --- the record --- */

/* The one record's id (RFC 8461 3.1). NULL, or why there is none. */
static const char *
read_record(const struct dns_answer *a, char id[MOST_STS_ID + 1])
{
	static unsigned char txt[65536];
	struct span answers = a->answers, found;
	unsigned int claims = 0;
	bool good = false;
	size_t len;

	if (a->outcome == DNS_LATER || a->outcome == DNS_BOGUS)
		return "its record cannot be looked up now";
	while (a->outcome == DNS_FOUND && dns_take_txt(&answers, txt, sizeof(txt), &len)) {
		struct span one = span_of(txt, len);

		if (!sts_record_claims(one))
			continue;
		claims++;
		good = sts_record_read(one, &found) && span_copy(found, id, MOST_STS_ID + 1);
	}
	if (claims == 0)
		return "it has no record";
	return claims > 1 ? "it has more than one record" : good ? NULL : "its record is malformed";
}

static void
on_record(void *arg, const struct dns_answer *a)
{
	struct lookup *l = arg;
	struct sts_remembered r;
	bool known;
	const char *why = read_record(a, l->id);

	l->ask = NULL;
	known = sts_cache_find(me.policies, span_str(l->domain), now_seconds(), &r);
	/* Whoever can suppress the record does not end a policy (RFC 8461 5.1); and a malformed one is none. */
	if (why != NULL) {
		if (!known || !l->refresh)
			lookup_over(l, CHECKED_SECONDS, why);
		else {
			memcpy(l->id, r.id, sizeof(l->id));
			fetch_policy(l);
		}
	} else if (known && strcmp(r.id, l->id) == 0 && !l->refresh) {
		lookup_over(l, CHECKED_SECONDS, "");
	} else {
		fetch_policy(l);
	}
	sts_remembered_clear(&r);
}

static struct lookup *
lookup_begin(const char *domain, bool refresh)
{
	struct lookup *l = must_alloc(sizeof(*l));
	struct text name = TEXT_UP_TO(MOST_HOST + 16);

	memcpy(l->domain, domain, strlen(domain) + 1);
	l->refresh = refresh;
	STAILQ_INIT(&l->waiters);
	LIST_INSERT_HEAD(&me.lookups, l, all);
	me.lookup_count++;
	text_printf(&name, "_mta-sts.%s", domain);
	l->ask = dns_ask(&me.daemon, DNS_TXT, text_span(&name), false, on_record, l);
	text_clear(&name);
	return l;
}

/* --- questions --- */

/* In lower case; only letters, digits, hyphens and dots have a place in the URL. */
static bool
domain_take(struct span asked, char to[MOST_HOST + 1])
{
	if (asked.len == 0 || asked.len > MOST_HOST - 16 || !span_copy(asked, to, MOST_HOST + 1))
		return false;
	for (char *c = to; *c != '\0'; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '.'))
			return false;
	}
	return true;
}

static void
on_sts_ask(void *arg, struct channel *from, uint64_t id, const struct msg_sts_ask *m, const int *fd)
{
	char domain[MOST_HOST + 1] = "";
	const struct recent *recent;
	struct lookup *l;
	struct waiter *w;

	(void)arg;
	(void)fd;
	if (!domain_take(m->domain, domain)) {
		send_sts_told(from, id, &(struct msg_sts_told){ .fault = SPAN("no domain can be called that") },
			NULL);
		return;
	}
	recent = recent_of(domain);
	if ((strcmp(recent->domain, domain) == 0 && recent->until > now_seconds()) ||
		me.waiter_count >= MOST_WAITERS) {
		tell(from, id, domain);
		return;
	}
	LIST_FOREACH(l, &me.lookups, all)
		if (strcmp(l->domain, domain) == 0)
			break;
	if (l == NULL) {
		if (me.lookup_count >= MOST_LOOKUPS) {
			tell(from, id, domain);
			return;
		}
		l = lookup_begin(domain, false);
	}
	w = must_alloc(sizeof(*w));
	w->from = from;
	w->id = id;
	STAILQ_INSERT_TAIL(&l->waiters, w, next);
	me.waiter_count++;
}

static void
asker_gone(void *arg, struct channel *from)
{
	struct lookup *l;
	struct waiter *w;

	(void)arg;
	LIST_FOREACH(l, &me.lookups, all)
		STAILQ_FOREACH(w, &l->waiters, next)
			if (w->from == from)
				w->from = NULL;
}

struct listing {
	struct channel *to;
	uint64_t id, now;
};

static bool
tell_row(void *arg, struct span domain, const struct sts_remembered *r)
{
	struct listing *l = arg;

	if (r->expires > l->now)
		send_sts_entry(l->to, l->id,
			&(struct msg_sts_entry){ .domain = domain, .mode = (uint8_t)r->mode,
				.policy = span_str(r->id), .fetched = r->fetched, .expires = r->expires,
				.mx = text_span(&r->mx) },
			NULL);
	return channel_waiting(l->to) < MOST_WAITING_PACKETS - 1;
}

static void
on_sts_list(void *arg, struct channel *from, uint64_t id, const struct msg_sts_list *m, const int *fd)
{
	struct listing l = { from, id, now_seconds() };

	(void)arg;
	(void)m;
	(void)fd;
	sts_cache_each(me.policies, tell_row, &l);
	send_sts_end(from, id, &(struct msg_sts_end){}, NULL);
}

/* --- reports --- */

static void
on_tls_seen(void *arg, struct channel *from, uint64_t id, const struct msg_tls_seen *m, const int *fd)
{
	(void)arg;
	(void)from;
	(void)id;
	(void)fd;
	if (me.daemon.settings->tls_reports)
		reporting_seen(m);
}

static void
on_sts_report(void *arg, struct channel *from, uint64_t id, const struct msg_sts_report *m, const int *fd)
{
	(void)arg;
	(void)m;
	(void)fd;
	reporting_send(true);
	send_sts_end(from, id, &(struct msg_sts_end){}, NULL);
}

/* Of what can be counted for a domain, which cannot be had is (RFC 8460 4.3.2.2). */
static void
count_policy_fault(const struct lookup *l, const char *result, const char *fault)
{
	if (me.daemon.settings->tls_reports)
		reporting_seen(&(struct msg_tls_seen){ .domain = span_str(l->domain), .policy = TLS_POLICY_STS,
			.result = span_str(result), .reason = span_str(fault) });
}

/* --- age --- */

static void
on_purge(evutil_socket_t fd, short what, void *arg)
{
	struct sts_old old[MOST_REFRESHED];
	uint64_t now = now_seconds();
	size_t found;
	struct timeval wait = { .tv_sec = PURGE_SECONDS };

	(void)fd;
	(void)what;
	(void)arg;
	found = sts_cache_sweep(me.policies, now, REFRESH_SECONDS, me.swept, old, MOST_REFRESHED, &me.policy_count);
	for (size_t i = 0; i < found; i++) {
		const struct recent *recent = recent_of(old[i].domain);

		if (old[i].expired) {
			if (table_remove(me.policies, span_str(old[i].domain)) == 0)
				me.policy_count--;
		} else if (me.lookup_count < MOST_LOOKUPS && (recent->until <= now ||
			strcmp(recent->domain, old[i].domain) != 0)) {
			(void)lookup_begin(old[i].domain, true);
		}
	}
	if (found > 0)
		(void)table_sync(me.policies);
	reporting_send(false);
	/* There may be more. */
	if (me.swept[0] != '\0')
		wait.tv_sec = FAILED_SECONDS / 5;
	evtimer_add(me.purge, &wait);
}

/* --- life --- */

static bool
prepare(void *arg)
{
	struct daemon *d = &me.daemon;
	int directory = d->directory[DIRECTORY_STS];

	(void)arg;
	LIST_INIT(&me.lookups);
	d->paths[d->path_count++] = (struct room_path){ directory, ".", ROOM_READ | ROOM_WRITE | ROOM_MAKE };
	me.policies = table_private(directory, POLICIES, 0600);
	me.purge = evtimer_new(d->base, on_purge, NULL);
	return me.policies != NULL && me.purge != NULL && reporting_prepare(d, directory, me.policies);
}

static void
settings_changed(void *arg, const struct settings *old)
{
	(void)arg;
	if (old == NULL)
		on_purge(-1, 0, NULL);
}

static void
peer_came(void *arg, struct channel *peer)
{
	(void)arg;
	dns_peer_came(&me.daemon, peer);
	fetch_peer_came(&me.daemon, peer);
}

static void
leave(void *arg, unsigned int seconds)
{
	(void)arg;
	(void)seconds;
	reporting_sync();
	daemon_exit(&me.daemon);
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	(void)arg;
	*connections = (uint32_t)me.lookup_count;
	*served = me.served;
}

static const int syscalls[] = { TABLE_READER_SYSCALLS, TABLE_PRIVATE_SYSCALLS, SCMP_SYS(socketpair), -1 };

static const struct room sts_room = {
	.name = "sts",
	.files = true,
	.syscalls = syscalls,
};
static const struct hearing from_relay = { .gone = asker_gone, .on_sts_ask = on_sts_ask, .on_tls_seen = on_tls_seen };
static const struct hearing from_smtpd = { .gone = NULL };
static const struct hearing from_command = {
	.gone = asker_gone, .on_sts_ask = on_sts_ask, .on_sts_list = on_sts_list,
	.on_sts_report = on_sts_report,
};
static const struct peer_kind peers[] = {
	{ PROGRAM_RELAY, &from_relay },
	{ PROGRAM_DNS, &dns_hearing },
	{ PROGRAM_FETCH, &fetch_hearing },
	{ PROGRAM_SMTPD, &from_smtpd },
	{ PROGRAM_COMMAND, &from_command },
	{ 0, NULL },
};
static const struct daemon_kind kind = {
	.program = PROGRAM_STS, .room = &sts_room, .peers = peers, .prepare = prepare,
	.peer_came = peer_came, .settings_changed = settings_changed, .leave = leave, .load = load,
};

int
main(void)
{
	return daemon_run(&me.daemon, &kind, &me);
}
