/*
 * dns - asks the domain name system, with DNSSEC, for everybody else (libunbound).
 *   inherits    channels to master, log, and those who ask: smtpd, queue, relay, fetch. The resolver's files
 *               (resolv.conf, hosts, trust anchors) come from master as open descriptors
 *   keeps       nothing: _dns, an empty root, sockets of IPv4 and IPv6
 *   may be lied to by    every name server. May lie to: those who ask, about names; DNSSEC ends here
 *   while away  its askers ask the next one again, and go on later if none comes
 *
 * One event loop, which libunbound shares: no thread, no process of its own.
 */
#include "common/daemon.h"
#include "common/log.h"
#include "delivery/dns-context.h"
#include "delivery/dns-packet.h"
#include "delivery/own-name.h"

#include "common/beneath.h"

#include <errno.h>
#include <event2/event.h>
#include <idn2.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_QUESTIONS 4000            /* outstanding, of all askers */
#define MOST_OF_ONE 1000               /* of one asker */
#define FILES_SECONDS 5                /* between two looks at the resolver's files */
#define HOSTS_TTL 60

struct question {
	LIST_ENTRY(question) all;
	struct channel *from;           /* NULL: it is gone */
	uint64_t id;
	uint16_t type;
	char name[MOST_DNS_NAME + 1];
};

/* A file of the resolver, as it was when it was last read. */
struct seen {
	bool known, there;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
	struct text text;
};

static struct dns {
	struct daemon daemon;
	struct dns_context *context;
	struct own_name *own_name;
	struct dns_packet packet;
	struct seen file[RESOLVER_FILE_COUNT];
	struct hosts *hosts;
	LIST_HEAD(, question) questions;
	unsigned int count, of[PROGRAM_COUNT][MOST_PEERS_OF_A_KIND];
	struct event *files_timer;
	uint64_t served;
} me;

/* --- answering --- */

static void
tell(struct channel *to, uint64_t id, enum dns_outcome outcome, bool secure, uint32_t ttl,
	struct span canonical, struct span answers)
{
	send_dns_told(to, id,
		&(struct msg_dns_told){ .outcome = (uint8_t)outcome, .secure = secure, .ttl = ttl,
			.canonical = canonical, .answers = answers },
		NULL);
}

static void
tell_nothing(struct channel *to, uint64_t id, enum dns_outcome outcome, const char *name)
{
	if (to != NULL)
		tell(to, id, outcome, false, 0, span_str(name), SPAN_NONE);
}

static void
question_free(struct question *q)
{
	if (q->from != NULL)
		me.of[channel_peer(q->from)][channel_peer_index(q->from)]--;
	LIST_REMOVE(q, all);
	me.count--;
	free(q);
}

/* What libunbound found. */
static void
on_found(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus, int limited)
{
	struct question *q = arg;
	struct dns_packet *p = &me.packet;
	const char *why = NULL;

	(void)limited;
	me.served++;
	if (sec == 1) {
		log_notice(q->id, "dns-bogus", KEY_STR("name", q->name), KEY_NUM("type", q->type),
			KEY_STR("reason", why_bogus != NULL ? why_bogus : ""));
		tell_nothing(q->from, q->id, DNS_BOGUS, q->name);
	} else if (rcode != 0 || packet == NULL || len <= 0) {
		log_debug(q->id, "dns-failed", KEY_STR("name", q->name), KEY_NUM("type", q->type),
			KEY_NUM("rcode", rcode));
		tell_nothing(q->from, q->id, DNS_LATER, q->name);
	} else {
		dns_packet_read(span_of(packet, (size_t)len), span_str(q->name), q->type, p, &why);
		if (why != NULL)
			log_notice(q->id, "dns-answer-refused", KEY_STR("name", q->name),
				KEY_NUM("type", q->type), KEY_STR("reason", why));
		if (q->from != NULL)
			tell(q->from, q->id, p->outcome, sec == 2 && why == NULL, p->ttl,
				text_span(&p->canonical), text_span(&p->answers));
	}
	question_free(q);
}

static void
question_put(struct question *q)
{
	/* It may be answered, and freed, before this returns. */
	if (dns_context_ready(me.context) &&
		!dns_context_ask(me.context, q->name, q->type, on_found, q)) {
		tell_nothing(q->from, q->id, DNS_LATER, q->name);
		question_free(q);
	}
}

/* Another context: what the old one had not answered is asked again. */
static void
context_changed(void *arg)
{
	struct question *q, *next;

	(void)arg;
	for (q = LIST_FIRST(&me.questions); q != NULL; q = next) {
		next = LIST_NEXT(q, all);
		if (q->from == NULL)
			question_free(q);
		else
			question_put(q);
	}
	own_name_look(me.own_name);
}

/* --- questions --- */

/* The name as DNS has it: A-labels, lower case, no dot at the end. False: there can be none such. */
static bool
name_prepare(struct span asked, char to[MOST_DNS_NAME + 1])
{
	char text[MOST_DNS_NAME + 1], *ascii = NULL;
	size_t label = 0;

	if (asked.len > 0 && asked.at[asked.len - 1] == '.')
		asked.len--;
	if (asked.len == 0 || !span_copy(asked, text, sizeof(text)))
		return false;
	for (size_t i = 0; i < asked.len; i++)
		if (asked.at[i] >= 0x80) {
			if (!span_is_utf8(asked) ||
				idn2_to_ascii_8z(text, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) !=
					IDN2_OK)
				return false;
			break;
		}
	bool good = span_copy(span_str(ascii != NULL ? ascii : text), to, MOST_DNS_NAME - 1);

	idn2_free(ascii);
	for (char *c = to; good && *c != '\0'; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
		good = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') ||
			strchr("-_/.", *c) != NULL;
		good &= *c != '.' || label > 0;
		label = *c == '.' ? 0 : label + 1;
		good &= label <= 63;
	}
	return good && label > 0;
}

static bool
answer_from_hosts(struct channel *to, uint64_t id, const char *name, uint16_t type)
{
	struct text *answers = &me.packet.answers;
	struct span n = span_str(name);
	enum dns_outcome outcome = DNS_FOUND;

	text_reset(answers);
	if (me.hosts == NULL)
		return false;
	if (!hosts_find(me.hosts, n, type, answers)) {
		/* Who stands there with an address of one kind only has none of the other. */
		if (type != DNS_A && type != DNS_AAAA)
			return false;
		if (!hosts_find(me.hosts, n, type == DNS_A ? DNS_AAAA : DNS_A, answers))
			return false;
		text_reset(answers);
		outcome = DNS_NODATA;
	}
	tell(to, id, outcome, false, HOSTS_TTL, n, text_span(answers));
	return true;
}

static void
on_dns_ask(void *arg, struct channel *from, uint64_t id, const struct msg_dns_ask *m, const int *fd)
{
	unsigned int *of = &me.of[channel_peer(from)][channel_peer_index(from)];
	char name[MOST_DNS_NAME + 1];
	struct question *q;

	(void)arg;
	(void)fd;
	if (!name_prepare(m->name, name)) {
		tell_nothing(from, id, DNS_NXDOMAIN, "");
		return;
	}
	if (m->hosts_first && answer_from_hosts(from, id, name, m->type))
		return;
	if (*of >= MOST_OF_ONE || me.count >= MOST_QUESTIONS) {
		log_warning(id, "dns-busy", KEY_STR("asker", program_name(channel_peer(from))),
			KEY_NUM("questions", me.count));
		tell_nothing(from, id, DNS_LATER, name);
		return;
	}
	q = must_alloc(sizeof(*q));
	*q = (struct question){ .from = from, .id = id, .type = m->type };
	memcpy(q->name, name, sizeof(q->name));
	LIST_INSERT_HEAD(&me.questions, q, all);
	me.count++;
	(*of)++;
	question_put(q);
}

static uint32_t
asker_hour(void *arg, struct channel *from, enum message m, uint64_t id)
{
	(void)arg;
	(void)from;
	(void)m;
	(void)id;
	return HOUR_NONE;
}

/* libunbound goes on: the answer will be in its cache. */
static void
asker_gone(void *arg, struct channel *from)
{
	struct question *q;

	(void)arg;
	LIST_FOREACH(q, &me.questions, all)
		if (q->from == from)
			q->from = NULL;
	me.of[channel_peer(from)][channel_peer_index(from)] = 0;
}

/* --- files --- */

static void
files_ask(void)
{
	static const struct timeval wait = { .tv_sec = FILES_SECONDS };

	for (unsigned int kind = 1; kind <= RESOLVER_TRUST; kind++)
		send_resolver_ask(me.daemon.master, 0,
			&(struct msg_resolver_ask){ .kind = (uint8_t)kind }, NULL);
	evtimer_add(me.files_timer, &wait);
}

static void
on_files_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	files_ask();
}

static void
servers_of_settings(struct name_servers *to)
{
	const struct list *given = &me.daemon.settings->dns_servers;

	to->count = 0;
	if (given->count == 0) {
		resolv_conf_read(text_span(&me.file[RESOLVER_CONF].text), to);
		return;
	}
	for (size_t i = 0; i < given->count && to->count < MOST_NAME_SERVERS; i++)
		if (name_server_read(given->at[i], to->at[to->count]))
			to->count++;
}

/* New servers or new trust. */
static void
context_renew(void)
{
	const struct settings *s = me.daemon.settings;
	struct name_servers servers;
	struct dns_trust trust = {
		.mode = span_equal(s->dnssec, SPAN("off"))	  ? DNSSEC_OFF
			: span_equal(s->dnssec, SPAN("required")) ? DNSSEC_REQUIRED
								  : DNSSEC_AUTO,
		.anchors = text_span(&me.file[RESOLVER_TRUST].text),
	};

	for (unsigned int kind = 1; kind <= RESOLVER_TRUST; kind++)
		if (!me.file[kind].known)
			return;
	servers_of_settings(&servers);
	log_info(0, "name-servers", KEY_STR("first", servers.count > 0 ? servers.at[0] : "the root's"),
		KEY_NUM("count", servers.count), KEY_SPAN("dnssec", s->dnssec),
		KEY_STR("anchors", me.file[RESOLVER_TRUST].there ? "file" : "built-in"));
	dns_context_set(me.context, &servers, &trust);
}

/* A file has other content now. */
static void
file_changed(unsigned int kind)
{
	if (kind == RESOLVER_HOSTS) {
		hosts_free(&me.hosts);
		me.hosts = hosts_read(text_span(&me.file[kind].text));
	}
	if (kind != RESOLVER_CONF || me.daemon.settings->dns_servers.count == 0 ||
	    !dns_context_ready(me.context))
		context_renew();
}

static bool
same_file(const struct seen *f, const struct stat *st)
{
	return f->known && f->there && f->device == st->st_dev && f->inode == st->st_ino &&
	       f->size == st->st_size && f->changed.tv_sec == st->st_mtim.tv_sec &&
	       f->changed.tv_nsec == st->st_mtim.tv_nsec;
}

static void
on_resolver_file(void *arg, struct channel *from, uint64_t id, const struct msg_resolver_file *m,
	const int *fd)
{
	struct seen *f = &me.file[m->kind < RESOLVER_FILE_COUNT ? m->kind : 0];
	unsigned char *content = NULL;
	struct stat st;
	ssize_t len = -1;

	(void)arg;
	(void)from;
	(void)id;
	if (m->kind == 0 || m->kind >= RESOLVER_FILE_COUNT || fstat(fd[0], &st) < 0 ||
	    same_file(f, &st)) {
		close(fd[0]);
		return;
	}
	if (st.st_size <= MOST_DNS_FILE) {
		content = must_alloc((size_t)st.st_size + 1);
		len = read_at(fd[0], content, (size_t)st.st_size, 0);
	}
	close(fd[0]);
	if (len < 0)
		log_warning(0, "resolver-file-unread", KEY_NUM("kind", m->kind),
			KEY_NUM("bytes", st.st_size));
	*f = (struct seen){ true, true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, f->text };
	text_reset(&f->text);
	if (len > 0)
		text_add(&f->text, span_of(content, (size_t)len));
	free(content);
	file_changed(m->kind);
}

static void
on_resolver_no_file(void *arg, struct channel *from, uint64_t id,
	const struct msg_resolver_no_file *m, const int *fd)
{
	struct seen *f = &me.file[m->kind < RESOLVER_FILE_COUNT ? m->kind : 0];
	bool news = !f->known || f->there;

	(void)arg;
	(void)from;
	(void)id;
	(void)fd;
	if (m->kind == 0 || m->kind >= RESOLVER_FILE_COUNT || !news)
		return;
	if (m->error != ENOENT)
		log_warning(0, "resolver-file-unread", KEY_NUM("kind", m->kind),
			KEY_STR("error", strerror((int)m->error)));
	f->known = true;
	f->there = false;
	text_reset(&f->text);
	file_changed(m->kind);
}

/* --- life --- */

static bool
prepare(void *arg)
{
	(void)arg;
	LIST_INIT(&me.questions);
	dns_packet_init(&me.packet);
	for (unsigned int kind = 0; kind < RESOLVER_FILE_COUNT; kind++)
		me.file[kind].text = TEXT_UP_TO(MOST_DNS_FILE);
	me.context = dns_context_new(me.daemon.base, context_changed, NULL);
	me.own_name = own_name_new(&me.daemon, me.context);
	me.files_timer = evtimer_new(me.daemon.base, on_files_timer, NULL);
	return me.files_timer != NULL && me.own_name != NULL;
}

static bool
same_list(const struct list *a, const struct list *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = span_equal(a->at[i], b->at[i]);
	return same;
}

static void
settings_changed(void *arg, const struct settings *old)
{
	const struct settings *now = me.daemon.settings;

	(void)arg;
	files_ask();
	if (old != NULL && (!same_list(&old->dns_servers, &now->dns_servers) ||
	    !span_equal(old->dnssec, now->dnssec)))
		context_renew();
	else if (old != NULL && !span_equal_nocase(old->hostname, now->hostname))
		own_name_look(me.own_name);
}

/* With another address or route there may be other name servers: no need to wait for the next look. And
 * libunbound remembers for minutes that it could not reach those that it has: that was another network. */
static void
address_changed(void *arg, const struct msg_address_changed *m)
{
	(void)arg;
	if (me.context == NULL)
		return;
	files_ask();
	if (m->came.len > 0 || m->route)
		context_renew();
}

static void
load(void *arg, uint32_t *connections, uint64_t *served)
{
	(void)arg;
	*connections = me.count;
	*served = me.served;
}

/* bind and connect come with `internet`; the rest is what libunbound looks for and does without. */
static const int syscalls[] = { SCMP_SYS(getrlimit), -1 };

static const struct room dns_room = {
	.name = "dns",
	.chrooted = true,
	.files = false,
	.internet = true,
	.syscalls = syscalls,
	.most_descriptors = 4096,
};
static const struct hearing from_askers = {
	.hour = asker_hour, .gone = asker_gone, .on_dns_ask = on_dns_ask,
};
static const struct hearing from_master = {
	.on_resolver_file = on_resolver_file, .on_resolver_no_file = on_resolver_no_file,
};
static const struct peer_kind peers[] = {
	{ PROGRAM_SMTPD, &from_askers },
	{ PROGRAM_QUEUE, &from_askers },
	{ PROGRAM_RELAY, &from_askers },
	{ PROGRAM_FETCH, &from_askers },
	{ PROGRAM_STS, &from_askers },
	{ PROGRAM_AUTH_FETCH, &from_askers },
	{ PROGRAM_COMMAND, &from_askers },
	{ 0, NULL },
};
static const struct daemon_kind kind = {
	.program = PROGRAM_DNS, .room = &dns_room, .peers = peers, .prepare = prepare,
	.settings_changed = settings_changed, .address_changed = address_changed, .load = load, .control = &from_master,
};

int
main(void)
{
	return daemon_run(&me.daemon, &kind, &me);
}
