/*
 * data - see data.h.
 */
#include "smtpd/data.h"

#include <string.h>

/* Copies the run of text before the next CR or LF. */
static size_t
take_run(struct data *d, struct span *in, unsigned char *out)
{
	const unsigned char *lf = memchr(in->at, '\n', in->len);
	size_t len = lf ? (size_t)(lf - in->at) : in->len;
	const unsigned char *cr = memchr(in->at, '\r', len);

	if (cr)
		len = (size_t)(cr - in->at);
	if (len == 0)
		return 0;
	/* RFC 5321 4.5.2 and RFC 6152: text never holds NUL; IMAP could not even show it. */
	if (memchr(in->at, '\0', len))
		d->nul = true;
	memcpy(out, in->at, len);
	in->at += len;
	in->len -= len;
	d->place = DATA_TEXT;
	return len;
}

/* A CR that no LF follows. */
static size_t
put_bare_cr(struct data *d, unsigned char *out)
{
	out[0] = '\r';
	if (!d->normalise) {
		d->bare_cr = true;
		return 1;
	}
	out[1] = '\n';
	return 2;
}

static size_t
after_dot_cr(struct data *d, unsigned char c, unsigned char *out)
{
	size_t n = 0;

	if (c == '\n') {
		d->ended = true;
		return 0;
	}
	n += put_bare_cr(d, out);
	if (c == '\r') {
		d->place = DATA_CR;
		return n;
	}
	d->nul |= c == '\0';
	out[n++] = c;
	d->place = DATA_TEXT;
	return n;
}

static size_t
after_cr(struct data *d, unsigned char c, unsigned char *out)
{
	size_t n = 0;

	if (c == '\n') {
		out[n++] = '\r';
		out[n++] = '\n';
		d->place = DATA_LINE_START;
		return n;
	}
	n += put_bare_cr(d, out);
	if (c == '\r')
		return n;
	d->nul |= c == '\0';
	out[n++] = c;
	d->place = DATA_TEXT;
	return n;
}

/* One octet, in any place but the end. */
static size_t
take_octet(struct data *d, unsigned char c, unsigned char *out)
{
	switch (d->place) {
	case DATA_DOT_CR:
		return after_dot_cr(d, c, out);
	case DATA_CR:
		return after_cr(d, c, out);
	case DATA_LINE_START:
		if (c == '.' && !d->counted) {
			d->place = DATA_DOT;
			return 0;
		}
		break;
	case DATA_DOT:
		if (c == '\r') {
			d->place = DATA_DOT_CR;
			return 0;
		}
		break;
	case DATA_TEXT:
		break;
	}
	if (c == '\r') {
		d->place = DATA_CR;
		return 0;
	}
	/* The attack of SMTP smuggling: LF . LF and its kin. It is text, and it is remembered. */
	if (c == '\n' && d->normalise) {
		d->place = DATA_TEXT;
		out[0] = '\r';
		out[1] = '\n';
		return 2;
	}
	d->bare_lf |= c == '\n';
	d->nul |= c == '\0';
	out[0] = c;
	d->place = DATA_TEXT;
	return 1;
}

size_t
data_feed(struct data *d, struct span *in, unsigned char *out)
{
	size_t n = 0;

	while (in->len > 0 && !d->ended) {
		if (d->place == DATA_TEXT || (d->place == DATA_LINE_START && (d->counted || in->at[0] != '.'))) {
			size_t run = take_run(d, in, out + n);

			n += run;
			if (run > 0)
				continue;
		}
		n += take_octet(d, in->at[0], out + n);
		in->at++;
		in->len--;
	}
	d->size += n;
	return n;
}

void
data_look(struct data *d, struct span in)
{
	for (size_t i = 0; i < in.len; i++) {
		bool after_cr = d->place == DATA_CR;

		d->nul |= in.at[i] == '\0';
		d->bare_lf |= in.at[i] == '\n' && !after_cr;
		d->bare_cr |= after_cr && in.at[i] != '\n';
		d->place = in.at[i] == '\r' ? DATA_CR : DATA_TEXT;
	}
}

size_t
data_finish(struct data *d, unsigned char *out)
{
	size_t n = 0;

	if (d->place == DATA_CR) {
		n = put_bare_cr(d, out);
		d->size++;
		if (d->normalise)
			d->place = DATA_LINE_START;
	}
	/* RFC 5322 2.1: a line ends with CR LF, the last one too; DATA leaves no choice. */
	if (d->place != DATA_LINE_START) {
		out[n++] = '\r';
		out[n++] = '\n';
	}
	d->place = DATA_LINE_START;
	d->ended = true;
	return n;
}
