/* resolve - see resolve.h. This file: the rules for one address; expand.c: what aliases add. */
#include "resolve_inside.h"
#include "srs.h"

#include "common/log.h"
#include "common/ourselves.h"
#include "common/users.h"
#include "rewrite.h"
#include "transport.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void
resolver_init(struct resolver *r, struct table *users)
{
	memset(r, 0, sizeof(*r));
	r->users = users;
	r->first = TEXT_UP_TO(MOST_ADDRESS);
}

void
resolver_open(struct resolver *r, int directory)
{
	static const char *const names[] = {
#define T(symbol, name, help) [TABLE_##symbol] = name ".db",
		TABLES(T)
#undef T
	};

	for (size_t i = 0; i < TABLE_KINDS; i++)
		r->table[i] = table_reader(directory, names[i]);
}

void
resolver_clear(struct resolver *r)
{
	for (size_t i = 0; i < TABLE_KINDS; i++)
		table_free(&r->table[i]);
	text_clear(&r->first);
}

int
resolver_no_forward(void *me, struct span login, const struct system_user *u, struct span *text)
{
	(void)me;
	(void)login;
	(void)u;
	(void)text;
	return 0;
}

void
resolution_init(struct resolution *r)
{
	memset(r, 0, sizeof(*r));
}

void
resolved_clear(struct resolved *p)
{
	free(p->address);
	free(p->home);
	free(p->folder);
	free(p->next_hop);
	free(p->sender);
}

static void
resolution_reset(struct resolution *r)
{
	while (r->count > 0)
		resolved_clear(&r->at[--r->count]);
	free(r->said);
	r->said = NULL;
	r->waits = r->aliased = false;
	memset(&r->verdict, 0, sizeof(r->verdict));
}

void
resolution_clear(struct resolution *r)
{
	resolution_reset(r);
	free(r->at);
	r->at = NULL;
	r->room = 0;
}

/* --- the words of an expansion --- */

void
expansion_tell(struct expansion *x, const char *format, ...)
{
	char text[1024];
	va_list ap;

	if (x->r->tell == NULL)
		return;
	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	x->r->tell(x->r->me, x->depth, text);
}

void
expansion_refuse(struct expansion *x, struct verdict v)
{
	expansion_tell(x, "nowhere: %u %.*s %.*s", (unsigned int)v.code, SPAN_ARG(v.status), SPAN_ARG(v.reason));
	if (x->bad.outcome != 0)
		return;
	/* What the transport table said lives no longer than its lookup. */
	free(x->to->said);
	x->to->said = must_alloc(v.status.len + v.reason.len + 1);
	memcpy(x->to->said, v.status.at, v.status.len);
	memcpy(x->to->said + v.status.len, v.reason.at, v.reason.len);
	v.status = span_of(x->to->said, v.status.len);
	v.reason = span_of(x->to->said + v.status.len, v.reason.len);
	x->bad = v;
}

void
expansion_stop(struct expansion *x, struct verdict v)
{
	x->bad.outcome = 0;
	expansion_refuse(x, v);
	x->stopped = true;
}

static char *
copy_of(const char *s)
{
	return s == NULL ? NULL : must_copy(span_str(s));
}

static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* What makes two places one: the mailbox and its folder, or the address. */
static bool
is_new_place(struct expansion *x, const struct resolved *p)
{
	struct text name = TEXT_UP_TO(2 * MOST_PATH_FIELD);
	char *key;
	void **node;
	bool is_new;

	text_printf(&name, "%d %s", (int)p->leads, p->home != NULL ? p->home : "");
	text_add_byte(&name, ' ');
	if (p->leads == LEADS_HERE)
		text_add_str(&name, p->folder != NULL ? p->folder : "");
	else if (p->leads == LEADS_ELSEWHERE)
		text_add_str(&name, p->address);
	/* Whether case counts in the local part is the other server's matter; it never does. */
	for (size_t i = 0; p->leads == LEADS_ELSEWHERE && i < name.len; i++)
		name.at[i] = (unsigned char)tolower(name.at[i]);
	key = must_copy(text_span(&name));
	text_clear(&name);
	node = tsearch(key, &x->places, compare);
	if (node == NULL)
		abort();
	is_new = *node == (void *)key;
	if (!is_new)
		free(key);
	return is_new;
}

void
expansion_place(struct expansion *x, const struct resolved *p)
{
	struct resolution *to = x->to;
	struct resolved *mine;

	if (to->count >= MOST_EXPANSION) {
		expansion_stop(x, V_ALIAS_LARGE);
		return;
	}
	if (!is_new_place(x, p)) {
		expansion_tell(x, "named before: one message only");
		return;
	}
	if (to->count == to->room) {
		to->room = to->room == 0 ? 1 : to->room * 2;
		to->at = must_realloc(to->at, to->room * sizeof(*to->at));
	}
	mine = &to->at[to->count++];
	*mine = *p;
	mine->address = copy_of(p->address);
	mine->home = copy_of(p->home);
	mine->folder = copy_of(p->folder);
	mine->next_hop = copy_of(p->next_hop);
	mine->sender = copy_of(x->sender);
}

/* --- accounts --- */

bool
is_in(const struct list *l, struct span domain)
{
	for (size_t i = 0; i < l->count; i++)
		if (span_equal_nocase(l->at[i], domain))
			return true;
	return false;
}

bool
plain_get(struct resolver *r, enum table_kind kind, struct span key, struct text *value)
{
	enum table_result result;

	if (r->table[kind] == NULL)
		return false;
	result = table_get(r->table[kind], key, value);
	if (result == TABLE_ERROR)
		log_error(0, "table-unreadable", KEY_NUM("table", (uint64_t)kind));
	if (result != TABLE_FOUND || value->len > MOST_TABLE_VALUE)
		return false;
	/* Read back, it is as untrusted as anything (I3, I4). */
	for (size_t i = 0; i < value->len; i++)
		if (value->at[i] < 0x20 || value->at[i] == 0x7f)
			return false;
	return true;
}

/* What the table says is as untrusted as anything that was read. */
static bool
usable(const struct user *u)
{
	return u->home.len > 0 && u->home.len <= MOST_PATH_FIELD && !span_has(u->home, 0);
}

enum found
find_account(struct expansion *x, struct span key, struct span address, struct span detail)
{
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	enum table_result result = table_get(x->r->users, key, &value);
	enum found found = NOT_FOUND;
	struct user u;

	if (result == TABLE_ERROR) {
		log_error(0, "users-unreadable", KEY_STR("table", USERS_TABLE));
		found = IN_TROUBLE;
	} else if (result == TABLE_FOUND &&
		   (!user_decode(key, text_span(&value), &u) || !usable(&u))) {
		/* Somebody is meant, and nobody knows who: his mail is not to come back. */
		log_error(0, "user-record-damaged", KEY_SPAN("user", key));
		found = IN_TROUBLE;
	} else if (result == TABLE_FOUND && u.disabled) {
		expansion_tell(x, "user %.*s is disabled", SPAN_ARG(key));
		expansion_refuse(x, V_DISABLED_USER);
		found = FOUND;
	} else if (result == TABLE_FOUND) {
		struct resolved p = { .leads = LEADS_HERE, .uid = u.uid, .gid = u.gid,
			.quota = { u.quota_bytes, u.quota_messages } };

		expansion_tell(x, "user %.*s: mailbox %.*s%s%.*s", SPAN_ARG(key), SPAN_ARG(u.home),
			detail.len > 0 ? ", folder " : "", SPAN_ARG(detail));
		p.address = must_copy(address);
		p.home = must_copy(u.home);
		p.folder = detail.len > 0 ? must_copy(detail) : NULL;
		expansion_place(x, &p);
		free(p.address);
		free(p.home);
		free(p.folder);
		found = FOUND;
	}
	text_clear(&value);
	return found;
}

struct first_seen {
	struct text *key;
	uint64_t created;
	bool any;
};

static bool
earlier_user(void *me, struct span key, struct span value)
{
	struct first_seen *first = me;
	struct user u;

	if (!user_decode(key, value, &u) || u.disabled || !usable(&u) ||
	    (first->any && u.created >= first->created))
		return true;
	first->any = true;
	first->created = u.created;
	text_reset(first->key);
	text_add(first->key, key);
	return true;
}

/* The first user that was added, so long as it is there; looked for anew when it is not. */
static bool
first_user(struct expansion *x)
{
	struct resolver *r = x->r;
	struct first_seen first = { &r->first, 0, false };
	struct text value = TEXT_UP_TO(TABLE_MOST_VALUE);
	struct user u;
	bool there = r->first.len > 0 &&
		table_get(r->users, text_span(&r->first), &value) == TABLE_FOUND &&
		user_decode(text_span(&r->first), text_span(&value), &u) && usable(&u) &&
		!u.disabled;

	text_clear(&value);
	if (!there) {
		text_reset(&r->first);
		there = table_each(r->users, earlier_user, &first) == 0 && first.any;
	}
	return there && find_account(x, text_span(&r->first), text_span(&r->first), SPAN_NONE) ==
		FOUND;
}

static bool
key_of(struct span mailbox, struct text *key)
{
	struct address a;

	return address_take_mailbox(&mailbox, true, &a) == ADDRESS_OK && mailbox.len == 0 &&
		address_key(&a, key);
}

/* Mail for postmaster always reaches somebody (RFC 5321 4.5.1, RFC 2142 section 5). So does that for root, to whom
 * cron and others write, whether the administrator has thought of an alias or not. */
static void
resolve_postmaster(struct expansion *x)
{
	struct span named = x->settings->postmaster;
	struct text key = TEXT_UP_TO(MOST_ADDRESS);
	uint32_t before = x->to->count;
	bool is_user = false;

	expansion_tell(x, "postmaster, abuse and root always reach somebody");
	if (named.len > 0) {
		struct verdict bad = x->bad;

		is_user = key_of(named, &key) &&
			find_account(x, text_span(&key), text_span(&key), SPAN_NONE) == FOUND &&
			x->to->count > before;
		if (!is_user)
			x->bad = bad;
	}
	if (named.len > 0 && !is_user)
		log_warning(0, "postmaster-is-nobody", KEY_SPAN("postmaster", named));
	text_clear(&key);
	/* Named twice, it is there already, and that is well. */
	if (is_user || first_user(x))
		return;
	log_error(0, "nobody-is-postmaster", KEY_STR("reason", "there is no user yet"));
	expansion_refuse(x, V_MISCONFIGURED);
}

/* --- elsewhere --- */

/* An address literal that a relay could connect to: IPv4 or IPv6 (RFC 5321 4.1.3), and not this
 * machine itself or nobody at all. */
static bool
literal_leads_elsewhere(struct span domain)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct in_addr four;
	struct in6_addr six;

	if (!span_take(&domain, '[') || domain.len < 1 || domain.at[domain.len - 1] != ']')
		return false;
	domain.len--;
	if (span_take_word(&domain, SPAN("IPv6:"))) {
		if (!span_copy(domain, text, sizeof(text)) || inet_pton(AF_INET6, text, &six) != 1)
			return false;
		if (IN6_IS_ADDR_V4MAPPED(&six) || IN6_IS_ADDR_V4COMPAT(&six))
			return false; /* covers :: and ::1 */
		return !IN6_IS_ADDR_MULTICAST(&six) && !IN6_IS_ADDR_LINKLOCAL(&six) &&
			!IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_UNSPECIFIED(&six);
	}
	if (!span_copy(domain, text, sizeof(text)) || inet_pton(AF_INET, text, &four) != 1)
		return false;
	uint32_t first = ntohl(four.s_addr) >> 24;

	return first != 0 && first != 127 && first < 224;
}

/* What a value of the transport table means for `address`. */
static enum found
take_way(struct expansion *x, struct span value, struct span address, struct span domain)
{
	struct resolved p = { .leads = LEADS_ELSEWHERE };
	struct transport_way way;
	const char *why;

	expansion_tell(x, "transport: %.*s", SPAN_ARG(value));
	bool usable = transport_parse(value, &way, &why);

	if (usable && way.transport == TRANSPORT_LMTP && way.next_hop.len > 0 && way.next_hop.at[0] == '/' &&
		!settings_has_socket(x->settings, way.next_hop)) {
		why = "lmtp_sockets does not name this socket";
		usable = false;
	}
	if (!usable) {
		log_error(0, "transport-unusable", KEY_SPAN("address", address),
			KEY_SPAN("transport", value), KEY_STR("reason", why));
		expansion_refuse(x, V_MISCONFIGURED);
		return FOUND;
	}
	if (way.kind == TO_MAILBOX)
		return NOT_FOUND;
	if (way.kind == TO_ERROR) {
		bool later = way.status.at[0] == '4';

		expansion_refuse(x, (struct verdict){later ? LATER : NEVER, later ? 450 : 550, way.status,
				   way.text});
		return FOUND;
	}
	if (way.kind == TO_NOWHERE)
		p.leads = LEADS_DISCARD;
	p.transport = way.transport;
	p.address = must_copy(address);
	p.next_hop = must_copy(way.next_hop.len > 0 ? way.next_hop : domain);
	expansion_place(x, &p);
	free(p.address);
	free(p.next_hop);
	return FOUND;
}

enum found
find_transport(struct expansion *x, struct span key, struct span address)
{
	struct text value = TEXT_UP_TO(MOST_TABLE_VALUE);
	enum found found = NOT_FOUND;
	size_t at = span_rindex(key, '@');

	if (plain_get(x->r, TABLE_TRANSPORT, key, &value))
		found = take_way(x, text_span(&value), address,
			span_part(key, at + 1, key.len));
	text_clear(&value);
	return found;
}

/* Of the domain, of the domains above it as ".above", and of "*". */
static bool
domain_transport(struct expansion *x, struct span domain, struct text *value)
{
	struct text key = TEXT_UP_TO(MOST_DOMAIN + 1);
	struct span rest = domain;
	bool found = plain_get(x->r, TABLE_TRANSPORT, domain, value);

	while (!found && rest.len > 0) {
		size_t dot = span_index(rest, '.');

		rest = span_part(rest, dot + 1, rest.len);
		if (rest.len == 0)
			break;
		text_reset(&key);
		text_add_byte(&key, '.');
		text_add(&key, rest);
		found = plain_get(x->r, TABLE_TRANSPORT, text_span(&key), value);
	}
	text_clear(&key);
	return found || plain_get(x->r, TABLE_TRANSPORT, SPAN("*"), value);
}

void
expansion_leave(struct expansion *x, const struct address *a, struct span key)
{
	struct text value = TEXT_UP_TO(MOST_TABLE_VALUE), address = TEXT_UP_TO(MOST_ADDRESS);
	size_t at = span_rindex(key, '@');
	struct span domain = span_part(key, at + 1, key.len);
	enum found found = NOT_FOUND;

	/* The local part is the other server's: as it was written. */
	text_add(&address, a->local);
	text_add_byte(&address, '@');
	text_add(&address, a->domain);
	if (!a->literal && domain_transport(x, domain, &value))
		found = take_way(x, text_span(&value), text_span(&address), domain);
	if (found == NOT_FOUND) {
		struct resolved p = { .leads = LEADS_ELSEWHERE, .transport = TRANSPORT_RELAY };

		expansion_tell(x, "to another server, by the MX of %.*s", SPAN_ARG(domain));
		p.address = must_copy(text_span(&address));
		p.next_hop = must_copy(domain);
		expansion_place(x, &p);
		free(p.address);
		free(p.next_hop);
	}
	text_clear(&value);
	text_clear(&address);
}

/* --- one address --- */

/* `detail` of user+detail and the key of user; false when there is no separator. */
static bool
split_detail(
	struct expansion *x, const struct address *a, struct text *key, struct span *detail)
{
	struct span separators = x->settings->subaddress_separators;
	struct address user = *a;
	size_t at = a->local.len;

	for (size_t i = 1; i < a->local.len && !a->quoted; i++) {
		if (span_has(separators, a->local.at[i])) {
			at = i;
			break;
		}
	}
	if (at == a->local.len)
		return false;
	user.local = span_part(a->local, 0, at);
	*detail = span_part(a->local, at + 1, a->local.len);
	text_reset(key);
	return address_key(&user, key);
}

static enum found
without_detail(struct expansion *x, const struct address *a, struct span address, bool users)
{
	struct text key = TEXT_UP_TO(MOST_ADDRESS);
	struct span detail;
	enum found found = NOT_FOUND;

	if (split_detail(x, a, &key, &detail)) {
		size_t at = span_rindex(text_span(&key), '@');
		struct address user = *a;

		user.local = span_part(a->local, 0, a->local.len - detail.len - 1);
		expansion_tell(x, "without its detail: %.*s", SPAN_ARG(text_span(&key)));
		if (users)
			found = find_account(x, text_span(&key), address, detail);
		if (found == NOT_FOUND && !x->again)
			found = expand_alias(x, text_span(&key), text_span(&key));
		if (found == NOT_FOUND && !x->again && users)
			found = expand_alias(
				x, span_part(text_span(&key), 0, at), text_span(&key));
		if (found == NOT_FOUND && users)
			found = expand_system(x, &user, detail);
	}
	text_clear(&key);
	return found;
}

/* An address of ours. */
static void
resolve_ours(struct expansion *x, const struct address *a, struct span key, bool users)
{
	size_t at = span_rindex(key, '@');
	enum found found = find_transport(x, key, key);

	if (found == NOT_FOUND && users)
		found = find_account(x, key, key, SPAN_NONE);
	if (found == NOT_FOUND && !x->again)
		found = expand_alias(x, key, key);
	if (found == NOT_FOUND && !x->again && users)
		found = expand_alias(x, span_part(key, 0, at), key);
	if (found == NOT_FOUND && users)
		found = expand_system(x, a, SPAN_NONE);
	if (found == NOT_FOUND && (users || is_in(&x->settings->alias_domains, a->domain)) &&
	    (span_equal_nocase(a->local, SPAN("postmaster")) ||
		    span_equal_nocase(a->local, SPAN("abuse")))) {
		resolve_postmaster(x);
		found = FOUND;
	}
	if (found == NOT_FOUND)
		found = without_detail(x, a, key, users);
	if (found == NOT_FOUND && !x->again)
		found = expand_alias(x, span_part(key, at, key.len), key);
	if (found == NOT_FOUND && users && span_equal_nocase(a->local, SPAN("root"))) {
		resolve_postmaster(x);
		found = FOUND;
	}
	if (found == IN_TROUBLE)
		expansion_stop(x, V_LATER);
	if (found != NOT_FOUND)
		return;
	if (is_in(&x->settings->relay_domains, a->domain)) {
		struct text value = TEXT_UP_TO(MOST_TABLE_VALUE);
		bool listed = x->settings->relay_recipients_listed;

		if (!listed || plain_get(x->r, TABLE_RELAY_RECIPIENTS, key, &value))
			expansion_leave(x, a, key);
		else
			expansion_refuse(x, V_UNKNOWN_USER);
		text_clear(&value);
		return;
	}
	expansion_refuse(x, V_UNKNOWN_USER);
}

static bool
is_literal_of_ours(const struct address *a)
{
	return a->literal && ourselves_have_literal(a->domain);
}

/* user@[address of ours] is the same as user at the first of our domains. False: we have none. */
static bool
go_home(const struct expansion *x, struct address *a)
{
	const struct settings *s = x->settings;
	const struct list *homes = s->domains.count > 0 ? &s->domains : &s->system_domains;

	if (homes->count == 0 && !s->system_users)
		return false;
	a->domain = homes->count > 0 ? homes->at[0] : s->hostname;
	a->literal = false;
	return true;
}

static void
resolve_mailbox(struct expansion *x, struct span address)
{
	struct text key = TEXT_UP_TO(MOST_ADDRESS);
	struct span rest = address;
	struct address a;
	bool users, ours;

	if (address_take_mailbox(&rest, x->utf8 || x->depth > 0, &a) != ADDRESS_OK ||
	    rest.len != 0 || (is_literal_of_ours(&a) && !go_home(x, &a)) || !address_key(&a, &key)) {
		expansion_refuse(x, V_BAD_RECIPIENT);
		text_clear(&key);
		return;
	}
	users = !a.literal && (settings_is_local_domain(x->settings, a.domain) ||
				      settings_is_system_domain(x->settings, a.domain));
	ours = users || (!a.literal && (is_in(&x->settings->alias_domains, a.domain) ||
					       is_in(&x->settings->relay_domains, a.domain)));
	if (ours)
		resolve_ours(x, &a, text_span(&key), users);
	else if (!x->may_relay && x->depth == 0)
		expansion_refuse(x, V_NO_RELAY);
	else if (a.literal && !literal_leads_elsewhere(a.domain))
		expansion_refuse(x, V_BAD_LITERAL);
	else if (find_transport(x, text_span(&key), address) == NOT_FOUND)
		expansion_leave(x, &a, text_span(&key));
	text_clear(&key);
}

void
expand_name(struct expansion *x, struct span name)
{
	struct span was = x->domain;
	size_t at = span_rindex(name, '@');

	if (span_equal_nocase(name, SPAN("postmaster"))) {
		resolve_postmaster(x);
		return;
	}
	x->domain = span_part(name, at + 1, name.len);
	resolve_mailbox(x, name);
	x->domain = was;
}

static void
begin(struct expansion *x, struct resolver *r, const struct settings *settings,
	struct resolution *to)
{
	memset(x, 0, sizeof(*x));
	resolution_reset(to);
	x->r = r;
	x->settings = settings;
	x->to = to;
}

static void
end(struct expansion *x)
{
	struct resolution *to = x->to;

	tdestroy(x->seen, free);
	tdestroy(x->places, free);
	if (x->stopped)
		while (to->count > 0)
			resolved_clear(&to->at[--to->count]);
	to->verdict = to->count > 0 ? V_RECIPIENT : x->bad;
	if (to->count == 0 && to->verdict.outcome == 0)
		to->verdict = V_UNKNOWN_USER;
}

struct span
resolver_srs_domain(const struct settings *s)
{
	if (!s->srs)
		return SPAN_NONE;
	return s->srs_domain.len > 0 ? s->srs_domain : s->domains.count > 0 ? s->domains.at[0] : SPAN_NONE;
}

/* Who stands behind a sender that we have rewritten. */
static bool
is_rewritten_sender(struct resolver *r, const struct settings *settings, struct span address, struct text *to)
{
	return r->srs_known && srs_decode(address, resolver_srs_domain(settings),
		span_of(r->srs_key, sizeof(r->srs_key)), (uint64_t)time(NULL) / 86400, to);
}

void
resolve(struct resolver *r, const struct settings *settings, struct span address, bool utf8,
	bool may_relay, struct resolution *to)
{
	struct text rewritten = TEXT_UP_TO(MOST_ADDRESS);
	struct expansion x;

	begin(&x, r, settings, to);
	x.may_relay = may_relay;
	x.utf8 = utf8;
	if (is_rewritten_sender(r, settings, address, &rewritten)) {
		x.may_relay = true;
		expansion_tell(&x, "a sender that was rewritten (SRS): %.*s", SPAN_ARG(text_span(&rewritten)));
	} else {
		text_reset(&rewritten);
		rewrite_recipient(r, address, &rewritten);
	}
	if (!span_equal(text_span(&rewritten), address))
		expansion_tell(&x, "canonical: %.*s", SPAN_ARG(text_span(&rewritten)));
	expand_name(&x, text_span(&rewritten));
	text_clear(&rewritten);
	end(&x);
}

void
resolve_again(struct resolver *r, const struct settings *settings, struct span address,
	struct resolution *to)
{
	struct expansion x;

	begin(&x, r, settings, to);
	x.may_relay = x.utf8 = x.again = true;
	expand_name(&x, address);
	end(&x);
}
