/* reporting - see reporting.h. */
#include "reporting.h"

#include "common/dns-ask.h"
#include "common/fetch-ask.h"
#include "common/id.h"
#include "common/log.h"
#include "report-mail.h"
#include "report.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#define REPORTS "reports.db"
#define SYNC_SECONDS 5
#define KEPT_DAYS 3                  /* reports that cannot be sent (RFC 8460 5.4 wants a day) */
#define MOST_SENDING 10              /* domains at a time */
#define POST_MILLISECONDS 60000
#define DAY_LENGTH 10                /* "2026-11-28" */

/* A row's key: day, space, domain, space, one digit: enum tls_policy_type. */
struct sending {
	LIST_ENTRY(sending) all;
	char day[DAY_LENGTH + 1], domain[MOST_HOST + 1], id[64];
	struct dns_question *ask;
	struct fetch_question *post;
	char uri[MOST_RUA][MOST_RUA_URI + 1];
	size_t uris, next;
	bool sent;                   /* to one place at least */
	struct text compressed;
};

static struct {
	struct daemon *daemon;
	struct table *table, *policies;
	size_t rows;
	struct event *sync;
	LIST_HEAD(, sending) sending;
	size_t count;
	/* A round: some domains at a time, in the order of the table. */
	struct event *go_on;
	bool all, more;
	char after[DAY_LENGTH + MOST_HOST + 2];   /* "day domain" of the last that was begun */
} rp;

static void send_next(struct sending *s);

static void
day_of(time_t when, char to[DAY_LENGTH + 1])
{
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(to, DAY_LENGTH + 1, "%Y-%m-%d", &tm) == 0)
		memcpy(to, "1970-01-01", DAY_LENGTH + 1);
}

/* --- counting --- */

void
reporting_sync(void)
{
	if (table_sync(rp.table) < 0)
		log_error(0, "table-not-written", KEY_STR("table", REPORTS));
}

static void
on_sync(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	reporting_sync();
}

static void
sync_soon(void)
{
	static const struct timeval wait = { .tv_sec = SYNC_SECONDS };

	if (!event_pending(rp.sync, EV_TIMEOUT, NULL))
		evtimer_add(rp.sync, &wait);
}

void
reporting_seen(const struct msg_tls_seen *m)
{
	struct text key = TEXT_UP_TO(TABLE_MOST_KEY), old = TEXT_UP_TO(TABLE_MOST_VALUE),
		    value = TEXT_UP_TO(MOST_TLS_ROW);
	char day[DAY_LENGTH + 1];
	struct tls_row row = { 0 };
	bool known;

	if (m->policy < TLS_POLICY_STS || m->policy > TLS_POLICY_NONE || !span_is_printable(m->domain) ||
		m->domain.len == 0 || span_has(m->domain, ' '))
		return;
	day_of(time(NULL), day);
	text_printf(&key, "%s %.*s %u", day, SPAN_ARG(m->domain), m->policy);
	known = table_get(rp.table, text_span(&key), &old) == TABLE_FOUND;
	if (known && !tls_row_decode(text_span(&old), &row))
		memset(&row, 0, sizeof(row));
	tls_row_count(&row, m);
	tls_row_encode(&row, &value);
	if (!value.failed && (known || rp.rows < MOST_TLS_ROWS) &&
		table_put(rp.table, text_span(&key), text_span(&value)) == 0 && !known)
		rp.rows++;
	sync_soon();
	text_clear(&key);
	text_clear(&old);
	text_clear(&value);
}

/* --- one report --- */

static struct span
organization(void)
{
	const struct settings *s = rp.daemon->settings;

	return s->domains.count > 0 ? s->domains.at[0] : s->hostname;
}

/* In the next turn of the loop, so that who asks for a policy is heard between. (event_active() would be the same turn.) */
static void
go_on_soon(void)
{
	static const struct timeval at_once = { 0, 0 };

	evtimer_add(rp.go_on, &at_once);
}

static void
forget(const struct sending *s)
{
	struct text key = TEXT_UP_TO(TABLE_MOST_KEY);

	for (unsigned int type = TLS_POLICY_STS; type <= TLS_POLICY_NONE; type++) {
		text_reset(&key);
		text_printf(&key, "%s %s %u", s->day, s->domain, type);
		if (table_remove(rp.table, text_span(&key)) == 0 && rp.rows > 0)
			rp.rows--;
	}
	text_clear(&key);
	sync_soon();
}

/* The end of it: `why` it stays for another try, or NULL. */
static void
sending_over(struct sending *s, const char *why)
{
	if (why == NULL)
		forget(s);
	else
		log_notice(0, "tls-report-failed", KEY_STR("domain", s->domain), KEY_STR("day", s->day),
			KEY_STR("reason", why));
	dns_cancel(&s->ask);
	fetch_cancel(&s->post);
	text_clear(&s->compressed);
	LIST_REMOVE(s, all);
	rp.count--;
	free(s);
	if (rp.count == 0 && rp.more)
		go_on_soon();
}

/* Everything that is known of the day and the domain, compressed. False: nothing is. */
static bool
write_report(struct sending *s, const struct tls_report *r)
{
	struct text json = TEXT_UP_TO(MOST_TLS_REPORT), key = TEXT_UP_TO(TABLE_MOST_KEY),
		    value = TEXT_UP_TO(TABLE_MOST_VALUE);
	struct sts_remembered sts;
	struct tls_row row;
	bool first = true, known = sts_cache_find(rp.policies, r->domain, (uint64_t)time(NULL), &sts);

	tls_report_begin(&json, r);
	for (unsigned int type = TLS_POLICY_STS; type <= TLS_POLICY_NONE; type++) {
		text_reset(&key);
		text_printf(&key, "%s %s %u", s->day, s->domain, type);
		if (table_get(rp.table, text_span(&key), &value) != TABLE_FOUND ||
			!tls_row_decode(text_span(&value), &row))
			continue;
		tls_report_policy(&json, r, (enum tls_policy_type)type, known ? &sts : NULL, &row, first);
		first = false;
	}
	tls_report_end(&json);
	s->compressed = TEXT_UP_TO(MOST_FETCH_BODY_SENT);
	if (!first && !json.failed)
		first = !tls_report_compress(text_span(&json), &s->compressed);
	sts_remembered_clear(&sts);
	text_clear(&json);
	text_clear(&key);
	text_clear(&value);
	return !first;
}

static struct tls_report
describe(const struct sending *s, struct text *contact)
{
	const struct settings *settings = rp.daemon->settings;

	if (settings->tls_report_contact.len > 0)
		text_add(contact, settings->tls_report_contact);
	else
		text_printf(contact, "postmaster@%.*s", SPAN_ARG(organization()));
	return (struct tls_report){ .organization = organization(), .contact = text_span(contact),
		.domain = span_str(s->domain), .day = s->day, .id = s->id };
}

static void
note_sent(struct sending *s, const char *uri)
{
	log_info(0, "tls-report", KEY_STR("domain", s->domain), KEY_STR("day", s->day), KEY_STR("to", uri),
		KEY_STR("id", s->id));
	s->sent = true;
}

static void
on_posted(void *arg, const struct fetch_answer *a)
{
	struct sending *s = arg;

	s->post = NULL;
	if (a->status / 100 == 2)
		note_sent(s, s->uri[s->next - 1]);
	else
		log_notice(0, "tls-report-refused", KEY_STR("domain", s->domain), KEY_STR("to", s->uri[s->next - 1]),
			KEY_NUM("status", a->status), KEY_SPAN("fault", a->fault));
	send_next(s);
}

static void
on_mailed(void *arg, const char *why)
{
	struct sending *s = arg;

	if (why == NULL)
		note_sent(s, s->uri[s->next - 1]);
	else
		log_notice(0, "tls-report-refused", KEY_STR("domain", s->domain), KEY_STR("to", s->uri[s->next - 1]),
			KEY_STR("fault", why));
	send_next(s);
}

/* mailto:ADDRESS, whatever stands behind a question mark. */
static void
mail_it(struct sending *s, struct span address)
{
	struct text contact = TEXT_UP_TO(512), mail = TEXT_UP_TO(2 * MOST_FETCH_BODY_SENT),
		    from = TEXT_UP_TO(MOST_ADDRESS), date = TEXT_UP_TO(64);
	struct tls_report r = describe(s, &contact);

	address = span_part(address, 0, span_index(address, '?'));
	text_printf(&from, "postmaster@%.*s", SPAN_ARG(organization()));
	report_date(&date, (uint64_t)time(NULL));
	/* A quoted or encoded address is not worth a parser of its own. */
	if (span_has(address, '%') || span_has(address, '<') || span_has(address, '>') || !span_has(address, '@'))
		address = SPAN_NONE;
	tls_report_mail(&mail, &r, text_span(&from), address, text_span(&s->compressed), text_str(&date));
	report_mail(rp.daemon, address, &mail, on_mailed, s);
	text_clear(&contact);
	text_clear(&from);
	text_clear(&date);
	text_clear(&mail);
}

static void
send_next(struct sending *s)
{
	struct span uri;

	if (s->next == s->uris) {
		sending_over(s, s->sent ? NULL : "no place takes it");
		return;
	}
	uri = span_str(s->uri[s->next++]);
	if (span_take_word(&uri, SPAN("mailto:"))) {
		mail_it(s, uri);
		return;
	}
	s->post = fetch_ask(rp.daemon,
		&(struct fetch_wanted){ .url = uri, .method = FETCH_POST,
			.content_type = SPAN("application/tlsrpt+gzip"), .body = text_span(&s->compressed),
			.most_bytes = 4096, .milliseconds = POST_MILLISECONDS },
		on_posted, s);
}

static void
on_rua(void *arg, const struct dns_answer *a)
{
	static unsigned char txt[65536];
	struct sending *s = arg;
	struct span answers = a->answers, uri[MOST_RUA];
	struct text contact = TEXT_UP_TO(512);
	struct tls_report r;
	size_t len, records = 0;

	s->ask = NULL;
	while (a->outcome == DNS_FOUND && dns_take_txt(&answers, txt, sizeof(txt), &len)) {
		size_t count = tls_rua_read(span_of(txt, len), uri);

		records += span_starts_nocase(span_of(txt, len), SPAN("v=TLSRPTv1"));
		for (size_t i = 0; i < count && records == 1; i++)
			if (span_copy(uri[i], s->uri[s->uris], sizeof(s->uri[0])))
				s->uris++;
	}
	if (a->outcome == DNS_LATER || a->outcome == DNS_BOGUS) {
		sending_over(s, "its record cannot be looked up now");
		return;
	}
	/* RFC 8460 3: none, or more than one record: no report is wanted. */
	if (records != 1 || s->uris == 0) {
		sending_over(s, NULL);
		return;
	}
	r = describe(s, &contact);
	if (!write_report(s, &r))
		sending_over(s, NULL);
	else
		send_next(s);
	text_clear(&contact);
}

/* --- what is due --- */

struct due {
	char today[DAY_LENGTH + 1], oldest[DAY_LENGTH + 1];
	bool all;
	size_t seen, found;
	struct {
		char day[DAY_LENGTH + 1], domain[MOST_HOST + 1];
	} at[MOST_SENDING];
};

static bool
is_being_sent(const char *day, struct span domain)
{
	const struct sending *s;

	LIST_FOREACH(s, &rp.sending, all)
		if (strcmp(s->day, day) == 0 && span_equal(span_str(s->domain), domain))
			return true;
	return false;
}

static bool
due_row(void *arg, struct span key, struct span value)
{
	struct due *d = arg;
	struct span day, domain;

	(void)value;
	d->seen++;
	if (!span_take_until(&key, ' ', &day) || !span_take_until(&key, ' ', &domain) || day.len != DAY_LENGTH ||
		d->found == MOST_SENDING)
		return true;
	if ((!d->all && span_equal(day, span_str(d->today))) ||
		span_compare(span_of(day.at, day.len + 1 + domain.len), span_str(rp.after)) <= 0)
		return true;
	/* Rows of one domain and day follow one another. */
	if (d->found > 0 && span_equal(span_str(d->at[d->found - 1].day), day) &&
		span_equal(span_str(d->at[d->found - 1].domain), domain))
		return true;
	if (span_copy(day, d->at[d->found].day, sizeof(d->at[0].day)) &&
		span_copy(domain, d->at[d->found].domain, sizeof(d->at[0].domain)) &&
		!is_being_sent(d->at[d->found].day, domain))
		d->found++;
	return true;
}

static void
send_some(void)
{
	struct due *d = must_alloc(sizeof(*d));
	time_t now = time(NULL);

	day_of(now, d->today);
	day_of(now - (time_t)KEPT_DAYS * 86400, d->oldest);
	d->all = rp.all;
	(void)table_each(rp.table, due_row, d);
	rp.rows = d->seen;
	rp.more = d->found == MOST_SENDING;
	for (size_t i = 0; i < d->found && rp.count < MOST_SENDING; i++) {
		struct sending *s = must_alloc(sizeof(*s));
		struct text name = TEXT_UP_TO(MOST_HOST + 16);

		memcpy(s->day, d->at[i].day, sizeof(s->day));
		memcpy(s->domain, d->at[i].domain, sizeof(s->domain));
		snprintf(rp.after, sizeof(rp.after), "%s %s", s->day, s->domain);
		snprintf(s->id, sizeof(s->id), "%s.%s", s->day, id_name(id_new()).str);
		LIST_INSERT_HEAD(&rp.sending, s, all);
		rp.count++;
		if (strcmp(s->day, d->oldest) < 0) {
			sending_over(s, NULL);
			continue;
		}
		text_printf(&name, "_smtp._tls.%s", s->domain);
		s->ask = dns_ask(rp.daemon, DNS_TXT, text_span(&name), false, on_rua, s);
		text_clear(&name);
	}
	free(d);
}

static void
on_go_on(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (rp.count == 0)
		send_some();
}

/* A round that is under way begins again: what it has tried already is tried once more. */
void
reporting_send(bool all)
{
	rp.all = all;
	rp.after[0] = '\0';
	rp.more = true;
	go_on_soon();
}

bool
reporting_prepare(struct daemon *d, int directory, struct table *policies)
{
	rp.daemon = d;
	rp.policies = policies;
	LIST_INIT(&rp.sending);
	rp.table = table_private(directory, REPORTS, 0600);
	rp.sync = evtimer_new(d->base, on_sync, NULL);
	rp.go_on = evtimer_new(d->base, on_go_on, NULL);
	return rp.table != NULL && rp.sync != NULL && rp.go_on != NULL;
}
