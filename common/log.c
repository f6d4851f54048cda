/* log - see log.h. */
#include "log.h"

#include "id.h"
#include "message.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One log for each process. */
static struct {
	const char *program;
	int fd;
	enum log_level least;
	uint64_t dropped;
	/* Packets that the socket had no room for, each behind its length; NULL while there is none. */
	unsigned char *waiting;
	size_t from, to;
	void (*on_waiting)(void *me);
	void *me;
} log_state = { .program = "valija", .fd = -1, .least = LOG_LEVEL_INFO };

static void
forget_waiting(void)
{
	free(log_state.waiting);
	log_state.waiting = NULL;
	log_state.from = log_state.to = 0;
}

void
log_open(const char *program, int fd)
{
	log_state.program = program;
	log_state.fd = fd;
	log_state.on_waiting = NULL;
	forget_waiting();
}

void
log_on_waiting(void (*on_waiting)(void *me), void *me)
{
	log_state.on_waiting = on_waiting;
	log_state.me = me;
}

void
log_threshold(enum log_level least)
{
	log_state.least = least;
}

static bool
is_plain(struct span s)
{
	static const char plain[] = "-._@:+/[]";

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			    (c != 0 && strchr(plain, c) != NULL)))
			return false;
	}
	return s.len > 0;
}

/* How many bytes at the front of `s`, which is UTF-8, are a character that shows as something else than it is, or
 * not at all: C1 controls (to a terminal they are like the others), the separators of lines and paragraphs
 * (U+2028, U+2029: a line of their own for many readers), marks and overrides of direction (U+200E, U+200F,
 * U+202A..U+202E, U+2066..U+2069: the rest of the line reads backwards). */
static size_t
disguise_at(struct span s)
{
	if (s.len >= 2 && s.at[0] == 0xc2 && s.at[1] < 0xa0)
		return 2;
	if (s.len < 3 || s.at[0] != 0xe2)
		return 0;
	if (s.at[1] == 0x80 && (s.at[2] == 0x8e || s.at[2] == 0x8f || (s.at[2] >= 0xa8 && s.at[2] <= 0xae)))
		return 3;
	return s.at[1] == 0x81 && s.at[2] >= 0xa6 && s.at[2] <= 0xa9 ? 3 : 0;
}

/* Foreign text: in quotes, with everything escaped that could pretend to be something else. */
static void
add_value(struct text *line, struct span s)
{
	if (is_plain(s)) {
		text_add(line, s);
		return;
	}
	bool utf8 = span_is_utf8(s);

	text_add_byte(line, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];
		size_t escaped = c < 0x20 || c == 0x7f || c == '"' || c == '\\' || (c >= 0x80 && !utf8);

		if (escaped == 0 && utf8)
			escaped = disguise_at(span_part(s, i, s.len));
		if (escaped == 0)
			text_add_byte(line, c);
		for (size_t j = 0; j < escaped; j++)
			text_printf(line, "\\x%02x", s.at[i + j]);
		i += escaped > 0 ? escaped - 1 : 0;
	}
	text_add_byte(line, '"');
}

static void
add_field(struct text *line, const struct log_field *field)
{
	if (field->kind == LOG_ID && field->number == 0)
		return;
	text_add_byte(line, ' ');
	text_add_str(line, field->key);
	text_add_byte(line, '=');
	if (field->kind == LOG_ID)
		text_add_str(line, id_name((uint64_t)field->number).str);
	else if (field->kind == LOG_NUMBER)
		text_printf(line, "%lld", (long long)field->number);
	else
		add_value(line, field->span);
}

static void
to_stderr(enum log_level level, struct span line)
{
	static const char *const names[] = { "debug", "info", "notice", "warning", "error" };

	fprintf(stderr, "%s: %s: %.*s\n", log_state.program, names[level], SPAN_ARG(line));
}

static bool
send_packet(const unsigned char *packet, size_t len)
{
	return send(log_state.fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* Keeps the packet for later; false when too much waits already. */
static bool
keep(const unsigned char *packet, size_t len)
{
	uint32_t length = (uint32_t)len;

	if (log_state.waiting == NULL && (log_state.waiting = malloc(MOST_LOG_WAITING)) == NULL)
		return false;
	/* Room of what went is used again, half at a time, so that little is moved. */
	if (log_state.from >= MOST_LOG_WAITING / 2) {
		log_state.to -= log_state.from;
		memmove(log_state.waiting, log_state.waiting + log_state.from, log_state.to);
		log_state.from = 0;
	}
	if (MOST_LOG_WAITING - log_state.to < sizeof(length) + len)
		return false;
	memcpy(log_state.waiting + log_state.to, &length, sizeof(length));
	memcpy(log_state.waiting + log_state.to + sizeof(length), packet, len);
	log_state.to += sizeof(length) + len;
	return true;
}

/* Sends the line, or keeps it behind those that wait. The same bytes as message_encode makes, without a
 * 64 KiB buffer on every log call. */
static bool
to_channel(enum log_level level, struct span line)
{
	unsigned char packet[MOST_LOG_LINE + 64];
	struct text out = { packet, 0, sizeof(packet), sizeof(packet) - 1, false };
	uint16_t number = MSG_log_line;
	uint64_t id = 0;
	uint32_t len = (uint32_t)line.len;
	uint8_t byte = (uint8_t)level;
	bool first = log_state.waiting == NULL;

	text_add(&out, span_of(&number, sizeof(number)));
	text_add(&out, span_of(&id, sizeof(id)));
	text_add_byte(&out, byte);
	text_add(&out, span_of(&len, sizeof(len)));
	text_add(&out, line);
	if (first && send_packet(packet, out.len))
		return true;
	if (!keep(packet, out.len))
		return false;
	if (first && log_state.on_waiting != NULL)
		log_state.on_waiting(log_state.me);
	return true;
}

/* Says how many lines were lost, if any; whether nothing of that is left to say. */
static bool
tell_dropped(void)
{
	char text[80];
	int len;

	if (log_state.dropped == 0)
		return true;
	len = snprintf(text, sizeof(text), "log-lines-dropped count=%llu",
		(unsigned long long)log_state.dropped);
	if (len < 0 || !to_channel(LOG_LEVEL_WARNING, span_of(text, (size_t)len)))
		return false;
	log_state.dropped = 0;
	return true;
}

bool
log_flush(void)
{
	while (log_state.from < log_state.to) {
		uint32_t len;

		memcpy(&len, log_state.waiting + log_state.from, sizeof(len));
		/* Where nobody reads any more, nothing will be said of what is lost either. */
		if (!send_packet(log_state.waiting + log_state.from + sizeof(len), len) &&
			(errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM))
			return false;
		log_state.from += sizeof(len) + len;
	}
	forget_waiting();
	return tell_dropped() && log_state.waiting == NULL;
}

static void
emit(enum log_level level, struct span line)
{
	if (log_state.fd < 0) {
		to_stderr(level, line);
		return;
	}
	(void)log_flush();
	/* Who has lost lines loses the next too, until all that wait are gone and the number is said. */
	if (log_state.dropped > 0 || !to_channel(level, line))
		log_state.dropped++;
}

void
log_write(enum log_level level, uint64_t session, const char *word, const struct log_field *fields)
{
	int error = errno;
	struct text line = TEXT_UP_TO(MOST_LOG_LINE);

	if (level < log_state.least)
		return;
	text_add_str(&line, word);
	if (session != 0) {
		text_add_str(&line, " session=");
		text_add_str(&line, id_name(session).str);
	}
	for (; fields->key != NULL; fields++)
		add_field(&line, fields);
	emit(level, text_span(&line));
	text_clear(&line);
	errno = error;
}
