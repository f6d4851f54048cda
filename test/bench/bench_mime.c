/*
 * bench_mime - how fast messages are counted, parsed, told and searched, in MB/s and in messages
 * a second.
 *
 * bench_mime [seconds for each row]
 *
 * The messages are made here: plain text, an alternative with quoted-printable, an attachment in
 * base64.
 */
#include "imapd/bodystructure.h"
#include "imapd/charset.h"
#include "imapd/crlf.h"
#include "imapd/envelope.h"
#include "imapd/match.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MOST_MESSAGE ((size_t)4 * 1024 * 1024)

struct sample {
	const char *name;
	struct text message;
};

struct work {
	struct needle needle;
	struct text out;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
header_add(struct text *t, const char *type)
{
	for (int i = 0; i < 5; i++)
		text_printf(t,
			"Received: from mail%d.example.net (mail%d.example.net [192.0.2.%d])\r\n"
			"\tby mx.example.org with ESMTPS id 4Xyz%d for <ana@example.org>;\r\n"
			"\tWed, 17 Jul 2024 02:23:2%d -0700 (PDT)\r\n",
			i, i, i, i, i);
	text_add_str(t,
		"From: =?utf-8?Q?Andr=C3=A9?= Example <andre@example.net>\r\n"
		"To: Ana <ana@example.org>, \"Doe, John\" <john@example.org>\r\n"
		"Cc: list@example.org\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?= from the bench\r\n"
		"Date: Wed, 17 Jul 2024 02:23:25 -0700 (PDT)\r\nMessage-ID: "
		"<B27397@example.net>\r\n"
		"MIME-Version: 1.0\r\n");
	text_printf(t, "Content-Type: %s\r\n", type);
}

static void
lines_add(struct text *t, const char *line, int count)
{
	for (int i = 0; i < count; i++)
		text_add_str(t, line);
}

#define WORDS "The quick brown fox jumps over the lazy dog and goes on to do it again and\r\n"
#define QUOTED "Der schnelle braune Fuchs =C3=BCberspringt den faulen Hund, immer und immer =\r\n"
#define BASE64 "VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZyBhbmQgZ29lcyBvbiB0\r\n"

static void
samples_make(struct sample *samples)
{
	struct text *t = &samples[0].message;

	samples[0] = (struct sample){ "plain 4 KiB", TEXT_UP_TO(MOST_MESSAGE) };
	header_add(t, "text/plain; charset=utf-8");
	text_add_str(t, "\r\n");
	lines_add(t, WORDS, 40);
	samples[1] = (struct sample){ "alternative 40 KiB", TEXT_UP_TO(MOST_MESSAGE) };
	t = &samples[1].message;
	header_add(t, "multipart/alternative; boundary=\"----=_b\"");
	for (int i = 0; i < 2; i++) {
		text_printf(t,
			"\r\n------=_b\r\nContent-Type: text/%s; charset=\"iso-8859-1\"\r\n"
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
			i == 0 ? "plain" : "html");
		lines_add(t, QUOTED, 240);
	}
	text_add_str(t, "\r\n------=_b--\r\n");
	samples[2] = (struct sample){ "attachment 1 MiB", TEXT_UP_TO(MOST_MESSAGE) };
	t = &samples[2].message;
	header_add(t, "multipart/mixed; boundary=b");
	text_add_str(t,
		"\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n");
	lines_add(t, BASE64, 100);
	text_add_str(t, "\r\n--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n");
	lines_add(t, BASE64, 13000);
	text_add_str(t, "\r\n--b--\r\n");
}

static void
do_count(struct work *work, struct span message)
{
	struct crlf_facts facts;

	(void)work;
	crlf_count(message, &facts);
}

static void
do_parse(struct work *work, struct span message)
{
	struct mime mime;

	(void)work;
	mime_parse(message, &mime);
	mime_clear(&mime);
}

static void
do_tell(struct work *work, struct span message)
{
	struct mime mime;

	mime_parse(message, &mime);
	text_reset(&work->out);
	envelope_write(mime_header(&mime, &mime.parts[0]), &work->out);
	bodystructure_write(&mime, true, &work->out);
	mime_clear(&mime);
}

static void
do_search(struct work *work, struct span message)
{
	struct mime mime;

	mime_parse(message, &mime);
	if (match_message(&work->needle, &mime))
		abort();
	mime_clear(&mime);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(struct work *, struct span);
	} rows[] = {
		{ "count CRLF", do_count }, { "parse", do_parse },
		{ "parse, ENVELOPE, BODYSTRUCTURE", do_tell }, { "parse, SEARCH TEXT", do_search },
	};
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
	struct sample samples[3];
	struct work work = { .out = TEXT_UP_TO(MOST_BODYSTRUCTURE) };
	bool bad;

	samples_make(samples);
	if (!needle_init(&work.needle, SPAN("gr\xc3\xbc\xc3\x9f" "e an alle"), SPAN_NONE, &bad))
		return 1;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
			double start = now(), took;
			size_t times = 0;

			do {
				rows[row].run(&work, text_span(&samples[i].message));
				times++;
			} while ((took = now() - start) < seconds);
			printf("%-20s %-32s %9.0f messages/s %8.0f MB/s\n", samples[i].name,
				rows[row].name, (double)times / took,
				(double)(times * samples[i].message.len) / took / 1e6);
		}
		text_clear(&samples[i].message);
	}
	needle_clear(&work.needle);
	text_clear(&work.out);
	charset_close_all();
	return 0;
}
