/*
 * conf-text - the text of a configuration file, with its comments blanked.
 */
#include "master/conf-text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
conf_text_read(const char *path, struct text *text, struct text *why)
{
	unsigned char part[8192];
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == ENOENT) {
		text_add_str(why, "is not there; `valija init` makes one");
	} else if (fd < 0 || fstat(fd, &st) < 0) {
		text_printf(why, "cannot be read: %s", strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		text_add_str(why, "is not a regular file");
	} else {
		while ((n = read(fd, part, sizeof part)) > 0)
			text_add(text, span_of(part, (size_t)n));
		if (n < 0)
			text_printf(why, "cannot be read: %s", strerror(errno));
		else if (text->failed)
			text_printf(why, "has more than %d bytes", MOST_CONF_FILE);
		else if (span_has(text_span(text), '\0'))
			text_add_str(why, "has a NUL byte in it");
	}
	if (fd >= 0)
		close(fd);
	return why->len == 0;
}

/* Where the comment that begins at `i` ends (behind its last byte), or `i` when none begins
 * there. */
static size_t
comment_end(struct span s, size_t i)
{
	bool slash = s.at[i] == '/' && i + 1 < s.len;
	/* "//" in the middle of a word is part of the word: a path. */
	bool at_word_start = i == 0 || strchr(" \t\r\n={}(),\"'", s.at[i - 1]);
	size_t end;

	if (s.at[i] == '#' || (slash && s.at[i + 1] == '/' && at_word_start))
		return i + span_index(span_part(s, i, s.len), '\n');
	if (!slash || s.at[i + 1] != '*')
		return i;
	end = i + 2 + span_find(span_part(s, i + 2, s.len), SPAN("*/"));
	/* An open comment stays as it is, for libConfuse to complain of. */
	return end < s.len ? end + 2 : i;
}

unsigned int
conf_text_blank(struct text *text)
{
	struct span s = text_span(text);
	unsigned char quote = 0;
	unsigned int line = 1, opened = 0;

	for (size_t i = 0; i < text->len; i++) {
		unsigned char c = text->at[i];
		size_t end;

		line += c == '\n';
		if (quote) {
			if (c == '\\' && i + 1 < text->len)
				line += text->at[++i] == '\n';
			else if (c == quote)
				quote = 0;
			continue;
		}
		if (c == '"' || c == '\'') {
			quote = c;
			opened = line;
			continue;
		}
		if ((end = comment_end(s, i)) == i)
			continue;
		for (; i < end; i++)
			if (text->at[i] != '\n')
				text->at[i] = ' ';
			else
				line++;
		i--; /* the byte behind the comment is next */
	}
	return quote ? opened : 0;
}

/* Where the text in quotation marks that begins at `i` ends: at its last byte, or the text's. */
static size_t
quoted_end(struct span s, size_t i)
{
	unsigned char quote = s.at[i];

	for (i++; i < s.len && s.at[i] != quote; i++)
		i += s.at[i] == '\\';
	return i;
}

unsigned int
conf_text_open_brace(struct span s)
{
	unsigned int line = 1, opened = 0;
	unsigned char last = 0; /* the last byte that is no white space */

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.at[i];
		size_t from = i;

		if (c == '"' || c == '\'')
			i = quoted_end(s, i);
		for (; from <= i && from < s.len; from++)
			line += s.at[from] == '\n';
		if (c == '{' && last == '=')
			opened = line;
		else if (c == '}')
			opened = 0;
		else if (c == '=' && opened && line > opened)
			return opened;
		if (!strchr(" \t\r\n", c))
			last = c;
	}
	return opened;
}

static bool
is_blank(unsigned char c)
{
	return c != '\0' && strchr(" \t\r\n", c) != NULL;
}

bool
conf_text_take_empty_list(struct span *text, struct span *name, unsigned int *line)
{
	struct span s = *text, word = SPAN_NONE;
	unsigned int equal_signs = 0;
	size_t i = 0, end;

	while (i < s.len) {
		unsigned char c = s.at[i];

		for (end = i; end < s.len && !is_blank(s.at[end]) && !strchr("={},\"'", s.at[end]); end++)
			;
		if (end > i) {
			word = span_part(s, i, end - i);
			equal_signs = 0;
			i = end;
			continue;
		}
		end = c == '"' || c == '\'' ? quoted_end(s, i) + 1 : i + 1;
		for (; i < end && i < s.len; i++)
			*line += s.at[i] == '\n';
		if (c == '{' && equal_signs == 1) {
			while (i < s.len && is_blank(s.at[i]))
				*line += s.at[i++] == '\n';
			if (i < s.len && s.at[i] == '}') {
				*name = word;
				*text = span_part(s, i + 1, s.len);
				return word.len > 0;
			}
		}
		equal_signs += c == '=';
	}
	*text = SPAN_NONE;
	return false;
}
