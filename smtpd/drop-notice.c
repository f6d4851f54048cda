/*
 * drop-notice - see drop-notice.h.
 */
#include "smtpd/drop-notice.h"

#include <string.h>

#include "common/id.h"
#include "smtpd/received.h"

/* Whatever a user or a server said: it stays on its line. */
static void
put_line(struct text *to, const char *before, struct span s, const char *after)
{
	text_add_str(to, before);
	for (size_t i = 0; i < s.len; i++)
		text_add_byte(to, s.at[i] < 0x20 || s.at[i] == 0x7f ? '?' : s.at[i]);
	text_add_str(to, after);
}

static struct span
recipient_of(const struct drop_file *f, const struct handin_refusal *r)
{
	return r->recipient == SIZE_MAX ? SPAN_NONE : f->envelope.recipient[r->recipient];
}

/* The refused recipients; all, where the message as a whole was refused. */
static void
put_recipients(struct text *to, const struct drop_file *f, const struct handin *h, bool for_machines)
{
	for (size_t i = 0; i < h->refusals; i++) {
		const struct handin_refusal *r = &h->refusal[i];
		bool whole = r->recipient == SIZE_MAX;

		for (size_t k = 0; k < (whole ? f->envelope.count : 1); k++) {
			struct span who = whole ? f->envelope.recipient[k] : recipient_of(f, r);
			struct span dsn = span_part(span_str(r->reason), 4, 5);

			if (!for_machines) {
				put_line(to, "  ", who, "\r\n");
				put_line(to, "    ", span_str(r->reason), "\r\n");
				continue;
			}
			put_line(to, "\r\nFinal-Recipient: rfc822; ", who, "\r\nAction: failed\r\n");
			put_line(to, "Status: ",
				dsn.len == 5 && dsn.at[1] == '.' ? dsn : SPAN("5.0.0"), "\r\n");
			put_line(to, "Diagnostic-Code: smtp; ", span_str(r->reason), "\r\n");
		}
	}
}

/* The header of the message that was refused, in whole lines. */
static void
put_header(struct text *to, const struct drop_file *f)
{
	static unsigned char piece[NOTICE_HEADER_MOST];
	ssize_t got = drop_file_read(f, piece, sizeof(piece), 0);
	struct span in = span_of(piece, got > 0 ? (size_t)got : 0);
	size_t end = span_find(in, SPAN("\r\n\r\n"));

	if (end < in.len)
		in = span_part(in, 0, end + 2);
	else
		in = span_part(in, 0, span_rindex(in, '\n') < in.len ? span_rindex(in, '\n') + 1 : 0);
	text_add(to, in);
}

bool
drop_notice_make(struct drop_notice *n, const struct drop_file *f, const struct handin *h,
	struct span hostname, time_t now)
{
	struct text *to = &n->text;
	struct id_name boundary = id_name(id_new());

	*n = (struct drop_notice){ .text = TEXT_UP_TO(NOTICE_MOST) };
	if (f->envelope.sender.len == 0)
		return false;
	drop_add(&n->envelope, f->envelope.sender);
	n->envelope.eight_bit = f->envelope.eight_bit;
	put_line(to, "From: Mail Delivery System <MAILER-DAEMON@", hostname, ">\r\n");
	put_line(to, "To: <", f->envelope.sender, ">\r\n");
	text_add_str(to, "Subject: Undelivered mail returned to sender\r\nDate: ");
	date_put(to, now);
	text_add_str(to, "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"");
	text_add_str(to, boundary.str);
	text_add_str(to, "\"\r\n\r\n--");
	text_add_str(to, boundary.str);
	text_add_str(to, "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
		"A message that you submitted on this machine could not be sent to everybody:\r\n\r\n");
	put_recipients(to, f, h, false);
	text_add_str(to, "\r\n--");
	text_add_str(to, boundary.str);
	text_add_str(to, "\r\nContent-Type: message/delivery-status\r\n\r\n");
	put_line(to, "Reporting-MTA: dns; ", hostname, "\r\n");
	put_recipients(to, f, h, true);
	text_add_str(to, "\r\n--");
	text_add_str(to, boundary.str);
	text_add_str(to, "\r\nContent-Type: text/rfc822-headers\r\n\r\n");
	put_header(to, f);
	text_add_str(to, "\r\n--");
	text_add_str(to, boundary.str);
	text_add_str(to, "--\r\n");
	return !to->failed;
}

ssize_t
drop_notice_read(const struct drop_notice *n, void *to, size_t len, uint64_t at)
{
	struct span rest = span_part(text_span(&n->text), (size_t)at, len);

	if (rest.len > 0)
		memcpy(to, rest.at, rest.len);
	return (ssize_t)rest.len;
}

void
drop_notice_clear(struct drop_notice *n)
{
	drop_clear(&n->envelope);
	text_clear(&n->text);
}
