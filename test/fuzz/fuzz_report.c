/*
 * Reports to senders: addresses, replies of servers and messages of any octets add no field and no line of their own. An input
 * is a kind, six fields (u8 length each), and the message that is given back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "delivery/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span
take_field(struct span *in)
{
	size_t len = in->len > 0 ? in->at[0] : 0;
	struct span field = span_part(*in, 1, len);

	*in = span_part(*in, 1 + field.len, in->len);
	return field;
}

/* Lines end in CRLF and nowhere else; in the header there are our fields alone. */
static void
expect_lines(struct span out)
{
	static const char *const ours[] = { "Date: ", "From: ", "To: <", "Subject: ", "Message-ID: <", "In-Reply-To: <",
		"References: <", "Auto-Submitted: ", "MIME-Version: ", "Content-Type: multipart/report;", "\tboundary=",
		"Content-Transfer-Encoding: " };
	struct span line;
	bool header = true;

	while (span_take_until(&out, '\n', &line)) {
		size_t i = 0;

		if (line.len == 0 || line.at[line.len - 1] != '\r' || span_has(line, 0) || span_index(line, '\r') != line.len - 1)
			abort();
		header = header && line.len > 1;
		while (header && i < sizeof(ours) / sizeof(ours[0]) && !span_starts_nocase(line, span_str(ours[i])))
			i++;
		if (header && i == sizeof(ours) / sizeof(ours[0]))
			abort();
	}
	if (out.len > 0)
		abort();
}

/* As many fields of recipients as there are recipients: no reply adds one. */
static void
expect_one(struct text *out)
{
	unsigned int count = 0;
	const char *at = strstr(text_str(out), "delivery-status\r\nContent-Transfer-Encoding");
	const char *end = at != NULL ? strstr(at, "\r\n--=_valija_") : NULL;

	while (at != NULL && (at = strstr(at, "\r\nFinal-Recipient: ")) != NULL && at < end) {
		count++;
		at++;
	}
	if (count != 1)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct span in = span_of(data, size);
	uint8_t kind = size > 0 ? data[0] : 0;
	struct envelope_recipient who = { .notify = 0 };
	struct envelope e = { .id = 7, .arrived = 1700000000, .wishes = { .ret = kind >> 2 & 3, .by_mode = kind & 16 ? 'R' : 0 } };
	struct reported one = { &who, (enum report_action)(kind & 3), { NEVER, 550, SPAN_NONE, SPAN_NONE } };
	struct report r = { .hostname = SPAN("mail.example.org"), .envelope = &e, .at = &one, .count = 1, .now = 1700000100,
		.until = 1700000200 };
	struct text out = TEXT_UP_TO(MOST_REPORT);
	bool eight_bit, utf8;

	in = span_part(in, 1, in.len);
	who.address = take_field(&in);
	who.orcpt = take_field(&in);
	e.wishes.envid = take_field(&in);
	one.verdict.reason = take_field(&in);
	one.verdict.status = take_field(&in);
	r.to = take_field(&in);
	if (fd < 0 && (fd = memfd_create("message", MFD_CLOEXEC)) < 0)
		abort();
	if (ftruncate(fd, 0) < 0 || pwrite(fd, in.at, in.len, 0) != (ssize_t)in.len)
		abort();
	e.size = in.len;
	r.message = fd;
	if (report_write(&r, &out, &eight_bit, &utf8)) {
		expect_lines(text_span(&out));
		expect_one(&out);
		for (size_t i = 0; !eight_bit && i < out.len; i++)
			if (out.at[i] >= 0x80)
				abort();
	}
	text_clear(&out);
	return 0;
}
