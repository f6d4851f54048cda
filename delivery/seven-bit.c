/* seven-bit - see seven-bit.h. One pass over each level of parts; nothing is copied but into the output. */
#include "seven-bit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_LINE 998                /* RFC 5321 4.5.3.1.6 */
#define QP_LINE 76                   /* RFC 2045 6.7 */
#define BASE64_IN 57                 /* bytes that make 76 */

enum encoding { AS_IT_IS, SEVEN_BIT, QUOTED_PRINTABLE, BASE64 };

static void
put(struct seven_bit_out *out, struct span s)
{
	if (!out->failed && s.len > 0 && !out->write(out->me, s))
		out->failed = true;
}

bool
seven_bit_needed(struct span s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (c >= 0x80 || c == 0)
			return true;
		if (c == '\n') {
			if (i == 0 || s.at[i - 1] != '\r')
				return true;
			line = 0;
		} else if (c == '\r') {
			if (i + 1 == s.len || s.at[i + 1] != '\n')
				return true;
		} else if (++line > MOST_LINE) {
			return true;
		}
	}
	return false;
}

/* --- header fields --- */

/* Takes one line with its end. */
static bool
take_line(struct span *in, struct span *line)
{
	size_t end;

	if (in->len == 0)
		return false;
	end = span_index(*in, '\n');
	*line = span_part(*in, 0, end + 1);
	*in = span_part(*in, line->len, in->len);
	return true;
}

static bool
is_blank(struct span line)
{
	return span_equal(line, SPAN("\r\n")) || span_equal(line, SPAN("\n"));
}

/* Takes a field with its folds. */
static bool
take_field(struct span *in, struct span *field)
{
	struct span line, rest = *in;
	const unsigned char *at = in->at;

	if (!take_line(&rest, &line))
		return false;
	*in = rest;
	while (rest.len > 0 && (rest.at[0] == ' ' || rest.at[0] == '\t')) {
		(void)take_line(&rest, &line);
		*in = rest;
	}
	*field = span_of(at, (size_t)(in->at - at));
	return true;
}

static bool
is_field(struct span field, struct span name, struct span *value)
{
	if (!span_take_word(&field, name))
		return false;
	field = span_trim(field);
	if (!span_take(&field, ':'))
		return false;
	*value = field;
	return true;
}

static bool
is_space(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
skip_space(struct span *in)
{
	while (in->len > 0 && is_space(in->at[0]))
		*in = span_part(*in, 1, in->len);
}

/* A token (RFC 2045 5.1). */
static struct span
take_token(struct span *in)
{
	size_t len = 0;
	struct span token;

	skip_space(in);
	while (len < in->len && in->at[len] > 0x20 && in->at[len] < 0x7f &&
		strchr("()<>@,;:\\\"/[]?=", in->at[len]) == NULL)
		len++;
	token = span_part(*in, 0, len);
	*in = span_part(*in, len, in->len);
	return token;
}

struct entity {
	struct span header, body;    /* the header with its blank line */
	struct span type, subtype, encoding;
	char boundary[MOST_SEVEN_BIT_BOUNDARY + 1];
	bool has_version, has_type;
};

/* The value of boundary=, where it is written in one of the usual ways. */
static void
find_boundary(struct span rest, struct entity *e)
{
	struct span name, value;
	size_t at;

	while ((at = span_index(rest, ';')) < rest.len) {
		rest = span_part(rest, at + 1, rest.len);
		name = take_token(&rest);
		skip_space(&rest);
		if (!span_take(&rest, '='))
			continue;
		skip_space(&rest);
		if (span_take(&rest, '"')) {
			value = span_part(rest, 0, span_index(rest, '"'));
			rest = span_part(rest, value.len + 1, rest.len);
			if (span_has(value, '\\'))
				continue;
		} else {
			value = take_token(&rest);
		}
		if (span_equal_nocase(name, SPAN("boundary")) && e->boundary[0] == '\0')
			(void)span_copy(value, e->boundary, sizeof(e->boundary));
	}
}

static void
read_entity(struct span in, struct entity *e)
{
	const unsigned char *at = in.at;
	struct span field, value;

	memset(e, 0, sizeof(*e));
	while (in.len > 0) {
		struct span line, rest = in;

		(void)take_line(&rest, &line);
		if (is_blank(line)) {
			in = rest;
			break;
		}
		(void)take_field(&in, &field);
		if (is_field(field, SPAN("MIME-Version"), &value))
			e->has_version = true;
		if (is_field(field, SPAN("Content-Transfer-Encoding"), &value) && e->encoding.len == 0)
			e->encoding = take_token(&value);
		if (is_field(field, SPAN("Content-Type"), &value) && !e->has_type) {
			e->has_type = true;
			e->type = take_token(&value);
			if (span_take(&value, '/'))
				e->subtype = take_token(&value);
			find_boundary(value, e);
		}
	}
	e->header = span_of(at, (size_t)(in.at - at));
	e->body = in;
}

/* --- bodies --- */

static void
put_quoted_printable(struct span in, struct seven_bit_out *out)
{
	static const char hex[] = "0123456789ABCDEF";
	char line[QP_LINE + 8];
	size_t len = 0;

	for (size_t i = 0; i < in.len && !out->failed; i++) {
		unsigned char c = in.at[i];
		bool last = i + 1 == in.len || in.at[i + 1] == '\n' ||
			(in.at[i + 1] == '\r' && i + 2 < in.len && in.at[i + 2] == '\n');

		if (c == '\n' || (c == '\r' && i + 1 < in.len && in.at[i + 1] == '\n')) {
			memcpy(line + len, "\r\n", 2);
			put(out, span_of(line, len + 2));
			len = 0;
			i += c == '\r';
			continue;
		}
		/* A soft break (6.7 rule 5), so that "=XX" and the break itself fit. */
		if (len > QP_LINE - 4) {
			memcpy(line + len, "=\r\n", 3);
			put(out, span_of(line, len + 3));
			len = 0;
		}
		if ((c > ' ' && c < 0x7f && c != '=') || ((c == ' ' || c == '\t') && !last)) {
			line[len++] = (char)c;
		} else {
			line[len++] = '=';
			line[len++] = hex[c >> 4];
			line[len++] = hex[c & 15];
		}
	}
	put(out, span_of(line, len));
}

static void
put_base64(struct span in, struct seven_bit_out *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	while (in.len > 0 && !out->failed) {
		struct span part = span_part(in, 0, BASE64_IN);
		char line[QP_LINE + 2];
		size_t len = 0;

		in = span_part(in, part.len, in.len);
		for (size_t i = 0; i < part.len; i += 3) {
			uint32_t three = (uint32_t)part.at[i] << 16 |
				(i + 1 < part.len ? (uint32_t)part.at[i + 1] << 8 : 0) |
				(i + 2 < part.len ? part.at[i + 2] : 0);

			line[len++] = digits[three >> 18];
			line[len++] = digits[three >> 12 & 63];
			line[len++] = i + 1 < part.len ? digits[three >> 6 & 63] : '=';
			line[len++] = i + 2 < part.len ? digits[three & 63] : '=';
		}
		if (in.len > 0) {
			line[len++] = '\r';
			line[len++] = '\n';
		}
		put(out, span_of(line, len));
	}
}

static void
put_body(struct span body, enum encoding encoding, struct seven_bit_out *out)
{
	if (encoding == QUOTED_PRINTABLE)
		put_quoted_printable(body, out);
	else if (encoding == BASE64)
		put_base64(body, out);
	else
		put(out, body);
}

/* The header with another Content-Transfer-Encoding; at the top also what a MIME message must say. */
static void
put_header(const struct entity *e, enum encoding encoding, unsigned int depth, struct seven_bit_out *out)
{
	static const char *const names[] = { [SEVEN_BIT] = "7bit", [QUOTED_PRINTABLE] = "quoted-printable",
		[BASE64] = "base64" };
	struct span rest = e->header, field, value;
	char line[80];
	int len;

	while (rest.len > 0) {
		struct span ahead = rest, first;

		(void)take_line(&ahead, &first);
		if (is_blank(first))
			break;
		(void)take_field(&rest, &field);
		if (encoding == AS_IT_IS || !is_field(field, SPAN("Content-Transfer-Encoding"), &value))
			put(out, field);
	}
	if (encoding == QUOTED_PRINTABLE || encoding == BASE64) {
		if (depth == 0 && !e->has_version)
			put(out, SPAN("MIME-Version: 1.0\r\n"));
		if (!e->has_type)
			put(out, SPAN("Content-Type: text/plain; charset=unknown-8bit\r\n")); /* RFC 1428 */
	}
	if (encoding != AS_IT_IS && (encoding != SEVEN_BIT || e->encoding.len > 0)) {
		len = snprintf(line, sizeof(line), "Content-Transfer-Encoding: %s\r\n", names[encoding]);
		put(out, span_of(line, (size_t)len));
	}
	put(out, rest);              /* the blank line, if there is one */
}

static bool
is_identity(struct span encoding)
{
	return encoding.len == 0 || span_equal_nocase(encoding, SPAN("7bit")) ||
		span_equal_nocase(encoding, SPAN("8bit")) || span_equal_nocase(encoding, SPAN("binary"));
}

/* Is this line a delimiter of `boundary` (RFC 2046 5.1.1)? */
static bool
is_delimiter(struct span line, const char *boundary, bool *last)
{
	*last = false;
	if (!span_take(&line, '-') || !span_take(&line, '-') || line.len < strlen(boundary) ||
		memcmp(line.at, boundary, strlen(boundary)) != 0)
		return false;
	line = span_part(line, strlen(boundary), line.len);
	if (line.len >= 2 && line.at[0] == '-' && line.at[1] == '-') {
		*last = true;
		return true;
	}
	skip_space(&line);
	return line.len == 0;
}

static void put_entity(struct span in, unsigned int depth, struct seven_bit_out *out);

/* A part without the line end that belongs to the delimiter behind it. */
static void
put_part(struct span part, unsigned int depth, struct seven_bit_out *out)
{
	size_t end = part.len;

	if (end > 0 && part.at[end - 1] == '\n')
		end -= end > 1 && part.at[end - 2] == '\r' ? 2 : 1;
	put_entity(span_part(part, 0, end), depth, out);
	put(out, span_part(part, end, part.len));
}

static void
put_multipart(const struct entity *e, unsigned int depth, struct seven_bit_out *out)
{
	struct span rest = e->body, line;
	const unsigned char *part = NULL;      /* begins here; NULL: the preamble, or the epilogue */
	const unsigned char *plain = rest.at;
	bool last, over = false;

	while (!over && take_line(&rest, &line)) {
		if (!is_delimiter(line, e->boundary, &last))
			continue;
		if (part == NULL)
			put(out, span_of(plain, (size_t)(line.at - plain)));
		else
			put_part(span_of(part, (size_t)(line.at - part)), depth + 1, out);
		put(out, line);
		part = rest.at;
		plain = rest.at;
		over = last;
	}
	/* The epilogue; or a part that nothing ends. */
	if (part != NULL && !over)
		put_part(span_of(part, (size_t)(e->body.at + e->body.len - part)), depth + 1, out);
	else
		put(out, span_of(plain, (size_t)(e->body.at + e->body.len - plain)));
}

static bool
is_type(const struct entity *e, struct span type)
{
	return span_equal_nocase(e->type, type);
}

/* How a leaf is to leave. */
static enum encoding
choose(const struct entity *e)
{
	if (!is_identity(e->encoding))
		return AS_IT_IS;
	if (!seven_bit_needed(e->body))
		return e->encoding.len > 0 ? SEVEN_BIT : AS_IT_IS;
	return !e->has_type || is_type(e, SPAN("text")) ? QUOTED_PRINTABLE : BASE64;
}

/* As it is, although it has other bytes. */
static void
leave(struct seven_bit_out *out, struct span in)
{
	out->left = true;
	put(out, in);
}

static void
put_entity(struct span in, unsigned int depth, struct seven_bit_out *out)
{
	struct entity e;
	enum encoding encoding;

	read_entity(in, &e);
	if (!seven_bit_needed(e.body)) {
		put(out, in);
		return;
	}
	if (depth >= MOST_SEVEN_BIT_DEPTH) {
		leave(out, in);
		return;
	}
	if (is_type(&e, SPAN("multipart"))) {
		bool closed = span_equal_nocase(e.subtype, SPAN("signed")) ||
			span_equal_nocase(e.subtype, SPAN("encrypted"));

		if (closed || e.boundary[0] == '\0' || !is_identity(e.encoding)) {
			leave(out, in);
			return;
		}
		put_header(&e, SEVEN_BIT, depth, out);
		put_multipart(&e, depth, out);
		return;
	}
	if (is_type(&e, SPAN("message"))) {
		if ((!span_equal_nocase(e.subtype, SPAN("rfc822")) && !span_equal_nocase(e.subtype, SPAN("global"))) ||
			!is_identity(e.encoding)) {
			leave(out, in);
			return;
		}
		put_header(&e, SEVEN_BIT, depth, out);
		put_entity(e.body, depth + 1, out);
		return;
	}
	encoding = choose(&e);
	out->left |= encoding == AS_IT_IS;
	put_header(&e, encoding, depth, out);
	put_body(e.body, encoding, out);
}

void
seven_bit_write(struct span message, struct seven_bit_out *out)
{
	put_entity(message, 0, out);
}

/* --- files --- */

struct sink {
	int fd;
	uint64_t size;
	unsigned char buffer[65536];
	size_t len;
};

static bool
sink_flush(struct sink *s)
{
	size_t done = 0;

	while (done < s->len) {
		ssize_t n = write(s->fd, s->buffer + done, s->len - done);

		if (n < 0 && errno != EINTR)
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	s->size += s->len;
	s->len = 0;
	return true;
}

static bool
sink_write(void *me, struct span bytes)
{
	struct sink *s = me;

	while (bytes.len > 0) {
		struct span piece = span_part(bytes, 0, sizeof(s->buffer) - s->len);

		memcpy(s->buffer + s->len, piece.at, piece.len);
		s->len += piece.len;
		bytes = span_part(bytes, piece.len, bytes.len);
		if (s->len == sizeof(s->buffer) && !sink_flush(s))
			return false;
	}
	return true;
}

int
seven_bit_file(int fd, uint64_t *size, bool *needed, bool *left)
{
	static struct sink sink;
	struct seven_bit_out out = { .write = sink_write, .me = &sink };
	struct span message = { NULL, (size_t)*size };
	struct stat st;
	void *map;
	int error = 0;

	*needed = *left = false;
	if (*size == 0)
		return -1;
	/* Behind the end of a damaged file a mapping would kill us (SIGBUS); who reads it finds out. */
	map = fstat(fd, &st) == 0 && (uint64_t)st.st_size >= *size
		? mmap(NULL, message.len, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	if (map == MAP_FAILED) {
		*needed = true;
		return -1;
	}
	message.at = map;
	*needed = seven_bit_needed(message);
	sink.fd = *needed ? memfd_create("seven-bit", MFD_CLOEXEC) : -1;
	sink.size = sink.len = 0;
	if (sink.fd >= 0) {
		seven_bit_write(message, &out);
		if (out.failed || !sink_flush(&sink)) {
			error = errno;
			close(sink.fd);
			sink.fd = -1;
		} else {
			*size = sink.size;
			*left = out.left;
		}
	}
	munmap(map, message.len);
	if (error != 0)
		errno = error;
	return sink.fd;
}
