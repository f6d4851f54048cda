/*
 * received - see received.h.
 */
#include "smtpd/received.h"

#include "common/id.h"

#define SOLICIT_COLUMNS 78
#define SOLICIT_TRACED 980  /* octets: a single keyword still fits into a line (RFC 5322 2.1.1) */

/* Whatever passed the checks before: no octet that ends a line, a comment or a path gets here. */
static void
put_safely(struct text *to, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];
		bool safe = c > 0x20 && c != 0x7f && c != '(' && c != ')' && c != '\\' && c != ';';

		text_add_byte(to, safe ? c : '?');
	}
}

/* A path may hold any of these between quotes (RFC 5321 4.1.2), but no control character. */
static void
put_path(struct text *to, struct span address)
{
	text_add_byte(to, '<');
	for (size_t i = 0; i < address.len; i++) {
		unsigned char c = address.at[i];

		text_add_byte(to, c < 0x20 || c == 0x7f ? '?' : c);
	}
	text_add_byte(to, '>');
}

const char *
received_protocol(const struct received *r)
{
	/* RFC 3848 names nothing for HELO: authentication and STARTTLS need EHLO. */
	static const char *const names[2][2][2] = {
		{ { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } },
		{ { "UTF8SMTP", "UTF8SMTPA" }, { "UTF8SMTPS", "UTF8SMTPSA" } },
	};

	if (r->lmtp)
		return r->utf8 ? "UTF8LMTP" : r->tls ? "LMTPS" : "LMTP";

	if (!r->extended)
		return "SMTP";
	return names[r->utf8][r->tls][r->login];
}

static void
put_literal(struct text *to, struct span ip)
{
	/* A client on this machine, by a UNIX socket. */
	if (span_equal(ip, SPAN("local"))) {
		text_add(to, ip);
		return;
	}
	/* RFC 5321 4.1.3 */
	text_add_str(to, span_has(ip, ':') ? "[IPv6:" : "[");
	put_safely(to, ip);
	text_add_byte(to, ']');
}

/* RFC 5321 4.4: TCP-info; a name that could not be confirmed is none. */
static void
put_name(struct text *to, const struct received *r)
{
	if (r->name.len > 0)
		put_safely(to, r->name);
	else if (r->looked_up)
		text_add_str(to, "unknown");
	if (r->name.len > 0 || r->looked_up)
		text_add_byte(to, ' ');
}

/* From whom, by whom, and how. */
static void
put_origin(struct text *to, const struct received *r)
{
	if (r->local) {
		text_add_str(to, "Received: by ");
		put_safely(to, r->hostname);
		text_printf(to, " (userid %lu)", (unsigned long)r->uid);
		return;
	}
	text_add_str(to, "Received: from ");
	if (r->hidden) {
		text_add_str(to, "localhost (a client that logged in");
	} else {
		put_safely(to, r->helo);
		text_add_str(to, " (");
		put_name(to, r);
		put_literal(to, r->ip);
	}
	text_add_str(to, ")\r\n\tby ");
	put_safely(to, r->hostname);
	/* RFC 5321 4.4: Extended-Domain. */
	if (r->own.len > 0) {
		text_add_str(to, " (");
		put_literal(to, r->own);
		text_add_byte(to, ')');
	}
	text_add_str(to, " with ");
	text_add_str(to, received_protocol(r));
}

/* RFC 3865 2.6. Folded behind a comma, so that no line is long but for a keyword that is. */
static void
put_solicit(struct text *to, struct span keywords)
{
	size_t column = 10;
	struct span word;

	text_add_str(to, "\r\n\t(SOLICIT=");
	for (bool more = true; more; column += word.len + 1) {
		word = span_part(keywords, 0, span_index(keywords, ','));
		more = word.len < keywords.len;
		keywords = span_part(keywords, word.len + 1, keywords.len);
		if (column > 10 && column + word.len > SOLICIT_COLUMNS) {
			text_add_str(to, "\r\n\t");
			column = 1;
		}
		put_safely(to, word);
		if (more)
			text_add_byte(to, ',');
	}
	text_add_byte(to, ')');
}

void
received_put(struct text *to, const struct received *r)
{
	put_origin(to, r);
	if (r->tls) {
		text_add_str(to, " (");
		put_safely(to, r->tls_version);
		text_add_byte(to, ' ');
		put_safely(to, r->tls_cipher);
		text_add_byte(to, ')');
	}
	if (r->solicit.len > 0 && r->solicit.len <= SOLICIT_TRACED)
		put_solicit(to, r->solicit);
	text_add_str(to, "\r\n\tid ");
	text_add_str(to, id_name(r->message).str);
	if (r->recipient.len > 0) {
		text_add_str(to, "\r\n\tfor ");
		put_path(to, r->recipient);
	}
	/* RFC 6710 4.1 */
	if (r->priority != 0)
		text_printf(to, "\r\n\tPRIORITY %d", r->priority);
	text_add_str(to, ";\r\n\t");
	date_put(to, r->when);
	text_add_str(to, "\r\n");
}

void
return_path_put(struct text *to, struct span sender)
{
	text_add_str(to, "Return-Path: ");
	put_path(to, sender);
	text_add_str(to, "\r\n");
}

void
date_put(struct text *to, time_t when)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
		"Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct tm t;
	long east;

	/* Not strftime: it would look for the zone's file again, and there are no files here. */
	if (!localtime_r(&when, &t) && !gmtime_r(&(time_t){ 0 }, &t))
		return;
	east = t.tm_gmtoff / 60;
	text_printf(to, "%s, %d %s %d %02d:%02d:%02d %c%02ld%02ld", days[t.tm_wday % 7], t.tm_mday,
		months[t.tm_mon % 12], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec,
		east < 0 ? '-' : '+', (east < 0 ? -east : east) / 60,
		(east < 0 ? -east : east) % 60);
}

void
message_id_field_put(struct text *to, uint64_t message, struct span hostname)
{
	text_add_str(to, "Message-ID: <");
	text_add_str(to, id_name(message).str);
	text_add_byte(to, '@');
	put_safely(to, hostname);
	text_add_str(to, ">\r\n");
}

void
date_field_put(struct text *to, time_t when)
{
	text_add_str(to, "Date: ");
	date_put(to, when);
	text_add_str(to, "\r\n");
}
